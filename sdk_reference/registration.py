"""Registration below a pixel: the frames of a capture are laid on each other by what they show, not by landmarks alone.

The paper aligns by landmarks (section 5.1). Landmarks move with the colour of the light, by half a pixel of the aligned
frame and more, and every difference then shows the edges of brows and lips where it should show light. Here each frame
is laid on the mean of the others by an affine map found with Gauss–Newton steps (Lucas and Kanade 1981; Baker and
Matthews 2004). What is compared must not change with the light: the logarithm of luminance, of which a wide blur is
subtracted, so that exposure, colour and shading drop out and the skin's own marks, brows and lips remain. Corrections
of a capture average to nothing, so that the face stays where the landmarks put it. What it cannot tell from a shift is
an outline within the face's ellipse that only the screen lights: its edge comes and goes with the flash.

All of it works on frames of 128×128 and takes about as long as finding landmarks on one frame. docs/bundle.md says it
step by step, for ports.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance, srgb8_to_linear
from sdk_reference.align import HALF_PIXEL, TEMPLATE, Affine

SIDE = 128
"""Pixels per side of the frames that are compared."""
SHADING_SIGMA_PX = 5.0
"""Of the blur whose result counts as shading and is subtracted."""
DARK = 0.004
"""Added to luminance before the logarithm: below, a frame is noise."""
REGION = 0.95
"""Of the face's ellipse: the outline moves against the room behind it."""
ROUNDS, STEPS = 2, 3
"""Times that every frame is laid on the mean of the others, and Gauss–Newton steps each time."""
DAMPING = 0.02
"""Share of the mean diagonal that is added to the normal equations."""
OUTLIER_SIGMAS = 2.0
"""Residuals of this many robust standard deviations count half: a blink, a highlight."""
LARGEST_PX = 6.0
"""Root mean square over the face, in pixels of the aligned 256: a larger correction is no correction; none is made."""
UNIT_PX = SIDE / 4
"""Coordinates are counted from the middle in this unit, so that all six parameters are of one size."""
MAD_TO_SIGMA = 1.4826
MIN_FRAMES = 2

Planes = npt.NDArray[np.float32]
Parameters = npt.NDArray[np.float64]
"""(6,): shift x and y in pixels of 128, then d(x shift)/dx, d(x)/dy, d(y)/dx, d(y)/dy per `UNIT_PX`."""


def corrections(aligned_u8: npt.NDArray[np.uint8]) -> Affine:
    """Return (N0,2,3) float64: for each frame the map of its aligned pixels to where they belong, in pixels of 256.

    `aligned_u8` is (N0,3,256,256) uint8 RGB, aligned by landmarks. Where the search runs away, all maps are identities.
    The inverse maps have the identity for their mean. Raises ValueError for another shape or dtype.
    """
    _check(aligned_u8)
    planes = detail_planes(aligned_u8)
    found = [np.zeros(6) for _ in planes]
    for _ in range(ROUNDS):
        placed = np.stack([_sample(plane, p) for plane, p in zip(planes, found, strict=True)])
        total = placed.sum(axis=0)
        others = [(total - one) / np.float32(len(planes) - 1) for one in placed]
        found = [_search(target, plane, p) for target, plane, p in zip(others, planes, found, strict=True)]
        middle = np.mean(found, axis=0)
        found = [p - middle for p in found]
    if not all(_is_small(p) for p in found):
        return np.tile(np.eye(2, 3), (len(planes), 1, 1))
    return np.stack([_to_aligned(p) for p in found])


def _check(aligned_u8: npt.NDArray[np.uint8]) -> None:
    side = TEMPLATE.size
    found, dtype = aligned_u8.shape, aligned_u8.dtype
    if dtype != np.uint8 or found[1:] != (3, side, side) or len(aligned_u8) < MIN_FRAMES:
        raise ValueError(f"found {found} {dtype}; expected (N0, 3, {side}, {side}) uint8, N0 ≥ {MIN_FRAMES}")


