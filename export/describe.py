"""What the manifest says about a run and its converted files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from export.converted import PRECISIONS, CalibrationSet, Converted, Format, Precision
from export.formats import FORMATS
from export.precision_gates import LIMITS
from flash_sequencer.plan import default_plan
from sdk_reference.differential import differential_rows
from sdk_reference.manifest import (
    INPUT_NAME,
    OUTPUT_NAMES,
    SCHEMA_VERSION,
    SPECIES_ORDER,
    Artifact,
    Calibration,
    FileEntry,
    FlashColours,
    Manifest,
    OperatingPoint,
    Tensor,
    Training,
    expected_shapes,
    runtime_alignment,
)
from training.checkpoint import Run
from training.errors import RunInvalid

LICENCE: Final = "Apache-2.0"
FIRST_VERSION: Final = "0.1.0"
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
    formats: tuple[Format, ...] = FORMATS
    precisions: tuple[Precision, ...] = PRECISIONS


def manifest_of(run: Run, artifacts: Sequence[Converted], settings: PackSettings) -> Manifest:
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
            artifacts=tuple(artifact_of(converted, run, rows) for converted in artifacts),
            training=training_of(record),
            files={path: NOT_YET_HASHED for converted in artifacts for path in converted.files},
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


def artifact_of(converted: Converted, run: Run, rows: int) -> Artifact:
    """What the manifest says about one converted model."""
    shapes = expected_shapes(rows, run.settings.input_size)
    tensors = {
        name: Tensor(name=name, shape=shapes[name], dtype="float32", layout=layout, range=limits)
        for name, (layout, limits) in LAYOUTS.items()
    }
    limits = LIMITS[converted.precision]
    return Artifact(
        file=converted.path,
        format=converted.format,
        precision=converted.precision,
        opset=converted.opset,
        runs_on=converted.runs_on,
        float_layers=converted.float_layers,
        calibration=calibration_of(converted.calibration),
        inputs=(tensors[INPUT_NAME],),
        outputs=tuple(tensors[name] for name in OUTPUT_NAMES),
        tolerances={name: getattr(limits, name) for name in OUTPUT_NAMES},
        operating_point=OperatingPoint.model_validate(run.record["operating_point"]),
    )


def calibration_of(calibration: CalibrationSet | None) -> Calibration | None:
    """What the manifest says about the captures that set the ranges."""
    if calibration is None:
        return None
    return Calibration(seed=calibration.seed, captures=len(calibration.inputs), sha256=calibration.sha256)


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


def invalid_run(found: str, expected: str) -> RunInvalid:
    return RunInvalid(found=found, expected=expected, remedy="train again with this release, or correct run.json")
