"""Bootstrap draws that resample people, not captures: captures of one person are not independent (not in the paper).

A round draws as many people as there are, with replacement; each person brings all captures, live ones and attacks
alike, as often as drawn. Rounds that hold only live captures or only attacks have no error rate and are drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
CHUNK: Final = 100  # rounds at a time: the weights of 1,000 rounds of 12,660 captures would take 100 MB, several times


def weights(subjects: npt.ArrayLike, rng: np.random.Generator, rounds: int) -> Iterator[Vector]:
    """Yield (≤ 100, n) float64, how often each of n captures is in a round, `rounds` rows in all."""
    people, who = np.unique(np.asarray(subjects), return_inverse=True)
    even = np.full(len(people), 1 / len(people))
    for start in range(0, rounds, CHUNK):
        times = rng.multinomial(len(people), even, min(CHUNK, rounds - start)).astype(np.float64)
        yield times[:, who]


def class_weights(
    subjects: npt.ArrayLike, live: npt.NDArray[np.bool_], rng: np.random.Generator, rounds: int
) -> Iterator[Vector]:
    """Yield the same, without rounds that lack a class, until there are `rounds`. Needs both classes in `live` (n,)."""
    left = rounds
    while left > 0:
        for chunk in weights(subjects, rng, left):
            both = (chunk[:, live].sum(axis=1) > 0) & (chunk[:, ~live].sum(axis=1) > 0)
            left -= int(both.sum())
            yield chunk[both]


def eer_draws(
    scores: Vector, live: npt.NDArray[np.bool_], subjects: npt.ArrayLike, rng: np.random.Generator, rounds: int
) -> Vector:
    """Return (rounds,) equal error rates of n scores with n labels, one per round."""
    return np.concatenate([equal_errors(scores, live, chunk) for chunk in class_weights(subjects, live, rng, rounds)])


def equal_errors(scores: Vector, live: npt.NDArray[np.bool_], times: Vector) -> Vector:
    """Return (r,) equal error rates when capture k counts `times[i, k]` times in round i; as `metrics.eer` has them."""
    steps = np.unique(scores)
    frr = np.column_stack([_share_below(scores[live], times[:, live], steps), np.ones(len(times))])
    far = 1 - np.column_stack([_share_below(scores[~live], times[:, ~live], steps), np.ones(len(times))])
    gap = far - frr  # falls from 1 to −1 along each row
    after = (gap <= 0).argmax(axis=1)
    rows, before = np.arange(len(times)), after - 1
    part = gap[rows, before] / (gap[rows, before] - gap[rows, after])
    return np.asarray(frr[rows, before] + part * (frr[rows, after] - frr[rows, before]), np.float64)


def half_total_draws(
    wrong: npt.NDArray[np.bool_],
    live: npt.NDArray[np.bool_],
    subjects: npt.ArrayLike,
    rng: np.random.Generator,
    rounds: int,
) -> Vector:
    """Return (rounds,) means of both classes' error rates; `wrong` (n,) says which captures are judged wrongly."""
    chunks = class_weights(subjects, live, rng, rounds)
    return np.concatenate([(_mean(wrong, live, chunk) + _mean(wrong, ~live, chunk)) / 2 for chunk in chunks])


def mean_draws(values: Vector, subjects: npt.ArrayLike, rng: np.random.Generator, rounds: int) -> Vector:
    """Return (rounds,) means of n values."""
    return np.concatenate([chunk @ values / chunk.sum(axis=1) for chunk in weights(subjects, rng, rounds)])


def _mean(wrong: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_], times: Vector) -> Vector:
    return np.asarray(times[:, chosen] @ wrong[chosen] / times[:, chosen].sum(axis=1), np.float64)


def _share_below(scores: Vector, times: Vector, steps: Vector) -> Vector:
    """Return (r, m): per round the share of captures whose score lies below each of m steps."""
    order = np.argsort(scores, kind="stable")
    sums = np.column_stack([np.zeros(len(times)), np.cumsum(times[:, order], axis=1)])
    return np.asarray(sums[:, np.searchsorted(scores[order], steps, side="left")] / sums[:, -1:], np.float64)
