"""The phone's screen as a light: a rectangle just below the camera, the flash of the paper.

The paper's model of a frame is Lambert's, I = k_a·I_a + k_d·I_d·cosθ (section 3.2); here the second term is physical.
The screen's diffuse light is the exact form factor of a polygon (Lambert 1760), not a sum over sample points, so
near-field fall-off comes by itself and no dot grid appears; its highlight is Cook–Torrance with the GGX lobe, by a
quadrature whose nodes gather where the lobe is, so that the same few serve rough skin and glass. The room is
`simulator.ambient`, what stands in the screen's way `simulator.shadow`. Units: lengths in cm, radiance per channel in
cd/m² ("nit") with white = (1, 1, 1); camera space has x to the image right, y up, z towards the viewer, the camera at
the origin looking along −z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

FloatArray = np.ndarray
Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

SCREEN_WIDTH_CM = 6.8
SCREEN_HEIGHT_CM = 14.5
IDENTITY_PRIMARIES: Matrix3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
D65_XY = (0.3127, 0.3290)
WIDE_PRIMARIES_XY = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
"""Display P3: red, green, blue as the CIE places them; the widest of today's phones and what our camera's channels are,
so that no panel shows it a negative amount of light."""
PANELS: dict[str, tuple[tuple[float, float], ...]] = {
    "p3": WIDE_PRIMARIES_XY,
    "srgb": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "narrow": ((0.615, 0.340), (0.315, 0.575), (0.155, 0.075)),
}
"""Chromaticities of the primaries of a screen of each kind: wide gamut, sRGB, and an LCD that covers four fifths of it;
single phones differ a little."""
PRIMARIES_TOLERANCE_XY = 0.005
WHITE_TOLERANCE = (0.06, 0.0, 0.10)
"""Standard deviations, relative, of how one screen's white differs from the next in red, green and blue: panels,
colour modes, and the warmer white that people set for the evening."""
ROUGH_ALPHA = 0.08
"""GGX width from which the lobe is wider than the screen and needs fewer nodes."""
MILD_WARP = 1.2
"""Tangent of half the angle of a quadrature's warp up to which straight lines serve for it."""
FAINTEST_HIGHLIGHT = 1e-6
"""A highlight that cannot exceed this share of the screen's radiance is left out."""


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
    primaries: Matrix3 = IDENTITY_PRIMARIES
    """Row c, column p: what the camera's channel c sees of primary p at full, over what it sees of white."""

    def corners(self) -> FloatArray:
        """The rectangle's corners (4, 3) float64 in camera space, clockwise as the lit side (z < 0) sees them."""
        left, right, bottom, top = self.edges()
        return np.array([[left, top, 0], [left, bottom, 0], [right, bottom, 0], [right, top, 0]], np.float64)

    def edges(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top in cm."""
        left, top = self.offset_x_cm - self.width_cm / 2, -self.offset_y_cm
        return left, left + self.width_cm, top - self.height_cm, top

    def radiance(self, colour_linear: tuple[float, float, float] | FloatArray) -> FloatArray:
        """Radiance (3,) float32 in cd/m² per camera channel while the screen shows `colour_linear` (0..1 each)."""
        colour = np.asarray(colour_linear, np.float64)
        shown = self.black_ratio + (1.0 - self.black_ratio) * colour
        return (np.asarray(self.primaries) @ shown * self.luminance_nits).astype(np.float32)


def primaries_seen(primaries_xy: FloatArray | tuple[tuple[float, float], ...]) -> FloatArray:
    """Matrix (3, 3) float64 of a panel with these chromaticities (3, 2) and a D65 white, seen by a P3 camera."""
    return np.linalg.solve(_to_xyz(WIDE_PRIMARIES_XY), _to_xyz(primaries_xy))


def _to_xyz(primaries_xy: FloatArray | tuple[tuple[float, float], ...]) -> FloatArray:
    """CIE XYZ of each primary (columns), so that together they make D65 of luminance 1."""
    xy = np.vstack([np.asarray(primaries_xy, np.float64), D65_XY])
    xyz = (np.column_stack([xy, 1.0 - xy.sum(1)]) / xy[:, 1:2]).T
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])


def draw_primaries(rng: np.random.Generator, panel: str) -> Matrix3:
    """A panel of this kind with its maker's tolerances and white point; no channel sees negative light."""
    xy = np.asarray(PANELS[panel]) + rng.normal(size=(3, 2)) * PRIMARIES_TOLERANCE_XY
    seen = np.maximum(primaries_seen(xy), 0.0)
    white = np.exp(rng.normal(size=3) * WHITE_TOLERANCE)
    first, second, third = (as_triple(row) for row in seen / seen.sum(1, keepdims=True) * white[:, None])
    return first, second, third


def as_triple(values: np.ndarray) -> tuple[float, float, float]:
    """Three plain floats, for a frozen setting."""
    first, second, third = map(float, values)
    return first, second, third


def as_rows(array: FloatArray) -> FloatArray:
    """(P, 3) float32, contiguous, as the kernels want points and normals."""
    return np.ascontiguousarray(array, np.float32).reshape(-1, 3)


def per_row(value: FloatArray | float, count: int) -> FloatArray:
    """(count,) float32, contiguous, of a number or an array."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.float32), (count,)))


def screen_diffuse(points: FloatArray, normals: FloatArray, screen: ScreenLight) -> FloatArray:
    """Irradiance/π (P,) float32 at `points` (P, 3) cm with unit `normals` (P, 3), per unit of screen radiance."""
    points, normals = as_rows(points), as_rows(normals)
    out = np.empty(len(points), np.float32)
    _polygon_form_factor(points, normals, screen.corners(), out)
    return out


def screen_specular(
    points: FloatArray, normals: FloatArray, roughness: FloatArray, f0: FloatArray | float, screen: ScreenLight
) -> FloatArray:
    """Reflected radiance (P,) float32 towards the camera per unit of screen radiance: GGX, Smith, Schlick.

    `roughness` (P,) in 0..1 (GGX width is its square); `f0` reflectance at normal incidence, a number or (P,).
    """
    points, normals = as_rows(points), as_rows(normals)
    count = len(points)
    box = np.array(screen.edges(), np.float32)
    out = np.empty(count, np.float32)
    _rectangle_specular(points, normals, per_row(roughness, count), per_row(f0, count), box, NARROW, WIDE, out)
    return out


def _gauss_legendre(count: int) -> FloatArray:
    """Nodes and weights (2, count) float32 on −1..1."""
    return np.stack(np.polynomial.legendre.leggauss(count)).astype(np.float32)


NARROW, WIDE = _gauss_legendre(6), _gauss_legendre(4)
"""Quadratures per direction across the screen for narrow lobes and for wide ones."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, inline="always")
def _edge(ax: float, ay: float, az: float, a: float, bx: float, by: float, bz: float, b: float, n: np.ndarray) -> float:
    """One edge of Lambert's formula: the angle between corners a and b, times its plane's normal, along `n`."""
    cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    cross2 = cx * cx + cy * cy + cz * cz
    size = a * b
    sine2 = cross2 / (size * size)
    facing = cx * n[0] + cy * n[1] + cz * n[2]
    dot = ax * bx + ay * by + az * bz
    if dot > 0.0 and sine2 < 0.25:  # arcsin(s)/s as a series: exact to 1e-7 and much faster than an arcus
        series = 1.0 + sine2 * (1 / 6 + sine2 * (3 / 40 + sine2 * (5 / 112 + sine2 * (35 / 1152 + sine2 * 0.0224))))
        return series / size * facing
    sine = np.sqrt(cross2)
    return np.arctan2(sine, dot) / max(sine, 1e-12) * facing


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _polygon_form_factor(points: np.ndarray, normals: np.ndarray, corners: np.ndarray, out: np.ndarray) -> None:
    """Lambert's polygon formula, after clipping the rectangle at each point's horizon (4 corners become at most 5)."""
    seen = np.empty((5, 4), np.float64)
    side = np.empty(4, np.float64)
    normal = np.empty(3, np.float64)
    for i in range(points.shape[0]):
        normal[0], normal[1], normal[2] = normals[i, 0], normals[i, 1], normals[i, 2]
        for k in range(4):
            side[k] = 0.0
            for axis in range(3):
                side[k] += (corners[k, axis] - points[i, axis]) * normal[axis]
        count = 0
        for k in range(4):
            j = (k + 1) % 4
            if side[k] >= 0.0:
                for axis in range(3):
                    seen[count, axis] = corners[k, axis] - points[i, axis]
                count += 1
            if (side[k] >= 0.0) != (side[j] >= 0.0):
                share = side[k] / (side[k] - side[j])
                for axis in range(3):
                    edge = corners[j, axis] - corners[k, axis]
                    seen[count, axis] = corners[k, axis] + share * edge - points[i, axis]
                count += 1
        for k in range(count):
            seen[k, 3] = np.sqrt(seen[k, 0] ** 2 + seen[k, 1] ** 2 + seen[k, 2] ** 2)
        total = 0.0
        for k in range(count):
            j = k + 1 if k + 1 < count else 0
            a, b = seen[k], seen[j]
            total += _edge(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], normal)
        out[i] = max(total, 0.0) / (2.0 * np.pi)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, inline="always")
