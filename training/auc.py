"""The area under the ROC curve within folds, with an interval that knows that captures of one person belong together.

The AUC is the chance that a live capture scores higher than an attack, ties counting half. Scores of different folds
come from different classifiers and are not comparable, so only pairs within a fold count. The interval is a bootstrap
that draws subjects, not captures. It holds for the classifiers at hand: what another training would have given is not
in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.metrics import BOOTSTRAP_ROUNDS, CONFIDENCE, Rate, share

Vector = npt.NDArray[np.float64]


def auc_within_folds(
    scores: Vector,
    live: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
    subjects: npt.NDArray[np.str_],
    rng: np.random.Generator,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> Rate | None:
    """Return the AUC of n scores with its 95 % interval; None when no fold holds both a live capture and an attack."""
    people, who = np.unique(subjects, return_inverse=True)
    won, pairs = _pair_tables(scores, live, folds, who, len(people))
    if not pairs.any():
        return None
    times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), rounds).astype(np.float64)
    counted = ((times @ pairs) * times).sum(axis=1)
    gained = ((times @ won) * times).sum(axis=1)
    draws = gained[counted > 0] / counted[counted > 0]
    rarer = int(min(live.sum(), (~live).sum()))
    return _interval(float(won.sum() / pairs.sum()), draws, len(people), rarer)


def _pair_tables(
    scores: Vector, live: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64], who: npt.NDArray[np.intp], people: int
) -> tuple[Vector, Vector]:
    """Return two (people, people) tables, whose live captures against whose attacks: pairs won, and pairs in all.

    A pair is won when the live capture scores higher, half won at a tie, and is one only within a fold.
    """
    pairs = (folds[live][:, None] == folds[~live][None, :]).astype(np.float64)
    won = (np.sign(scores[live][:, None] - scores[~live][None, :]) + 1) / 2 * pairs
    of_live, of_attacks = np.eye(people)[:, who[live]], np.eye(people)[who[~live]]
    return of_live @ won @ of_attacks, of_live @ pairs @ of_attacks


def _interval(value: float, draws: Vector, people: int, captures: int) -> Rate:
    """The percentile interval of `draws`, widened where resampling cannot know.

    Scores without one wrong pair resample to a perfect AUC for ever. Among n independent pairs (a pair per person, or
    per capture of the rarer class if those are fewer) each is in order with the chance that the AUC is; the exact
    bound for none wrong of n then stands in.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail]) if draws.size else (0.0, 1.0)
    independent = max(min(people // 2, captures), 1)
    if value == 1:
        low = share(independent, independent).low
    if value == 0:
        high = share(0, independent).high
    return Rate(value, float(min(low, value)), float(max(high, value)))
