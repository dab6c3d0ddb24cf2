"""A live session from warning to verdict, and everything that can come between; people and cameras are simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from virtual_session import QUICK, Scene, shipped_checker

from flash_sequencer.plan import challenge
from flashproof.faulty_camera import FAULTS, Fault, ScriptedFaults
from flashproof.simulated_people import SimulatedWebcamSettings
from sdk_reference.camera import CameraFrame, CameraInfo, CameraStream
from sdk_reference.checker import Checker
from sdk_reference.display import DisplayState, FlashScreen, GuideScreen, ResultScreen
from sdk_reference.errors import (
    CameraLost,
    DisplayLost,
    FaceChanged,
    ModelFailed,
    NonceRefused,
    RuntimeFailure,
    StepMissed,
)
from sdk_reference.flash_watch import SPARE_NS
from sdk_reference.frame_choice import choose_frames
from sdk_reference.live_report import render_live
from sdk_reference.nonce_book import NonceBook
from sdk_reference.same_face import FaceChange
from sdk_reference.session import SessionResult
from sdk_reference.session_clock import NS_PER_S
from sdk_reference.session_trace import after_flash_ms, trace_of

AT_ONCE_NS = 1_200_000_000
"""From a change of the face to the end of the session, with 0.2 s of a result on the screen and of fading away."""
NONCE = "00112233445566778899aabbccddeeff"


def verdict_of(scene: Scene) -> tuple[str, list[str]]:
    """Verdict and reasons, or the code of the error; window and camera must be closed either way."""
    try:
        decision = scene.hold().last.result.decision
        answer = decision.verdict, [reason.code for reason in decision.reasons]
    except RuntimeFailure as error:
        answer = "error", [error.code]
    assert not scene.display.is_open and scene.display.brightness == 0.4
    return answer


@dataclass
class EmptyRoom:
    """The frames of a camera, with nothing but noise in them."""

    camera: CameraStream

    def open(self) -> CameraInfo:
        return self.camera.open()

    def lock(self) -> CameraInfo:
        return self.camera.lock()

    def poll(self) -> list[CameraFrame]:
        return [
            replace(
                frame, image=np.random.default_rng(frame.timestamp_ns).integers(90, 110, frame.image.shape, np.uint8)
            )
            for frame in self.camera.poll()
        ]

    def close(self) -> None:
        self.camera.close()


@dataclass
class Leaving(EmptyRoom):
    """A camera that turns away from the face, slowly, from the plan's first flash on."""

    flashes_ns: Callable[[], list[int]]
    GONE_NS = 700_000_000

    def poll(self) -> list[CameraFrame]:
        times_ns = self.flashes_ns()
        return [self._shifted(frame, times_ns[3] if len(times_ns) > 3 else 2**62) for frame in self.camera.poll()]

    def _shifted(self, frame: CameraFrame, from_ns: int) -> CameraFrame:
        width = frame.image.shape[1]
        by = round(width * min(max((frame.timestamp_ns - from_ns) / self.GONE_NS, 0.0), 1.0))
        columns = np.minimum(np.arange(width) + by, width - 1)
        return replace(frame, image=np.ascontiguousarray(frame.image[:, columns]))


@pytest.fixture(scope="module")
def live() -> tuple[Scene, SessionResult]:
    """A live face, and the session with it."""
    scene = Scene()
    return scene, scene.hold()


def test_a_live_face_passes_through_every_state(live: tuple[Scene, SessionResult]) -> None:
    scene, session = live
    assert session.last.verdict == "live" and not session.last.result.decision.reasons
    assert scene.states == [
        *("warning", "positioning", "metering", "lighting", "flashing", "matching", "deciding", "result")
    ]
    assert not scene.display.is_open and scene.display.brightness == 0.4


def test_the_screen_shows_the_plan_of_a_nonce_that_is_used_up(live: tuple[Scene, SessionResult]) -> None:
    scene, session = live
    nonce = session.last.nonce
    assert nonce is not None
    plan = challenge(nonce)
    assert [srgb for _, srgb in scene.display.flashes[-5:]] == [step.srgb for step in plan.steps]
    with pytest.raises(NonceRefused):
        scene.nonces.use(nonce)


