"""What simulated skin, rooms and cameras lack in variety, drawn once per relit capture and alike for every species.

A real face measured against the simulator's (docs/log.md) is redder in the screen's light than any simulated one,
changes its hue from place to place, and was photographed by a camera that saturates colours; and what a network had
learned of it hung on how the background answers, which no class differs in. A network that trains for long learns our
narrower spread by heart and takes skin outside it for a mask. So a relit capture draws anew how much the camera
saturates, the room's tint against the screen's, how strongly a surface's colour and the screen's light on it change
from place to place, blotches that tint and shade, and what stands behind the person. The
paper states no augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from simulator.phone import Phone

BLOTCHES_ACROSS = (4, 8, 16, 32, 64)
"""Patches per side of a template, of each scale of the blotches: from half a face to a mole."""
HUES = np.array([[1.0, 1.0, 1.0], [1.0, -0.5, -0.5], [0.5, 0.5, -1.0]])
"""What a blotch changes, in log light of R, G and B: shade, redness, yellowness."""
LEAST_SATURATION = 0.8
SILENT_SHARE = 0.2
"""Of the new backgrounds: so far away that they answer no screen."""
NEARNESS_SPREAD, BRIGHTNESS_SPREAD, TINT_SPREAD = 1.0, 0.7, 0.25
"""Standard deviations, in log light, of a new background's answer to the screen, of the room's light on it, and of the
colour of both."""
BACKGROUND_BLOTCHES = 0.3
STRONGEST_CHROMA = 1.0
"""In log light: what is farther off a surface's mean colour is a highlight or the edge of a shadow."""
DARKEST_CHROMA, TINY_ANSWER = 0.05, 1e-6
"""Places darker than this part of the mean have no colour to speak of; nor has less radiance than this per nit."""
STRONGEST_SHADING = 1.0
"""In log light, before it is made stronger."""
SHADING_SIDE, SHADING_TAPS = 32, cv2.getGaussianKernel(15, 2.5, cv2.CV_32F)
"""Shading is looked at in a small picture, blurred with these taps: 20 pixels of the template."""

Image = npt.NDArray[np.float32]
Blotches = tuple[Image, ...]
"""Per scale of BLOTCHES_ACROSS (across, across, 3): log factors of light, laid out smoothly between the patches."""


@dataclass(frozen=True, eq=False)
class Background:
    """What another background does to the light behind the person, as factors of what is there."""

    room: Image
    """(3,) of the room's light."""
    screen: Image
    """(3,) of the screen's."""
    blotches: Blotches
    """Of both."""


def with_saturation(phone: Phone, largest: float, rng: np.random.Generator) -> Phone:
    """The phone with its saturation drawn anew, up to `largest`: cameras widen what they see; 0 draws nothing."""
    if largest == 0.0:
        return phone
    return replace(phone, saturation=float(rng.uniform(LEAST_SATURATION, largest)))


def draw_room_tint(spread: float, rng: np.random.Generator) -> Image:
    """(3,) factors of the room's light, green 1, red and blue of this spread in log light; 0 draws nothing."""
    if spread == 0.0:
        return np.ones(3, np.float32)
    return np.exp(rng.normal(size=3) * (spread, 0.0, spread)).astype(np.float32)


def draw_blotches(scale: float, rng: np.random.Generator) -> Blotches | None:
    """Patches whose strength is drawn from a half normal of this scale; 0 gives none and draws nothing."""
    if scale == 0.0:
        return None
    patches = [np.zeros((across, across, 3), np.float32) for across in BLOTCHES_ACROSS]
    for strength, hue in zip(np.abs(rng.normal(size=len(HUES))) * scale, HUES, strict=True):
        for share, patch in zip(rng.dirichlet(np.ones(len(patches))), patches, strict=True):
            field = rng.standard_normal(patch.shape[:2], dtype=np.float32) * np.float32(strength * np.sqrt(share))
            patch += field[..., None] * hue.astype(np.float32)
    return tuple(patches)


