"""Right plans passed and wrong ones caught, against plans enumerated one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from made_up_outcomes import outcome

from flash_sequencer.plan import default_plan
from sdk_reference.response import disagreements, expected_response
from sdk_reference.runtime import ModelOutputs
from training.data import Example
from training.outcomes import Outcome
from training.response_report import (
    CHOSEN_BY,
    COSINE_LIMITS,
    REPORTED,
    WRONG_PLANS,
    response_report,
    wrong_expectations,
    wrong_plans,
)
from training.scoring import Scored


def made(
    n: int = 3, n0: int = 5, *, head: float = 1.0, measured: float = 1.0, lux: float = 50.0
) -> tuple[Scored, list[Outcome]]:
    """n live captures under the default plan whose answers are the expected ones times a sign."""
    own = expected_response(default_plan(n0))
    outcomes = []
    for k in range(n):
        known = outcome(ambient_lux=lux, subject=f"p{k}")
        outcomes.append(dataclasses.replace(known, record=dataclasses.replace(known.record, response=own.tolist())))
    output = ModelOutputs(0.9, np.ones(3, np.float32) / 3, np.zeros((8, 8), np.float32), np.float32(head) * own)
    scored = Scored(
        tuple(Example(0, one.record, ()) for one in outcomes),
        ("live",) * n,
        np.full(n, 0.9),
        np.zeros(n, np.int64),
        (output,) * n,
        (np.float32(measured) * own,) * n,
    )
    return scored, outcomes


def told(answers: dict[str, Any], answer: str = "head") -> tuple[float, float]:
    return answers[answer]["right_passes"]["value"], answers[answer]["wrong_caught"]["value"]


@pytest.mark.parametrize("limit", [0.5, 0.7])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_perfect_answer_passes_and_wrong_plans_are_caught_as_often_as_they_differ(rows: int, limit: float) -> None:
    own = expected_response(default_plan())
    shares = []
    for plans in wrong_plans(len(made()[1]), 5, REPORTED):
        visible = [plan for plan in plans if np.abs(plan - own).max() > 1e-3]
        shares.append(np.mean([disagreements(own, plan, limit).sum() > rows for plan in visible]))
    caught = np.mean(shares)
    report = response_report(*made(), 5, limit, rows)
    assert told(report["by_lux"]["judged"][0]) == (1.0, pytest.approx(caught))
    assert told(report["by_species"]["live"]) == (1.0, pytest.approx(caught))


def test_neighbouring_hues_are_sixty_degrees_apart_so_that_a_limit_of_a_half_lets_some_pass() -> None:
    """Red and yellow have a cosine of exactly a half: even a perfect answer needs a limit above it."""
    caught = {limit: told(response_report(*made(), 5, limit, 0)["by_lux"]["judged"][0])[1] for limit in (0.5, 0.51)}
    assert caught[0.5] < caught[0.51] == 1.0


def test_a_rule_that_allows_two_rows_cannot_catch_a_plan_that_differs_in_one_colour() -> None:
    own = expected_response(default_plan())
    plans = wrong_plans(1, 5, REPORTED)[0]
    differing = [(np.abs(plan - own).max(axis=1) > 1e-3).sum() for plan in plans]
    single = [count for count in differing if count == 2]
    assert single, "some random challenge shares two of its three colours with the default plan"
    caught = told(response_report(*made(1), 5, 0.95, 2)["by_lux"]["judged"][0])[1]
    assert caught <= 1 - len(single) / WRONG_PLANS


def test_head_and_measurement_are_judged_apart_and_either_refuses_for_both() -> None:
    row = response_report(*made(head=-1.0), 5, 0.5, 2)["by_lux"]["judged"][0]
    assert [told(row, answer)[0] for answer in ("head", "measured", "both")] == [0.0, 1.0, 0.0]
    row = response_report(*made(measured=-1.0), 5, 0.5, 2)["by_lux"]["judged"][0]
    assert [told(row, answer)[0] for answer in ("head", "measured", "both")] == [1.0, 0.0, 0.0]


def test_bands_of_light_share_the_captures_and_refused_ones_count_apart() -> None:
    scored, outcomes = made(4, lux=400.0)
    outcomes[0] = dataclasses.replace(outcomes[0], refusal="flash_too_weak")
    report = response_report(scored, outcomes, 5, 0.5, 2)
    for name, number in (("judged", 3), ("with_face", 4)):
        rows = {row["lux"]: row["captures"] for row in report["by_lux"][name]}
        assert rows == {"all": number, "0-10": 0, "10-30": 0, "30-100": 0, "100-300": 0, "300-1000": number} | {
            "above 1000": 0
        }
    assert report["by_lux"]["judged"][1]["head"] == {
        "right_passes": {"value": None, "low": None, "high": None, "events": 0, "trials": 0, "few": True},
        "wrong_caught": None,
    }


def test_the_curve_never_catches_less_with_a_stricter_limit_and_never_more_with_more_rows() -> None:
    points = response_report(*made(), 5, 0.5, 2)["curve"]
    table = {(p["answer"], p["cosine_limit"], p["max_disagreeing"]): p["wrong_caught"] for p in points}
    assert len(table) == len(points) == 3 * len(COSINE_LIMITS) * 6
    for answer in ("head", "measured", "both"):
        for rows in range(6):
            caught = [table[answer, limit, rows] for limit in COSINE_LIMITS]
            assert caught == sorted(caught)
        for limit in COSINE_LIMITS:
            caught = [table[answer, limit, rows] for rows in range(6)]
            assert caught == sorted(caught, reverse=True)


def test_with_eight_colours_every_challenge_shows_d_the_same_and_nothing_is_counted_as_caught() -> None:
    report = response_report(*made(n0=8), 8, 0.5, 2)
    row = report["by_lux"]["judged"][0]
    assert report["same_colours_one_in"] == 1 and report["curve"] == []
    assert row["head"]["wrong_caught"] is None and row["head"]["right_passes"]["value"] == 1.0


def test_wrong_plans_are_the_same_in_every_run() -> None:
    first = wrong_plans(3, 5, REPORTED).copy()
    wrong_expectations.cache_clear()
    np.testing.assert_array_equal(first, wrong_plans(3, 5, REPORTED))
    assert first.shape == (3, WRONG_PLANS, 6, 3)


def test_the_rule_is_reported_on_other_plans_than_it_was_chosen_on_and_captures_differ_in_theirs() -> None:
    chosen, reported = wrong_plans(2, 5, CHOSEN_BY), wrong_plans(2, 5, REPORTED)
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert np.abs(reported[0] - reported[1]).max() > 0.1
    # D sees which three of six hues there are: 20 expectations in all, so that single ones recur, but not in one order.
    pools = [wrong_expectations(5, purpose, WRONG_PLANS) for purpose in (CHOSEN_BY, REPORTED)]
    assert np.abs(pools[0] - pools[1]).max() > 0.1