def test_every_frame_used_saw_its_step_and_nothing_else(live: tuple[Scene, SessionResult]) -> None:
    scene, session = live
    choice = session.last.choice
    assert choice is not None
    truth = {frame.timestamp_ns: frame for frame in scene.webcam.log}
    times = {step.rank: step for step in choice.take.presented}
    for rank, timestamp_ns in enumerate(choice.capture.timestamps_ns):
        assert times[rank].shown_at_ns <= truth[timestamp_ns].lit_from_ns
        assert truth[timestamp_ns].lit_to_ns <= times[rank].ended_at_ns


def test_a_state_that_was_entered_again_counts_with_all_its_time(live: tuple[Scene, SessionResult]) -> None:
    last = live[1].last
    once = last.durations_ns
    again = replace(last, states=(*last.states, *last.states)).durations_ns
    assert list(again) == list(once) and all(again[name] == 2 * spent for name, spent in once.items())


def test_what_was_presented_is_safe_and_traced(live: tuple[Scene, SessionResult]) -> None:
    _, session = live
    trace = trace_of(session.last, session.rig)
    assert session.last.safety.ok and trace.safety is not None and trace.safety["ok"]
    assert trace.used == 5 and len(trace.steps) == 5 and trace.lag is not None and trace.lag.plausible
    assert abs(trace.lag.lag_ns / 1e6 - 45.0) <= trace.lag.uncertainty_ns / 1e6 <= 30.0
    top_ns, explained = max(trace.lag.curve, key=lambda point: point[1])
    assert abs(top_ns - trace.lag.lag_ns) <= trace.lag.uncertainty_ns and explained > 0.9
    assert not trace.exposure_corrected
    spent = after_flash_ms(session.last)
    assert {"matching", "landmarks", "model"} <= set(spent)


def test_a_camera_that_gives_way_to_the_flash_is_compensated_and_the_trace_says_so() -> None:
    scene = Scene(seed=4, lux=6.0, camera=SimulatedWebcamSettings(reaction=0.6))
    scene.nonces = NonceBook(source=np.random.default_rng(2).bytes)  # under some plans the drift is less than clear
    session = scene.hold()
    choice, trace = session.last.choice, trace_of(session.last, session.rig)
    assert choice is not None and choice.factors is not None and trace.exposure_corrected
    gains = {frame.used_for_rank: frame.gains for frame in trace.frames if frame.used_for_rank is not None}
    divided = np.array([choice.factors[rank] * np.array(gains[rank]) for rank in range(5)])
    np.testing.assert_allclose(divided, divided[0, 0])
    assert "divided out before judging" in render_live(trace)


@pytest.mark.parametrize(("kind", "seed"), [("print", 1), ("mask", 1)])
def test_an_attack_is_refused_and_told_nothing(kind: str, seed: int) -> None:
    """Two attacks that the shipped model sees; how many it does not see is the evaluation's affair."""
    scene = Scene(kind=kind, seed=seed)
    assert verdict_of(scene) == ("spoof", ["score_below_threshold"])
    results = [screen for _, screen in scene.display.shown if isinstance(screen, ResultScreen)]
    assert results and {result.message for result in results} == {"not_verified"}


def test_a_bright_room_is_known_before_the_flash() -> None:
    scene = Scene(lux=8000.0)
    verdict, reasons = verdict_of(scene)
    assert verdict == "retry" and reasons[0] in ("flash_too_weak", "overexposed")
    assert "flashing" not in scene.states and scene.states.count("lighting") >= 2  # it was tried again
    hints = [screen.message for _, screen in scene.display.shown if isinstance(screen, GuideScreen)]
    assert reasons[0] in hints


def test_nobody_there_is_a_time_out_with_a_hint() -> None:
    scene = Scene(wrap=lambda camera, *_: EmptyRoom(camera))
    assert verdict_of(scene) == ("retry", ["no_face"])
    assert scene.clock.now_ns() < 20 * NS_PER_S


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "face_swapped"])
@pytest.mark.parametrize("at_s", [1.05, 1.6, 4.2])
def test_a_camera_that_goes_wrong_never_makes_live(fault: Fault, at_s: float) -> None:
    """While the warning stands, within positioning, and in the middle of the flash."""
    scene = Scene()
    other = scene.webcam_of("live", 9) if fault == "second_face" else None
    scene.wrap = lambda camera, clock, _: ScriptedFaults(
        camera, fault, round(at_s * NS_PER_S), clock.now_ns, other=other
    )
    verdict, reasons = verdict_of(scene)
    assert verdict in ("retry", "error", "spoof") and reasons
    assert scene.clock.now_ns() < 30 * NS_PER_S


