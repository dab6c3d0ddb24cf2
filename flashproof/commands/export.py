"""`flashproof export`: from a run to a bundle that has been proved, or to no bundle at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from export.pack import Packed
    from sdk_reference.landmarks import LandmarkDetector

FORMATS = ("onnx",)
PROOF_CAPTURES = 32
MAX_PROOF_CAPTURES = 500  # their inputs are in memory together, about 1 MB each


def export(
    run: Annotated[Path, typer.Argument(help="A run folder of `flashproof train`.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    formats: Annotated[str, typer.Option(help="Formats to convert to; so far: onnx.")] = "onnx",
    golden: Annotated[
        str,
        typer.Option(metavar="CAPTURES", help="A capture, or a folder of up to 4, whose stages are stored."),
    ] = "simulated",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data set whose captures the conversion must agree on; may be repeated. [default: simulate]"),
    ] = None,
    proof_captures: Annotated[
        int, typer.Option(min=0, max=MAX_PROOF_CAPTURES, help="How many captures besides the golden ones.")
    ] = PROOF_CAPTURES,
    evaluation: Annotated[
        Path | None, typer.Option(help="JSON file of `flashproof evaluate`, for the model card.", show_default=False)
    ] = None,
    screen_off: Annotated[
        Path | None,
        typer.Option(help="The same of captures of `simulate --screen-off`.", show_default=False),
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="JSON file of `python -m training.real_pairs`.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the bundle. [default: flashproof- and the preset]", show_default=False)
    ] = None,
    bundle_version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is already there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Convert a run, prove that the converted file decides alike, and write the bundle with golden vectors and card."""
    unknown = sorted(set(formats.split(",")) - set(FORMATS))
    if unknown:
        raise typer.BadParameter(f"unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}", param_hint="--formats")
    import json

    from rich.console import Console

    settings = {"created": now(), "name": name, "version": bundle_version, "force": force}
    try:
        with Console(stderr=True, quiet=as_json).status("Converting and proving ..."):
            files = (evaluation, screen_off, real)
            packed = make_bundle(run, out, golden, data or [], proof_captures, files, settings)
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": {**error.to_dict(), "message": str(error)}}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None
    if as_json:
        print(json.dumps(packed.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    print(f"{packed.bundle}: {packed.path}, {packed.bytes / 1e6:.1f} MB")
    print(f"all {len(packed.gates)} gates open, compared on {packed.captures} captures")


def make_bundle(
    run: Path,
    out: Path,
    golden: str,
    data: list[Path],
    proof_captures: int,
    files: tuple[Path | None, Path | None, Path | None],
    settings: Mapping[str, Any],
) -> Packed:
    """Gather what the export is proved on, and pack; `files` as `read_figures` takes them. Raises FlashproofError."""
    from export.card_files import read_figures
    from export.inputs import dataset_inputs, golden_captures, proof_inputs
    from export.pack import PackSettings, pack, require_free
    from training.checkpoint import load_run

    require_free(out, settings["force"])  # before the work, not after it
    figures = read_figures(*files)
    trained = load_run(run)
    n0 = trained.settings.n0
    captures = golden_captures(golden, n0)
    detector = new_detector()
    if data:
        inputs = dataset_inputs(data, proof_captures, trained, quiet=True)
    else:
        inputs = proof_inputs(proof_captures, n0, trained.preprocess, detector)
    return pack(trained, out, captures, inputs, detector, PackSettings(**settings), figures)


def now() -> str:
    """The time in UTC as a manifest states it."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_detector() -> LandmarkDetector:
    """The detector that the command uses; one place, so that tests can put a fast one there."""
    from sdk_reference.landmarks import FaceMeshDetector

    return FaceMeshDetector()
