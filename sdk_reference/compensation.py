"""Undoes a camera's drift in the frames that were chosen: each channel of each is divided by its gain, in linear light.

Not in the paper, whose cameras are steady. The frame and channel with the least gain stays as it is and the others are
darkened, so that nothing clips that was not clipped before. What was clipped keeps its bytes: how bright it really was
is lost, and the quality gate has to see that.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import SRGB8_LEVELS, SRGB8_TO_LINEAR, linear_to_srgb
from flash_sequencer.drift import exposure_change
from sdk_reference.quality import CLIPPED_LEVEL

FloatArray = npt.NDArray[np.float64]

CLEAR_CHANGE: Final = 1.4
"""Exposure of the brightest chosen frame over the darkest from which on a drift is undone. Where less is found, gains
undone are as far from the truth as gains left alone, or farther (`flashproof.drift_trial`, docs/log.md)."""
LARGEST_CHANGE: Final = 4.0
"""Beyond it little of the picture is left, and the gates shall see the frames as they are."""


def is_clear(gains: FloatArray) -> bool:
    """Whether the gains (N,3) of the chosen frames differ by so much that dividing by them does more good than harm."""
    return CLEAR_CHANGE <= exposure_change(gains) <= LARGEST_CHANGE


def factors_against(gains: FloatArray) -> FloatArray:
    """What each channel of each frame is multiplied by, (N,3), above 0 and at most 1, for gains (N,3) of any scale."""
    factors: FloatArray = gains.min() / gains
    return factors


def compensated(frames: npt.NDArray[np.uint8], factors: FloatArray) -> npt.NDArray[np.uint8]:
    """Multiply the linear light of RGB frames (N,H,W,3), sRGB-coded bytes, by `factors` (N,3)."""
    return np.stack([cv2.LUT(frame, _table(factor)) for frame, factor in zip(frames, factors, strict=True)])


def _table(factors: FloatArray) -> npt.NDArray[np.uint8]:
    """(1,256,3): the byte that each byte of each channel becomes."""
    scaled = np.rint(linear_to_srgb(SRGB8_TO_LINEAR[:, None] * factors) * (SRGB8_LEVELS - 1)).astype(np.uint8)
    scaled[CLIPPED_LEVEL:] = np.arange(CLIPPED_LEVEL, SRGB8_LEVELS, dtype=np.uint8)[:, None]
    return np.asarray(scaled[None])
