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

    @staticmethod
    def draw(rng: np.random.Generator, share: tuple[float, float] = (0.51, 0.68)) -> Framing:
        """Draw distance 24 to 40 cm, size, pose and place in the frame.

        The mean pitch is negative, nose up: people hold a phone a little below their eyes.
        """
        chosen = float(rng.uniform(*share))
        spare_cm = FACE_WIDTH_CM * (0.5 / chosen - 0.5)
        yaw, pitch, roll = np.clip(rng.normal(size=3) * (0.13, 0.12, 0.05) + (0.0, -0.06, 0.0), -0.35, 0.35)
        return Framing(
            share=chosen,
            distance_cm=float(rng.uniform(24.0, 40.0)),
            yaw=float(yaw),
            pitch=float(pitch),
            roll=float(roll),
            offset_cm=(float(rng.uniform(-0.35, 0.35) * spare_cm), float(rng.uniform(-0.8, 0.8))),
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
