"""A trained run → a bundle: convert, prove, store golden vectors, describe, verify what was written, then show it.

Not in the paper. Everything is written into a temporary folder beside the target. The target appears by one rename, and
only after the gates of `export.parity` and of `export.verify` are open: a missed gate raises and leaves nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from export.card_files import CardFigures, as_json
from export.cost import gflop_per_capture
from export.golden import FloatArray, golden_of, write_golden
from export.model_card import NOTHING_MEASURED, model_card
from export.onnx import OPSET, export_onnx
from export.parity import MAX_DIFFERENCE, Gate, check_parity, run_network
from export.verify import require_sound, verify
from flash_sequencer.plan import default_plan
from sdk_reference.bundle import Bundle, hash_files, load_bundle, write_manifest
from sdk_reference.capture import Capture
from sdk_reference.checker import Checker
from sdk_reference.differential import differential_rows
from sdk_reference.errors import OutputNotWritable
from sdk_reference.landmarks import LandmarkDetector
from sdk_reference.manifest import (
    INPUT_NAME,
    OUTPUT_NAMES,
    SCHEMA_VERSION,
    SPECIES_ORDER,
    Artifact,
    FileEntry,
    FlashColours,
    Manifest,
    OperatingPoint,
    Tensor,
    Training,
    expected_shapes,
    runtime_alignment,
)
from sdk_reference.preprocess import preprocess
from sdk_reference.runtime import ModelOutputs, checked_outputs
from training.checkpoint import Run
from training.errors import RunInvalid
from training.network import ATRFAS

MODEL_FILE: Final = "models/atr-fas.fp32.onnx"
CARD_FILE: Final = "MODEL_CARD.md"
PARITY_FILE: Final = "reports/parity.json"
LICENCE: Final = "Apache-2.0"
FIRST_VERSION: Final = "0.1.0"
ODD_SEED: Final = 0
NOT_YET_HASHED: Final = FileEntry(sha256="0" * 64, bytes=0)  # until the bundle is sealed

LAYOUTS: Final[Mapping[str, tuple[str, tuple[float, float]]]] = {
    INPUT_NAME: ("difference (row of D), RGB, row, column", (-1.0, 1.0)),
    "score": ("probability of live", (0.0, 1.0)),
    "type": (f"probabilities of {', '.join(SPECIES_ORDER)}", (0.0, 1.0)),
    "depth": ("1, row, column; nearest is 1", (0.0, 1.0)),
    "flash_response": ("difference (row of D), (R−G, G−B, B−R); trained to this range, not clipped to it", (-2.0, 2.0)),
}


@dataclass(frozen=True)
class PackSettings:
    """What the caller says about the new bundle."""

    created: str
    """UTC, YYYY-MM-DDTHH:MM:SSZ."""
    name: str | None = None
    """Default: flashproof- and the run's preset."""
    version: str = FIRST_VERSION
    force: bool = False
    """Replace a bundle that is already there."""


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

    def to_dict(self) -> dict[str, Any]:
        """What `flashproof export --json` prints."""
        gates = [gate.to_dict() for gate in self.gates]
        shown = {"bundle": self.bundle, "path": str(self.path), "bytes": self.bytes, "captures": self.captures}
        return {**shown, "ok": True, "gates": gates}


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
    inputs: Sequence[FloatArray],
    detector: LandmarkDetector,
    settings: PackSettings,
    figures: CardFigures = NOTHING_MEASURED,
) -> Packed:
    """Export `run` to a bundle folder at `out`.

    `golden` are the captures whose stages are stored, `inputs` further model inputs (N,3,S,S) on which the conversion
    must agree, `figures` what was measured, for the model card. Raises ParityError for a missed gate, OutputNotWritable
    for a place that holds something else, EvaluationUnusable for figures of another model, GoldenUnusable, or a
    UserFailure of a golden capture.
    """
    require_free(out, settings.force)
    manifest = manifest_of(run, settings)
    card = model_card(manifest, run.record, gflop_per_capture(run.network), figures)  # before the work, not after it
    model = export_onnx(run.network)
    prepared = [preprocess(capture, detector, run.preprocess).model_input for capture in golden.values()]
    noise = np.random.default_rng(ODD_SEED)
    parity = check_parity(model, run.network, [*prepared, *inputs], noise)
    with built_beside(out) as folder:
        write_file(folder / MODEL_FILE, model)
        write_json(folder / PARITY_FILE, parity_report(parity, len(prepared), len(inputs)))
        for path, content in figures.files.items():
            write_json(folder / path, content)
        write_file(folder / CARD_FILE, card.encode())
        add_golden(folder, manifest, golden, detector, run.network)
        verification = verify(folder, detector)
        require_sound(verification)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        move_into_place(folder, out)
    return Packed(out, verification.bundle, size, len(prepared) + len(inputs), (*parity, *verification.gates))


