"""Is the face at a later moment the one of before: still there, where it was, of the same shape?

Not in the paper; without it, one person could get into position and another be flashed. Two tests: a face does not jump
or change its size from one moment to the next, and its 432 landmarks within the outline keep their constellation, laid
over one another by the best turn in space, shift and scale. The distance is the part of the constellation (0 to 1)
that then does not fit.

This notices some swaps; it identifies nobody, since FaceMesh draws all faces much alike. On simulated people under
motion, expressions and changing light, the limit below was exceeded by fewer than one in a hundred comparisons of one
person, and by two thirds to four fifths of those of two, depending on who they were:
tests/sdk_reference/test_sdk_same_face.py measures both. A caller that watches every frame should ask for a change in
several, and must not take its absence for proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sdk_reference.errors import FaceChanged, FaceLeft, UserFailure
from sdk_reference.landmarks import FACE_OVAL, N_LANDMARKS, Face, find_single_face

INNER: Final = tuple(sorted(set(range(N_LANDMARKS)) - set(FACE_OVAL)))
"""Landmarks within the outline, which slides over the head as it turns."""
SHAPE_LIMIT: Final = 0.0425
"""Chosen on 55 simulated people: 0.3 % of comparisons of one person exceed it, 81 % of those of two."""
JUMP_LIMIT: Final = 0.6
"""Of the first face's width, between two moments of one attempt: nobody who means to be filmed moves further."""
SIZE_LIMIT: Final = 1.4
"""Larger over smaller width."""


@dataclass(frozen=True)
class FaceChange:
    """How two faces differ; None where there is no second face."""

    problem: UserFailure | None
    """FaceLeft, SeveralFaces, FaceCutOff, FaceChanged, or None: nothing speaks against its being the same face."""
    face: Face | None = None
    """The one face there is later."""
    jump: float | None = None
    """Distance between the middles over the first face's width."""
    size_ratio: float | None = None
    """Later over first width."""
    shape_distance: float | None = None
    """0 (the same) to 1; None where shapes were not compared."""


def same_person_place(first: Face, later: Sequence[Face], frame_shape: tuple[int, ...]) -> FaceChange:
    """Compare the face of one frame with the faces found in a later one of shape `(height, width, …)`."""
    change = same_place(first, later, frame_shape)
    if change.face is None:
        return change
    distance = shape_distance(first, change.face)
    if distance <= SHAPE_LIMIT:
        return replace(change, shape_distance=distance)
    return replace(
        change,
        shape_distance=distance,
        problem=_changed(f"a face of another shape (distance {distance:.3f})", f"at most {SHAPE_LIMIT:g}"),
    )


def same_place(first: Face, later: Sequence[Face], frame_shape: tuple[int, ...]) -> FaceChange:
    """Compare places and sizes alone: a single comparison of shapes errs too often to end a session by itself."""
    if not later:
        return FaceChange(
            FaceLeft(
                found="no face any more", expected="the face of before", remedy="stay in the picture until the end"
            )
        )
    try:
        face = find_single_face(list(later), frame_shape, min_width_px=0.0)
    except UserFailure as failure:
        return FaceChange(failure)
    jump = float(np.hypot(*(_middle(face) - _middle(first)))) / first.width
    ratio = face.width / first.width
    return FaceChange(_moved(jump, ratio), face, jump, ratio)


def shape_distance(one: Face, other: Face) -> float:
    """How much two constellations of landmarks differ, 0 to 1, whatever turn in space, place and size they have.

    The Procrustes distance √(1 − (Σσ)²) of the centred points at unit size (Kendall's full distance); NaN when either
    face is a single point.
    """
    a, b = _constellation(one), _constellation(other)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    left, sizes, right = np.linalg.svd(a.T @ b)
    mirrored = np.linalg.det(left @ right) < 0  # only a reflection would fit better: not a turn
    fit = sizes[:2].sum() + (-sizes[2] if mirrored else sizes[2])
    return float(np.sqrt(max(0.0, 1.0 - fit**2)))


def _constellation(face: Face) -> npt.NDArray[np.float64]:
    points = np.column_stack([face.points, face.depth])[list(INNER)].astype(np.float64)
    points -= points.mean(axis=0)
    size = float(np.sqrt((points**2).sum()))
    return points / size if size > 0 else np.full_like(points, np.nan)


def _middle(face: Face) -> npt.NDArray[np.float64]:
    left, top, right, bottom = face.bounds
    return np.array([(left + right) / 2, (top + bottom) / 2])


def _moved(jump: float, ratio: float) -> FaceChanged | None:
    """What is not a number is a change."""
    if not jump <= JUMP_LIMIT:
        return _changed(f"a face that jumped by {jump:.1f} of its width", f"at most {JUMP_LIMIT:g}")
    if not 1 / SIZE_LIMIT <= ratio <= SIZE_LIMIT:
        return _changed(f"a face of {ratio:.2f} times its size before", f"at most {SIZE_LIMIT:g} times, up or down")
    return None


def _changed(found: str, expected: str) -> FaceChanged:
    return FaceChanged(found=found, expected=expected, remedy="start again, and let only one person do the whole check")
