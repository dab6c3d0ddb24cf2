"""The preview under the flash: the person's picture in the oval, drawn in the very colour that the screen shows.

Not in the paper. Without it, a person looks into a plain colour and drifts out of the picture; drawn beside it or in
its own colours, it would light the face with itself. So the flash's light is only dimmed, by up to `DEPTH` in linear
light, and evenly about half of that: whatever is filmed, the oval gives 1 − DEPTH/2 of the colour's light, in every
step alike, as a screen with a slightly darker patch would. Red stays red, and black stays black.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import linear_to_srgb, srgb8_to_linear
from flash_sequencer.palette import Srgb

DEPTH: Final = 0.4
"""Share of the colour's light that the darkest part of the picture takes away."""
CONTRAST: Final = 1.5
"""Standard deviations of brightness about its mean that are told apart."""


def under_flash(picture: npt.NDArray[np.uint8], srgb: Srgb) -> npt.NDArray[np.uint8]:
    """Return an (H,W,3) uint8 RGB picture in shades of the 8-bit colour `srgb`, never brighter than that colour."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    mean, deviation = float(grey.mean()), max(float(grey.std()), 1.0)
    levels = (np.arange(256) - mean) / (CONTRAST * deviation)
    factors = 1 - DEPTH / 2 + DEPTH / 2 * np.clip(levels, -1.0, 1.0)
    linear = factors[:, None] * srgb8_to_linear(np.array(srgb, np.uint8))
    table = np.asarray(np.rint(linear_to_srgb(linear) * 255.0), np.uint8)
    return np.asarray(table[grey])
