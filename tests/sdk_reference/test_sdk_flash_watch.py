"""What is done beside the film: only where there is time, and a face is gone when two looks in a row say so."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from posed_faces import FRAME, posed_face

from flash_sequencer.presentation import Presentation
from flashproof.headless import HeadlessDisplay
from sdk_reference.camera import CameraFrame
from sdk_reference.display import FlashScreen
from sdk_reference.errors import FaceChanged, FaceLeft, SeveralFaces
from sdk_reference.flash_watch import LOOK_NS, SPARE_NS, FlashWatch
from sdk_reference.landmarks import Face
from sdk_reference.rig import Rig
from sdk_reference.session_clock import VirtualClock

RED = (255, 0, 0)
THERE, ELSEWHERE, CLOSER = (posed_face(0.3, (0.0, 0.0)), posed_face(0.3, (0.35, 0.0)), posed_face(0.6, (0.0, 0.0)))


@dataclass
class Scripted:
    """Finds what it is told, look by look; the last for ever."""

    looks: list[list[Face]]
    asked: int = 0

    def detect(self, frame_rgb: np.ndarray) -> list[Face]:
        self.asked += 1
        return self.looks[min(self.asked, len(self.looks)) - 1]


@dataclass
class Flash:
    """A step that goes on for `step_ns`, with a frame every 30 ms."""

    looks: list[list[Face]]
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.display = HeadlessDisplay(self.clock)
        self.detector = Scripted(self.looks)
        rig = Rig(None, self.display, self.clock, Presentation())  # type: ignore[arg-type]  # no camera is asked
        self.watch = FlashWatch(rig, self.detector, THERE)

    def film(self, seconds: float, *, until_s: float = 10.0, colour: tuple[int, int, int] | None = RED) -> None:
        start_ns = self.clock.now_ns()
        while self.clock.now_ns() < start_ns + round(seconds * 1e9):
            self.clock.wait_until(self.clock.now_ns() + 30_000_000)
            frame = CameraFrame(np.zeros(FRAME, np.uint8), self.clock.now_ns())
            self.watch.glance(frame, start_ns + round(until_s * 1e9), colour)


def test_a_face_that_stays_is_looked_for_and_shown() -> None:
    flash = Flash([[THERE]])
    flash.film(1.0)
    assert 4 <= flash.detector.asked <= 1e9 // LOOK_NS
    shown = [screen for _, screen in flash.display.shown]
    assert len(shown) >= 5 and all(isinstance(screen, FlashScreen) and screen.srgb == RED for screen in shown)


@pytest.mark.parametrize(
    ("faces", "error"),
    [([], FaceLeft), ([THERE, ELSEWHERE], SeveralFaces), ([ELSEWHERE], FaceChanged), ([CLOSER], FaceChanged)],
)
def test_two_looks_in_a_row_end_it_and_one_does_not(faces: list[Face], error: type[Exception]) -> None:
    Flash([[THERE], faces, [THERE], faces, [THERE]]).film(2.0)
    flash = Flash([[THERE], faces])
    with pytest.raises(error):
        flash.film(2.0)
    assert flash.detector.asked == 3


def test_nothing_is_begun_shortly_before_a_change() -> None:
    flash = Flash([[]])
    flash.film(1.0, until_s=SPARE_NS / 1e9)
    assert flash.detector.asked == 0 and not flash.display.shown


def test_without_a_colour_there_is_no_preview() -> None:
    flash = Flash([[THERE]])
    flash.film(1.0, colour=None)
    assert flash.detector.asked > 0 and not flash.display.shown
