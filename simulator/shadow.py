"""Cast shadows: how much of each light reaches a pixel past what else the camera sees.

It belongs to no section of the paper. The camera stands beside the screen, so almost all that can stand in the light's
way is in the depth image. Over the image, nearness (1/depth) is flat where a surface is flat, and a ray is a straight
line in it: from a pixel towards the point of the screen plane at distance r from the camera, nearness rises by 1/r per
unit of image (pixel over focal length), in that point's own direction. So a pixel's horizon in one direction, the
steepest rise to any other pixel, tells at once which radii it sees (horizon maps: Max 1988, here with perspective).
What lies behind a visible surface counts as solid. Work is done at half resolution, where shadows are soft anyway.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from simulator.light import ScreenLight

STRIDE = 2
"""Horizons are sought at every other pixel of every other row."""
DIRECTIONS, RADII = 6, 5
"""The screen is cut into this many wedges about the camera of equal area, each into as many parts of equal area."""
FINE_STEPS = 5
STEP_GROWTH = 1.2
LONGEST_MARCH = 0.45
"""A march looks at every cell at first, then strides longer and longer, up to this share of the image."""
SLACK = 2e-4
"""Rises below this share of a pixel's own nearness per cell are rounding, not horizons."""
ROOM_SOFTNESS_RAD = 0.08
"""Half the width of the room's directional light as an angle: what softens its shadows."""
DEPTH_MATCH = 0.02
"""Neighbours whose depths differ by more than this share do not lend each other their shadows."""


def screen_visibility(
    depth_cm: np.ndarray,
    normals: np.ndarray,
    focal_px: float,
    screen: ScreenLight,
    in_front_cm: np.ndarray | None = None,
) -> np.ndarray:
    """Share (H, W) float32 in 0..1 of the screen's light that arrives, over what would without shadows.

    `depth_cm` (H, W) along the optical axis, 0 where nothing is; `normals` (H, W, 3) of the geometry, of any length
    (fine relief casts no shadow); the principal point is the image's middle. `in_front_cm` (H, W), 0 where nothing is,
    holds more that stands in the way and need not be seen itself, such as paper before a face. Where nothing is, the
    share is 1.
    """
    nearness, blockers = _nearness(depth_cm), _blockers(depth_cm, in_front_cm)
    nodes, wedges = _screen_nodes(screen)
    coarse = np.ones_like(nearness)
    small_normals = np.ascontiguousarray(normals[::STRIDE, ::STRIDE], np.float32)
    camera = _camera(depth_cm, focal_px)
    _screen_kernel(nearness, blockers, small_normals, nodes, wedges, _strides(nearness.shape[1]), camera, coarse)
    return _upsample(nearness, coarse, depth_cm)


def direction_visibility(
    depth_cm: np.ndarray,
    focal_px: float,
    direction: tuple[float, float, float],
    in_front_cm: np.ndarray | None = None,
) -> np.ndarray:
    """Share (H, W) float32 in 0..1 of a far light from the unit `direction` that arrives; arguments as above."""
    nearness, blockers = _nearness(depth_cm), _blockers(depth_cm, in_front_cm)
    coarse = np.ones_like(nearness)
    towards = np.asarray(direction, np.float32)
    camera = _camera(depth_cm, focal_px)
    _direction_kernel(nearness, blockers, towards, _strides(nearness.shape[1]), camera, coarse)
    return _upsample(nearness, coarse, depth_cm)


def _nearness(depth_cm: np.ndarray) -> np.ndarray:
    """1/depth (h, w) float32 of the cells; 0 where nothing is."""
    cells = np.ascontiguousarray(depth_cm[::STRIDE, ::STRIDE], np.float32)
    return np.divide(np.float32(1), cells, out=np.zeros_like(cells), where=cells > 0.0)


def _blockers(depth_cm: np.ndarray, in_front_cm: np.ndarray | None) -> np.ndarray:
    own = _nearness(depth_cm)
    return own if in_front_cm is None else np.maximum(own, _nearness(in_front_cm))


