"""Is a capture good enough to judge? Measured from the frames themselves, before any verdict (not in the paper).

Flash-based checks fail in bright light, in motion and when overexposed; a phone must then ask for another try instead
of guessing. All light is linear; everything is measured on aligned frames. The default limits are provisional: they
will be set from data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance
from sdk_reference.align import TEMPLATE, map_points
from sdk_reference.capture import Capture
from sdk_reference.errors import FaceTooSmall, FlashTooWeak, LightChanged, Moved, Overexposed, UserFailure
from sdk_reference.preprocess import Preprocessed

CLIPPED_LEVEL = 253  # bytes: resampling may lower 255 by a step or two
DARK_LEVEL = 5  # bytes: below, ratios are noise
NOISE_FLOOR = 5e-4  # linear light: about the rounding to 8 bits on a face in dim light
AMBIENT_FLOOR = 1e-4
NOISE_SCALE = 2  # noise is measured on 2×2 means: finer, resampling has smoothed it away
SMOOTHING = 5  # side of the box whose mean counts as the picture without noise
RESIDUAL_SHARE = 1 - 1 / SMOOTHING**2  # of white noise's variance that is left after subtracting that mean
NOISE_REGION = 0.9  # of the ellipse: the edge between face and background is no noise
MAD_TO_SIGMA = 1.4826  # for a normal distribution
BACKGROUND_GROW = 1.35  # the face's ellipse, hair included
MIN_BACKGROUND_PIXELS = 500


@dataclass(frozen=True)
class QualityLimits:
    """Beyond these a capture is not judged. Provisional, and on the lenient side."""

    min_flash_snr: float = 3.0
    """Screen light on the face over its pixel noise."""
    min_flash_to_ambient: float = 0.03
    """Screen light over ambient light on the face; about 700 lux for a phone at arm's length."""
    max_motion_px: float = 24.0
    """Movement between any two frames in template pixels; a face is 190 high."""
    max_clipped_fraction: float = 0.25
    """Part of the face that is clipped in the brightest frame."""
    max_exposure_drop: float = 0.6
    """Share of the background's light that is lost within the capture: the camera's exposure gave way to the screen, or
    a lamp went out. A background that gets brighter is lit by the screen and says nothing."""
    min_face_width_px: float = 64.0
    """Width of the face in the frame."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"found {name} {value!r}; expected a finite number from 0 on")


@dataclass(frozen=True)
class Quality:
    """What was measured; all finite."""

    flash_snr: float
    """Mean over the face of (brightest − darkest) luminance, over the noise of that difference (one 2×2 mean)."""
    flash_to_ambient: float
    """The same difference over the darkest frame's luminance; a lower bound of screen over ambient, as the darkest
    screen may still give light."""
    motion_px: float
    """Largest displacement of the face between two frames (root mean square over landmarks), template pixels."""
    clipped_fraction: float
    """Part 0..1 of the face with a channel at its end in the frame of rank 0."""
    face_width_px: float
    """Narrowest face of all frames, in pixels of the frame."""
    exposure_drift: float
    """Largest relative change of the background's light against the darkest frame, −1 … ∞; negative when the camera
    lowered its exposure. 0 when there is too little usable background to tell."""


def measure_quality(preprocessed: Preprocessed, capture: Capture) -> Quality:
    """Measure a preprocessed capture."""
    luminance = relative_luminance(np.moveaxis(preprocessed.linear, 1, -1)).astype(np.float32)
    flash_snr, flash_to_ambient = flash_strength(luminance[0], luminance[-1])
    return Quality(
        flash_snr=flash_snr,
        flash_to_ambient=flash_to_ambient,
        motion_px=_motion(preprocessed),
        clipped_fraction=clipped_fraction(preprocessed.aligned_u8[0]),
        face_width_px=min(face.width for face in preprocessed.faces),
        exposure_drift=_exposure_drift(preprocessed.aligned_u8, luminance),
    )


def flash_strength(bright: npt.NDArray[np.float32], dark: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return `flash_snr` and `flash_to_ambient` of two aligned (256,256) frames in linear luminance, 0..1."""
    face = TEMPLATE.face_region()
    difference = bright - dark
    signal = float(difference[face].mean())
    return signal / _noise(difference), signal / max(float(dark[face].mean()), AMBIENT_FLOOR)


