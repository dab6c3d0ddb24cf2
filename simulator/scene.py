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

from simulator.head import PART_COUNT, HeadMesh
from simulator.identity import Identity
from simulator.light import Ambient, ScreenLight, screen_diffuse, screen_specular
from simulator.material import Surface, skin_surface
from simulator.raster import rasterise

OVERSAMPLING = 1.5
"""Layers are this much larger than the photographs, so that edges are smooth and motion loses no sharpness."""
SKIN_F0 = 0.028
SKIN_SCATTER_CM = (0.22, 0.10, 0.05)
SCATTERED_SHARE = 0.65
"""Share of the light that leaves skin away from where it entered."""
BUMP_TILT = 0.035
"""Tilt of the normal per unit of the material's fine relief."""
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
class Lighting:
    """Both lights of a scene."""

    ambient: Ambient
    screen: ScreenLight


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
    identity: Identity, mesh: HeadMesh, pose: Pose, view: View, lighting: Lighting, finish: Finish = SKIN
) -> LightLayers:
    """Render a head (live, or a mask by its `finish`) into layers of `view.size`."""
    attributes = np.concatenate(
        [mesh.normals @ pose.rotation.T, mesh.canonical, mesh.part[:, None], mesh.hair[:, None]], 1
    ).astype(np.float32)
    raster = rasterise(
        pose.apply(mesh.vertices_cm), mesh.triangles, attributes, view.focal_px, view.centre_px, view.size, view.size
    )
    mask = raster.mask
    inside = raster.attributes[mask]
    surface = _visible_surface(identity, inside[:, 3:6], inside[:, 6], inside[:, 7])
    if finish.repaint is not None:
        surface = finish.repaint(surface, inside[:, 6])
    pixels_per_cm = view.focal_px / max(float(-pose.translation_cm[2]) - 4.0, 1.0)
    normals = _relief(raster.attributes[..., :3], mask, finish.relief_blur_cm * pixels_per_cm)
    normals = _bumped(normals, surface.bump * finish.bump_scale)
    points = back_project(raster.depth_cm, view)[mask]
    ambient, screen = _shade(points, normals, surface, lighting, finish, mask, pixels_per_cm)
    face = np.zeros_like(mask)
    face[mask] = (inside[:, 6] < FACE_PARTS_BELOW) & (inside[:, 7] < 0.5) & (inside[:, 5] > 0.0)
    return LightLayers(ambient, screen, mask, np.where(mask, raster.depth_cm, 0.0).astype(np.float32), face)


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


def _relief(normals: np.ndarray, mask: np.ndarray, blur_px: float) -> np.ndarray:
    """Unit normals (P, 3) inside the mask, after losing detail finer than `blur_px`."""
    if blur_px > 0.1:
        normals = cv2.GaussianBlur(np.where(mask[..., None], normals, 0.0).astype(np.float32), (0, 0), blur_px)
    return _unit(normals[mask])


def _bumped(normals: np.ndarray, bump: np.ndarray) -> np.ndarray:
    """Tilt normals (P, 3) by the material's fine relief (P,): pores and wrinkles too small for the mesh."""
    tilt = np.stack([bump, np.roll(bump, 1), np.zeros_like(bump)], 1) * BUMP_TILT
    return _unit(normals + tilt.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)).astype(np.float32)


