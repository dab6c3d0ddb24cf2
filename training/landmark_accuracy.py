"""How well the landmark detector finds simulated faces: share of frames with one face, and distance from the truth.

The paper takes its landmarks for granted. Here live captures are simulated, their brightest and darkest frames shown to
the detector that a phone runs, and what it says is held against the projected truth (`simulator.truth_landmarks`).
Counted are captures whose flash a phone would accept, measured on frames aligned by the truth, so that a face that was
not found still counts.

    python -m training.landmark_accuracy [--count 200] [--seed 0] [--size 256] [--json FILE]
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE, fit_affine, map_points
from sdk_reference.atomic_files import write_json
from sdk_reference.capture import Capture
from sdk_reference.errors import FaceCutOff, FlashTooWeak, UserFailure
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face, FaceMeshDetector, LandmarkDetector, find_single_face
from sdk_reference.preprocess import Preprocessed, PreprocessSettings, align_frames, scaled_differences
from sdk_reference.quality import QualityLimits, failures, measure_quality
from simulator.capture import Shot, SimulatedCapture, photograph
from simulator.framing import Framing
from simulator.head import build_head
from simulator.identity import SUBJECT_COUNT, Expression, Identity
from simulator.motion import MotionWalk
from simulator.stage import Blink, Stage, set_stage
from simulator.streams import stream
from simulator.truth_landmarks import LANDMARKS, SHARP, project_landmarks, true_landmarks
from training.progress import progress_bar

FIRST_SEED = 700_000  # of heads that no training set is likely to hold
REFERENCE_SIZE = 256  # distances are told in pixels of frames this large
EYES_AND_MOUTH = (33, 133, 362, 263, 61, 291)  # of the template, and sharp: what frames are aligned by here


@dataclass(frozen=True)
class Sighting:
    """What the detector made of one frame."""

    seed: int
    rank: int
    accepted: bool
    """Whether a phone would accept the capture's flash."""
    glasses: bool
    error: npt.NDArray[np.float64] | None
    """(K, 2) found − true landmarks in pixels at 256, in the order of LANDMARKS; None: not exactly one face."""


def true_points(stage: Stage, capture: SimulatedCapture) -> npt.NDArray[np.float64]:
    """Return (N0, K, 2): the true landmarks in each frame of a live capture, by rank, in pixels of the frame."""
    framing = Framing.draw(stream(stage.seed, "framing"), stage.size)
    identity = Identity.draw(stage.subject)
    expression = Expression.draw(stream(stage.seed, "expression"))
    blink = Blink.draw(stream(stage.seed, "blink"))
    faces = {False: true_landmarks(identity, build_head(identity, expression))}
    if blink is not None:
        shut = replace(expression, blink=blink.closed)
        faces[True] = true_landmarks(identity, build_head(identity, shut))
    walk = MotionWalk(stream(stage.seed, "motion"), stage.distance_cm)
    order = np.argsort(capture.timestamps_ns)
    points = np.empty((len(order), len(LANDMARKS), 2))
    motion = walk.now()
    for moment, rank in enumerate(order):
        if moment:
            elapsed_ns = capture.timestamps_ns[rank] - capture.timestamps_ns[order[moment - 1]]
            motion = walk.step(elapsed_ns * 1e-9)
        blinks = blink is not None and moment <= blink.at * len(order) < moment + 1
        points[rank] = project_landmarks(
            faces[blinks], framing.head_pose(), stage.view, stage.size, motion, stage.middle_cm
        )
    return points


def is_accepted(capture: Capture, truth: npt.NDArray[np.float64]) -> bool:
    """Whether a phone would accept this capture's flash, its frames being aligned by the truth (N0, K, 2)."""
    known = [LANDMARKS.index(index) for index in EYES_AND_MOUTH]
    targets = TEMPLATE.points[[TEMPLATE.indices.index(index) for index in EYES_AND_MOUTH]]
    affines = np.stack([fit_affine(points[known], targets) for points in truth])
    aligned = align_frames(capture.frames, affines)
    settings = PreprocessSettings()
    model_input, gain = scaled_differences(aligned, settings)
    faces = tuple(_template_face(affine) for affine in affines)
    measured = measure_quality(Preprocessed(faces, affines, aligned, model_input, gain, settings), capture)
    return not any(isinstance(failure, FlashTooWeak) for failure in failures(measured, QualityLimits()))