@pytest.mark.parametrize("after_s", [0.3, 1.0, 2.4])
def test_another_person_who_takes_the_place_is_noticed(after_s: float) -> None:
    """At times counted from the grey screen, which comes after positioning."""
    scene = Scene()
    other = scene.webcam_of("live", 11)
    faults = ScriptedFaults(scene.webcam, "face_swapped", 2**62, scene.clock.now_ns, other=other)
    scene.wrap = lambda *_: faults

    def watch(now_ns: int) -> DisplayState:
        if scene.display.flashes:
            faults.at_ns = scene.display.flashes[0][0] + round(after_s * NS_PER_S)
        return DisplayState()

    scene.display.state_of = watch
    assert verdict_of(scene) == ("retry", ["face_changed"]) and faults.happened
    assert scene.clock.now_ns() < faults.at_ns + AT_ONCE_NS


def test_a_face_that_leaves_during_the_flash_ends_it_at_once() -> None:
    scene = Scene()
    leaving = Leaving(scene.webcam, lambda: [at_ns for at_ns, _ in scene.display.flashes])
    scene.wrap = lambda *_: leaving
    verdict, reasons = verdict_of(scene)
    assert verdict == "retry" and reasons[0] in ("face_left", "face_cut_off", "face_changed")
    assert scene.states[-3:] == ["lighting", "flashing", "result"]
    assert scene.clock.now_ns() < scene.display.flashes[3][0] + Leaving.GONE_NS + AT_ONCE_NS


def test_the_person_sees_themselves_under_the_flash(live: tuple[Scene, SessionResult]) -> None:
    scene, _ = live
    begins_ns = scene.display.flashes[-5][0]
    flashes = [screen for at, screen in scene.display.shown if at >= begins_ns and isinstance(screen, FlashScreen)]
    pictures = {id(screen.preview) for screen in flashes if screen.preview is not None}
    assert all(screen.preview is not None for screen in flashes)
    assert len(pictures) >= 10  # a step of 0.3 s shows two new ones at least
    changes = [at_ns for at_ns, _ in scene.display.flashes[-4:]]
    others = [at for at, screen in scene.display.shown if begins_ns < at < changes[-1] and at not in changes]
    assert others and all(min(change - at for change in changes if change > at) >= SPARE_NS for at in others)


def test_a_closed_window_ends_the_session_at_once() -> None:
    scene = Scene()
    scene.display.state_of = lambda now_ns: DisplayState(closed=now_ns > 2 * NS_PER_S)
    assert verdict_of(scene) == ("retry", ["cancelled"])
    assert scene.clock.now_ns() < 2.5 * NS_PER_S
    assert not any(isinstance(screen, ResultScreen) for _, screen in scene.display.shown)


def test_a_window_that_does_not_fill_its_screen_makes_no_flash() -> None:
    scene = Scene()
    scene.display.state_of = lambda now_ns: DisplayState(full=now_ns < 4 * NS_PER_S)
    assert verdict_of(scene) == ("retry", ["screen_not_full"])


def test_a_lost_display_is_an_error_and_everything_is_closed() -> None:
    scene = Scene()
    scene.display.lost_after_ns = 4 * NS_PER_S
    with pytest.raises(DisplayLost):
        scene.hold()
    assert not scene.display.is_open and scene.display.brightness == 0.4


def test_a_verdict_stands_when_the_window_breaks_while_it_is_shown() -> None:
    scene = Scene()
    decided: list[int] = []
    shown = scene.display.shown

    def watch(now_ns: int) -> DisplayState:
        if not decided and any(isinstance(screen, ResultScreen) for _, screen in shown):
            decided.append(now_ns)
            scene.display.lost_after_ns = now_ns
        return DisplayState()

    scene.display.state_of = watch
    scene.settings = replace(QUICK, result_s=3.0)
    assert scene.hold().last.verdict == "live" and decided


def test_a_model_that_fails_is_an_error_and_no_verdict() -> None:
    class Broken:
        def run(self, model_input: np.ndarray) -> None:
            raise ModelFailed(found="a broken model", expected="outputs", remedy="verify the bundle")

    whole = shipped_checker()
    scene = Scene()
    with pytest.raises(ModelFailed):
        scene.hold(Checker(whole.bundle, whole._detector, Broken()))  # type: ignore[arg-type]
    assert not scene.display.is_open


