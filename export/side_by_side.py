"""Converts a network to every format and proves each artifact, formats side by side in processes of one thread each.

A format's artifacts are proved in the process that converted them, whose tool chain is loaded there already. Nothing
depends on how many processes there are.
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
    work = partial(
        _of_one_format, network=network, calibration=calibration, references=references, precisions=precisions
    )
    proofs = dict(run_in_workers(work, sorted(chosen, key=LONGEST_FIRST.index), default_workers()))
    return [proof for name in chosen for proof in proofs[name]]


def _of_one_format(
    name: Format,
    network: ATRFAS,
    calibration: CalibrationSet,
    references: References,
    precisions: Sequence[Precision],
) -> list[Proof]:
    proofs = []
    with TemporaryDirectory(prefix="flashproof-proof-") as folder:
        for artifact in convert(name, network, calibration, precisions):
            artifact.write(Path(folder))
            proofs.append(prove(artifact, Path(folder), references))
    return proofs