def _template_face(affine: npt.NDArray[np.float64]) -> Face:
    """The template, its ellipse for an outline, in the frame that `affine` (2, 3) brings to it."""
    points = np.tile(TEMPLATE.ellipse_centre, (N_LANDMARKS, 1))
    turn = np.linspace(0.0, 2.0 * np.pi, len(FACE_OVAL), endpoint=False)
    points[list(FACE_OVAL)] += np.stack([np.sin(turn), -np.cos(turn)], 1) * TEMPLATE.ellipse_semi_axes
    points[list(TEMPLATE.indices)] = TEMPLATE.points
    back = np.linalg.inv(np.vstack([affine, (0.0, 0.0, 1.0)]))[:2]
    return Face(map_points(points, back).astype(np.float32), np.zeros(N_LANDMARKS, np.float32))


def look_at(seed: int, subject: int, plan: FlashPlan, size: int, detector: LandmarkDetector) -> list[Sighting]:
    """Simulate one live capture and show its brightest and darkest frames to the detector."""
    stage = set_stage(seed, subject, "live", "face", size)
    shot = Shot(seed, tuple(step.linear for step in plan.steps_by_rank))
    simulated = photograph(stage, shot)
    truth = true_points(stage, simulated)
    accepted = is_accepted(Capture(simulated.frames, simulated.timestamps_ns, plan), truth)
    glasses = Identity.draw(subject).glasses is not None
    return [
        Sighting(seed, rank, accepted, glasses, _error(simulated.frames[rank], truth[rank], detector))
        for rank in (0, plan.n0 - 1)
    ]


def _error(
    frame: npt.NDArray[np.uint8], truth: npt.NDArray[np.float64], detector: LandmarkDetector
) -> npt.NDArray[np.float64] | None:
    faces = detector.detect(frame)
    try:
        face = find_single_face(faces, frame.shape, min_width_px=0.0)
    except FaceCutOff:
        face = max(faces, key=lambda found: found.width)
    except UserFailure:
        return None
    return np.asarray((face.points[list(LANDMARKS)] - truth) * (REFERENCE_SIZE / frame.shape[0]))


def summary(sightings: list[Sighting]) -> dict[str, object]:
    """Return the measured numbers under stable keys; distances in pixels at 256."""
    counted = [sighting for sighting in sightings if sighting.accepted]
    errors = np.array([sighting.error for sighting in counted if sighting.error is not None])
    distances = np.linalg.norm(errors, axis=2) if len(errors) else np.empty((0, len(LANDMARKS)))
    sharp = [LANDMARKS.index(index) for index in SHARP]
    return {
        "frames": len(sightings),
        "frames_of_accepted_captures": len(counted),
        "found": _share_found(counted),
        "found_with_glasses": _share_found([sighting for sighting in counted if sighting.glasses]),
        "not_found": [(sighting.seed, sighting.rank) for sighting in counted if sighting.error is None],
        "mean_distance_px": _rounded(distances[:, sharp].mean()) if len(errors) else None,  # without the chin
        "p95_distance_px": _rounded(np.percentile(distances[:, sharp], 95)) if len(errors) else None,
        "points": {
            str(index): {
                "mean_distance_px": _rounded(distances[:, k].mean()),
                "offset_px": [_rounded(value) for value in errors[:, k].mean(0)],
            }
            for k, index in enumerate(LANDMARKS)
            if len(errors)
        },
    }


def _share_found(sightings: list[Sighting]) -> float | None:
    return _rounded(np.mean([sighting.error is not None for sighting in sightings]), 5) if sightings else None


def _rounded(value: float | np.floating, digits: int = 3) -> float:
    return round(float(value), digits)


def main(
    count: Annotated[int, typer.Option(min=1, help="Live captures; two frames of each are shown.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Draws the captures.")] = 0,
    size: Annotated[int, typer.Option(min=128, max=1024, help="Width of the frames in pixels.")] = REFERENCE_SIZE,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers to this file.")] = None,
) -> None:
    """Simulate, detect, compare, print one JSON object."""
    subjects = np.random.default_rng([seed, FIRST_SEED]).choice(SUBJECT_COUNT, count)
    detector, plan = FaceMeshDetector(), default_plan()
    sightings: list[Sighting] = []
    with progress_bar("Looking", quiet=False) as progress:
        for k, subject in enumerate(subjects):
            progress(k, count)
            sightings += look_at(FIRST_SEED + seed + k, int(subject), plan, size, detector)
    numbers = summary(sightings)
    if json_file is not None:
        write_json(json_file, numbers)
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    typer.run(main)
