"""``flashproof check``: a capture, a pair or a camera to a verdict; exit status 0 live, 1 spoof, 2 retry, ≥ 3 error.

With ``--json`` standard output holds exactly one JSON object, also when something went wrong:
``{"error": {"code", "message", ...}}``. A ``retry`` is a verdict, not an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flash_sequencer.plan import PlanError, challenge, default_plan
from flashproof.commands.check_live import ROTATIONS, LiveOptions, as_object, run_session
from sdk_reference.errors import FlashproofError, InvalidInput, UserFailure

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sdk_reference.capture import Capture
    from sdk_reference.checker import Checker, CheckResult
    from sdk_reference.decide import Decision
    from sdk_reference.landmarks import LandmarkDetector

COLOUR_OF_VERDICT = {"live": "green", "spoof": "red", "retry": "yellow"}
BAR_WIDTH = 40
BLANK_FRAME = (64, 64)
PAIR_REMARK = (
    "The frames were computed from two photographs and answer any plan: "
    "the flash response proves nothing about when they were taken."
)
SIMULATED_REMARK = "Person, room and camera are simulated; the window is real, and its colours lit the scene."


def check(
    capture: Annotated[
        Path | None, typer.Argument(help="A capture: a folder with capture.json, or a zip of one.", show_default=False)
    ] = None,
    pair: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="BACKGROUND FLASH",
            help="Two photographs instead, without and with white screen light; frames of the plan are made from them.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Model bundle, a folder or a zip. Default: the one that ships.", show_default=False),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Which model file of the bundle to run. Default: its first.", show_default=False
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="N|sim:KIND",
            help="A live session instead: webcam 0, 1, … or a simulated live, print, replay or mask.",
            show_default=False,
        ),
    ] = None,
    nonce: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="The challenge to show. Without it: the default plan with --pair, a fresh one with --camera.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="With --camera: standard, or gentle on eyes.")] = "standard",
    attempts: Annotated[int, typer.Option(min=1, max=10, help="With --camera: most tries.")] = 3,
    language: Annotated[
        str | None, typer.Option(help="With --camera: en or de. Default: the system's.", show_default=False)
    ] = None,
    screen: Annotated[int, typer.Option(min=0, help="With --camera: which screen flashes.")] = 0,
    windowed: Annotated[
        bool, typer.Option("--windowed", help="With --camera: a small window, to look at; it lights nobody.")
    ] = False,
    rotate: Annotated[int, typer.Option(help="With a webcam: turn its frames by 90, 180 or 270 degrees.")] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With sim:…: the same person and room again.", show_default=False)
    ] = None,
    lux: Annotated[float | None, typer.Option(min=0, help="With sim:…: light of the room.", show_default=False)] = None,
    record: Annotated[
        Path | None, typer.Option(help="With --camera: write the signed record here.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="With --record: private key to sign with; `flashproof record new-key`.", show_default=False),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="FLASHPROOF_STATE",
            help="With --camera: remember used nonces and spent attempts here. Default: forget them afterwards.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML report here.", show_default=False)
    ] = None,
) -> None:
    """Judge a capture, a pair or a live session: live, spoof or retry (exit status 0, 1, 2; errors are 3 and above)."""
    if [capture, pair, camera].count(None) != 2:
        raise typer.BadParameter("give one of a capture, --pair BACKGROUND FLASH and --camera N")
    if nonce is not None and capture is not None:
        raise typer.BadParameter("--nonce goes with --pair or --camera: a capture carries its own plan")
    if rotate not in ROTATIONS:
        raise typer.BadParameter(f"--rotate takes one of {', '.join(map(str, ROTATIONS))}")
    try:
        if camera is not None:
            options = LiveOptions(
                camera, bundle, artifact, nonce, profile, attempts, language, screen, windowed, ROTATIONS[rotate],
                seed, lux, report, record, key, state,
            )  # fmt: skip
            check_live(options, as_json=as_json)
        result = judge(capture, pair, bundle, artifact, nonce, report)
    except (FlashproofError, PlanError) as error:
        if not as_json:
            raise
        print(json.dumps({"error": describe(error)}, ensure_ascii=False))
        raise typer.Exit(getattr(error, "exit_status", InvalidInput.exit_status)) from None
    if as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        show(result, report, [PAIR_REMARK] if pair else [])
    raise typer.Exit(result.decision.exit_status)


def check_live(options: LiveOptions, *, as_json: bool) -> NoReturn:
    """Hold a live session, print what came of it and leave with its exit status."""
    from rich.console import Console

    session = run_session(options, Console(highlight=False, quiet=as_json))
    if as_json:
        print(json.dumps(as_object(session), ensure_ascii=False, allow_nan=False))
    else:
        show(session.last.result, options.report, [SIMULATED_REMARK] if options.simulated else [])
    raise typer.Exit(session.last.result.decision.exit_status)


def judge(
    capture: Path | None,
    pair: tuple[Path, Path] | None,
    bundle: Path | None,
    artifact: str | None,
    nonce: str | None,
    report: Path | None,
) -> CheckResult:
    """Run the check and write the report, if one is wanted. Raises FlashproofError and PlanError."""
    from flashproof.artifacts import opened
    from sdk_reference.atomic_files import require_place
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
    from sdk_reference.capture import load_capture
    from sdk_reference.checker import Checker
    from sdk_reference.report import write_report

    if report is not None:
        require_place(report)
    loaded = load_bundle(bundle or SHIPPED_BUNDLE)
    chosen = loaded.manifest.artifact(artifact)
    detector = new_detector()
    with opened(loaded, chosen) as (backend, _):
        checker = Checker(loaded, detector, backend, artifact=chosen.file)
        if pair is not None:
            result, name = judge_pair(checker, pair, nonce, detector), f"made from {pair[0].name} and {pair[1].name}"
            remarks = [PAIR_REMARK]
        else:
            assert capture is not None, "check() takes one or the other"
            result, name, remarks = checker.check(load_capture(capture)), capture.name, []
    if report is not None:
        write_report(report, result, titles=[name], remarks=remarks)
    return result


def new_detector() -> LandmarkDetector:
    """The detector that the command uses, with its models loaded, so that timings tell what a check takes."""
    import numpy as np

    from sdk_reference.landmarks import FaceMeshDetector

    detector = FaceMeshDetector()
    detector.detect(np.zeros((*BLANK_FRAME, 3), np.uint8))
    return detector


def judge_pair(checker: Checker, pair: tuple[Path, Path], nonce: str | None, detector: LandmarkDetector) -> CheckResult:
    """Make the frames that a plan would have given out of two photographs, and judge those."""
    try:
        return checker.check(capture_of_pair(pair, nonce, checker.bundle.manifest.n0, detector))
    except UserFailure as failure:  # the photographs show no usable face
        return checker.refused(failure)


def capture_of_pair(pair: tuple[Path, Path], nonce: str | None, n0: int, detector: LandmarkDetector) -> Capture:
    """Read two photographs and add up their light for the default plan, or for the challenge of `nonce`."""
    from sdk_reference.pair import capture_from_pair, read_pair

    plan = default_plan(n0) if nonce is None else challenge(nonce, n0)
    return capture_from_pair(*read_pair(*pair), plan, detector)


def describe(error: FlashproofError | PlanError) -> dict[str, str]:
    """The JSON object for an error."""
    if isinstance(error, FlashproofError):
        return {**error.to_dict(), "message": str(error)}
    return {"code": "invalid_plan", "message": str(error)}


def show(result: CheckResult, report: Path | None, remarks: Sequence[str] = ()) -> None:
    """Print a result for people."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(panel(result))
    lines = [f"{reason.code}: {reason.message}.\n  What to do: {reason.hint}." for reason in result.decision.reasons]
    if result.manifest.training.simulated:
        lines.append("The model was trained on simulated captures only: what it says of real people is not proven.")
    lines += remarks
    if report is not None:
        lines.append(f"Report: {report}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def panel(result: CheckResult) -> RenderableType:
    """The verdict with its score, its threshold and what it took."""
    from rich.panel import Panel

    decision = result.decision
    colour = COLOUR_OF_VERDICT[decision.verdict]
    lines = [
        f"[bold {colour}]{decision.verdict.upper()}[/]"
        + (f"  likeliest: {decision.species}" if decision.species else "")
    ]
    lines += [score_line(decision), f"{sum(decision.timings_ms.values()):.0f} ms, bundle {decision.bundle}"]
    return Panel("\n".join(lines), border_style=colour, expand=False)


def score_line(decision: Decision) -> str:
    """The score as a bar with the threshold marked in it, and both in numbers."""
    if decision.score is None:
        return "no score: the capture did not reach the model"
    cells = ["█" if place < round(decision.score * BAR_WIDTH) else "░" for place in range(BAR_WIDTH)]
    cells[min(int(decision.threshold * BAR_WIDTH), BAR_WIDTH - 1)] = "│"
    return f"score {decision.score:.3f} {''.join(cells)} threshold {decision.threshold:.3f}"
