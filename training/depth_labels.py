"""Depth labels (paper, section 5.4): what the depth head shall draw for a live face and for an attack.

A live face is drawn as its shape, nearest point 1; an attack is drawn flat, 0.5 everywhere [P]. The paper estimates the
shape with PRNet. Here it is exact where a capture brings a depth map (simulation), and else the landmark mesh stands in
for it (recordings). "Normalised to [0, 1]" is made absolute: 1 at the nearest point of the face, falling in proportion
to distance to 0 at `FACE_DEPTH_RANGE_MM` behind it, so that a millimetre means the same on every face; the background
is 0.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import LinearNDInterpolator

from sdk_reference.align import HALF_PIXEL, TEMPLATE, map_points
from sdk_reference.landmarks import Face

Affine = npt.NDArray[np.float64]
DepthLabel = npt.NDArray[np.float32]

FACE_DEPTH_RANGE_MM = 120.0  # nose tip to ear is 100 to 120 mm on an adult head
LABEL_SIZE = 64  # pixels per side: a quarter of the 256 of an aligned frame
SPOOF_DEPTH = 0.5  # [P]
NEAREST_QUANTILE = 0.002  # of the face's pixels: the nose tip is some 40 of 20,000, a stray pixel is one
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)  # outer and inner corners, FaceMesh landmarks
EYE_DISTANCE_MM = 63.0  # between the eyes' centres: mean of adults (Dodgson 2004)


def spoof_label(size: int = LABEL_SIZE) -> DepthLabel:
    """Return the label of every attack: (size, size) float32, 0.5 everywhere."""
    return np.full((size, size), SPOOF_DEPTH, np.float32)


def live_label(depth_mm: npt.NDArray[np.uint16] | None, face: Face, affine: Affine) -> DepthLabel:
    """Return the label of a live face: (64, 64) float32, 0..1, 1 = nearest.

    `depth_mm` is (H, W) uint16 in the frame of rank 0, 0 where nothing is; without it, or when it is empty on the face,
    the mesh of `face` gives the shape. `affine` (2, 3) maps pixels of that frame to the alignment template.
    """
    label = None if depth_mm is None else label_from_depth_map(depth_mm, affine)
    return label_from_mesh(face, affine) if label is None else label


def label_from_depth_map(depth_mm: npt.NDArray[np.uint16], affine: Affine) -> DepthLabel | None:
    """Return the (64, 64) label of an exact depth map, or None when it is empty where the face should be."""
    side = TEMPLATE.size
    centred = affine.copy()  # OpenCV counts from the centre of the first pixel, the template from its corner
    centred[:, 2] += affine[:, :2] @ (HALF_PIXEL, HALF_PIXEL) - HALF_PIXEL
    aligned = cv2.warpAffine(depth_mm, centred, (side, side), flags=cv2.INTER_NEAREST)  # never a mean of face and wall
    on_face = aligned[TEMPLATE.face_region(side) & (aligned > 0)]
    if on_face.size == 0:
        return None
    behind_mm = aligned.astype(np.float32) - np.float32(np.quantile(on_face, NEAREST_QUANTILE))
    return area_average(np.where(aligned > 0, nearness(behind_mm), 0.0).astype(np.float32), LABEL_SIZE)


def label_from_mesh(face: Face, affine: Affine) -> DepthLabel:
    """Return the (64, 64) label of a landmark mesh, 0 outside it; the eyes' distance gives the millimetres."""
    right, left = face.points[list(RIGHT_EYE)].mean(axis=0), face.points[list(LEFT_EYE)].mean(axis=0)
    mm_per_px = EYE_DISTANCE_MM / float(np.hypot(*(left - right)))
    behind_mm = (face.depth - face.depth.min()) * mm_per_px
    surface = LinearNDInterpolator(map_points(face.points, affine), nearness(behind_mm), fill_value=0.0)
    centres = (np.arange(LABEL_SIZE) + HALF_PIXEL) * (TEMPLATE.size / LABEL_SIZE)
    across, down = np.meshgrid(centres, centres)
    return np.asarray(surface(across, down), np.float32)


def nearness(behind_mm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return 1 for the nearest point, 0 for what lies `FACE_DEPTH_RANGE_MM` or more behind it."""
    return np.clip(1.0 - behind_mm / FACE_DEPTH_RANGE_MM, 0.0, 1.0).astype(np.float32)


def area_average(label: DepthLabel, size: int) -> DepthLabel:
    """Return the (s, s) map averaged over blocks to (size, size); raises ValueError unless s is a multiple of size."""
    side = label.shape[0]
    if label.shape != (side, side) or size < 1 or side % size:
        raise ValueError(f"found a depth map of shape {label.shape}; expected (s, s) with s a multiple of {size}")
    block = side // size
    return np.asarray(label.reshape(size, block, size, block).mean(axis=(1, 3)), np.float32)
