"""Watches a camera's frames: whether the first ones are good enough for a flash, and later ones still come from a lens.

Not in the paper, whose frames are given. A camera that freezes, goes black or changes its format in the middle of a
flash gives frames that could be matched to steps all the same; here it is lost instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from sdk_reference.camera import CameraInfo
from sdk_reference.errors import CameraLost, CameraUnsuitable

if TYPE_CHECKING:
    from sdk_reference.webcam import WebcamSettings

Image = npt.NDArray[np.uint8]
NS_PER_S: Final = 1_000_000_000
BLACK_LEVEL: Final = 12
"""Of 255: no pixel of a black frame is brighter; a covered sensor's noise stays below."""

STRIDE: Final = 4
"""Of the pixels looked at for blackness, each way."""

SKIPPED_FRAMES: Final = 2
"""The first ones come from the driver's queue, all at once."""

LOOK_FRAMES: Final = 8
LOOK_NS: Final = 2 * NS_PER_S
"""From the first frame on: a camera of 2 frames a second need not show eight before it is refused."""

MAX_DELIVERY_SPREAD_NS: Final = NS_PER_S // 4
"""Between driver's stamp and arrival; a clock that wanders more against ours is none."""

MAX_DELIVERY_NS: Final = NS_PER_S


def is_black(image: Image) -> bool:
    """Whether no pixel of an HWC uint8 frame (every fourth each way) is brighter than BLACK_LEVEL."""
    return int(image[::STRIDE, ::STRIDE].max()) <= BLACK_LEVEL


class FrameWatch:
    """Raises CameraLost when frames stop being what a working camera gives."""

    def __init__(self, settings: WebcamSettings) -> None:
        self._settings = settings
        self._last: Image | None = None
        self._changed_ns = self._bright_ns = 0

    def check(self, image: Image, arrived_ns: int) -> None:
        """Look at the next frame."""
        if self._last is None:
            self._last, self._changed_ns, self._bright_ns = image, arrived_ns, arrived_ns
        if image.shape != self._last.shape:
            raise _lost(f"frames that change from {_size(self._last)} to {_size(image)} pixels")
        if not is_black(image):
            self._bright_ns = arrived_ns
        if image is self._last or not np.array_equal(image, self._last):
            self._last, self._changed_ns = image, arrived_ns
        # Blackness first: a camera that is switched off gives the same black bytes.
        if arrived_ns - self._bright_ns > self._settings.black_s * NS_PER_S:
            raise _lost(f"black frames for {(arrived_ns - self._bright_ns) / NS_PER_S:.1f} s")
        if arrived_ns - self._changed_ns > self._settings.frozen_s * NS_PER_S and not is_black(image):
            raise _lost(f"the very same frame for {(arrived_ns - self._changed_ns) / NS_PER_S:.1f} s")


