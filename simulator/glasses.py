"""Glasses: rims, bridge and arms as tubes of the head's mesh, and clear lenses that mirror the screen and the room.

It belongs to no section of the paper, whose subjects may wear them. The frame is opaque and drawn with the head. A lens
hides nothing, so it is a mesh of its own: after the head is rendered, what is seen through it is dimmed by what its two
surfaces reflect, and their mirror images of screen and room are added, with the lens's normals. The light that reaches
the skin through a lens is not dimmed and not bent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from simulator.ambient import Lighting
from simulator.identity import Glasses, Identity
from simulator.light import screen_specular
from simulator.raster import rasterise

if TYPE_CHECKING:  # the scene draws lenses, so it imports this module
    from simulator.scene import LightLayers, Pose, View

RIM_POINTS, TUBE_POINTS, LENS_RINGS = 64, 8, 6
TILT = 0.12
"""How much farther from the face a lens's upper edge stands, cm per cm."""
WRAP_PER_CM = 0.012
"""Curve of the frame around the face, cm per cm²."""
CLEARANCE_CM = 0.22
"""Smallest distance between a lens and what lies behind it."""
NOSE_HALF_WIDTH_CM = 1.5
"""The nose stands between the lenses; nearer to the middle than this it does not push them away."""
THINNEST_CM = 0.04
"""Half the thickness of the lightest rim; a thinner one would be dots between the pixels."""
LENS_ROUGHNESS = 0.06
BACK_SURFACE_RADII = 0.75
"""Radius of a lens's inner surface over that of its outer one; its mirror image is smaller and upside down."""


@dataclass(frozen=True)
class LensMesh:
    """Two clear lenses in head coordinates."""

    vertices_cm: np.ndarray
    """(L, 3) float32."""
    outer_normals: np.ndarray
    """(L, 3) float32, unit, of the convex front surface."""
    inner_normals: np.ndarray
    """(L, 3) float32, unit, of the concave back surface, towards the front."""
    triangles: np.ndarray
    """(T, 3) int32."""
    f0: float
    """Reflectance of one surface at normal incidence."""


