"""The live half of ``flashproof check``: a whole session before a webcam, or before a simulated one.

``--camera 0`` is a real webcam; ``--camera sim:live`` (print, replay, mask) is the same path of code: the window really
shows the colours, and the simulated camera is lit by what was presented.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk_reference.errors import InvalidInput, OutputNotWritable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from rich.console import Console

    from flash_sequencer.presentation import Presentation
    from sdk_reference.attempts import Attempts
    from sdk_reference.camera import CameraStream
    from sdk_reference.nonce_book import NonceBook
    from sdk_reference.session import Attempt, SessionResult
    from sdk_reference.session_clock import SessionClock
    from sdk_reference.webcam import Rotation

WINDOW_SIZE = (540, 960)
SEED_LIMIT = 2**31
NS_PER_MS = 1e6
NONCES_NAME = "nonces.sqlite"
ATTEMPTS_NAME = "attempts.sqlite"
"""In the folder of `--state`."""
ROTATIONS: dict[int, Rotation] = {0: 0, 90: 90, 180: 180, 270: 270}
CAMERA_SPEC = re.compile(r"(?P<number>\d{1,2})|sim:(?P<kind>live|print|replay|mask)")


@dataclass(frozen=True)
class LiveOptions:
    """What the command line says about a live session."""

    camera: str
    """`0`, `1`, … or `sim:live`, `sim:print`, `sim:replay`, `sim:mask`."""
    bundle: Path | None = None
    artifact: str | None = None
    nonce: str | None = None
    profile: str = "standard"
    attempts: int = 3
    language: str | None = None
    screen: int = 0
    windowed: bool = False
    rotate: Rotation = 0
    seed: int | None = None
    """Of the simulated person; None: another each time."""
    lux: float | None = None
    """Of the simulated room."""
    report: Path | None = None
    record: Path | None = None
    key: Path | None = None
    state: Path | None = None
    """Folder that keeps used nonces and spent attempts; None: forgotten afterwards."""

    @property
    def simulated(self) -> bool:
        """Whether nobody real is filmed."""
        return self.camera.startswith("sim:")


def as_object(session: SessionResult) -> dict[str, Any]:
    """The keys of `check --json` for the attempt that decided, and `session` with all of them."""
    return {**session.last.result.to_dict(), "session": {"attempts": [as_attempt(each) for each in session.attempts]}}


def as_attempt(attempt: Attempt) -> dict[str, Any]:
    """One attempt in JSON: verdict, reasons, challenge, time per state, lag, frames and safety of what was shown."""
    from sdk_reference.session_trace import after_flash_ms

    take, choice = attempt.take, attempt.choice
    return {
        "verdict": attempt.verdict,
        "reasons": [reason.code for reason in attempt.result.decision.reasons],
        "nonce": attempt.nonce,
        "plan_hash": None if take is None else take.plan.canonical_hash(),
        "states_ms": [[span.name, round((span.end_ns - span.start_ns) / NS_PER_MS)] for span in attempt.states],
        "after_flash_ms": {part: round(spent, 3) for part, spent in after_flash_ms(attempt).items()},
        "frames": 0 if take is None else len(take.frames),
        "lag_ms": None if choice is None else round(choice.lag.lag_ns / NS_PER_MS, 1),
        "lag_uncertainty_ms": None if choice is None else round(choice.lag.uncertainty_ns / NS_PER_MS, 1),
        "presented_safely": attempt.safety.ok,
    }


def run_session(options: LiveOptions, console: Console) -> SessionResult:
    """Hold a session and write what was asked for. Raises FlashproofError and PlanError."""
    from flash_sequencer.presentation import Presentation
    from flashproof.artifacts import opened
    from flashproof.commands.check import new_detector
    from sdk_reference.bundle import SHIPPED_BUNDLE, load_bundle
    from sdk_reference.checker import Checker
    from sdk_reference.rig import Rig
    from sdk_reference.session import LiveSession
    from sdk_reference.session_clock import SteadyClock
    from sdk_reference.session_settings import SessionSettings
    from sdk_reference.window import PygameWindow

    started_at = datetime.now(timezone.utc)
    signing = signing_key(options)
    require_places(options)
    bundle = load_bundle(options.bundle or SHIPPED_BUNDLE)
    clock, presentation = SteadyClock(), Presentation()
    window = PygameWindow(
        clock_ns=clock.now_ns,
        language=options.language,
        screen=options.screen,
        size=WINDOW_SIZE if options.windowed else None,
    )
    camera = open_camera(options, clock, presentation)
    detector = new_detector()
    artifact = bundle.manifest.artifact(options.artifact)
    with opened(bundle, artifact) as (backend, _), opened_books(options.state, clock) as (nonces, attempts):
        wait_out(attempts, clock, console)
        checker = Checker(bundle, detector, backend, artifact=artifact.file)
        session = LiveSession(
            Rig(camera, window, clock, presentation),
            checker,
            detector,
            nonces,
            SessionSettings(profile=options.profile, attempts=options.attempts),
            nonce=None if options.nonce is None else nonces.accept(options.nonce),
            attempts=attempts,
            on_state=lambda name: console.print(f"  {name} ...", style="dim"),
        ).run()
    if options.report is not None:
        from sdk_reference.live_report import write_live_report
        from sdk_reference.session_trace import trace_of

        write_live_report(options.report, trace_of(session.last, session.rig), session.last.result)
    if signing is not None and options.record is not None:  # last: a record that is there is of a verdict that stands
        write_record(options.record, session, signing, started_at, artifact.file)
    return session


def require_places(options: LiveOptions) -> None:
    """Raise OutputNotWritable, before anybody is filmed, for a file that could not be written afterwards."""
    from sdk_reference.atomic_files import require_place

    for path in (options.report, options.record, None if options.state is None else options.state / NONCES_NAME):
        if path is not None:
            require_place(path)
    if options.record is not None and options.record.exists():
        raise OutputNotWritable(
            found=f"{options.record}, which is there already",
            expected="a new file: after a session without a verdict, the old record could be taken for its own",
            remedy="move it away or name another",
        )


@contextmanager
def opened_books(state: Path | None, clock: SessionClock) -> Iterator[tuple[NonceBook, Attempts]]:
    """Used nonces and spent attempts, kept in the folder `state`; None: in memory. Raises OutputNotWritable."""
    from sdk_reference.attempts import Attempts
    from sdk_reference.nonce_book import NonceBook

    nonces_file, attempts_file = (None, None) if state is None else (state / NONCES_NAME, state / ATTEMPTS_NAME)
    with (
        closing(NonceBook(path=nonces_file)) as nonces,
        closing(Attempts(clock.now_ns, path=attempts_file)) as attempts,
    ):
        yield nonces, attempts


def wait_out(attempts: Attempts, clock: SessionClock, console: Console) -> None:
    """Let the pause after the attempts of earlier sessions pass. Raises AttemptsUsedUp."""
    from sdk_reference.session_clock import NS_PER_S

    attempts.require_left()
    if not attempts.may_start():
        console.print(f"  pause after earlier attempts: {math.ceil(attempts.pause_left_s())} s ...", style="dim")
    while not attempts.may_start():
        clock.wait_until(clock.now_ns() + math.ceil(attempts.pause_left_s() * NS_PER_S))


def open_camera(options: LiveOptions, clock: SessionClock, presentation: Presentation) -> CameraStream:
    """The camera of `--camera`, not yet started. Raises InvalidInput."""
    found = CAMERA_SPEC.fullmatch(options.camera)
    if found is None:
        raise InvalidInput(
            found=f"the camera {options.camera!r}",
            expected="a number from 0 to 99, or sim:live, sim:print, sim:replay or sim:mask",
            remedy="name one of these with --camera",
        )
    if found["kind"] is None:
        from sdk_reference.webcam import Webcam, WebcamSettings

        return Webcam(clock.now_ns, WebcamSettings(index=int(found["number"]), rotate=options.rotate))
    from flashproof.simulated_webcam import SimulatedWebcam

    return SimulatedWebcam(
        clock.now_ns,
        presentation.colour_at,
        kind=found["kind"],
        seed=secrets.randbelow(SEED_LIMIT) if options.seed is None else options.seed,
        ambient_lux=options.lux,
        threaded=True,
    )


def signing_key(options: LiveOptions) -> Ed25519PrivateKey | None:
    """The key of `--key`, read before anybody is filmed. Raises InvalidInput."""
    if (options.record is None) != (options.key is None):
        raise InvalidInput(
            found="--record without --key" if options.key is None else "--key without --record",
            expected="both: a record that is not signed proves nothing",
            remedy="make a key with `flashproof record new-key key.pem` and give --record FILE --key key.pem",
        )
    if options.key is None:
        return None
    from sdk_reference.signing_keys import load_private_key

    return load_private_key(options.key)


def write_record(
    path: Path, session: SessionResult, key: Ed25519PrivateKey, started_at: datetime, artifact: str
) -> None:
    """Sign and write the record of the attempt that decided; one without a challenge has none.

    `artifact` is the path of the model file within the bundle. Raises OutputNotWritable.
    """
    from sdk_reference.atomic_files import write_atomically
    from sdk_reference.decision_record import record_of
    from sdk_reference.record_signature import sign

    last = session.last
    if last.take is None:
        return
    record = record_of(
        last.result,
        last.take.plan,
        artifact=artifact,
        attempt=last.number,
        started_at=started_at,
        decided_at=datetime.now(timezone.utc),
        durations_ns=last.durations_ns,
        presented=last.safety,
        lag_ns=None if last.choice is None else last.choice.lag.lag_ns,
        factors=None if last.choice is None else last.choice.factors,
    )
    write_atomically(path, sign(record, key).encode())
