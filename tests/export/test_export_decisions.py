"""Gate 8 counts verdicts: flips near the threshold are allowed, others are not, and error rates may hardly move."""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from export.decisions import (
    AT_A_TIME,
    BAND,
    PYTORCH,
    JudgedCaptures,
    Scores,
    captures_gate,
    decision_tables,
    decisions_report,
    score_all,
)
from sdk_reference.errors import ModelFailed
from sdk_reference.runtime import ModelOutputs

THRESHOLD = 0.5
COUNT = 400


@dataclass(frozen=True)
class Inputs:
    """A data set whose model inputs are single numbers."""

    scores: np.ndarray

    def __len__(self):
        return len(self.scores)

    def __getitem__(self, draw):
        import torch

        return {"input": torch.tensor([self.scores[draw[1]]])}


@pytest.fixture(scope="module")
def captures():
    rng = np.random.default_rng(0)
    live = np.arange(COUNT) % 2 == 0
    scores = np.where(live, rng.uniform(0.55, 1, COUNT), rng.uniform(0, 0.45, COUNT))
    scores[:8] = [0.51, 0.49, 0.2, 0.9, 0.53, 0.47, 0.99, 0.01]  # the third and the fourth are errors
    subjects = tuple(f"person {k // 10}" for k in range(COUNT))
    return JudgedCaptures(Inputs(scores), live, np.ones(COUNT, bool), subjects, unseen=COUNT)


def table_of(captures, found, threshold=THRESHOLD):
    pytorch = captures.dataset.scores
    return decision_tables(captures, Scores(pytorch, {"a": found}), threshold)["a"]


def missed(table):
    return [gate.name.split(":")[0] for gate in table.gates() if not gate.ok]


def test_the_same_scores_open_every_gate(captures):
    table = table_of(captures, captures.dataset.scores)
    assert (table.flips, table.flips_outside, table.largest_shift) == (0, 0, 0.0)
    assert missed(table) == [] and table.eer == table.pytorch_eer and 0 < table.eer.value < 0.02


def test_a_flip_near_the_threshold_is_counted_and_allowed(captures):
    found = captures.dataset.scores.copy()
    found[0] = 0.4999  # PyTorch says 0.51
    table = table_of(captures, found)
    assert (table.flips, table.flips_outside) == (1, 0)
    assert not [name for name in missed(table) if "flipped" in name]


def test_a_flip_farther_away_closes_the_gate(captures):
    found = captures.dataset.scores.copy()
    found[4] = 0.4999  # PyTorch says 0.53
    table = table_of(captures, found)
    assert (table.flips, table.flips_outside) == (1, 1) and BAND == 0.02
    assert f"verdicts flipped outside ±{BAND} of the threshold" in missed(table)


def test_a_capture_without_a_score_is_a_flip_wherever_it_lies(captures):
    found = captures.dataset.scores.copy()
    found[7] = np.nan  # a spoof far from the threshold: refusing it would be the same verdict
    table = table_of(captures, found)
    assert table.flips_outside == 1 and table.largest_shift == 1.0


def test_error_rates_that_move_close_the_gate_even_without_flips(captures):
    """Scores that keep their side of the threshold may still change places with each other."""
    found = captures.dataset.scores.copy()
    spoofs = np.flatnonzero(~captures.live)[10:40]
    found[spoofs] = 0.49
    lives = np.flatnonzero(captures.live & (captures.dataset.scores < 0.9))
    wrong = lives[:3]
    pytorch = captures.dataset.scores.copy()
    pytorch[wrong] = 0.47
    found[wrong] = 0.47
    tables = decision_tables(captures, Scores(pytorch, {"a": found}), THRESHOLD)
    assert tables["a"].flips == 0
    assert missed(tables["a"]) == ["EER"]


def test_only_captures_that_a_phone_would_judge_count_in_the_rates(captures):
    admitted = np.ones(COUNT, bool)
    admitted[2:4] = False  # both errors
    some = JudgedCaptures(captures.dataset, captures.live, admitted, captures.subjects, COUNT)
    table = table_of(some, captures.dataset.scores)
    assert table.eer.value == 0.0 and table.captures == COUNT


def test_too_few_captures_or_one_class_close_the_gate(captures):
    assert captures_gate(captures, COUNT).ok
    assert not captures_gate(captures, COUNT + 1).ok
    alone = JudgedCaptures(captures.dataset, np.ones(COUNT, bool), captures.admitted, captures.subjects, COUNT)
    assert not captures_gate(alone, 1).ok


class Shifted:
    """A backend whose score is the input plus a constant; it fails above 1."""

    def __init__(self, amount):
        self.amount = amount

    def run(self, model_input):
        score = float(model_input[0]) + self.amount
        if score > 1:
            raise ModelFailed(found="a score above 1", expected="at most 1", remedy="none")
        return ModelOutputs(score, np.zeros(3), np.zeros((1, 1)), np.zeros((6, 3)))


def shifted(amount):
    return {PYTORCH: Shifted(0.0), "a": Shifted(amount)}


def unopened():
    raise ModelFailed(found="an artifact that does not load", expected="one that does", remedy="none")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_artifact_is_scored_on_every_capture_in_order(captures, workers):
    assert AT_A_TIME < COUNT  # several parts
    done = []
    scores = score_all(captures, partial(shifted, 0.001), workers, lambda *progress: done.append(progress))
    assert scores.pytorch == pytest.approx(captures.dataset.scores)
    shown = scores.artifacts["a"]
    fails = captures.dataset.scores + 0.001 > 1
    assert np.isnan(shown[fails]).all()
    assert shown[~fails] == pytest.approx(captures.dataset.scores[~fails] + 0.001)
    assert done[-1] == (COUNT, COUNT)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_open_is_told_in_its_own_words(captures, workers):
    with pytest.raises(ModelFailed, match="found an artifact that does not load"):
        score_all(captures, unopened, workers)


def test_the_report_is_json_and_says_what_it_is_about(captures):
    tables = decision_tables(captures, Scores(captures.dataset.scores, {"a": captures.dataset.scores}), THRESHOLD)
    report = json.loads(json.dumps(decisions_report(captures, THRESHOLD, tables, "ab" * 32, True), allow_nan=False))
    assert report["simulated"] is True and report["captures"] == COUNT and report["threshold"] == THRESHOLD
    assert set(report["artifacts"]["a"]["eer"]) == {"value", "low", "high"}
