"""Augmentation: other poses, exposures and cameras for the captures we have.

Everything is drawn once per CAPTURE and done to all its frames alike, before the difference D: what is drawn per frame
would itself be a difference, and the model would learn the augmentation. Two things do differ between the frames of a
real capture whatever is photographed, and they alone are drawn per frame, from one distribution for all classes: sensor
noise, and the fraction of a pixel by which landmarks misplace a frame. The paper states no augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import linear_to_srgb, srgb8_to_linear
from training.errors import require_range

Aligned = npt.NDArray[np.uint8]
DepthLabel = npt.NDArray[np.float32]
NOISE_OFFSETS = 65_536  # places on the sheet of noise at which a frame's noise may begin
LEVELS = np.arange(256, dtype=np.uint8)
TRUNCATION = 2.0  # registration errors are drawn within ± two standard deviations


@dataclass(frozen=True)
class AugmentSettings:
    """How far captures are changed; all zeros change nothing."""

    flip_share: float = 0.5
    """Share of captures that are mirrored."""
    exposure_stops: float = 0.35
    """Exposure changes by up to ± this many stops, in linear light."""
    cast: float = 0.08
    """Each colour channel's gain deviates from the others by up to ± this part, in linear light."""
    rotation_deg: float = 3.0
    """In-plane rotation of the crop, up to ±."""
    scale: float = 0.03
    """Zoom of the crop, up to ± this part."""
    shift_px: float = 4.0
    """Shift of the crop along each axis, up to ± pixels of the aligned 256."""
    registration_px: float = 0.1
    """Standard deviation of a frame's misplacement along each axis in pixels; never beyond twice this."""
    noise_levels: float = 0.5
    """Standard deviation of the sensor noise in 8-bit levels, drawn per capture from 0 to this."""
    relit_share: float = 0.75
    """Share of draws that are photographed anew where a capture's layers are kept (`training.relight`)."""
    photograph_serves: int = 1
    """Relit captures: how many draws of a capture share a photograph (`training.photographs`); on a GPU, where a
    photograph costs next to nothing, each draw has its own."""
    ambient_stops: float = 0.7
    """Relit captures: the room's light changes by up to ± this many stops."""
    relit_registration_px: float = 0.12
    """Relit captures: standard deviation of a frame's misplacement, as registration leaves it (docs/log.md)."""
    relit_saturation: float = 0.0
    """Relit captures: the camera saturates colours by 0.8 up to this; 0 leaves the phone's own. This and the looks that
    follow are off here; `WIDE` has them all."""
    room_tint: float = 0.0
    """Relit captures: standard deviation of the logarithm of the room's red and blue light."""
    chroma_contrast: float = 0.0
    """Relit captures: the colour pattern of faces and artefacts is up to exp(± this) times as strong."""
    shading_contrast: float = 0.0
    """Relit captures: the screen's slow shading of them is up to exp(± this) times as strong."""
    blotches: float = 0.0
    """Relit captures: scale of the strength of blotches that tint and shade what stands there, in log light."""
    background_share: float = 0.0
    """Relit captures: share that gets another background (`training.relit_looks`)."""
    blended_share: float = 0.0
    """Relit captures: share that is blended of two photographs, as `sdk_reference.pair` does with real ones."""

    def __post_init__(self) -> None:
        require_range("flip_share", self.flip_share, 0.0, 1.0)
        require_range("exposure_stops", self.exposure_stops, 0.0, 3.0)
        require_range("cast", self.cast, 0.0, 0.5)
        require_range("rotation_deg", self.rotation_deg, 0.0, 45.0)
        require_range("scale", self.scale, 0.0, 0.5)
        require_range("shift_px", self.shift_px, 0.0, 64.0)
        require_range("registration_px", self.registration_px, 0.0, 4.0)
        require_range("noise_levels", self.noise_levels, 0.0, 32.0)
        require_range("relit_share", self.relit_share, 0.0, 1.0)
        require_range("photograph_serves", self.photograph_serves, 1, 100)
        require_range("ambient_stops", self.ambient_stops, 0.0, 4.0)
        require_range("relit_registration_px", self.relit_registration_px, 0.0, 4.0)
        require_range("relit_saturation", self.relit_saturation, 0.0, 4.0)
        require_range("room_tint", self.room_tint, 0.0, 1.0)
        require_range("chroma_contrast", self.chroma_contrast, 0.0, 2.0)
        require_range("shading_contrast", self.shading_contrast, 0.0, 2.0)
        require_range("blotches", self.blotches, 0.0, 1.0)
        require_range("background_share", self.background_share, 0.0, 1.0)
        require_range("blended_share", self.blended_share, 0.0, 1.0)


