"""Watches the face from frame to frame until it has been in place, and still, for long enough to flash.

Not in the paper. Movement is that of the alignment's landmarks, which stay put when a person blinks or speaks: the
root mean square of their displacement against any frame of the last 0.4 s, over the face's width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sdk_reference.align import TEMPLATE
from sdk_reference.errors import FaceUnsteady
from sdk_reference.landmarks import Face
from sdk_reference.positioning import Placement, PlacementLimits, place_face

WINDOW_NS: Final = 400_000_000
STEADY_NS: Final = 400_000_000
MAX_GAP_NS: Final = 500_000_000
"""Between frames; what happened in a longer gap is unknown, and the count begins again."""


class PositionWatch:
    """Judges frames one after another; keeps the landmarks of the last 0.4 s."""

    def __init__(self, limits: PlacementLimits | None = None, *, steady_ns: int = STEADY_NS) -> None:
        """`steady_ns`: how long the face must be right without a break."""
        if steady_ns < 0:
            raise ValueError(f"found steady_ns {steady_ns}; expected 0 or more")
        self._limits, self._steady_ns = limits or PlacementLimits(), steady_ns
        self.reset()

    def reset(self) -> None:
        """Forget every frame."""
        self._recent: deque[tuple[int, npt.NDArray[np.float64]]] = deque()
        self._right_since_ns: int | None = None
        self._latest_ns: int | None = None

    def see(self, faces: Sequence[Face], frame_shape: tuple[int, ...], timestamp_ns: int) -> Placement:
        """Judge the faces of a frame of shape `(height, width, …)` that was exposed at `timestamp_ns`.

        A time that goes back, or a gap of over half a second, begins the count again; so does anything wrong.
        """
        if self._latest_ns is not None and not 0 <= timestamp_ns - self._latest_ns <= MAX_GAP_NS:
            self.reset()
        self._latest_ns = timestamp_ns
        placement = place_face(faces, frame_shape, self._limits)
        if placement.face is not None:
            placement = self._with_movement(placement, placement.face, timestamp_ns)
        else:
            self._recent.clear()
        return self._with_time(placement, timestamp_ns)

    def _with_movement(self, placement: Placement, face: Face, timestamp_ns: int) -> Placement:
        while self._recent and self._recent[0][0] < timestamp_ns - WINDOW_NS:
            self._recent.popleft()
        points = face.points[list(TEMPLATE.indices)].astype(np.float64)
        distances = [float(np.sqrt(((points - earlier) ** 2).sum(axis=1).mean())) for _, earlier in self._recent]
        self._recent.append((timestamp_ns, points))
        movement = max(distances, default=0.0) / face.width
        placement = replace(placement, movement=movement)
        if placement.problem is not None or movement <= self._limits.max_movement:
            return placement
        unsteady = FaceUnsteady(
            found=f"a movement of {movement:.0%} of the face's width within {WINDOW_NS / 1e9:g} s",
            expected=f"at most {self._limits.max_movement:.0%}",
            remedy="hold the phone and your head still",
        )
        return replace(placement, problem=unsteady)

    def _with_time(self, placement: Placement, timestamp_ns: int) -> Placement:
        if placement.problem is not None:
            self._right_since_ns = None
            return placement
        if self._right_since_ns is None:
            self._right_since_ns = timestamp_ns
        held_ns = timestamp_ns - self._right_since_ns
        return replace(placement, held_ns=held_ns, ready=held_ns >= self._steady_ns)
