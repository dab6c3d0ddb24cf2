"""Paper and displays as surfaces: a plane, or a sheet bent over its middle, and the light on it.

It stands for the flat and bent prints and the screens of the paper's section 5.1. A bent sheet is a hyperbola's arch:
round in the middle, straight towards the hands that hold it, so that it never curls out of the image. Paper does not
stretch: places on a sheet are measured along it. Light changes slowly over a sheet and is worked out on a coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numba import njit

from simulator.ambient import Lighting
from simulator.light import screen_diffuse, screen_specular
from simulator.scene import Pose, View, rotation

COARSENESS = 4
"""The light on a sheet is worked out on every so manyth pixel …"""
SHARP_ROUGHNESS, SHARP_COARSENESS = 0.22, 2
"""… or, below this roughness, where the screen's mirror image has edges, on every so manyth."""
TABLE_REACH_CM, TABLE_STEPS = 400.0, 4001
COVER_MARGIN = 0.8
"""A sheet falls away at most at this share of the slope at which the image's corners would look past it."""
NEAREST_CM = 3.0


@dataclass(frozen=True)
class Sheet:
    """The surface z = −slope·(√(x² + width²) − width) of its own coordinates, unchanging along y, then turned."""

    slope: float = 0.0
    """How steeply its sides fall away from the camera; 0 is flat, negative comes towards it."""
    width_cm: float = 10.0
    """How far from the middle it has mostly straightened; the middle's radius is width / |slope|."""
    direction: float = 0.0
    """Angle of the bent axis in the sheet, radians."""

    @property
    def radius_cm(self) -> float:
        """Radius of the bend in the middle; infinite for a flat sheet."""
        return self.width_cm / abs(self.slope) if self.slope else float("inf")

    def covering(self, pose: Pose, view: View) -> Sheet:
        """This sheet, bent less where the corners of the image would otherwise look past it."""
        reach = np.array([-0.5, 0.5]) * view.size / view.focal_px
        corners = np.array([[x, y, -1.0] for x in reach for y in reach])
        own = corners @ (pose.rotation @ self._twist)
        limit = float((-own[:, 2] / np.maximum(np.abs(own[:, 0]), 1e-6)).min()) * COVER_MARGIN
        return replace(self, slope=min(self.slope, max(limit, 0.0)))

    def place(self, along: np.ndarray) -> np.ndarray:
        """Points (P, 2), cm along the sheet, as own coordinates (P, 3) float32."""
        twisted = np.asarray(along, np.float64) @ self._twist[:2, :2]
        if self.slope != 0.0:
            twisted[:, 0] = np.interp(twisted[:, 0], *self._table[::-1])
        z = -self.slope * (np.sqrt(twisted[:, 0] ** 2 + self.width_cm**2) - self.width_cm)
        return (np.column_stack([twisted, z]) @ self._twist.T).astype(np.float32)

    def unroll(self, twisted: np.ndarray) -> np.ndarray:
        """Places (P, 2) in the bent axis' frame, cm, as (P, 2) float32 measured along the sheet in its own."""
        flat = np.array(twisted, np.float64)
        if self.slope != 0.0:
            flat[:, 0] = np.interp(flat[:, 0], *self._table)
        return (flat @ self._twist[:2, :2].T).astype(np.float32)

    @property
    def _twist(self) -> np.ndarray:
        return rotation(0.0, 0.0, self.direction).astype(np.float64)

    @property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Places x across the bend and their distances along the sheet from the middle, both (N,)."""
        x = self.width_cm * np.sinh(np.linspace(-1.0, 1.0, TABLE_STEPS) * np.arcsinh(TABLE_REACH_CM / self.width_cm))
        middle = (x[1:] + x[:-1]) / 2
        steps = np.diff(x) * np.sqrt(1.0 + self.slope**2 * middle**2 / (middle**2 + self.width_cm**2))
        along = np.concatenate([[0.0], np.cumsum(steps)])
        return x, along - along[TABLE_STEPS // 2]


FLAT = Sheet()


@dataclass(frozen=True)
class SheetHits:
    """Where the rays of a view's size² pixels meet a sheet; a miss has NaN in `along_cm`."""

    points: np.ndarray
    """(P, 3) float32 camera space."""
    normals: np.ndarray
    """(P, 3) float32, towards the camera."""
    along_cm: np.ndarray
    """(P, 2) float32: place (x, y) measured along the sheet from its middle."""

    @property
    def met(self) -> np.ndarray:
        """(P,) bool."""
        return np.isfinite(self.along_cm[:, 0])


def trace_sheet(sheet: Sheet, pose: Pose, view: View) -> SheetHits:
    """Trace every pixel of `view` to the sheet."""
    count = view.size * view.size
    points, normals = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    own = np.empty((count, 2), np.float64)
    turn = pose.rotation.astype(np.float64) @ sheet._twist
    shift = pose.translation_cm.astype(np.float64)
    _trace_arch(turn, shift, sheet.slope, sheet.width_cm, view.size, view.focal_px, points, normals, own)
    return SheetHits(points, normals, sheet.unroll(own))