def detail_planes(aligned_u8: npt.NDArray[np.uint8]) -> Planes:
    """Return (N0,128,128) float32: what the light does not change much, log luminance without its wide blur."""
    linear = srgb8_to_linear(aligned_u8).transpose(0, 2, 3, 1)
    return np.stack([_detail(relative_luminance(frame)) for frame in linear])


def _detail(luminance: npt.NDArray[np.float64]) -> Planes:
    small = cv2.resize(luminance.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    log = np.log(small + np.float32(DARK))
    return np.asarray(log - cv2.GaussianBlur(log, (0, 0), SHADING_SIGMA_PX), dtype=np.float32)


def _search(target: Planes, plane: Planes, start: Parameters) -> Parameters:
    """Gauss–Newton from `start`: the parameters with which `plane` looks most like `target` on the face."""
    inside, basis = _geometry()
    goal = target[inside]
    found = start
    for _ in range(STEPS):
        image = _sample(plane, found)
        values = image[inside]
        gain = float(values @ goal) / max(float(values @ values), 1e-9)  # light from another side changes contrast
        residual = goal - gain * values
        slopes = gain * (_slope(image, 1)[inside, None] * basis[0] + _slope(image, 0)[inside, None] * basis[1])
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual))) + 1e-6
        weighted = slopes / (1 + (residual / (OUTLIER_SIGMAS * spread)) ** 2)[:, None]
        normal = (weighted.T @ slopes).astype(np.float64)
        normal += np.eye(6) * (DAMPING * np.trace(normal) / 6 + 1e-9)
        found = found + np.linalg.solve(normal, (weighted.T @ residual).astype(np.float64))
    return found


def _slope(image: Planes, axis: int) -> Planes:
    return np.asarray((np.roll(image, -1, axis) - np.roll(image, 1, axis)) / 2, dtype=np.float32)


def _sample(plane: Planes, parameters: Parameters) -> Planes:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(plane, _matrix(parameters), (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE),
        dtype=np.float32,
    )


@lru_cache(maxsize=1)
def _geometry() -> tuple[npt.NDArray[np.bool_], tuple[Planes, Planes]]:
    """Return the face's mask (128,128), and for its P pixels how x and how y move with each parameter, (P,6) each."""
    inside = TEMPLATE.face_region(SIDE, REGION)
    rows, columns = np.nonzero(inside)
    across, down = (columns - SIDE / 2) / UNIT_PX, (rows - SIDE / 2) / UNIT_PX
    one, none = np.ones(len(rows)), np.zeros(len(rows))
    along_x = np.stack([one, none, across, down, none, none], axis=1).astype(np.float32)
    along_y = np.stack([none, one, none, none, across, down], axis=1).astype(np.float32)
    return inside, (along_x, along_y)


def _matrix(p: Parameters) -> Affine:
    """The (2,3) map of parameters between pixels of 128, (0, 0) at the centre of the first: where to sample."""
    linear = np.eye(2) + np.array([[p[2], p[3]], [p[4], p[5]]]) / UNIT_PX
    middle = np.full(2, SIDE / 2)
    return np.hstack([linear, (p[:2] + middle - linear @ middle)[:, None]])


def _to_aligned(parameters: Parameters) -> Affine:
    """The inverse map, in pixels of the aligned frame counted from its corner: from where pixels are to where to."""
    sample = _matrix(parameters)
    from_corner = sample[:, 2] + HALF_PIXEL - sample[:, :2] @ (HALF_PIXEL, HALF_PIXEL)
    inverse = np.linalg.inv(sample[:, :2])
    return np.hstack([inverse, (-inverse @ from_corner * (TEMPLATE.size / SIDE))[:, None]])


def _is_small(parameters: Parameters) -> bool:
    _, (along_x, along_y) = _geometry()
    moved = (along_x @ parameters) ** 2 + (along_y @ parameters) ** 2
    rms_px = np.sqrt(moved.mean()) * (TEMPLATE.size / SIDE)
    return bool(np.isfinite(parameters).all() and rms_px <= LARGEST_PX)
