"""From a film to a capture: which frame saw which colour, and how far the camera wandered meanwhile.

Not in the paper, which has one frame per colour. Works on thumbnails of the frames, laid into the alignment template
by the face found before the flash: their mean colours tell at what lag the frames follow the screen
(`flash_sequencer.lag`) and how the camera's gain moved (`flash_sequencer.drift`), and their detail which frame of a
step is the sharpest. A film that does not follow its plan, be it played in or too weak to be seen, ends here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import SRGB8_TO_LINEAR, relative_luminance, srgb8_to_linear
from flash_sequencer.drift import estimate_drift
from flash_sequencer.errors import MatchingError
from flash_sequencer.lag import LagEstimate, estimate_lag
from flash_sequencer.matching import Matching, match
from sdk_reference.align import TEMPLATE, Affine, estimate_affine
from sdk_reference.camera import CameraFrame
from sdk_reference.capture import Capture, Labels
from sdk_reference.compensation import compensated, factors_against, is_clear
from sdk_reference.continuity import Continuity, Image
from sdk_reference.errors import FlashNotSeen, StepMissed
from sdk_reference.flash_take import FlashTake
from sdk_reference.landmarks import Face
from sdk_reference.quality import CLIPPED_LEVEL, DARK_LEVEL, MIN_BACKGROUND_PIXELS, background_region
from sdk_reference.session_clock import NS_PER_MS

SETTLING_NS: Final = 20 * NS_PER_MS
"""At the start of each step, on top of the lag's uncertainty: a panel's pixels are still turning."""
THUMBNAIL: Final = 64
"""Pixels of the template's side: a mean needs no more, and a film has a hundred frames."""
DARK: Final = float(SRGB8_TO_LINEAR[DARK_LEVEL])
CLIPPED: Final = float(SRGB8_TO_LINEAR[CLIPPED_LEVEL])
MIN_BACKGROUND: Final = MIN_BACKGROUND_PIXELS * THUMBNAIL**2 // TEMPLATE.size**2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """The frames to judge, and how they were found."""

    take: FlashTake
    """The film, with all that came until the last step's frame was there."""
    capture: Capture
    matching: Matching
    lag: LagEstimate
    face_linear: Floats
    """(F,3): mean linear RGB of the face in every frame of the film."""
    drift: Floats
    """(F,3): gain of the camera in every frame of the film relative to the first, per channel."""
    factors: Floats | None
    """(N0,3): what the linear light of `capture`'s frames was multiplied by to undo the drift; None: as filmed."""
    settling_ns: int = SETTLING_NS


class FaceTrack:
    """Colour and sharpness of the face in every frame, measured as they come; under a millisecond each."""

    def __init__(self, face: Face) -> None:
        """`face` as it was found before the flash."""
        self._to_thumbnail = estimate_affine(face.points) * (THUMBNAIL / TEMPLATE.size)
        self.continuity = Continuity()
        self._means: list[Floats] = []
        self._background: list[Image] = []
        self.sharpness: list[float] = []
        """Per frame; larger is sharper."""

    def watch(self, frame: CameraFrame) -> Image:
        """See whether the face goes on in the next frame, which is not one of the film; returns its thumbnail."""
        thumbnail = _thumbnail(frame.image, self._to_thumbnail)
        self.continuity.see(thumbnail, _face_region())
        return thumbnail

    def see(self, frame: CameraFrame) -> None:
        """Measure the next frame of the film."""
        thumbnail = self.watch(frame)
        self._means.append(np.asarray(thumbnail[_face_region()].mean(axis=0), np.float64))
        self._background.append(thumbnail[_background_region()])
        self.sharpness.append(_sharpness(thumbnail))

    @property
    def means(self) -> Floats:
        """(F,3): mean linear RGB."""
        return np.array(self._means).reshape(-1, 3)

    @property
    def background(self) -> Floats | None:
        """(F,3): mean linear RGB of what is well exposed in every frame; None where that is too little.

        What lies beyond the frame is black, and so not well exposed.
        """
        pixels = np.array(self._background)
        usable = ((pixels >= DARK) & (pixels < CLIPPED)).all(axis=(0, 2))
        return pixels[:, usable].mean(axis=1, dtype=np.float64) if usable.sum() >= MIN_BACKGROUND else None


