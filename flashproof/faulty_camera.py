"""Goes wrong on purpose: wraps any camera, and from a given time on it is unplugged, frozen, black, somebody else, …"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np

from sdk_reference.camera import CameraFrame, CameraInfo, CameraStream
from sdk_reference.errors import CameraLost

Fault = Literal[
    "unplugged", "frozen", "black", "resolution_changed", "second_face", "face_swapped", "clock_jump", "silent"
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
CLOCK_JUMP_NS = 3_600_000_000_000  # an hour forward; `backward` makes it a step back
SECOND_FACE_SHARE = 0.5  # of the width: what the pasted picture takes


class ScriptedFaults:
    """`camera` until `at_ns` of `clock_ns`, then with `fault`.

    `other` is needed for `second_face` and `face_swapped`: another camera of the same clock and frame size, opened,
    locked and closed together with the first, whose frames are put beside or in place of its own.
    """

    def __init__(
        self,
        camera: CameraStream,
        fault: Fault,
        at_ns: int,
        clock_ns: Callable[[], int],
        *,
        other: CameraStream | None = None,
        backward: bool = False,
    ) -> None:
        if fault not in FAULTS:
            raise ValueError(f"found fault {fault!r}; expected one of {', '.join(FAULTS)}")
        if (fault in ("second_face", "face_swapped")) != (other is not None):
            raise ValueError(f"found fault {fault!r} with other={other!r}; expected `other` for a second face only")
        self.camera, self.fault, self.at_ns, self.other = camera, fault, at_ns, other
        self.happened = False
        self._clock_ns, self._jump_ns = clock_ns, -CLOCK_JUMP_NS if backward else CLOCK_JUMP_NS
        self._last: CameraFrame | None = None
        self._other_image: np.ndarray | None = None

    def open(self) -> CameraInfo:
        if self.other is not None:
            self.other.open()
        return self.camera.open()

    def lock(self) -> CameraInfo:
        if self.other is not None:
            self.other.lock()
        return self.camera.lock()

    def close(self) -> None:
        if self.other is not None:
            self.other.close()
        self.camera.close()

    def poll(self) -> list[CameraFrame]:
        due = self._clock_ns() >= self.at_ns
        if due and self.fault == "unplugged":
            self.happened = True
            raise CameraLost(found="a camera that was unplugged", expected="a camera", remedy="plug it in again")
        frames = self.camera.poll()
        for frame in self.other.poll() if self.other is not None else ():
            self._other_image = frame.image
        if due and self.fault == "silent":
            self.happened = True
            return []
        return [self._changed(frame) for frame in frames]

    def _changed(self, frame: CameraFrame) -> CameraFrame:
        if frame.timestamp_ns < self.at_ns:
            self._last = frame
            return frame
        changed = self._faulty(frame)
        self.happened = self.happened or changed is not frame
        return changed

    def _faulty(self, frame: CameraFrame) -> CameraFrame:
        if self.fault == "frozen":
            return frame if self._last is None else replace(frame, image=self._last.image)
        if self.fault == "black":
            return replace(frame, image=np.zeros_like(frame.image))
        if self.fault == "resolution_changed":
            return replace(frame, image=cv2.resize(frame.image, None, fx=0.5, fy=0.75, interpolation=cv2.INTER_AREA))
        if self.fault == "clock_jump":
            return replace(frame, timestamp_ns=frame.timestamp_ns + self._jump_ns)
        if self._other_image is None:
            return frame
        if self.fault == "face_swapped":
            return replace(frame, image=self._other_image)
        return replace(frame, image=beside(frame.image, self._other_image))


def beside(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Both faces in one picture of the first one's size, HWC uint8: the middle half of each, side by side."""
    height, width = image.shape[:2]
    half = round(width * SECOND_FACE_SHARE)
    halves = [cv2.resize(part, (half, half), interpolation=cv2.INTER_AREA) for part in (image, other)]
    strip = np.concatenate(halves, axis=1)[:, :width]
    # The rows around them go on as the picture's own edge, so that no hard border looks like a screen.
    spare = height - strip.shape[0]
    return np.ascontiguousarray(cv2.copyMakeBorder(strip, spare // 2, spare - spare // 2, 0, 0, cv2.BORDER_REPLICATE))
