"""What a live session asks of a camera, whichever it is: frames with the time at which each began to be exposed.

A stream never blocks: a window that is to change colour on time must not wait for a picture. Times are nanoseconds of
the clock that also stamps the screen, so that a frame can be assigned to what was shown (not in the paper, which takes
it for granted).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One picture."""

    image: npt.NDArray[np.uint8]
    """(H,W,3) uint8, RGB, sRGB-coded, upright and not mirrored."""
    timestamp_ns: int
    """Start of its exposure, as well as the camera tells; what it does not tell shows up as lag, which is estimated."""


@dataclass(frozen=True)
class CameraInfo:
    """What is known of an open camera."""

    name: str
    width: int
    """Pixels of a frame."""
    height: int
    frame_rate_hz: float
    """As reported or measured; frames really come at their own times."""
    exposure_ns: int
    """Longest that a frame may have been exposed; a frame period where the camera does not tell."""
    exposure_locked: bool
    """Whether automatic exposure could be switched off; else drift is measured and compensated."""
    balance_locked: bool
    """The same for automatic white balance."""
    simulated: bool = False
    """Whether nobody real is filmed; then so say the capture and every report."""


class CameraStream(Protocol):
    """A camera that is read without waiting."""

    def open(self) -> CameraInfo:
        """Start. Raises CameraLost or CameraUnsuitable."""

    def lock(self) -> CameraInfo:
        """Hold exposure and white balance as they are now, where the camera lets us; returns what came of it."""

    def poll(self) -> list[CameraFrame]:
        """The frames that came since the last call, oldest first; raises CameraLost when there will be no more."""

    def close(self) -> None:
        """Stop; harmless when called again or before `open`."""
