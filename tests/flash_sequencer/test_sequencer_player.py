"""The player, by walking time: no sleep, no display."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sequencer.plan import challenge, default_plan
from flash_sequencer.player import DARK_SURROUND, FlashPlayer, PlayerError, PresentedStep

MS = 1_000_000
START_NS = 5_000 * MS
WHITE, RED, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 0)


class WalkedClock:
    """A clock that stands still until it is told the time."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


def started_player(*, ideal: bool = True) -> tuple[FlashPlayer, WalkedClock]:
    clock = WalkedClock()
    player = FlashPlayer(default_plan(3), clock, ideal_display=ideal)  # white, red, black, 300 ms each
    player.start()
    return player, clock


@pytest.mark.parametrize(
    ("after_start_ns", "index", "colour"),
    [
        (-1, None, DARK_SURROUND),
        (0, 0, WHITE),
        (300 * MS - 1, 0, WHITE),
        (300 * MS, 1, RED),
        (600 * MS - 1, 1, RED),
        (600 * MS, 2, BLACK),
        (900 * MS - 1, 2, BLACK),
        (900 * MS, None, DARK_SURROUND),
        (10**15, None, DARK_SURROUND),
    ],
)
def test_each_moment_has_its_colour(after_start_ns: int, index: int | None, colour: tuple[int, int, int]) -> None:
    player, clock = started_player()
    clock.now_ns = START_NS + after_start_ns
    assert player.step_at(clock.now_ns) == index
    assert player.colour_at(clock.now_ns) == player.colour_now() == colour
    assert player.finished(clock.now_ns) == (after_start_ns >= 900 * MS)


def test_before_the_start_the_surround_shows_and_nothing_is_finished() -> None:
    player = FlashPlayer(default_plan(), WalkedClock(), surround=(9, 9, 9))
    assert player.colour_now() == (9, 9, 9)
    assert player.step_at(START_NS) is None
    assert not player.finished(10**18)


@given(st.binary(min_size=16, max_size=16), st.integers(3, 8))
def test_the_presented_steps_are_the_plan_without_gaps(nonce: bytes, n0: int) -> None:
    plan, clock = challenge(nonce, n0), WalkedClock()
    player = FlashPlayer(plan, clock, ideal_display=True)
    player.start()
    clock.now_ns += plan.duration_ms * MS
    presented = player.presented()
    assert [(step.rank, step.srgb) for step in presented] == [(step.rank, step.srgb) for step in plan.steps]
    assert presented[0].shown_at_ns == START_NS
    assert presented[-1].ended_at_ns == clock.now_ns
    assert all(a.ended_at_ns == b.shown_at_ns for a, b in pairwise(presented))
    assert all(player.colour_at(step.shown_at_ns) == step.srgb for step in presented)


def test_a_step_ends_when_it_was_shown_for_its_duration() -> None:
    player, clock = started_player(ideal=False)
    player.report_shown(0, START_NS + 12 * MS)
    assert [player.step_at(START_NS + t * MS) for t in (0, 311, 312)] == [0, 0, 1]
    player.report_shown(1, START_NS + 317 * MS)
    player.report_shown(1, START_NS + 333 * MS)  # the next refresh of the same step: not when it appeared
    assert [player.step_at(START_NS + t * MS) for t in (616, 617)] == [1, 2]
    player.report_shown(2, START_NS + 667 * MS)
    assert [player.finished(START_NS + t * MS) for t in (966, 967)] == [False, True]
    clock.now_ns = START_NS + 967 * MS
    assert player.presented() == (
        PresentedStep(0, WHITE, START_NS + 12 * MS, START_NS + 317 * MS),
        PresentedStep(1, RED, START_NS + 317 * MS, START_NS + 667 * MS),
        PresentedStep(2, BLACK, START_NS + 667 * MS, START_NS + 967 * MS),
    )


def test_a_step_that_was_never_shown_is_never_passed_over() -> None:
    player, clock = started_player(ideal=False)
    clock.now_ns += 10**12
    assert (player.step_at(clock.now_ns), player.finished(clock.now_ns)) == (0, False)
    player.report_shown(0, clock.now_ns)
    clock.now_ns += 10**12
    assert (player.step_at(clock.now_ns), player.colour_now()) == (1, RED)


def test_a_display_that_skips_or_hurries_is_refused() -> None:
    player, _ = started_player(ideal=False)
    with pytest.raises(PlayerError, match="before it was due"):
        player.report_shown(1, START_NS + 400 * MS)
    with pytest.raises(PlayerError, match="before it was due"):
        player.report_shown(0, START_NS - 1)
    player.report_shown(0, START_NS + 10 * MS)
    with pytest.raises(PlayerError, match="before it was due"):
        player.report_shown(1, START_NS + 310 * MS - 1)
    ideal, _ = started_player(ideal=True)
    with pytest.raises(PlayerError, match="ideal"):
        ideal.report_shown(0, START_NS)


@pytest.mark.parametrize("ideal", [True, False])
def test_after_a_stop_nothing_is_due_and_what_was_shown_is_told(ideal: bool) -> None:
    player, clock = started_player(ideal=ideal)
    if not ideal:
        player.report_shown(0, START_NS)
        player.report_shown(1, START_NS + 300 * MS)
    clock.now_ns = START_NS + 450 * MS
    player.stop()
    assert player.stopped
    assert (player.step_at(clock.now_ns), player.colour_now()) == (None, DARK_SURROUND)
    assert player.step_at(clock.now_ns - 1) == 1
    clock.now_ns += 10**12
    player.stop()  # harmless
    assert player.finished(clock.now_ns)
    assert player.presented() == (
        PresentedStep(0, WHITE, START_NS, START_NS + 300 * MS),
        PresentedStep(1, RED, START_NS + 300 * MS, START_NS + 450 * MS),
    )
    with pytest.raises(PlayerError, match="started before"):
        player.start()


def test_a_stop_before_the_start_shows_nothing_and_one_after_the_end_changes_nothing() -> None:
    clock = WalkedClock()
    player = FlashPlayer(default_plan(3), clock)
    player.stop()
    assert (player.presented(), player.stopped) == ((), True)
    with pytest.raises(PlayerError, match="started before"):
        player.start()
    ended, clock = started_player()
    clock.now_ns = START_NS + 900 * MS
    steps = ended.presented()
    ended.stop()
    assert (ended.presented(), ended.stopped) == (steps, False)


def test_asking_out_of_turn_is_refused() -> None:
    player, clock = started_player()
    with pytest.raises(PlayerError, match="started before"):
        player.start()
    clock.now_ns = START_NS + 900 * MS - 1
    with pytest.raises(PlayerError, match="not over"):
        player.presented()
    with pytest.raises(PlayerError, match="not over"):
        FlashPlayer(default_plan(), clock).presented()
    player, clock = started_player(ideal=False)
    for index in (-1, 3):
        with pytest.raises(PlayerError, match="expected 0 to 2"):
            player.report_shown(index, 0)
