"""The two lights of a capture: the phone's screen, a rectangle just below the camera, and the room around the person.

The paper's model of a frame is Lambert's, I = k_a·I_a + k_d·I_d·cosθ (section 3.2); here both terms are physical. The
screen's diffuse term is the exact form factor of a polygon (Lambert 1760), not a sum over sample points, so no dot grid
appears; its specular term is Cook–Torrance with the GGX lobe, by quadrature for rough surfaces and by the mirrored
rectangle for smooth ones such as glass and eyes. The room is second-order spherical harmonics plus one direction, in
lux. Units: lengths in cm, radiance per channel in cd/m² ("nit") with white = (1, 1, 1); camera space has x to the image
right, y up, z towards the viewer, the camera at the origin looking along −z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from simulator.errors import require_between, require_one_of

FloatArray = np.ndarray

SCREEN_WIDTH_CM = 6.8
SCREEN_HEIGHT_CM = 14.5
SPECULAR_GRID = (4, 8)
"""Quadrature points across and down the screen for rough surfaces."""
MIRROR_ALPHA = 0.03
"""Below this GGX width the lobe is narrower than the quadrature's spacing; the mirrored rectangle takes over."""
MIN_IRRADIANCE_FACTOR = 0.03
"""Low-order harmonics ring below zero behind a strong light; real rooms are never perfectly black there."""


@dataclass(frozen=True)
class ScreenLight:
    """The phone's screen in the camera plane z = 0, below the camera at the origin."""

    luminance_nits: float = 500.0
    """White luminance, cd/m²."""
    black_ratio: float = 0.001
    """Luminance of black over white: 0 for OLED, about 0.001 for LCD."""
    offset_x_cm: float = 0.0
    """Sideways distance of the screen's middle from the camera."""
    offset_y_cm: float = 0.6
    """Distance of the screen's upper edge below the camera."""
    width_cm: float = SCREEN_WIDTH_CM
    height_cm: float = SCREEN_HEIGHT_CM

    @staticmethod
    def draw(rng: np.random.Generator) -> ScreenLight:
        """Draw a phone's screen: 350 to 700 nit, LCD or OLED, camera somewhere along its upper edge."""
        return ScreenLight(
            luminance_nits=float(rng.uniform(350.0, 700.0)),
            black_ratio=float(rng.choice([0.0, rng.uniform(0.0004, 0.003)])),
            offset_x_cm=float(rng.uniform(-1.8, 1.8)),
            offset_y_cm=float(rng.uniform(0.2, 0.9)),
            width_cm=float(rng.uniform(6.3, 7.1)),
            height_cm=float(rng.uniform(13.2, 15.2)),
        )

    def corners(self) -> FloatArray:
        """The rectangle's corners (4, 3) float64 in camera space, clockwise as the lit side (z < 0) sees them."""
        left, right = self.offset_x_cm - self.width_cm / 2, self.offset_x_cm + self.width_cm / 2
        top, bottom = -self.offset_y_cm, -self.offset_y_cm - self.height_cm
        return np.array([[left, top, 0], [left, bottom, 0], [right, bottom, 0], [right, top, 0]], np.float64)

    def radiance(self, colour_linear: tuple[float, float, float] | FloatArray) -> FloatArray:
        """Radiance (3,) float32 in cd/m² per primary while the screen shows `colour_linear` (0..1 per channel)."""
        colour = np.asarray(colour_linear, np.float32)
        return ((self.black_ratio + (1.0 - self.black_ratio) * colour) * self.luminance_nits).astype(np.float32)


def screen_diffuse(points: FloatArray, normals: FloatArray, screen: ScreenLight) -> FloatArray:
    """Irradiance/π (P,) float32 at `points` (P, 3) cm with unit `normals` (P, 3), per unit of screen radiance."""
    points, normals = _as_rows(points), _as_rows(normals)
    out = np.empty(len(points), np.float32)
    _polygon_form_factor(points, normals, screen.corners(), out)
    return out


