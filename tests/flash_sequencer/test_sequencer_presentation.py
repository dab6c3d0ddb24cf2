"""What was really on the screen: the log, and that late and dropped display frames leave a safe plan safe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_sequencer.errors import PlayerError
from flash_sequencer.plan import FlashPlan, challenge, default_plan
from flash_sequencer.player import DARK_SURROUND
from flash_sequencer.presentation import Presentation
from flash_sequencer.safety_trial import present

MS = 1_000_000
WHITE, RED, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 0)


def log(*entries: tuple[tuple[int, int, int], int]) -> Presentation:
    """Entries with times in ms."""
    presentation = Presentation()
    for colour, at_ms in entries:
        presentation.record(colour, at_ms * MS)
    return presentation


def test_each_moment_shows_the_latest_colour_and_before_the_log_its_first() -> None:
    presentation = log((BLACK, 10), (WHITE, 20), (RED, 30))
    asked = {9: BLACK, 10: BLACK, 19: BLACK, 20: WHITE, 29: WHITE, 30: RED, 10**6: RED}
    assert {at_ms: presentation.colour_at(at_ms * MS) for at_ms in asked} == asked


def test_a_repeated_colour_adds_nothing() -> None:
    presentation = log((BLACK, 10), (BLACK, 20), (WHITE, 30), (WHITE, 30))
    assert presentation.entries == ((BLACK, 10 * MS), (WHITE, 30 * MS))
    assert json.loads(json.dumps(presentation.to_dict())) == {
        "entries": [{"srgb": [0, 0, 0], "at_ns": 10 * MS}, {"srgb": [255, 255, 255], "at_ns": 30 * MS}]
    }


def test_time_that_goes_back_and_an_empty_log_are_refused() -> None:
    with pytest.raises(PlayerError, match="1000000 ns before"):
        log((BLACK, 10), (WHITE, 9))
    for ask in (Presentation().colour_at, Presentation().sequence, log((BLACK, 10)).sequence):
        with pytest.raises(PlayerError, match="expected"):
            ask(10 * MS)


def test_the_sequence_has_whole_milliseconds_and_loses_no_change() -> None:
    presentation = Presentation()
    for colour, at_ns in [(BLACK, 10_900_000), (WHITE, 20_100_000), (RED, 20_200_000), (BLACK, 320_150_000)]:
        presentation.record(colour, at_ns)
    assert presentation.sequence(400_000_000) == [(BLACK, 10), (WHITE, 1), (RED, 299), (BLACK, 80)]
    assert presentation.sequence(320_150_000) == [(BLACK, 10), (WHITE, 1), (RED, 299)]


def test_a_flicker_at_four_hertz_that_was_really_shown_is_found() -> None:
    flicker = log(*(((BLACK, WHITE)[index % 2], 125 * index) for index in range(20)))
    report = flicker.safety(2500 * MS, surrounds=(BLACK,))
    assert not report.ok
    assert report.general.flashes == 4


def test_a_display_that_makes_up_for_a_stall_turns_a_safe_plan_into_an_unsafe_sequence() -> None:
    """Why steps are paced by what was shown: eight steps of 300 ms, a stall of 1.5 s, the overdue ones in a hurry."""
    eight = [(BLACK, WHITE)[index % 2] for index in range(8)]
    times_ms = [0, 1500, 1510, 1520, 1530, 1800, 2100, 2400]
    assert log(*zip(eight, range(0, 2400, 300), strict=True)).safety(2400 * MS).ok
    assert not log(*zip(eight, times_ms, strict=True)).safety(2700 * MS).ok


plans = st.builds(
    challenge, st.binary(min_size=16, max_size=16), st.integers(3, 8), st.sampled_from(["standard", "gentle"])
)
# Between two looks at the clock, and from drawing to light: mostly smooth, sometimes stalled for longer than a step.
delays_ms = st.lists(st.one_of(st.floats(0, 8), st.floats(0, 1500)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(plans, delays_ms, delays_ms, st.sampled_from([24.0, 60.0, 144.0]))
def test_late_and_dropped_display_frames_lengthen_a_sequence_and_leave_it_safe(
    plan: FlashPlan, gaps_ms: Sequence[float], lateness_ms: Sequence[float], refresh_hz: float
) -> None:
    player, presentation, ended_ns = present(plan, gaps_ms, lateness_ms, refresh_hz)
    shown = player.presented()
    assert [step.srgb for step in shown] == [step.srgb for step in plan.steps]
    for planned, really in zip(plan.steps, shown, strict=True):
        assert really.ended_at_ns - really.shown_at_ns >= planned.duration_ms * MS
    colours, times_ns = zip(*presentation.entries, strict=True)
    assert list(colours) == [DARK_SURROUND, *(step.srgb for step in plan.steps), DARK_SURROUND]
    for planned, (start_ns, end_ns) in zip(plan.steps, pairwise(times_ns[1:]), strict=True):
        assert end_ns - start_ns >= planned.duration_ms * MS
    assert presentation.safety(ended_ns).ok
    assert presentation.safety(ended_ns, surrounds=(WHITE, RED)).ok


@settings(max_examples=60, deadline=None)
@given(plans, delays_ms, st.integers(0, 5000))
def test_a_plan_that_is_stopped_is_safe_too(plan: FlashPlan, gaps_ms: Sequence[float], stop_ms: int) -> None:
    _, presentation, ended_ns = present(plan, gaps_ms, [0.0], 60.0, stop_after_ms=stop_ms)
    assert presentation.safety(ended_ns).ok


def test_a_display_without_delay_shows_the_plan_to_the_refresh() -> None:
    plan = default_plan(3)
    player, _, _ = present(plan, [0.0], [0.0], 60.0)
    for step in player.presented()[:-1]:
        assert 300 * MS <= step.ended_at_ns - step.shown_at_ns < 300 * MS + 1.01e9 / 60
