"""Gate 8: does every artifact decide as PyTorch does, at the shipped threshold, over thousands of captures?

Not in the paper. A conversion may shift a score by a thousandth and nobody is hurt, or by as much on the wrong side of
the threshold. So verdicts are counted, not decibels: a *flip* is a capture whose score lies on the other side of the
threshold than PyTorch's. Flips within ± `BAND` of the threshold, by PyTorch's score, are counted and allowed; others
are not. The equal and half total error rates may move by 0.1 points at most; they are those of the captures that the
quality limits admit, with intervals over people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from export.parity import Gate, at_least, at_most
from sdk_reference.errors import ModelFailed
from sdk_reference.runtime import Backend
from training.augment import NO_AUGMENTATION
from training.checkpoint import Run
from training.data import CaptureDataset, PreparedData, species_of
from training.metrics import Rate, eer_rate, hter
from training.sampling import NO_AUGMENTATION_DRAW
from training.workers import Progress, no_progress, run_in_workers

BAND: Final = 0.02
MAX_RATE_SHIFT: Final = 0.001
"""0.1 points."""
ENOUGH_CAPTURES: Final = 2000
JUDGED_SPLITS: Final = ("test", "val", "train")
"""In the order in which captures are taken: those that the network never saw come first."""
BOOTSTRAP_SEED: Final = 0
AT_A_TIME: Final = 250
"""Captures that a process scores with the artifacts once opened; opening them takes as long as some ten captures."""
PYTORCH: Final = ""
"""Stands for the network among paths of artifacts."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class JudgedCaptures:
    """The captures of the decision gate; n of them."""

    dataset: CaptureDataset
    live: npt.NDArray[np.bool_]
    """(n,)"""
    admitted: npt.NDArray[np.bool_]
    """(n,) whether the quality limits let a phone judge it."""
    subjects: tuple[str, ...]
    unseen: int
    """How many of the captures are of people that the network was not trained on."""

    def __len__(self) -> int:
        return len(self.dataset)


@dataclass(frozen=True, eq=False)
class Scores:
    """What PyTorch and every artifact made of the same n captures."""

    pytorch: npt.NDArray[np.float64]
    """(n,)"""
    artifacts: Mapping[str, npt.NDArray[np.float64]]
    """(n,) by path; NaN where the artifact failed, which counts as a flip."""


def judged_captures(data: PreparedData, run: Run, count: int) -> JudgedCaptures:
    """Up to `count` captures with an aligned face, those of people unseen in training first."""
    by_split = [data.by_split[split] for split in JUDGED_SPLITS]
    examples = [example for split in by_split for example in split][:count]
    dataset = CaptureDataset(data.stores, examples, run.preprocess, NO_AUGMENTATION, seed=0)
    return JudgedCaptures(
        dataset=dataset,
        live=np.array([name == "live" for name in species_of(dataset)], bool),
        admitted=np.array([not example.failures for example in examples], bool),
        subjects=tuple(example.record.subject for example in examples),
        unseen=min(len(examples), len(by_split[0]) + len(by_split[1])),
    )


def score_all(
    captures: JudgedCaptures,
    open_backends: Callable[[], Mapping[str, Backend]],
    workers: int = 1,
    progress: Progress = no_progress,
) -> Scores:
    """Score every capture by PyTorch and by every artifact; each input is made once.

    `open_backends` gives PyTorch's under `PYTORCH` and the artifacts' by path, and is called in every process. Raises
    what it raises, or WorkerLost.
    """
    count = len(captures)
    parts = [range(start, min(start + AT_A_TIME, count)) for start in range(0, count, AT_A_TIME)]
    work = partial(_score_part, dataset=captures.dataset, open_backends=open_backends)
    found: dict[int, Mapping[str, list[float]]] = {}
    done = 0
    for part, scores in run_in_workers(work, parts, workers, cut_off=True):
        found[part.start] = scores
        done += len(part)
        progress(done, count)
    in_order = [found[part.start] for part in parts]
    values = {path: np.array([x for part in in_order for x in part[path]], np.float64) for path in in_order[0]}
    return Scores(values.pop(PYTORCH), values)


def _score_part(
    part: range, dataset: CaptureDataset, open_backends: Callable[[], Mapping[str, Backend]]
) -> Mapping[str, list[float]]:
    """The scores of some captures by path, in order."""
    backends = open_backends()
    scores: dict[str, list[float]] = {path: [] for path in backends}
    for place in part:
        model_input = dataset[NO_AUGMENTATION_DRAW, place]["input"].numpy()
        for path, backend in backends.items():
            scores[path].append(score_or_nan(backend, model_input))
    return scores


