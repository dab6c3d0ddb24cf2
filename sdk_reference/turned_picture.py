"""Does the camera give its picture lying on its side or head? Only a face can tell, so it is told while positioning.

Not in the paper. A camera that is mounted turned shows every face turned, for as long as one waits; a person who tilts
the head does so for a moment. FaceMesh mostly finds faces on their side and tells their roll; where it finds none, the
picture is searched again after each turn. Of a face on its head it often makes an upright one that is not there (11 of
12 simulated heads), and nothing is noticed here: the person sees the preview, and the model refuses nearly all (2 of 56
simulated live captures passed upside down).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sdk_reference.errors import PictureTurned
from sdk_reference.head_pose import head_pose
from sdk_reference.landmarks import Face, LandmarkDetector
from sdk_reference.positioning import Placement
from sdk_reference.session_clock import NS_PER_S

PATIENCE_NS: Final = 3 * NS_PER_S
"""A picture is called turned when it has shown no upright face for so long."""
SIDEWAYS_DEG: Final = 45.0


class TurnedPicture:
    """Sees every frame of positioning with what was found in it."""

    def __init__(self, detector: LandmarkDetector) -> None:
        self._detector = detector
        self._wrong_since_ns: int | None = None

    def see(
        self, image: npt.NDArray[np.uint8], faces: Sequence[Face], placement: Placement, timestamp_ns: int
    ) -> Placement:
        """Return what was found in an (H,W,3) uint8 RGB frame, or PictureTurned in its place once that has lasted."""
        problem = self._problem(image, [head_pose(face).roll_deg for face in faces], timestamp_ns)
        return placement if problem is None else replace(placement, problem=problem)

    def _problem(
        self, image: npt.NDArray[np.uint8], rolls_deg: Sequence[float], timestamp_ns: int
    ) -> PictureTurned | None:
        if any(abs(roll_deg) <= SIDEWAYS_DEG for roll_deg in rolls_deg):
            self._wrong_since_ns = None
            return None
        if self._wrong_since_ns is None or timestamp_ns < self._wrong_since_ns:
            self._wrong_since_ns = timestamp_ns
        if timestamp_ns - self._wrong_since_ns < PATIENCE_NS:
            return None
        if rolls_deg:
            return _turned(90 if rolls_deg[0] > 0 else 270)
        return next((_turned(by_deg) for by_deg in (90, 270, 180) if self._upright_after(image, by_deg)), None)

    def _upright_after(self, image: npt.NDArray[np.uint8], by_deg: int) -> bool:
        """Whether there is an upright face once the picture is turned clockwise."""
        faces = self._detector.detect(np.ascontiguousarray(np.rot90(image, -(by_deg // 90))))
        return any(abs(head_pose(face).roll_deg) <= SIDEWAYS_DEG for face in faces)


def _turned(by_deg: int) -> PictureTurned:
    return PictureTurned(
        found=f"a camera whose picture has to be turned clockwise by {by_deg}°",
        expected="upright faces",
        remedy=f"turn the camera, or add {by_deg} to its rotation (--rotate)",
    )
