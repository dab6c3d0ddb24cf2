"""Faces of landmarks alone, placed, turned and sized at will: no picture, no detector, no time."""

from __future__ import annotations

import numpy as np
from synthetic_faces import face as flat_face

from sdk_reference.head_pose import ACROSS, DOWN, PITCH_STRAIGHT_DEG
from sdk_reference.landmarks import Face

FRAME = (480, 640, 3)


def posed_face(
    share: float = 0.4,
    offset: tuple[float, float] = (0.0, 0.0),
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    frame: tuple[int, ...] = FRAME,
) -> Face:
    """A face of `share` of the frame's shorter side, its middle `offset` (right, down) of that side off the frame's."""
    height, width = frame[:2]
    side = min(height, width)
    plain = flat_face()
    points = np.column_stack([plain.points - plain.points.mean(axis=0), plain.depth]).astype(np.float64)
    for left, right in ACROSS:  # the stand-in's unnamed landmarks lie in one point; poses need them apart
        points[left, 0], points[right, 0] = -60.0, 60.0
        points[left, 1] = points[right, 1] = 0.0
    for above, below in DOWN:
        points[above, :2], points[below, :2] = (0.0, -60.0), (0.0, 60.0)
    points = points @ _rotation(yaw_deg, pitch_deg + PITCH_STRAIGHT_DEG, roll_deg)
    turned = Face(points[:, :2].astype(np.float32), points[:, 2].astype(np.float32))
    left_, top, right_, bottom = turned.bounds
    scale = share * side / turned.width
    middle = np.array([(left_ + right_) / 2, (top + bottom) / 2])
    place = np.array([width / 2, height / 2]) + np.array(offset) * side
    moved = (turned.points - middle) * scale + place
    return Face(moved.astype(np.float32), (turned.depth * scale).astype(np.float32))


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """For row vectors (x right, y down, z away): signs as in `sdk_reference.head_pose`."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)
