"""Faces with marks, brows and lips, drawn by a formula at exactly the place one asks for: no pixel is ever resampled.

Their reflectance is a sum of Gaussian blots on even skin, so that a frame moved by a fraction of a pixel is the formula
at moved coordinates. The light of the screen fades towards the outline, as on a head; the room's does not. Coordinates
are those of the alignment template, whose landmarks the faces have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flash_sequencer.colour import linear_to_srgb
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE, Affine, compose, invert, map_points
from sdk_reference.capture import Capture

SIZE = TEMPLATE.size
IDENTITY = np.eye(2, 3)
SKIN = np.array([0.45, 0.32, 0.27])
CENTRE, AXES = np.array(TEMPLATE.ellipse_centre), np.array(TEMPLATE.ellipse_semi_axes)
FEATURES = (  # x and y from the centre, width, height (standard deviations in pixels), depth
    *((-35, -35, 18, 4, 0.6), (35, -35, 18, 4, 0.6), (-33, -17, 9, 5, 0.5), (33, -17, 9, 5, 0.5)),
    *((0, 40, 22, 5, 0.4), (0, 15, 10, 4, 0.3)),
)
N_MARKS = 60
REACH, SOFTNESS = 1.1, 0.2  # where the screen's light has fallen to a half, and over which stretch, in ellipses


@dataclass(frozen=True)
class Light:
    """What lights one frame, and the camera that takes it."""

    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the screen, linear."""
    ambient: float = 0.3
    slope: tuple[float, float] = (0.0, 0.0)
    """How much the screen's light grows from the middle to the right and to the lower edge."""
    exposure: float = 1.0
    noise: float = 0.0
    """Standard deviation, linear light."""


def reflectance(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """(…,2) template coordinates → (…): 1 on bare skin, less where there is a mark or a feature."""
    rng = np.random.default_rng([seed, 1])
    turn, radius = rng.uniform(0, 2 * np.pi, N_MARKS), 0.9 * np.sqrt(rng.uniform(0, 1, N_MARKS))
    marks = zip(
        CENTRE + AXES * (radius * np.stack([np.cos(turn), np.sin(turn)])).T,
        rng.uniform(2, 5, N_MARKS),
        rng.uniform(0.05, 0.35, N_MARKS),
        strict=True,
    )
    blots = [(place, (size, size), depth) for place, size, depth in marks]
    blots += [(np.add(CENTRE, (x, y)), (width, height), depth) for x, y, width, height, depth in FEATURES]
    dark = sum(depth * np.exp(-(((points - place) / size) ** 2).sum(axis=-1) / 2) for place, size, depth in blots)
    return np.asarray(np.exp(-dark))


def draw(to_frame: Affine, light: Light, rng: np.random.Generator | None = None, seed: int = 0) -> np.ndarray:
    """(256,256,3) uint8: the face that `to_frame` takes from the template to the frame."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    places = map_points(np.stack([columns, rows], axis=-1), invert(to_frame))
    radius = np.linalg.norm((places - CENTRE) / AXES, axis=-1)
    falloff = 1 / (1 + np.exp((radius - REACH) / SOFTNESS))
    shading = falloff * (1 + (light.slope[0] * (columns - 128) + light.slope[1] * (rows - 128)) / 128)
    lit = light.ambient + 0.5 * np.asarray(light.colour) * shading[..., None]
    linear = light.exposure * reflectance(places, seed)[..., None] * SKIN * lit
    if rng is not None:
        linear = linear + rng.normal(0, light.noise, linear.shape)
    return np.rint(255 * linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)


def about_centre(x: float, y: float, degrees: float = 0.0, scale: float = 1.0, shear: float = 0.0) -> Affine:
    """A map that turns, scales and shears about the middle of the frame, then shifts by (x, y) pixels."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ [[1.0, shear], [0.0, 1.0]]
    middle = np.full(2, SIZE / 2)
    return np.hstack([linear, (middle - linear @ middle + (x, y))[:, None]])


def misplacements(rng: np.random.Generator, n_frames: int = 5, size_px: float = 1.0) -> list[Affine]:
    """Small affine maps such as landmarks misplace frames by."""
    return [
        about_centre(
            *rng.normal(0, size_px, 2),
            degrees=rng.normal(0, 0.4 * size_px),
            scale=1 + rng.normal(0, 0.006 * size_px),
            shear=rng.normal(0, 0.006 * size_px),
        )
        for _ in range(n_frames)
    ]


def lit_frames(
    placed: list[Affine], rng: np.random.Generator, noise: float = 0.0, plan: FlashPlan | None = None, seed: int = 0
) -> np.ndarray:
    """(N0,256,256,3) uint8: a face at each place, under a plan's colours; gradients and exposures are each frame's."""
    colours = (plan or default_plan(len(placed))).colours_linear()
    lights = [
        Light(tuple(colour), 0.3, tuple(rng.uniform(-0.3, 0.3, 2)), float(np.exp(rng.uniform(-0.4, 0.4))), noise)
        for colour in colours
    ]
    return np.stack([draw(at, light, rng, seed) for at, light in zip(placed, lights, strict=True)])


def textured_capture(placed: list[Affine], rng: np.random.Generator, noise: float = 0.0) -> Capture:
    """A capture of such frames under the default plan."""
    plan = default_plan(len(placed))
    order = plan.time_order()
    times = tuple(300_000_000 * order.index(rank) for rank in range(plan.n0))
    return Capture(lit_frames(placed, rng, noise, plan), times, plan)


def residual_px(placed: list[Affine], corrections: np.ndarray) -> float:
    """Root mean square over the face and the frames of how far each frame lies from the mean of all, in pixels."""
    rows, columns = np.nonzero(TEMPLATE.face_region())
    face = np.stack([columns, rows], axis=1)[::7] + 0.5
    laid = np.stack([map_points(face, compose(fix, at)) for fix, at in zip(corrections, placed, strict=True)])
    return float(np.sqrt(((laid - laid.mean(axis=0)) ** 2).sum(axis=-1).mean()))
