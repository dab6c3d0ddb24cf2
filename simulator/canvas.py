"""The points being painted, and the layers of colour, gloss, shadow and relief laid on them.

It belongs to no section of the paper. `simulator.material` says which layers; `simulator.face_paint` and
`simulator.hair_paint` hold most of them. Positions are canonical (`simulator.features`), in cm; colours are linear RGB
reflectance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from simulator import texture
from simulator.features import smooth_step
from simulator.identity import Identity

DARKEST, BRIGHTEST = 0.003, 0.95
"""Nothing reflects less or more."""
EAR_PART, NECK_PART, TORSO_PART, LONG_HAIR_PART, GLASSES_PART = 0.5, 1.5, 2.5, 3.5, 4.5
"""Lower limits of the mesh's part numbers."""
MOUTH_PART = 0.245
"""Just below the part number of the strip inside an open mouth."""
SHUT_PART = 0.06
"""Half the part number of the seam of shut lids: from here on there is no eyeball."""
SKIN_TILE_CM = 33.0
"""Larger than a face, so that its relief (1 to 6 dents per cm) never repeats on it."""


@dataclass(frozen=True)
class Surface:
    """The material of P points."""

    albedo: np.ndarray
    """(P, 3) float32, linear RGB reflectance in (0, 1)."""
    roughness: np.ndarray
    """(P,) float32 in (0, 1], GGX."""
    specular_scale: np.ndarray
    """(P,) float32, gloss relative to plain skin."""
    occlusion: np.ndarray
    """(P,) float32 in (0, 1]: the share of the surroundings' light that small hollows let through."""
    bump: np.ndarray
    """(P,) float32 about 0: relief too fine for the mesh (pores, hair, cloth)."""
    eye: np.ndarray
    """(P,) float32 in 0..1: how much of the point is eyeball."""
    hair: np.ndarray
    """(P,) float32 in 0..1: how much of the point is hair of the head, brow or beard."""

    def bare_skin(self, part: np.ndarray) -> np.ndarray:
        """(P,) bool: skin of the head, given the mesh's `part` (P,) there; neither hair nor eyes, ears nor neck."""
        return (part < EAR_PART) & (self.hair <= 0.5) & (self.eye <= 0.5)


class Canvas:
    """The points of one call, with what every layer needs; painters change its arrays in place."""

    def __init__(self, identity: Identity, canonical: np.ndarray, part: np.ndarray, hair: np.ndarray) -> None:
        self.x, self.y, self.z = (np.ascontiguousarray(canonical[:, axis], np.float32) for axis in range(3))
        self.side = np.abs(self.x)
        self.part, self.ramp = part, hair
        head = part < EAR_PART
        self.front = (smooth_step((self.z - 0.3) / 0.5) * head).astype(np.float32)
        u, v = identity.skin.texture_offset
        self.blotch = texture.sample(texture.blotches(), self.x / 30.0 + u, self.y / 30.0 + v)
        self.grain = texture.sample(texture.relief(), self.x / SKIN_TILE_CM + v, self.y / SKIN_TILE_CM + u)
        count = len(self.x)
        self.albedo = np.empty((count, 3), np.float32)
        self.roughness = np.full(count, identity.skin.roughness, np.float32)
        self.gloss = np.full(count, identity.skin.oil, np.float32)
        self.occlusion = np.ones(count, np.float32)
        self.bump = (1.4 * identity.skin.pores * self.grain).astype(np.float32)
        self.eye = np.zeros(count, np.float32)
        self.hair = np.zeros(count, np.float32)

    def near(self, low_x: float, high_x: float, low_y: float, high_y: float) -> np.ndarray:
        """Indices of points of the face's front inside a box of |x| and y, so that small features cost little."""
        return _inside_box(self.side, self.y, self.front, low_x, high_x, low_y, high_y)

    def shade(self, at: np.ndarray, factor: np.ndarray) -> None:
        """Multiply the albedo at `at` by `factor` (n,)."""
        self.albedo[at] *= factor[:, None]

    def cover(self, at: np.ndarray, weight: np.ndarray, colour: np.ndarray) -> None:
        """Lay `colour` (3,) or (n, 3) over the albedo at `at` with `weight` (n,)."""
        paint = np.broadcast_to(np.asarray(colour, np.float32), (len(at), 3))
        _lay_over(self.albedo, at, np.asarray(weight, np.float32), paint)

    def surface(self) -> Surface:
        """The finished paint, kept within physical limits."""
        return Surface(
            albedo=np.clip(self.albedo, DARKEST, BRIGHTEST).astype(np.float32),
            roughness=np.clip(self.roughness, 0.03, 1.0).astype(np.float32),
            specular_scale=np.maximum(self.gloss, 0.0).astype(np.float32),
            occlusion=np.clip(self.occlusion, 0.05, 1.0).astype(np.float32),
            bump=self.bump.astype(np.float32),
            eye=self.eye,
            hair=np.clip(self.hair, 0.0, 1.0).astype(np.float32),
        )


@njit(cache=True, nogil=True)
def _inside_box(
    side: np.ndarray, y: np.ndarray, front: np.ndarray, low_x: float, high_x: float, low_y: float, high_y: float
) -> np.ndarray:
    """Indices (n,) int64 of points with |x| and y in the box that are not behind."""
    found = np.empty(side.size, np.int64)
    count = 0
    for index in range(side.size):
        if low_y <= y[index] <= high_y and low_x <= side[index] <= high_x and front[index] > 0.01:
            found[count] = index
            count += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _lay_over(albedo: np.ndarray, at: np.ndarray, weight: np.ndarray, colour: np.ndarray) -> None:
    for n in range(at.size):
        for channel in range(3):
            albedo[at[n], channel] += weight[n] * (colour[n, channel] - albedo[at[n], channel])
