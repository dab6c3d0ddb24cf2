"""The only way from a capture to the model's input; training uses these functions, too (paper, section 5.1).

What a phone must do, in this order, to the N0 frames of a capture:

1. find 468 landmarks on *every* frame (`sdk_reference.landmarks`), fit each frame's affine map to the template
   (`sdk_reference.align`), correct the maps by what the frames show (`sdk_reference.registration`), resample to
   256×256 RGB bytes;
2. undo the sRGB curve, each byte by a table of 256 floats (the paper subtracts as is; but only in linear light does the
   ambient term of I = k_a·I_a + k_d·I_d·cosθ cancel);
3. average blocks of pixels down to S×S (mean, not a sample);
4. subtract by the rows of D (`sdk_reference.differential`);
5. multiply the whole capture by one gain: 0.25 over the mean absolute difference inside the template's face ellipse,
   all rows and channels together, but never more than 16;
6. clip to −1..1.

The gain makes captures comparable whatever the screen's power, the skin and the exposure. Its limit keeps silence
silent: camera noise alone has a mean absolute difference of about 0.002 in linear light after averaging and would,
without a limit, be blown up to look like a signal. With 16, differences reach the target from 0.016 on, and noise stays
at an eighth of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import srgb8_to_linear
from sdk_reference.align import TEMPLATE, Affine, align, compose, estimate_affine
from sdk_reference.capture import Capture
from sdk_reference.differential import MIN_N0, differential
from sdk_reference.landmarks import Face, LandmarkDetector, find_single_face
from sdk_reference.registration import corrections

Transfer = Literal["linear", "encoded"]
Gain = Literal["none", "face_mean_abs"]
Registration = Literal["none", "detail"]

GAIN_TARGET = 0.25  # mean absolute input on the face: room for highlights four times as strong before they clip
GAIN_LIMIT = 16.0
INPUT_SIDE_STEP = 4  # the network halves its input twice
BYTE_LEVELS = 256


@dataclass(frozen=True)
class PreprocessSettings:
    """How aligned frames become the model's input; stands in the manifest. Raises ValueError for impossible values."""

    aligned_size: int = TEMPLATE.size
    """Side of the aligned frames in pixels; must be the template's."""
    input_size: int = 128
    """Side S of the model's input; a multiple of 4."""
    registration: Registration = "detail"
    """`detail`: landmark maps are corrected by the frames' own detail (`sdk_reference.registration`); `none`: not."""
    transfer: Transfer = "linear"
    """`linear`: the sRGB curve is undone before averaging and differences; `encoded`: bytes over 255."""
    gain: Gain = "face_mean_abs"
    """`face_mean_abs`: one factor per capture; `none`: 1."""
    gain_target: float = GAIN_TARGET
    """Mean absolute difference on the face after the gain."""
    gain_limit: float = GAIN_LIMIT
    """Largest factor allowed."""

    def __post_init__(self) -> None:
        if self.aligned_size != TEMPLATE.size:
            raise ValueError(f"found aligned_size {self.aligned_size!r}; expected {TEMPLATE.size}, the template's")
        size = self.input_size
        if not isinstance(size, int) or not INPUT_SIDE_STEP <= size <= self.aligned_size or size % INPUT_SIDE_STEP:
            raise ValueError(f"found input_size {size!r}; expected a multiple of {INPUT_SIDE_STEP} up to 256")
        if self.transfer not in get_args(Transfer) or self.gain not in get_args(Gain):
            raise ValueError(f"found {self.transfer!r}, {self.gain!r}; expected {get_args(Transfer)}, {get_args(Gain)}")
        if self.registration not in get_args(Registration):
            raise ValueError(f"found registration {self.registration!r}; expected one of {get_args(Registration)}")
        if not (0 < self.gain_target <= 1 and 0 < self.gain_limit < float("inf")):
            raise ValueError(
                f"found gain_target {self.gain_target}, limit {self.gain_limit}; expected 0..1 and above 0"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PreprocessSettings:
        """Rebuild from `to_dict`; every field must be there and no other. Raises ValueError."""
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"found the settings {sorted(values)}; expected exactly {sorted(known)}")
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A capture on its way to the model, every stage."""

    faces: tuple[Face, ...]
    """The face in each frame, by rank."""
    affines: npt.NDArray[np.float64]
    """(N0,2,3) float64: frame pixels → template pixels."""
    aligned_u8: npt.NDArray[np.uint8]
    """(N0,3,256,256) uint8 RGB, sRGB-coded."""
    model_input: npt.NDArray[np.float32]
    """(N,3,S,S) float32 in −1..1."""
    gain: float
    """The factor applied to this capture's differences."""
    settings: PreprocessSettings

    @cached_property
    def aligned(self) -> npt.NDArray[np.float32]:
        """(N0,3,256,256) float32 RGB in 0..1, sRGB-coded."""
        return _lookup(self.aligned_u8, "encoded")

    @cached_property
    def linear(self) -> npt.NDArray[np.float32]:
        """(N0,3,256,256) float32 RGB in 0..1, linear light."""
        return _lookup(self.aligned_u8, "linear")

    @cached_property
    def differential(self) -> npt.NDArray[np.float32]:
        """(N,3,256,256) float32 in −1..1: D in linear light at full size, without gain."""
        return differential(self.linear)


