"""Noise sheets from which skin, hair and cloth take their irregularities.

It belongs to no section of the paper. A sheet is a tile of Gaussian noise shaped in the frequency domain, so it repeats
without a seam; it is the same for everybody, and each person looks at it from another place. Sheets are drawn from
fixed seeds, made on first use and kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

SHEET_SIZE = 512


def _shaped_noise(seed: int, gain: np.ndarray) -> np.ndarray:
    """A (SHEET_SIZE, SHEET_SIZE) float32 tile, mean 0 and standard deviation 1, with spectrum `gain`."""
    white = np.random.default_rng(seed).standard_normal((SHEET_SIZE, SHEET_SIZE))
    tile = np.fft.ifft2(np.fft.fft2(white) * gain).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Cycles per tile along v (rows) and u (columns), broadcastable."""
    cycles = np.fft.fftfreq(SHEET_SIZE) * SHEET_SIZE
    return cycles[:, None], cycles[None, :]


@lru_cache(maxsize=1)
def blotches() -> np.ndarray:
    """Broad, soft patches: the uneven colour of skin."""
    v, u = _frequencies()
    radius = np.hypot(u, v)
    return _shaped_noise(101, np.where(radius > 0, (radius + 4.0) ** -1.6, 0.0) * np.exp(-((radius / 90.0) ** 2)))


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """Fine, evenly sized grains: pores, stubble, knit."""
    v, u = _frequencies()
    radius = np.hypot(u, v)
    return _shaped_noise(102, np.exp(-(((radius - 110.0) / 60.0) ** 2)))


@lru_cache(maxsize=1)
def relief() -> np.ndarray:
    """Skin's own relief, from shallow dents to pores, the coarse ones strongest: a wide band of scales."""
    v, u = _frequencies()
    radius = np.hypot(u, v)
    band = np.exp(-((radius / 190.0) ** 4)) * (1.0 - np.exp(-((radius / 34.0) ** 4)))
    return _shaped_noise(104, np.where(radius > 0, np.maximum(radius, 1.0) ** -0.8, 0.0) * band)


@lru_cache(maxsize=1)
def strands() -> np.ndarray:
    """Long streaks along v: hair."""
    v, u = _frequencies()
    along = 1.0 / (1.0 + (v / 3.0) ** 2)
    across = np.exp(-((np.abs(u) / 130.0) ** 2)) * (np.abs(u) + 3.0) ** -0.35
    return _shaped_noise(103, along * across)


def sample(sheet: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The sheet's values, float32 of the shape of `u` and `v`, which count tiles; any real number, the tile repeats."""
    across = np.ascontiguousarray(np.broadcast_to(u, np.shape(v)), np.float32)
    out = np.empty(across.size, np.float32)
    _sample_bilinear(sheet, across.ravel(), np.ascontiguousarray(v, np.float32).ravel(), out)
    return out.reshape(np.shape(v))


@njit(cache=True, nogil=True, fastmath=True)
def _sample_bilinear(sheet: np.ndarray, u: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    last = SHEET_SIZE - 1  # the size is a power of two, so that "and" wraps, below zero too
    for index in range(out.size):
        x, y = u[index] * np.float32(SHEET_SIZE), v[index] * np.float32(SHEET_SIZE)
        left, top = np.floor(x), np.floor(y)
        right_share, low_share = x - left, y - top
        c0, r0 = np.int64(left) & last, np.int64(top) & last
        c1, r1 = (c0 + 1) & last, (r0 + 1) & last
        upper = sheet[r0, c0] + right_share * (sheet[r0, c1] - sheet[r0, c0])
        lower = sheet[r1, c0] + right_share * (sheet[r1, c1] - sheet[r1, c0])
        out[index] = upper + low_share * (lower - upper)
