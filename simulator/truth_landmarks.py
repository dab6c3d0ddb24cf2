"""Where a simulated face's landmarks truly are: corners of eyes and mouth, lids, lips, tip of the nose.

It belongs to no section of the paper; it lets landmark detectors be measured. Points carry the numbers of MediaPipe's
FaceMesh (468 points), in the person's own left and right. Only places that anybody would put at the same spot are
here; the chin is the head's lowest point at its middle, which FaceMesh only roughly means by its 152.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.features import lower_lid, lower_lip_edge, upper_lid, upper_lip_edge
from simulator.head import HeadMesh
from simulator.identity import Identity
from simulator.motion import Motion
from simulator.scene import Pose, View, rotation

RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
RIGHT_UPPER_LID, RIGHT_LOWER_LID, LEFT_UPPER_LID, LEFT_LOWER_LID = 159, 145, 386, 374
MOUTH_RIGHT, MOUTH_LEFT = 61, 291
UPPER_LIP_TOP, LOWER_LIP_BOTTOM = 0, 17
NOSE_TIP = 4
CHIN = 152

SHARP = (
    *(RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER),
    *(RIGHT_UPPER_LID, RIGHT_LOWER_LID, LEFT_UPPER_LID, LEFT_LOWER_LID),
    *(MOUTH_RIGHT, MOUTH_LEFT, UPPER_LIP_TOP, LOWER_LIP_BOTTOM, NOSE_TIP),
)
"""Landmarks whose definition leaves no choice."""
LANDMARKS = (*SHARP, CHIN)
"""All landmarks, in the order of the arrays below."""
MIDDLE_CM = 0.5
"""Half width of the strip of canonical face in which the nose's tip and the chin are looked for."""


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A face as it was drawn: that of a person, of a mask, or in a picture that somebody holds up."""

    identity: Identity
    mesh: HeadMesh
    pose: Pose

    def landmarks(self, view: View, size: int) -> np.ndarray:
        """Pixels (K, 2) of LANDMARKS in a photograph of `size` pixels before anything has moved."""
        points = true_landmarks(self.identity, self.mesh)
        return project_landmarks(points, self.pose, view, size, None, np.zeros(3))


def true_landmarks(identity: Identity, mesh: HeadMesh) -> np.ndarray:
    """Points (K, 3) float32 of LANDMARKS on `identity`'s mesh, with its expression, cm, head coordinates."""
    front = np.flatnonzero((mesh.part < 0.5) & (mesh.canonical[:, 2] > 0.0))
    places = _canonical_places(identity)
    points = [_on_mesh(mesh, front, *places[index]) for index in SHARP if index != NOSE_TIP]
    middle = front[np.abs(mesh.canonical[front, 0]) < MIDDLE_CM]
    nose = middle[np.abs(mesh.canonical[middle, 1] - identity.nose.base_y) < 1.0]
    tip = mesh.vertices_cm[nose[np.argmax(mesh.vertices_cm[nose, 2])]]
    chin = mesh.vertices_cm[middle[np.argmin(mesh.vertices_cm[middle, 1])]]
    return np.stack([*points, tip, chin]).astype(np.float32)


def project_landmarks(
    points_cm: np.ndarray, pose: Pose, view: View, size: int, motion: Motion | None, middle_cm: np.ndarray
) -> np.ndarray:
    """Pixels (K, 2) of head points (K, 3) in a photograph of `size` pixels, the first pixel's corner being (0, 0).

    `motion` about `middle_cm` (3,) is what `simulator.motion.motion_map` was given; None: none.
    """
    placed = pose.apply(points_cm)
    if motion is not None:
        placed = (placed - middle_cm) @ rotation(*motion.turn).T + middle_cm + motion.shift_cm
    scale = view.focal_px * size / view.size / -placed[:, 2]
    return np.stack([size / 2.0 + placed[:, 0] * scale, size / 2.0 - placed[:, 1] * scale], 1)


def _canonical_places(identity: Identity) -> dict[int, tuple[float, float]]:
    """Where on the canonical face the landmarks are, (x, y) cm; the person's right is at negative x."""
    eyes, mouth = identity.eyes, identity.mouth
    zero, half = np.zeros(1), eyes.half_width
    above, below = float(upper_lid(eyes, zero)[0]), float(lower_lid(eyes, zero)[0])
    places: dict[int, tuple[float, float]] = {
        UPPER_LIP_TOP: (0.0, mouth.y + float(upper_lip_edge(mouth, zero)[0])),
        LOWER_LIP_BOTTOM: (0.0, mouth.y + float(lower_lip_edge(mouth, zero)[0])),
        MOUTH_RIGHT: (-mouth.half_width, mouth.y),
        MOUTH_LEFT: (mouth.half_width, mouth.y),
    }
    sides = (
        (-1.0, RIGHT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_UPPER_LID, RIGHT_LOWER_LID),
        (1.0, LEFT_EYE_OUTER, LEFT_EYE_INNER, LEFT_UPPER_LID, LEFT_LOWER_LID),
    )
    for side, outer, inner, upper, lower in sides:
        places[outer] = (side * (eyes.x + half), eyes.y + eyes.tilt * half)
        places[inner] = (side * (eyes.x - half), eyes.y - eyes.tilt * half)
        places[upper] = (side * eyes.x, eyes.y + above)
        places[lower] = (side * eyes.x, eyes.y + below)
    return places


def _on_mesh(mesh: HeadMesh, front: np.ndarray, x: float, y: float) -> np.ndarray:
    """The point (3,) of the face whose canonical place is (x, y): inside a triangle of the nearest vertex, or it."""
    nearest = front[np.argmin((mesh.canonical[front, 0] - x) ** 2 + (mesh.canonical[front, 1] - y) ** 2)]
    around = mesh.triangles[(mesh.triangles == nearest).any(1)]
    for corners in around:
        place = mesh.canonical[corners, :2].astype(np.float64)
        edges = np.stack([place[1] - place[0], place[2] - place[0]], 1)
        if abs(np.linalg.det(edges)) < 1e-9:
            continue
        b, c = np.linalg.solve(edges, np.array([x, y]) - place[0])
        if min(b, c, 1.0 - b - c) > -1e-6:
            return np.array([1.0 - b - c, b, c]) @ mesh.vertices_cm[corners]
    return mesh.vertices_cm[nearest]
