"""Error rates against hand-worked cases, torchmetrics' ROC and closed forms of the intervals."""

import json

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torchmetrics.functional.classification import binary_roc

from training.errors import ClassMissing
from training.metrics import Rate, apcer, apcer_max, bpcer, eer, eer_rate, error_rates, hter, share


def labelled(live, attacks):
    """Scores and labels of live faces and attacks."""
    return np.array([*live, *attacks]), np.array([True] * len(live) + [False] * len(attacks))


@pytest.mark.parametrize(
    ("live", "attacks", "value", "threshold"),
    [
        ([0.8, 0.9], [0.1, 0.2, 0.3], 0, 0.55),  # apart: the middle of the gap
        ([0.4, 0.6, 0.8, 0.9], [0.1, 0.2, 0.3, 0.7], 0.25, 0.5),  # one error on each side
        ([0.5, 0.5, 1.0], [0.0, 0.5, 0.5], 1 / 3, 0.75),  # ties across the classes: between 2/3, 0 and 0, 2/3
        ([0.5, 0.5], [0.5, 0.5], 0.5, np.nextafter(0.5, 1)),  # nothing but ties
        ([0.0, 0.0], [1.0, 1.0], 1.0, 0.5),  # the wrong way round
        ([0.9], [0.1], 0, 0.5),
        ([0.0, 1.0], [0.0, 1.0], 0.5, 0.5),
    ],
)
def test_eer_by_hand(live, attacks, value, threshold):
    point = eer(*labelled(live, attacks))
    assert point.value == pytest.approx(value)
    assert point.threshold == pytest.approx(threshold, abs=1e-12)


def crossing_by_torchmetrics(scores, live):
    """Where torchmetrics' ROC meets FAR = FRR, by root finding along the curve."""
    far, tpr, _ = binary_roc(torch.from_numpy(scores), torch.from_numpy(live).long())
    far, frr, steps = far.double().numpy(), 1 - tpr.double().numpy(), np.arange(len(far))
    at = optimize.brentq(lambda s: np.interp(s, steps, far) - np.interp(s, steps, frr), 0, steps[-1], xtol=1e-12)
    return np.interp(at, steps, far)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("levels", [None, 20, 3])
def test_eer_agrees_with_torchmetrics_with_and_without_ties(seed, levels):
    rng = np.random.default_rng(seed)
    scores, live = labelled(rng.beta(4, 2, 60 + seed), rng.beta(2, 3, 90))
    if levels:
        scores = np.round(scores * levels) / levels
    assert eer(scores, live).value == pytest.approx(crossing_by_torchmetrics(scores, live), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_eer_threshold_is_where_far_and_frr_come_closest(seed):
    rng = np.random.default_rng(seed)
    scores, live = labelled(rng.beta(4, 2, 50), rng.beta(2, 3, 70))
    threshold = eer(scores, live).threshold

    def gap(t):
        return abs(np.mean(scores[~live] >= t) - np.mean(scores[live] < t))

    assert threshold not in scores
    assert gap(threshold) == pytest.approx(min(gap(t) for t in np.linspace(0, 1, 5001)), abs=1e-12)


def test_eer_does_not_depend_on_the_scale_of_the_scores():
    rng = np.random.default_rng(5)
    scores, live = labelled(rng.beta(4, 2, 50), rng.beta(2, 3, 70))
    assert eer(scores**3, live).value == eer(scores, live).value


def test_adjacent_scores_are_still_told_apart():
    lower = 0.5
    upper = np.nextafter(lower, 1)
    threshold = eer(*labelled([upper], [lower])).threshold
    assert lower < threshold <= upper


def test_hter_by_hand():
    scores, live = labelled([0.2, 0.6, 0.7, 0.9], [0.1, 0.5, 0.3, 0.4, 0.8])
    rate = hter(scores, live, 0.5, np.random.default_rng(0))
    assert rate.value == pytest.approx((1 / 4 + 2 / 5) / 2)  # a score on the threshold is accepted
    assert rate.low < rate.value < rate.high


def test_hter_can_be_lower_than_where_far_equals_frr():
    live = [0.35, 0.55, 0.65, 0.75, 0.85, 0.95]
    attacks = [0.1] * 3 + [0.5] * 3
    scores, labels = labelled(live, attacks)
    rng = np.random.default_rng(0)
    assert eer(scores, labels).value > hter(scores, labels, 0.52, rng).value  # the paper says it cannot be


def test_the_hter_interval_covers_what_the_normal_approximation_covers():
    live = np.where(np.arange(1000) < 100, 0.1, 0.9)
    attacks = np.where(np.arange(500) < 25, 0.9, 0.1)
    rate = hter(*labelled(live, attacks), 0.5, np.random.default_rng(1), rounds=20000)
    spread = np.sqrt(0.1 * 0.9 / 1000 + 0.05 * 0.95 / 500) / 2
    assert (rate.low, rate.high) == pytest.approx(
        (0.075 - 1.96 * spread, 0.075 + 1.96 * spread), abs=1e-3
    )  # one capture


def test_the_eer_interval_covers_the_true_rate_of_two_normal_distributions():
    rng, rates = np.random.default_rng(2), []
    truth = stats.norm.cdf(-1)  # unit-variance scores two standard deviations apart
    for _ in range(30):
        scores, live = labelled(rng.normal(1, 1, 150), rng.normal(-1, 1, 150))
        rate = eer_rate(stats.norm.cdf(scores), live, rng, rounds=200)
        rates.append(rate)
    assert sum(rate.low <= truth <= rate.high for rate in rates) >= 24  # 95 % of 30 is 28.5
    assert 0.03 < np.mean([rate.high - rate.low for rate in rates]) < 0.12  # four standard errors are 0.06 to 0.09


def test_no_error_in_a_few_captures_is_not_certainty():
    scores, live = labelled([0.9] * 20, [0.1] * 30)
    expected = ((1 - 0.025 ** (1 / 20)) + (1 - 0.025 ** (1 / 30))) / 2  # closed form of Clopper-Pearson at 0
    for rate in (hter(scores, live, 0.5, np.random.default_rng(0)), eer_rate(scores, live, np.random.default_rng(0))):
        assert (rate.value, rate.low) == (0, 0)
        assert rate.high == pytest.approx(expected)


def test_the_same_generator_state_gives_the_same_interval():
    rng = np.random.default_rng(6)
    scores, live = labelled(rng.beta(4, 2, 50), rng.beta(2, 3, 70))
    first, second = (eer_rate(scores, live, np.random.default_rng(9), rounds=50) for _ in range(2))
    assert first == second
    assert first.low <= first.value <= first.high


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [
        (0, 20, 0, 1 - 0.025 ** (1 / 20)),
        (20, 20, 0.025 ** (1 / 20), 1),
        (3, 50, stats.beta.ppf(0.025, 3, 48), stats.beta.ppf(0.975, 4, 47)),
        (1, 1, 0.025, 1),
    ],
)
def test_shares_have_clopper_pearson_intervals(events, trials, low, high):
    rate = share(events, trials)
    assert (rate.value, rate.low, rate.high) == pytest.approx((events / trials, low, high))


