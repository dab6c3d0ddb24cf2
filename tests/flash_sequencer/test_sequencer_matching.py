"""Matching frames to steps, on hand-made times in milliseconds turned into nanoseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_sequencer.matching import DropReason, Matching, MatchingError, match
from flash_sequencer.player import PresentedStep

MS = 1_000_000


def shown(*spans_ms: tuple[int, int, int]) -> tuple[PresentedStep, ...]:
    return tuple(PresentedStep(rank, (rank, rank, rank), start * MS, end * MS) for rank, start, end in spans_ms)


def matched(
    steps: Sequence[PresentedStep],
    stamps_ms: Sequence[int],
    exposure: int = 20,
    lag: int = 0,
    settling: int = 50,
    uncertainty: int = 0,
    quality: Sequence[float] | None = None,
) -> Matching:
    return match(
        steps,
        [stamp * MS for stamp in stamps_ms],
        exposure_ns=exposure * MS,
        lag_ns=lag * MS,
        settling_ns=settling * MS,
        uncertainty_ns=uncertainty * MS,
        quality=quality,
    )


# In time order rank 1, 0, 2
THREE_STEPS = shown((1, 1000, 1300), (0, 1300, 1600), (2, 1600, 1900))


def test_each_rank_gets_the_frame_nearest_to_the_middle_of_its_settled_step() -> None:
    # Settled from 1050 to 1300: the middle is 1175, the best exposure of 20 ms begins at 1165.
    result = matched(THREE_STEPS, [1060, 1160, 1280, 1400, 1470, 1700, 1765])
    assert result.frame_index_by_rank == (4, 1, 6)
    assert result.dropped == tuple((index, DropReason.NOT_BEST) for index in (0, 2, 3, 5))


@pytest.mark.parametrize(
    ("stamp_ms", "reason"),
    [
        (999, DropReason.BEFORE_FIRST_STEP),
        (1000, DropReason.SETTLING),
        (1049, DropReason.SETTLING),
        (1050, DropReason.NOT_BEST),
        (1280, DropReason.NOT_BEST),  # ends exactly as the step does
        (1281, DropReason.TRANSITION),
        (1299, DropReason.TRANSITION),
        (1300, DropReason.SETTLING),
        (1880, DropReason.NOT_BEST),
        (1881, DropReason.AFTER_LAST_STEP),
        (9999, DropReason.AFTER_LAST_STEP),
    ],
)
@pytest.mark.parametrize("lag", [0, 40, -70])
def test_every_other_frame_is_dropped_for_a_reason(stamp_ms: int, reason: DropReason, lag: int) -> None:
    central = [1165, 1465, 1765]
    stamps = sorted({*central, stamp_ms})
    result = matched(THREE_STEPS, [stamp + lag for stamp in stamps], lag=lag)
    assert result.dropped == ((stamps.index(stamp_ms), reason),)


def test_of_two_frames_as_central_the_later_is_taken() -> None:
    result = matched(THREE_STEPS, [1155, 1175, 1465, 1765])
    assert result.frame_index_by_rank == (2, 1, 3)


def test_the_best_frame_is_taken_wherever_it_lies_and_of_equals_the_most_central() -> None:
    stamps = [1060, 1160, 1280, 1400, 1470, 1700, 1765]
    result = matched(THREE_STEPS, stamps, quality=[9, 7, 8, 5, 5, 1, 0])
    assert result.frame_index_by_rank == (4, 0, 5)
    assert result.dropped == tuple((index, DropReason.NOT_BEST) for index in (1, 2, 3, 6))


def test_a_sharp_frame_of_a_transition_is_never_taken() -> None:
    result = matched(THREE_STEPS, [1165, 1290, 1465, 1765], quality=[1, 99, 1, 1])
    assert result.dropped == ((1, DropReason.TRANSITION),)


@pytest.mark.parametrize(
    ("stamp_ms", "reason"),
    [
        (1009, DropReason.BEFORE_FIRST_STEP),
        (1010, DropReason.SETTLING),
        (1059, DropReason.SETTLING),
        (1060, DropReason.NOT_BEST),
        (1270, DropReason.NOT_BEST),
        (1271, DropReason.TRANSITION),
        (1870, DropReason.NOT_BEST),
        (1871, DropReason.AFTER_LAST_STEP),
    ],
)
def test_an_uncertain_lag_of_10_ms_narrows_a_step_by_10_ms_at_each_end(stamp_ms: int, reason: DropReason) -> None:
    stamps = sorted({1165, 1465, 1765, stamp_ms})
    assert matched(THREE_STEPS, stamps, uncertainty=10).dropped == ((stamps.index(stamp_ms), reason),)


def test_repeated_frames_and_frames_out_of_order_are_dropped_by_name() -> None:
    result = matched(THREE_STEPS, [1165, 1165, 1465, 1300, 1765, 1764, 1765], quality=[1, 9, 1, 9, 1, 9, 9])
    assert result.frame_index_by_rank == (2, 0, 4)
    assert result.dropped == tuple((index, DropReason.DUPLICATE) for index in (1, 3, 5, 6))


def test_an_exposure_longer_than_the_settled_step_matches_nothing() -> None:
    with pytest.raises(MatchingError, match="no frame"):
        matched(THREE_STEPS, range(900, 2000), exposure=251)
    assert matched(THREE_STEPS, range(900, 2000), exposure=250).frame_index_by_rank == (450, 150, 750)


def test_a_gap_between_steps_is_a_transition() -> None:
    steps = shown((0, 0, 300), (1, 400, 700), (2, 700, 1000))
    result = matched(steps, [150, 340, 550, 850])
    assert result.dropped == ((1, DropReason.TRANSITION),)


def test_a_step_without_a_frame_is_named_with_what_happened_to_the_others() -> None:
    with pytest.raises(MatchingError, match=r"rank \[0, 2\] \(3 frames: 1 before_first_step, 1 transition\)"):
        matched(THREE_STEPS, [0, 1165, 1290])
    with pytest.raises(MatchingError, match=r"rank \[0, 1, 2\] \(0 frames: none dropped\)"):
        matched(THREE_STEPS, [])


@pytest.mark.parametrize(
    ("steps", "stamps_ms", "changes", "message"),
    [
        ((), [1], {}, "each rank of the plan once"),
        (THREE_STEPS[:2], [1], {}, None),
        (shown((1, 0, 300), (1, 300, 600)), [1], {}, "each rank of the plan once"),
        (shown((0, 0, 300), (2, 300, 600)), [1], {}, "each rank of the plan once"),
        (shown((0, 0, 300), (1, 299, 600)), [1], {}, "overlap"),
        (shown((0, 300, 600), (1, 0, 300)), [1], {}, "overlap"),
        (shown((0, 0, 0), (1, 0, 300)), [1], {}, "last no time"),
        (THREE_STEPS, [1165], {"exposure": 0}, "positive"),
        (THREE_STEPS, [1165], {"settling": -1}, "non-negative"),
        (THREE_STEPS, [1165], {"uncertainty": -1}, "non-negative"),
        (THREE_STEPS, [1165, 1465], {"quality": [1.0]}, "each of 2 frames"),
        (THREE_STEPS, [1165, 1465], {"quality": [1.0, float("nan")]}, "1 of them finite"),
    ],
)
def test_senseless_times_are_refused(
    steps: Sequence[PresentedStep], stamps_ms: list[int], changes: dict[str, Any], message: str | None
) -> None:
    with pytest.raises(MatchingError, match=message):
        matched(steps, stamps_ms, **changes)


@settings(max_examples=100, deadline=None)
@given(
    *(st.integers(*limits) for limits in [(0, 40), (1, 30), (-200, 200), (0, 100), (25, 40), (0, 20)]),
    st.lists(st.floats(-9, 9), min_size=60, max_size=60),
    st.floats(-1, 1),
)
def test_a_chosen_frame_saw_one_settled_colour(
    phase: int,
    exposure: int,
    lag: int,
    settling: int,
    period: int,
    uncertainty: int,
    quality: list[float],
    error: float,
) -> None:
    """Walks through each chosen exposure millisecond by millisecond and asks what the screen showed then."""
    stamps = [700 + phase + period * index for index in range(60)]
    estimated = lag + round(error * uncertainty)
    result = matched(THREE_STEPS, stamps, exposure, estimated, settling, uncertainty, quality)
    for rank, index in enumerate(result.frame_index_by_rank):
        step = next(step for step in THREE_STEPS if step.rank == rank)
        for instant_ms in range(stamps[index], stamps[index] + exposure):
            assert step.shown_at_ns + settling * MS <= (instant_ms - lag) * MS < step.ended_at_ns
    indices = [*result.frame_index_by_rank, *(index for index, _ in result.dropped)]
    assert sorted(indices) == list(range(len(stamps)))
