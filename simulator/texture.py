"""Noise sheets from which skin, hair and cloth take their irregularities.

It belongs to no section of the paper. A sheet is a tile of Gaussian noise shaped in the frequency domain, so it repeats
without a seam; it is the same for everybody, and each person looks at it from another place. Sheets are drawn from
fixed seeds, made on first use and kept.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

SHEET_SIZE = 512
_REMAP_ROW = 1024  # cv2.remap refuses images wider or taller than 32767


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
def strands() -> np.ndarray:
    """Long streaks along v: hair."""
    v, u = _frequencies()
    along = 1.0 / (1.0 + (v / 3.0) ** 2)
    across = np.exp(-((np.abs(u) / 130.0) ** 2)) * (np.abs(u) + 3.0) ** -0.35
    return _shaped_noise(103, along * across)


def sample(sheet: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The sheet's value (P,) float32 at `u`, `v` (P,), in tiles; any real number, the tile repeats."""
    count = u.size
    if count == 0:
        return np.zeros(0, np.float32)  # cv2.remap refuses empty maps
    rows = -(-count // _REMAP_ROW)
    maps = np.zeros((2, rows * _REMAP_ROW), np.float32)
    maps[0, :count] = (u % 1.0) * SHEET_SIZE
    maps[1, :count] = (v % 1.0) * SHEET_SIZE
    maps = maps.reshape(2, rows, _REMAP_ROW)
    return cv2.remap(sheet, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).reshape(-1)[:count]
