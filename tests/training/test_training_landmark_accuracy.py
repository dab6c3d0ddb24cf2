"""The command that measures landmarks: a perfect detector scores perfectly, a displaced or blind one is found out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from flash_sequencer.plan import default_plan
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face
from simulator.capture import Shot, photograph
from simulator.stage import set_stage
from simulator.truth_landmarks import LANDMARKS
from training.landmark_accuracy import look_at, summary, true_points

SEED, SUBJECT, SIZE = 11, 5, 128
PLAN = default_plan()


class TellsTheTruth:
    """A detector that knows the answer for two frames, shifted by some pixels; or sees nothing."""

    def __init__(self, truth: npt.NDArray[np.float64], shift_px: tuple[float, float] | None) -> None:
        self._answers = [truth[0], truth[-1]]
        self._shift = shift_px

    def detect(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        truth = self._answers.pop(0)
        if self._shift is None:
            return []
        points = np.tile(truth.mean(0), (N_LANDMARKS, 1))
        turn = np.linspace(0.0, 2.0 * np.pi, len(FACE_OVAL), endpoint=False)
        points[list(FACE_OVAL)] += 30.0 * np.stack([np.sin(turn), -np.cos(turn)], 1)
        points[list(LANDMARKS)] = truth + self._shift
        return [Face(points.astype(np.float32), np.zeros(N_LANDMARKS, np.float32))]


@pytest.fixture(scope="module")
def truth() -> npt.NDArray[np.float64]:
    stage = set_stage(SEED, SUBJECT, "live", "face", SIZE)
    return true_points(stage, photograph(stage, Shot(SEED, tuple(step.linear for step in PLAN.steps_by_rank))))


def test_true_points_lie_inside_the_frame_and_move_with_the_head(truth: npt.NDArray[np.float64]) -> None:
    assert truth.shape == (PLAN.n0, len(LANDMARKS), 2)
    assert truth.min() > 0.0 and truth.max() < SIZE
    assert 0.0 < np.abs(truth[0] - truth[-1]).max() < 0.2 * SIZE


def test_errors_are_told_in_pixels_at_256(truth: npt.NDArray[np.float64]) -> None:
    sightings = look_at(SEED, SUBJECT, PLAN, SIZE, TellsTheTruth(truth, (1.5, -2.0)))
    assert [sighting.rank for sighting in sightings] == [0, PLAN.n0 - 1]
    for sighting in sightings:
        assert sighting.error is not None
        np.testing.assert_allclose(sighting.error, np.broadcast_to((3.0, -4.0), sighting.error.shape), atol=1e-3)
    if sightings[0].accepted:
        assert summary(sightings)["mean_distance_px"] == 5.0


def test_a_blind_detector_finds_nothing(truth: npt.NDArray[np.float64]) -> None:
    sightings = look_at(SEED, SUBJECT, PLAN, SIZE, TellsTheTruth(truth, None))
    numbers = summary(sightings)
    assert numbers["frames"] == 2 and numbers["mean_distance_px"] is None
    assert numbers["found"] == (0.0 if sightings[0].accepted else None)
