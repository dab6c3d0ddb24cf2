"""Error rates with intervals: EER and HTER as in the paper (section 4.2), APCER and BPCER as in ISO/IEC 30107-3.

A score is the probability of live; a capture is accepted when its score is at least the threshold. FAR is the share of
attacks accepted, FRR the share of live faces rejected, EER their common value where both curves cross, HTER their mean
at a threshold fixed beforehand. The paper adds that HTER is smallest where FAR = FRR; that does not hold in general.

Captures of one person are not independent. EER and HTER get a bootstrap that resamples people with all their captures
(`training.clustered`) wherever it is told who they are; without that, one that resamples live faces and attacks apart.
Shares of captures get exact Clopper-Pearson intervals, which take captures as independent: with few people they are too
narrow. A capture that the quality gate refused is counted apart, never as an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from training import clustered
from training.errors import ClassMissing

LIVE = "live"
CONFIDENCE = 0.95
BOOTSTRAP_ROUNDS = 1000


@dataclass(frozen=True)
class Rate:
    """A share in 0..1 with its 95 % confidence interval, low ≤ value ≤ high."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """`{"value", "low", "high"}`, the form of every rate in JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EqualError:
    """The equal error rate, without an interval, and the threshold that comes nearest to it."""

    value: float
    """Where FAR and FRR cross, linear between the operating points that the scores allow."""
    threshold: float
    """The operating point with the smallest |FAR − FRR|; halfway between two scores, so that no score sits on it."""


@dataclass(frozen=True)
class ErrorRates:
    """Everything `flashproof evaluate` prints about one set of captures at one threshold."""

    eer: Rate
    """Of this set itself, whatever the threshold."""
    hter: Rate
    threshold: float
    """The threshold fixed beforehand, at which all other rates hold."""
    apcer: dict[str, Rate]
    """Per attack species: share of its attacks accepted."""
    apcer_max: Rate
    """That of the worst species, the headline of ISO/IEC 30107-3."""
    bpcer: Rate
    """Share of live faces rejected."""
    counts: dict[str, int]
    """Captures with a score, per species."""
    refused: dict[str, int]
    """Captures that the quality gate refused, per species; in no rate."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values under DESIGN's keys."""
        return {
            "eer": self.eer.to_dict(),
            "hter": self.hter.to_dict(),
            "threshold": self.threshold,
            "apcer": {species: rate.to_dict() for species, rate in self.apcer.items()},
            "apcer_max": self.apcer_max.to_dict(),
            "bpcer": self.bpcer.to_dict(),
            "refused": dict(self.refused),
            "counts": dict(self.counts),
        }


def error_rates(
    scores: ArrayLike,
    species: Sequence[str],
    threshold: float,
    rng: np.random.Generator,
    refused: ArrayLike | None = None,
    subjects: Sequence[str] | None = None,
) -> ErrorRates:
    """All rates of one set at a threshold fixed beforehand.

    `scores` n values in 0..1, `species` n names ("live" or the attack), `refused` n booleans (default: none); the
    scores of refused captures are not looked at. `subjects` n names of people, whom the bootstrap then resamples.
    Raises ClassMissing without a scored live face or attack.
    """
    names = np.asarray(species, dtype=str)
    gone = np.zeros(len(names), bool) if refused is None else np.asarray(refused, bool)
    values = np.asarray(scores, np.float64)
    if not len(values) == len(names) == len(gone):
        raise ValueError(
            f"found {len(values)} scores, {len(names)} species, {len(gone)} refusals; expected one of each per capture"
        )
    kept, kept_names = values[~gone], names[~gone]
    live = kept_names == LIVE
    people = None if subjects is None else np.asarray(subjects, dtype=str)[~gone]
    per_species = apcer(kept, kept_names, threshold)
    return ErrorRates(
        eer=eer_rate(kept, live, rng, subjects=people),
        hter=hter(kept, live, threshold, rng, subjects=people),
        threshold=float(threshold),
        apcer=per_species,
        apcer_max=apcer_max(per_species),
        bpcer=bpcer(kept, live, threshold),
        counts=_count(kept_names),
        refused=_count(names[gone]),
    )


