"""What a live session does up to its film: warn, position, meter, check the light, flash, match (not in the paper).

Each is a state with a name and a time limit. Whatever a person can mend is raised as a UserFailure; who catches it, and
what is decided on a film, is the session's affair (`sdk_reference.session`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.palette import Srgb
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.camera import CameraFrame
from sdk_reference.display import FlashScreen, GuideScreen, Tone
from sdk_reference.errors import FlashNotSeen, StepMissed, UserFailure
from sdk_reference.flash_take import FlashTake, film
from sdk_reference.flash_watch import FlashWatch
from sdk_reference.frame_choice import FaceTrack, FrameChoice, choose_frames
from sdk_reference.labels import Labels
from sdk_reference.landmarks import Face, LandmarkDetector, find_single_face
from sdk_reference.lighting_check import MAX_PAIRS, LitFrame, forecast_light, light_steps
from sdk_reference.live_trace import StateSpan
from sdk_reference.position_watch import STEADY_NS, PositionWatch
from sdk_reference.positioning import PlacementLimits
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from sdk_reference.rig import Deadline, Rig, cancelled
from sdk_reference.session_clock import NS_PER_MS, NS_PER_S
from sdk_reference.session_settings import SessionSettings
from sdk_reference.turned_picture import TurnedPicture

METERING_GREY: Final[Srgb] = (188, 188, 188)
"""Half of white's light: exposure that is metered under it clips under no colour and drowns none in noise."""
TRAILING_NS: Final = 320 * NS_PER_MS
"""After the last step's end: the longest wait for its light to come through display and camera. No lag is believed that
is longer than 300 ms (`flash_sequencer.lag`), and a verdict, `retry` included, is to come within 400."""
TRAILING_PIECE_NS: Final = 60 * NS_PER_MS
"""Most devices need no longer; the frames are matched after every such piece."""
LOOK_NS: Final = 80 * NS_PER_MS
"""Between two frames that are searched for a face: often enough to guide, and no hurry for a slow machine."""


