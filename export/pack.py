"""A trained run → a bundle: convert, prove, store golden vectors, describe, verify what was written, then show it.

Not in the paper. Everything is written into a temporary folder beside the target. The target appears by one rename, and
only after the gates of `export.proof`, `export.decisions` and `export.verify` are open: a missed gate raises and leaves
nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from export.card_files import CardFigures, as_json
from export.control import control_gates
from export.converted import Converted, Format, Precision
from export.cost import gflop_per_capture
from export.decisions import PYTORCH, captures_gate, decision_tables, decisions_report, score_all
from export.describe import PackSettings, manifest_of
from export.evidence import Evidence
from export.formats import left_out, open_artifact
from export.golden import FloatArray, golden_of, write_golden
from export.golden_decisions import write_decisions
from export.model_card import NOTHING_MEASURED, model_card
from export.parity import Gate, require, run_network
from export.proof import Proof, References
from export.report_files import DECISIONS_FILE, PARITY_FILE
from export.side_by_side import convert_and_prove
from export.verify import require_sound, verify
from sdk_reference.bundle import Bundle, hash_files, load_bundle, write_manifest
from sdk_reference.capture import Capture
from sdk_reference.checker import Checker
from sdk_reference.errors import OutputNotWritable
from sdk_reference.landmarks import LandmarkDetector
from sdk_reference.manifest import Manifest
from sdk_reference.preprocess import preprocess
from sdk_reference.runtime import Backend, ModelOutputs, checked_outputs
from training.checkpoint import Run
from training.network import ATRFAS
from training.workers import default_workers

CARD_FILE: Final = "MODEL_CARD.md"
PLANNED: Final = Converted("models/planned.onnx", "onnx", "fp32", {"models/planned.onnx": b""}, "nothing yet", opset=1)
"""Stands for the files before they are there, to see whether record and figures make a card."""


@dataclass(frozen=True)
class Packed:
    """A bundle that was written and verified."""

    path: Path
    bundle: str
    """Name, version and hash."""
    bytes: int
    """Of all its files."""
    captures: int
    """How many the converted file was compared with PyTorch on."""
    gates: tuple[Gate, ...]
    """Those of the conversion, then those of the verification; all open."""
    left_out: tuple[tuple[Format, Precision], ...] = ()
    """Asked for, and not packed: no layer could be computed in int8 within the gates."""

    def to_dict(self) -> dict[str, Any]:
        """What `flashproof export --json` prints."""
        gates = [gate.to_dict() for gate in self.gates]
        shown = {"bundle": self.bundle, "path": str(self.path), "bytes": self.bytes, "captures": self.captures}
        return {**shown, "ok": True, "left_out": [" ".join(pair) for pair in self.left_out], "gates": gates}


@dataclass(frozen=True)
class NetworkBackend:
    """The PyTorch network as the runtime sees a model: golden outputs come from here."""

    network: ATRFAS

    def run(self, model_input: FloatArray) -> ModelOutputs:
        """(N,3,S,S) float32 → outputs; raises ModelFailed."""
        return checked_outputs(run_network(self.network, model_input))


def pack(
    run: Run,
    out: Path,
    golden: Mapping[str, Capture],
    evidence: Evidence,
    detector: LandmarkDetector,
    settings: PackSettings,
    figures: CardFigures = NOTHING_MEASURED,
    note: Callable[[str], None] = lambda text: None,
) -> Packed:
    """Export `run` to a bundle folder at `out`.

    `golden` are the captures whose stages are stored, `figures` what was measured, for the model card; `note` is told
    what is being done. Raises ParityError for a missed gate, OutputNotWritable for a place that holds something else,
    EvaluationUnusable for figures of another model, NothingToConvert, GoldenUnusable, or a UserFailure of a golden
    capture.
    """
    require_free(out, settings.force)
    gflop = gflop_per_capture(run.network)
    model_card(manifest_of(run, [PLANNED], settings), run.record, gflop, figures)  # refused before the work, not after
    prepared = [preprocess(capture, detector, run.preprocess).model_input for capture in golden.values()]
    references = References.of(run.network, [*prepared, *evidence.inputs], run.threshold)
    note("converting and proving")
    proofs = convert_and_prove(run.network, evidence.calibration, references, settings.formats, settings.precisions)
    artifacts = [proof.artifact for proof in proofs]
    with built_beside(out) as folder:
        for artifact in artifacts:
            artifact.write(folder)
        control = control_gates(run.network, artifacts[0], evidence.calibration, references, settings)
        gates = gates_by_name(proofs, control)
        require(gates, "the converted files against PyTorch")
        write_json(folder / PARITY_FILE, parity_report(proofs, control, len(prepared), len(evidence.inputs)))
        decided = compare_decisions(run, evidence, proofs, folder, note)
        for path, content in figures.files.items():
            write_json(folder / path, content)
        manifest = manifest_of(run, artifacts, settings)
        write_file(folder / CARD_FILE, model_card(manifest, run.record, gflop, figures).encode())
        add_golden(folder, manifest, golden, detector, run.network)
        note("verifying the bundle")
        verification = verify(folder, detector)
        require_sound(verification)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        move_into_place(folder, out)
    compared = len(prepared) + len(evidence.inputs)
    open_gates = (*gates, *decided, *verification.gates)
    missing = left_out(settings.formats, settings.precisions, artifacts)
    return Packed(out, verification.bundle, size, compared, open_gates, missing)


def gates_by_name(proofs: Sequence[Proof], control: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates of all artifacts, each named with its file."""
    named = [
        Gate(f"{PurePosixPath(proof.artifact.path).name}: {gate.name}", gate.ok, gate.value, gate.limit)
        for proof in proofs
        for gate in proof.gates
    ]
    return (*named, *control)


