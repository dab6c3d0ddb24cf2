"""The drawn parts of a screen, as (H,W,4) uint8 RGBA with smooth edges: the oval, its progress, signs for a result.

Signs differ in shape and not in colour alone, for those who tell red from green badly. Drawn by OpenCV at a multiple of
their size and reduced, since its own smoothing leaves thick curves ragged; pygame has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.screen_text import Colour

Rgba = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

FINER: Final = 3  # drawn at this multiple
LARGEST_FINE: Final = 1200  # pixels; larger shapes are drawn at their own size, where a ragged edge is not seen
TOP_DEG: Final = -90  # of an OpenCV angle: where progress begins, clockwise


def painted(mask: Mask, colour: Colour) -> Rgba:
    """Fill a (H,W) coverage 0..255 with one colour."""
    picture = np.empty((*mask.shape, 4), np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = mask
    return picture


@lru_cache(maxsize=4)
def oval_mask(width: int, height: int) -> Mask:
    """(height,width) coverage 0..255 of the full ellipse."""
    return _drawn(width, height, lambda canvas, s: _ellipse(canvas, width * s, height * s, 0, -1))


def oval_line(width: int, height: int, inset: int, thickness: int, part: float = 1.0) -> Mask:
    """Coverage of an ellipse's line within a (height,width) box, its middle `inset` pixels inside; `part` 0..1 of it,
    clockwise from the top."""

    def draw(canvas: Mask, s: int) -> None:
        _ellipse(canvas, width * s, height * s, inset * s, max(1, thickness * s), part)

    return _drawn(width, height, draw)


def _ellipse(canvas: Mask, width: int, height: int, inset: int, thickness: int, part: float = 1.0) -> None:
    axes = (max(1, width // 2 - inset), max(1, height // 2 - inset))
    end = TOP_DEG + 360.0 * part
    cv2.ellipse(canvas, (width // 2, height // 2), axes, 0.0, TOP_DEG, end, 255, thickness, cv2.LINE_AA)


@lru_cache(maxsize=32)
def sign(name: str, size: int) -> Mask:
    """(size,size) coverage of a sign: `check`, `cross`, `again`, `warning` or `dots`."""
    return _drawn(size, size, lambda canvas, s: SIGNS[name](canvas, size * s))


def _drawn(width: int, height: int, draw: Callable[[Mask, int], None]) -> Mask:
    scale = FINER if max(width, height) <= LARGEST_FINE else 1
    canvas = np.zeros((height * scale, width * scale), np.uint8)
    draw(canvas, scale)
    reduced: Mask = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) if scale > 1 else canvas
    return reduced


def _points(size: int, *points: tuple[float, float]) -> npt.NDArray[np.int32]:
    return np.array([[round(x * size), round(y * size)] for x, y in points], np.int32)


def _stroke(canvas: Mask, size: int, width: float, value: int, closed: bool, *points: tuple[float, float]) -> None:
    """A line with round ends and corners."""
    corners = _points(size, *points)
    thickness = max(1, round(width * size))
    cv2.polylines(canvas, [corners], closed, value, thickness, cv2.LINE_AA)
    for x, y in corners:
        cv2.circle(canvas, (int(x), int(y)), thickness // 2, value, -1, cv2.LINE_AA)


def _disc(canvas: Mask, size: int) -> None:
    cv2.circle(canvas, (size // 2, size // 2), round(0.48 * size), 255, -1, cv2.LINE_AA)


def _check(canvas: Mask, size: int) -> None:
    """A tick cut out of a disc."""
    _disc(canvas, size)
    _stroke(canvas, size, 0.09, 0, False, (0.28, 0.52), (0.44, 0.67), (0.73, 0.36))


def _cross(canvas: Mask, size: int) -> None:
    """A cross cut out of an octagon."""
    _octagon(canvas, size)
    _stroke(canvas, size, 0.09, 0, False, (0.34, 0.34), (0.66, 0.66))
    _stroke(canvas, size, 0.09, 0, False, (0.66, 0.34), (0.34, 0.66))


def _octagon(canvas: Mask, size: int) -> None:
    turn = np.deg2rad(22.5 + 45.0 * np.arange(8))
    corners = 0.5 + 0.49 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cv2.fillPoly(canvas, [np.int32(np.rint(corners * size))], 255, cv2.LINE_AA)


def _again(canvas: Mask, size: int) -> None:
    """An arrow that goes round clockwise, its head where it would close."""
    radius, thickness, end_deg = 0.34, 0.1, 290.0
    centre, axes = (size // 2, size // 2), (round(radius * size), round(radius * size))
    cv2.ellipse(canvas, centre, axes, 0.0, 0.0, end_deg, 255, max(1, round(thickness * size)), cv2.LINE_AA)
    turn = np.deg2rad(end_deg)
    out, along = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    foot = 0.5 + radius * out
    corners = [foot + 0.17 * out, foot - 0.17 * out, foot + 0.24 * along]
    cv2.fillPoly(canvas, [_points(size, *((float(x), float(y)) for x, y in corners))], 255, cv2.LINE_AA)


def _warning(canvas: Mask, size: int) -> None:
    """An exclamation mark cut out of a triangle with round corners."""
    corners = ((0.5, 0.14), (0.92, 0.84), (0.08, 0.84))
    cv2.fillPoly(canvas, [_points(size, *corners)], 255, cv2.LINE_AA)
    _stroke(canvas, size, 0.12, 255, True, *corners)
    _stroke(canvas, size, 0.085, 0, False, (0.5, 0.36), (0.5, 0.6))
    cv2.circle(canvas, (size // 2, round(0.76 * size)), round(0.055 * size), 0, -1, cv2.LINE_AA)


def _dots(canvas: Mask, size: int) -> None:
    for x in (0.25, 0.5, 0.75):
        cv2.circle(canvas, (round(x * size), size // 2), round(0.07 * size), 255, -1, cv2.LINE_AA)


SIGNS: Final[Mapping[str, Callable[[Mask, int], None]]] = {
    "check": _check,
    "cross": _cross,
    "again": _again,
    "warning": _warning,
    "dots": _dots,
}
