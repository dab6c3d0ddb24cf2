"""A grid of points as a piece of a person's surface: its triangles and its normals.

It belongs to no section of the paper; `simulator.head` builds people out of such grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit


@dataclass(frozen=True)
class SurfaceGrid:
    """A grid of vertices, (R, C, 3) positions and canonical positions, with its part, one or (R, C), and hair ramp."""

    positions: np.ndarray
    canonical: np.ndarray
    part: int | np.ndarray
    hair: np.ndarray
    closed: bool
    """The last column lies on the first."""


@lru_cache(maxsize=64)
def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Two triangles (T, 3) int32 per cell; counter-clockwise when rows go up and columns go right."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    first = (row * columns + column).ravel()
    lower = np.stack([first, first + 1, first + columns], 1)
    upper = np.stack([first + 1, first + columns + 1, first + columns], 1)
    triangles = np.concatenate([lower, upper]).astype(np.int32)
    triangles.setflags(write=False)  # shared by every head
    return triangles


def grid_normals(grid: SurfaceGrid) -> np.ndarray:
    """Unit normals (R, C, 3) float32, area-weighted means of the triangles around each vertex."""
    normals = np.zeros(grid.positions.shape, np.float32)
    _add_cell_normals(np.ascontiguousarray(grid.positions, np.float32), normals)
    if grid.closed:
        normals[:, 0] = normals[:, -1] = normals[:, 0] + normals[:, -1]
    lengths = np.sqrt(np.einsum("rcx,rcx->rc", normals, normals))[..., None]
    return normals / np.maximum(lengths, np.float32(1e-12))


@njit(cache=True, nogil=True)
def _add_cell_normals(points: np.ndarray, normals: np.ndarray) -> None:
    """Add each triangle's cross product to its three vertices; the triangles of `grid_triangles`."""
    for row in range(points.shape[0] - 1):
        for column in range(points.shape[1] - 1):
            for upper in range(2):
                r0, c0 = row, column + upper
                r1, c1 = row + upper, column + 1
                r2, c2 = row + 1, column
                ax, ay, az = points[r0, c0]
                ux, uy, uz = points[r1, c1, 0] - ax, points[r1, c1, 1] - ay, points[r1, c1, 2] - az
                vx, vy, vz = points[r2, c2, 0] - ax, points[r2, c2, 1] - ay, points[r2, c2, 2] - az
                nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
                for r, c in ((r0, c0), (r1, c1), (r2, c2)):
                    normals[r, c, 0] += nx
                    normals[r, c, 1] += ny
                    normals[r, c, 2] += nz
