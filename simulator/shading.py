"""A matte, glossy, scattering surface under both lights: from what each pixel sees to its two layers.

The paper's k_a and k_d (section 3.2) with a highlight, cast shadows and scattering added. Skin scatters light: matte
light is blurred per colour, red farthest, with a kernel that neither loses nor makes light at the outline. The room's
light has one colour and the screen's is counted per unit, so both are single numbers per pixel until they scatter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from simulator.ambient import Lighting
from simulator.canvas import Surface
from simulator.light import screen_diffuse, screen_specular
from simulator.shadow import direction_visibility, screen_visibility

SCATTERED_SHARE = 0.65
"""Share of the light that leaves skin away from where it entered."""
SMALLEST_SCATTER_PX = 0.3
"""Scattering over less than this is within the pixel."""
HALVING_VARIANCE_PX2 = 0.7
"""What going to half resolution and back blurs by itself; smaller radii get a smaller share instead."""
KERNEL_REACH = 3.0
"""Half the width of the blur's kernel over its standard deviation."""


def shade(
    depth_cm: np.ndarray,
    geometry_normals: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    surface: Surface,
    lighting: Lighting,
    f0: float,
    scatter_px: tuple[float, float, float],
    focal_px: float,
    in_front_cm: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ambient and screen layers (H, W, 3) float32 of the P pixels where `depth_cm` (H, W) is positive.

    `geometry_normals` (H, W, 3) without fine relief decide on shadows; `points` and `normals` (P, 3) and `surface` are
    of those pixels, in row-major order; `scatter_px` is the scattering radius per channel; `in_front_cm` as in
    `simulator.shadow.screen_visibility`.
    """
    mask = depth_cm > 0.0
    room, screen = lighting.ambient, lighting.screen
    lit = direction_visibility(depth_cm, focal_px, room.direction, in_front_cm)[mask]
    seen = screen_visibility(depth_cm, geometry_normals, focal_px, screen, in_front_cm)[mask]
    matte = np.zeros((*mask.shape, 2), np.float32)
    matte[mask] = np.stack(
        [room.diffuse_level(normals, surface.occlusion, lit), screen_diffuse(points, normals, screen) * seen], 1
    )
    room_gloss = room.specular_level(points, normals, surface.roughness, f0, lit, surface.occlusion)
    screen_gloss = screen_specular(points, normals, surface.roughness, f0, screen) * seen
    gloss = np.stack([room_gloss, screen_gloss], 1) * surface.specular_scale[:, None]
    spread = scatter(matte, mask, scatter_px)
    layers = np.zeros((2, *mask.shape, 3), np.float32)
    tint = np.stack([room.radiance, np.ones(3, np.float32)])
    _compose(mask, surface.albedo, spread[0], spread[1], spread[2], gloss, tint, layers)
    return layers[0], layers[1]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _compose(
    mask: np.ndarray,
    albedo: np.ndarray,
    red: np.ndarray,
    green: np.ndarray,
    blue: np.ndarray,
    gloss: np.ndarray,
    tint: np.ndarray,
    layers: np.ndarray,
) -> None:
    """layers[l, y, x, c] = (albedo · matte light + gloss) · colour of the light."""
    i = 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if not mask[row, column]:
                continue
            for light in range(2):
                shine = gloss[i, light]
                pixel = layers[light, row, column]
                pixel[0] = (albedo[i, 0] * red[row, column, light] + shine) * tint[light, 0]
                pixel[1] = (albedo[i, 1] * green[row, column, light] + shine) * tint[light, 1]
                pixel[2] = (albedo[i, 2] * blue[row, column, light] + shine) * tint[light, 2]
            i += 1


def scatter(light: np.ndarray, mask: np.ndarray, radii_px: tuple[float, ...]) -> list[np.ndarray]:
    """Matte light (H, W, C) float32, zero outside `mask` (H, W) bool, spread over each of the radii: one such each.

    A share stays where it is; the rest is blurred within the mask at half resolution. What would cross the outline is
    handed back, so that the sum over the image stays, and even light stays nearly even.
    """
    if max(radii_px) < SMALLEST_SCATTER_PX:
        return [light for _ in radii_px]
    height, width = mask.shape
    padding = (0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    both = np.concatenate([light, mask[..., None].astype(np.float32)], 2)
    both = cv2.copyMakeBorder(both, *padding, value=0) if height % 2 or width % 2 else both
    half = (both.shape[1] // 2, both.shape[0] // 2)
    small = cv2.resize(both, half, interpolation=cv2.INTER_AREA)
    there, skin = np.ascontiguousarray(small[..., :-1]), np.ascontiguousarray(small[..., -1])
    results = []
    for radius in radii_px:
        if radius < SMALLEST_SCATTER_PX:
            results.append(light)
            continue
        further = radius**2 - HALVING_VARIANCE_PX2
        spread = _blur_within(there, skin, np.sqrt(further) / 2) if further > 0.1 else there
        fine = cv2.resize(np.dstack([spread, skin]), both.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        share = SCATTERED_SHARE * min(1.0, radius**2 / HALVING_VARIANCE_PX2)
        mixed = np.zeros_like(light)
        _mix(light, fine, mask, np.float32(share), mixed)
        results.append(mixed)
    return results


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _mix(light: np.ndarray, fine: np.ndarray, mask: np.ndarray, share: float, out: np.ndarray) -> None:
    """(1 − share) · light + share · (spread light per pixel of skin, the last channel of `fine` being the skin)."""
    channels = light.shape[2]
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column]:
                scale = share / max(fine[row, column, channels], np.float32(0.02))
                for k in range(channels):
                    kept = (np.float32(1) - share) * light[row, column, k]
                    out[row, column, k] = kept + scale * fine[row, column, k]


def _blur_within(light: np.ndarray, skin: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur (H, W, C) with a kernel whose rows and columns both sum to 1 within `skin` (H, W), a share of each cell.

    Two rounds of Sinkhorn's scaling make it so; ending on the columns keeps the light's sum exact.
    """
    tiny = np.float32(1e-6)
    out = 1.0 / np.sqrt(_blur(skin, sigma_px) + tiny)
    out = np.sqrt(out / (_blur(out * skin, sigma_px) + tiny)) * skin
    into = 1.0 / (_blur(out, sigma_px) + tiny)
    return _blur(light * into[..., None], sigma_px) * out[..., None]


def _blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    reach = 2 * int(np.ceil(KERNEL_REACH * sigma_px)) + 1
    blurred = cv2.GaussianBlur(image, (reach, reach), sigma_px, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(image.shape)  # OpenCV drops a single channel
