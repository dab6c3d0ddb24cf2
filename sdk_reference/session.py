"""The states of a live session: position the face, check the light, flash, match, decide, say what came of it.

The paper begins where the frames are there. Getting them from a person who does not know what will happen is this file:

    warning → positioning → metering → lighting → flashing → matching → deciding → result
                   ▲                       │                                          │
                   ├────────── hint ◄──────┘ too bright here, or the screen too dim   │
                   └────────────────────────── retry, after a pause ──────────────────┘

Every state has a time limit; whatever a person can mend ends an attempt as `retry` with a reason; whatever a machine
got wrong is raised as an error. Nothing but a whole capture that passed every check is ever live. The numbers are those
of `docs/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from flash_sequencer.palette import Srgb, profile_named
from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.safety import SafetyReport
from sdk_reference.attempts import Attempts
from sdk_reference.camera import CameraFrame
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.decide import Verdict
from sdk_reference.display import FlashScreen, GuideScreen, ResultScreen, Tone
from sdk_reference.errors import Cancelled, FlashNotSeen, StepMissed, UserFailure
from sdk_reference.flash_take import FlashTake, film
from sdk_reference.frame_choice import FaceTrack, FrameChoice, choose_frames
from sdk_reference.landmarks import Face, LandmarkDetector, find_single_face
from sdk_reference.lighting_check import MAX_PAIRS, LitFrame, forecast_light
from sdk_reference.live_trace import StateSpan
from sdk_reference.nonce_book import NonceBook
from sdk_reference.position_watch import STEADY_NS, PositionWatch
from sdk_reference.positioning import PlacementLimits
from sdk_reference.rig import Deadline, Rig, cancelled
from sdk_reference.same_face import same_person_place
from sdk_reference.session_clock import NS_PER_MS, NS_PER_S

METERING_GREY: Final[Srgb] = (188, 188, 188)
"""Half of white's light: exposure that is metered under it clips under no colour and drowns none in noise."""
TRAILING_NS: Final = 400 * NS_PER_MS
"""After the last step's end: the longest wait for its light to come through display and camera."""
TRAILING_PIECE_NS: Final = 60 * NS_PER_MS
"""Most devices need no longer; the frames are matched after every such piece."""
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
    """For all tries to find better light, positioning included; the last one that began is finished."""
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


