"""Nothing is live unless every condition for it holds, and nothing that is not a number in its range decides at all."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_reference.decide import EXIT_STATUS, Decision, Reason, decide, retry
from sdk_reference.errors import FaceTooSmall, FlashTooWeak, ModelFailed, Moved
from sdk_reference.runtime import ModelOutputs

N = 6
REASON = Reason("code", "message", "hint")
WEAK = FlashTooWeak(found="ratio 0.01", expected="at least 0.05", remedy="go where it is darker")
MOVED = Moved(found="30 pixels", expected="at most 10", remedy="hold still")


def outputs(
    score: float = 0.9, types: Any = (0.2, 0.5, 0.3), depth: float = 0.5, response: float = 0.0
) -> ModelOutputs:
    return ModelOutputs(
        score=score,
        type=np.array(types, np.float32),
        depth=np.full((4, 4), depth, np.float32),
        flash_response=np.full((N, 3), response, np.float32),
    )


def rows(count: int) -> np.ndarray:
    return np.arange(N) < count


def judge(model: ModelOutputs, failures: Any = (), disagreeing: int = 0, threshold: float = 0.5) -> Decision:
    return decide(model, failures, rows(disagreeing), threshold=threshold, max_disagreeing_rows=2)


@pytest.mark.parametrize(
    ("failures", "disagreeing", "score"),
    list(itertools.product([(), (WEAK,), (WEAK, MOVED)], range(N + 1), [0.0, math.nextafter(0.5, 0), 0.5, 1.0])),
)
def test_a_capture_is_live_only_when_every_condition_holds(failures: Any, disagreeing: int, score: float) -> None:
    decision = judge(outputs(score), failures, disagreeing)
    if failures:
        expected = "retry"
    else:
        expected = "live" if disagreeing <= 2 and score >= 0.5 else "spoof"
    assert decision.verdict == expected
    assert decision.score == score
    assert (decision.species is not None) == (expected == "spoof")


@pytest.mark.parametrize(
    ("failures", "disagreeing", "score", "codes"),
    [
        ((), 0, 0.9, []),
        ((), 2, 0.9, []),
        ((), 3, 0.9, ["response_mismatch"]),
        ((), 0, 0.1, ["score_below_threshold"]),
        ((), 6, 0.1, ["response_mismatch", "score_below_threshold"]),
        ((WEAK,), 6, 0.1, ["flash_too_weak"]),
        ((WEAK, MOVED), 0, 0.9, ["flash_too_weak", "moved"]),
    ],
)
def test_each_doubt_is_named(failures: Any, disagreeing: int, score: float, codes: list[str]) -> None:
    decision = judge(outputs(score), failures, disagreeing)
    assert [reason.code for reason in decision.reasons] == codes
    assert all(reason.message and reason.hint for reason in decision.reasons)


@pytest.mark.parametrize(
    ("types", "species"), [((0.5, 0.3, 0.2), "print"), ((0.2, 0.5, 0.3), "replay"), ((0.1, 0.2, 0.7), "mask")]
)
def test_a_spoof_names_its_likeliest_kind(types: Any, species: str) -> None:
    assert judge(outputs(0.1, types)).species == species


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["score", "types", "depth", "response", "threshold"])
@pytest.mark.parametrize("failures", [(), (WEAK,)])
def test_numbers_that_are_not_finite_are_an_error(bad: float, place: str, failures: Any) -> None:
    threshold = bad if place == "threshold" else 0.5
    values = {"types": (bad, 0.0, 0.0)} if place == "types" else {} if place == "threshold" else {place: bad}
    with pytest.raises(ModelFailed):
        judge(outputs(**values), failures, threshold=threshold)


@pytest.mark.parametrize(("score", "threshold"), [(-0.01, 0.5), (1.01, 0.5), (0.9, 0.0), (0.9, -1.0), (0.9, 1.5)])
def test_scores_and_thresholds_out_of_range_are_an_error(score: float, threshold: float) -> None:
    with pytest.raises(ModelFailed):
        judge(outputs(score), threshold=threshold)


def test_a_missing_response_comparison_is_an_error() -> None:
    with pytest.raises(ModelFailed):
        decide(outputs(), (), np.zeros(0, bool), threshold=0.5, max_disagreeing_rows=2)


ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(0, 1, width=32)


@given(
    score=ANY_FLOAT,
    types=st.tuples(ANY_FLOAT, ANY_FLOAT, ANY_FLOAT),
    depth=ANY_FLOAT,
    response=ANY_FLOAT,
    threshold=ANY_FLOAT,
    disagreeing=st.integers(0, N),
    has_failed=st.booleans(),
)
def test_no_combination_of_numbers_is_live_by_accident(
    score: float, types: Any, depth: float, response: float, threshold: float, disagreeing: int, has_failed: bool
) -> None:
    model = outputs(score, types, depth, response)
    try:
        decision = judge(model, (WEAK,) if has_failed else (), disagreeing, threshold)
    except ModelFailed:
        return
    assert all(math.isfinite(value) for value in (score, *types, depth, response, threshold))
    if decision.verdict == "live":
        assert not has_failed
        assert disagreeing <= 2
        assert 0 < threshold <= score <= 1


@pytest.mark.parametrize(
    ("verdict", "score", "reasons"),
    [
        ("live", 0.9, (REASON,)),
        ("live", None, ()),
        ("live", 0.4, ()),
        ("live", math.nan, ()),
        ("live", math.inf, ()),
        ("spoof", 0.1, ()),
        ("retry", None, ()),
    ],
)
def test_a_contradictory_decision_cannot_be_made(verdict: Any, score: float | None, reasons: Any) -> None:
    with pytest.raises(ValueError, match="decision"):
        Decision(verdict, score, 0.5, None, reasons)


def test_a_failure_before_the_model_is_a_retry_without_score() -> None:
    failure = FaceTooSmall(found="40 pixels", expected="at least 64", remedy="come closer")
    decision = retry(failure, threshold=0.5, timings_ms={"landmarks": 1.23456}, bundle="stub")
    assert decision.to_dict() == {
        "verdict": "retry",
        "score": None,
        "threshold": 0.5,
        "species": None,
        "reasons": [
            {"code": "face_too_small", "message": "found 40 pixels; expected at least 64", "hint": "come closer"}
        ],
        "timings_ms": {"landmarks": 1.235},
        "bundle": "stub",
    }
    assert decision.exit_status == 2


def test_exit_statuses_are_those_of_the_contract() -> None:
    assert EXIT_STATUS == {"live": 0, "spoof": 1, "retry": 2}
