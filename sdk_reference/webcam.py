"""A webcam as a `CameraStream`: OpenCV behind a thread that reads, so that whoever colours the screen never waits.

The paper's phones are filmed by their own camera interface (section 4 takes frames for granted); a desktop has OpenCV,
whose `read` blocks, may hang, and may say nothing of exposure. So one daemon thread owns the device from opening to
release (`webcam_reader`), a bounded queue keeps the newest frames and counts the ones it lost, and a camera that does
not answer costs a timeout, never the session. Everything that can be known before the flash is asked in `open`: size,
rate, blackness. Uprightness is not: only a face can tell, see `sdk_reference.turned_picture`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import cv2
import numpy.typing as npt

from flash_sequencer.palette import STANDARD
from sdk_reference.camera import CameraFrame, CameraInfo
from sdk_reference.errors import CameraLost
from sdk_reference.landmarks import MIN_FACE_WIDTH_PX
from sdk_reference.webcam_reader import WebcamReader

Rotation = Literal[0, 90, 180, 270]
FACE_SHARE: Final = 0.4
"""Of the shorter side of the frame: what a face at arm's length takes of it."""

MIN_SIDE_PX: Final = math.ceil(MIN_FACE_WIDTH_PX / FACE_SHARE)  # 160: 160×120 is refused, 320×240 is not
SETTLING_S: Final = 0.06
"""Of a step, lost to the display; as in `sdk_reference.demo`."""

USABLE_STEP_S: Final = STANDARD.step_ms / 1000 - SETTLING_S
LEAST_FRAMES_PER_STEP: Final = 2
"""Wherever frames fall in a step, one of two lies wholly in it."""

MIN_RATE_HZ: Final = LEAST_FRAMES_PER_STEP / USABLE_STEP_S  # 8.3


class VideoSource(Protocol):
    """What this file needs of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:
        """Whether the device was opened."""

    def read(self) -> tuple[bool, npt.NDArray[Any] | None]:
        """The next frame, (H,W,3) uint8 BGR; waits for it."""

    def get(self, prop: int, /) -> float:
        """A property, 0 or −1 where the backend does not know it."""

    def set(self, prop: int, value: float, /) -> bool:
        """Whether the backend says it took the value; only `get` tells whether it did."""

    def getBackendName(self) -> str:
        """`V4L2`, `DSHOW`, `MSMF`, `AVFOUNDATION`, …"""

    def release(self) -> None:
        """Give the device back."""


OpenSource = Callable[[], VideoSource]


@dataclass(frozen=True)
class WebcamSettings:
    """Which camera, and what is asked of it."""

    index: int = 0
    """OpenCV's number of the camera; 0 is the first."""
    rotate: Rotation = 0
    """Degrees clockwise by which frames are turned to be upright."""
    width: int = 640
    """Asked for, pixels; a camera gives the nearest it can."""
    height: int = 480
    frame_rate_hz: float = 30.0
    """Asked for; what comes is measured."""
    queue_frames: int = 64
    """Frames kept between two polls; the oldest are dropped and counted."""
    min_side_px: int = MIN_SIDE_PX
    """Least shorter side of a frame."""
    min_rate_hz: float = MIN_RATE_HZ
    """Least measured rate."""
    opening_s: float = 10.0
    """Longest wait for the device to open and show that it is usable."""
    silence_s: float = 1.5
    """Without any frame for so long, the camera is lost."""
    frozen_s: float = 1.0
    """With the very same bytes for longer, the camera is lost."""
    black_s: float = 2.0
    """With black frames for longer, the camera is lost; a dark step of the flash in a dark room is shorter."""
    read_failures: int = 25
    """Reads that may fail in a row."""


class Webcam:
    """A camera of this machine; `CameraStream`.

    Timestamps are the start of exposure as well as can be known: the arrival of the frame (or the driver's own stamp,
    moved onto our clock, where it is plausible: it knows nothing of our thread's delays) less the longest possible
    exposure. What is left is constant, shows up as lag, and is estimated from the flash itself.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int],
        settings: WebcamSettings | None = None,
        open_source: OpenSource | None = None,
        known_cameras: Callable[[], tuple[int, ...] | None] | None = None,
    ) -> None:
        """`clock_ns` is the session's clock; `open_source` returns an opened device, OpenCV's by default.

        `known_cameras` lists the numbers of the machine's cameras for the error message, None where nobody can.
        """
        self.settings = settings or WebcamSettings()
        self._clock_ns = clock_ns
        self._open_source = open_source or (lambda: opencv_source(self.settings))
        self._known_cameras = known_cameras or cameras_of_this_machine
        self._reader: WebcamReader | None = None
        self._info: CameraInfo | None = None

    @property
    def dropped(self) -> int:
        """Frames that nobody polled in time, since `open`."""
        return self._reader.dropped if self._reader else 0

    def open(self) -> CameraInfo:
        """Open the device, look at its first frames; raises CameraLost or CameraUnsuitable. Waits for `opening_s`."""
        self.close()
        self._reader = WebcamReader(self._open_source, self._clock_ns, self.settings, self._known_cameras)
        try:
            self._info = self._reader.start()
        except BaseException:
            self.close()
            raise
        return self._info

    def lock(self) -> CameraInfo:
        """Switch automatic exposure and white balance off; says what really held, see `webcam_lock.try_locks`.

        Waits for a few frames. Raises CameraLost.
        """
        reader, info = self._opened()
        locks = reader.lock()
        self._info = replace(info, exposure_locked=locks.exposure, balance_locked=locks.balance)
        return self._info

    def poll(self) -> list[CameraFrame]:
        """The frames that came since the last call; raises CameraLost when there will be no more."""
        return self._opened()[0].take()

    def close(self) -> None:
        """Switch automatic exposure and white balance on again and give the device back; never hangs."""
        reader, self._reader, self._info = self._reader, None, None
        if reader is not None:
            reader.stop()

    def _opened(self) -> tuple[WebcamReader, CameraInfo]:
        if self._reader is None or self._info is None:
            raise CameraLost(found="a camera that is not open", expected="an open one", remedy="call open() first")
        return self._reader, self._info


def opencv_source(settings: WebcamSettings) -> VideoSource:
    """OpenCV's device of this number, asked for size, rate and a queue of its own that is short."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)  # silent: that a camera does not open is told by our own error
    try:
        source: VideoSource = cv2.VideoCapture(settings.index)
    finally:
        cv2.setLogLevel(level)
    if source.isOpened():
        source.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        source.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        source.set(cv2.CAP_PROP_FPS, settings.frame_rate_hz)
        source.set(cv2.CAP_PROP_BUFFERSIZE, 2)
    return source


def cameras_of_this_machine() -> tuple[int, ...] | None:
    """Numbers of the video devices, on Linux; None elsewhere, where OpenCV has no way to ask."""
    if not sys.platform.startswith("linux"):
        return None
    names = [path.name.removeprefix("video") for path in Path("/dev").glob("video*")]
    return tuple(sorted(int(name) for name in names if name.isdecimal()))