def eer(scores: ArrayLike, live: ArrayLike) -> EqualError:
    """The equal error rate of n scores in 0..1 with n labels (True = live). Ties between scores are safe."""
    return _crossing(*_split(scores, live))


def eer_rate(
    scores: ArrayLike,
    live: ArrayLike,
    rng: np.random.Generator,
    rounds: int = BOOTSTRAP_ROUNDS,
    subjects: ArrayLike | None = None,
) -> Rate:
    """The same with its bootstrap interval, of `rounds` resamplings."""
    genuine, attacks = _split(scores, live)
    point = _crossing(genuine, attacks)
    if subjects is not None and several(subjects):
        values, labels = np.asarray(scores, np.float64), np.asarray(live, bool)
        draws = clustered.eer_draws(values, labels, subjects, rng, rounds)
    else:
        pairs = ((rng.choice(genuine, genuine.size), rng.choice(attacks, attacks.size)) for _ in range(rounds))
        draws = np.array([_crossing(*pair).value for pair in pairs])
    wrong = (genuine < point.threshold, attacks >= point.threshold)
    return _bootstrap_rate(point.value, draws, wrong, _independent(live, subjects))


def hter(
    scores: ArrayLike,
    live: ArrayLike,
    threshold: float,
    rng: np.random.Generator,
    rounds: int = BOOTSTRAP_ROUNDS,
    subjects: ArrayLike | None = None,
) -> Rate:
    """(FAR + FRR)/2 at a threshold fixed beforehand."""
    genuine, attacks = _split(scores, live)
    frr, far = float(np.mean(genuine < threshold)), float(np.mean(attacks >= threshold))
    if subjects is not None and several(subjects):
        labels = np.asarray(live, bool)
        wrong = (np.asarray(scores, np.float64) >= threshold) != labels
        draws = clustered.half_total_draws(wrong, labels, subjects, rng, rounds)
    else:  # resampling yes/no outcomes with replacement is a binomial draw
        refused = rng.binomial(genuine.size, frr, rounds) / genuine.size
        draws = (refused + rng.binomial(attacks.size, far, rounds) / attacks.size) / 2
    wrong = (genuine < threshold, attacks >= threshold)
    return _bootstrap_rate((frr + far) / 2, draws, wrong, _independent(live, subjects))


def several(subjects: ArrayLike) -> bool:
    """Whether there are two people or more: of one, resampling people says nothing, and captures are resampled."""
    return len(np.unique(np.asarray(subjects))) > 1


def mean_rate(values: ArrayLike, subjects: ArrayLike, rng: np.random.Generator, rounds: int = BOOTSTRAP_ROUNDS) -> Rate:
    """The mean of n values in 0..1, one per capture, with the interval of a bootstrap over people.

    Where all values are 0 or all are 1, no resampling knows better: the exact bound for so many people stands in, or
    for so many captures where all are of one.
    """
    found = np.asarray(values, np.float64)
    people = np.asarray(subjects) if several(subjects) else np.arange(found.size)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(clustered.mean_draws(found, people, rng, rounds), [tail, 1 - tail])
    value = float(found.mean())
    if value in (0.0, 1.0):
        trials = len(np.unique(people))
        exact = share(round(value * trials), trials)
        low, high = exact.low, exact.high
    return Rate(value, float(min(low, value)), float(max(high, value)))


def threshold_at_bpcer(scores: ArrayLike, live: ArrayLike, limit: float) -> float:
    """The highest threshold that rejects at most the share `limit` of the live faces."""
    genuine, _ = _split(scores, live)
    return float(np.sort(genuine)[min(int(limit * genuine.size + 1e-9), genuine.size - 1)])


def apcer(scores: ArrayLike, species: Sequence[str] | NDArray[np.str_], threshold: float) -> dict[str, Rate]:
    """Per attack species the share of its attacks accepted as live, in alphabetical order of the names."""
    values, names = np.asarray(scores, np.float64), np.asarray(species, dtype=str)
    _split(values, names == LIVE)
    attacks = sorted(set(names.tolist()) - {LIVE})
    return {
        name: share(int(np.sum(values[names == name] >= threshold)), int(np.sum(names == name))) for name in attacks
    }


