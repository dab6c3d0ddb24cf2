"""The room around the person: diffuse light from all sides, plus one direction, in the paper's eight ambient scenes.

It is the ambient term I = k_a·I_a of the paper's model of a frame (section 3.2), made physical: second-order spherical
harmonics for what comes from everywhere and a distant light for the window or lamp, in lux. Hollows that are too small
for the mesh dim the first (`Surface.occlusion`), cast shadows cut off the second (`simulator.shadow`). Radiance is in
cd/m² per channel; camera space as in `simulator.light`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from simulator.errors import require_between, require_one_of
from simulator.light import FloatArray, ScreenLight, as_rows, as_triple, per_row

MIN_IRRADIANCE_FACTOR = 0.03
"""Low-order harmonics ring below zero behind a strong light; real rooms are never perfectly black there."""
SMALLEST_ROOM_ROUGHNESS = 0.2
"""Room lights are not points: their size widens the highlights of smooth surfaces."""


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
    "dark_room": SceneKind((4, 25), 1.2, (0.1, 1.2), (0.0, 2.2), (0.2, 1.3), (2700, 6500), (0.15, 1.2)),
    "office": SceneKind((150, 600), 1.5, (0.3, 1.8), (0.0, 1.2), (0.7, 1.4), (3500, 6500), (0.4, 1.3)),
    "bedroom": SceneKind((20, 200), 1.5, (0.3, 1.6), (0.0, 1.6), (0.3, 1.3), (2600, 5000), (0.2, 1.2)),
    "backlight": SceneKind((60, 500), 1.0, (0.5, 1.5), (2.0, 2.8), (0.1, 0.7), (4000, 7000), (1.5, 6.0)),
    "shadow": SceneKind((100, 800), 1.0, (0.0, 0.4), (0.0, 1.6), (0.3, 1.3), (5000, 8000), (0.6, 2.5)),
    "cloudy": SceneKind((400, 1500), 0.6, (0.0, 0.3), (0.0, 3.1), (0.6, 1.5), (5500, 7500), (0.6, 2.0)),
    "sunlight": SceneKind((800, 5000), 0.3, (0.8, 2.5), (0.2, 1.6), (0.3, 1.1), (4800, 5800), (0.5, 2.0)),
    "street_lights": SceneKind((6, 60), 1.0, (0.4, 1.5), (0.2, 2.0), (0.5, 1.3), (2000, 4500), (0.05, 0.6)),
}
"""Illuminances are typical readings at a face, not measurements of the paper's data set (it gives none)."""
GREEN_SHIFT = (0.02, 0.06)
"""Mean and deviation of green over a black body's: lamps (fluorescent, cheap LED) lie on the green side."""
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
        name = scene or draw_scene(rng, lux)
        kind = SCENES[require_one_of("scene", name, tuple(SCENES), "name a scene of simulator.ambient.SCENES")]
        drawn_lux = float(np.exp(rng.uniform(*np.log(kind.lux))))
        if lux is not None:
            drawn_lux = require_between("ambient_lux", lux, 0.0, MAX_LUX, "give the room's illuminance in lux")
        azimuth = rng.choice([-1.0, 1.0]) * rng.uniform(*kind.azimuth)
        elevation = rng.uniform(*kind.elevation)
        return Ambient(
            scene=name,
            lux=drawn_lux,
            colour=as_triple(light_colour(rng.uniform(*kind.kelvin), GREEN_SHIFT[0] + rng.normal() * GREEN_SHIFT[1])),
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
        return self.diffuse_level(normals, occlusion, lit)[:, None] * self.radiance

    def diffuse_level(self, normals: FloatArray, occlusion: FloatArray, lit: FloatArray | float = 1.0) -> FloatArray:
        """As `diffuse`, but (P,) in units of `radiance`: the room's light has one colour."""
        normals = as_rows(normals)
        out = np.empty(len(normals), np.float32)
        shade, light = per_row(occlusion, len(normals)), per_row(lit, len(normals))
        _diffuse_kernel(normals, shade, light, self._coefficients(), np.float32(self.direct_share), out)
        return out

    def specular(
        self, points: FloatArray, normals: FloatArray, roughness: FloatArray, f0: float, lit: FloatArray | float = 1.0
    ) -> FloatArray:
        """Reflected radiance (P, 3) float32 towards the camera: the direction through GGX, the room as its mirror."""
        return self.specular_level(points, normals, roughness, f0, lit)[:, None] * self.radiance

    def specular_level(
        self,
        points: FloatArray,
        normals: FloatArray,
        roughness: FloatArray,
        f0: float,
        lit: FloatArray | float = 1.0,
        occlusion: FloatArray | float = 1.0,
    ) -> FloatArray:
        """As `specular`, but (P,) in units of `radiance`; `occlusion` dims the mirrored room, `lit` the direction."""
        points, normals = as_rows(points), as_rows(normals)
        count = len(points)
        out = np.empty(count, np.float32)
        rough, light, shade = per_row(roughness, count), per_row(lit, count), per_row(occlusion, count)
        settings = np.array([self.direct_share, f0], np.float32)
        _specular_kernel(points, normals, rough, light, shade, self._coefficients(), settings, out)
        return out

    def _coefficients(self) -> FloatArray:
        """The nine harmonics and the direction (12,) float32, as the kernels want them."""
        return np.array([*self.harmonics, *self.direction], np.float32)


@dataclass(frozen=True)
class Lighting:
    """Both lights of a scene."""

    ambient: Ambient
    screen: ScreenLight


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, inline="always")
def _environment(c: np.ndarray, x: float, y: float, z: float) -> float:
    """The room's mean light from the side of (x, y, z)."""
    level = c[0] + c[1] * y + c[2] * z + c[3] * x + c[4] * x * y + c[5] * y * z
    level += c[6] * (np.float32(3) * z * z - np.float32(1)) + c[7] * x * z + c[8] * (x * x - y * y)
    return max(level, np.float32(MIN_IRRADIANCE_FACTOR))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _diffuse_kernel(
    normals: np.ndarray, occlusion: np.ndarray, lit: np.ndarray, c: np.ndarray, direct_share: float, out: np.ndarray
) -> None:
    for i in range(normals.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        facing = max(x * c[9] + y * c[10] + z * c[11], np.float32(0))
        out[i] = _environment(c, x, y, z) * occlusion[i] + direct_share * facing * lit[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _specular_kernel(
    points: np.ndarray,
    normals: np.ndarray,
    roughness: np.ndarray,
    lit: np.ndarray,
    occlusion: np.ndarray,
    c: np.ndarray,
    settings: np.ndarray,
    out: np.ndarray,
) -> None:
    direct_share, f0 = settings[0], settings[1]
    one, two = np.float32(1), np.float32(2)
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        inverse = -one / np.sqrt(px * px + py * py + pz * pz)
        vx, vy, vz = px * inverse, py * inverse, pz * inverse
        nv = min(max(nx * vx + ny * vy + nz * vz, np.float32(0.05)), one)
        hx, hy, hz = vx + c[9], vy + c[10], vz + c[11]
        nh = (nx * hx + ny * hy + nz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6))
        nl = max(nx * c[9] + ny * c[10] + nz * c[11], np.float32(0))
        width = max(roughness[i], np.float32(SMALLEST_ROOM_ROUGHNESS))
        width2 = width * width * width * width
        below = nh * nh * (width2 - one) + one
        lobe = width2 / (np.float32(np.pi) * below * below)
        peak = np.float32(np.pi) * direct_share * lit[i] * lobe * f0 * nl
        peak /= np.float32(4) * nl * nv + np.float32(0.05)
        grazing = one - nv
        fresnel = grazing * grazing * grazing * grazing * grazing
        fresnel = f0 + (max(one - roughness[i], f0) - f0) * fresnel
        mirrored = _environment(c, two * nv * nx - vx, two * nv * ny - vy, two * nv * nz - vz)
        out[i] = peak + mirrored * fresnel * (one - np.float32(0.7) * roughness[i]) * occlusion[i]


def light_colour(kelvin: float, green_shift: float = 0.0) -> FloatArray:
    """Linear sRGB (3,) of a light of this colour temperature, green = 1, after a camera's automatic white balance.

    Red and blue of a black body relative to green follow (kelvin/6500)^−1.0 and ^1.4 within about 20 % between 2700 and
    8000 K; cameras adapt by about two thirds, so only a third of the cast (in log) is left.
    """
    ratio = kelvin / 6500.0
    left_over = 1.0 / 3.0
    return np.array([ratio ** (-1.0 * left_over), 1.0 + green_shift, ratio ** (1.4 * left_over)])


def draw_scene(rng: np.random.Generator, lux: float | None = None, among: Sequence[str] = tuple(SCENES)) -> str:
    """Draw a scene's name by the scenes' weights, of those in `among` that can have this illuminance if any can."""
    fitting = [name for name in among if lux is None or SCENES[name].lux[0] <= lux <= SCENES[name].lux[1]]
    names = fitting or list(among)
    weights = np.array([SCENES[name].weight for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _draw_harmonics(rng: np.random.Generator) -> tuple[float, ...]:
    # Light tends to come from above: in the real pairs that we measured the chin has 0.6 of the skin's room light.
    first_order = [rng.uniform(0.1, 0.75), rng.uniform(-0.2, 0.35), rng.normal() * 0.2]
    return (1.0, *map(float, first_order), *map(float, rng.normal(size=5) * 0.06))


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    horizontal = np.cos(elevation)
    vector = np.array([np.sin(azimuth) * horizontal, np.sin(elevation), np.cos(azimuth) * horizontal])
    return as_triple(vector)
