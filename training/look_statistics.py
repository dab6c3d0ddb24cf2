"""What a pair of photographs without and with screen light looks like, in numbers (not in the paper).

The same code measures real and simulated pictures, after the same alignment and the same equalising of exposure, so
that a difference between the numbers is a difference between the pictures. All light is linear. A statistic that a
picture cannot give (a region outside the frame, a dark frame without light) is NaN and left out of every summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance, srgb8_to_linear
from sdk_reference.align import TEMPLATE, estimate_affine, map_points, resample
from sdk_reference.landmarks import Face
from sdk_reference.pair import exposure_ratio
from sdk_reference.quality import (
    MAD_TO_SIGMA,
    NOISE_REGION,
    NOISE_SCALE,
    RESIDUAL_SHARE,
    SMOOTHING,
    background_region,
)
from training.look_regions import REGIONS, SIZE, Mask, Points, eye_mask, face_mask, region_masks, skin_mask

CLIPPED = 0.97  # linear light: above, a channel may be cut off
DARK = 5e-4  # mean linear light below which a ratio is rounding
MIN_PIXELS = 20  # of a region
BANDS = ((2, 4), (4, 8), (8, 16), (16, 32), (32, 64))  # cycles per face width; the aligned face is 149 pixels wide
SLOPE_BANDS = slice(1, 4)  # lower ones are the shape of the face, higher ones are noise
SMALL_SPOT = 0.12  # of the face's width: a brighter spot narrower than this is a highlight, wider is shading
SPOT_SMOOTHING_PX = 1.5
GLINT_PERCENTILE = 98.0
PRIMARIES = ("red", "green", "blue")

Image = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AlignedPair:
    """Two photographs of one face on the template, at one exposure."""

    dark: Image
    """(256,256,3) float32 linear RGB without screen light, at the exposure of `lit`."""
    lit: Image
    """(256,256,3) float32 linear RGB with white screen light."""
    points: Points
    """(468,2) landmarks of `lit`, pixels of the template."""
    exposure: float
    """Exposure of the lit photograph over the dark one's; NaN when the background does not tell (1 was used)."""
    face_width_px: float
    """Width of the face in the lit photograph as it came."""
    motion: float
    """Movement of the face between the photographs (root mean square over landmarks), in face widths."""

    @cached_property
    def difference(self) -> Image:
        """(256,256,3) what the screen added."""
        return self.lit - self.dark

    @cached_property
    def regions(self) -> dict[str, Mask]:
        """The (256,256) mask of each of REGIONS."""
        return region_masks(self.points)

    @cached_property
    def face(self) -> Mask:
        """(256,256) the whole face."""
        return face_mask(self.points)

    @cached_property
    def skin(self) -> Mask:
        """(256,256) what hair, brows and beard reach least."""
        return skin_mask(self.regions)


def align_pair(dark: npt.NDArray[np.uint8], lit: npt.NDArray[np.uint8], dark_face: Face, lit_face: Face) -> AlignedPair:
    """Align two HWC uint8 RGB photographs each by its own landmarks, as a phone does, and equalise their exposure."""
    dark_aligned, lit_aligned = aligned_light(dark, dark_face), aligned_light(lit, lit_face)
    ratio = exposure_ratio(dark_aligned, lit_aligned, background_region())
    return AlignedPair(
        dark=dark_aligned * np.float32(1.0 if ratio is None else ratio),
        lit=lit_aligned,
        points=map_points(lit_face.points, estimate_affine(lit_face.points)),
        exposure=np.nan if ratio is None else ratio,
        face_width_px=lit_face.width,
        motion=_motion(dark_face, lit_face),
    )


def aligned_light(frame: npt.NDArray[np.uint8], face: Face) -> Image:
    """Resample an HWC uint8 RGB frame onto the template: (256,256,3) float32 linear light."""
    return resample(srgb8_to_linear(frame), estimate_affine(face.points), TEMPLATE.size)


def _motion(dark: Face, lit: Face) -> float:
    indices = list(TEMPLATE.indices)
    return float(np.sqrt(((dark.points - lit.points)[indices] ** 2).sum(axis=1).mean())) / lit.width


def measure(pair: AlignedPair) -> dict[str, float]:
    """Return every statistic of a pair by name; NaN where the pair cannot tell."""
    return {
        "face width in the photograph, px": pair.face_width_px,
        "exposure, lit over dark": pair.exposure,
        "motion between the photographs, face widths": pair.motion,
        **flash_ratios(pair),
        **colour_shift(pair),
        **sharpness(pair),
        **noise_levels(pair),
        **highlights(pair),
        **surroundings(pair),
    }