def _gather(low: float, high: float, middle: float, width: float, nodes: np.ndarray, at: np.ndarray) -> None:
    """Fill `at` (2, n) with places between `low` and `high`, dense within `width` of `middle`, and their weights.

    place = middle + width·tan(u) with Gauss–Legendre nodes u: a lobe that falls like 1/(1 + (place/width)²)² becomes
    smooth in u, however narrow it is. A wide lobe needs no trigonometry: tan(u) is then well enough a ratio of lines.
    """
    one = np.float32(1)
    first, last = (low - middle) / width, (high - middle) / width
    length_first, length_last = np.sqrt(one + first * first), np.sqrt(one + last * last)
    centre = (first * length_last + last * length_first) / (length_first + length_last)  # tan of the mean angle
    half = (last - first) / (length_first * length_last + one + first * last)  # tan of half the angle between
    if half < np.float32(MILD_WARP):
        for k in range(nodes.shape[1]):
            step = half * nodes[0, k]
            inverse = one / (one - centre * step)
            at[0, k] = middle + width * (centre + step) * inverse
            at[1, k] = half * nodes[1, k] * width * (one + centre * centre) * inverse * inverse
        return
    mean, angle = np.arctan(centre), np.arctan(half)
    for k in range(nodes.shape[1]):
        tangent = np.tan(mean + angle * nodes[0, k])
        at[0, k] = middle + width * tangent
        at[1, k] = angle * nodes[1, k] * width * (one + tangent * tangent)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _rectangle_specular(
    points: np.ndarray,
    normals: np.ndarray,
    roughness: np.ndarray,
    f0: np.ndarray,
    box: np.ndarray,
    narrow: np.ndarray,
    wide: np.ndarray,
    out: np.ndarray,
) -> None:
    one = np.float32(1)
    across, down = np.empty((2, 16), np.float32), np.empty((2, 16), np.float32)
    at = np.empty((3, 64), np.float32)
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        inverse = -one / np.sqrt(px * px + py * py + pz * pz)
        vx, vy, vz = px * inverse, py * inverse, pz * inverse
        nv = max(nx * vx + ny * vy + nz * vz, np.float32(1e-3))
        alpha = max(roughness[i] * roughness[i], np.float32(1e-3))
        # Where the mirrored line of sight meets the screen's plane, and how wide the lobe is there.
        rx, ry = np.float32(2) * nv * nx - vx, np.float32(2) * nv * ny - vy
        rz = max(np.float32(2) * nv * nz - vz, np.float32(0.2))
        reach = -pz / rz
        lobe_x, lobe_y = px + reach * rx, py + reach * ry
        spread = np.float32(2) * alpha * reach
        width_x = spread * np.sqrt(one + rx * rx / (rz * rz))
        width_y = spread * np.sqrt(one + ry * ry / (rz * rz))
        away_x = max(max(box[0] - lobe_x, lobe_x - box[1]), np.float32(0)) / width_x
        away_y = max(max(box[2] - lobe_y, lobe_y - box[3]), np.float32(0)) / width_y
        tail = one + away_x * away_x + away_y * away_y
        alpha2 = alpha * alpha
        if one / (alpha2 * tail * tail) * np.float32(0.01) < np.float32(FAINTEST_HIGHLIGHT):
            out[i] = 0.0
            continue
        nodes = wide if alpha > np.float32(ROUGH_ALPHA) else narrow
        count = nodes.shape[1]
        _gather(box[0], box[1], lobe_x, width_x, nodes, across)
        _gather(box[2], box[3], lobe_y, width_y, nodes, down)
        for row in range(count):
            for column in range(count):
                at[0, row * count + column] = across[0, column] - px
                at[1, row * count + column] = down[0, row] - py
                at[2, row * count + column] = across[1, column] * down[1, row]
        masking = nv + np.sqrt(alpha2 + (one - alpha2) * nv * nv)
        base, rest = f0[i], one - f0[i]
        total = np.float32(0)
        for k in range(count * count):  # no branches, so that it runs several nodes at a time
            lx, ly = at[0, k], at[1, k]
            distance2 = lx * lx + ly * ly + pz * pz
            inverse = one / np.sqrt(distance2)
            lx, ly, lz = lx * inverse, ly * inverse, -pz * inverse
            nl = max(nx * lx + ny * ly + nz * lz, np.float32(0))
            half2 = np.float32(2) + np.float32(2) * (vx * lx + vy * ly + vz * lz)  # |l + v|²
            nh = nl + nv
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            sx, sy, sz = ny * hz - nz * hy, nz * hx - nx * hz, nx * hy - ny * hx
            below = nh * nh * alpha2 + sx * sx + sy * sy + sz * sz  # the sine keeps narrow lobes exact
            grazing = one - np.sqrt(half2) * np.float32(0.5)
            power = grazing * grazing
            power *= power * grazing
            shadowing = nl + np.sqrt(alpha2 + (one - alpha2) * nl * nl)
            light = at[2, k] * lz * inverse * inverse * nl * half2 * half2
            total += light * (base + rest * power) / (below * below * shadowing)
        out[i] = total * alpha2 / (np.float32(np.pi) * masking)
