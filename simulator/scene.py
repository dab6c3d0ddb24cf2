"""A scene as layers of light: what the room lights, and what each unit of screen light adds.

Light adds up, so a scene is rendered once and any screen colour is a weighted sum of its layers, which is the paper's
reason for taking differences (section 3.2: the ambient term cancels). The camera's red pixels see the screen's red
primary and so on; what leaks between channels is the phone's business (`simulator.phone`). Skin scatters light: the
irradiance is blurred per channel, red farthest. Layers are larger than the photographs made from them, and small
motions between frames move the layers' pixels along their exact depth instead of rendering again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numba import njit

from simulator.ambient import Lighting
from simulator.features import smooth_step
from simulator.glasses import with_lenses
from simulator.head import PART_COUNT, HeadMesh
from simulator.identity import Identity
from simulator.material import Surface, skin_surface
from simulator.raster import rasterise
from simulator.shading import shade

OVERSAMPLING = 1.5
"""Layers are this much larger than the photographs, so that edges are smooth and motion loses no sharpness."""
SKIN_F0 = 0.028
SKIN_SCATTER_CM = (0.22, 0.10, 0.05)
BUMP_TILT = 0.035
"""Tilt of the normal per unit of the material's fine relief."""
SEEN_FROM_BEHIND = -0.15
"""Cosine to the camera below which a normal belongs to a thin sheet's other side, not to a rounded outline."""
EYE_RADIUS_CM, CORNEA_RADIUS_CM = 1.7, 0.9  # of our heads' rather large eyes
CORNEA_CM = (0.48, 0.14)
"""Distance from the pupil's middle at which the cornea ends, and over how much it runs into the eyeball."""
FACE_PARTS_BELOW = 0.5  # part 0 is the head itself; ears, neck, torso and long hair follow


@dataclass(frozen=True)
class View:
    """A pinhole camera at the origin, looking along −z."""

    size: int
    """Width and height of the square image, pixels."""
    focal_px: float

    @property
    def centre_px(self) -> tuple[float, float]:
        """The principal point (x, y), the image's middle."""
        return self.size / 2.0, self.size / 2.0


@dataclass(frozen=True)
class Pose:
    """Where a head or an artefact is: camera = rotation @ own + translation."""

    rotation: np.ndarray
    """(3, 3) float32."""
    translation_cm: np.ndarray
    """(3,) float32, camera space; z is negative."""

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Own coordinates (P, 3) → camera space (P, 3) float32."""
        return (points @ self.rotation.T + self.translation_cm).astype(np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation (3, 3) float32: yaw about y, then pitch about x, then roll about z; radians."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return (about_z @ about_y @ about_x).astype(np.float32)


@dataclass(frozen=True)
class LightLayers:
    """A rendered scene, square, all arrays of the same height and width."""

    ambient: np.ndarray
    """(H, W, 3) float32, cd/m² under the room's light alone."""
    screen: np.ndarray
    """(H, W, 3) float32: channel c is the radiance per unit radiance of the screen's primary c."""
    covered: np.ndarray
    """(H, W) bool: an object is here, not the background."""
    depth_cm: np.ndarray
    """(H, W) float32, along the optical axis; 0 where nothing is."""
    face: np.ndarray
    """(H, W) bool: the face's skin, real, printed, shown or worn."""

    def under(self, front: LightLayers) -> LightLayers:
        """These layers with `front` before them."""
        cover = front.covered
        return LightLayers(
            ambient=np.where(cover[..., None], front.ambient, self.ambient),
            screen=np.where(cover[..., None], front.screen, self.screen),
            covered=cover | self.covered,
            depth_cm=np.where(cover, front.depth_cm, self.depth_cm),
            face=np.where(cover, front.face, self.face),
        )

    def flash_to_ambient(self, luminance_nits: float) -> float:
        """Mean screen light over mean room light on the face while the screen shows white."""
        if not self.face.any():
            return 0.0
        return float(luminance_nits * self.screen[self.face].mean() / max(float(self.ambient[self.face].mean()), 1e-9))


def relight(layers: LightLayers, screen_radiance: np.ndarray) -> np.ndarray:
    """The scene's radiance (H, W, 3) float32, cd/m², for a screen of radiance (3,) per primary, cd/m²."""
    return layers.ambient + layers.screen * np.asarray(screen_radiance, np.float32)


