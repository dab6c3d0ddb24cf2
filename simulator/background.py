"""What stands behind everybody: a wall and things before it, each at its own distance, lit by the room and the screen.

It belongs to no section of the paper; its photographs show rooms. The same distribution stands behind every species, so
that a room tells nothing. The screen's light falls off with distance, so a shelf beside the person answers the flash
and a far wall hardly does, each surface by the exact light of the rectangle at every pixel's own place and slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simulator.ambient import Lighting
from simulator.light import screen_diffuse
from simulator.scene import LightLayers, View, back_project

FOCAL_PER_SIZE = 1.2
"""Focal length over image width of a selfie whose own view is not given: about 45° across."""
NEAREST_CM = 45.0
"""Nothing stands nearer than just behind a head."""
WALL_CM = (70.0, 500.0)
LARGEST_SLOPE = 0.5
"""Tangent of the steepest angle between a surface and the image's plane."""
STRONGLY_COLOURED = 0.2
"""Share of walls and things of a strong colour; the rest of a room is nearly grey."""
BLUR_PX = (0.3, 3.0)
"""Range of the background's softness, pixels of layers 384 wide."""
LIGHT_CELLS = 48
"""Light on smooth surfaces is computed this coarsely and smoothed."""


@dataclass(frozen=True)
class _Plane:
    """A flat surface: 1/depth = nearness + (slope · position in the image), and the room's light on it."""

    distance_cm: float
    """At the image's middle."""
    slope: tuple[float, float]
    """Tangents of its tilt about y and x."""
    room: float
    """Room's light on it over that on the wall's middle."""

    @staticmethod
    def draw(rng: np.random.Generator, distance_cm: float, steepness: float) -> _Plane:
        slope = rng.normal(size=2) * steepness * np.array([1.0, 0.4])
        first, second = np.clip(slope, -LARGEST_SLOPE, LARGEST_SLOPE)
        return _Plane(distance_cm, (float(first), float(second)), float(np.exp(rng.normal() * 0.25)))


def draw_background(rng: np.random.Generator, size: int, lighting: Lighting, view: View | None = None) -> LightLayers:
    """Draw wall, furniture and tiles (size, size), lit; without depth or face, which only what is presented has."""
    rng = np.random.default_rng(rng.integers(2**63))  # what is drawn here moves no later draw of the caller's
    seen = view or View(size, FOCAL_PER_SIZE * size)
    albedo = _draw_wall(rng, size)
    wall_cm = float(np.exp(rng.uniform(*np.log(WALL_CM))))
    wall = _Plane.draw(rng, wall_cm, 0.25)
    ambient, screen = _light(wall, lighting, seen)
    for _ in range(int(rng.integers(1, 7))):
        nearer = max(NEAREST_CM, wall_cm * float(rng.uniform(0.25, 1.0)))
        thing = _Plane.draw(rng, nearer, 0.15)
        at = _draw_rectangle(rng, albedo)
        if albedo[at].size:
            room_here, screen_here = _light(thing, lighting, seen)
            ambient[at], screen[at] = room_here[at], screen_here[at]
    blur_px = float(rng.uniform(*BLUR_PX)) * size / 384
    albedo = cv2.GaussianBlur(albedo, (0, 0), blur_px)
    level = lighting.ambient.radiance * np.float32(lighting.ambient.background)
    nothing = np.zeros((size, size), np.float32)
    return LightLayers(
        ambient=albedo * cv2.GaussianBlur(ambient, (0, 0), blur_px)[..., None] * level,
        screen=albedo * cv2.GaussianBlur(screen, (0, 0), blur_px)[..., None],
        covered=nothing > 0.0,
        depth_cm=nothing,
        face=nothing > 0.0,
    )


def _light(plane: _Plane, lighting: Lighting, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Room's light over its typical level, and screen light per unit radiance, on the plane: two (size, size)."""
    coarse = View(LIGHT_CELLS, view.focal_px * LIGHT_CELLS / view.size)
    rays = back_project(np.ones((LIGHT_CELLS, LIGHT_CELLS), np.float32), coarse).reshape(-1, 3)
    normal = np.array([-plane.slope[0], -plane.slope[1], 1.0], np.float32)
    normal /= np.linalg.norm(normal)
    # The plane passes through (0, 0, −distance); a ray that would miss it ends far away instead.
    along = np.maximum(-(rays @ normal), np.float32(0.2))
    depth = np.maximum(plane.distance_cm * normal[2] / along, NEAREST_CM)
    points = rays * depth[:, None]
    normals = np.tile(normal, (len(points), 1))
    screen = screen_diffuse(points, normals, lighting.screen)
    ones = np.ones(len(points), np.float32)
    room = lighting.ambient.diffuse_level(normals, ones)
    facing = lighting.ambient.diffuse_level(np.array([[0.0, 0.0, 1.0]], np.float32), ones[:1])
    images = (room / facing * np.float32(plane.room), screen)
    first, second = (
        cv2.resize(image.reshape(LIGHT_CELLS, LIGHT_CELLS), (view.size, view.size), interpolation=cv2.INTER_LINEAR)
        for image in images
    )
    return first, second


def _draw_wall(rng: np.random.Generator, size: int) -> np.ndarray:
    coarse = int(rng.integers(4, 24))
    blotches = cv2.resize(
        rng.normal(size=(coarse, coarse)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )
    colour = _paint(rng)
    wall = colour * (1.0 + rng.uniform(0.02, 0.35) * blotches[..., None])
    if rng.random() < 0.4:
        step = int(rng.integers(size // 12, size // 4))
        wall[int(rng.integers(step)) :: step] *= rng.uniform(0.4, 0.9)
        wall[:, int(rng.integers(step)) :: step] *= rng.uniform(0.4, 0.9)
    return np.clip(wall, 0.02, 0.95).astype(np.float32)


def _paint(rng: np.random.Generator) -> np.ndarray:
    """A surface's colour (3,) float32: mostly white, grey or beige, now and then of a strong hue."""
    tint = 0.35 if rng.random() < STRONGLY_COLOURED else 0.06
    warm = np.array([1.05, 1.0, 0.92]) if rng.random() < 0.5 else np.ones(3)
    return np.clip(rng.uniform(0.08, 0.8) * warm * np.exp(rng.normal(size=3) * tint), 0.03, 0.9).astype(np.float32)


def _draw_rectangle(rng: np.random.Generator, albedo: np.ndarray) -> tuple[slice, slice]:
    """Paint something rectangular and say where."""
    size = albedo.shape[0]
    x, y = rng.integers(-size // 4, size, 2)
    width, height = rng.integers(size // 20, size, 2)
    at = (slice(max(y, 0), max(y + height, 0)), slice(max(x, 0), max(x + width, 0)))
    albedo[at] *= np.float32(0.2)
    albedo[at] += np.float32(0.8) * _paint(rng)
    return at