def apcer_max(per_species: dict[str, Rate]) -> Rate:
    """The worst species' rate; among equals the one known least well."""
    return max(per_species.values(), key=lambda rate: (rate.value, rate.high))


def bpcer(scores: ArrayLike, live: ArrayLike, threshold: float) -> Rate:
    """The share of live faces rejected."""
    genuine, _ = _split(scores, live)
    return share(int(np.sum(genuine < threshold)), genuine.size)


def share(events: int, trials: int) -> Rate:
    """`events` of `trials` with the exact Clopper-Pearson interval."""
    if trials < 1 or not 0 <= events <= trials:
        raise ValueError(f"found {events} events in {trials} trials; expected 0 to trials of at least 1")
    interval = stats.binomtest(events, trials).proportion_ci(CONFIDENCE, method="exact")
    return Rate(events / trials, float(interval.low), float(interval.high))


def _split(scores: ArrayLike, live: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of live faces and of attacks; refuses what no rate can be computed from."""
    values, labels = np.asarray(scores, np.float64), np.asarray(live, bool)
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(f"found scores {values.shape} and labels {labels.shape}; expected two vectors of one length")
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        index = int(np.argmax(outside))
        raise ValueError(
            f"found score {values[index]} at {index}; expected 0 to 1; mark captures without a score as refused"
        )
    genuine, attacks = values[labels], values[~labels]
    if not genuine.size or not attacks.size:
        raise ClassMissing(
            found=f"{genuine.size} live captures and {attacks.size} attacks with a score",
            expected="at least one of each",
            remedy="evaluate on a larger split",
        )
    return genuine, attacks


def _crossing(genuine: NDArray[np.float64], attacks: NDArray[np.float64]) -> EqualError:
    """Where FAR and FRR cross, and the nearest threshold; at equal distance the one that accepts fewer attacks."""
    steps = np.unique(np.concatenate([genuine, attacks]))
    # Accepting from steps[i] on; one more operating point accepts nothing.
    frr = np.append(np.searchsorted(np.sort(genuine), steps, side="left"), genuine.size) / genuine.size
    far = 1 - np.append(np.searchsorted(np.sort(attacks), steps, side="left"), attacks.size) / attacks.size
    gap = far - frr  # falls from 1 to −1
    after = int(np.argmax(gap <= 0))
    before = after - 1
    weight = gap[before] / (gap[before] - gap[after])
    value = float(frr[before] + weight * (frr[after] - frr[before]))
    nearest = after if -gap[after] <= gap[before] else before
    return EqualError(value, _threshold(steps, nearest))


def _threshold(steps: NDArray[np.float64], index: int) -> float:
    """A threshold that accepts steps[index] and above and nothing below, in the middle of the gap if there is one."""
    if index == 0:
        return float(steps[0])
    if index == steps.size:
        return float(np.nextafter(steps[-1], np.inf))
    middle = (steps[index - 1] + steps[index]) / 2
    return float(middle if middle > steps[index - 1] else steps[index])


def _independent(live: ArrayLike, subjects: ArrayLike | None) -> tuple[int, int]:
    """How many independent trials there are of live faces and of attacks: people, or captures of nobody known."""
    labels = np.asarray(live, bool)
    if subjects is None or not several(subjects):
        return int(labels.sum()), int((~labels).sum())
    people = np.asarray(subjects)
    return len(np.unique(people[labels])), len(np.unique(people[~labels]))


def _bootstrap_rate(
    value: float,
    draws: NDArray[np.float64],
    wrong: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    independent: tuple[int, int],
) -> Rate:
    """The percentile interval of `draws`, widened where resampling cannot know.

    A class without a single error resamples to no error for ever. The exact upper bound of so many `independent`
    trials is then added, at the half weight that its rate has, so that 0 of 20 does not come out as certainly 0.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    unseen = sum(share(0, n).high for errors, n in zip(wrong, independent, strict=True) if not errors.any()) / 2
    return Rate(value, float(min(low, value)), float(min(max(high, value) + unseen, 1.0)))


def _count(names: NDArray[np.str_]) -> dict[str, int]:
    values, counts = np.unique(names, return_counts=True)
    return {str(name): int(count) for name, count in zip(values, counts, strict=True)}
