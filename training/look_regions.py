"""Regions of an aligned face, from FaceMesh landmarks: where the look of real and simulated pictures is compared.

Not in the paper. A region is the convex hull of landmarks; FaceMesh knows neither ears nor neck nor hair, so these are
strips beside, below and above its outline. A strip beside the face is an ear only where no hair covers it.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.landmarks import FACE_OVAL

SIZE = 256  # of the aligned frame, pixels
FACE_SHRINK = 0.92  # of the outline: its border is half background
EAR_STRIP = (0.02, 0.10)  # from the outline outwards, in face widths
NECK_STRIP = (0.08, 0.20)  # below the chin, in face heights
HAIR_STRIP = (0.06, 0.18)  # above the forehead, in face heights

# Hulls of FaceMesh landmarks; regions that come in pairs hold (right, left) of the person.
HULLS: dict[str, tuple[tuple[int, ...], ...]] = {
    "forehead": ((104, 69, 108, 151, 337, 299, 333, 334, 296, 336, 9, 107, 66, 105),),
    "eye sockets": (
        (46, 53, 52, 65, 55, 190, 56, 28, 27, 29, 30, 247),
        (276, 283, 282, 295, 285, 414, 286, 258, 257, 259, 260, 467),
    ),
    "brows": ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)),
    "eyes": ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380)),
    "nose": ((168, 6, 197, 195, 5, 4, 1, 45, 275, 220, 440, 193, 417),),
    "cheeks": ((117, 118, 101, 36, 205, 187, 123, 50), (346, 347, 330, 266, 425, 411, 352, 280)),
    "upper lip": ((97, 2, 326, 267, 0, 37),),
    "lips": ((61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),),
    "chin": ((201, 200, 421, 428, 396, 175, 171, 208),),
    "sides": ((234, 93, 132, 58, 215, 177, 137, 227), (454, 323, 361, 288, 435, 401, 366, 447)),
}
EAR_EDGES = ((127, 234, 93), (356, 454, 323))
CHIN_EDGE = (176, 148, 152, 377, 400)
HAIRLINE = (67, 109, 10, 338, 297)
SKIN = ("forehead", "nose", "cheeks", "chin")  # what hair, brows, beard and background reach least

REGIONS = (*HULLS, "ears", "neck", "hair")

Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def region_masks(points: Points) -> dict[str, Mask]:
    """Return the (256,256) mask of each of REGIONS for (468,2) landmarks in pixels of the aligned frame."""
    masks = {name: _union([_hull(points[list(hull)]) for hull in hulls]) for name, hulls in HULLS.items()}
    across, down = _axes(points)
    ears = [_strip(points[list(EAR_EDGES[side])], (-across, across)[side], EAR_STRIP) for side in (0, 1)]
    masks["ears"] = _union(ears)
    masks["neck"] = _strip(points[list(CHIN_EDGE)], down, NECK_STRIP)
    masks["hair"] = _strip(points[list(HAIRLINE)], -down, HAIR_STRIP)
    return masks


def face_mask(points: Points) -> Mask:
    """Return the (256,256) mask of the whole face: its outline, drawn in by 8 %."""
    oval = points[list(FACE_OVAL)]
    centre = oval.mean(axis=0)
    return _hull(centre + FACE_SHRINK * (oval - centre))


def skin_mask(masks: dict[str, Mask]) -> Mask:
    """Return the (256,256) mask of the regions of SKIN together, from `region_masks`."""
    return _union([masks[name] for name in SKIN])


def _axes(points: Points) -> tuple[Points, Points]:
    """Vectors of one face width, towards the person's left, and of one face height, downwards."""
    return points[454] - points[234], points[152] - points[10]


def _strip(edge: Points, direction: Points, between: tuple[float, float]) -> Mask:
    return _hull(np.concatenate([edge + direction * part for part in between]))


def _hull(corners: Points) -> Mask:
    """Return the pixels whose centres lie in the convex hull of (K,2) corners.

    Not OpenCV's filling: it paints every pixel that the border touches, which makes small regions a third larger.
    """
    hull = cv2.convexHull(corners.astype(np.float32))[:, 0].astype(np.float64)
    mask = np.zeros((SIZE, SIZE), bool)
    left, top = np.clip(np.floor(hull.min(axis=0)).astype(int), 0, SIZE)
    right, bottom = np.clip(np.ceil(hull.max(axis=0)).astype(int), 0, SIZE)
    x, y = np.arange(left, right) + 0.5, (np.arange(top, bottom) + 0.5)[:, None]
    turns = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in pairwise([*hull, hull[0]])]
    stacked = np.stack(turns)
    mask[top:bottom, left:right] = (stacked >= 0).all(axis=0) | (stacked <= 0).all(axis=0)
    return mask


def _union(masks: list[Mask]) -> Mask:
    return np.asarray(np.logical_or.reduce(masks))