def screen_specular(
    points: FloatArray, normals: FloatArray, roughness: FloatArray, f0: FloatArray | float, screen: ScreenLight
) -> FloatArray:
    """Reflected radiance (P,) float32 towards the camera per unit of screen radiance: GGX, Smith, Schlick.

    `roughness` (P,) in 0..1 (GGX width is its square); `f0` reflectance at normal incidence, a number or (P,).
    """
    points, normals = _as_rows(points), _as_rows(normals)
    count = len(points)
    rough = np.ascontiguousarray(np.broadcast_to(np.asarray(roughness, np.float32), (count,)))
    reflectance = np.ascontiguousarray(np.broadcast_to(np.asarray(f0, np.float32), (count,)))
    samples, area = _screen_grid(screen)
    spacing = np.float32(np.sqrt(area / 12.0))
    edges = (screen.offset_x_cm, screen.offset_y_cm, screen.width_cm, screen.height_cm)
    box = np.array([edges[0] - edges[2] / 2, edges[0] + edges[2] / 2, -edges[1] - edges[3], -edges[1]], np.float32)
    out = np.empty(count, np.float32)
    _rectangle_specular(points, normals, rough, reflectance, samples, np.float32(area), spacing, box, out)
    return out


def _as_rows(array: FloatArray) -> FloatArray:
    return np.ascontiguousarray(array, np.float32).reshape(-1, 3)


def _screen_grid(screen: ScreenLight) -> tuple[FloatArray, float]:
    """Quadrature points (K, 3) float32 on the screen and the area each stands for, cm²."""
    across, down = SPECULAR_GRID
    x = screen.offset_x_cm + ((np.arange(across) + 0.5) / across - 0.5) * screen.width_cm
    y = -screen.offset_y_cm - (np.arange(down) + 0.5) / down * screen.height_cm
    grid_x, grid_y = np.meshgrid(x, y)
    grid = np.stack([grid_x.ravel(), grid_y.ravel(), np.zeros(across * down)], 1).astype(np.float32)
    return grid, screen.width_cm * screen.height_cm / (across * down)


@njit(cache=True, nogil=True)
def _polygon_form_factor(points: np.ndarray, normals: np.ndarray, corners: np.ndarray, out: np.ndarray) -> None:
    """Lambert's polygon formula, after clipping the rectangle at each point's horizon (4 corners become at most 5)."""
    clipped = np.empty((5, 3), np.float64)
    for i in range(points.shape[0]):
        count = 0
        for k in range(4):
            j = (k + 1) % 4
            side_k = 0.0
            side_j = 0.0
            for axis in range(3):
                side_k += (corners[k, axis] - points[i, axis]) * normals[i, axis]
                side_j += (corners[j, axis] - points[i, axis]) * normals[i, axis]
            if side_k >= 0.0:
                for axis in range(3):
                    clipped[count, axis] = corners[k, axis] - points[i, axis]
                count += 1
            if (side_k >= 0.0) != (side_j >= 0.0):
                share = side_k / (side_k - side_j)
                for axis in range(3):
                    edge = corners[j, axis] - corners[k, axis]
                    clipped[count, axis] = corners[k, axis] + share * edge - points[i, axis]
                count += 1
        total = 0.0
        for k in range(count):
            j = (k + 1) % count
            ax, ay, az = clipped[k, 0], clipped[k, 1], clipped[k, 2]
            bx, by, bz = clipped[j, 0], clipped[j, 1], clipped[j, 2]
            cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            sine = np.sqrt(cx * cx + cy * cy + cz * cz)
            if sine > 1e-12:
                angle = np.arctan2(sine, ax * bx + ay * by + az * bz)
                total += angle / sine * (cx * normals[i, 0] + cy * normals[i, 1] + cz * normals[i, 2])
        out[i] = max(total, 0.0) / (2.0 * np.pi)


