"""Alignment: an affine map from a face's landmarks to a fixed template of 256×256 pixels (paper, section 5.1).

The paper aligns every frame of a capture to one template; which landmarks and which template it does not say. Ours uses
landmarks that stay put when a person blinks or speaks (brows, eye corners, bridge and wings of the nose, cheeks,
forehead, chin) and a template from simulated frontal heads (training/alignment_template.py). The tip of the nose and
the sides of the outline are left out: they shift with the slightest turn of the head.

Coordinates are those of `sdk_reference.landmarks`: the corner of the first pixel is (0, 0), its centre (0.5, 0.5).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.errors import ModelFailed, NoFace
from sdk_reference.landmarks import LANDMARK_CONVENTION, N_LANDMARKS

TEMPLATE_FILE = Path(__file__).with_name("alignment_template.json")
MIN_SPREAD = 0.05  # smallest over largest standard deviation of the points: below, they lie on one line
MIN_SCALE, MAX_SCALE = 1 / 64, 8.0  # template pixels per frame pixel: faces of about 10,000 and of 20 pixels
HALF_PIXEL = 0.5

Pixel = TypeVar("Pixel", np.uint8, np.float32)
FloatPoints = npt.NDArray[np.float32] | npt.NDArray[np.float64]

Affine = npt.NDArray[np.float64]
"""(2,3) float64: frame pixels → template pixels."""


@dataclass(frozen=True, eq=False)
class AlignmentTemplate:
    """Where the landmarks of an aligned face lie."""

    name: str
    size: int
    """Side of the aligned frame in pixels."""
    indices: tuple[int, ...]
    """K landmarks of the FaceMesh convention."""
    points: npt.NDArray[np.float64]
    """(K,2) float64: where they belong, x right and y down in pixels of the aligned frame."""
    ellipse_centre: tuple[float, float]
    """Centre x, y of the ellipse that holds the face, in pixels of the aligned frame."""
    ellipse_semi_axes: tuple[float, float]
    """Half its width and half its height."""

    def face_region(self, size: int | None = None, grow: float = 1.0) -> npt.NDArray[np.bool_]:
        """Return the (size,size) mask of pixels whose centre lies in the ellipse, its axes multiplied by `grow`."""
        size = size or self.size
        centres = (np.arange(size) + HALF_PIXEL) * (self.size / size)
        across = (centres - self.ellipse_centre[0]) / (self.ellipse_semi_axes[0] * grow)
        down = (centres - self.ellipse_centre[1]) / (self.ellipse_semi_axes[1] * grow)
        return np.asarray(across[None, :] ** 2 + down[:, None] ** 2 <= 1)

    def to_dict(self) -> dict[str, object]:
        """Return the template as plain JSON values, for the file and for the manifest."""
        return {
            "name": self.name,
            "version": 1,
            "landmark_convention": LANDMARK_CONVENTION,
            "size": self.size,
            "indices": list(self.indices),
            "points": self.points.tolist(),
            "face_ellipse": {"centre": list(self.ellipse_centre), "semi_axes": list(self.ellipse_semi_axes)},
        }


def load_template(path: Path = TEMPLATE_FILE) -> AlignmentTemplate:
    """Read a template file; raises ValueError or KeyError when the installed file is damaged."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if (data["version"], data["landmark_convention"]) != (1, LANDMARK_CONVENTION):
        raise ValueError(f"found {data['version']}, {data['landmark_convention']}; expected 1, {LANDMARK_CONVENTION}")
    centre, semi_axes = data["face_ellipse"]["centre"], data["face_ellipse"]["semi_axes"]
    return AlignmentTemplate(
        name=data["name"],
        size=data["size"],
        indices=tuple(data["indices"]),
        points=np.array(data["points"], dtype=np.float64),
        ellipse_centre=(centre[0], centre[1]),
        ellipse_semi_axes=(semi_axes[0], semi_axes[1]),
    )


TEMPLATE = load_template()