def _camera(depth_cm: np.ndarray, focal_px: float) -> np.ndarray:
    """Focal length and principal point (3,) float32 in cells; cell (i, j) is the centre of pixel (2i, 2j)."""
    height, width = depth_cm.shape
    return np.array([focal_px, (width - 1) / 2, (height - 1) / 2], np.float32) / np.float32(STRIDE)


def _strides(cells: int) -> np.ndarray:
    """Distances (K,) float32, in cells, at which a march looks."""
    reach = [1.0]
    while reach[-1] < LONGEST_MARCH * cells:
        reach.append(reach[-1] + (1.0 if len(reach) < FINE_STEPS else round(max(1.0, (STEP_GROWTH - 1) * reach[-1]))))
    return np.array(reach, np.float32)


@lru_cache(maxsize=64)
def _screen_nodes(screen: ScreenLight) -> tuple[np.ndarray, np.ndarray]:
    """The screen in polar parts about the camera.

    Nodes (DIRECTIONS, RADII, 4) float32: middle x and y in cm, least and greatest distance from the camera. Wedges
    (DIRECTIONS, 3): direction in the image (x right, y down) and greatest distance.
    """
    left, right, bottom, top = screen.edges()
    across, down = 96, 192
    x = left + (np.arange(across) + 0.5) / across * (right - left)
    y = bottom + (np.arange(down) + 0.5) / down * (top - bottom)
    x, y = (axis.ravel() for axis in np.meshgrid(x, y))
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)
    nodes = np.empty((DIRECTIONS, RADII, 4), np.float32)
    wedges = np.empty((DIRECTIONS, 3), np.float32)
    for k, wedge in enumerate(np.array_split(np.argsort(angle, kind="stable"), DIRECTIONS)):
        towards = float(angle[wedge].mean())
        wedges[k] = np.sin(towards), np.cos(towards), radius[wedge].max()
        parts = np.array_split(wedge[np.argsort(radius[wedge], kind="stable")], RADII)
        for j, part in enumerate(parts):
            nodes[k, j] = x[part].mean(), y[part].mean(), radius[part].min(), radius[part].max()
    return nodes, wedges


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, inline="always")
def _horizon(
    blockers: np.ndarray,
    row: int,
    column: int,
    own: float,
    step_x: float,
    step_y: float,
    strides: np.ndarray,
    least: float,
    highest: float,
) -> float:
    """Steepest rise of nearness per cell from (row, column) along the unit step, or `least` if none is steeper."""
    steepest = least
    major = max(abs(step_x), abs(step_y))
    along_x, along_y = step_x / major, step_y / major  # one whole cell per step along the major axis
    length = np.float32(1) / major
    down = abs(step_y) >= abs(step_x)
    for k in range(strides.shape[0]):
        reach = strides[k]
        if highest - own < steepest * reach * length:
            break
        x, y = column + reach * along_x, row + reach * along_y
        if x < 0 or y < 0 or x > blockers.shape[1] - 1 or y > blockers.shape[0] - 1:
            break
        if down:
            at = int(y + np.float32(0.5))
            first = min(int(x), blockers.shape[1] - 2)
            share = x - first
            low, high = blockers[at, first], blockers[at, first + 1]
        else:
            at = int(x + np.float32(0.5))
            first = min(int(y), blockers.shape[0] - 2)
            share = y - first
            low, high = blockers[first, at], blockers[first + 1, at]
        there = low + share * (high - low)
        if there > own + steepest * reach * length:
            steepest = (there - own) / (reach * length)
    return steepest


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _screen_kernel(
    nearness: np.ndarray,
    blockers: np.ndarray,
    normals: np.ndarray,
    nodes: np.ndarray,
    wedges: np.ndarray,
    strides: np.ndarray,
    camera: np.ndarray,
    out: np.ndarray,
) -> None:
    """Weigh each part of the screen by its share of a matte surface's light, and by how much of it is seen."""
    one = np.float32(1)
    focal = camera[0]
    highest = blockers.max()
    radius = np.empty(wedges.shape[0], np.float32)
    for row in range(nearness.shape[0]):
        for column in range(nearness.shape[1]):
            own = nearness[row, column]
            if own <= 0.0:
                continue
            depth = one / own
            px = (column - camera[1]) / focal * depth
            py = -(row - camera[2]) / focal * depth
            shadowed = False
            for k in range(wedges.shape[0]):
                least = one / (wedges[k, 2] * focal)
                rise = _horizon(blockers, row, column, own, wedges[k, 0], wedges[k, 1], strides, least, highest)
                shadowed = shadowed or rise > least
                radius[k] = one / ((rise - np.float32(SLACK) * own) * focal) if rise > least else np.float32(1e6)
            if not shadowed:
                continue
            nx, ny, nz = normals[row, column]
            total, seen = np.float32(0), np.float32(0)
            for k in range(wedges.shape[0]):
                for j in range(nodes.shape[1]):
                    lx, ly = nodes[k, j, 0] - px, nodes[k, j, 1] - py
                    facing = lx * nx + ly * ny + depth * nz
                    if facing <= 0.0:
                        continue
                    distance2 = lx * lx + ly * ly + depth * depth
                    weight = facing / (distance2 * distance2)
                    total += weight
                    near, far = nodes[k, j, 2], nodes[k, j, 3]
                    seen += weight * min(max((radius[k] - near) / (far - near), np.float32(0)), one)
            if total > 0.0:
                out[row, column] = seen / total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _direction_kernel(
    nearness: np.ndarray,
    blockers: np.ndarray,
    towards: np.ndarray,
    strides: np.ndarray,
    camera: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compare the horizon's elevation with the light's, both seen from the pixel."""
    focal = camera[0]
    highest = blockers.max()
    for row in range(nearness.shape[0]):
        for column in range(nearness.shape[1]):
            own = nearness[row, column]
            if own <= 0.0:
                continue
            step_x = towards[0] + (column - camera[1]) / focal * towards[2]
            step_y = -towards[1] + (row - camera[2]) / focal * towards[2]
            length = np.sqrt(step_x * step_x + step_y * step_y)
            if length < np.float32(1e-3):
                continue
            light = towards[2] / length  # tangent of the light's elevation over the image's plane
            to_tangent = focal / own
            rise = (
                _horizon(
                    blockers, row, column, own, step_x / length, step_y / length, strides, light / to_tangent, highest
                )
                - np.float32(SLACK) * own
            )
            above = np.arctan(rise * to_tangent) - np.arctan(light)
            if above > 0.0:
                out[row, column] = max(np.float32(1) - above / np.float32(ROOM_SOFTNESS_RAD), np.float32(0))


def _upsample(nearness: np.ndarray, coarse: np.ndarray, depth_cm: np.ndarray) -> np.ndarray:
    out = np.ones(depth_cm.shape, np.float32)
    _upsample_kernel(nearness, coarse, np.ascontiguousarray(depth_cm, np.float32), out)
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _upsample_kernel(nearness: np.ndarray, coarse: np.ndarray, depth: np.ndarray, out: np.ndarray) -> None:
    """Mean of the up to four cells around each pixel that lie about as deep as it does."""
    rows, columns = nearness.shape
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            if depth[row, column] <= 0.0:
                continue
            top, left = row // 2, column // 2
            bottom, right = min(top + row % 2, rows - 1), min(left + column % 2, columns - 1)
            total, weight = np.float32(0), np.float32(0)
            for i in (top, bottom):
                for j in (left, right):
                    mismatch = abs(nearness[i, j] * depth[row, column] - np.float32(1)) / np.float32(DEPTH_MATCH)
                    share = np.float32(1e-4) * (nearness[i, j] > 0.0) + max(np.float32(1) - mismatch, np.float32(0))
                    total += share * coarse[i, j]
                    weight += share
            if weight > 0.0:
                out[row, column] = total / weight
