"""``flashproof demo``: the whole pipeline on the shipped model, with simulated people and attacks before the camera.

Exit status 0 says that it ran, whatever the verdicts; wrong ones are shown as wrong. With ``--json`` one JSON object:
``{"simulated": true, "bundle", "seed", "sessions": [{"kind", "instrument", "is_right", ...the keys of check}]}``.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flashproof.commands.check import COLOUR_OF_VERDICT, describe, new_detector
from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Table

    from sdk_reference.checker import CheckResult

SEED_LIMIT = 2**31
TITLES = {"live": "a live face", "print": "a printed photograph", "replay": "a screen", "mask": "a mask"}
RIGHT_OR_WRONG = {True: "[green]right[/]", False: "[bold red]wrong[/]", None: "not judged"}
DISCLAIMER = "People, attacks, rooms and camera are simulated; so are the captures that the model was trained on."


def demo(
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML report here.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Repeat these people and challenges. Without it new ones each time.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Film a simulated face, print, screen and mask under a flash challenge and judge each with the shipped model."""
    from rich.console import Console

    console = Console(highlight=False, quiet=as_json)
    console.print(DISCLAIMER)
    try:
        drawn = secrets.randbelow(SEED_LIMIT) if seed is None else seed
        results = sessions(console, drawn, repeatable=seed is not None)
        if report is not None:
            write(report, results)
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": describe(error)}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None
    if as_json:
        print(json.dumps(as_object(results, drawn), ensure_ascii=False, allow_nan=False))
    else:
        show(console, results, report)


def sessions(console: Console, seed: int, *, repeatable: bool) -> list[CheckResult]:
    """Run all sessions, saying which one is on; challenges are fresh unless they must repeat."""
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
    from sdk_reference.checker import Checker
    from sdk_reference.demo import NONCE_BYTES, run_demo, seeded_nonce

    nonce_for: Callable[[str], bytes] = lambda _: secrets.token_bytes(NONCE_BYTES)  # noqa: E731 (one of two)
    if repeatable:
        nonce_for = lambda kind: seeded_nonce(seed, kind)  # noqa: E731
    with console.status("Loading the model ...") as status:
        bundle = load_bundle(SHIPPED_BUNDLE)
        checker = Checker(bundle, new_detector())
        return run_demo(
            checker,
            seed=seed,
            nonce_for=nonce_for,
            on_start=lambda kind: status.update(f"Filming {TITLES[kind]} ..."),
        )


def write(report: Path, results: list[CheckResult]) -> None:
    """Write the report page with a title per session."""
    from sdk_reference.report import write_report

    write_report(report, results, titles=[title_of(result) for result in results])


def title_of(result: CheckResult) -> str:
    """Who stood before the camera, in words."""
    labels = result.capture.labels if result.capture else None
    assert labels is not None and labels.species is not None, "the demo labels its captures"
    instrument = "" if labels.species == "live" else f" ({labels.instrument})"
    return f"{TITLES[labels.species]}{instrument}"


def instrument_of(result: CheckResult) -> str:
    """Who stood before the camera, in one word: `face`, `print_holes`, ..."""
    labels = result.capture.labels if result.capture else None
    assert labels is not None and labels.instrument is not None, "the demo labels its captures"
    return labels.instrument


def as_object(results: list[CheckResult], seed: int) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "simulated": True,
        "bundle": results[0].decision.bundle,
        "seed": seed,
        "sessions": [
            {
                "kind": result.capture.labels.species,
                "instrument": result.capture.labels.instrument,
                "is_right": result.is_right,
                **result.to_dict(),
            }
            for result in results
            if result.capture is not None and result.capture.labels is not None
        ],
    }


def show(console: Console, results: list[CheckResult], report: Path | None) -> None:
    """Print the table and what to make of it."""
    console.print(table(results))
    for result in results:
        for reason in result.decision.reasons if result.decision.verdict == "retry" else ():
            console.print(f"{title_of(result)}, {reason.code}: {reason.message}.", markup=False, soft_wrap=True)
    wrong = sum(result.is_right is False for result in results)
    judged = sum(result.is_right is not None for result in results)
    console.print(f"{judged - wrong} of {judged} verdicts are right; {len(results) - judged} asked for another try.")
    console.print("Four simulated sessions prove nothing about real people: see the model card for what was measured.")
    if report is not None:
        console.print(f"Report: {report}", markup=False, soft_wrap=True)


def table(results: list[CheckResult]) -> Table:
    """One row per session."""
    from rich.table import Table

    shown = Table(title=f"Judged by {results[0].decision.bundle}", title_justify="left")
    for heading in ("filmed", "verdict", "score", "threshold", "likeliest", "ms", "right?"):
        shown.add_column(heading, justify="right" if heading in ("score", "threshold", "ms") else "left")
    for result in results:
        decision = result.decision
        shown.add_row(
            instrument_of(result),
            f"[{COLOUR_OF_VERDICT[decision.verdict]}]{decision.verdict}[/]",
            "–" if decision.score is None else f"{decision.score:.3f}",
            f"{decision.threshold:.3f}",
            decision.species or "–",
            f"{sum(decision.timings_ms.values()):.0f}",
            RIGHT_OR_WRONG[result.is_right],
        )
    return shown