@dataclass(frozen=True)
class Finish:
    """What a head's surface is made of; the default is skin."""

    f0: float = SKIN_F0
    scatter_cm: tuple[float, float, float] = SKIN_SCATTER_CM
    """Scattering radius per channel; zeros for an opaque material."""
    relief_blur_cm: float = 0.0
    """A cast or print loses relief finer than this."""
    bump_scale: float = 1.0
    repaint: Callable[[Surface, np.ndarray], Surface] | None = None
    """Replaces the skin's own albedo, roughness and gloss; its second argument is the mesh's part (P,)."""


SKIN = Finish()


def render_head(
    identity: Identity,
    mesh: HeadMesh,
    pose: Pose,
    view: View,
    lighting: Lighting,
    finish: Finish = SKIN,
    in_front_cm: np.ndarray | None = None,
) -> LightLayers:
    """Render a head (live, or a mask by its `finish`) into layers of `view.size`.

    `in_front_cm` (size, size), 0 where nothing is, is the depth of what stands before it and throws its shadow on it.
    """
    attributes = np.concatenate(
        [mesh.normals @ pose.rotation.T, mesh.canonical, mesh.part[:, None], mesh.hair[:, None]], 1
    ).astype(np.float32)
    raster = rasterise(
        pose.apply(mesh.vertices_cm), mesh.triangles, attributes, view.focal_px, view.centre_px, view.size, view.size
    )
    mask = raster.mask
    inside = raster.attributes[mask]
    part = inside[:, 6]
    surface = _visible_surface(identity, inside[:, 3:6], part, inside[:, 7])
    if finish.repaint is not None:
        surface = finish.repaint(surface, part)
    pixels_per_cm = view.focal_px / max(float(-pose.translation_cm[2]) - 4.0, 1.0)
    smooth = _relief(raster.attributes[..., :3], finish.relief_blur_cm * pixels_per_cm)
    _round_eyes(smooth, mask, identity, inside[:, 3:5], surface.eye, pose)
    relief = surface.bump * (1.0 - surface.eye) * np.float32(finish.bump_scale)
    points, normals = _seen_geometry(raster.depth_cm, smooth, relief, view)
    red, green, blue = (radius * pixels_per_cm for radius in finish.scatter_cm)
    ambient, screen = shade(
        depth_cm=raster.depth_cm,
        geometry_normals=smooth,
        points=points,
        normals=normals,
        surface=surface,
        lighting=lighting,
        f0=finish.f0,
        scatter_px=(red, green, blue),
        focal_px=view.focal_px,
        in_front_cm=in_front_cm,
    )
    face = np.zeros_like(mask)
    face[mask] = (part < FACE_PARTS_BELOW) & (inside[:, 7] < 0.5) & (inside[:, 5] > 0.0)
    layers = LightLayers(ambient, screen, mask, raster.depth_cm, face)
    return with_lenses(layers, mesh.lenses, pose, view, lighting)


def _visible_surface(identity: Identity, canonical: np.ndarray, part: np.ndarray, hair: np.ndarray) -> Surface:
    """The material of the visible points, of which a tight framing may hold none of some part.

    One invisible point of each part is added and taken off again, since materials are painted part by part.
    """
    count, parts = len(part), np.arange(PART_COUNT, dtype=np.float32)
    surface = skin_surface(
        identity,
        np.concatenate([canonical, np.zeros((PART_COUNT, 3), np.float32)]),
        np.concatenate([part, parts]),
        np.concatenate([hair, np.zeros(PART_COUNT, np.float32)]),
    )
    return replace(surface, **{name: getattr(surface, name)[:count] for name in surface.__dataclass_fields__})


def back_project(depth_cm: np.ndarray, view: View) -> np.ndarray:
    """Camera-space points (H, W, 3) float32 of a depth map (H, W) cm; pixel centres are at +0.5."""
    height, width = depth_cm.shape
    x = (np.arange(width, dtype=np.float32) + 0.5 - view.centre_px[0]) / np.float32(view.focal_px)
    y = -(np.arange(height, dtype=np.float32) + 0.5 - view.centre_px[1]) / np.float32(view.focal_px)
    return np.stack([depth_cm * x[None, :], depth_cm * y[:, None], -depth_cm], -1).astype(np.float32)


