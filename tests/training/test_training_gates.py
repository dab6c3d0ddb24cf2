"""Limits set from data, held against captures whose point of failure is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from made_up_outcomes import outcome

from flash_sequencer.plan import default_plan
from sdk_reference.quality import QualityLimits
from sdk_reference.response import expected_response
from sdk_reference.runtime import ModelOutputs
from training.data import Example
from training.gates import (
    FEWEST,
    MOST_REFUSED,
    fit_limits,
    fit_response_rule,
    passing,
    qualities_of,
    usual_response_rule,
)
from training.scoring import Scored

BASE = QualityLimits()
GOOD = {
    "flash_snr": 50.0,
    "flash_to_ambient": 1.0,
    "motion_px": 1.0,
    "clipped_fraction": 0.0,
    "face_width_px": 150.0,
    "exposure_drift": 0.0,
}


def scored(qualities: list[dict[str, float]], right: np.ndarray[Any, Any], head: float = 1.0) -> Scored:
    """Captures, live and print in turn, with these qualities; `right` (n,) says whether the score is."""
    own = expected_response(default_plan())
    n = len(qualities)
    species = tuple("live" if k % 2 == 0 else "print" for k in range(n))
    live = np.array([name == "live" for name in species])
    known = outcome().record
    records = [dataclasses.replace(known, response=own.tolist(), quality={**GOOD, **quality}) for quality in qualities]
    output = ModelOutputs(0.9, np.ones(3, np.float32) / 3, np.zeros((8, 8), np.float32), np.float32(head) * own)
    return Scored(
        tuple(Example(0, record, ()) for record in records),
        species,
        np.where(live == right, 0.9, 0.1),
        np.zeros(n, np.int64),
        (output,) * n,
        (own,) * n,
    )


def test_the_flash_limit_comes_to_where_the_model_begins_to_be_right() -> None:
    flash = np.linspace(0.04, 2.0, 1000)
    rng = np.random.default_rng(0)
    right = (flash > 0.3) | (rng.random(1000) < 0.5)  # below, it guesses
    limits = fit_limits(scored([{"flash_to_ambient": float(value)} for value in flash], right), BASE)
    assert 0.2 < limits.min_flash_to_ambient < 0.35
    assert dataclasses.replace(limits, min_flash_to_ambient=BASE.min_flash_to_ambient) == BASE  # nothing else moved


def test_motion_is_bounded_from_above() -> None:
    motion = np.linspace(0.0, 20.0, 1000)
    right = (motion < 17.0) | (np.arange(1000) // 2 % 2 == 0)
    limits = fit_limits(scored([{"motion_px": float(value)} for value in motion], right), BASE)
    assert 16.0 < limits.max_motion_px < 18.5


def test_a_background_that_gets_brighter_bounds_nothing() -> None:
    drift = np.linspace(-0.1, 3.0, 1000)
    right = (drift < 1.0) | (np.arange(1000) // 2 % 2 == 0)
    limits = fit_limits(scored([{"exposure_drift": float(value)} for value in drift], right), BASE)
    assert limits.max_exposure_drop == BASE.max_exposure_drop


def test_one_limit_alone_refuses_no_more_than_all_may() -> None:
    flash = np.linspace(0.04, 2.0, 1000)
    right = (flash > 1.5) | (np.arange(1000) // 2 % 2 == 0)
    captures = scored([{"flash_to_ambient": float(value)} for value in flash], right)
    limits = fit_limits(captures, BASE)
    refused = ~passing(qualities_of(captures), limits)
    assert refused[captures.live].mean() == pytest.approx(MOST_REFUSED, abs=0.01)


def test_all_limits_together_refuse_no_more_than_their_share_of_live_captures() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(4000, 3))
    hard = values > 0.75  # a quarter each, 58 % together
    right = ~hard.any(axis=1) | (rng.random(4000) < 0.5)
    captures = scored(
        [
            {"flash_to_ambient": 2.0 - flash, "flash_snr": 100.0 - 90.0 * noise, "motion_px": 20.0 * motion}
            for flash, noise, motion in values.tolist()
        ],
        right,
    )
    base = dataclasses.replace(BASE, max_motion_px=25.0)
    refused = ~passing(qualities_of(captures), fit_limits(captures, base))
    assert refused[captures.live].mean() == pytest.approx(MOST_REFUSED, abs=0.01)


def test_no_limit_gets_looser_than_that_of_the_training() -> None:
    captures = scored([{"flash_to_ambient": 0.5 + k / 1000} for k in range(1000)], np.ones(1000, bool))
    strict = dataclasses.replace(BASE, min_flash_to_ambient=0.2)
    assert fit_limits(captures, strict) == strict


def test_captures_that_the_training_refused_move_no_limit() -> None:
    """The model is right from 0.1 on, but the training's own limit is 0.5: what lies between must not loosen it."""
    flash = np.linspace(0.04, 2.0, 1000)
    right = (flash > 0.1) & (flash < 1.9) | (np.arange(1000) // 2 % 2 == 0)
    strict = dataclasses.replace(BASE, min_flash_to_ambient=0.5)
    limits = fit_limits(scored([{"flash_to_ambient": float(value)} for value in flash], right), strict)
    assert limits.min_flash_to_ambient >= 0.5


@pytest.mark.parametrize("n", [2, FEWEST - 1])
def test_too_few_captures_leave_everything_as_it_was(n: int) -> None:
    captures = scored([{"flash_to_ambient": 0.04 + k / 100} for k in range(n)], np.arange(n) > n / 2)
    assert fit_limits(captures, BASE) == BASE
    usual = usual_response_rule(5)
    assert n < FEWEST // 3 or fit_response_rule(captures, BASE, 5, usual) != usual
    assert fit_response_rule(captures.chosen(np.arange(n) < 2), BASE, 5, usual) == usual


def test_the_strictest_rule_is_chosen_for_perfect_answers() -> None:
    captures = scored([{}] * 400, np.ones(400, bool))
    rule = fit_response_rule(captures, BASE, 5, usual_response_rule(5))
    assert rule.right_passes == 1.0 and rule.wrong_caught == 1.0
    assert (rule.cosine_limit, rule.max_disagreeing_rows) != (0.5, 2)


def test_where_live_faces_answer_wrongly_the_usual_rule_stands() -> None:
    captures = scored([{}] * 400, np.ones(400, bool), head=-1.0)
    usual = usual_response_rule(5)
    assert fit_response_rule(captures, BASE, 5, usual) == usual
