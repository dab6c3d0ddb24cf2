"""Faces whose every number is known: landmarks on the alignment template, skin as a plain ellipse, light as arithmetic.

They stand in for MediaPipe and for the simulator where a test needs exact answers in no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flash_sequencer.colour import linear_to_srgb
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE, map_points
from sdk_reference.capture import Capture
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
SKIN = np.array([0.5, 0.35, 0.3])  # reflectance, linear
WALL = 0.4
STEP_NS = 300_000_000


def shifted(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    """The map template → frame of a face moved by (x, y) and enlarged by `scale` about the corner."""
    return np.array([[scale, 0, x], [0, scale, y]])


def face(to_frame: np.ndarray = IDENTITY) -> Face:
    """A face that `to_frame` (2,3) took from the template into the frame; its oval is the template's ellipse."""
    points = np.tile(TEMPLATE.ellipse_centre, (N_LANDMARKS, 1))
    turns = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    around = np.stack([np.sin(turns), -np.cos(turns)], axis=1)  # clockwise from the forehead
    points[list(FACE_OVAL)] = around * TEMPLATE.ellipse_semi_axes + TEMPLATE.ellipse_centre
    points[list(TEMPLATE.indices)] = TEMPLATE.points
    return Face(map_points(points, to_frame).astype(np.float32), np.zeros(N_LANDMARKS, np.float32))


@dataclass
class ScriptedDetector:
    """Answers the n-th call with the n-th list of faces; the last one goes on."""

    answers: list[list[Face]] = field(default_factory=lambda: [[face()]])
    calls: int = 0

    def detect(self, frame: np.ndarray) -> list[Face]:
        self.calls += 1
        return self.answers[min(self.calls, len(self.answers)) - 1]


def photograph(linear: np.ndarray, noise: float = 0.0, rng: np.random.Generator | None = None) -> np.ndarray:
    """HWC uint8 sRGB of linear light, with Gaussian noise of standard deviation `noise` in linear light."""
    if rng is not None:
        linear = linear + rng.normal(0, noise, linear.shape)
    return np.rint(linear_to_srgb(np.clip(linear, 0, 1)) * 255).astype(np.uint8)


def lit_scene(flash: np.ndarray, ambient: float, exposure: float = 1.0) -> np.ndarray:
    """(256,256,3) linear light: a wall in ambient light only, a face at the template's place in both lights."""
    region = TEMPLATE.face_region()[..., None]
    return exposure * np.where(region, SKIN * (ambient + flash), WALL * ambient)


def lit_capture(
    flash: float = 0.5,
    ambient: float = 0.4,
    noise: float = 0.0,
    plan: FlashPlan | None = None,
    exposures: tuple[float, ...] | None = None,
) -> Capture:
    """A capture of such a scene; `flash` is the irradiance of the white screen, `exposures` one factor per rank."""
    plan = plan or default_plan()
    rng = np.random.default_rng(0)
    factors = exposures or (1.0,) * plan.n0
    frames = [
        photograph(lit_scene(flash * colour, ambient, factor), noise, rng)
        for colour, factor in zip(plan.colours_linear(), factors, strict=True)
    ]
    times = tuple(STEP_NS * plan.time_order().index(rank) for rank in range(plan.n0))
    return Capture(np.stack(frames), times, plan)