@dataclass(frozen=True)
class Fitting:
    """Where a person's glasses sit."""

    centre_x: float
    """Of each lens, from the middle, cm."""
    centre_y: float
    front_z: float
    """Of the lens plane at the lenses' middle height and x = 0."""
    nose_z: float
    """How far the nose's root stands out at the bridge."""
    temple_x: float
    """Half the head's width where the arms pass."""
    ear: tuple[float, float]
    """(y, z) where the arms end."""

    def surface(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height z of the frame's front at (x, y)."""
        return self.front_z + TILT * (y - self.centre_y) - WRAP_PER_CM * x**2


def fit(identity: Identity, canonical: np.ndarray, positions: np.ndarray) -> Fitting:
    """Seat glasses on a head, `canonical` and `positions` (R, C, 3), as near to the eyes as brow and cheeks let."""
    worn = _worn(identity)
    front = canonical[..., 2] > 0.0
    eyes = [_nearest(canonical, positions, front, sign * identity.eyes.x, identity.eyes.y) for sign in (-1.0, 1.0)]
    centre_x = max(0.5 * (eyes[1][0] - eyes[0][0]) + 0.1, worn.half_width_cm + 0.72)
    centre_y = 0.5 * (eyes[0][1] + eyes[1][1]) - 0.18 * worn.half_height_cm
    x, y, z = positions[..., 0], positions[..., 1], positions[..., 2]
    behind = ((np.abs(x) - centre_x) / worn.half_width_cm) ** 2 + ((y - centre_y) / worn.half_height_cm) ** 2 < 1.1
    behind &= front & (np.abs(x) > NOSE_HALF_WIDTH_CM)
    reach = (z - TILT * (y - centre_y) + WRAP_PER_CM * x**2)[behind]
    root = front & (np.abs(x) < 0.5) & (np.abs(y - centre_y - 0.3 * worn.half_height_cm) < 0.25)
    beside = np.abs(canonical[..., 0])[np.abs(canonical[..., 1] - identity.eyes.y) < 0.6]  # of the skull, under hair
    return Fitting(
        centre_x=float(centre_x),
        centre_y=float(centre_y),
        front_z=float(reach.max()) + CLEARANCE_CM,
        nose_z=float(z[root].max()),
        temple_x=float(beside.max()),
        ear=(centre_y + 0.1, -3.2),
    )


def frame_tubes(identity: Identity, fitting: Fitting) -> list[np.ndarray]:
    """Rims, bridge and arms, each a grid of points (N, TUBE_POINTS + 1, 3): rows along the tube, columns around it."""
    worn = _worn(identity)
    turn = np.linspace(-np.pi, np.pi, RIM_POINTS + 1)
    heavy = _rim_radii(worn, turn)
    tubes = []
    for side in (-1.0, 1.0):
        loop = _outline(worn, fitting, side, turn, 1.0)
        tubes.append(_tube(loop, np.array([0.0, 0.0, 1.0]), np.minimum(heavy, 0.14), heavy))
        tubes.append(_arm(worn, fitting, side))
    return [*tubes, _bridge(worn, fitting)]


def lens_mesh(identity: Identity, fitting: Fitting) -> LensMesh:
    """The two lenses as fans of rings inside their rims."""
    worn = _worn(identity)
    turn = np.linspace(-np.pi, np.pi, RIM_POINTS + 1)
    rings = np.linspace(0.0, 1.0, LENS_RINGS)
    points, outer, inner = [], [], []
    for side in (-1.0, 1.0):
        lens = np.stack([_outline(worn, fitting, side, turn, ring) for ring in rings])
        middle = np.array([side * fitting.centre_x, fitting.centre_y])
        points.append(lens.reshape(-1, 3))
        outer.append(_lens_normals(lens, middle, worn.base_radius_cm).reshape(-1, 3))
        inner.append(_lens_normals(lens, middle, worn.base_radius_cm * BACK_SURFACE_RADII).reshape(-1, 3))
    return LensMesh(
        vertices_cm=np.concatenate(points).astype(np.float32),
        outer_normals=np.concatenate(outer).astype(np.float32),
        inner_normals=np.concatenate(inner).astype(np.float32),
        triangles=_lens_triangles(),
        f0=worn.coating_f0,
    )


def with_lenses(
    layers: LightLayers, lenses: LensMesh | None, pose: Pose, view: View, lighting: Lighting
) -> LightLayers:
    """The layers of a rendered head seen through its lenses: slightly dimmed, with their mirror images added."""
    if lenses is None:
        return layers
    normals = np.concatenate([lenses.outer_normals @ pose.rotation.T, lenses.inner_normals @ pose.rotation.T], 1)
    seen = rasterise(
        pose.apply(lenses.vertices_cm),
        lenses.triangles,
        normals.astype(np.float32),
        view.focal_px,
        view.centre_px,
        view.size,
        view.size,
    )
    before = seen.mask & ((seen.depth_cm < layers.depth_cm) | ~layers.covered)
    if not before.any():
        return layers
    ambient, screen = layers.ambient.copy(), layers.screen.copy()
    through = np.float32((1.0 - lenses.f0) ** 2)
    room, mirrored = _mirror_images(seen.attributes[before], _points(seen.depth_cm, before, view), lenses.f0, lighting)
    ambient[before] = ambient[before] * through + room
    screen[before] = screen[before] * through + mirrored[:, None]
    return replace(layers, ambient=ambient, screen=screen)


def _mirror_images(
    normals: np.ndarray, points: np.ndarray, f0: float, lighting: Lighting
) -> tuple[np.ndarray, np.ndarray]:
    """Room (P, 3) and screen (P,) light that both lens surfaces, `normals` (P, 6), return from `points` (P, 3)."""
    rough = np.full(len(points), LENS_ROUGHNESS, np.float32)
    room = np.zeros((len(points), 3), np.float32)
    mirrored = np.zeros(len(points), np.float32)
    for surface in (normals[:, :3], normals[:, 3:]):
        unit = surface / (np.linalg.norm(surface, axis=1, keepdims=True) + 1e-9)
        room += lighting.ambient.specular(points, unit, rough, f0)
        mirrored += screen_specular(points, unit, rough, f0, lighting.screen)
    return room, mirrored


def _points(depth_cm: np.ndarray, where: np.ndarray, view: View) -> np.ndarray:
    """Camera-space points (P, 3) float32 of the pixels `where` (H, W) bool."""
    row, column = np.nonzero(where)
    depth = depth_cm[where]
    x = (column + 0.5 - view.centre_px[0]) / view.focal_px * depth
    y = -(row + 0.5 - view.centre_px[1]) / view.focal_px * depth
    return np.stack([x, y, -depth], 1).astype(np.float32)


def _worn(identity: Identity) -> Glasses:
    if identity.glasses is None:
        raise ValueError(f"subject {identity.subject} wears no glasses; look at identity.glasses first")
    return identity.glasses


def _nearest(canonical: np.ndarray, positions: np.ndarray, front: np.ndarray, x: float, y: float) -> np.ndarray:
    """Where the face's vertex nearest to canonical (x, y) is, (3,)."""
    away = np.where(front, (canonical[..., 0] - x) ** 2 + (canonical[..., 1] - y) ** 2, np.inf)
    return positions.reshape(-1, 3)[int(np.argmin(away))]


def _outline(worn: Glasses, fitting: Fitting, side: float, turn: np.ndarray, size: float) -> np.ndarray:
    """A closed curve (N, 3) in a lens, `size` 1 at its rim, bulging as its front surface does."""
    power = 2.0 / worn.squareness
    cosine, sine = np.cos(turn), np.sin(turn)
    across = size * worn.half_width_cm * np.sign(cosine) * np.abs(cosine) ** power
    up = size * worn.half_height_cm * np.sign(sine) * np.abs(sine) ** power
    across = across * (1.0 + 0.06 * up / worn.half_height_cm)  # wider above than below
    x, y = side * fitting.centre_x + across, fitting.centre_y + up
    edge = worn.half_width_cm**2 / (2.0 * worn.base_radius_cm)
    bulge = edge - (across**2 + up**2) / (2.0 * worn.base_radius_cm)
    return np.stack([x, y, fitting.surface(x, y) + 0.5 * bulge], 1)


def _rim_radii(worn: Glasses, turn: np.ndarray) -> np.ndarray:
    """Half the rim's thickness at each angle of its loop."""
    above = 1.0 / (1.0 + np.exp(-8.0 * np.sin(turn)))
    lightest = {"full": 0.85, "browline": 0.4, "half": 0.15}[worn.style]
    return np.maximum(worn.rim_cm * (lightest + (1.0 - lightest) * above), THINNEST_CM)


def _arm(worn: Glasses, fitting: Fitting, side: float) -> np.ndarray:
    """From the rim's outer edge outwards to the hinge, then back along the temple to the ear."""
    hinge_y = fitting.centre_y + 0.45 * worn.half_height_cm
    rim_x = fitting.centre_x + 0.98 * worn.half_width_cm
    hinge_x = max(rim_x + 0.18, 0.87 * fitting.temple_x)
    knots_x = np.array(
        [rim_x, hinge_x - 0.15, hinge_x, hinge_x + 0.03, fitting.temple_x + 0.05, fitting.temple_x + 0.12]
    )
    front = float(fitting.surface(np.array(rim_x), np.array(hinge_y)))
    knots_z = np.array([front, front - 0.05, front - 0.25, front - 1.0, 0.0, fitting.ear[1]])
    knots_y = np.array([hinge_y, hinge_y, hinge_y, hinge_y, fitting.ear[0] + 0.4, fitting.ear[0]])
    along = np.linspace(0.0, len(knots_x) - 1.0, 26)
    path = np.stack([np.interp(along, np.arange(len(knots_x)), knots) for knots in (knots_x, knots_y, knots_z)], 1)
    path[:, 0] *= side
    thick = np.full(len(path), 0.07)
    return _tube(path, np.array([0.0, 1.0, 0.0]), np.full(len(path), 0.5 * worn.arm_height_cm), thick)


def _bridge(worn: Glasses, fitting: Fitting) -> np.ndarray:
    """An arch over the nose's root from rim to rim."""
    gap = fitting.centre_x - 0.93 * worn.half_width_cm
    along = np.linspace(-1.0, 1.0, 15)
    y = fitting.centre_y + worn.half_height_cm * (0.32 + 0.10 * (1.0 - along**2))
    ends = fitting.surface(np.full(15, gap), y)
    over = max(fitting.nose_z + 0.12 - float(ends.max()), 0.0)
    path = np.stack([along * gap, y, ends + over * (1.0 - along**4)], 1)
    radius = np.full(15, max(0.9 * worn.rim_cm, 0.06))
    return _tube(path, np.array([0.0, 0.0, 1.0]), np.minimum(radius, 0.12), radius)


def _tube(path: np.ndarray, reference: np.ndarray, along_reference: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Elliptic rings (N, TUBE_POINTS + 1, 3) around a path (N, 3), outward side out; half axes (N,) cm."""
    if np.allclose(path[0], path[-1]):  # a loop: its ends look at each other's neighbours
        tangent = np.gradient(np.concatenate([path[-2:-1], path, path[1:2]]), axis=0)[1:-1]
    else:
        tangent = np.gradient(path, axis=0)
    tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    first = reference - (tangent @ reference)[:, None] * tangent
    first = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(tangent, first)
    turn = np.linspace(-np.pi, np.pi, TUBE_POINTS + 1)
    ring = first[:, None] * (along_reference[:, None] * np.cos(turn))[..., None]
    return path[:, None] + ring + second[:, None] * (across[:, None] * np.sin(turn))[..., None]


def _lens_normals(lens: np.ndarray, middle: np.ndarray, radius_cm: float) -> np.ndarray:
    """Normals (..., 3) of a spherical surface about the lens's axis, which the frame's tilt and wrap turn."""
    dx, dy = lens[..., 0] - middle[0], lens[..., 1] - middle[1]
    slope_x = -dx / radius_cm - 2.0 * WRAP_PER_CM * middle[0]
    slope_y = -dy / radius_cm + TILT
    normals = np.stack([-slope_x, -slope_y, np.ones_like(dx)], -1)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


@lru_cache(maxsize=1)
def _lens_triangles() -> np.ndarray:
    """Triangles (T, 3) int32 of both fans; the innermost ring is a point."""
    row, column = np.meshgrid(np.arange(LENS_RINGS - 1), np.arange(RIM_POINTS), indexing="ij")
    first = (row * (RIM_POINTS + 1) + column).ravel()
    above = first + RIM_POINTS + 1
    one = np.concatenate([np.stack([first, above, above + 1], 1), np.stack([first, above + 1, first + 1], 1)])
    return np.concatenate([one, one + LENS_RINGS * (RIM_POINTS + 1)]).astype(np.int32)
