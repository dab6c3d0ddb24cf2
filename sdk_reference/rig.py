"""Camera, screen and clock of one live session, watched together (not in the paper, which takes all three for granted).

Whatever a state of the session waits for, it waits here, in short steps: so a closed window, a lost camera or a state
that takes too long is noticed within moments wherever it happens, and none of them can hang.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from flash_sequencer.palette import Srgb
from flash_sequencer.player import DARK_SURROUND
from flash_sequencer.presentation import Presentation
from sdk_reference.camera import CameraFrame, CameraInfo, CameraStream
from sdk_reference.display import Display, DisplayInfo, FlashScreen, Screen
from sdk_reference.errors import CameraLost, Cancelled, ScreenNotFull, TimedOut
from sdk_reference.session_clock import NS_PER_MS, NS_PER_S, SessionClock

TICK_NS: Final = 4 * NS_PER_MS
"""Between two looks at the window and the camera: a quarter of a display's frame."""
SILENCE_NS: Final = 2 * NS_PER_S
"""A camera that gives no frame for so long is lost."""


def light_of(screen: Screen) -> Srgb:
    """What a screen shines on the face: a flash its colour, anything else the dark of the user interface."""
    return screen.srgb if isinstance(screen, FlashScreen) else DARK_SURROUND


class Rig:
    """Opened by `with rig.opened():`; every way out closes the camera and the window, which restores its brightness."""

    def __init__(self, camera: CameraStream, display: Display, clock: SessionClock, presentation: Presentation) -> None:
        """`presentation` is the log of what was on the screen; a simulated camera reads its light there."""
        self.camera, self.display, self.clock = camera, display, clock
        self.presentation = presentation
        self.camera_info: CameraInfo | None = None
        self.display_info: DisplayInfo | None = None
        self._heard_ns = 0
        self._size: tuple[int, int] | None = None
        self._last_image: npt.NDArray[np.uint8] | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open the window, then the camera. Raises DisplayLost, CameraLost, CameraUnsuitable."""
        try:
            self.display_info = self.display.open()
            self.presentation.record(DARK_SURROUND, self.now_ns())  # an open window is dark
            self.camera_info = self.camera.open()
            self._size = (self.camera_info.height, self.camera_info.width)
            self._heard_ns = self.now_ns()
            yield
        finally:
            try:
                self.camera.close()
            finally:
                self.display.close()

    def now_ns(self) -> int:
        """The session's time."""
        return self.clock.now_ns()

    @property
    def exposure_ns(self) -> int:
        """The longest that a frame may have been exposed; for an open camera."""
        assert self.camera_info is not None, "the camera is open"
        return self.camera_info.exposure_ns

    @property
    def simulated(self) -> bool:
        """Whether nobody real is filmed."""
        return self.camera_info is not None and self.camera_info.simulated

    def lock_camera(self) -> CameraInfo:
        """Hold exposure and white balance, where the camera lets us."""
        self.camera_info = self.camera.lock()
        return self.camera_info

    def show(self, screen: Screen) -> int:
        """Present a screen and log its light; returns when it was seen, ns."""
        at_ns = self.display.show(screen)
        self.presentation.record(light_of(screen), at_ns)
        return at_ns

    def tick(self, *, flashing: bool = False, wake_ns: int | None = None) -> list[CameraFrame]:
        """Wait a moment, `wake_ns` at the latest, and return the frames that came, repeated pictures left out.

        Raises Cancelled, CameraLost for a camera that is silent or changes its format, and ScreenNotFull while
        `flashing` where the window does not fill its screen.
        """
        due_ns = self.now_ns() + TICK_NS
        self.clock.wait_until(due_ns if wake_ns is None else min(due_ns, wake_ns))
        self._watch_window(flashing)
        frames = [frame for frame in self.camera.poll() if not self._repeats(frame)]
        self._watch_camera(frames)
        return frames

    def _repeats(self, frame: CameraFrame) -> bool:
        """Whether a frame is the picture before it again: a stalled driver's, with a new time and the old light."""
        before, self._last_image = self._last_image, frame.image
        return before is not None and np.array_equal(before, frame.image)

    def frames_until(self, until_ns: int, *, flashing: bool = False) -> Iterator[CameraFrame]:
        """Yield the frames that come until then."""
        while self.now_ns() < until_ns:
            yield from self.tick(flashing=flashing, wake_ns=until_ns)

    def linger(self, seconds: float) -> bool:
        """Let a screen stand for so long; returns False at once when the window is closed. Frames are let go."""
        until_ns = self.now_ns() + round(seconds * NS_PER_S)
        while self.now_ns() < until_ns:
            self.clock.wait_until(min(self.now_ns() + TICK_NS, until_ns))
            if self.display.state().closed:
                return False
            with suppress(CameraLost):  # who needs it next will notice; what is on the screen stands
                self._watch_camera(self.camera.poll())
        self._heard_ns = self.now_ns()
        return True

    def _watch_window(self, flashing: bool) -> None:
        state = self.display.state()
        if state.closed:
            raise Cancelled(
                found="a closed window", expected="it to stay open", remedy="start again when you are ready"
            )
        if flashing and not state.full:
            raise ScreenNotFull(
                found="a window that does not fill its screen, or is not in front",
                expected="the whole screen to light up",
                remedy="leave the window in front and in full screen while it flashes, and try again",
            )

    def _watch_camera(self, frames: list[CameraFrame]) -> None:
        now_ns = self.now_ns()
        if frames:
            self._heard_ns = now_ns
        elif now_ns - self._heard_ns > SILENCE_NS:
            raise CameraLost(
                found=f"no frame for {(now_ns - self._heard_ns) / NS_PER_S:.1f} s",
                expected="a camera that goes on",
                remedy="check its plug, close other programs that use it, and try again",
            )
        for frame in frames:
            if self._size is not None and frame.image.shape[:2] != self._size:
                raise CameraLost(
                    found=f"frames of {frame.image.shape[1]}×{frame.image.shape[0]} pixels after others of "
                    f"{self._size[1]}×{self._size[0]}",
                    expected="one size for a whole session",
                    remedy="try again",
                )


def cancelled() -> Cancelled:
    """The failure of a session whose window was closed."""
    return Cancelled(found="a closed window", expected="it to stay open", remedy="start again when ready")


class Deadline:
    """A state's time limit."""

    def __init__(self, rig: Rig, seconds: float, state: str) -> None:
        self._rig, self._seconds, self._state = rig, seconds, state
        self._ends_ns = rig.now_ns() + round(seconds * NS_PER_S)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self._rig.now_ns() >= self._ends_ns

    def failure(self, remedy: str) -> TimedOut:
        """The failure of a state that took too long."""
        return TimedOut(
            found=f"{self._state} that was not done after {self._seconds:g} s", expected="less", remedy=remedy
        )
