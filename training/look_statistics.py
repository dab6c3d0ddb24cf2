"""What a pair of photographs without and with screen light looks like, in numbers (not in the paper).

The same code measures real and simulated pictures, so that a difference between the numbers is a difference between the
pictures. All light is linear. A statistic that a picture cannot give (a region outside the frame, a dark frame without
light) is NaN and left out of every summary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from sdk_reference.align import estimate_affine, map_points
from sdk_reference.landmarks import Face
from sdk_reference.pair import exposure_ratio
from sdk_reference.quality import background_region
from training.look_pair import DARK, MIN_PIXELS, AlignedPair, aligned_light
from training.look_regions import REGIONS, SIZE, SKIN, Mask, region_masks, skin_mask
from training.look_texture import CLIPPED, highlights, noise_levels, sharpness, texture

PRIMARIES = ("red", "green", "blue")


def measure(pair: AlignedPair) -> dict[str, float]:
    """Return every statistic of a pair by name; NaN where the pair cannot tell."""
    return {
        "face width in the photograph, px": pair.face_width_px,
        "exposure, lit over dark": pair.exposure,
        "background, lit over dark, not equalised": pair.background,
        "motion between the photographs, face widths": pair.motion,
        **flash_ratios(pair),
        **colour_shift(pair),
        **sharpness(pair),
        **noise_levels(pair),
        **highlights(pair),
        **tones(pair),
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


def tones(pair: AlignedPair) -> dict[str, float]:
    """Median luminance of each region over the skin's, in both photographs, fine texture of skin, colour of lips."""
    found: dict[str, float] = {}
    for name, picture in {"dark": pair.dark, "lit": pair.lit}.items():
        luminance = relative_luminance(picture)
        level = _median(luminance, pair.skin)
        found |= {
            f"tone of {region} over skin, {name}": _median(luminance, pair.regions[region]) / level
            for region in REGIONS
        }
    fine = {f"texture of {region}, lit": texture(pair.lit, pair.regions[region]) for region in SKIN}
    lips, skin = (np.median(pair.lit[mask], axis=0) for mask in (pair.regions["lips"], pair.skin))
    redness = float((lips[0] / lips[1]) / (skin[0] / skin[1])) if min(*lips[:2], *skin[:2]) > DARK else np.nan
    return found | fine | {"redness of lips over skin": redness}


def _median(luminance: npt.NDArray[np.float32], region: Mask) -> float:
    """Median of a region; NaN when it is too small or too dark to be divided by."""
    value = float(np.median(luminance[region])) if region.sum() >= MIN_PIXELS else np.nan
    return value if value > DARK else np.nan


def surroundings(pair: AlignedPair) -> dict[str, float]:
    """Brightness of skin and background, and what of the screen's light reaches the background."""
    behind, skin = background_region(), pair.skin
    dark, added = relative_luminance(pair.dark), relative_luminance(pair.difference)
    on_skin, light = float(added[skin].mean()), float(dark[skin].mean())
    return {
        "background over skin, dark": float(dark[behind].mean()) / light if light > DARK else np.nan,
        "background over skin, difference": float(added[behind].mean()) / on_skin if on_skin > DARK else np.nan,
        "skin in lit photograph": float(relative_luminance(pair.lit)[skin].mean()),
    }


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
