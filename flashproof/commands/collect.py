"""``flashproof collect``: records labelled films of people and attacks for training, with their consent.

With ``--json`` one JSON object: ``{"folder", "new": [names], "recordings", "counts": {"subject", "species", "scene",
"device"}, "subjects": {name: {"live", "attacks"}}, "consents", "damaged"}``. Run again it goes on where it was.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flashproof.commands.check import describe
from flashproof.commands.check_live import LiveOptions, open_camera
from sdk_reference.errors import FlashproofError

if TYPE_CHECKING:
    from rich.console import Console

    from sdk_reference.collecting import Filmer, Order, Summary

NONCE_BYTES = 16


def collect(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set, new or begun before.", metavar="DIR")],
    subject: Annotated[
        str | None,
        typer.Option(
            help="Pseudonym of the person; of an attack, who is impersonated. Without it: the summary only.",
            show_default=False,
        ),
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="What is recorded: live, print, replay or mask.", show_default=False)
    ] = None,
    camera: Annotated[str, typer.Option(help="Number of the camera; sim:live and so on for a simulated one.")] = "0",
    count: Annotated[int, typer.Option(min=1, max=1000, help="Films to record now.")] = 1,
    instrument: Annotated[
        str | None, typer.Option(help="Kind of attack, e.g. print_magazine.", show_default=False)
    ] = None,
    scene: Annotated[str | None, typer.Option(help="Place and light, e.g. office.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="Camera and screen, e.g. laptop-3.", show_default=False)] = None,
    lux: Annotated[float | None, typer.Option(help="Light on the face, measured.", show_default=False)] = None,
    profile: Annotated[str, typer.Option(help="Of the flashes: standard or gentle.")] = "standard",
    consent: Annotated[
        bool, typer.Option("--consent", help="State that a consent form signed by this person exists.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Record labelled films for training; without --subject, say what was recorded."""
    from rich.console import Console

    if (subject is None) != (species is None):
        raise typer.BadParameter("--subject and --species go together")
    console = Console(highlight=False, quiet=as_json)
    try:
        new: tuple[str, ...] = ()
        if subject is not None and species is not None:
            from sdk_reference.collecting import order_for

            extras = {"instrument": instrument, "scene": scene, "device": device, "ambient_lux": lux}
            simulated = LiveOptions(camera).simulated
            order = order_for(subject, species, simulated=simulated, profile=profile, **extras)
            new = record(console, folder, order, camera, count, signed_form=consent)
        show(console, folder, new, as_json)
    except FlashproofError as error:
        if not as_json:
            raise
        print(json.dumps({"error": describe(error)}, ensure_ascii=False))
        raise typer.Exit(error.exit_status) from None


def record(
    console: Console, folder: Path, order: Order, camera: str, count: int, *, signed_form: bool
) -> tuple[str, ...]:
    """Ask for consent, film, and say of each film what became of it; returns the names of the new recordings."""
    from datetime import datetime, timezone
    from functools import partial

    from sdk_reference.collecting import collect
    from sdk_reference.consent import require_consent

    subject = order.labels.subject
    assert subject is not None, "an order has a subject"
    if not order.labels.simulated:
        now = partial(datetime.now, timezone.utc)
        require_consent(folder, subject, now, signed_form=signed_form, ask=partial(ask, quiet=console.quiet))
    with open_filmer(camera, order) as filmer:
        return collect(
            folder,
            order,
            filmer,
            count=count,
            new_nonce=lambda: secrets.token_bytes(NONCE_BYTES),
            on_kept=lambda name: console.print(f"kept {name}", markup=False),
            on_failed=lambda error: console.print(f"not kept, once more: {error}", markup=False, soft_wrap=True),
        )


def ask(text: str, *, quiet: bool) -> str:
    """Show the consent text and return what the person types; with ``--json`` nobody can be asked."""
    if quiet:
        return ""
    typer.echo(text)
    answer: str = typer.prompt("Type yes or ja to agree / yes oder ja, wenn Sie einwilligen", default="no")
    return answer


@contextmanager
def open_filmer(camera: str, order: Order) -> Iterator[Filmer]:
    """The window and the camera that film, closed afterwards. Raises InvalidInput and RuntimeFailure."""
    from flash_sequencer.presentation import Presentation
    from flashproof.commands.check import new_detector
    from flashproof.live_filmer import LiveFilmer
    from sdk_reference.rig import Rig
    from sdk_reference.session_clock import SteadyClock
    from sdk_reference.session_settings import SessionSettings
    from sdk_reference.window import PygameWindow

    clock, presentation = SteadyClock(), Presentation()
    stream = open_camera(LiveOptions(camera, lux=order.labels.ambient_lux), clock, presentation)
    rig = Rig(stream, PygameWindow(clock_ns=clock.now_ns), clock, presentation)
    detector = new_detector()
    with rig.opened():
        yield LiveFilmer(rig, detector, SessionSettings(profile=order.profile))


def show(console: Console, folder: Path, new: tuple[str, ...], as_json: bool) -> None:
    """Print what the folder holds now."""
    from sdk_reference.collecting import summarise

    summary = summarise(folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "new": list(new), **summary.to_dict()}, ensure_ascii=False))
        return
    for line in lines_of(summary, folder):
        console.print(line, markup=False, soft_wrap=True)


def lines_of(summary: Summary, folder: Path) -> list[str]:
    """The summary in words."""
    lines = [f"{folder}: {summary.recordings} recordings of {len(summary.live_and_attacks)} people"]
    for by, counts in summary.counts.items():
        lines.append(f"  by {by}: " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "none"))
    one_sided = [name for name, (live, attacks) in summary.live_and_attacks.items() if not live or not attacks]
    if one_sided:
        lines.append(f"  only live or only attacks so far: {', '.join(one_sided)}")
    if summary.damaged:
        lines.append(f"  cannot be read: {', '.join(summary.damaged)}")
    lines.append("A training needs a dozen people or more, live and attacked: see docs/recordings.md.")
    return lines
