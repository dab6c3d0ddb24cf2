"""Two photographs of one face, without and with white screen light, laid on the template at one exposure.

Not in the paper. Real and simulated pictures go the same way: each photograph is aligned by its own landmarks, as a
phone does, and the dark one is darkened as far as the background says that the camera lowered its exposure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance, srgb8_to_linear
from sdk_reference.align import TEMPLATE, estimate_affine, map_points, resample
from sdk_reference.landmarks import Face
from sdk_reference.pair import exposure_ratio
from sdk_reference.quality import background_region
from training.look_regions import Mask, Points, face_mask, region_masks, skin_mask

DARK = 5e-4  # mean linear light below which a ratio is rounding
MIN_PIXELS = 20  # of a region

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
    background: float
    """The same unchecked: the median ratio of the background's luminances, its answer to the screen included."""
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
        background=_background_ratio(dark_aligned, lit_aligned),
        face_width_px=lit_face.width,
        motion=_motion(dark_face, lit_face),
    )


def aligned_light(frame: npt.NDArray[np.uint8], face: Face) -> Image:
    """Resample an HWC uint8 RGB frame onto the template: (256,256,3) float32 linear light."""
    return resample(srgb8_to_linear(frame), estimate_affine(face.points), TEMPLATE.size)


def _background_ratio(dark: Image, lit: Image) -> float:
    behind = background_region()
    before, after = relative_luminance(dark)[behind], relative_luminance(lit)[behind]
    usable = before > DARK
    return float(np.median(after[usable] / before[usable])) if usable.sum() >= MIN_PIXELS else np.nan


def _motion(dark: Face, lit: Face) -> float:
    indices = list(TEMPLATE.indices)
    return float(np.sqrt(((dark.points - lit.points)[indices] ** 2).sum(axis=1).mean())) / lit.width