def add_golden(
    folder: Path, manifest: Manifest, golden: Mapping[str, Capture], detector: LandmarkDetector, network: ATRFAS
) -> Bundle:
    """Check the golden captures with PyTorch under the bundle's own rules, store every stage, seal the bundle."""
    sealed = seal(folder, manifest)
    checker = Checker(sealed, detector, NetworkBackend(network))
    stages = {name: golden_of(name, checker.check(capture)) for name, capture in golden.items()}
    write_golden(folder, stages, manifest.artifacts[0].tolerances)
    return seal(folder, manifest)


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Write the manifest with the hashes of all files and open the bundle."""
    write_manifest(folder, manifest.model_copy(update={"files": hash_files(folder)}))
    return load_bundle(folder)


def manifest_of(run: Run, settings: PackSettings) -> Manifest:
    """The manifest without its files; raises RunInvalid when the record lacks something or contradicts the network."""
    n0, record = run.settings.n0, run.record
    rows = len(differential_rows(n0))
    if run.preprocess.input_size != run.settings.input_size:
        raise invalid_run(f"inputs of {run.preprocess.input_size} pixels", f"{run.settings.input_size}, the network's")
    try:
        return Manifest(
            schema_version=SCHEMA_VERSION,
            name=settings.name or f"flashproof-{record['preset']}",
            version=settings.version,
            created=settings.created,
            licence=LICENCE,
            n0=n0,
            flash=flash_colours(n0),
            differential_rows=differential_rows(n0),
            alignment=runtime_alignment(),
            colour_order="RGB",
            preprocess=run.preprocess,
            depth_bins=run.settings.depth_bins,
            species_order=SPECIES_ORDER,
            quality_limits=run.limits,
            response_rule=run.response_rule,
            artifacts=(onnx_artifact(run, rows),),
            training=training_of(record),
            files={MODEL_FILE: NOT_YET_HASHED},
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise invalid_run(f"a record that makes no manifest ({str(error)[:300]})", "every field of run.json") from error


def flash_colours(n0: int) -> FlashColours:
    """The default plan's colours; D expects brightest first whatever the order in time."""
    plan = default_plan(n0)
    return FlashColours(
        profile=plan.profile,
        colours_srgb=tuple(step.srgb for step in plan.steps_by_rank),
        palette="other colours and time orders are those of the plans in the training captures, see `training`",
    )


def onnx_artifact(run: Run, rows: int) -> Artifact:
    """What the manifest says about the ONNX file."""
    shapes = expected_shapes(rows, run.settings.input_size)
    tensors = {
        name: Tensor(name=name, shape=shapes[name], dtype="float32", layout=layout, range=limits)
        for name, (layout, limits) in LAYOUTS.items()
    }
    return Artifact(
        file=MODEL_FILE,
        format="onnx",
        precision="fp32",
        opset=OPSET,
        runs_on="ONNX Runtime 1.16",
        float_layers=(),
        calibration=None,
        inputs=(tensors[INPUT_NAME],),
        outputs=tuple(tensors[name] for name in OUTPUT_NAMES),
        tolerances=dict.fromkeys(OUTPUT_NAMES, MAX_DIFFERENCE),
        operating_point=OperatingPoint.model_validate(run.record["operating_point"]),
    )


def training_of(record: Mapping[str, Any]) -> Training:
    """Where the weights come from, by the run's record."""
    data = record["data"]
    return Training(
        run=record["name"],
        seed=record["seed"],
        preset=record["preset"],
        data_sha256=data["sha256"],
        captures=data["captures"],
        subjects=data["subjects"],
        simulated=data["simulated"],
    )


def parity_report(gates: Sequence[Gate], n_golden: int, n_others: int) -> dict[str, Any]:
    """`reports/parity.json`: the gates of the conversion and on how many captures they hold."""
    compared = {"golden": n_golden, "others": n_others}
    return {"what": "ONNX fp32 by ONNX Runtime against PyTorch, worst capture", "captures": compared} | {
        "gates": [gate.to_dict() for gate in gates]
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


def invalid_run(found: str, expected: str) -> RunInvalid:
    return RunInvalid(found=found, expected=expected, remedy="train again with this release, or correct run.json")


def not_writable(found: str, remedy: str) -> OutputNotWritable:
    return OutputNotWritable(found=found, expected="a new or empty folder, or a bundle to replace", remedy=remedy)