def compare_decisions(
    run: Run, evidence: Evidence, proofs: Sequence[Proof], folder: Path, note: Callable[[str], None]
) -> tuple[Gate, ...]:
    """Gate 8 on the captures of `evidence`, with its report; no gates where there are none."""
    captures = evidence.decisions
    if captures is None:
        return ()
    require([captures_gate(captures, evidence.decision_captures)], "the captures for the decisions")
    note(f"comparing verdicts on {len(captures)} captures")
    artifacts = [proof.artifact for proof in proofs]
    kinds = tuple((artifact.path, artifact.format, artifact.precision) for artifact in artifacts)
    scores = score_all(captures, partial(open_all, run.network, folder, kinds), default_workers(), noted(note))
    tables = decision_tables(captures, scores, run.threshold)
    report = decisions_report(captures, run.threshold, tables, evidence.data_sha256, evidence.simulated)
    write_json(folder / DECISIONS_FILE, report)
    gates = [
        Gate(f"{PurePosixPath(path).name}: {gate.name}", gate.ok, gate.value, gate.limit)
        for path, table in tables.items()
        for gate in table.gates()
    ]
    return require(gates, f"the verdicts on {len(captures)} captures")


def open_all(
    network: ATRFAS, folder: Path, artifacts: Sequence[tuple[str, Format, Precision]]
) -> Mapping[str, Backend]:
    """The network under `PYTORCH` and, by their paths below `folder`, the artifacts; raises ModelFailed."""
    opened: dict[str, Backend] = {PYTORCH: NetworkBackend(network)}
    for path, name, precision in artifacts:
        opened[path], _ = open_artifact(name, precision, folder / path)
    return opened


def noted(note: Callable[[str], None]) -> Callable[[int, int], None]:
    """Tells `note` how many captures have been compared."""
    return lambda done, count: note(f"comparing verdicts: {done} of {count} captures")


def add_golden(
    folder: Path, manifest: Manifest, golden: Mapping[str, Capture], detector: LandmarkDetector, network: ATRFAS
) -> Bundle:
    """Check the golden captures with PyTorch under the bundle's own rules, store every stage, seal the bundle."""
    sealed = seal(folder, manifest)
    checker = Checker(sealed, detector, NetworkBackend(network))
    stages = {name: golden_of(name, checker.check(capture)) for name, capture in golden.items()}
    write_golden(folder, stages, manifest.artifacts[0].tolerances)
    write_decisions(folder, manifest)
    return seal(folder, manifest)


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Write the manifest with the hashes of all files and open the bundle."""
    write_manifest(folder, manifest.model_copy(update={"files": hash_files(folder)}))
    return load_bundle(folder)


def parity_report(proofs: Sequence[Proof], control: Sequence[Gate], n_golden: int, n_others: int) -> dict[str, Any]:
    """`reports/parity.json`: per artifact what ran it and its gates, on how many captures; then the control's."""
    return {
        "what": "every artifact against PyTorch, worst capture",
        "captures": {"golden": n_golden, "others": n_others},
        "artifacts": {proof.artifact.path: proof.to_dict() for proof in proofs},
        "negative_control": [gate.to_dict() for gate in control],
    }


def require_free(out: Path, force: bool) -> None:
    """Raise OutputNotWritable unless `out` is new, empty, or a bundle that may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out.is_dir() and (out / "manifest.json").is_file()):
        raise not_writable(f"{out}, which holds something that is no bundle", "choose another folder")
    if not force:
        raise not_writable(f"a bundle at {out}", "choose another folder, or replace it with --force")


@contextmanager
def built_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same file system as `out`, removed again unless it was moved away."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise not_writable(f"{out.parent}: {error.strerror or error}", "choose another folder") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(folder: Path, out: Path) -> None:
    """Put `folder` where `out` is; an older bundle there is moved aside first and removed last."""
    old = folder.with_suffix(".old")
    folder.chmod(0o755)  # temporary folders open for their owner only
    try:
        if out.exists():
            out.replace(old)
        folder.replace(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.replace(out)
        raise not_writable(f"{out}: {error.strerror or error}", "choose another folder") from error
    shutil.rmtree(old, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write readable JSON; ValueError for NaN and infinity."""
    write_file(path, as_json(value))


def not_writable(found: str, remedy: str) -> OutputNotWritable:
    return OutputNotWritable(found=found, expected="a new or empty folder, or a bundle to replace", remedy=remedy)