@njit(cache=True, nogil=True, fastmath=True)
def _soft_inside(position: float, low: float, high: float, softness: float) -> float:
    """How much of a soft interval holds `position`: 1 well inside [low, high], 0 well outside."""
    scale = 1.0 / softness
    return 0.5 * (np.tanh((position - low) * scale) - np.tanh((position - high) * scale))


@njit(cache=True, nogil=True, fastmath=True)
def _rectangle_specular(
    points: np.ndarray,
    normals: np.ndarray,
    roughness: np.ndarray,
    f0: np.ndarray,
    samples: np.ndarray,
    area: np.float32,
    spacing: np.float32,
    box: np.ndarray,
    out: np.ndarray,
) -> None:
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        inverse = 1.0 / np.sqrt(px * px + py * py + pz * pz)
        vx, vy, vz = -px * inverse, -py * inverse, -pz * inverse
        nv = max(nx * vx + ny * vy + nz * vz, 1e-3)
        alpha = max(roughness[i] * roughness[i], 1e-4)
        if alpha < MIRROR_ALPHA:
            rx, ry, rz = 2 * nv * nx - vx, 2 * nv * ny - vy, 2 * nv * nz - vz
            if rz <= 1e-3:
                out[i] = 0.0
                continue
            reach = -pz / rz
            softness = 2.0 * alpha * reach / max(rz, 0.2) + 0.02
            hit = _soft_inside(px + reach * rx, box[0], box[1], softness)
            hit *= _soft_inside(py + reach * ry, box[2], box[3], softness)
            out[i] = hit * (f0[i] + (1.0 - f0[i]) * (1.0 - nv) ** 5)
            continue
        total = 0.0
        for k in range(samples.shape[0]):
            lx, ly, lz = samples[k, 0] - px, samples[k, 1] - py, samples[k, 2] - pz
            distance2 = lx * lx + ly * ly + lz * lz
            inverse = 1.0 / np.sqrt(distance2)
            lx, ly, lz = lx * inverse, ly * inverse, lz * inverse
            nl = nx * lx + ny * ly + nz * lz
            if nl <= 0.0 or lz <= 0.0:
                continue
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            inverse = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
            nh = max((nx * hx + ny * hy + nz * hz) * inverse, 0.0)
            vh = max((vx * hx + vy * hy + vz * hz) * inverse, 0.0)
            # Each point stands for a patch; half its angular spread widens the lobe, so that no dots appear.
            widened2 = alpha * alpha + spacing * spacing / distance2
            below = nh * nh * (widened2 - 1.0) + 1.0
            lobe = widened2 / (np.pi * below * below)
            shadowing = nl + np.sqrt(widened2 + (1.0 - widened2) * nl * nl)
            masking = nv + np.sqrt(widened2 + (1.0 - widened2) * nv * nv)
            fresnel = f0[i] + (1.0 - f0[i]) * (1.0 - vh) ** 5
            total += area * lz / distance2 * nl * lobe * fresnel / (shadowing * masking)
        out[i] = total


@dataclass(frozen=True)
class SceneKind:
    """What is typical of one of the paper's eight ambient scenes."""

    lux: tuple[float, float]
    """Range of illuminance, drawn log-uniformly."""
    weight: float
    """Relative frequency."""
    direct: tuple[float, float]
    """Range of the directional light's share relative to the diffuse light (unit irradiance each)."""
    azimuth: tuple[float, float]
    """Range of |azimuth| of the directional light in radians: 0 = from the camera, π = from behind the person."""
    elevation: tuple[float, float]
    """Range of its elevation above the horizon, radians."""
    kelvin: tuple[float, float]
    """Range of its correlated colour temperature before the camera's white balance."""
    background: tuple[float, float]
    """Range of the background's brightness relative to a surface at the face, drawn log-uniformly."""