_NOTHING: dict[str, Any] = {field.name: 0.0 for field in fields(AugmentSettings) if field.name != "photograph_serves"}
NO_AUGMENTATION = AugmentSettings(**_NOTHING)
WIDE = AugmentSettings(
    relit_share=1.0,
    relit_saturation=2.0,
    room_tint=0.15,
    chroma_contrast=0.45,
    shading_contrast=0.5,
    blotches=0.08,
    background_share=0.5,
    blended_share=0.4,
)
"""Every draw relit, with looks wider than what is simulated, in what a real face's score was found to hang on
(docs/log.md)."""
PATCHY = replace(WIDE, blotches=0.16)
"""Twice the blotches of `WIDE`: an epoch with them brought a real face, which a pretraining had lost, most of the way
back (docs/log.md)."""
LOOKS = {"simulated": AugmentSettings(), "wide": WIDE, "patchy": PATCHY}
"""By the name that `flashproof train --looks` and `training.pretrain --looks` take."""


def augment(
    aligned: Aligned, depth: DepthLabel, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Aligned, DepthLabel]:
    """Return a changed copy of a capture and its depth label.

    `aligned` is (N0, 3, S, S) uint8 RGB, `depth` (s, s) float32 0..1 of the same field of view; shapes and types stay.
    """
    n_frames, _, side, _ = aligned.shape
    crop = draw_crop(settings, rng, side)
    shifts = draw_registration(settings, rng, n_frames)
    table = draw_exposure_table(settings, rng)
    frames = [_place(frame, crop, shift) for frame, shift in zip(aligned, shifts, strict=True)]
    lit = np.stack([cv2.LUT(frame, table) for frame in frames])
    noisy = add_noise(lit, rng.uniform(0.0, settings.noise_levels), rng)
    return np.ascontiguousarray(noisy.transpose(0, 3, 1, 2)), place_depth(depth, crop, side)


def draw_crop(settings: AugmentSettings, rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    """Return the (2, 3) affine, in pixels of a side × side frame, that all frames of a capture share."""
    angle, zoom, shift_x, shift_y = rng.uniform(-1.0, 1.0, 4)
    centre = (side - 1) / 2.0
    degrees, factor = angle * settings.rotation_deg, 1.0 + zoom * settings.scale
    affine: npt.NDArray[np.float64] = cv2.getRotationMatrix2D((centre, centre), degrees, factor)
    affine[:, 2] += np.array([shift_x, shift_y]) * settings.shift_px
    if rng.random() < settings.flip_share:
        affine[:, 2] += affine[:, 0] * (side - 1)  # x becomes side − 1 − x before the rest is done
        affine[:, 0] *= -1.0
    return affine


def draw_registration(settings: AugmentSettings, rng: np.random.Generator, n_frames: int) -> npt.NDArray[np.float64]:
    """Return (n_frames, 2) shifts in pixels: what landmark noise does to the frames of any capture."""
    deviations = np.clip(rng.standard_normal((n_frames, 2)), -TRUNCATION, TRUNCATION)
    return deviations * settings.registration_px


def draw_exposure_table(settings: AugmentSettings, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return (1, 256, 3) uint8: the new level of each level and channel under another exposure and white balance."""
    stops = rng.uniform(-settings.exposure_stops, settings.exposure_stops)
    gains = 2.0**stops * (1.0 + rng.uniform(-settings.cast, settings.cast, 3))
    linear = np.clip(srgb8_to_linear(LEVELS)[:, None] * gains, 0.0, 1.0)
    return np.asarray(np.rint(linear_to_srgb(linear) * 255.0), np.uint8)[None]


def add_noise(frames: Aligned, sigma: float, rng: np.random.Generator) -> Aligned:
    """Return the (N0, S, S, 3) frames with Gaussian noise of `sigma` 8-bit levels, independent in every pixel.

    Frames take their noise from different places of one sheet, which costs a quarter of drawing each anew: at any one
    pixel the frames' noise is independent all the same, and that is what differences are made of.
    """
    if sigma <= 0.0:
        return frames
    values = frames[0].size
    sheet = np.rint(rng.standard_normal(values + NOISE_OFFSETS, dtype=np.float32) * np.float32(sigma)).astype(np.int16)
    starts = rng.choice(NOISE_OFFSETS, len(frames), replace=False)
    pieces = [sheet[start : start + values].reshape(frames[0].shape) for start in starts]
    return np.stack([cv2.add(frame, piece, dtype=cv2.CV_8U) for frame, piece in zip(frames, pieces, strict=True)])


def place_depth(depth: DepthLabel, crop: npt.NDArray[np.float64], side: int) -> DepthLabel:
    """Return the depth label moved as `crop` moves the side × side frames; the edge is repeated outwards."""
    size = len(depth)
    block = side / size
    smaller = crop.copy()
    half = (block - 1.0) / 2.0  # label pixel u has its centre at frame pixel block·u + half
    smaller[:, 2] = (crop[:, :2] @ np.array([half, half]) + crop[:, 2] - half) / block
    moved = cv2.warpAffine(depth, smaller, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _place(frame: Aligned, crop: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]) -> Aligned:
    """(3, S, S) → (S, S, 3), cropped and misplaced in one interpolation."""
    affine = crop.copy()
    affine[:, 2] += shift
    side = frame.shape[-1]
    whole = np.ascontiguousarray(frame.transpose(1, 2, 0))
    if np.array_equal(affine, np.eye(2, 3)):
        return whole
    placed = cv2.warpAffine(whole, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(placed, np.uint8)
