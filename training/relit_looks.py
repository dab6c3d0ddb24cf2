"""What simulated skin, rooms and cameras lack in variety, drawn once per relit capture and alike for every species.

A real face measured against the simulator's (docs/log.md) is redder in the screen's light than any simulated one,
changes its hue from place to place, and was photographed by a camera that saturates colours. A network that trains for
long learns our narrower spread by heart and takes skin outside it for a mask. So a relit capture draws anew how much
the camera saturates, the room's tint against the screen's, and blotches that tint and shade the surface. The paper
states no augmentation.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from simulator.phone import Phone
from training.augment import AugmentSettings

BLOTCHES_ACROSS = (4, 8, 16, 32, 64)
"""Patches per side of a template, of each scale of the blotches: from half a face to a mole."""
HUES = np.array([[1.0, 1.0, 1.0], [1.0, -0.5, -0.5], [0.5, 0.5, -1.0]])
"""What a blotch changes, in log light of R, G and B: shade, redness, yellowness."""
LEAST_SATURATION = 0.8

Image = npt.NDArray[np.float32]


def with_saturation(phone: Phone, settings: AugmentSettings, rng: np.random.Generator) -> Phone:
    """The phone with its saturation drawn anew, up to the settings' largest: cameras widen what their sensor sees."""
    if settings.relit_saturation == 0.0:
        return phone
    return replace(phone, saturation=float(rng.uniform(LEAST_SATURATION, settings.relit_saturation)))


def draw_room_tint(settings: AugmentSettings, rng: np.random.Generator) -> Image:
    """(3,) factors of the room's light, green 1; nothing is drawn where nothing is asked."""
    if settings.room_tint == 0.0:
        return np.ones(3, np.float32)
    return np.exp(rng.normal(size=3) * (settings.room_tint, 0.0, settings.room_tint)).astype(np.float32)


def draw_blotches(settings: AugmentSettings, rng: np.random.Generator, side: int) -> Image:
    """(side, side, 3) factors of the light that every place gives back, room's and screen's alike.

    Nothing is drawn where nothing is asked, and the factors are then (1, 1, 3).
    """
    if settings.blotches == 0.0:
        return np.ones((1, 1, 3), np.float32)
    strengths = np.abs(rng.normal(size=len(HUES))) * settings.blotches
    log_factors = np.zeros((side, side, 3), np.float32)
    for strength, hue in zip(strengths, HUES, strict=True):
        shares = rng.dirichlet(np.ones(len(BLOTCHES_ACROSS)))
        for share, across in zip(shares, BLOTCHES_ACROSS, strict=True):
            patches = rng.standard_normal((across, across), dtype=np.float32) * np.float32(strength * np.sqrt(share))
            field = cv2.resize(patches, (side, side), interpolation=cv2.INTER_CUBIC)
            log_factors += field[..., None] * hue.astype(np.float32)
    return np.exp(log_factors)
