"""The states of a live session: position the face, check the light, flash, match, decide, say what came of it.

The paper begins where the frames are there. Getting them from a person who does not know what will happen is this file:

    starting → warning → positioning → metering → lighting → flashing → matching → deciding → result
                              ▲             ▲         │                                          │
                              │             └─────────┘ too bright, too dark: a hint, once more  │
                              └───────────────────────── retry, after a pause ───────────────────┘

Every state has a time limit; whatever a person can mend ends an attempt as `retry` with a reason; whatever a machine
got wrong is raised as an error. Nothing but a whole capture that passed every check is ever live. The numbers are those
of `docs/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from flash_sequencer.palette import Srgb, profile_named
from flash_sequencer.plan import FlashPlan, challenge
from sdk_reference.attempts import Attempts
from sdk_reference.camera import CameraFrame
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.display import FlashScreen, GuideScreen, ResultScreen
from sdk_reference.errors import Cancelled, UserFailure
from sdk_reference.flash_take import FlashTake, film
from sdk_reference.frame_choice import FrameChoice, choose_frames
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.lighting_check import forecast_light
from sdk_reference.nonce_book import NonceBook
from sdk_reference.positioning import PositionWatch, require_same_face
from sdk_reference.rig import Deadline, Rig, cancelled
from sdk_reference.session_clock import NS_PER_MS, NS_PER_S

METERING_GREY: Final[Srgb] = (188, 188, 188)
"""Half of white's light: exposure that is metered under it clips under no colour and drowns none in noise."""
MESSAGES: Final = {"live": "verified", "spoof": "not_verified"}
"""What a person is told; of a refusal no reason, since an attacker would learn from it."""
LOOK_NS: Final = 80 * NS_PER_MS
"""Between two frames that are searched for a face: often enough to guide, and no hurry for a slow machine."""


@dataclass(frozen=True)
class SessionSettings:
    """How long the states may take, and what is shown."""

    profile: str = "standard"
    """`standard` or `gentle`."""
    attempts: int = 3
    """Most tries of one session; only after `retry` there is another."""
    warning_s: float = 2.5
    """How long the photosensitivity warning stands before the first attempt; 0: the app has warned already."""
    positioning_s: float = 30.0
    lighting_s: float = 30.0
    """For all tries to find enough darkness together."""
    metering_s: float = 0.5
    """A grey screen, under which exposure and white balance settle and are held."""
    light_step_s: float = 0.6
    """Each of the two steps, bright and dark, that tell how strong the flash will be."""
    light_settling_s: float = 0.3
    """Left out of the beginning of each of these steps: the longest lag of screen and camera."""
    hint_s: float = 2.0
    """How long a hint about the light stands before the light is tried again."""
    result_s: float = 2.5

    def __post_init__(self) -> None:
        profile_named(self.profile)


