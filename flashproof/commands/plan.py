"""``flashproof plan``: prints a flash plan, its entropy and hash, and what the safety analysis found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flash_sequencer.plan import FlashPlan, challenge, default_plan
from flash_sequencer.safety import SafetyReport

if TYPE_CHECKING:
    from rich.table import Table


def plan(
    n0: Annotated[int, typer.Option(help="Number of colours, 3 to 8.")] = 5,
    nonce: Annotated[
        str | None,
        typer.Option(help="Hex digits of 16 to 64 bytes: print the challenge of this nonce, not the default plan."),
    ] = None,
    profile: Annotated[str, typer.Option(help="standard, or gentle: slower, softer, brightness in one direction.")] = (
        "standard"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a flash plan and its photosensitivity analysis."""
    chosen = default_plan(n0, profile) if nonce is None else challenge(nonce, n0, profile)
    if as_json:
        print(json.dumps(plan_as_dict(chosen), indent=2))
    else:
        print_plan(chosen)


def plan_as_dict(chosen: FlashPlan) -> dict[str, object]:
    """``{"plan", "hash", "entropy_bits", "safety"}``, the object that ``--json`` prints."""
    return {
        "plan": chosen.to_dict(),
        "hash": chosen.canonical_hash(),
        "entropy_bits": chosen.entropy_bits,
        "safety": chosen.safety.to_dict(),
    }


def print_plan(chosen: FlashPlan) -> None:
    """Print the plan for people, on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(steps_table(chosen))
    for line in (*origin_lines(chosen), *safety_lines(chosen.safety)):
        console.print(line, markup=False, soft_wrap=True)


def steps_table(chosen: FlashPlan) -> Table:
    """One row per step in time order, with a swatch of its colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{chosen.n0} colours in time order, profile {chosen.profile}", title_justify="left")
    for heading in ("from (ms)", "to (ms)", "colour", "sRGB", "luminance", "rank"):
        table.add_column(heading, justify="left" if heading in ("colour", "sRGB") else "right")
    start_ms = 0
    for step in chosen.steps:
        end_ms = start_ms + step.duration_ms
        code = "#{:02x}{:02x}{:02x}".format(*step.srgb)
        swatch = Text("      ", style=f"on {code}")
        table.add_row(str(start_ms), str(end_ms), swatch, code, f"{step.luminance:.3f}", str(step.rank))
        start_ms = end_ms
    return table


def origin_lines(chosen: FlashPlan) -> list[str]:
    """Where the plan comes from, and its hash."""
    if chosen.nonce is None:
        origin = "Default plan: always the same, so no challenge (0 bits of entropy)."
    else:
        count = round(2**chosen.entropy_bits)
        origin = (
            f"Challenge of the nonce: one of {count} equally likely plans ({chosen.entropy_bits:.2f} bits of entropy)."
        )
    return [origin, f"Hash: {chosen.canonical_hash()}"]


def safety_lines(safety: SafetyReport) -> list[str]:
    """The analysis in plain words; a plan that exists is safe, so there is no line for the other case."""
    limits = safety.limits
    at_most = f"limit {limits.flashes_per_second:g}"
    screen = f"a screen of up to {limits.peak_luminance_cd_m2:g} cd/m²"
    train = "none" if safety.longest_train_ms == 0 else f"{safety.longest_train_ms / 1000:g} s"
    return [
        "Photosensitivity, in the worst second, full screen, on a black or white surround:",
        f"  general flashes (WCAG 2.3.1): {safety.general.flashes:g} ({at_most})",
        f"  red flashes (WCAG 2.3.1): {safety.red.flashes:g} ({at_most})",
        f"  flashes of {limits.luminance_change_cd_m2:g} cd/m² or more on {screen} (ITU-R BT.1702): "
        f"{safety.luminance.flashes:g} ({at_most})",
        f"  longest run of {limits.train_flashes_per_second:g} or more flashes a second: {train} "
        f"(limit {limits.train_ms / 1000:g} s)",
        "Within all limits. They lower the risk; no plan is harmless to everyone who is sensitive to flicker.",
    ]
