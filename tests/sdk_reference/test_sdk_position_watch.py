"""A face is ready when it has been in place, and still, for long enough: not before, and not after a break."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posed_faces import FRAME, posed_face

from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.position_watch import MAX_GAP_NS, STEADY_NS, PositionWatch
from sdk_reference.positioning import Placement

PERIOD_NS = 33_000_000


def watched(offsets: Iterable[float | None], watch: PositionWatch | None = None, start_ns: int = 0) -> list[Placement]:
    """One placement per offset to the right (None: no face), a frame period apart."""
    watch = watch or PositionWatch()
    return [
        watch.see([] if offset is None else [posed_face(0.4, (offset, 0.0))], FRAME, start_ns + index * PERIOD_NS)
        for index, offset in enumerate(offsets)
    ]


def test_a_still_face_is_ready_after_the_time_that_was_asked() -> None:
    placements = watched([0.0] * 20)
    first = next(index for index, placement in enumerate(placements) if placement.ready)
    assert (first - 1) * PERIOD_NS < STEADY_NS <= first * PERIOD_NS
    assert placements[-1].held_ns == 19 * PERIOD_NS
    assert all(placement.movement == pytest.approx(0.0, abs=1e-6) for placement in placements)


def test_a_moving_face_is_told_to_hold_still_and_measured() -> None:
    placements = watched([0.004 * index for index in range(20)])  # 1 % of its width per frame
    assert placements[4].problem is None
    assert placements[10].problem is not None and placements[10].problem.code == "face_unsteady"
    assert placements[10].guidance == "hold_still"
    assert placements[10].movement == pytest.approx(0.1, abs=0.002)
    assert not any(placement.ready for placement in placements)


def test_only_the_last_moments_count() -> None:
    placements = watched([0.1] * 5 + [0.0] * 40)
    assert placements[6].problem is not None
    assert placements[-1].ready


@pytest.mark.parametrize("gap", [None, 0.5])
def test_a_break_begins_the_count_again(gap: float | None) -> None:
    placements = watched([0.0] * 20 + [gap] + [0.0] * 20)
    assert placements[19].ready
    assert placements[20].problem is not None
    after = [placement.ready for placement in placements[21:]]
    assert not any(after[:12])
    assert gap is not None or after[-1]


def test_time_that_goes_back_or_is_missing_begins_the_count_again() -> None:
    for start_ns in (0, 19 * PERIOD_NS + MAX_GAP_NS + 1):
        watch = PositionWatch()
        assert watched([0.0] * 20, watch)[-1].ready
        (placement,) = watched([0.0], watch, start_ns)
        assert (placement.ready, placement.held_ns) == (False, 0)


def test_one_frame_shown_again_and_again_proves_nothing() -> None:
    watch = PositionWatch()
    assert not any(watch.see([posed_face()], FRAME, 7).ready for _ in range(50))


def test_resetting_forgets() -> None:
    watch = PositionWatch()
    watched([0.0] * 20, watch)
    watch.reset()
    assert watched([0.3], watch, 20 * PERIOD_NS)[0].movement == 0.0


def test_an_impossible_time_is_refused() -> None:
    with pytest.raises(ValueError, match="steady_ns"):
        PositionWatch(steady_ns=-1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, None]), max_size=40), st.integers(0, 600_000_000))
def test_ready_means_a_stretch_of_frames_without_a_problem(offsets: list[float | None], steady_ns: int) -> None:
    placements = watched(offsets, PositionWatch(steady_ns=steady_ns))
    for index, placement in enumerate(placements):
        if placement.ready:
            stretch = [earlier.problem for earlier in placements[index - placement.held_ns // PERIOD_NS : index + 1]]
            assert set(stretch) == {None}
            assert placement.held_ns >= steady_ns


def test_most_simulated_people_who_hold_a_phone_are_steady_enough() -> None:
    """The limit must pass hands as the simulator's motion model has them, FaceMesh's own jitter included."""
    from simulator.camera import SimulatedCamera, SimulatedClock
    from simulator.stage import set_stage

    detector = FaceMeshDetector()
    movements = []
    for seed in range(3):
        clock = SimulatedClock()
        stage = set_stage(seed, seed * 11 + 5, "live", "live", ambient_lux=200.0)
        rng = np.random.default_rng(seed)
        camera = SimulatedCamera(stage, lambda _: (255, 255, 255), clock, frame_rate_hz=15.0, rng=rng)
        camera.open()
        watch = PositionWatch()
        for _ in range(15):
            frame = camera.read()
            placement = watch.see(detector.detect(frame.image), frame.image.shape, frame.timestamp_ns)
            movements.append(placement.movement or 0.0)
    print("movement, 50th, 90th and 100th percentile:", np.percentile(movements, [50, 90, 100]))
    assert np.mean(np.array(movements) <= 0.05) > 0.8