def choose_frames(
    take: FlashTake, track: FaceTrack, exposure_ns: int, labels: Labels | None = None, *, held: bool = False
) -> FrameChoice:
    """Choose one frame per step of the film, all of whose frames `track` has seen; `exposure_ns` is the longest.

    Where the camera's drift is clear, it is undone in the chosen frames, unless exposure and white balance were `held`.
    Raises FlashNotSeen and StepMissed.
    """
    timestamps_ns = [frame.timestamp_ns for frame in take.frames]
    lag = _lag(take, timestamps_ns, track.means, exposure_ns)
    try:
        matching = match(
            take.presented,
            timestamps_ns,
            exposure_ns=exposure_ns,
            lag_ns=lag.lag_ns,
            settling_ns=SETTLING_NS,
            uncertainty_ns=lag.uncertainty_ns,
            quality=track.sharpness,
        )
    except MatchingError as error:
        raise _step_missed(error) from error
    regions = [track.means] if track.background is None else [track.means, track.background]
    drift = estimate_drift(take.presented, timestamps_ns, regions, lag_ns=lag.lag_ns, exposure_ns=lag.exposure_ns)
    gains, capture = drift[list(matching.frame_index_by_rank)], _capture(take, matching, labels)
    factors = factors_against(gains) if is_clear(gains) and not held else None
    if factors is not None:
        capture = replace(capture, frames=compensated(capture.frames, factors))
    return FrameChoice(take, capture, matching, lag, track.means, drift, factors)


def _lag(take: FlashTake, timestamps_ns: Sequence[int], means: Floats, exposure_ns: int) -> LagEstimate:
    try:
        lag = estimate_lag(take.presented, timestamps_ns, means, exposure_ns=exposure_ns)
    except MatchingError as error:
        raise _step_missed(error) from error
    if lag.doubt is not None:
        raise FlashNotSeen(
            found=f"frames that do not follow the screen ({lag.doubt.value})",
            expected="a face that answers each colour in its turn",
            remedy="go where it is darker, come closer, hold still, and try again",
        )
    return lag


def _capture(take: FlashTake, matching: Matching, labels: Labels | None) -> Capture:
    chosen: list[CameraFrame] = [take.frames[index] for index in matching.frame_index_by_rank]
    return Capture(
        frames=np.stack([frame.image for frame in chosen]),
        timestamps_ns=tuple(frame.timestamp_ns for frame in chosen),
        plan=take.plan,
        labels=labels,
    )


def _step_missed(error: MatchingError) -> StepMissed:
    return StepMissed(
        found=f"a film in which a step has no frame of its own ({error})",
        expected="a frame for every colour",
        remedy="close other programs that use the camera or the processor, and try again",
    )


def _thumbnail(image: npt.NDArray[np.uint8], to_thumbnail: Affine) -> Image:
    """(64,64,3) float32, linear light; smoothed before, since interpolation skips pixels of a much finer frame."""
    pixels = 1.0 / float(np.sqrt(abs(np.linalg.det(to_thumbnail[:, :2]))))
    kernel = max(round(pixels), 1)
    smooth = cv2.blur(image, (kernel, kernel)) if kernel > 1 else image
    return srgb8_to_linear(np.asarray(cv2.warpAffine(smooth, to_thumbnail, (THUMBNAIL, THUMBNAIL)), np.uint8))


def _sharpness(thumbnail: Image) -> float:
    """Detail over brightness: of two frames of one step the one that moved less has more."""
    luminance = np.asarray(relative_luminance(thumbnail), np.float32)
    detail = cv2.Laplacian(luminance, cv2.CV_32F)[_face_region()]
    return float(detail.std() / max(float(luminance[_face_region()].mean()), 1e-6))


@lru_cache(maxsize=1)
def _background_region() -> npt.NDArray[np.bool_]:
    region = background_region(THUMBNAIL)
    region.setflags(write=False)
    return region


@lru_cache(maxsize=1)
def _face_region() -> npt.NDArray[np.bool_]:
    region = TEMPLATE.face_region(THUMBNAIL)
    region.setflags(write=False)
    return region
