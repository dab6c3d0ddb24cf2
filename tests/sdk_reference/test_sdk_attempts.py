"""Attempts run out, pauses grow, and nothing an attacker can do to the clock or the app makes either cheaper."""

from __future__ import annotations

import inspect
import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_reference import errors
from sdk_reference.attempts import (
    COST_OF_REASON,
    DURING_THE_FLASH,
    IN_FULL,
    NS_PER_S,
    QUARTERS,
    SURROUNDINGS,
    Attempts,
    cost,
)
from sdk_reference.decide import Verdict
from sdk_reference.errors import AttemptsUsedUp, UserFailure


class Clock:
    def __init__(self, now_ns: int = 5 * NS_PER_S) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def attempt(attempts: Attempts, clock: Clock, verdict: Verdict, *reasons: str) -> float:
    """Wait, try, and return the pause that follows."""
    clock.now_ns += math.ceil(attempts.pause_left_s() * NS_PER_S)
    attempts.begin()
    clock.now_ns += NS_PER_S
    attempts.end(verdict, reasons)
    return attempts.pause_left_s()


def test_pauses_after_spoofs_double_until_none_is_left() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    pauses = [attempt(attempts, clock, "spoof", "score_below_threshold") for _ in range(5)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, math.inf]
    assert not attempts.may_start()
    clock.now_ns += 10**6 * NS_PER_S
    with pytest.raises(AttemptsUsedUp, match="all 5"):
        attempts.begin()


def test_no_pause_is_longer_than_the_longest() -> None:
    clock = Clock()
    attempts = Attempts(clock, limit=100, growth=10.0)
    pauses = [attempt(attempts, clock, "spoof") for _ in range(99)]
    assert pauses[:2] == [2.0, 20.0]
    assert set(pauses[2:]) == {60.0}


def test_a_persons_surroundings_cost_a_quarter() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    pauses = [attempt(attempts, clock, "retry", "flash_too_weak") for _ in range(20)]
    assert pauses[0] == pytest.approx(2 * 2**-0.75)
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert attempts.used_up
    assert attempts.number == 20


@pytest.mark.parametrize(
    ("verdict", "reasons", "quarters"),
    [
        ("live", (), 0),
        ("retry", ("no_face",), 1),
        ("retry", ("timed_out",), 1),
        ("retry", ("picture_turned",), 1),
        ("retry", ("moved",), 2),
        ("retry", ("no_face", "step_missed"), 2),
        ("retry", ("face_changed",), 4),
        ("retry", ("no_face", "something_new"), 4),
        ("retry", (), 4),
        ("spoof", ("response_mismatch",), 4),
        ("spoof", ("no_face",), 4),
        ("neither", ("no_face",), 4),
    ],
)
def test_what_an_attempt_costs(verdict: Verdict, reasons: tuple[str, ...], quarters: int) -> None:
    assert cost(verdict, reasons) == quarters


def test_every_failure_of_a_person_has_a_cost_that_was_chosen() -> None:
    """A code in no set would cost a whole attempt by accident, as a camera lying on its side once did."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UserFailure)]
    codes = {kind.code for kind in kinds if kind is not UserFailure}
    assert set(COST_OF_REASON) == codes
    assert not any(one & other for one, other in combinations((SURROUNDINGS, DURING_THE_FLASH, IN_FULL), 2))


def test_an_attempt_that_never_ends_counts_in_full() -> None:
    clock = Clock()
    attempts = Attempts(clock, limit=1)
    attempts.begin()
    assert attempts.used_up
    with pytest.raises(AttemptsUsedUp):
        attempts.begin()


def test_the_last_attempt_may_be_tried_again_after_a_retry() -> None:
    clock = Clock()
    attempts = Attempts(clock, limit=1)
    assert attempt(attempts, clock, "retry", "no_face") < 2.0
    assert attempt(attempts, clock, "spoof") == math.inf


def test_a_live_verdict_forgives_all() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    attempt(attempts, clock, "spoof")
    assert attempt(attempts, clock, "live") == 0.0
    assert attempts.may_start()
    assert attempt(attempts, clock, "spoof") == 2.0


def test_calls_out_of_turn_are_refused() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    with pytest.raises(ValueError, match="begin"):
        attempts.end("spoof")
    assert attempts.begin() == 1
    with pytest.raises(ValueError, match="still runs"):
        attempts.begin()
    attempts.end("spoof")
    with pytest.raises(ValueError, match=r"2\.0 s of pause"):
        attempts.begin()


def test_a_clock_that_jumps_back_starts_the_pause_again() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    attempt(attempts, clock, "spoof")
    clock.now_ns += NS_PER_S
    assert attempts.pause_left_s() == 1.0
    clock.now_ns -= 3600 * NS_PER_S
    assert attempts.pause_left_s() == 2.0
    clock.now_ns += 2 * NS_PER_S
    assert attempts.may_start()


@pytest.mark.parametrize(
    "settings_",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": True},
        {"first_pause_s": -1.0},
        {"first_pause_s": math.nan},
        {"first_pause_s": 61.0},
        {"longest_pause_s": math.inf},
        {"growth": 0.5},
        {"growth": math.nan},
        {"growth": 11.0},
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="found"):
        Attempts(Clock(), **settings_)  # type: ignore[arg-type]


ENDINGS = st.one_of(
    st.just(("spoof", ("score_below_threshold",))),
    st.tuples(st.just("retry"), st.tuples(st.sampled_from(sorted(COST_OF_REASON)))),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENDINGS, max_size=30), st.integers(1, 8))
def test_no_more_spoofs_than_the_limit_are_ever_possible_and_pauses_never_shrink(
    endings: list[tuple[Verdict, tuple[str, ...]]], limit: int
) -> None:
    clock = Clock()
    attempts = Attempts(clock, limit=limit)
    spent, spoofs, pause_s = 0, 0, 0.0
    for verdict, reasons in endings:
        if attempts.used_up:
            break
        spent += cost(verdict, reasons)
        spoofs += verdict == "spoof"
        following = attempt(attempts, clock, verdict, *reasons)
        assert following >= pause_s
        pause_s = following
    assert spoofs <= limit
    assert attempts.used_up == (spent >= limit * QUARTERS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 100.0)), min_size=1, max_size=12))
def test_jumps_back_never_shorten_a_pause(moves: list[tuple[float, float]]) -> None:
    """Real time passes, then the clock jumps back: whoever waited less than the pause may not start."""
    clock = Clock()
    attempts = Attempts(clock, first_pause_s=5.0)
    attempt(attempts, clock, "spoof")
    waited_s = 0.0
    for pass_s, back_s in moves:
        clock.now_ns += int(pass_s * NS_PER_S)
        waited_s += pass_s
        clock.now_ns -= int(back_s * NS_PER_S)
        left_s = attempts.pause_left_s()
        assert left_s >= 5.0 - waited_s - 1e-6
        assert left_s <= 5.0
        assert attempts.may_start() == (left_s == 0)
