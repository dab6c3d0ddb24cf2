"""Whole sessions, one after another, with the window really open and the clock simulated: does each frame see its step?

    python -m flashproof.live_trial OUT.jsonl [--sessions 200] [--json SUMMARY.json]

Every session has its own person or attack, room, challenge, camera (15 to 60 frames a second, timestamps that jitter,
frames lost and repeated) and lag of display and camera (20 to 250 ms); the display presents up to 25 ms late. The
simulated camera is lit by what was presented, and knows, as no real one does, when the light in each frame left the
screen: every frame that the session used is held against that. Needs a display; `xvfb-run` gives one. Simulated rates.

One JSON line per session; what is there already is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

from flash_sequencer.presentation import Presentation
from flashproof.simulated_people import draw_settings
from flashproof.simulated_webcam import SimulatedWebcam, TrueFrame
from sdk_reference.display import Display, DisplayInfo, DisplayState, Screen
from sdk_reference.session_clock import NS_PER_MS, VirtualClock

if TYPE_CHECKING:
    from sdk_reference.checker import Checker
    from sdk_reference.landmarks import LandmarkDetector
    from sdk_reference.session import Attempt

KINDS: Final = ("live", "print", "live", "replay", "live", "mask")
"""Half of the sessions are live."""
LUX: Final = (20.0, 300.0)
LATE_MS: Final = 25.0
WINDOW: Final = (360, 640)


@dataclass
class LateDisplay:
    """A display that presents up to `late_ms` after it was asked to, on a virtual clock."""

    display: Display
    clock: VirtualClock
    rng: np.random.Generator
    late_ms: float = LATE_MS

    def open(self) -> DisplayInfo:
        return self.display.open()

    def show(self, screen: Screen) -> int:
        self.clock.wait_until(self.clock.now_ns() + round(self.rng.uniform(0.0, self.late_ms) * NS_PER_MS))
        return self.display.show(screen)

    def state(self) -> DisplayState:
        return self.display.state()

    def close(self) -> None:
        self.display.close()


@dataclass(frozen=True)
class Line:
    """One session, as it is kept."""

    number: int
    kind: str
    instrument: str
    ambient_lux: float
    camera: dict[str, Any]
    verdict: str
    score: float | None
    reasons: list[str]
    attempts: int
    lag_error_ms: float | None
    """Estimated lag less the true one; None when the session did not come so far."""
    used: int = 0
    """Frames that the last attempt used."""
    strangers: int = 0
    """Of these, frames that saw another step than theirs, or a change."""
    safe: bool = True
    """Whether what was presented kept the limits of photosensitivity."""
    timings_ms: dict[str, float] = field(default_factory=dict)


def real_window(clock: VirtualClock) -> Display:
    """A window on the display that there is, small, since it lights nobody real."""
    from sdk_reference.window import PygameWindow

    return PygameWindow(clock_ns=clock.now_ns, size=WINDOW, brightness=None)


def hold(
    number: int,
    checker: Checker,
    detector: LandmarkDetector,
    profile: str,
    display_on: Callable[[VirtualClock], Display] = real_window,
) -> Line:
    """Hold session `number`; everything random follows from it."""
    from sdk_reference.nonce_book import NonceBook
    from sdk_reference.rig import Rig
    from sdk_reference.session import LiveSession
    from sdk_reference.session_settings import SessionSettings

    rng = np.random.default_rng([number, 64])
    kind = KINDS[number % len(KINDS)]
    clock, presentation = VirtualClock(), Presentation()
    settings = draw_settings(number, approach_s=float(rng.choice([0.0, 2.0])))
    lux = float(np.exp(rng.uniform(*np.log(LUX))))
    webcam = SimulatedWebcam(
        clock.now_ns, presentation.colour_at, kind=kind, seed=number, settings=settings, ambient_lux=lux
    )
    rig = Rig(webcam, LateDisplay(display_on(clock), clock, rng), clock, presentation)
    session = LiveSession(
        rig, checker, detector, NonceBook(source=rng.bytes), SessionSettings(profile=profile, warning_s=0.5)
    ).run()
    last = session.last
    decision = last.result.decision
    truth = {frame.timestamp_ns: frame for frame in webcam.log}
    strangers = list(strangers_among(last, truth, presentation))
    return Line(
        number=number,
        kind=kind,
        instrument=webcam.casting.instrument,
        ambient_lux=round(lux, 1),
        camera=asdict(settings),
        verdict=decision.verdict,
        score=decision.score,
        reasons=[reason.code for reason in decision.reasons],
        attempts=len(session.attempts),
        lag_error_ms=None if last.choice is None else last.choice.lag.lag_ns / NS_PER_MS - settings.latency_ms,
        used=0 if last.choice is None else len(last.choice.capture.timestamps_ns),
        strangers=len(strangers),
        safe=presentation.safety(clock.now_ns()).ok,
        timings_ms=dict(decision.timings_ms),
    )


def strangers_among(attempt: Attempt, truth: dict[int, TrueFrame], presentation: Presentation) -> Iterator[int]:
    """Yield the ranks whose frame saw light of another step, or of two."""
    if attempt.take is None or attempt.choice is None:
        return
    times = {step.rank: (step.shown_at_ns, step.ended_at_ns) for step in attempt.take.presented}
    for rank, timestamp_ns in enumerate(attempt.choice.capture.timestamps_ns):
        frame, (shown_ns, ended_ns) = truth[timestamp_ns], times[rank]
        if not shown_ns <= frame.lit_from_ns <= frame.lit_to_ns <= ended_ns:
            yield rank


def summary(lines: list[Line]) -> dict[str, Any]:
    """Counts over all sessions; every rate is simulated."""
    errors = np.array([line.lag_error_ms for line in lines if line.lag_error_ms is not None])
    return {
        "simulated": True,
        "sessions": len(lines),
        "verdicts": {
            kind: dict(Counter(line.verdict for line in lines if line.kind == kind)) for kind in sorted(set(KINDS))
        },
        "retry_reasons": dict(Counter(line.reasons[0] for line in lines if line.verdict == "retry").most_common()),
        "frames_used": sum(line.used for line in lines),
        "frames_of_another_step_or_a_change": sum(line.strangers for line in lines),
        "lag_error_ms": {
            "median_absolute": float(np.median(np.abs(errors))) if errors.size else None,
            "largest": float(np.abs(errors).max()) if errors.size else None,
        },
        "unsafe_presentations": sum(not line.safe for line in lines),
    }


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects that are there already, one per line; a last line that was cut short is left out."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def read_lines(path: Path) -> list[Line]:
    """The sessions that are there already."""
    return [Line(**values) for values in whole_lines(path)]


def main(
    out: Annotated[Path, typer.Argument(help="JSON lines, one per session.")],
    sessions: Annotated[int, typer.Option(min=1)] = 200,
    profile: Annotated[str, typer.Option(help="standard or gentle")] = "standard",
    bundle: Annotated[Path | None, typer.Option(help="Default: the one that ships.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here.")] = None,
) -> None:
    """Hold simulated sessions in a real window and count what came of them."""
    from flashproof.commands.check import new_detector
    from sdk_reference.atomic_files import write_json
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
    from sdk_reference.checker import Checker

    detector = new_detector()
    checker = Checker(load_bundle(bundle or SHIPPED_BUNDLE), detector)
    done = {line.number for line in read_lines(out)}
    for number in range(sessions):
        if number not in done:
            line = hold(number, checker, detector, profile)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(line)) + "\n")
            print(f"{number:4} {line.kind:6} {line.verdict:5} {' '.join(line.reasons)}", flush=True)
    found = summary([line for line in read_lines(out) if line.number < sessions])
    print(json.dumps(found, indent=1))
    if json_file is not None:
        write_json(json_file, found)


if __name__ == "__main__":
    typer.run(main)
