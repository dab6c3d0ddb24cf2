"""Bootstrap over people: against samples written out capture by capture, and against what clustering must do."""

from __future__ import annotations

import numpy as np
import pytest

from training import clustered
from training.metrics import eer, eer_rate, error_rates, hter, mean_rate, threshold_at_bpcer


def scores_of_people(seed: int, people: int = 12, each: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and names; half of each person's captures are live, and some people are hard."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat([f"p{k}" for k in range(people)], each)
    live = np.tile(np.arange(each) % 2 == 0, people)
    hard = np.repeat(rng.random(people) < 0.3, each)
    centre = np.where(hard, 0.5, np.where(live, 0.8, 0.2))
    return np.clip(rng.normal(centre, 0.15), 0, 1).round(2), live, subjects


@pytest.mark.parametrize("seed", range(5))
def test_a_weighted_equal_error_is_that_of_the_captures_written_out(seed: int) -> None:
    scores, live, subjects = scores_of_people(seed)
    (times,) = clustered.weights(subjects, np.random.default_rng(seed), 20)
    found = clustered.equal_errors(scores, live, times)
    for row, value in zip(times.astype(int), found, strict=True):
        assert value == pytest.approx(eer(np.repeat(scores, row), np.repeat(live, row)).value)


def test_a_person_comes_with_all_captures_and_as_often() -> None:
    _, _, subjects = scores_of_people(0)
    for chunk in clustered.weights(subjects, np.random.default_rng(0), 250):
        assert (chunk.reshape(len(chunk), 12, 10).std(axis=2) == 0).all()
        assert (chunk.sum(axis=1) == len(subjects)).all()


def test_rounds_without_a_class_are_drawn_again() -> None:
    live = np.array([True, False])  # half of all rounds draw one person twice
    chunks = list(clustered.class_weights(["a", "b"], live, np.random.default_rng(1), 300))
    rounds = np.concatenate(chunks)
    assert rounds.shape == (300, 2) and (rounds == 1).all()


def test_half_total_error_draws_are_those_counted_by_hand() -> None:
    live, subjects = np.array([True, True, False, False]), ["a", "b", "a", "b"]
    wrong = np.array([True, False, False, False])
    draws = clustered.half_total_draws(wrong, live, subjects, np.random.default_rng(0), 400)
    assert set(draws) == {0.0, 0.25, 0.5}  # a drawn never, once, twice
    assert np.mean(draws == 0.25) == pytest.approx(0.5, abs=0.1)


def test_intervals_over_people_are_wider_where_people_differ() -> None:
    scores, live, subjects = scores_of_people(3, people=10, each=40)
    alone, together = (eer_rate(scores, live, np.random.default_rng(0), 300, who) for who in (None, subjects))
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    alone, together = (hter(scores, live, 0.5, np.random.default_rng(0), 300, who) for who in (None, subjects))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_interval_over_people_covers_the_true_rate() -> None:
    """Errors of each person come all at once: the mean over people is the truth, 0.25."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = np.repeat((rng.random(40) < 0.25).astype(float), 5)
        rate = mean_rate(values, np.repeat(np.arange(40), 5), rng, 400)
        covered += rate.low <= 0.25 <= rate.high
    assert covered >= 50  # 95 % of 60 is 57


def test_of_one_person_captures_are_resampled() -> None:
    scores, live, _ = scores_of_people(1)
    one = error_rates(scores, np.where(live, "live", "print"), 0.5, np.random.default_rng(0), None, ["a"] * len(live))
    nobody = error_rates(scores, np.where(live, "live", "print"), 0.5, np.random.default_rng(0))
    assert one == nobody and one.eer.low < one.eer.value < one.eer.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mean_without_exception_is_not_certainty(value: float) -> None:
    rate = mean_rate([value] * 30, ["a", "b", "c"] * 10, np.random.default_rng(0))
    bound = 1 - 0.025 ** (1 / 3)  # of three people
    assert (rate.low, rate.high) == pytest.approx((0, bound) if value == 0 else (1 - bound, 1))


def test_no_error_of_few_people_says_little_however_many_captures_there_are() -> None:
    scores, live = np.array([0.9] * 200 + [0.1] * 200), np.array([True] * 200 + [False] * 200)
    people = [str(k) for k in np.repeat(np.arange(5), 40)] * 2
    bound = 1 - 0.025 ** (1 / 5)
    found = error_rates(scores, np.where(live, "live", "print"), 0.5, np.random.default_rng(0), None, people)
    assert (found.hter.value, found.hter.high) == (0, pytest.approx(bound))
    alone = error_rates(scores, np.where(live, "live", "print"), 0.5, np.random.default_rng(0))
    assert alone.hter.high == pytest.approx(1 - 0.025 ** (1 / 200))


def test_a_class_without_errors_widens_the_interval_of_the_other_s_errors() -> None:
    scores = np.array([0.9] * 40 + [0.1] * 30 + [0.9] * 10)
    labels = np.where(np.arange(80) < 40, "live", "print")
    people = [str(k % 20) for k in range(80)]
    found = error_rates(scores, labels, 0.5, np.random.default_rng(0), None, people).hter
    assert found.value == pytest.approx(0.125)
    assert found.high > 0.125 + (1 - 0.025 ** (1 / 20)) / 2  # more than the point and the bound of 20 people


@pytest.mark.parametrize(("limit", "rejected"), [(0.0, 0), (0.01, 1), (0.05, 5), (0.055, 5), (1.0, 99)])
def test_the_threshold_at_a_bpcer_rejects_as_many_as_allowed_and_no_more(limit: float, rejected: int) -> None:
    genuine = np.linspace(0.5, 0.995, 100)
    threshold = threshold_at_bpcer([*genuine, 0.1], [True] * 100 + [False], limit)
    assert (genuine < threshold).sum() == rejected


def test_ties_at_a_bpcer_are_accepted() -> None:
    assert threshold_at_bpcer([0.5] * 100 + [0.1], [True] * 100 + [False], 0.3) == 0.5