@dataclass(frozen=True, eq=False)
class Attempt:
    """One try and all that it left."""

    number: int
    """From 1."""
    result: CheckResult
    nonce: str | None
    """The challenge that was used up; None when the attempt ended before the flash."""
    states: tuple[StateSpan, ...]
    safety: SafetyReport
    """Of all that was presented in this session until the attempt was over."""
    take: FlashTake | None = None
    choice: FrameChoice | None = None

    @property
    def verdict(self) -> Verdict:
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
            face, track = self._prepare()
            result = self._flash_and_decide(face, track, draft, number)
        except UserFailure as failure:
            result = self._checker.refused(failure, draft.choice.capture if draft.choice else None)
        safety = self.rig.presentation.safety(self.rig.now_ns())
        return Attempt(number, result, draft.nonce, tuple(self._states), safety, draft.take, draft.choice)

    def _flash_and_decide(self, face: Face, track: FaceTrack, draft: _Draft, number: int) -> CheckResult:
        plan = self._challenge(draft, number)
        with self._state("flashing"):
            draft.take = film(self.rig, plan, track.see)
        with self._state("matching"):
            draft.choice = self._match(draft, draft.take, track)
        with self._state("deciding"):
            self.rig.show(GuideScreen("deciding"))
            track.continuity.require()
            result = self._checker.check(draft.choice.capture)
            self._require_same_face(face, result)
        return result

    def _match(self, draft: _Draft, take: FlashTake, track: FaceTrack) -> FrameChoice:
        """Choose the frames as soon as the last step's are there. Raises FlashNotSeen and StepMissed."""
        latest_ns = take.ended_ns + TRAILING_NS
        while True:
            frames = list(self.rig.frames_until(self.rig.now_ns() + TRAILING_PIECE_NS))
            for frame in frames:
                track.see(frame)
            draft.take = take = take.with_frames(frames)
            try:
                return choose_frames(take, track, self.rig.exposure_ns)
            except (FlashNotSeen, StepMissed):
                if self.rig.now_ns() >= latest_ns:
                    raise

    def _require_same_face(self, face: Face, result: CheckResult) -> None:
        """Compare the face that was positioned with those that were flashed; raises FaceChanged and its like.

        One frame may be unlucky, e.g. blink: a change counts when it shows in more than half of them.
        """
        if result.preprocessed is None or result.capture is None:
            return
        shape = (*result.capture.size, 3)
        changes = [same_person_place(face, [later], shape).problem for later in result.preprocessed.faces]
        problems = [problem for problem in changes if problem is not None]
        if 2 * len(problems) > len(changes):
            raise problems[0]

    def _challenge(self, draft: _Draft, number: int) -> FlashPlan:
        """The plan of a fresh nonce, which is used up by this, whatever becomes of the attempt."""
        nonce = self._first_nonce if number == 1 and self._first_nonce is not None else self._nonces.issue()
        draft.nonce = self._nonces.use(nonce)
        return challenge(draft.nonce, self._checker.bundle.manifest.n0, self.settings.profile)

    def _warn(self) -> None:
        with self._state("warning"):
            self.rig.show(GuideScreen("warning_flash"))
            self._stand(self.settings.warning_s)

    def _prepare(self) -> tuple[Face, FaceTrack]:
        """Position and check the light, again after each hint about it. Raises FlashTooWeak, Overexposed and others."""
        deadline = Deadline(self.rig, self.settings.lighting_s, "the check of the light")
        while True:
            face = self._position()
            track = FaceTrack(face)
            problem = self._light_problem(track)
            if problem is None:
                return face, track
            if deadline.passed:
                raise problem
            with self._state("hint"):
                self.rig.show(GuideScreen(problem.code, tone="bad"))
                self._stand(self.settings.hint_s)

    def _position(self) -> Face:
        """Guide until the face has been as it should be for a while. Raises the last problem when the time is up."""
        with self._state("positioning"):
            limits = PlacementLimits.of(self._checker.bundle.manifest.quality_limits)
            watch, deadline = PositionWatch(limits), Deadline(self.rig, self.settings.positioning_s, "positioning")
            problem: UserFailure | None = None
            for frame in self._looks(deadline):
                placement = watch.see(self._detector.detect(frame.image), frame.image.shape, frame.timestamp_ns)
                problem = placement.problem or problem
                tone: Tone = "good" if placement.problem is None else "neutral"
                progress = min(placement.held_ns / STEADY_NS, 1.0)
                self.rig.show(GuideScreen(placement.guidance, frame.image, tone, progress))
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

    def _light_problem(self, track: FaceTrack) -> UserFailure | None:
        """Let exposure settle and hold it; then two steps foretell the flash."""
        with self._state("metering"):
            self._shine(METERING_GREY, self.settings.metering_s, track)
            self.rig.lock_camera()
        with self._state("lighting"):
            return self._foretold_problem(track)

    def _foretold_problem(self, track: FaceTrack) -> UserFailure | None:
        profile, manifest = profile_named(self.settings.profile), self._checker.bundle.manifest
        seconds = max(self.settings.light_step_s, profile.step_ms / 1000)
        bright = self._lit(self._shine(profile.brightest, seconds, track))
        dark = self._lit(self._shine(profile.darkest, seconds, track))
        if not bright or not dark:
            return StepMissed(
                found="no frame of a step of the light check",
                expected="a frame every 0.1 s at least",
                remedy="close other programs that use the camera, or use a faster one",
            )
        return forecast_light(bright, dark, manifest.quality_limits, manifest.preprocess).problem

    def _lit(self, frames: list[CameraFrame]) -> list[LitFrame]:
        """The last few frames with the face in each. Raises NoFace and its like."""
        return [
            LitFrame(frame.image, find_single_face(self._detector.detect(frame.image), frame.image.shape))
            for frame in frames[-MAX_PAIRS:]
        ]

    def _shine(self, colour: Srgb, seconds: float, track: FaceTrack) -> list[CameraFrame]:
        """Show a colour for so long; returns the frames that saw nothing else."""
        shown_ns = self.rig.show(FlashScreen(colour))
        frames = []
        for frame in self.rig.frames_until(shown_ns + _ns(seconds), flashing=True):
            track.watch(frame)
            frames.append(frame)
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
