"""Scores of prepared captures, by a network in PyTorch or by a bundle's model in the runtime of the phone side.

Both read the same store and the same `aligned_to_input`, so that a difference between them is the model file's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from sdk_reference.response import COSINE_LIMIT, disagreements, response_of_frames
from sdk_reference.runtime import Backend, ModelOutputs
from training.data import CaptureDataset, Example, species_of
from training.network import ATRFAS
from training.sampling import NO_AUGMENTATION_DRAW
from training.workers import Progress, no_progress

BATCH_SIZE = 8
Scorer = Callable[[npt.NDArray[np.float32]], list[ModelOutputs]]
"""(B, N, 3, S, S) float32 → the outputs of each capture."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The model's answer to n captures."""

    examples: tuple[Example, ...]
    species: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    """(n,) probability of live."""
    disagreeing: npt.NDArray[np.int64]
    """(n,) differences in which the flash response contradicts the plan."""
    outputs: tuple[ModelOutputs, ...] = ()
    """(n) everything that the model said."""
    measured: tuple[npt.NDArray[np.float32], ...] = ()
    """(n) of (N,3): the flash response measured on the frames, without a model."""

    @cached_property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """(n,) whether each capture keeps the quality limits."""
        return np.array([not example.failures for example in self.examples], bool)

    @property
    def subjects(self) -> list[str]:
        """Who is in each capture."""
        return [example.record.subject for example in self.examples]

    def chosen(self, which: npt.NDArray[np.bool_]) -> Scored:
        """Return the part of the captures for which `which` (n,) is true."""
        at = np.flatnonzero(which).tolist()
        return Scored(
            tuple(self.examples[k] for k in at),
            tuple(self.species[k] for k in at),
            self.scores[which],
            self.disagreeing[which],
            tuple(self.outputs[k] for k in at),
            tuple(self.measured[k] for k in at),
        )

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """(n,) whether each capture is of a live face."""
        return np.array([name == "live" for name in self.species])


def network_scorer(network: ATRFAS) -> Scorer:
    """Return a scorer that runs the training network, which must be in evaluation mode."""

    def score(inputs: npt.NDArray[np.float32]) -> list[ModelOutputs]:
        with torch.inference_mode():
            outputs = network(torch.from_numpy(inputs))
        return [
            ModelOutputs(float(score), kind.numpy(), depth.numpy(), response.numpy())
            for score, kind, depth, response in zip(
                outputs.score, outputs.type, network.widened(outputs.depth), outputs.flash_response, strict=True
            )
        ]

    return score


def backend_scorer(backend: Backend) -> Scorer:
    """Return a scorer that runs a bundle's model, one capture at a time, as a phone does."""
    return lambda inputs: [backend.run(capture) for capture in inputs]


def score_dataset(
    scorer: Scorer, dataset: CaptureDataset, progress: Progress = no_progress, cosine_limit: float = COSINE_LIMIT
) -> Scored:
    """Score every example of a data set, in order."""
    outputs: list[ModelOutputs] = []
    disagreeing, measured = [], []
    for positions in _batches(len(dataset)):
        for position, found in zip(positions, score_positions(scorer, dataset, positions), strict=True):
            outputs.append(found)
            expected = np.asarray(dataset.examples[position].record.response, np.float32)
            disagreeing.append(int(disagreements(found.flash_response, expected, cosine_limit).sum()))
            measured.append(response_of_frames(dataset.arrays(position)[0]))
        progress(len(outputs), len(dataset))
    return Scored(
        dataset.examples,
        tuple(species_of(dataset)),
        np.array([found.score for found in outputs], np.float64),
        np.array(disagreeing, np.int64),
        tuple(outputs),
        tuple(measured),
    )


def score_positions(scorer: Scorer, dataset: CaptureDataset, positions: Sequence[int]) -> list[ModelOutputs]:
    """Score some examples of a data set."""
    return scorer(np.stack([dataset[NO_AUGMENTATION_DRAW, position]["input"].numpy() for position in positions]))


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + BATCH_SIZE, count)) for start in range(0, count, BATCH_SIZE))
