"""A whole capture from two photographs, one without and one with white screen light (not in the paper).

Light adds up: with b and f in linear light, a screen of linear colour s would have given b + s ⊙ (f − b). So a pair of
photographs answers any plan, which is how real photographs enter tests and how a phone without a flash app can be
tried. Two things must be mended first. The head has moved between the two: the background photograph is brought onto
the flash photograph by the landmarks of the face. And the camera lowers its exposure when the screen lights up: the
background tells by how much, and the photograph without light is darkened by that factor, so that nothing clips.

Weaknesses: all frames share the noise of two photographs; away from the face the two do not fit exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import linear_to_srgb, relative_luminance, srgb8_to_linear
from flash_sequencer.plan import FlashPlan
from sdk_reference import images
from sdk_reference.align import TEMPLATE, Affine, estimate_affine, fit_affine, map_points, resample
from sdk_reference.capture import Capture, Labels
from sdk_reference.landmarks import Face, LandmarkDetector, find_single_face

CROP_SIZE = 512  # pixels of the frames made; the aligned face is half as fine
CROP_FACE_HEIGHTS = 1.6  # side of the crop in heights of the face: room for background
DARK_LEVEL, BRIGHT_LEVEL = 0.003, 0.9  # linear light: below noise rules, above the camera clips
FACE_GROW = 1.3  # the ellipse of the face, hair included
MIN_BACKGROUND_SHARE = 0.02  # of the crop: fewer usable pixels say nothing
PLAUSIBLE_RATIO = (0.5, 1.0)  # a camera lowers its exposure for a bright screen, it never raises it
FIRST_TIMESTAMP_NS = 0
NS_PER_MS = 1_000_000

read_image = images.read_image

LinearImage = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BlendedPair:
    """A capture made of a pair, and what was measured on the way."""

    capture: Capture
    exposure_ratio: float | None
    """Exposure of the flash photograph over that of the other; None when the background does not tell (1 was used)."""
    background_affine: Affine
    """(2,3) float64: pixels of the background photograph → pixels of the frames."""
    flash_affine: Affine
    """The same for the flash photograph."""


def capture_from_pair(
    background_rgb: npt.NDArray[np.uint8],
    flash_rgb: npt.NDArray[np.uint8],
    plan: FlashPlan,
    detector: LandmarkDetector,
    labels: Labels | None = None,
) -> Capture:
    """Return the capture that `plan` would have given; see `blend_pair`, which also tells what was measured."""
    return blend_pair(background_rgb, flash_rgb, plan, detector, labels).capture


def blend_pair(
    background_rgb: npt.NDArray[np.uint8],
    flash_rgb: npt.NDArray[np.uint8],
    plan: FlashPlan,
    detector: LandmarkDetector,
    labels: Labels | None = None,
) -> BlendedPair:
    """Blend two HWC uint8 RGB photographs, of any sizes, into frames of 512×512 pixels around the face.

    A screen of full white gives the flash photograph, a black one the other at the same exposure. Timestamps follow the
    plan's durations. Raises a UserFailure when a photograph does not show exactly one usable face.
    """
    background_face = find_single_face(detector.detect(background_rgb), background_rgb.shape)
    flash_face = find_single_face(detector.detect(flash_rgb), flash_rgb.shape)
    to_crop = _crop_around(flash_face, flash_rgb.shape)
    background_to_crop = _through_landmarks(background_face, flash_face, to_crop)
    background = resample(srgb8_to_linear(background_rgb), background_to_crop, CROP_SIZE)
    flash = resample(srgb8_to_linear(flash_rgb), to_crop, CROP_SIZE)
    ratio = exposure_ratio(background, flash, _background_mask(flash_face, to_crop))
    frames = relight(background * np.float32(1.0 if ratio is None else ratio), flash, plan)
    capture = Capture(frames, _timestamps(plan), plan, labels or Labels(simulated=False))
    return BlendedPair(capture, ratio, background_to_crop, to_crop)


def relight(background: LinearImage, flash: LinearImage, plan: FlashPlan) -> npt.NDArray[np.uint8]:
    """Return (N0,H,W,3) uint8 sRGB frames by rank from two (H,W,3) linear images: b + s ⊙ (f − b), clipped to 0..1.

    Screen colours lie in 0..1, so that each frame is a mean of the two images and cannot fall below 0.
    """
    colours = np.asarray(plan.colours_linear(), dtype=np.float32)
    frames = [background + colour * (flash - background) for colour in colours]
    encoded = linear_to_srgb(np.clip(np.stack(frames), 0, 1))
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def exposure_ratio(background: LinearImage, flash: LinearImage, region: npt.NDArray[np.bool_]) -> float | None:
    """Return how much of the background's light is left in the flash photograph: the median ratio of luminances.

    Images are (H,W,3) linear, `region` (H,W) marks background. Pixels that are dark or near clipping in either image
    are left out. None when too few are left, or when the ratio is no lowered exposure: a background that got *brighter*
    was lit by the screen (a wall close by, the paper of a print) and says nothing.
    """
    both = np.stack([background, flash])
    usable = region & (both > DARK_LEVEL).all(axis=(0, 3)) & (both < BRIGHT_LEVEL).all(axis=(0, 3))
    if usable.mean() < MIN_BACKGROUND_SHARE:
        return None
    ratio = float(np.median(relative_luminance(flash[usable]) / relative_luminance(background[usable])))
    lowest, highest = PLAUSIBLE_RATIO
    return ratio if lowest <= ratio <= highest else None


def _crop_around(face: Face, frame_shape: tuple[int, ...]) -> Affine:
    """Return the map of a square around the face, kept inside the photograph, to 512×512 pixels."""
    height, width = frame_shape[:2]
    left, top, right, bottom = face.bounds
    side = min(CROP_FACE_HEIGHTS * (bottom - top), width, height)
    corner_x = np.clip((left + right - side) / 2, 0, width - side)
    corner_y = np.clip((top + bottom - side) / 2, 0, height - side)
    scale = CROP_SIZE / side
    return np.array([[scale, 0, -scale * corner_x], [0, scale, -scale * corner_y]])


def _through_landmarks(background: Face, flash: Face, to_crop: Affine) -> Affine:
    """Return the least-squares map of the background photograph to the crop that lays face on face."""
    indices = list(TEMPLATE.indices)
    return fit_affine(background.points[indices], map_points(flash.points[indices], to_crop))


def _background_mask(face: Face, to_crop: Affine) -> npt.NDArray[np.bool_]:
    """Return the (512,512) mask of what is neither face nor hair nor, below the eyes' level, neck and shoulders."""
    to_template = estimate_affine(map_points(face.points, to_crop))
    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    places = map_points(np.stack([columns, rows], axis=-1), to_template)
    offset = (places - TEMPLATE.ellipse_centre) / (np.array(TEMPLATE.ellipse_semi_axes) * FACE_GROW)
    return np.asarray(((offset**2).sum(axis=-1) > 1) & (offset[..., 1] < 0))


def _timestamps(plan: FlashPlan) -> tuple[int, ...]:
    """Return the middle of each step by rank, in ns, as if the plan had been shown from time 0 on."""
    middles, start_ns = {}, FIRST_TIMESTAMP_NS
    for step in plan.steps:
        middles[step.rank] = start_ns + step.duration_ms * NS_PER_MS // 2
        start_ns += step.duration_ms * NS_PER_MS
    return tuple(middles[rank] for rank in range(plan.n0))


def read_pair(background: str | Path, flash: str | Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read both photographs as HWC uint8 RGB; raises as `read_image`."""
    return read_image(background), read_image(flash)
