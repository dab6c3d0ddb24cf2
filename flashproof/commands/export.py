"""`flashproof export`: from a run to a bundle that has been proved, or to no bundle at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from rich.status import Status

    from export.pack import Packed
    from sdk_reference.landmarks import LandmarkDetector

FORMATS = ("onnx", "litert", "coreml")
PRECISIONS = ("fp32", "fp16", "int8_weights", "int8_dynamic", "int8_static")
PROOF_CAPTURES = 64
DECISION_CAPTURES = 2000
CALIBRATION_CAPTURES = 64
MAX_PROOF_CAPTURES = 500  # their inputs are in memory together, about 1 MB each


def export(
    run: Annotated[Path, typer.Argument(help="A run folder of `flashproof train`.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    formats: Annotated[str, typer.Option(help="Formats to convert to, onnx among them.")] = ",".join(FORMATS),
    precisions: Annotated[str, typer.Option(help="Precisions to convert to, fp32 among them.")] = ",".join(PRECISIONS),
    golden: Annotated[
        str,
        typer.Option(metavar="CAPTURES", help="A capture, or a folder of up to 4, whose stages are stored."),
    ] = "simulated",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data set whose captures the conversion must agree on; may be repeated. [default: simulate]"),
    ] = None,
    proof_captures: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_PROOF_CAPTURES, help="Captures besides the golden ones whose outputs are compared."
        ),
    ] = PROOF_CAPTURES,
    decision_captures: Annotated[
        int, typer.Option(min=0, help="Captures whose verdicts are compared; 0: none, which the bundle then says.")
    ] = DECISION_CAPTURES,
    calibration_captures: Annotated[
        int,
        typer.Option(min=0, help="Captures that set int8 ranges and what stays float; 0: no int8_static."),
    ] = CALIBRATION_CAPTURES,
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
    """Convert a run, prove that every file decides alike, and write the bundle with golden vectors and model card."""
    chosen = {
        "formats": names_of(formats, FORMATS, "--formats"),
        "precisions": names_of(precisions, PRECISIONS, "--precisions"),
    }
    import json

    from rich.console import Console

    settings = {"created": now(), "name": name, "version": bundle_version, "force": force, **chosen}
    if not calibration_captures:
        chosen["precisions"] = tuple(name for name in chosen["precisions"] if name != "int8_static")
    elif chosen["precisions"] == ("fp32",):
        calibration_captures = 0  # nothing to calibrate
    counts = (proof_captures, decision_captures, calibration_captures)
    try:
        with Console(stderr=True, quiet=as_json).status("Gathering captures ...") as status:
            files = (evaluation, screen_off, real)
            packed = make_bundle(run, out, golden, data or [], counts, files, settings, note_on(status))
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": {**error.to_dict(), "message": str(error)}}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None
    if as_json:
        print(json.dumps(packed.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    print(f"{packed.bundle}: {packed.path}, {packed.bytes / 1e6:.1f} MB")
    for name, precision in packed.left_out:
        print(f"left out: {name} {precision}, in which no layer could be computed in int8 within the gates")
    print(f"all {len(packed.gates)} gates open, compared on {packed.captures} captures")


def names_of(given: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The names in a list with commas; raises BadParameter for one that is not known."""
    names = tuple(given.split(","))
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise typer.BadParameter(f"unknown {unknown[0]!r}; known: {', '.join(known)}", param_hint=option)
    return names


def note_on(status: Status) -> Callable[[str], None]:
    """Shows what is being done."""
    return lambda text: status.update(f"{text[0].upper()}{text[1:]} ...")


def make_bundle(
    run: Path,
    out: Path,
    golden: str,
    data: list[Path],
    counts: tuple[int, int, int],
    files: tuple[Path | None, Path | None, Path | None],
    settings: Mapping[str, Any],
    note: Callable[[str], None],
) -> Packed:
    """Gather what the export is proved on, and pack; `files` as `read_figures` takes them. Raises FlashproofError."""
    from export.card_files import read_figures
    from export.evidence import evidence_from, simulated_evidence
    from export.inputs import golden_captures
    from export.pack import PackSettings, pack, require_free
    from training.checkpoint import load_run

    require_free(out, settings["force"])  # before the work, not after it
    figures = read_figures(*files)
    trained = load_run(run)
    captures = golden_captures(golden, trained.settings.n0)
    gathered = nullcontext(evidence_from(data, trained, *counts)) if data else simulated_evidence(trained, *counts)
    with gathered as evidence:
        return pack(trained, out, captures, evidence, new_detector(), PackSettings(**settings), figures, note)


def now() -> str:
    """The time in UTC as a manifest states it."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_detector() -> LandmarkDetector:
    """The detector that the command uses; one place, so that tests can put a fast one there."""
    from sdk_reference.landmarks import FaceMeshDetector

    return FaceMeshDetector()