def preprocess(
    capture: Capture, detector: LandmarkDetector, settings: PreprocessSettings | None = None
) -> Preprocessed:
    """Take a capture all the way to the model's input.

    Raises a UserFailure when a frame does not show exactly one usable face.
    """
    settings = settings or PreprocessSettings()
    faces = tuple(find_single_face(detector.detect(frame), frame.shape) for frame in capture.frames)
    affines = registered_affines(capture.frames, landmark_affines(faces), settings)
    aligned = align_frames(capture.frames, affines)
    model_input, gain = scaled_differences(aligned, settings)
    return Preprocessed(
        faces=faces, affines=affines, aligned_u8=aligned, model_input=model_input, gain=gain, settings=settings
    )


def landmark_affines(faces: Sequence[Face]) -> Affine:
    """Return (N0,2,3) float64: the maps to the template that the landmarks alone give. Raises as `estimate_affine`."""
    return np.stack([estimate_affine(face.points) for face in faces])


def registered_affines(frames: npt.NDArray[np.uint8], affines: Affine, settings: PreprocessSettings) -> Affine:
    """Return the (N0,2,3) maps of (N0,H,W,3) frames, corrected by what the frames show where `settings` say so."""
    if settings.registration == "none":
        return affines
    fixes = corrections(align_frames(frames, affines))
    return np.stack([compose(fix, affine) for fix, affine in zip(fixes, affines, strict=True)])


def align_frames(frames: npt.NDArray[np.uint8], affines: Affine) -> npt.NDArray[np.uint8]:
    """Resample (N0,H,W,3) uint8 frames by their (N0,2,3) maps → (N0,3,256,256) uint8."""
    aligned = [align(frame, affine) for frame, affine in zip(frames, affines, strict=True)]
    return np.ascontiguousarray(np.stack(aligned).transpose(0, 3, 1, 2))


def aligned_to_input(aligned_u8: npt.NDArray[np.uint8], settings: PreprocessSettings) -> npt.NDArray[np.float32]:
    """Aligned frames (N0,3,256,256) uint8 RGB → the model's input (2·(N0−2),3,S,S) float32 in −1..1."""
    return scaled_differences(aligned_u8, settings)[0]


def scaled_differences(
    aligned_u8: npt.NDArray[np.uint8], settings: PreprocessSettings
) -> tuple[npt.NDArray[np.float32], float]:
    """Return `(model input, gain)`; `aligned_to_input` is the first of them. Raises ValueError for another shape."""
    side = settings.aligned_size
    if aligned_u8.dtype != np.uint8 or aligned_u8.shape[1:] != (3, side, side) or len(aligned_u8) < MIN_N0:
        raise ValueError(f"found {aligned_u8.shape} {aligned_u8.dtype}; expected (N0, 3, {side}, {side}) uint8, N0 ≥ 3")
    averaged = _area_average(_lookup(aligned_u8, settings.transfer), settings.input_size)
    differences = differential(averaged)
    gain = _gain(differences, settings)
    np.multiply(differences, np.float32(gain), out=differences)
    np.clip(differences, -1, 1, out=differences)
    return differences, gain


def _gain(differences: npt.NDArray[np.float32], settings: PreprocessSettings) -> float:
    if settings.gain == "none":
        return 1.0
    on_face = differences[:, :, _face_region(settings.input_size)]
    mean = float(np.abs(on_face).mean(dtype=np.float64))
    return min(settings.gain_target / mean, settings.gain_limit) if mean > 0 else settings.gain_limit


@lru_cache(maxsize=8)
def _face_region(size: int) -> npt.NDArray[np.bool_]:
    region = TEMPLATE.face_region(size)
    region.setflags(write=False)  # shared by all callers
    return region


@lru_cache(maxsize=2)
def _table(transfer: Transfer) -> npt.NDArray[np.float32]:
    levels = np.arange(BYTE_LEVELS, dtype=np.uint8)
    table = srgb8_to_linear(levels) if transfer == "linear" else levels / np.float32(BYTE_LEVELS - 1)
    return np.asarray(table, dtype=np.float32).reshape(1, BYTE_LEVELS)


def _lookup(values: npt.NDArray[np.uint8], transfer: Transfer) -> npt.NDArray[np.float32]:
    # OpenCV's table lookup wants an image: all planes stacked into one tall grey picture
    tall = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
    return np.asarray(cv2.LUT(tall, _table(transfer)), dtype=np.float32).reshape(values.shape)


def _area_average(planes: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Average (N0,3,A,A) down to (N0,3,S,S), each output pixel the mean of the area that it covers."""
    count, channels, side, _ = planes.shape
    if side == size:
        return planes
    if side % size == 0:  # blocks do not reach across planes: one call for all
        tall = cv2.resize(planes.reshape(-1, side), (size, count * channels * size), interpolation=cv2.INTER_AREA)
        return np.asarray(tall, dtype=np.float32).reshape(count, channels, size, size)
    flat = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes.reshape(-1, side, side)]
    return np.asarray(np.stack(flat), dtype=np.float32).reshape(count, channels, size, size)
