"""Colour arithmetic: sRGB to linear light and back, and relative luminance. The paper does not treat it.

D subtracts light, and light adds up only in linear values; screens and image files hold sRGB-coded ones. Definitions:
IEC 61966-2-1 for the transfer curve, Rec. ITU-R BT.709 (the same primaries) for luminance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SRGB8_LEVELS = 256

LINEAR_SLOPE = 12.92  # of the straight part near black
LINEAR_END_ENCODED = 0.04045
LINEAR_END = 0.0031308  # the standard's own rounding of 0.04045 / 12.92
CURVE_OFFSET = 0.055
CURVE_EXPONENT = 2.4

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)  # R, G, B; they sum to 1, so that white has relative luminance 1


def srgb_to_linear(encoded: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Decode sRGB values in 0..1 (any shape) to linear light in 0..1, float64 (IEC 61966-2-1)."""
    values = np.asarray(encoded, dtype=np.float64)
    curve = ((np.maximum(values, 0.0) + CURVE_OFFSET) / (1 + CURVE_OFFSET)) ** CURVE_EXPONENT
    return np.where(values <= LINEAR_END_ENCODED, values / LINEAR_SLOPE, curve)


def linear_to_srgb(linear: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Encode linear light in 0..1 (any shape) as sRGB values in 0..1, float64; the inverse of `srgb_to_linear`."""
    values = np.asarray(linear, dtype=np.float64)
    curve = (1 + CURVE_OFFSET) * np.maximum(values, 0.0) ** (1 / CURVE_EXPONENT) - CURVE_OFFSET
    return np.where(values <= LINEAR_END, values * LINEAR_SLOPE, curve)


SRGB8_TO_LINEAR: npt.NDArray[np.float64] = srgb_to_linear(np.arange(SRGB8_LEVELS) / (SRGB8_LEVELS - 1))
SRGB8_TO_LINEAR.setflags(write=False)
_SRGB8_TO_LINEAR_FLOAT32 = SRGB8_TO_LINEAR.astype(np.float32)


def srgb8_to_linear(encoded: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Decode 8-bit sRGB (any shape, uint8 in 0..255) to linear light, float32 in 0..1, by table.

    Raises TypeError for any other dtype: a float in 0..1 read as an index would silently give black.
    """
    if encoded.dtype != np.uint8:
        raise TypeError(f"found an array of {encoded.dtype}; expected uint8 in 0..255; convert it first")
    return _SRGB8_TO_LINEAR_FLOAT32[encoded]


def relative_luminance(linear_rgb: npt.ArrayLike) -> npt.NDArray[Any]:
    """Relative luminance, (...), of linear RGB (..., 3) in 0..1: 0 for black, 1 for white (Rec. 709 weights).

    Keeps a floating dtype. Raises ValueError when the last axis does not hold three values.
    """
    values = np.asarray(linear_rgb)
    if values.ndim == 0 or values.shape[-1] != len(LUMINANCE_WEIGHTS):
        raise ValueError(f"found shape {values.shape}; expected (..., 3) linear RGB")
    dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.float64
    luminance: npt.NDArray[Any] = values @ np.asarray(LUMINANCE_WEIGHTS, dtype=dtype)
    return luminance