def estimate_affine(points: FloatPoints, template: AlignmentTemplate = TEMPLATE) -> Affine:
    """Return the affine map that takes landmarks nearest to the template, in the sense of least squares.

    `points` is (468,2), pixels of the frame. Raises ModelFailed when points are missing or not finite, NoFace when they
    lie on one line, mirrored, or at a size that no face has.
    """
    if points.shape != (N_LANDMARKS, 2) or not np.isfinite(points).all():
        raise ModelFailed(
            found=f"landmarks of shape {points.shape}, finite: {bool(np.isfinite(points).all())}",
            expected=f"({N_LANDMARKS}, 2) finite pixels",
            remedy="check the landmark detector",
        )
    affine = fit_affine(points[list(template.indices)], template.points)
    if not _is_plausible(affine):
        raise _not_a_face("landmarks that are mirrored or of impossible size")
    return affine


def fit_affine(source: FloatPoints, target: FloatPoints) -> Affine:
    """Return the least-squares affine map from (K,2) points to (K,2) points; raises NoFace when `source` is a line."""
    centre = source.mean(axis=0, dtype=np.float64)
    centred = source - centre  # so that the system stays well conditioned for faces far from the origin
    spread = np.linalg.svd(centred, compute_uv=False)
    if not spread[1] > MIN_SPREAD * spread[0]:
        raise _not_a_face("landmarks on one line")
    design = np.hstack([centred, np.ones((len(centred), 1))])
    solution = np.linalg.lstsq(design, target.astype(np.float64), rcond=None)[0].T
    return np.hstack([solution[:, :2], (solution[:, 2] - solution[:, :2] @ centre)[:, None]])


def map_points(points: FloatPoints, affine: Affine) -> npt.NDArray[np.float64]:
    """Map (…,2) points by a (2,3) affine."""
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], dtype=np.float64)


def compose(second: Affine, first: Affine) -> Affine:
    """Return the (2,3) map that does `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])


def invert(affine: Affine) -> Affine:
    """Return the (2,3) map that undoes `affine`; raises ValueError (numpy's LinAlgError) when there is none."""
    linear = np.linalg.inv(affine[:, :2])
    return np.hstack([linear, (-linear @ affine[:, 2])[:, None]])


def scale_of(affine: Affine) -> float:
    """Return template pixels per frame pixel: the square root of the map's change of area."""
    return math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))


def align(frame: npt.NDArray[np.uint8], affine: Affine, size: int = TEMPLATE.size) -> npt.NDArray[np.uint8]:
    """Resample an HWC uint8 RGB frame to (size,size,3) uint8 RGB; pixels beyond the frame repeat its border."""
    return np.asarray(resample(frame, affine, size), dtype=np.uint8)


def resample(frame: npt.NDArray[Pixel], affine: Affine, size: int) -> npt.NDArray[Pixel]:
    """Map an HWC uint8 or float32 frame to (size,size,C) of the same dtype by an affine map between pixel coordinates.

    A frame finer than the result is first averaged down to the result's scale (whole frame, area averages), so that a
    photograph of 12 megapixels does not alias and comes out as sharp as a small one; then it is sampled bilinearly.
    """
    scale = scale_of(affine)
    if scale < 1:
        frame, affine = _shrink(frame, affine, scale)
    # OpenCV puts (0, 0) at the centre of the first pixel, we at its corner: p′ = A(p + ½) − ½
    to_centres = affine.copy()
    to_centres[:, 2] += affine[:, :2] @ (HALF_PIXEL, HALF_PIXEL) - HALF_PIXEL
    warped = cv2.warpAffine(frame, to_centres, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=frame.dtype)


def _shrink(frame: npt.NDArray[Pixel], affine: Affine, scale: float) -> tuple[npt.NDArray[Pixel], Affine]:
    height, width = frame.shape[:2]
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(frame, (new_width, new_height), interpolation=cv2.INTER_AREA)
    affine = affine.copy()
    affine[:, :2] *= (width / new_width, height / new_height)  # the exact factors, after rounding
    return np.asarray(small, dtype=frame.dtype), affine


def _is_plausible(affine: Affine) -> bool:
    determinant = float(np.linalg.det(affine[:, :2]))
    return determinant > 0 and MIN_SCALE <= math.sqrt(determinant) <= MAX_SCALE


def _not_a_face(found: str) -> NoFace:
    return NoFace(found=found, expected="the landmarks of a face", remedy="look straight into the camera")
