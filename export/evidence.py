"""The captures that a conversion is proved on: calibration, comparison of outputs, comparison of verdicts.

They come from data sets, or are simulated for the purpose, from a seed of their own. Calibration captures are drawn
from the training split, so that no artifact is fitted to what it is judged on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from export.converted import CalibrationSet, FloatArray
from export.decisions import ENOUGH_CAPTURES, JudgedCaptures, judged_captures
from export.inputs import require_n0
from sdk_reference.errors import CaptureNotFound
from training.augment import NO_AUGMENTATION
from training.checkpoint import Run
from training.data import CaptureDataset, Example, PreparedData, join_stores
from training.prepare import DetectorFactory, FaceMeshDetector, prepare_all
from training.sampling import NO_AUGMENTATION_DRAW
from training.synthesis import SimulationSettings, write_simulated_dataset
from training.workers import default_workers

CALIBRATION_SEED: Final = 0
CALIBRATION_CAPTURES: Final = 64
SIMULATION_SEED: Final = 20_000
SPARE: Final = 1.05  # in some captures no whole face is found


@dataclass(frozen=True, eq=False)
class Evidence:
    """The captures that a conversion is proved on, and what may be said of them."""

    inputs: Sequence[FloatArray]
    """Model inputs (N,3,S,S) on which every output of every artifact is compared with PyTorch's, besides the golden."""
    calibration: CalibrationSet
    decisions: JudgedCaptures | None = None
    """Captures whose verdicts are compared; None: verdicts are not compared, and the bundle says so."""
    decision_captures: int = ENOUGH_CAPTURES
    """How many of them there must be."""
    data_sha256: str = ""
    simulated: bool = True


def evidence_from(
    folders: Sequence[Path],
    run: Run,
    proof_captures: int,
    decision_captures: int,
    calibration_captures: int = CALIBRATION_CAPTURES,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> Evidence:
    """Everything from the data sets in `folders`, which are prepared where they are not.

    `decision_captures` 0 compares no verdicts, `calibration_captures` 0 serves no static int8. Raises DatasetInvalid,
    LabelsMissing, N0Mismatch, or CaptureNotFound where no capture of the training split can calibrate.
    """
    stores = prepare_all(folders, default_workers(), True, detector_factory)
    require_n0(stores[0].n0, run.settings.n0, "the data sets")
    data = join_stores(stores, run.limits)
    unseen = [*data.usable("test"), *data.usable("val"), *data.usable("train")][:proof_captures]
    return Evidence(
        inputs=model_inputs(data, run, unseen),
        calibration=calibration_set(data, run, calibration_captures),
        decisions=judged_captures(data, run, decision_captures) if decision_captures else None,
        decision_captures=decision_captures,
        data_sha256=data.sha256,
        simulated=data.simulated,
    )


@contextmanager
def simulated_evidence(
    run: Run,
    proof_captures: int,
    decision_captures: int,
    calibration_captures: int = CALIBRATION_CAPTURES,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> Iterator[Evidence]:
    """The same of captures that are simulated now and removed afterwards, `decision_captures` of them at least.

    A few more are made than are asked for, since in some no whole face is found; half of the calibration's are attacks.
    """
    wanted = max(decision_captures, proof_captures, 2 * calibration_captures)
    if not wanted:
        yield Evidence(inputs=[], calibration=CalibrationSet(CALIBRATION_SEED, ()))
        return
    count = int(SPARE * wanted) + 1
    settings = SimulationSettings(count=count, seed=SIMULATION_SEED, mix="balanced")
    with tempfile.TemporaryDirectory(prefix="flashproof-proof-") as folder:
        write_simulated_dataset(Path(folder), settings, default_workers())
        counts = (proof_captures, decision_captures, calibration_captures)
        yield evidence_from([Path(folder)], run, *counts, detector_factory)


def calibration_set(data: PreparedData, run: Run, count: int, seed: int = CALIBRATION_SEED) -> CalibrationSet:
    """Draw up to `count` captures that a phone would judge from the training split, as many live as attacks."""
    drawn = [example for live in (True, False) for example in _drawn(data, live, count // 2, seed)]
    if count and not drawn:
        raise CaptureNotFound(
            found="no capture of the training split within the quality limits",
            expected=f"up to {count} of them, to calibrate the int8 files with",
            remedy="name a larger data set with --data, or leave int8_static out of --precisions",
        )
    return CalibrationSet(seed, tuple(model_inputs(data, run, drawn)))


def _drawn(data: PreparedData, live: bool, count: int, seed: int) -> list[Example]:
    candidates = [example for example in data.usable("train") if (example.record.species == "live") == live]
    order = np.random.default_rng([seed, live]).permutation(len(candidates))[:count]
    return [candidates[place] for place in sorted(order)]


def model_inputs(data: PreparedData, run: Run, examples: Sequence[Example]) -> list[FloatArray]:
    """The model inputs of some captures, (N,3,S,S) float32 each."""
    dataset = CaptureDataset(data.stores, examples, run.preprocess, NO_AUGMENTATION, seed=0)
    return [dataset[(NO_AUGMENTATION_DRAW, place)]["input"].numpy() for place in range(len(examples))]
