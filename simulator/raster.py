"""A z-buffer: which surface point each pixel sees, and its attributes, correct in perspective.

It belongs to no section of the paper; the simulator needs it to photograph procedural heads. Camera space has x to the
image right, y up and z towards the viewer; the camera sits at the origin and looks along −z, so depth is −z. A point at
depth d lands on pixel (cx + f·x/d, cy − f·y/d), and a pixel's centre is half a pixel beyond its index. 1/depth and
attribute/depth are linear in the image (Blinn 1992), so both passes are plain barycentric sums. Triangles are seen from
both sides and those with a vertex nearer than `NEAR_CM` are left out rather than clipped: no face comes that close.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from simulator.errors import SimulationError

NEAR_CM = 1.0
EDGE_TOLERANCE = np.float32(1e-5)
"""Barycentric slack that keeps neighbouring triangles free of pinholes; overlap is decided by depth."""
SMALLEST_AREA_PX = np.float32(1e-9)


@dataclass(frozen=True)
class Raster:
    """What a pinhole camera sees of one mesh."""

    mask: np.ndarray
    """(H, W) bool: some triangle covers this pixel's centre."""
    depth_cm: np.ndarray
    """(H, W) float32 along the optical axis; 0 where nothing is."""
    attributes: np.ndarray
    """(H, W, A) float32, perspective-correct; 0 where nothing is."""


def rasterise(
    vertices_camera: np.ndarray,
    triangles: np.ndarray,
    attributes: np.ndarray,
    focal_px: float,
    centre_px: tuple[float, float],
    height: int,
    width: int,
) -> Raster:
    """Draw `triangles` (T, 3) of `vertices_camera` (V, 3), cm, with `attributes` (V, A) into height × width pixels.

    `centre_px` is the principal point (x right, y down). Raises SimulationError for arrays that do not fit together.
    """
    vertices = np.ascontiguousarray(vertices_camera, np.float32)
    corners = np.ascontiguousarray(triangles, np.int32)
    values = np.ascontiguousarray(attributes, np.float32)
    _require_mesh(vertices, corners, values)
    projected = _project(vertices, np.float32(focal_px), np.float32(centre_px[0]), np.float32(centre_px[1]))
    inverse_depth, owner = _nearest_triangles(projected, corners, height, width)
    depth = np.zeros((height, width), np.float32)
    image = np.zeros((height, width, values.shape[1]), np.float32)
    _interpolate(projected, corners, values, inverse_depth, owner, depth, image)
    return Raster(owner >= 0, depth, image)


def _require_mesh(vertices: np.ndarray, triangles: np.ndarray, attributes: np.ndarray) -> None:
    """An index out of range would read foreign memory in compiled code, so look before."""
    fits = vertices.ndim == 2 and vertices.shape[1] == 3 and triangles.ndim == 2 and triangles.shape[1] == 3
    fits = fits and attributes.ndim == 2 and attributes.shape[0] == vertices.shape[0]
    if fits and triangles.size:
        fits = int(triangles.min()) >= 0 and int(triangles.max()) < vertices.shape[0]
    if not fits:
        raise SimulationError(
            found=f"vertices {vertices.shape}, triangles {triangles.shape}, attributes {attributes.shape}",
            expected="shapes (V, 3), (T, 3), (V, A) with every index in 0 .. V − 1",
            remedy="pass one attribute row per vertex and triangles of the same mesh",
        )


@njit(cache=True, nogil=True, error_model="numpy")
def _project(vertices: np.ndarray, focal: float, centre_x: float, centre_y: float) -> np.ndarray:
    """(V, 3) float32: pixel x, pixel y, 1/depth; 1/depth 0 marks a vertex too near or not finite."""
    projected = np.zeros(vertices.shape, np.float32)
    for index in range(vertices.shape[0]):
        depth = -vertices[index, 2]
        if depth > NEAR_CM:
            x = centre_x + focal * vertices[index, 0] / depth
            y = centre_y - focal * vertices[index, 1] / depth
            if np.isfinite(x) and np.isfinite(y) and np.isfinite(depth):
                projected[index, 0] = x
                projected[index, 1] = y
                projected[index, 2] = np.float32(1.0) / depth
    return projected


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _weights(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    inverse_area: float,
    pixel_x: float,
    pixel_y: float,
) -> tuple[float, float, np.float32]:
    """Barycentric weights of a pixel centre in image space."""
    first = ((x1 - pixel_x) * (y2 - pixel_y) - (x2 - pixel_x) * (y1 - pixel_y)) * inverse_area
    second = ((x2 - pixel_x) * (y0 - pixel_y) - (x0 - pixel_x) * (y2 - pixel_y)) * inverse_area
    return first, second, np.float32(1.0) - first - second


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _pixel_span(low: float, high: float, count: int) -> tuple[int, int]:
    """First and last index in 0 .. count − 1 whose centre lies within [low, high]; clipped before the cast to int."""
    first = min(max(np.ceil(low - 0.5), 0.0), float(count))
    last = min(max(np.floor(high - 0.5), -1.0), float(count - 1))
    return int(first), int(last)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_triangles(
    projected: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) 1/depth of the nearest surface and (H, W) its triangle's index, −1 for none."""
    inverse_depth = np.zeros((height, width), np.float32)
    owner = np.full((height, width), -1, np.int32)
    half = np.float32(0.5)
    for index in range(triangles.shape[0]):
        x0, y0, w0 = projected[triangles[index, 0]]
        x1, y1, w1 = projected[triangles[index, 1]]
        x2, y2, w2 = projected[triangles[index, 2]]
        if w0 == 0.0 or w1 == 0.0 or w2 == 0.0:
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < SMALLEST_AREA_PX:
            continue
        inverse_area = np.float32(1.0) / area
        left, right = _pixel_span(min(x0, x1, x2), max(x0, x1, x2), width)
        top, bottom = _pixel_span(min(y0, y1, y2), max(y0, y1, y2), height)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                a, b, c = _weights(
                    x0, y0, x1, y1, x2, y2, inverse_area, np.float32(column) + half, np.float32(row) + half
                )
                if a < -EDGE_TOLERANCE or b < -EDGE_TOLERANCE or c < -EDGE_TOLERANCE:
                    continue
                nearness = a * w0 + b * w1 + c * w2
                if nearness > inverse_depth[row, column]:
                    inverse_depth[row, column] = nearness
                    owner[row, column] = index
    return inverse_depth, owner


@njit(cache=True, nogil=True, error_model="numpy")
def _interpolate(
    projected: np.ndarray,
    triangles: np.ndarray,
    values: np.ndarray,
    inverse_depth: np.ndarray,
    owner: np.ndarray,
    depth: np.ndarray,
    image: np.ndarray,
) -> None:
    """Fill `depth` (H, W) and `image` (H, W, A) from each pixel's triangle."""
    half = np.float32(0.5)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            index = owner[row, column]
            if index < 0:
                continue
            first, second, third = triangles[index, 0], triangles[index, 1], triangles[index, 2]
            x0, y0, w0 = projected[first]
            x1, y1, w1 = projected[second]
            x2, y2, w2 = projected[third]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            a, b, c = _weights(
                x0, y0, x1, y1, x2, y2, np.float32(1.0) / area, np.float32(column) + half, np.float32(row) + half
            )
            distance = np.float32(1.0) / inverse_depth[row, column]
            depth[row, column] = distance
            a, b, c = a * w0 * distance, b * w1 * distance, c * w2 * distance
            for k in range(values.shape[1]):
                image[row, column, k] = a * values[first, k] + b * values[second, k] + c * values[third, k]
