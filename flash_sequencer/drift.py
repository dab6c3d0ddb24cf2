"""How the camera's exposure and white balance moved during the flash, found in the film itself.

A camera that cannot be locked takes back part of what the screen gives (not in the paper, whose frames are taken with a
steady camera). What it sees of the face and of the background is, in each region and channel,

    mean = gain · (room + mix · light)

where the light that each frame gathered of the screen is known, `mix` is three unknown numbers, and all regions share
the gain. So frames of one colour must look alike however long it has stood. That tells the gain from the light also
where the screen lights the wall behind the person, which by itself is therefore no reference. The gain is taken as

    log gain = a · m + b · t

with m the screen's luminance as a slow meter sees it, and time t. For each memory of the meter, a and b of every
channel are found by Gauss-Newton steps with room and mix projected out; ridges hold them near 0 and the channels near
each other. The memory with the least loss is taken.

What cannot be told: a gain that follows the screen at once looks like a face and a wall that answer less. A change of
the room's light in the same rhythm is seen as drift, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flash_sequencer.errors import MatchingError
from flash_sequencer.player import DARK_SURROUND, PresentedStep
from flash_sequencer.screen_light import NS_PER_S, FloatArray, ScreenLight

__all__ = ["estimate_drift", "exposure_change"]

MEMORIES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
RIDGE = 0.05
"""On a and b: squared relative residuals, summed over frames, that a drift by a factor e is worth."""
BALANCE_RIDGE = 5.0
"""The same on how far the channels differ in them: white balance moves less than exposure."""
STEPS = 6
LONGEST_STEP = 0.5
LEAD_S = 0.1
"""Frames that saw what was before the first step by more than this are not used."""
DEPENDENT = 1e-6
"""Of the largest singular value: terms below it are combinations of the others, as with few colours."""
SPARE_FRAMES = 4


def exposure_change(gains: FloatArray) -> float:
    """Brightest over darkest of frames with the gains (F,3), by the geometric mean of the channels; at least 1."""
    exposure = np.log(gains).mean(axis=1)
    return float(np.exp(exposure.max() - exposure.min()))


def estimate_drift(
    presented: Sequence[PresentedStep],
    frame_timestamps_ns: Sequence[int],
    regions: Sequence[npt.ArrayLike],
    *,
    lag_ns: int,
    exposure_ns: int,
) -> FloatArray:
    """Estimate the gain (F,3) of every frame and channel relative to the first from the mean linear RGB of regions.

    `presented` in time order; `regions` one or more of (F,3), such as the face and the background; `lag_ns` and
    `exposure_ns` as `flash_sequencer.lag` found them. Black frames are not used. With fewer than four frames more than
    steps nothing can be told, and all gains are 1. Raises MatchingError for means that are negative or not finite.
    """
    values = [_checked(region, len(frame_timestamps_ns)) for region in regions]
    light, exposure_s = ScreenLight(presented, DARK_SURROUND), exposure_ns / NS_PER_S
    seen_s = light.seconds(frame_timestamps_ns) - lag_ns / NS_PER_S
    used = (seen_s >= -LEAD_S) & (seen_s + exposure_s <= float(light.seconds(presented[-1].ended_at_ns)))
    used &= np.all([(region > 0).all(axis=1) for region in values], axis=0)
    if used.sum() < len(presented) + SPARE_FRAMES:
        return np.ones((len(seen_s), 3))
    beyond = _beyond(light.mean(seen_s[used], exposure_s))
    scaled = np.stack([region[used] / region[used].mean(axis=0) for region in values])
    time = _centred(seen_s, used) / (np.ptp(seen_s[used]) / 2)
    fits = []
    for memory_s in MEMORIES_S:
        terms = np.stack([_centred(light.metered(seen_s, memory_s), used), np.clip(time, -1, 1)])
        fits.append((*_fitted(scaled, terms[:, used], beyond), terms))
    _, coefficients, terms = min(fits, key=lambda fit: fit[0])
    gains: FloatArray = np.exp(coefficients @ terms).T
    gains /= gains[0].copy()
    return gains


def _fitted(values: FloatArray, terms: FloatArray, beyond: FloatArray) -> tuple[float, FloatArray]:
    """Loss, and coefficients (3,2) of the log gain, for values (R,F,3), terms (2,F) and the projection (F,F)."""
    coefficients, ridge = np.zeros((3, 2)), _ridge()
    for _ in range(STEPS):
        residual, slope = _residual(values, terms, beyond, coefficients)
        normal, right = ridge.copy(), -ridge @ coefficients.ravel()
        for channel, (row, rows) in enumerate(zip(residual, slope, strict=True)):
            place = slice(2 * channel, 2 * channel + 2)
            normal[place, place] += rows @ rows.T
            right[place] += rows @ row
        step = np.linalg.solve(normal, right).reshape(3, 2)
        coefficients = coefficients + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    residual, _ = _residual(values, terms, beyond, coefficients)
    return float((residual**2).sum() + coefficients.ravel() @ ridge @ coefficients.ravel()), coefficients


def _residual(
    values: FloatArray, terms: FloatArray, beyond: FloatArray, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Per channel what is left of the values, their gain undone (3,R·F), and how it falls with a and b (3,2,R·F)."""
    steady = np.moveaxis(values, -1, 0) / np.exp(coefficients @ terms)[:, None]  # (3,R,F)
    fall = (steady[:, None] * terms[None, :, None]) @ beyond
    return (steady @ beyond).reshape(3, -1), fall.reshape(3, 2, -1)


def _ridge() -> FloatArray:
    """(6,6) quadratic form of both ridges on the coefficients (3,2), flattened."""
    apart = np.eye(3) - 1 / 3
    ridge: FloatArray = np.kron(RIDGE * np.eye(3) + BALANCE_RIDGE * apart, np.eye(2))
    return ridge


def _beyond(light: FloatArray) -> FloatArray:
    """(F,F) projection onto what no room and no mix of the light (F,3) explains; symmetric."""
    left, sizes, _ = np.linalg.svd(np.column_stack([np.ones(len(light)), light]), full_matrices=False)
    basis = left[:, sizes > DEPENDENT * sizes[0]]
    projection: FloatArray = np.eye(len(light)) - basis @ basis.T
    return projection


def _centred(values: FloatArray, used: npt.NDArray[np.bool_]) -> FloatArray:
    centred: FloatArray = values - values[used].mean()
    return centred


def _checked(region: npt.ArrayLike, frames: int) -> FloatArray:
    values = np.asarray(region, dtype=np.float64)
    if values.shape != (frames, 3) or not np.isfinite(values).all() or values.min(initial=0.0) < 0:
        found = f"found means of shape {values.shape}, least {values.min(initial=0.0):.2g}"
        raise MatchingError(f"{found}; expected ({frames}, 3) linear values from 0 on; pass what the frames show")
    return values