def clipped_fraction(aligned_u8: npt.NDArray[np.uint8]) -> float:
    """Part 0..1 of the face of an aligned (3,256,256) frame that has a channel at its end."""
    return float((aligned_u8[:, TEMPLATE.face_region()] >= CLIPPED_LEVEL).any(axis=0).mean())


def failures(quality: Quality, limits: QualityLimits) -> list[UserFailure]:
    """Return every limit that `quality` misses as the failure that tells the person what to do; none when all is well.

    A value that is not a number misses its limit.
    """
    found: list[UserFailure] = []
    if not quality.face_width_px >= limits.min_face_width_px:
        found.append(
            FaceTooSmall(
                found=f"a face {quality.face_width_px:.0f} pixels wide",
                expected=f"at least {limits.min_face_width_px:.0f}",
                remedy="come closer to the camera",
            )
        )
    if not quality.motion_px <= limits.max_motion_px:
        found.append(
            Moved(
                found=f"a movement of {quality.motion_px:.1f} template pixels",
                expected=f"at most {limits.max_motion_px:.3g}",
                remedy="hold the phone and your head still while the screen flashes",
            )
        )
    if not quality.clipped_fraction <= limits.max_clipped_fraction:
        found.append(
            Overexposed(
                found=f"{quality.clipped_fraction:.0%} of the face overexposed",
                expected=f"at most {limits.max_clipped_fraction:.0%}",
                remedy="turn away from the strong light",
            )
        )
    if not -quality.exposure_drift <= limits.max_exposure_drop:
        found.append(
            LightChanged(
                found=f"background light that changed by {quality.exposure_drift:+.0%}",
                expected=f"a loss of at most {limits.max_exposure_drop:.0%}",
                remedy="lock the camera's exposure, stay away from lights that change, and try again",
            )
        )
    return found + _flash_failures(quality, limits)


def _flash_failures(quality: Quality, limits: QualityLimits) -> list[UserFailure]:
    remedy = "go where it is darker, come closer and set the screen to full brightness"
    if not quality.flash_to_ambient >= limits.min_flash_to_ambient:
        found = f"screen light of {quality.flash_to_ambient:.3f} times the ambient light"
        return [FlashTooWeak(found=found, expected=f"at least {limits.min_flash_to_ambient:.3g}", remedy=remedy)]
    if not quality.flash_snr >= limits.min_flash_snr:
        found = f"screen light of {quality.flash_snr:.1f} times the noise"
        return [FlashTooWeak(found=found, expected=f"at least {limits.min_flash_snr:.3g}", remedy=remedy)]
    return []


def _noise(difference: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the noise of a (256,256) luminance difference on the face, per 2×2 mean, robustly."""
    size = len(difference) // NOISE_SCALE
    small = cv2.resize(difference, (size, size), interpolation=cv2.INTER_AREA)
    residual = (small - cv2.blur(small, (SMOOTHING, SMOOTHING)))[TEMPLATE.face_region(size, NOISE_REGION)]
    deviation = np.median(np.abs(residual - np.median(residual)))
    return max(float(MAD_TO_SIGMA * deviation / np.sqrt(RESIDUAL_SHARE)), NOISE_FLOOR)


def _motion(preprocessed: Preprocessed) -> float:
    indices = list(TEMPLATE.indices)
    reference = preprocessed.affines[0]
    placed = [map_points(face.points[indices].astype(np.float64), reference) for face in preprocessed.faces]
    return max(float(np.sqrt(((a - b) ** 2).sum(axis=1).mean())) for a, b in combinations(placed, 2))


def background_region(size: int = TEMPLATE.size) -> npt.NDArray[np.bool_]:
    """Return the (size,size) mask of what is no face, hair or shoulder: above the mouth, beside the ellipse."""
    mask = ~TEMPLATE.face_region(size, grow=BACKGROUND_GROW)
    mask[int(TEMPLATE.ellipse_centre[1]) * size // TEMPLATE.size :] = False
    return mask


def _exposure_drift(aligned_u8: npt.NDArray[np.uint8], luminance: npt.NDArray[np.float32]) -> float:
    within = (aligned_u8 >= DARK_LEVEL).all(axis=(0, 1)) & (aligned_u8 < CLIPPED_LEVEL).all(axis=(0, 1))
    usable = background_region() & within
    if usable.sum() < MIN_BACKGROUND_PIXELS:
        return 0.0
    ratios = np.median(luminance[:, usable] / luminance[-1, usable], axis=1) - 1
    return float(ratios[np.argmax(np.abs(ratios))])