class FirstLook:
    """Judges a camera by its first frames."""

    def __init__(self, settings: WebcamSettings) -> None:
        self._settings = settings
        self._size = (0, 0)  # width, height
        self._black = True
        self._seen = 0
        self._arrivals_ns: list[int] = []
        self._stamps_ns: list[int | None] = []

    def add(self, image: Image, arrived_ns: int, stamp_ns: int | None) -> None:
        """Take the next frame; the first few count for nothing but size and light."""
        self._size = (image.shape[1], image.shape[0])
        self._black = self._black and is_black(image)
        self._seen += 1
        if self._seen > SKIPPED_FRAMES:
            self._arrivals_ns.append(arrived_ns)
            self._stamps_ns.append(stamp_ns)

    @property
    def done(self) -> bool:
        """Whether enough was seen; of a black camera more, for some begin so."""
        count, lasted_ns = len(self._arrivals_ns), self._lasted_ns
        return (count >= 2 and lasted_ns >= LOOK_NS) or (count >= LOOK_FRAMES and lasted_ns > 0 and not self._black)

    @property
    def _lasted_ns(self) -> int:
        return self._arrivals_ns[-1] - self._arrivals_ns[0] if self._arrivals_ns else 0

    @property
    def frame_rate_hz(self) -> float:
        """As measured by arrival."""
        return (len(self._arrivals_ns) - 1) * NS_PER_S / self._lasted_ns

    def require_suitable(self) -> None:
        """Raise CameraUnsuitable for a camera that is too coarse, too slow or black."""
        (width, height), settings = self._size, self._settings
        if min(width, height) < settings.min_side_px:
            raise CameraUnsuitable(
                found=f"a camera of {width}×{height} pixels",
                expected=f"at least {settings.min_side_px} on the shorter side, or a face has too few",
                remedy="choose a larger size or another camera",
            )
        if self.frame_rate_hz < settings.min_rate_hz:
            raise CameraUnsuitable(
                found=f"a camera of {self.frame_rate_hz:.1f} frames a second",
                expected=f"at least {settings.min_rate_hz:.1f}, so that each step of the flash gets a whole frame",
                remedy="switch on more light, choose a smaller size or another camera",
            )
        if self._black:
            raise CameraUnsuitable(
                found="black frames only",
                expected="a picture",
                remedy="open the cover or shutter of the camera, and switch on a light",
            )

    def info(self, name: str) -> CameraInfo:
        """What is known now."""
        width, height = self._size
        return CameraInfo(name, width, height, round(self.frame_rate_hz, 2), self._exposure_ns, False, False)

    def times(self) -> FrameTimes:
        """The rule by which later frames are stamped."""
        return FrameTimes(self._arrivals_ns, self._stamps_ns, self._exposure_ns)

    @property
    def _exposure_ns(self) -> int:
        return round(NS_PER_S / self.frame_rate_hz)


class FrameTimes:
    """Start of exposure of each frame on the session's clock, strictly rising.

    Driver's stamps are used when those of the first frames rise and keep pace with arrival; they are moved onto our
    clock by the fastest delivery seen, which is then what an arrival means, too. A stamp that later leaves that pace
    ends their use, for good.
    """

    def __init__(self, arrivals_ns: list[int], stamps_ns: list[int | None], exposure_ns: int) -> None:
        self._exposure_ns = exposure_ns
        self._last_ns = -1
        self._offset_ns: int | None = None
        stamps = [stamp for stamp in stamps_ns if stamp is not None]
        if len(stamps) == len(arrivals_ns) >= 2 and all(np.diff(stamps) > 0):
            delays = np.subtract(arrivals_ns, stamps)
            if delays.max() - delays.min() <= MAX_DELIVERY_SPREAD_NS:
                self._offset_ns = int(delays.min())

    @property
    def by_driver(self) -> bool:
        """Whether the driver's stamps are in use."""
        return self._offset_ns is not None

    def start_ns(self, arrived_ns: int, stamp_ns: int | None) -> int:
        """When the exposure of this frame began."""
        ended_ns = self._moved_stamp(arrived_ns, stamp_ns)
        self._last_ns = max(ended_ns - self._exposure_ns, self._last_ns + 1)
        return self._last_ns

    def _moved_stamp(self, arrived_ns: int, stamp_ns: int | None) -> int:
        if self._offset_ns is None:
            return arrived_ns
        moved_ns = None if stamp_ns is None else stamp_ns + self._offset_ns
        is_plausible = moved_ns is not None and abs(arrived_ns - moved_ns) <= MAX_DELIVERY_NS
        if moved_ns is None or not is_plausible or moved_ns - self._exposure_ns <= self._last_ns:
            self._offset_ns = None
            return arrived_ns
        return min(moved_ns, arrived_ns)


def _size(image: Image) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"


def _lost(found: str) -> CameraLost:
    return CameraLost(
        found=found,
        expected="new pictures of one size",
        remedy="check cover and plug of the camera, keep other programs from changing it, and try again",
    )
