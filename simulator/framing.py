"""How a face stands before the camera: distance, size in the image, pose, place; drawn alike for every species.

The paper's subjects hold a phone at arm's length or nearer (section 6.1); the ranges here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.scene import Pose, View, rotation

FACE_WIDTH_CM = 14.8
"""Ear to ear of an average simulated head: what a framing's share of the image refers to."""
EYE_PLANE_CM = 4.0
"""Height of the eyes and cheeks over a head's own origin; distances are measured to it."""
FACE_CENTRE_CM = (0.0, -0.8, EYE_PLANE_CM)
"""The point of a head that a framing puts near the image's middle."""
FACE_PX = (150.0, 600.0)
"""Sensor pixels across the face, drawn log-uniformly. A front camera that films 720 to 1080 pixels across some 57
degrees sees a face at 20 to 45 cm with 220 to 740; the real pairs that we measured have 660. The lower end leaves room
for wide lenses and old cameras."""
LARGEST_SHARE = (0.50, 0.70)
"""A face with more pixels than this share of the image is scaled down until it takes that; drawn uniformly."""
SMALLEST_SHARE = 0.25
"""Of the image's width; below, in large frames, detectors for selfies give up."""
DISTANCE_CM = (20.0, 45.0)
FACE_HALF_HEIGHT_CM = 10.0
"""From a face's centre to chin or hairline, with what perspective and pose add."""
TURN_SPREAD = (0.17, 0.14, 0.08)
"""Standard deviations of yaw, pitch and roll, radians."""
TURN_MEAN = (0.0, -0.06, 0.0)
"""Nose up: people hold a phone a little below their eyes."""
TURN_LIMIT = (0.45, 0.38, 0.25)


@dataclass(frozen=True)
class Framing:
    """How a face stands before the camera; drawn alike for every species and for the portraits that they show."""

    share: float
    """Face width over image width."""
    distance_cm: float
    """Camera to the eyes of a life-sized face."""
    yaw: float
    pitch: float
    roll: float
    """Radians."""
    offset_cm: tuple[float, float]
    """Of the face's centre from the optical axis."""
    sensor_scale: float = 1.0
    """Sensor pixels per frame pixel, in one direction, at least 1: how far the phone scales its picture down."""

    @staticmethod
    def draw(rng: np.random.Generator, size: int = 256, share: tuple[float, float] | None = None) -> Framing:
        """Draw distance, pixels on the face, pose and place in a frame of `size` pixels.

        `share`, a range of face width over image width, overrides the pixels; the sensor is then the frame.
        """
        if share is None:
            chosen, scale = _draw_pixels(rng, size)
        else:
            chosen, scale = float(rng.uniform(*share)), 1.0
        yaw, pitch, roll = np.clip(
            rng.normal(size=3) * TURN_SPREAD + TURN_MEAN, -np.array(TURN_LIMIT), np.array(TURN_LIMIT)
        )
        return Framing(
            share=chosen,
            distance_cm=float(rng.uniform(*DISTANCE_CM)),
            yaw=float(yaw),
            pitch=float(pitch),
            roll=float(roll),
            offset_cm=_draw_place(rng, chosen),
            sensor_scale=scale,
        )

    def view(self, size: int) -> View:
        """The camera that sees a life-sized face in this framing."""
        return View(size, self.share * size * self.distance_cm / FACE_WIDTH_CM)

    def head_pose(self) -> Pose:
        """The pose of a head whose face centre is where the framing says."""
        turn = rotation(self.yaw, self.pitch, self.roll)
        target = np.array([*self.offset_cm, -self.distance_cm])
        return Pose(turn, (target - turn @ np.asarray(FACE_CENTRE_CM)).astype(np.float32))

    def plane_pose(self, scale: float) -> Pose:
        """The pose of a flat artefact whose face, `scale` times life size, appears as large as a live one."""
        turn = rotation(self.yaw, self.pitch, self.roll)
        target = np.array([*self.offset_cm, -self.distance_cm]) * scale
        return Pose(turn, target.astype(np.float32))


def _draw_pixels(rng: np.random.Generator, size: int) -> tuple[float, float]:
    """Draw a face's share of the image and the sensor's scale from the sensor pixels across it."""
    face_px = float(np.exp(rng.uniform(*np.log(FACE_PX))))
    largest = float(rng.uniform(*LARGEST_SHARE))
    share = float(np.clip(face_px / size, SMALLEST_SHARE, largest))
    return share, max(face_px / (share * size), 1.0)


def _draw_place(rng: np.random.Generator, share: float) -> tuple[float, float]:
    """Draw where the face's centre is, cm from the optical axis; small faces stand farther out, all of them whole."""
    half_image_cm = FACE_WIDTH_CM * 0.5 / share
    spare_x, spare_y = half_image_cm - FACE_WIDTH_CM * 0.5, max(half_image_cm - FACE_HALF_HEIGHT_CM, 1.0)
    x, y = np.clip(rng.normal(size=2) * 0.28, -0.6, 0.6)
    return float(x * spare_x), float(y * spare_y)
