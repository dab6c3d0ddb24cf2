"""Sessions in which something goes wrong at a random moment: never live, never a hang, all closed, a reason given.

    python -m flashproof.fault_trial [--sessions 500] [--json FILE]

A live person whom the undisturbed session accepts is filmed; between the first screen and the last flash one fault
strikes: the camera is unplugged, freezes, goes black, changes its resolution, falls silent, its clock jumps, a second
face comes, another person takes the place (after positioning; before it, the session is simply the other's), the window
is closed, loses the whole screen or breaks, the model fails, its bundle (a folder or a zip) is deleted or one byte of
the model's file is exchanged, or the disk with the book of nonces and the record is full. Files and disk are real
(`flashproof.full_disk`), the clock is simulated; no window is needed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flash_sequencer.presentation import Presentation
from flashproof.commands.check_live import write_record
from flashproof.faulty_camera import FAULTS, Fault, ScriptedFaults
from flashproof.full_disk import small_disk
from flashproof.headless import HeadlessDisplay
from flashproof.simulated_people import draw_settings
from flashproof.simulated_webcam import SimulatedWebcam
from sdk_reference.backends import open_backend
from sdk_reference.bundle import load_bundle, zip_bundle
from sdk_reference.camera import CameraStream
from sdk_reference.checker import Checker
from sdk_reference.display import DisplayState
from sdk_reference.errors import FlashproofError, ModelFailed
from sdk_reference.landmarks import LandmarkDetector
from sdk_reference.nonce_book import NonceBook
from sdk_reference.rig import Rig
from sdk_reference.runtime import Backend, ModelOutputs
from sdk_reference.session import LiveSession, SessionResult
from sdk_reference.session_clock import NS_PER_S, VirtualClock
from sdk_reference.session_settings import SessionSettings

BUNDLE_FAULTS: Final = ("bundle_removed", "zip_bundle_removed", "model_replaced")
OTHER_FAULTS: Final = ("window_closed", "screen_not_full", "display_lost", "model_failed", *BUNDLE_FAULTS, "disk_full")
ALL_FAULTS: Final = (*FAULTS, *OTHER_FAULTS)
SETTINGS: Final = SessionSettings(attempts=1, warning_s=0.5, positioning_s=10.0, lighting_s=10.0, result_s=0.2)
LONGEST_S: Final = 40.0
"""Of a session with these settings: every state's limit, one after another."""
PEOPLE: Final = 24
"""Different ones; a person's scene takes a second to render."""


@dataclass(frozen=True)
class Person:
    """Who is accepted when nothing goes wrong, and how long that takes."""

    seed: int
    lux: float
    tracked_ns: int
    """When positioning was over."""
    flashed_ns: int
    """When the last step was."""