def _shade(
    points: np.ndarray,
    normals: np.ndarray,
    surface: Surface,
    lighting: Lighting,
    finish: Finish,
    mask: np.ndarray,
    pixels_per_cm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Ambient and screen layers (H, W, 3) of a head's visible points (P, 3)."""
    room, screen = lighting.ambient, lighting.screen
    room_irradiance = _image(room.diffuse(normals, surface.occlusion), mask)
    direct = screen_diffuse(points, normals, screen) * (0.35 + 0.65 * surface.occlusion)
    screen_irradiance = _image(np.repeat(direct[:, None], 3, 1), mask)
    skin = mask.astype(np.float32)
    for channel, radius_cm in enumerate(finish.scatter_cm):
        sigma = radius_cm * pixels_per_cm
        if sigma > 0.0:
            room_irradiance[..., channel] = scatter(room_irradiance[..., channel], skin, sigma)
            screen_irradiance[..., channel] = scatter(screen_irradiance[..., channel], skin, sigma)
    gloss = surface.specular_scale * surface.occlusion
    room_gloss = room.specular(points, normals, surface.roughness, finish.f0) * gloss[:, None]
    screen_gloss = screen_specular(points, normals, surface.roughness, finish.f0, screen)
    screen_gloss = screen_gloss * surface.specular_scale * (0.4 + 0.6 * surface.occlusion)
    albedo = _image(surface.albedo, mask)
    ambient_layer = albedo * room_irradiance + _image(room_gloss, mask)
    screen_layer = albedo * screen_irradiance + _image(np.repeat(screen_gloss[:, None], 3, 1), mask)
    return ambient_layer, screen_layer


def scatter(irradiance: np.ndarray, mask: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur irradiance (H, W) within `mask` (H, W) float 0/1: light that wanders through skin, none from outside."""
    weight = cv2.GaussianBlur(mask, (0, 0), sigma_px) + 1e-4
    blurred = cv2.GaussianBlur(irradiance * mask, (0, 0), sigma_px) / weight
    return ((1.0 - SCATTERED_SHARE) * irradiance + SCATTERED_SHARE * blurred) * mask


def _image(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    image = np.zeros((*mask.shape, values.shape[1]), np.float32)
    image[mask] = values
    return image


@dataclass(frozen=True)
class Motion:
    """How far an object (or the hand with the phone) has moved since the layers were rendered."""

    turn: np.ndarray
    """(3,) yaw, pitch, roll in radians about the object's own middle."""
    shift_cm: np.ndarray
    """(3,) camera space."""


class MotionWalk:
    """Smooth random motion of head against phone: a velocity that wanders, and a hand that comes back."""

    TURN_SPEED = 0.020
    """Typical speed of turning, radians per second."""
    SHIFT_SPEED_CM = np.array([0.28, 0.28, 0.40])
    """Typical speed of shifting, cm per second."""
    MEMORY_S = 0.4
    RETURN_S = 3.0

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._scale = float(np.exp(rng.normal() * 0.5))
        self._speed = self._scale * rng.normal(size=6)
        self._place = np.zeros(6)

    def now(self) -> Motion:
        """Where the object is, against where it was at first."""
        return Motion(self._place[:3] * self.TURN_SPEED, self._place[3:] * self.SHIFT_SPEED_CM)

    def step(self, seconds: float) -> Motion:
        """Let time pass and return where the object is then."""
        keep = float(np.exp(-seconds / self.MEMORY_S))
        kick = self._scale * np.sqrt(1.0 - keep * keep) * self._rng.normal(size=6)
        self._speed = keep * self._speed + kick
        self._place = np.exp(-seconds / self.RETURN_S) * (self._place + self._speed * seconds)
        return self.now()


def motion_map(layers: LightLayers, motion: Motion, middle_cm: np.ndarray, view: View, size: int) -> np.ndarray:
    """Source pixel (size, size, 2) float32 (x, y) in the layers for each pixel of the photograph after `motion`.

    `middle_cm` (3,) is the point the object turns about. The background moves with the object's edge, as it does when
    the hand moves the phone; where depth is unknown the object's middle stands for it.
    """
    small = cv2.resize(layers.depth_cm, (size, size), interpolation=cv2.INTER_NEAREST)
    depth = np.where(small > 0.0, small, np.float32(-middle_cm[2])).astype(np.float32)
    depth = cv2.GaussianBlur(depth, (0, 0), 1.5 * size / 256)
    turn = rotation(*motion.turn)
    out = np.empty((size, size, 2), np.float32)
    parameters = np.array([view.focal_px * size / view.size, view.focal_px, size / 2.0, view.size / 2.0], np.float32)
    _motion_kernel(depth, turn, np.asarray(middle_cm, np.float32), motion.shift_cm.astype(np.float32), parameters, out)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _motion_kernel(
    depth: np.ndarray,
    turn: np.ndarray,
    middle: np.ndarray,
    shift: np.ndarray,
    parameters: np.ndarray,
    out: np.ndarray,
) -> None:
    focal, layer_focal, centre, layer_centre = parameters[0], parameters[1], parameters[2], parameters[3]
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            d = depth[row, column]
            x = (column + np.float32(0.5) - centre) / focal * d - middle[0] - shift[0]
            y = -(row + np.float32(0.5) - centre) / focal * d - middle[1] - shift[1]
            z = -d - middle[2] - shift[2]
            before_x = turn[0, 0] * x + turn[1, 0] * y + turn[2, 0] * z + middle[0]
            before_y = turn[0, 1] * x + turn[1, 1] * y + turn[2, 1] * z + middle[1]
            before_z = turn[0, 2] * x + turn[1, 2] * y + turn[2, 2] * z + middle[2]
            out[row, column, 0] = layer_centre + layer_focal * before_x / -before_z - np.float32(0.5)
            out[row, column, 1] = layer_centre - layer_focal * before_y / -before_z - np.float32(0.5)


def move(image: np.ndarray, source: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Photograph a layer image (H, W[, 3]) through a motion map (size, size, 2)."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.remap(image, source, None, how, borderMode=cv2.BORDER_REPLICATE)


def draw_background(rng: np.random.Generator, size: int, lighting: Lighting) -> LightLayers:
    """Draw what stands behind everybody: wall, furniture, tiles; slightly lit by the screen; no depth, no face."""
    albedo = _draw_wall(rng, size)
    for _ in range(int(rng.integers(1, 7))):
        _draw_rectangle(rng, albedo)
    albedo = cv2.GaussianBlur(albedo, (0, 0), float(rng.uniform(0.4, 3.5)) * size / 384)
    distance_cm = float(np.exp(rng.uniform(np.log(60.0), np.log(400.0))))
    facing = lighting.screen.width_cm * lighting.screen.height_cm / (np.pi * distance_cm**2)
    nothing = np.zeros((size, size), np.float32)
    return LightLayers(
        ambient=albedo * lighting.ambient.radiance * np.float32(lighting.ambient.background),
        screen=albedo * np.float32(facing),
        covered=nothing > 0.0,
        depth_cm=nothing,
        face=nothing > 0.0,
    )


def _draw_wall(rng: np.random.Generator, size: int) -> np.ndarray:
    coarse = int(rng.integers(4, 24))
    blotches = cv2.resize(
        rng.normal(size=(coarse, coarse)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )
    colour = np.clip(rng.uniform(0.1, 0.7) + rng.normal(size=3) * 0.12, 0.03, 0.9).astype(np.float32)
    wall = colour * (1.0 + rng.uniform(0.02, 0.35) * blotches[..., None])
    if rng.random() < 0.4:
        step = int(rng.integers(size // 12, size // 4))
        wall[int(rng.integers(step)) :: step] *= rng.uniform(0.4, 0.9)
        wall[:, int(rng.integers(step)) :: step] *= rng.uniform(0.4, 0.9)
    return np.clip(wall, 0.02, 0.95).astype(np.float32)


def _draw_rectangle(rng: np.random.Generator, albedo: np.ndarray) -> None:
    size = albedo.shape[0]
    x, y = rng.integers(-size // 4, size, 2)
    width, height = rng.integers(size // 20, size, 2)
    patch = albedo[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    patch *= np.float32(0.2)
    patch += np.float32(0.8) * rng.uniform(0.02, 0.9, 3).astype(np.float32)


def with_albedo(surface: Surface, albedo: np.ndarray, roughness: np.ndarray, specular_scale: np.ndarray) -> Surface:
    """The same surface repainted: albedo (P, 3), roughness (P,), specular scale (P,), clipped to what exists."""
    return replace(
        surface,
        albedo=np.clip(albedo, 0.003, 0.95).astype(np.float32),
        roughness=np.clip(roughness, 0.03, 1.0).astype(np.float32),
        specular_scale=np.asarray(specular_scale, np.float32),
    )