def blotch_factors(blotches: Blotches | None, side: int) -> Image:
    """(side, side, 3) factors of the light that every place gives back; (1, 1, 3) ones for no blotches."""
    if blotches is None:
        return np.ones((1, 1, 3), np.float32)
    smooth = [cv2.resize(patch, (side, side), interpolation=cv2.INTER_CUBIC) for patch in blotches]
    return np.asarray(np.exp(sum(smooth[1:], start=smooth[0])), np.float32)


def draw_contrast(largest: float, rng: np.random.Generator) -> float:
    """How many times as strong a pattern is: up to exp(± `largest`); 0 gives 1 and draws nothing."""
    return 1.0 if largest == 0.0 else float(np.exp(rng.uniform(-1.0, 1.0) * largest))


def chroma_factors(screen: Image, covered: Image, contrast: float) -> Image:
    """(H, W, 3) factors that make the colour pattern of what stands there `contrast` times as strong, its mean kept.

    Colour is what the channels' answers to the screen (H, W, 3) differ in, in log light; the background keeps its own.
    """
    if contrast == 1.0:
        return np.ones((1, 1, 3), np.float32)
    weight = covered[..., None] / max(float(covered.sum()), 1.0)
    floor = np.maximum((screen * weight).sum(axis=(0, 1)) * DARKEST_CHROMA, TINY_ANSWER)
    light = cv2.log(np.maximum(screen, floor))
    colour = light - light.mean(axis=2, keepdims=True)
    pattern = colour - (colour * weight).sum(axis=(0, 1))
    strength = np.float32(contrast - 1.0) * np.clip(pattern, -STRONGEST_CHROMA, STRONGEST_CHROMA)
    return np.asarray(cv2.exp(strength * covered[..., None]), np.float32)


def shading_factors(screen: Image, covered: Image, contrast: float) -> Image:
    """(H, W, 1) factors that make the screen's slow shading of what stands there `contrast` times as strong.

    Slow is what is left of the log light of (H, W, 3) when it is blurred: the fall-off with distance, a cheek that
    turns away.
    """
    if contrast == 1.0:
        return np.ones((1, 1, 1), np.float32)
    small, weight = (
        cv2.resize(image, (SHADING_SIDE, SHADING_SIDE), interpolation=cv2.INTER_AREA)
        for image in (screen.mean(axis=2), covered)
    )
    weight = weight / max(float(weight.sum()), TINY_ANSWER)
    light = cv2.log(np.maximum(small, max(float((small * weight).sum()) * DARKEST_CHROMA, TINY_ANSWER)))
    slow = cv2.sepFilter2D(light, -1, SHADING_TAPS, SHADING_TAPS, borderType=cv2.BORDER_REPLICATE)
    pattern = np.clip(slow - (slow * weight).sum(), -STRONGEST_SHADING, STRONGEST_SHADING) * np.float32(contrast - 1.0)
    whole = cv2.resize(pattern, screen.shape[:2], interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.exp(whole * covered), np.float32)[..., None]


def draw_background(share: float, rng: np.random.Generator) -> Background | None:
    """Draw another background for this share of captures: nearer or farther, brighter or darker, of other colours.

    A share of 0 draws nothing.
    """
    if share == 0.0 or rng.random() >= share:
        return None
    colour = np.exp(rng.normal(size=3) * TINT_SPREAD)
    brightness = np.exp(rng.normal() * BRIGHTNESS_SPREAD)
    nearness = np.exp(rng.normal() * NEARNESS_SPREAD) * (rng.random() >= SILENT_SHARE)
    blotches = draw_blotches(BACKGROUND_BLOTCHES, rng)
    assert blotches is not None
    return Background(
        room=(colour * brightness).astype(np.float32), screen=(colour * nearness).astype(np.float32), blotches=blotches
    )


def behind(factors: Image, covered: Image) -> Image:
    """Factors (H, W, 3) that hold where nothing covers the background: 1 where `covered` (H, W) is 1."""
    return 1.0 + (factors - 1.0) * (1.0 - covered[..., None])


def stacked(blotches: Blotches | None) -> Image:
    """All patches in one row of numbers, channels first within a scale: the form in which a GPU is sent them."""
    whole: Sequence[Image] = blotches or [np.zeros((across, across, 3), np.float32) for across in BLOTCHES_ACROSS]
    return np.concatenate([patch.transpose(2, 0, 1).reshape(-1) for patch in whole])
