"""In what order captures are drawn: balanced between the classes, the same for any number of processes, and the same
again when a killed training is taken up. Everything follows from (seed, epoch, place in the epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

NO_AUGMENTATION_DRAW = -1


class Draw(NamedTuple):
    """One capture drawn."""

    number: int
    """Of the draw since the training began, or `NO_AUGMENTATION_DRAW`."""
    position: int
    """In the list of examples."""
    turn: int = 0
    """How often the capture has been drawn before."""


EVEN: Mapping[str, float] = {}
"""Weights of the species among the attacks; one that is not named weighs 1."""


class BalancedSampler(Sampler[Draw]):
    """Draws as many captures as there are, half of them live, the other half shared among the species by `weights`.

    Within a species every capture comes once before any comes again.
    """

    def __init__(self, species: Sequence[str], seed: int, weights: Mapping[str, float] = EVEN) -> None:
        self.seed = seed
        self.weights = weights
        self.epoch = 0
        self._count = len(species)
        names = np.asarray(species)
        self._positions = {str(name): np.flatnonzero(names == name) for name in sorted(set(species))}

    def __len__(self) -> int:
        return self._count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        turns = np.zeros(self._count, np.intp)
        for earlier in range(self.epoch):
            turns += np.bincount(self._order(earlier), minlength=self._count)
        first = self.epoch * self._count
        for place, position in enumerate(self._order(self.epoch)):
            yield Draw(first + place, int(position), int(turns[position]))
            turns[position] += 1

    def _order(self, epoch: int) -> npt.NDArray[np.intp]:
        """The positions of an epoch's draws."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = np.concatenate([_rounds(self._positions[name], n, rng) for name, n in self.quotas().items()])
        return rng.permutation(drawn)

    def quotas(self) -> dict[str, int]:
        """Return how many captures of each species an epoch draws; they add up to its length."""
        attacks = [name for name in self._positions if name != "live"]
        n_spoof = self._count // 2 if "live" in self._positions else self._count
        weights = [self.weights.get(name, 1.0) for name in attacks]
        ends = [round(n_spoof * sum(weights[: k + 1]) / sum(weights)) for k in range(len(attacks))]
        quotas = {name: end - start for name, start, end in zip(attacks, [0, *ends], ends, strict=False)}
        return {"live": self._count - n_spoof, **quotas} if "live" in self._positions else quotas


def _rounds(positions: npt.NDArray[np.intp], count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """`count` of the positions, 0 or more, in random order; none comes again before all came."""
    times = -(-count // len(positions))
    rounds = [rng.permutation(positions) for _ in range(times)]
    return np.asarray(np.concatenate([positions[:0], *rounds])[:count], np.intp)


class InOrder(Sampler[Draw]):
    """Every capture once, in order, as it is; of several processes the r-th of n takes captures r, r + n, ..."""

    def __init__(self, count: int, process: int = 0, processes: int = 1) -> None:
        self._positions = range(process, count, processes)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(NO_AUGMENTATION_DRAW, position) for position in self._positions)


class ShareOfSteps(Sampler[Draw]):
    """What one process draws of each step's captures: of n processes the r-th takes a step's draws r, r + n, ...

    A last short step is left out where there is a whole one. The epoch that `begin` = (epoch, step) names starts at
    that step, for a training that was killed there.
    """

    def __init__(
        self,
        order: BalancedSampler,
        batch_size: int,
        process: int = 0,
        processes: int = 1,
        begin: tuple[int, int] = (0, 0),
    ) -> None:
        self.order = order
        self.batch_size = batch_size
        self._place = (process, processes)
        self._begin = begin
        self._drawn = len(order) // batch_size * batch_size or len(order)
        order.set_epoch(begin[0])  # Lightning does it too late for worker processes, which draw ahead

    def __len__(self) -> int:
        return self._drawn // self._place[1]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[Draw]:
        epoch, step = self._begin
        done = step * self.batch_size if self.order.epoch == epoch else 0
        process, processes = self._place
        return islice(self.order, done + process, self._drawn, processes)
