"""Converts a network to every format and proves each artifact, formats side by side in processes of one thread each.

A format's artifacts are proved in the process that converted them, whose tool chain is loaded there already. Nothing
depends on how many processes there are: where there is one, it takes one thread for the while, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from export.converted import CalibrationSet, Format, Precision
from export.formats import chosen_formats, convert
from export.proof import Proof, References, prove
from training.machine import torch_threads
from training.network import ATRFAS
from training.workers import default_workers, run_in_workers

LONGEST_FIRST: Final[tuple[Format, ...]] = ("litert", "coreml", "onnx")
"""So that no process is left with the longest one alone at the end."""


def convert_and_prove(
    network: ATRFAS,
    calibration: CalibrationSet,
    references: References,
    formats: Sequence[Format],
    precisions: Sequence[Precision],
) -> list[Proof]:
    """Every artifact with its gates, open or not, in the order of `FORMATS`, fp32 first.

    Raises NothingToConvert, ParityError for a file whose structure is not as agreed, or WorkerLost.
    """
    chosen = chosen_formats(formats, precisions)
    with TemporaryDirectory(prefix="flashproof-proof-") as folder:
        work = partial(
            _of_one_format,
            folder=Path(folder),
            network=network,
            calibration=calibration,
            references=references,
            precisions=precisions,
        )
        in_turn = sorted(chosen, key=LONGEST_FIRST.index)
        proofs = dict(run_in_workers(work, in_turn, default_workers(), cut_off=True))
    return [proof for name in chosen for proof in proofs[name]]


def _of_one_format(
    name: Format,
    folder: Path,
    network: ATRFAS,
    calibration: CalibrationSet,
    references: References,
    precisions: Sequence[Precision],
) -> list[Proof]:
    proofs = []
    with torch_threads(1):
        for artifact in convert(name, network, calibration, precisions):
            artifact.write(folder)
            proofs.append(prove(artifact, folder, references))
    return proofs