SCENES: dict[str, SceneKind] = {
    "dark_room": SceneKind((4, 25), 1.2, (0.1, 0.8), (0.0, 2.2), (0.1, 1.2), (2700, 6500), (0.15, 1.2)),
    "office": SceneKind((150, 600), 1.5, (0.2, 0.8), (0.0, 1.0), (0.7, 1.4), (3500, 5500), (0.4, 1.3)),
    "bedroom": SceneKind((20, 200), 1.5, (0.2, 1.0), (0.2, 1.6), (0.2, 1.2), (2600, 4000), (0.2, 1.2)),
    "backlight": SceneKind((60, 500), 1.0, (0.5, 1.5), (2.0, 2.8), (0.1, 0.7), (4000, 7000), (1.5, 6.0)),
    "shadow": SceneKind((100, 800), 1.0, (0.0, 0.4), (0.0, 1.6), (0.3, 1.3), (5000, 8000), (0.6, 2.5)),
    "cloudy": SceneKind((400, 1500), 0.6, (0.0, 0.3), (0.0, 3.1), (0.6, 1.5), (5500, 7500), (0.6, 2.0)),
    "sunlight": SceneKind((800, 5000), 0.3, (0.8, 2.5), (0.2, 1.6), (0.3, 1.1), (4800, 5800), (0.5, 2.0)),
    "street_lights": SceneKind((6, 60), 1.0, (0.4, 1.5), (0.2, 2.0), (0.5, 1.3), (2000, 4500), (0.05, 0.6)),
}
"""Illuminances are typical readings at a face, not measurements of the paper's data set (it gives none)."""
MAX_LUX = 120_000.0  # direct summer sun


@dataclass(frozen=True)
class Ambient:
    """The room's light on a surface: diffuse harmonics plus one direction."""

    scene: str
    lux: float
    """Illuminance on a surface facing the camera, approximately (the harmonics' mean term is 1)."""
    colour: tuple[float, float, float]
    """Linear RGB of the light, green = 1."""
    harmonics: tuple[float, ...]
    """Nine coefficients of real spherical harmonics (unnormalised polynomials of the normal), the first 1."""
    direction: tuple[float, float, float]
    """Unit vector towards the directional light, camera space."""
    direct_share: float
    """Irradiance of the directional light on a surface facing it, over the diffuse mean."""
    background: float
    """Brightness of the background relative to a surface at the face."""

    @staticmethod
    def draw(rng: np.random.Generator, scene: str | None = None, lux: float | None = None) -> Ambient:
        """Draw a named scene (or the given one); `lux` overrides the illuminance and prefers a scene that has it."""
        name = scene or _draw_scene_name(rng, lux)
        kind = SCENES[require_one_of("scene", name, tuple(SCENES), "name a scene of simulator.light.SCENES")]
        drawn_lux = float(np.exp(rng.uniform(*np.log(kind.lux))))
        if lux is not None:
            drawn_lux = require_between("ambient_lux", lux, 0.0, MAX_LUX, "give the room's illuminance in lux")
        azimuth = rng.choice([-1.0, 1.0]) * rng.uniform(*kind.azimuth)
        elevation = rng.uniform(*kind.elevation)
        return Ambient(
            scene=name,
            lux=drawn_lux,
            colour=as_triple(light_colour(rng.uniform(*kind.kelvin), rng.normal() * 0.03)),
            harmonics=_draw_harmonics(rng),
            direction=_direction(azimuth, elevation),
            direct_share=float(rng.uniform(*kind.direct)),
            background=float(np.exp(rng.uniform(*np.log(kind.background)))),
        )

    @property
    def radiance(self) -> FloatArray:
        """Radiance (3,) float32 of a white matte surface under the mean diffuse light, cd/m² per channel."""
        return (self.lux / np.pi * np.asarray(self.colour)).astype(np.float32)

    def diffuse(self, normals: FloatArray, occlusion: FloatArray, lit: FloatArray | float = 1.0) -> FloatArray:
        """Irradiance/π (P, 3) float32 on unit `normals` (P, 3); `occlusion` (P,) 0..1; `lit` 0 in cast shadow."""
        facing = np.maximum(normals @ np.asarray(self.direction, np.float32), 0.0) * lit
        level = self._environment(normals) * occlusion + self.direct_share * facing * (0.3 + 0.7 * occlusion)
        return level[:, None].astype(np.float32) * self.radiance

    def specular(
        self, points: FloatArray, normals: FloatArray, roughness: FloatArray, f0: float, lit: FloatArray | float = 1.0
    ) -> FloatArray:
        """Reflected radiance (P, 3) float32 towards the camera: the direction through GGX, the room as its mirror."""
        view = -points / np.linalg.norm(points, axis=1, keepdims=True)
        direction = np.asarray(self.direction, np.float32)
        half = view + direction
        half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-6
        facing_half = np.clip((normals * half).sum(1), 0.0, 1.0)
        facing_light = np.clip(normals @ direction, 0.0, 1.0)
        facing_view = np.clip((normals * view).sum(1), 0.05, 1.0)
        width2 = np.maximum(roughness, 0.2) ** 4  # room lights are not points: their size widens narrow lobes
        lobe = width2 / (np.pi * (facing_half**2 * (width2 - 1.0) + 1.0) ** 2)
        peak = np.pi * self.direct_share * lit * lobe * f0 * facing_light / (4 * facing_light * facing_view + 0.05)
        mirrored = 2.0 * facing_view[:, None] * normals - view
        fresnel = f0 + (np.maximum(1.0 - roughness, f0) - f0) * (1.0 - facing_view) ** 5
        room = self._environment(mirrored) * fresnel * (1.0 - 0.7 * roughness)
        return (peak + room)[:, None].astype(np.float32) * self.radiance

    def _environment(self, directions: FloatArray) -> FloatArray:
        x, y, z = directions[:, 0], directions[:, 1], directions[:, 2]
        c = np.asarray(self.harmonics, np.float32)
        linear = c[0] + c[1] * y + c[2] * z + c[3] * x
        quadratic = c[4] * x * y + c[5] * y * z + c[6] * (3 * z * z - 1) + c[7] * x * z + c[8] * (x * x - y * y)
        return np.maximum(linear + quadratic, MIN_IRRADIANCE_FACTOR)