@pytest.mark.parametrize(("events", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(events, trials):
    with pytest.raises(ValueError, match="expected 0 to trials"):
        share(events, trials)


SPECIES = ["live", "live", "live", "print", "print", "replay", "replay", "replay", "mask"]
SCORES = [0.9, 0.8, 0.4, 0.1, 0.6, 0.2, 0.3, 0.1, 0.45]


def test_apcer_is_per_species_and_its_worst_is_the_headline():
    found = apcer(SCORES, SPECIES, 0.5)
    assert {name: rate.value for name, rate in found.items()} == {"mask": 0, "print": 0.5, "replay": 0}
    assert apcer_max(found) is found["print"]


def test_among_equal_species_the_least_known_is_the_worst():
    found = apcer(SCORES, SPECIES, 0.95)
    assert apcer_max(found) is found["mask"]


def test_bpcer_is_the_share_of_live_faces_rejected():
    assert bpcer(SCORES, [name == "live" for name in SPECIES], 0.5).value == pytest.approx(1 / 3)


def test_refused_captures_are_counted_apart_and_change_no_rate():
    rng = np.random.default_rng
    plain = error_rates(SCORES, SPECIES, 0.5, rng(0))
    refused = [False] * len(SPECIES) + [True, True]
    found = error_rates([*SCORES, np.nan, 0.99], [*SPECIES, "live", "mask"], 0.5, rng(0), refused)
    assert plain.refused == {}
    assert found.refused == {"live": 1, "mask": 1}
    assert found.counts == {"live": 3, "mask": 1, "print": 2, "replay": 3}
    assert {**found.to_dict(), "refused": {}} == plain.to_dict()


def test_error_rates_have_the_documented_json_form():
    values = json.loads(json.dumps(error_rates(SCORES, SPECIES, 0.5, np.random.default_rng(0)).to_dict()))
    assert set(values) == {"eer", "hter", "threshold", "apcer", "apcer_max", "bpcer", "refused", "counts"}
    for rate in (values["eer"], values["hter"], values["apcer_max"], values["bpcer"], *values["apcer"].values()):
        assert set(rate) == {"value", "low", "high"}
        assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
    assert values["hter"]["value"] == pytest.approx((1 / 3 + 1 / 6) / 2)


@pytest.mark.parametrize(("live", "attacks"), [([], [0.1]), ([0.9], []), ([], [])])
def test_a_missing_class_is_its_own_error(live, attacks):
    scores, labels = labelled(live, attacks)
    species = np.where(labels.astype(bool), "live", "print")
    rng = np.random.default_rng(0)
    for compute in (
        lambda: eer(scores, labels),
        lambda: hter(scores, labels, 0.5, rng),
        lambda: bpcer(scores, labels, 0.5),
        lambda: apcer(scores, species, 0.5),
    ):
        with pytest.raises(ClassMissing, match="at least one of each"):
            compute()


@pytest.mark.parametrize("score", [float("nan"), -0.01, 1.01, float("inf")])
def test_a_score_outside_zero_to_one_is_refused(score):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        eer([0.5, score], [True, False])


def test_scores_and_labels_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        eer([0.5, 0.6], [True])
    with pytest.raises(ValueError, match="one of each per capture"):
        error_rates([0.5], ["live", "print"], 0.5, np.random.default_rng(0))


def test_a_rate_serialises_itself():
    assert Rate(0.1, 0.05, 0.2).to_dict() == {"value": 0.1, "low": 0.05, "high": 0.2}