@dataclass(frozen=True)
class StateSpan:
    """One state of the session, while it lasted."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, eq=False)
class Attempt:
    """One try and all that it left."""

    number: int
    """From 1."""
    result: CheckResult
    nonce: str | None
    """The challenge that was used up; None when the attempt ended before the flash."""
    states: tuple[StateSpan, ...]
    take: FlashTake | None = None
    choice: FrameChoice | None = None

    @property
    def verdict(self) -> str:
        """live, spoof or retry."""
        return self.result.decision.verdict


@dataclass(frozen=True, eq=False)
class SessionResult:
    """A whole session."""

    attempts: tuple[Attempt, ...]
    """At least one; the last decides."""
    rig: Rig

    @property
    def last(self) -> Attempt:
        """The attempt that decides."""
        return self.attempts[-1]


class LiveSession:
    """One person before one camera; `run` once."""

    def __init__(
        self,
        rig: Rig,
        checker: Checker,
        detector: LandmarkDetector,
        nonces: NonceBook,
        settings: SessionSettings | None = None,
        *,
        nonce: str | None = None,
        attempts: Attempts | None = None,
        on_state: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`nonce`: the first attempt's challenge, handed in by a server and known to `nonces`; others are issued.

        `attempts` outlives a session where an app limits a person's tries. `on_state` is told each state's name.
        """
        self.rig, self.settings = rig, settings or SessionSettings()
        self._checker, self._detector, self._nonces, self._first_nonce = checker, detector, nonces, nonce
        self._attempts = attempts or Attempts(rig.now_ns)
        self._on_state = on_state
        self._states: list[StateSpan] = []

    def run(self) -> SessionResult:
        """Hold the session. Raises RuntimeFailure, BundleError and NonceRefused; window and camera are closed then."""
        done: list[Attempt] = []
        with self.rig.opened():
            while True:
                self._attempts.begin()
                attempt = self._attempt(len(done) + 1)
                done.append(attempt)
                self._attempts.end(attempt.verdict, tuple(reason.code for reason in attempt.result.decision.reasons))
                if not self._say(attempt):
                    return SessionResult(tuple(done), self.rig)

    def _attempt(self, number: int) -> Attempt:
        """Try once; a failure that a person can mend is the result."""
        self._states = []
        draft = _Draft()
        try:
            if number == 1 and self.settings.warning_s > 0:
                self._warn()
            face = self._position()
            self._meter_and_check_light(face)
            result = self._flash_and_decide(face, draft, number)
        except UserFailure as failure:
            result = self._checker.refused(failure, draft.choice.capture if draft.choice else None)
        return Attempt(number, result, draft.nonce, tuple(self._states), draft.take, draft.choice)

    def _flash_and_decide(self, face: Face, draft: _Draft, number: int) -> CheckResult:
        plan = self._challenge(draft, number)
        with self._state("flashing"):
            draft.take = film(self.rig, plan)
        with self._state("matching"):
            draft.choice = choose_frames(draft.take, face, self.rig.camera_info.exposure_ns)
        with self._state("deciding"):
            self.rig.show(GuideScreen("deciding"))
            result = self._checker.check(draft.choice.capture)
            if result.preprocessed is not None:
                for later in result.preprocessed.faces:
                    require_same_face(face, later)
        return result

    def _challenge(self, draft: _Draft, number: int) -> FlashPlan:
        """The plan of a fresh nonce, which is used up by this, whatever becomes of the attempt."""
        nonce = self._first_nonce if number == 1 and self._first_nonce is not None else self._nonces.issue()
        draft.nonce = self._nonces.use(nonce)
        return challenge(draft.nonce, self._checker.bundle.manifest.n0, self.settings.profile)

    def _warn(self) -> None:
        with self._state("warning"):
            self.rig.show(GuideScreen("warning_flash"))
            self._stand(self.settings.warning_s)

    def _position(self) -> Face:
        """Guide until the face has been as it should be for a while. Raises the last problem when the time is up."""
        with self._state("positioning"):
            watch, deadline = PositionWatch(), Deadline(self.rig, self.settings.positioning_s, "positioning")
            problem: UserFailure | None = None
            for frame in self._looks(deadline):
                placement = watch.see(self._detector.detect(frame.image), frame.image.shape, frame.timestamp_ns)
                problem = placement.problem or problem
                tone = "good" if placement.problem is None else "neutral"
                self.rig.show(GuideScreen(placement.guidance, frame.image, tone, placement.steady_share))
                if placement.ready and placement.face is not None:
                    return placement.face
            raise problem or deadline.failure("hold your face in the oval")

    def _looks(self, deadline: Deadline) -> Iterator[CameraFrame]:
        """Yield the newest frame, again and again, until the deadline."""
        next_ns = self.rig.now_ns()
        while not deadline.passed:
            frames = self.rig.tick()
            if frames and self.rig.now_ns() >= next_ns:
                yield frames[-1]
                next_ns = self.rig.now_ns() + LOOK_NS

    def _meter_and_check_light(self, face: Face) -> None:
        """Let exposure settle and hold it; then two steps foretell the flash. Raises FlashTooWeak or Overexposed."""
        deadline = Deadline(self.rig, self.settings.lighting_s, "the check of the light")
        while True:
            with self._state("metering"):
                self._shine(METERING_GREY, self.settings.metering_s)
                self.rig.lock_camera()
            with self._state("lighting"):
                forecast = self._forecast(face)
                if forecast is None:
                    return
                self.rig.show(GuideScreen(forecast.code, tone="bad"))
                if deadline.passed:
                    raise forecast
                self._stand(self.settings.hint_s)

    def _forecast(self, face: Face) -> UserFailure | None:
        profile = profile_named(self.settings.profile)
        bright = self._shine(profile.brightest, self.settings.light_step_s)
        dark = self._shine(profile.darkest, self.settings.light_step_s)
        return forecast_light(bright, dark, face, self._checker.bundle.manifest.quality_limits).problem

    def _shine(self, colour: Srgb, seconds: float) -> list[CameraFrame]:
        """Show a colour for so long; returns the frames that saw nothing else."""
        shown_ns = self.rig.show(FlashScreen(colour))
        frames = list(self.rig.frames_until(shown_ns + _ns(seconds), flashing=True))
        settled_ns = shown_ns + _ns(self.settings.light_settling_s)
        return [frame for frame in frames if frame.timestamp_ns >= settled_ns]

    def _say(self, attempt: Attempt) -> bool:
        """Show the result; returns whether there will be another attempt, and waits for it.

        Whatever becomes of camera and window now, the verdict stands.
        """
        decision = attempt.result.decision
        codes = [reason.code for reason in decision.reasons]
        if Cancelled.code in codes:
            return False
        left = attempt.number < self.settings.attempts and not self._attempts.used_up
        again = left and decision.verdict == "retry"
        pause_s = self._attempts.pause_left_s() if again else 0.0
        message = codes[0] if decision.verdict == "retry" else MESSAGES[decision.verdict]
        with self._state("result"):
            self.rig.show(ResultScreen(decision.verdict, message, pause_s, last=not again))
            stayed = self.rig.linger(max(self.settings.result_s, pause_s))
        return again and stayed

    def _stand(self, seconds: float) -> None:
        """Leave the screen as it is for so long. Raises Cancelled."""
        if not self.rig.linger(seconds):
            raise cancelled()

    @contextmanager
    def _state(self, name: str) -> Iterator[None]:
        self._on_state(name)
        start_ns = self.rig.now_ns()
        try:
            yield
        finally:
            self._states.append(StateSpan(name, start_ns, self.rig.now_ns()))


@dataclass
class _Draft:
    """What an attempt has so far, for the case that it fails."""

    nonce: str | None = None
    take: FlashTake | None = None
    choice: FrameChoice | None = None


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