class SessionStates:
    """The states of one attempt, to be called in their order; `spans` says how long each took."""

    def __init__(
        self,
        rig: Rig,
        detector: LandmarkDetector,
        settings: SessionSettings,
        limits: QualityLimits,
        on_state: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`limits` of the manifest bound the size of the face and foretell the flash; `on_state` is told each name."""
        self.rig, self.settings = rig, settings
        self.spans: list[StateSpan] = []
        self._detector, self._limits, self._on_state = detector, limits, on_state
        self._preview: npt.NDArray[np.uint8] | None = None
        self._watch: FlashWatch | None = None

    def warn(self) -> None:
        """Show the photosensitivity warning. Raises Cancelled."""
        with self.state("warning"):
            self.rig.show(GuideScreen("warning_flash"))
            self._stand(self.settings.warning_s)

    def prepare(self, preprocessing: PreprocessSettings) -> tuple[Face, FaceTrack]:
        """Position and check the light, again after each hint about it. Raises FlashTooWeak, Overexposed and others."""
        deadline = Deadline(self.rig, self.settings.lighting_s, "the check of the light")
        while True:
            face = self.position()
            track = FaceTrack(face)
            self.meter(track)
            with self.state("lighting"):
                problem = self._foretold_problem(track, preprocessing)
            if problem is None:
                return face, track
            if deadline.passed:
                raise problem
            with self.state("hint"):
                self.rig.show(GuideScreen(problem.code, self._preview, tone="bad"))
                self._stand(self.settings.hint_s)

    def position(self) -> Face:
        """Guide until the face has been as it should be for a while. Raises the last problem when the time is up."""
        with self.state("positioning"):
            limits = PlacementLimits.of(self._limits)
            watch, deadline = PositionWatch(limits), Deadline(self.rig, self.settings.positioning_s, "positioning")
            turned = TurnedPicture(self._detector)
            problem: UserFailure | None = None
            for frame in self._looks(deadline):
                faces = self._detector.detect(frame.image)
                placement = watch.see(faces, frame.image.shape, frame.timestamp_ns)
                placement = turned.see(frame.image, faces, placement, frame.timestamp_ns)
                problem = placement.problem or problem
                tone: Tone = "good" if placement.problem is None else "neutral"
                progress = min(placement.held_ns / STEADY_NS, 1.0)
                self.rig.show(GuideScreen(placement.guidance, frame.image, tone, progress))
                if placement.ready and placement.face is not None:
                    self._watch = FlashWatch(self.rig, self._detector, placement.face)
                    return placement.face
            raise problem or deadline.failure("hold your face in the oval")

    def meter(self, track: FaceTrack) -> None:
        """Let exposure and white balance settle under a grey screen, and hold them where the camera lets us."""
        with self.state("metering"):
            self._shine(METERING_GREY, self.settings.metering_s, track)
            self.rig.lock_camera()

    def flash(self, plan: FlashPlan, track: FaceTrack) -> FlashTake:
        """Show the plan and film it. Raises FaceLeft, FaceChanged and their like as soon as they are seen."""
        with self.state("flashing"):
            return film(self.rig, plan, track.see, self._watched)

    def match(self, take: FlashTake, track: FaceTrack) -> FrameChoice:
        """Choose the frames as soon as the last step's are there. Raises FlashNotSeen and StepMissed."""
        latest_ns = take.ended_ns + TRAILING_NS
        labels = Labels(simulated=True) if self.rig.simulated else None
        info = self.rig.camera_info
        held = info is not None and info.exposure_locked and info.balance_locked
        with self.state("matching"):
            while True:
                frames = list(self.rig.frames_until(min(self.rig.now_ns() + TRAILING_PIECE_NS, latest_ns)))
                for frame in frames:
                    track.see(frame)
                take = take.with_frames(frames)
                try:
                    return choose_frames(take, track, self.rig.exposure_ns, labels, held=held)
                except (FlashNotSeen, StepMissed):
                    if self.rig.now_ns() >= latest_ns:
                        raise

    @property
    def _watched(self) -> FlashWatch:
        assert self._watch is not None, "the face is positioned"
        return self._watch

    def _looks(self, deadline: Deadline) -> Iterator[CameraFrame]:
        """Yield the newest frame, again and again, until the deadline."""
        next_ns = self.rig.now_ns()
        while not deadline.passed:
            frames = self.rig.tick()
            if frames and self.rig.now_ns() >= next_ns:
                self._preview = frames[-1].image
                yield frames[-1]
                next_ns = self.rig.now_ns() + LOOK_NS

    def _foretold_problem(self, track: FaceTrack, preprocessing: PreprocessSettings) -> UserFailure | None:
        steps = light_steps(default_plan(profile=self.settings.profile), round(self.settings.light_step_s * 1000))
        bright, dark = (self._lit(self._shine(colour, duration_ms / 1000, track)) for colour, duration_ms in steps)
        if not bright or not dark:
            return StepMissed(
                found="no frame of a step of the light check",
                expected="a frame every 0.1 s at least",
                remedy="close other programs that use the camera, or use a faster one",
            )
        return forecast_light(bright, dark, self._limits, preprocessing).problem

    def _lit(self, frames: list[CameraFrame]) -> list[LitFrame]:
        """The last few frames with the face in each. Raises NoFace and its like."""
        return [
            LitFrame(frame.image, find_single_face(self._detector.detect(frame.image), frame.image.shape))
            for frame in frames[-MAX_PAIRS:]
        ]

    def _shine(self, colour: Srgb, seconds: float, track: FaceTrack) -> list[CameraFrame]:
        """Show a colour for so long; returns the frames that saw nothing else."""
        shown_ns = self.rig.show(FlashScreen(colour, self._preview))
        ends_ns = shown_ns + _ns(seconds)
        frames = []
        for frame in self.rig.frames_until(ends_ns, flashing=True):
            track.watch(frame)
            self._watched.glance(frame, ends_ns, colour)
            frames.append(frame)
        settled_ns = shown_ns + _ns(self.settings.light_settling_s)
        return [frame for frame in frames if frame.timestamp_ns >= settled_ns]

    def _stand(self, seconds: float) -> None:
        """Leave the screen as it is for so long. Raises Cancelled."""
        if not self.rig.linger(seconds):
            raise cancelled()

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """Be in a state of this name; its span is kept however it ends."""
        self._on_state(name)
        start_ns = self.rig.now_ns()
        try:
            yield
        finally:
            self.spans.append(StateSpan(name, start_ns, self.rig.now_ns()))


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