@njit(cache=True, nogil=True)
def _trace_arch(
    turn: np.ndarray,
    shift: np.ndarray,
    slope: float,
    width: float,
    size: int,
    focal: float,
    points: np.ndarray,
    normals: np.ndarray,
    own: np.ndarray,
) -> None:
    """Rays from the origin against z = −s·(√(x² + w²) − w) of the sheet's own frame; the nearest hit counts."""
    ox = -(turn[0, 0] * shift[0] + turn[1, 0] * shift[1] + turn[2, 0] * shift[2])
    oy = -(turn[0, 1] * shift[0] + turn[1, 1] * shift[1] + turn[2, 1] * shift[2])
    oz = -(turn[0, 2] * shift[0] + turn[1, 2] * shift[1] + turn[2, 2] * shift[2])
    lift = slope * width
    for i in range(size * size):
        cx, cy, cz = (i % size + 0.5 - size / 2) / focal, -(i // size + 0.5 - size / 2) / focal, -1.0
        dx = turn[0, 0] * cx + turn[1, 0] * cy + turn[2, 0] * cz
        dy = turn[0, 1] * cx + turn[1, 1] * cy + turn[2, 1] * cz
        dz = turn[0, 2] * cx + turn[1, 2] * cy + turn[2, 2] * cz
        reach = -1.0
        if abs(slope) < 1e-6:
            if dz < -1e-9:
                reach = -oz / dz
        else:  # (z − s·w)² = s²·(x² + w²), of whose two branches the one with z − s·w against s is the sheet
            a = dz * dz - slope * slope * dx * dx
            b = 2 * ((oz - lift) * dz - slope * slope * ox * dx)
            c = (oz - lift) ** 2 - slope * slope * (ox * ox + width * width)
            root = b * b - 4 * a * c
            if root >= 0:
                q = -(b + np.copysign(np.sqrt(root), b)) / 2
                for candidate in (q / a if abs(a) > 1e-15 else -1.0, c / q if abs(q) > 1e-15 else -1.0):
                    on_sheet = (oz + candidate * dz - lift) * slope < 0
                    if on_sheet and candidate > 0 and (reach < 0 or candidate < reach):
                        reach = candidate
        own[i, 0], own[i, 1] = ox + reach * dx, oy + reach * dy
        if reach <= 0:
            own[i, 0], own[i, 1], reach = np.nan, np.nan, 1.0
        points[i, 0], points[i, 1], points[i, 2] = reach * cx, reach * cy, reach * cz
        x = ox + reach * dx
        tilt = slope * x / np.sqrt(x * x + width * width)
        length = np.sqrt(tilt * tilt + 1)
        for axis in range(3):
            normals[i, axis] = (turn[axis, 0] * tilt + turn[axis, 2]) / length


@dataclass(frozen=True)
class SheetLight:
    """The light on a sheet, images of a view's size; per unit albedo or reflected by its glossy surface."""

    room: np.ndarray
    """(S, S, 3) float32: irradiance/π of the room, cd/m²."""
    room_gloss: np.ndarray
    """(S, S, 3) float32: the room mirrored in the surface, cd/m²."""
    screen: np.ndarray
    """(S, S, 1) float32: irradiance/π per unit of screen radiance."""
    screen_gloss: np.ndarray
    """(S, S, 1) float32: mirrored radiance per unit of screen radiance."""


def light_sheet(sheet: Sheet, pose: Pose, view: View, roughness: float, f0: float, lighting: Lighting) -> SheetLight:
    """Room and screen light on a sheet whose surface has this roughness and reflectance at normal incidence."""
    coarse = _shrunk(view, COARSENESS)
    hits = trace_sheet(sheet, pose, coarse)
    fine = _shrunk(view, SHARP_COARSENESS) if roughness < SHARP_ROUGHNESS else coarse
    fine_hits = trace_sheet(sheet, pose, fine) if fine is not coarse else hits
    rough = np.full(len(hits.points), roughness, np.float32)
    fine_rough = np.full(len(fine_hits.points), roughness, np.float32)
    ones = np.ones(len(hits.points), np.float32)
    images = (
        (lighting.ambient.diffuse(hits.normals, ones), coarse),
        (lighting.ambient.specular(hits.points, hits.normals, rough, f0), coarse),
        (screen_diffuse(hits.points, hits.normals, lighting.screen), coarse),
        (screen_specular(fine_hits.points, fine_hits.normals, fine_rough, f0, lighting.screen), fine),
    )
    return SheetLight(*(_enlarged(values, small.size, view.size) for values, small in images))


def _shrunk(view: View, factor: int) -> View:
    """The same field of view in fewer pixels."""
    size = -(-view.size // factor)
    return View(size, view.focal_px * size / view.size)


def _enlarged(values: np.ndarray, small: int, size: int) -> np.ndarray:
    image = np.asarray(values, np.float32).reshape(small, small, -1)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR).reshape(size, size, -1)
