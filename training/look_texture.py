"""Sharpness, noise and highlights of an aligned pair of photographs (not in the paper).

Everything is relative to the picture's own brightness, so that exposures compare. Frequencies are in cycles per face
width, which is 149 pixels of the template, whatever the camera's resolution.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from sdk_reference.align import TEMPLATE
from sdk_reference.quality import MAD_TO_SIGMA, NOISE_REGION, NOISE_SCALE, RESIDUAL_SHARE, SMOOTHING
from training.look_pair import DARK, MIN_PIXELS, AlignedPair, Image
from training.look_regions import SIZE, Mask

BANDS = ((2, 4), (4, 8), (8, 16), (16, 32), (32, 64))  # cycles per face width
SLOPE_BANDS = slice(1, 4)  # lower ones are the shape of the face, higher ones are noise
SMALL_SPOT = 0.12  # of the face's width: a brighter spot narrower than this is a highlight, wider is shading
SPOT_SMOOTHING_PX = 1.5
GLINT_PERCENTILE = 98.0
CLIPPED = 0.97  # linear light: above, a channel may be cut off


def sharpness(pair: AlignedPair) -> dict[str, float]:
    """Contrast by octave of spatial frequency, of both photographs and of the difference, and its slope."""
    pictures = {"dark": pair.dark, "lit": pair.lit, "difference": pair.difference}
    found: dict[str, float] = {}
    for name, picture in pictures.items():
        contrast = band_contrast(relative_luminance(picture))
        found |= {
            f"contrast of {name}, {low}-{high}/face": float(c) for (low, high), c in zip(BANDS, contrast, strict=True)
        }
        found[f"contrast of {name}, slope"] = _slope(contrast)
    return found


def band_contrast(luminance: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Root mean square contrast (deviation over mean) of the face's middle in each of BANDS: (5,); NaN when dark.

    The square as wide as the face, a Hann window, a Fourier transform, power summed over rings (radial frequency).
    """
    half = round(TEMPLATE.ellipse_semi_axes[0])
    x, y = (round(value) for value in TEMPLATE.ellipse_centre)
    patch = luminance[y - half : y + half, x - half : x + half].astype(np.float64)
    window = np.outer(np.hanning(2 * half), np.hanning(2 * half))
    mean = (patch * window).sum() / window.sum()
    if not mean > DARK:
        return np.full(len(BANDS), np.nan)
    power = np.abs(np.fft.fft2((patch / mean - 1) * window)) ** 2 / (patch.size * (window**2).sum())
    cycles = np.fft.fftfreq(2 * half) * 2 * TEMPLATE.ellipse_semi_axes[0]
    radius = np.hypot(*np.meshgrid(cycles, cycles))
    return np.array([np.sqrt(power[(radius >= low) & (radius < high)].sum()) for low, high in BANDS])


def _slope(contrast: npt.NDArray[np.float64]) -> float:
    """Powers of two by which contrast changes per octave, 4 to 32 cycles per face width; 0 is a 1/f picture."""
    part = contrast[SLOPE_BANDS]
    return float(np.polyfit(np.arange(len(part)), np.log2(part), 1)[0]) if (part > 0).all() else np.nan


def noise_levels(pair: AlignedPair) -> dict[str, float]:
    """Robust residual on the face over the face's mean: of both photographs, of their difference, and in colour."""
    face = pair.face
    lit_level = float(relative_luminance(pair.lit)[face].mean())
    difference = noise(relative_luminance(pair.difference))
    return {
        "noise of dark, over its mean": relative_noise(pair.dark, face),
        "noise of lit, over its mean": relative_noise(pair.lit, face),
        "noise of difference, over lit": difference / lit_level if lit_level > DARK else np.nan,
        "colour noise of dark": colour_noise(pair.dark, face),
        "clipped share of face, lit": float((pair.lit >= CLIPPED).any(axis=-1)[face].mean()),
    }


def relative_noise(picture: Image, face: Mask) -> float:
    """Noise of a (256,256,3) picture's luminance over its mean on the face; NaN when dark."""
    luminance = relative_luminance(picture)
    level = float(luminance[face].mean())
    return noise(luminance) / level if level > DARK else np.nan


def colour_noise(picture: Image, face: Mask) -> float:
    """Noise of red against green of a (256,256,3) picture, each over its mean on the face; texture largely cancels."""
    means = picture[face].mean(axis=0)
    return noise(picture[..., 0] / means[0] - picture[..., 1] / means[1]) if means[:2].min() > DARK else np.nan


def noise(luminance: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the noise of a (256,256) picture on the face, per 2×2 mean, as in sdk_reference.quality.

    Skin's own texture counts as noise, except in a difference whose pictures lie well on each other.
    """
    return _robust_deviation(_residual(luminance)[TEMPLATE.face_region(SIZE // NOISE_SCALE, NOISE_REGION)])


def _residual(luminance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(128,128) what 2×2 means differ from their surroundings' mean."""
    size = SIZE // NOISE_SCALE
    small = cv2.resize(luminance.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small - cv2.blur(small, (SMOOTHING, SMOOTHING)), dtype=np.float32)


def _robust_deviation(residual: npt.NDArray[np.float32]) -> float:
    if residual.size < MIN_PIXELS:
        return np.nan
    return float(MAD_TO_SIGMA * np.median(np.abs(residual - np.median(residual))) / np.sqrt(RESIDUAL_SHARE))


def highlights(pair: AlignedPair) -> dict[str, float]:
    """How much of the screen's light comes back from small bright spots of the skin, and how bright the eyes glint."""
    skin, eyes = pair.skin, pair.regions["eyes"]
    added = relative_luminance(pair.difference)
    on_skin = float(added[skin].mean())
    if not on_skin > DARK or eyes.sum() < MIN_PIXELS:
        return {"highlight share of difference": np.nan, "eye glint over skin": np.nan}
    spots = bright_spots(added)
    return {
        "highlight share of difference": float(spots[skin].mean()) / on_skin,
        "eye glint over skin": float(np.percentile(added[eyes], GLINT_PERCENTILE)) / on_skin,
    }


def bright_spots(added: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what of a (256,256) picture stands out above its surroundings, 0 elsewhere (a white top-hat)."""
    smooth = cv2.GaussianBlur(added.astype(np.float32), (0, 0), SPOT_SMOOTHING_PX)
    side = round(SMALL_SPOT * 2 * TEMPLATE.ellipse_semi_axes[0])
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, element), dtype=np.float32)


def texture(picture: Image, region: Mask) -> float:
    """Like `noise`, within one region and over its mean: pores, stubble and wrinkles, and the camera's noise."""
    luminance = relative_luminance(picture)
    level = float(np.median(luminance[region])) if region.sum() >= MIN_PIXELS else np.nan
    if not level > DARK:
        return np.nan
    return _robust_deviation(_residual(luminance)[region[::NOISE_SCALE, ::NOISE_SCALE]]) / level