def test_a_server_s_nonce_is_the_first_attempt_s_and_works_once() -> None:
    scene = Scene()
    scene.nonces.accept(NONCE)
    assert scene.hold(nonce=NONCE).last.nonce == NONCE
    again = Scene()
    again.nonces = scene.nonces
    with pytest.raises(NonceRefused):
        again.hold(nonce=NONCE)
    assert not again.display.is_open


def test_after_a_retry_there_is_a_pause_and_another_attempt_with_another_nonce() -> None:
    scene = Scene(settings=replace(QUICK, attempts=2))
    scene.display.state_of = lambda now_ns: DisplayState(full=not 4 * NS_PER_S < now_ns < 5 * NS_PER_S)
    session = scene.hold()
    assert [attempt.verdict for attempt in session.attempts] == ["retry", "live"]
    first, second = (attempt.nonce for attempt in session.attempts)
    assert first is not None and second is not None and first != second
    result = next(screen for _, screen in scene.display.shown if isinstance(screen, ResultScreen))
    assert result.pause_s > 0 and not result.last


def test_late_and_jittering_displays_and_cameras_change_nothing() -> None:
    camera = replace(Scene().camera, latency_ms=180.0, jitter_ms=3.0, dropped_share=0.08, duplicated_share=0.05)
    scene = Scene(camera=camera, jitter_ns=25_000_000)
    session = scene.hold()
    assert session.last.verdict == "live" and session.last.safety.ok


def test_a_silent_camera_is_lost_within_its_time() -> None:
    scene = Scene(wrap=lambda camera, clock, _: ScriptedFaults(camera, "silent", 0, clock.now_ns))
    with pytest.raises(CameraLost):
        scene.hold()
    assert scene.clock.now_ns() < 6 * NS_PER_S


@pytest.mark.parametrize(("changed", "verdict"), [(2, "live"), (3, "retry")])
def test_a_face_of_another_shape_in_most_of_the_frames_is_no_verdict(
    changed: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow exchange leaves every two frames alike; only the shape tells, and one unlucky frame must not."""
    problem = FaceChanged(found="another face", expected="the first one", remedy="start again")
    answers = iter([FaceChange(problem)] * changed + [FaceChange(None)] * (5 - changed))
    monkeypatch.setattr("sdk_reference.session.same_person_place", lambda *_: next(answers))
    found, reasons = verdict_of(Scene())
    assert (found, reasons) == (verdict, ["face_changed"] if verdict == "retry" else [])


def test_a_picture_that_is_repeated_with_a_new_time_is_not_taken_for_a_frame() -> None:
    """Two of ten: without that, the light of one step would stand under the time of the next."""
    scene = Scene(camera=replace(Scene().camera, duplicated_share=0.2))
    choice = scene.hold().last.choice
    assert choice is not None
    repeated = {frame.timestamp_ns for frame in scene.webcam.log if frame.repeated}
    assert repeated and not repeated & {frame.timestamp_ns for frame in choice.take.frames}


@pytest.mark.parametrize("exposure", [True, False])
@pytest.mark.parametrize("balance", [True, False])
def test_a_camera_that_holds_exposure_and_balance_is_not_corrected(
    exposure: bool, balance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def choose(*given: Any, **named: Any) -> Any:
        held.append(named["held"])
        return choose_frames(*given, **named)

    monkeypatch.setattr("sdk_reference.session_states.choose_frames", choose)
    scene = Scene()
    lock = scene.webcam.lock
    monkeypatch.setattr(scene.webcam, "lock", lambda: replace(lock(), exposure_locked=exposure, balance_locked=balance))
    scene.hold()
    assert held and set(held) == {exposure and balance}


def test_frames_that_never_match_are_given_up_within_the_time_for_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def missed(*given: Any, **named: Any) -> Any:
        raise StepMissed(found="a film without a step", expected="all of them", remedy="try again")

    monkeypatch.setattr("sdk_reference.session_states.choose_frames", missed)
    last = Scene().hold().last
    assert [reason.code for reason in last.result.decision.reasons] == ["step_missed"]
    assert 300_000_000 < last.durations_ns["matching"] < 330_000_000