def _relief(normals: np.ndarray, blur_px: float) -> np.ndarray:
    """Normals (H, W, 3), 0 where nothing is, after losing detail finer than `blur_px`; not of unit length."""
    return cv2.GaussianBlur(normals, (0, 0), blur_px) if blur_px > 0.1 else normals.copy()


def _round_eyes(
    smooth: np.ndarray, mask: np.ndarray, identity: Identity, xy: np.ndarray, eye: np.ndarray, pose: Pose
) -> None:
    """Give eyes, where `eye` (P,) says, the exact normals of a ball with a cornea, in `smooth` (H, W, 3).

    The mesh is too coarse for what mirrors the screen so sharply. `xy` (P, 2) is the place on the neutral face.
    """
    at = np.flatnonzero(eye > 0.0)
    side = np.where(xy[at, 0] < 0.0, -1.0, 1.0)
    off = xy[at] - np.stack([side * identity.eyes.x, np.full(len(at), identity.eyes.y)], 1)
    beyond = smooth_step((np.hypot(off[:, 0], off[:, 1]) - CORNEA_CM[0]) / CORNEA_CM[1])
    tilt = off / (CORNEA_RADIUS_CM + (EYE_RADIUS_CM - CORNEA_RADIUS_CM) * beyond)[:, None]
    forward = np.sqrt(np.maximum(1.0 - (tilt**2).sum(1), 0.05))
    ball = np.column_stack([tilt, forward]) @ pose.rotation.T
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    pixels = np.flatnonzero(mask)[at]
    flat = smooth.reshape(-1, 3)
    flat[pixels] += eye[at, None] * (ball - flat[pixels])


def _seen_geometry(
    depth_cm: np.ndarray, smooth: np.ndarray, bump: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals (P, 3) of the covered pixels; a sheet's side seen from behind is turned to the camera.

    Changes `smooth` (H, W, 3) alike, to unit length. The material's fine relief `bump` (P,), pores and wrinkles too
    small for the mesh, tilts the normals.
    """
    points, normals = np.empty((len(bump), 3), np.float32), np.empty((len(bump), 3), np.float32)
    camera = np.array([view.focal_px, *view.centre_px, BUMP_TILT], np.float32)
    _geometry_kernel(depth_cm, smooth, bump, camera, points, normals)
    return points, normals


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _geometry_kernel(
    depth_cm: np.ndarray,
    smooth: np.ndarray,
    bump: np.ndarray,
    camera: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
) -> None:
    half, one = np.float32(0.5), np.float32(1)
    i = 0
    for row in range(depth_cm.shape[0]):
        for column in range(depth_cm.shape[1]):
            depth = depth_cm[row, column]
            if depth <= 0.0:
                continue
            x = (column + half - camera[1]) / camera[0] * depth
            y = -(row + half - camera[2]) / camera[0] * depth
            points[i, 0], points[i, 1], points[i, 2] = x, y, -depth
            nx, ny, nz = smooth[row, column, 0], smooth[row, column, 1], smooth[row, column, 2]
            inverse = one / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9))
            towards = (nz * depth - nx * x - ny * y) * inverse / np.sqrt(x * x + y * y + depth * depth)
            if towards < np.float32(SEEN_FROM_BEHIND):
                inverse = -inverse
            nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
            smooth[row, column, 0], smooth[row, column, 1], smooth[row, column, 2] = nx, ny, nz
            nx += camera[3] * bump[i]
            ny += camera[3] * bump[i - 1]
            inverse = one / np.sqrt(nx * nx + ny * ny + nz * nz)
            normals[i, 0], normals[i, 1], normals[i, 2] = nx * inverse, ny * inverse, nz * inverse
            i += 1


def with_albedo(surface: Surface, albedo: np.ndarray, roughness: np.ndarray, specular_scale: np.ndarray) -> Surface:
    """The same surface repainted: albedo (P, 3), roughness (P,), specular scale (P,), clipped to what exists."""
    return replace(
        surface,
        albedo=np.clip(albedo, 0.003, 0.95).astype(np.float32),
        roughness=np.clip(roughness, 0.03, 1.0).astype(np.float32),
        specular_scale=np.asarray(specular_scale, np.float32),
    )