def score_or_nan(backend: Backend, model_input: FloatArray) -> float:
    """The score, or NaN where the model gives none."""
    try:
        return backend.run(model_input).score
    except ModelFailed:
        return float("nan")


@dataclass(frozen=True)
class DecisionTable:
    """One artifact's decisions beside PyTorch's."""

    captures: int
    flips: int
    """Captures on the other side of the threshold."""
    flips_outside: int
    """Of these, captures whose PyTorch score is farther than BAND from the threshold, or which gave no score."""
    largest_shift: float
    """Of any score; 1 where there was none."""
    eer: Rate
    hter: Rate
    pytorch_eer: Rate
    pytorch_hter: Rate

    def gates(self) -> tuple[Gate, ...]:
        """Gate 8 of one artifact."""
        return (
            at_most(f"verdicts flipped outside ±{BAND} of the threshold", self.flips_outside, 0),
            at_most("EER: difference from PyTorch", abs(self.eer.value - self.pytorch_eer.value), MAX_RATE_SHIFT),
            at_most("HTER: difference from PyTorch", abs(self.hter.value - self.pytorch_hter.value), MAX_RATE_SHIFT),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values; every rate as value, low and high."""
        return {name: value.to_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def decision_tables(captures: JudgedCaptures, scores: Scores, threshold: float) -> dict[str, DecisionTable]:
    """Compare the decisions of every artifact with PyTorch's at one threshold; by path."""
    reference = _rates(scores.pytorch, captures, threshold)
    return {
        path: _table(found, scores.pytorch, captures, threshold, reference) for path, found in scores.artifacts.items()
    }


def captures_gate(captures: JudgedCaptures, expected: int) -> Gate:
    """Whether there are as many captures as asked for, of both classes among the admitted."""
    live = captures.live[captures.admitted]
    return at_least("captures behind the decisions", len(captures) if live.any() and not live.all() else 0, expected)


def decisions_report(
    captures: JudgedCaptures, threshold: float, tables: Mapping[str, DecisionTable], data_sha256: str, simulated: bool
) -> dict[str, Any]:
    """`reports/decisions.json`."""
    return {
        "what": "verdicts by the score alone, of every artifact and of PyTorch, on the same captures",
        "simulated": simulated,
        "data_sha256": data_sha256,
        "captures": len(captures),
        "of_people_unseen_in_training": captures.unseen,
        "admitted_by_the_quality_limits": int(captures.admitted.sum()),
        "rates": "of the admitted captures; 95 % intervals of a bootstrap over people",
        "threshold": threshold,
        "band": BAND,
        "artifacts": {path: table.to_dict() for path, table in tables.items()},
    }


def _table(
    found: npt.NDArray[np.float64],
    pytorch: npt.NDArray[np.float64],
    captures: JudgedCaptures,
    threshold: float,
    reference: tuple[Rate, Rate],
) -> DecisionTable:
    missing = ~np.isfinite(found)
    flipped = ((found >= threshold) != (pytorch >= threshold)) | missing
    outside = flipped & ((np.abs(pytorch - threshold) > BAND) | missing)
    eer, half_total = _rates(np.where(missing, 0.0, found), captures, threshold)
    return DecisionTable(
        captures=len(found),
        flips=int(flipped.sum()),
        flips_outside=int(outside.sum()),
        largest_shift=float(np.where(missing, 1.0, np.abs(found - pytorch)).max()),
        eer=eer,
        hter=half_total,
        pytorch_eer=reference[0],
        pytorch_hter=reference[1],
    )


def _rates(
    scores: npt.NDArray[np.float64], captures: JudgedCaptures, threshold: float, seed: int = BOOTSTRAP_SEED
) -> tuple[Rate, Rate]:
    """EER and HTER of the admitted captures; the same resamplings for every artifact."""
    kept = captures.admitted
    live, subjects = captures.live[kept], _kept(captures.subjects, kept)
    eer = eer_rate(scores[kept], live, np.random.default_rng(seed), subjects=subjects)
    return eer, hter(scores[kept], live, threshold, np.random.default_rng(seed), subjects=subjects)


def _kept(names: Sequence[str], kept: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, keep in zip(names, kept, strict=True) if keep]