class AlarmClock(VirtualClock):
    """A clock on which something happens at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._alarm: tuple[int, Callable[[], object]] | None = None

    def at(self, at_ns: int, happens: Callable[[], object]) -> None:
        """Let `happens` be called, once, as soon as it is `at_ns`."""
        self._alarm = at_ns, happens

    def wait_until(self, t_ns: int) -> None:
        """Let it be then."""
        super().wait_until(t_ns)
        if self._alarm is not None and self.now_ns() >= self._alarm[0]:
            (_, happens), self._alarm = self._alarm, None
            happens()


@dataclass(frozen=True)
class FailingBackend:
    """A model that fails from a moment on."""

    backend: Backend
    clock: VirtualClock
    at_ns: int

    def run(self, model_input: Any) -> ModelOutputs:
        """Run, or raise ModelFailed."""
        if self.clock.now_ns() >= self.at_ns:
            raise ModelFailed(found="a model that is gone", expected="outputs", remedy="verify the bundle")
        return self.backend.run(model_input)


class Trial:
    """One session with one fault, or with none."""

    def __init__(self, seed: int, lux: float, checker: Checker, detector: LandmarkDetector) -> None:
        self.clock, self.presentation = AlarmClock(), Presentation()
        self.display = HeadlessDisplay(self.clock, jitter_ns=20_000_000, seed=seed)
        self.seed, self.lux, self.checker, self.detector = seed, lux, checker, detector
        self.camera: CameraStream = self.webcam(seed)
        self.nonces = NonceBook()
        self.record: Path | None = None
        """Where the decision is to be written."""

    def webcam(self, seed: int) -> SimulatedWebcam:
        """A camera before a live person in this room."""
        return SimulatedWebcam(
            self.clock.now_ns,
            self.presentation.colour_at,
            kind="live",
            seed=seed,
            settings=draw_settings(self.seed, size=256),
            ambient_lux=self.lux,
        )

    def hold(self, fault: str | None = None, at_ns: int = 0) -> tuple[str, str]:
        """Verdict, or `error`, and the first reason of a session in which `fault` strikes at that time."""
        with ExitStack() as leaving:
            folder = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="flashproof-")))
            if fault is not None:
                self._strike(fault, at_ns, folder, leaving)
            rig = Rig(self.camera, self.display, self.clock, self.presentation)
            try:
                session = LiveSession(rig, self.checker, self.detector, self.nonces, SETTINGS).run()
                self._write_record(session)
            except FlashproofError as error:
                return "error", error.code
        last = session.last
        reasons = last.result.decision.reasons
        return last.verdict, reasons[0].code if reasons else ""

    def _strike(self, fault: str, at_ns: int, folder: Path, leaving: ExitStack) -> None:
        if fault in FAULTS:
            other = self.webcam(self.seed + 100_000) if fault in ("second_face", "face_swapped") else None
            name: Fault = fault
            self.camera = ScriptedFaults(self.camera, name, at_ns, self.clock.now_ns, other=other)
        elif fault == "window_closed":
            self.display.state_of = lambda now_ns: DisplayState(closed=now_ns >= at_ns)
        elif fault == "screen_not_full":
            self.display.state_of = lambda now_ns: DisplayState(full=now_ns < at_ns)
        elif fault == "display_lost":
            self.display.lost_after_ns = at_ns
        elif fault == "model_failed":
            backend = FailingBackend(open_backend(self.checker.bundle), self.clock, at_ns)
            self.checker = Checker(self.checker.bundle, self.detector, backend)
        elif fault in BUNDLE_FAULTS:
            self.clock.at(at_ns, self._use_copy(fault, folder))
        else:
            self._use_small_disk(folder, at_ns, leaving)

    def _use_copy(self, fault: str, folder: Path) -> Callable[[], object]:
        """Decide by a copy of the bundle; returns what is to happen to it."""
        copy = folder / "bundle"
        shutil.copytree(self.checker.bundle.path, copy)
        place = zip_bundle(copy, folder / "bundle.zip") if fault == "zip_bundle_removed" else copy
        self.checker = Checker(load_bundle(place), self.detector)
        model = copy / self.checker.bundle.manifest.artifact(None).file
        happenings = {
            "bundle_removed": lambda: shutil.rmtree(copy),
            "zip_bundle_removed": place.unlink,
            "model_replaced": lambda: model.write_bytes(model.read_bytes()[:-1] + b"?"),
        }
        return happenings[fault]

    def _use_small_disk(self, folder: Path, at_ns: int, leaving: ExitStack) -> None:
        """Keep nonces and record where there will be no room."""
        disk = leaving.enter_context(small_disk(folder))
        self.nonces = NonceBook(path=disk.folder / "nonces.sqlite")
        leaving.callback(self.nonces.close)
        self.record = disk.folder / "record.json"
        self.clock.at(at_ns, disk.fill)

    def _write_record(self, session: SessionResult) -> None:
        if self.record is not None:
            artifact = self.checker.bundle.manifest.artifact(None).file
            write_record(self.record, session, Ed25519PrivateKey.generate(), datetime.now(timezone.utc), artifact)


def accepted_people(
    checker: Checker, detector: LandmarkDetector, count: int, say: Callable[[str], None]
) -> list[Person]:
    """Find people whom an undisturbed session accepts."""
    found: list[Person] = []
    seed = 5000
    while len(found) < count:
        seed += 1
        lux = float(np.random.default_rng(seed).uniform(20.0, 120.0))
        trial = Trial(seed, lux, checker, detector)
        if trial.hold()[0] == "live":
            flashes = trial.display.flashes  # grey, two steps of the light check, the plan's five
            found.append(Person(seed, lux, flashes[-8][0], flashes[-1][0]))
            say(f"person {len(found)} of {count}")
    return found


def main(
    sessions: Annotated[int, typer.Option(min=1)] = 500,
    people: Annotated[int, typer.Option(min=1)] = PEOPLE,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here.")] = None,
) -> None:
    """Disturb sessions and count what came of them; ends with status 1 when any was live, hung or left open."""
    from flashproof.commands.check import new_detector
    from sdk_reference.atomic_files import write_json
    from sdk_reference.bundle import SHIPPED_BUNDLE

    detector = new_detector()
    checker = Checker(load_bundle(SHIPPED_BUNDLE), detector)
    crowd = accepted_people(checker, detector, people, lambda text: print(text, flush=True))
    rng = np.random.default_rng(67)
    outcomes: dict[str, Counter[str]] = {fault: Counter() for fault in ALL_FAULTS}
    live = hung = left_open = 0
    for number in range(sessions):
        fault, person = ALL_FAULTS[number % len(ALL_FAULTS)], crowd[number // len(ALL_FAULTS) % len(crowd)]
        trial = Trial(person.seed, person.lux, checker, detector)
        earliest_ns = person.tracked_ns if fault == "face_swapped" else NS_PER_S
        verdict, reason = trial.hold(fault, int(rng.integers(earliest_ns, person.flashed_ns)))
        outcomes[fault][f"{verdict} {reason}".strip()] += 1
        live += verdict == "live"
        hung += trial.clock.now_ns() - NS_PER_S > LONGEST_S * NS_PER_S
        left_open += trial.display.is_open or trial.display.brightness != 0.4
        print(f"{number:4} {fault:18} {verdict:5} {reason}", flush=True)
    found = {
        "simulated": True,
        "sessions": sessions,
        "live": live,
        "longer_than_the_limits": hung,
        "window_left_open_or_brightness_not_restored": left_open,
        "outcomes": {fault: dict(counts.most_common()) for fault, counts in outcomes.items() if counts},
    }
    print(json.dumps(found, indent=1))
    if json_file is not None:
        write_json(json_file, found)
    raise typer.Exit(1 if live or hung or left_open else 0)


if __name__ == "__main__":
    typer.run(main)