def flash_ratios(pair: AlignedPair) -> dict[str, float]:
    """Screen over ambient light, luminance, on the whole face, and of each region relative to the face."""
    face = ratio(pair, pair.face)
    relative = {f"flash/ambient, {name} over face": ratio(pair, pair.regions[name]) / face for name in REGIONS}
    return {"flash/ambient, face": face, **relative, "flash/ambient, left-right contrast": _lopsided(pair)}


def ratio(pair: AlignedPair, region: Mask) -> float:
    """Mean luminance that the screen added over mean luminance without it, on the unclipped pixels of a region."""
    used = region & (pair.lit < CLIPPED).all(axis=-1)
    if used.sum() < MIN_PIXELS:
        return np.nan
    dark = float(relative_luminance(pair.dark)[used].mean())
    added = float(relative_luminance(pair.difference)[used].mean())
    return added / dark if dark > DARK else np.nan


def _lopsided(pair: AlignedPair) -> float:
    """How unequal the added light is on the halves of the skin: |left − right| / (left + right)."""
    skin = pair.skin
    columns = np.arange(SIZE) + 0.5 < pair.points[[10, 152, 1], 0].mean()
    added = relative_luminance(pair.difference)
    right, left = float(added[skin & columns].mean()), float(added[skin & ~columns].mean())
    return abs(left - right) / (left + right) if left + right > DARK else np.nan


def colour_shift(pair: AlignedPair) -> dict[str, float]:
    """Red and blue over green on skin: of ambient light, of what the screen added, and of one relative to the other."""
    skin = pair.skin
    dark, added = pair.dark[skin].mean(axis=0, dtype=np.float64), pair.difference[skin].mean(axis=0, dtype=np.float64)
    if min(dark.min(), added[1]) < DARK:
        dark = added = np.full(3, np.nan)
    named = {"ambient": dark, "difference": added, "difference over ambient": added / dark}
    return {
        f"colour of {name}, {PRIMARIES[channel]}/green": float(value[channel] / value[1])
        for name, value in named.items()
        for channel in (0, 2)
    }


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
    size = SIZE // NOISE_SCALE
    small = cv2.resize(luminance.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    residual = (small - cv2.blur(small, (SMOOTHING, SMOOTHING)))[TEMPLATE.face_region(size, NOISE_REGION)]
    return float(MAD_TO_SIGMA * np.median(np.abs(residual - np.median(residual))) / np.sqrt(RESIDUAL_SHARE))


def highlights(pair: AlignedPair) -> dict[str, float]:
    """How much of the screen's light comes back from small bright spots of the skin, and how bright the eyes glint."""
    skin, eyes = pair.skin, eye_mask(pair.points)
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


def surroundings(pair: AlignedPair) -> dict[str, float]:
    """Brightness of skin in the dark photograph and of the background, and what of the screen's light reaches it."""
    behind, skin = background_region(), pair.skin
    dark, added = relative_luminance(pair.dark), relative_luminance(pair.difference)
    on_skin, light = float(added[skin].mean()), float(dark[skin].mean())
    return {
        "background over skin, dark": float(dark[behind].mean()) / light if light > DARK else np.nan,
        "background over skin, difference": float(added[behind].mean()) / on_skin if on_skin > DARK else np.nan,
        "hair over skin, dark": _over(dark, pair.regions["hair"], light),
        "skin in lit photograph": float(relative_luminance(pair.lit)[skin].mean()),
    }


def _over(picture: npt.NDArray[np.float32], region: Mask, level: float) -> float:
    return float(picture[region].mean()) / level if level > DARK and region.sum() >= MIN_PIXELS else np.nan


def colour_answers(frames: npt.NDArray[np.uint8], faces: Sequence[Face]) -> dict[str, float]:
    """How skin answers red, green and blue screens, per channel, over its answer to white: 1 and 0 without crosstalk.

    `frames` (5,H,W,3) uint8 RGB show white, red, green, blue, black; exposure is equalised to the black frame's.
    """
    skin = skin_mask(region_masks(map_points(faces[0].points, estimate_affine(faces[0].points))))
    light = [aligned_light(frame, face) for frame, face in zip(frames, faces, strict=True)]
    exposures = [exposure_ratio(light[-1], picture, background_region()) or 1.0 for picture in light[:-1]]
    black = light[-1][skin].mean(axis=0, dtype=np.float64)
    answers = [p[skin].mean(axis=0, dtype=np.float64) / e - black for p, e in zip(light, exposures, strict=False)]
    white = np.where(answers[0] > DARK, answers[0], np.nan)
    return {
        f"answer to {screen}, {channel} over white's": float(answers[1 + i][k] / white[k])
        for i, screen in enumerate(PRIMARIES)
        for k, channel in enumerate(PRIMARIES)
    }
