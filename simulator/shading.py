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
HALF_RESOLUTION_PX = 1.6
"""Light that scatters farther than this is spread at half resolution."""
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
    spread = [scatter(matte, mask, radius) for radius in scatter_px]
    layers = np.zeros((2, *mask.shape, 3), np.float32)
    tint = np.stack([room.radiance, np.ones(3, np.float32)])
    _compose(mask, surface.albedo, spread[0], spread[1], spread[2], gloss, tint, layers)
    return layers[0], layers[1]


@njit(cache=True, nogil=True, fastmath=True)
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


def scatter(light: np.ndarray, mask: np.ndarray, sigma_px: float) -> np.ndarray:
    """Spread matte light (H, W, C) float32, zero outside `mask` (H, W) bool, over skin of the same extent.

    A share stays where it is; the rest is blurred within the mask. What would cross the outline is handed back, so that
    the sum over the image stays, and even light stays even.
    """
    if sigma_px < SMALLEST_SCATTER_PX:
        return light
    if sigma_px > HALF_RESOLUTION_PX and min(mask.shape) >= 32:
        return _scatter_at_half(light, mask, sigma_px)
    spread = _blur_within(light, mask.astype(np.float32), sigma_px)
    return (1.0 - SCATTERED_SHARE) * light + SCATTERED_SHARE * spread


def _blur_within(light: np.ndarray, skin: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur (H, W, C) with a kernel whose rows and columns both sum to 1 within `skin` (H, W), a share of each pixel.

    Two rounds of Sinkhorn's scaling make it so; ending on the columns keeps the light's sum exact.
    """
    there = skin > 0.0
    out = np.where(there, 1.0 / np.sqrt(_blur(skin, sigma_px) + 1e-6), 0.0)
    out = np.where(there, np.sqrt(out / (_blur(out * skin, sigma_px) + 1e-6)), 0.0)
    into = np.where(there, 1.0 / (_blur(out * skin, sigma_px) + 1e-6), 0.0).astype(np.float32)
    return _blur(light * into[..., None], sigma_px) * (out.astype(np.float32) * skin)[..., None]


def _scatter_at_half(light: np.ndarray, mask: np.ndarray, sigma_px: float) -> np.ndarray:
    """As above, with the blurred share at half resolution."""
    height, width = mask.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    full = (half[0] * 2, half[1] * 2)
    padding = (0, full[1] - height, 0, full[0] - width, cv2.BORDER_CONSTANT)
    padded = cv2.copyMakeBorder(light, *padding, value=0) if full != (width, height) else light
    cover = mask.astype(np.float32)
    cover = cv2.copyMakeBorder(cover, *padding, value=0) if full != (width, height) else cover
    skin = cv2.resize(cover, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(padded, half, interpolation=cv2.INTER_AREA).reshape(*skin.shape, -1)
    spread = _blur_within(small, skin, sigma_px / 2)
    fine, share = (cv2.resize(a, full, interpolation=cv2.INTER_LINEAR)[:height, :width] for a in (spread, skin))
    fine = fine.reshape(light.shape) / np.maximum(share, 0.02)[..., None]  # light per pixel of skin, not per cell
    return ((1.0 - SCATTERED_SHARE) * light + SCATTERED_SHARE * fine) * mask[..., None]


def _blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    reach = 2 * int(np.ceil(KERNEL_REACH * sigma_px)) + 1
    blurred = cv2.GaussianBlur(image, (reach, reach), sigma_px, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(image.shape)  # OpenCV drops a single channel
