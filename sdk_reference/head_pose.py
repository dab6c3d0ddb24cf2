"""How far a head is turned, in degrees, from its landmarks alone.

Not in the paper, whose subjects looked straight ahead. Landmarks on the left and right of a face lie on a line that
turns with it, as do those above and below one another: the sum of such pairs, with FaceMesh's relative depth as the
third coordinate, gives two axes of the head. FaceMesh's depth falls a little short and its vertical axis leans back in
a face that looks straight ahead; both were fitted once on simulated heads turned by known angles (8
people, 16 poses up to 30°). On three others (tests/sdk_reference/test_sdk_head_pose.py) the root mean square error is
1.6° of yaw, 4.3° of pitch and 1.7° of roll, the largest 4.6°, 8.3° and 3.1°: enough to tell who looks away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from sdk_reference.landmarks import Face

# FaceMesh numbers. Pairs (left in the image, right in the image): corners of the eyes and the mouth, temples, cheeks,
# brows, wings of the nose.
ACROSS: Final = (
    *((33, 263), (133, 362), (61, 291), (127, 356), (234, 454), (93, 323), (50, 280), (105, 334), (129, 358)),
)
# Pairs (above, below) on the middle of the face: from forehead and bridge of the nose to lips and chin.
DOWN: Final = ((10, 152), (151, 199), (9, 152), (10, 200), (168, 152))
YAW_SCALE: Final = 1.09
PITCH_SCALE: Final = 0.96
PITCH_STRAIGHT_DEG: Final = 9.3
"""What the vertical axis measures in a face that looks straight ahead."""


@dataclass(frozen=True)
class HeadPose:
    """Turn of a head against the camera's view; all 0 when it looks straight into the camera."""

    yaw_deg: float
    """Positive: the nose points to the right of the image."""
    pitch_deg: float
    """Positive: the nose points down."""
    roll_deg: float
    """Positive: turned anticlockwise in the image."""


def head_pose(face: Face) -> HeadPose:
    """Measure the pose of a face. A face whose landmarks coincide has NaN angles, which no limit accepts."""
    points = np.column_stack([face.points, face.depth]).astype(np.float64)
    across = sum((points[right] - points[left] for left, right in ACROSS), np.zeros(3))
    down = sum((points[below] - points[above] for above, below in DOWN), np.zeros(3))
    if not (math.hypot(*across[:2]) > 0 and math.hypot(*down[:2]) > 0):
        return HeadPose(math.nan, math.nan, math.nan)
    roll = math.atan2(-across[1], across[0])
    upright_y = math.sin(roll) * down[0] + math.cos(roll) * down[1]
    yaw = math.atan2(across[2], math.hypot(*across[:2]))
    pitch = math.atan2(down[2], upright_y)
    return HeadPose(
        yaw_deg=YAW_SCALE * math.degrees(yaw),
        pitch_deg=PITCH_SCALE * (math.degrees(pitch) - PITCH_STRAIGHT_DEG),
        roll_deg=math.degrees(roll),
    )
