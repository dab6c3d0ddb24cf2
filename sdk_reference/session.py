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

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.safety import SafetyReport
from sdk_reference.attempts import Attempts
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.decide import Verdict
from sdk_reference.display import GuideScreen, ResultScreen
from sdk_reference.errors import Cancelled, DisplayLost, UserFailure
from sdk_reference.flash_take import FlashTake
from sdk_reference.frame_choice import FaceTrack, FrameChoice
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.live_trace import StateSpan
from sdk_reference.nonce_book import NonceBook
from sdk_reference.rig import Rig
from sdk_reference.same_face import same_person_place
from sdk_reference.session_clock import NS_PER_S
from sdk_reference.session_settings import SessionSettings
from sdk_reference.session_states import SessionStates

MESSAGES: Final = {"live": "verified", "spoof": "not_verified"}
"""What a person is told; of a refusal no reason, since an attacker would learn from it."""


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

    @property
    def durations_ns(self) -> dict[str, int]:
        """Time per state, in their order; a state that was entered again, as after a hint, counts with all of it."""
        total: dict[str, int] = {}
        for span in self.states:
            total[span.name] = total.get(span.name, 0) + span.end_ns - span.start_ns
        return total


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

    def run(self) -> SessionResult:
        """Hold the session, once the pause of `attempts` is over.

        Raises AttemptsUsedUp, RuntimeFailure, BundleError and NonceRefused; window and camera are closed then.
        """
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
        manifest = self._checker.bundle.manifest
        states = SessionStates(self.rig, self._detector, self.settings, manifest.quality_limits, self._on_state)
        draft = _Draft()
        try:
            if number == 1 and self.settings.warning_s > 0:
                states.warn()
            face, track = states.prepare(manifest.preprocess)
            plan = self._challenge(draft, number)
            draft.take = states.flash(plan, track)
            draft.choice = states.match(draft.take, track)
            draft.take = draft.choice.take
            with states.state("deciding"):
                result = self._decide(draft.choice, face, track)
        except UserFailure as failure:
            result = self._checker.refused(failure, draft.choice.capture if draft.choice else None)
        safety = self.rig.presentation.safety(self.rig.now_ns())
        return Attempt(number, result, draft.nonce, tuple(states.spans), safety, draft.take, draft.choice)

    def _decide(self, choice: FrameChoice, face: Face, track: FaceTrack) -> CheckResult:
        """Judge the capture, if it shows one face from positioning to the end. Raises UserFailure."""
        self.rig.show(GuideScreen("deciding"))
        result = self._checker.check(choice.capture)
        self._require_same_face(face, result)
        return result

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
        self._on_state("result")
        ends_ns = self.rig.now_ns() + round(max(self.settings.result_s, pause_s) * NS_PER_S)
        while (left_s := (ends_ns - self.rig.now_ns()) / NS_PER_S) > 0:
            countdown_s = math.ceil(left_s) if again else 0
            try:
                self.rig.show(ResultScreen(decision.verdict, message, countdown_s, last=not again))
            except DisplayLost:
                return False
            if not self.rig.linger(min(1.0, left_s)):
                return False
        return again


@dataclass
class _Draft:
    """What an attempt has so far, for the case that it fails."""

    nonce: str | None = None
    take: FlashTake | None = None
    choice: FrameChoice | None = None
