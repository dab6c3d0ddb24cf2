"""On simulated captures, whose motion is known, registration lies nearer to the truth than landmarks that jitter."""

from __future__ import annotations

import numpy as np
from textured_faces import misplacements

from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE, Affine, compose, fit_affine, map_points
from sdk_reference.preprocess import PreprocessSettings, registered_affines
from simulator.capture import Shot, photograph
from simulator.stage import set_stage
from simulator.truth_landmarks import LANDMARKS
from training.landmark_accuracy import EYES_AND_MOUTH, true_points

SEEDS = (900_001, 900_004, 900_007, 900_010)
STEADY = (33, 133, 362, 263, 61, 291, 0, 17, 4)
"""What neither a blink nor a smile moves in the course of a capture: corners, lips, the nose's tip."""
JITTER_PX = 0.5  # landmarks misplace a frame by 0.54 pixels in the median


def seen(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of a live capture at 100 lux, true points (N0,K,2) in them, the true maps (N0,2,3) to the template."""
    plan = default_plan()
    stage = set_stage(seed, seed % 1000, "live", "face", ambient_lux=100.0)
    shot = Shot(seed, tuple(step.linear for step in plan.steps_by_rank), time_order=plan.time_order())
    capture = photograph(stage, shot)
    points = true_points(stage, capture)
    eyes_and_mouth = [LANDMARKS.index(index) for index in EYES_AND_MOUTH]
    targets = TEMPLATE.points[[TEMPLATE.indices.index(index) for index in EYES_AND_MOUTH]]
    first = fit_affine(points[0, eyes_and_mouth], targets)
    steady = points[:, [LANDMARKS.index(index) for index in STEADY]]
    return capture.frames, steady, np.stack([fit_affine(there, map_points(steady[0], first)) for there in steady])


def errors_px(points: np.ndarray, maps: list[Affine] | np.ndarray) -> np.ndarray:
    """(N0,): root mean square distance of each frame's true points, as mapped, from their mean over the frames."""
    laid = np.stack([map_points(there, one) for there, one in zip(points, maps, strict=True)])
    return np.sqrt(((laid - laid.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=1))


def test_registration_lies_nearer_to_the_true_motion_than_landmarks_that_jitter() -> None:
    by_landmarks, registered = [], []
    for seed in SEEDS:
        frames, points, truth = seen(seed)
        jitter = misplacements(np.random.default_rng(seed), len(frames), JITTER_PX)
        maps = np.stack([compose(wrong, right) for wrong, right in zip(jitter, truth, strict=True)])
        by_landmarks.append(errors_px(points, maps))
        registered.append(errors_px(points, registered_affines(frames, maps, PreprocessSettings())))
    before, after = np.concatenate(by_landmarks), np.concatenate(registered)
    assert np.median(before) > 0.4
    assert np.median(after) < 0.4 * np.median(before)
    assert np.mean(after < before) > 0.8