def light_colour(kelvin: float, green_shift: float = 0.0) -> FloatArray:
    """Linear sRGB (3,) of a light of this colour temperature, green = 1, after a camera's automatic white balance.

    Red and blue of a black body relative to green follow (kelvin/6500)^−1.0 and ^1.4 within about 20 % between 2700 and
    8000 K; cameras adapt by about two thirds, so only a third of the cast (in log) is left.
    """
    ratio = kelvin / 6500.0
    left_over = 1.0 / 3.0
    return np.array([ratio ** (-1.0 * left_over), 1.0 + green_shift, ratio ** (1.4 * left_over)])


def _draw_scene_name(rng: np.random.Generator, lux: float | None) -> str:
    fitting = [name for name, kind in SCENES.items() if lux is None or kind.lux[0] <= lux <= kind.lux[1]]
    names = fitting or list(SCENES)
    weights = np.array([SCENES[name].weight for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _draw_harmonics(rng: np.random.Generator) -> tuple[float, ...]:
    first_order = [rng.uniform(0.1, 0.5), rng.uniform(-0.2, 0.35), rng.normal() * 0.2]  # light tends to come from above
    return (1.0, *map(float, first_order), *map(float, rng.normal(size=5) * 0.06))


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    horizontal = np.cos(elevation)
    vector = np.array([np.sin(azimuth) * horizontal, np.sin(elevation), np.cos(azimuth) * horizontal])
    return as_triple(vector)


def as_triple(values: np.ndarray) -> tuple[float, float, float]:
    """Three plain floats, for a frozen setting."""
    first, second, third = map(float, values)
    return first, second, third
