"""Where the time of a live session goes, and what passes between the last flash and the verdict.

    xvfb-run -a -s "-screen 0 800x800x24" python benchmarks/session_time.py [--sessions 5]

Real time, a real window, the shipped model on one thread; person and camera are simulated by a thread of the same
process, which a real camera would not need. Run it with nothing else on the machine.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Annotated

import typer

from flash_sequencer.presentation import Presentation
from flashproof.commands.check import new_detector
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
from sdk_reference.checker import Checker
from sdk_reference.nonce_book import NonceBook
from sdk_reference.rig import Rig
from sdk_reference.session import LiveSession
from sdk_reference.session_clock import SteadyClock
from sdk_reference.session_settings import SessionSettings
from sdk_reference.session_trace import after_flash_ms
from sdk_reference.window import PygameWindow

LUX = 20.0  # dark: no hint about the light, whose time would be the person's


def main(sessions: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """Hold sessions and print two tables in Markdown: states, and what follows the last flash."""
    detector = new_detector()
    checker = Checker(load_bundle(SHIPPED_BUNDLE), detector)
    states: dict[str, list[float]] = defaultdict(list)
    after: dict[str, list[float]] = defaultdict(list)
    for seed in range(sessions):
        clock, presentation = SteadyClock(), Presentation()
        camera = SimulatedWebcam(
            clock.now_ns, presentation.colour_at, kind="live", seed=seed, ambient_lux=LUX, threaded=True
        )
        rig = Rig(camera, PygameWindow(clock_ns=clock.now_ns, size=(360, 640), brightness=None), clock, presentation)
        last = LiveSession(rig, checker, detector, NonceBook(), SessionSettings(attempts=1)).run().last
        parts = after_flash_ms(last)
        for name, spent_ns in last.durations_ns.items():
            states[name].append(spent_ns / 1e6)
        states["whole session"].append(sum(last.durations_ns.values()) / 1e6)
        for name, value in parts.items():
            after[name].append(value)
        after["from the last flash to the verdict"].append(sum(parts.values()))
    table("state", states)
    table("after the last flash", after)


def table(title: str, rows: dict[str, list[float]]) -> None:
    """Median, least and most, in ms."""
    print(f"\n| {title} | median ms | least | most |\n|---|---:|---:|---:|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")


if __name__ == "__main__":
    typer.run(main)
