"""`flashproof verify`: what can be proved about a bundle from the bundle alone; exit 0 sound, 1 not, ≥ 3 no bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from rich.table import Table

    from export.verify import Verification
    from sdk_reference.landmarks import LandmarkDetector

STATUS_GATE_MISSED = 1


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder with manifest.json, or a zip of one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check hashes, model structure, golden vectors of every stage, odd inputs and repeatability of a bundle."""
    from export.verify import verify as run_verification

    try:
        verification = run_verification(bundle, new_detector())
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": {**error.to_dict(), "message": str(error)}}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None
    if as_json:
        print(json.dumps(verification.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        console = Console()
        console.print(table(verification))
        for note in verification.notes:
            console.print(f"Note: {note}.", markup=False, soft_wrap=True)
    raise typer.Exit(0 if verification.ok else STATUS_GATE_MISSED)


def new_detector() -> LandmarkDetector:
    """The detector that the command uses; one place, so that tests can put a fast one there."""
    from sdk_reference.landmarks import FaceMeshDetector

    return FaceMeshDetector()


def table(verification: Verification) -> Table:
    """The gates as a table for people."""
    from rich.markup import escape
    from rich.table import Table

    missed = sum(not gate.ok for gate in verification.gates)
    result = (
        f"{missed} of {len(verification.gates)} gates MISSED" if missed else f"all {len(verification.gates)} gates open"
    )
    drawn = Table(title=f"{verification.bundle}: {result}")
    for column, justify in (("gate", "left"), ("value", "right"), ("limit", "right"), ("", "left"), ("remark", "left")):
        drawn.add_column(column, justify=justify)  # type: ignore[arg-type]
    for gate in verification.gates:
        mark = "[green]open[/]" if gate.ok else "[red]MISSED[/]"
        remark = escape(getattr(gate, "detail", ""))
        drawn.add_row(escape(gate.name), f"{gate.value:.3g}", f"{gate.limit:.3g}", mark, remark)
    return drawn
