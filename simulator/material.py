"""What each visible point of a person is made of: colour, gloss, small shadows, fine relief.

The paper's k_a and k_d (section 3.2) are a material's reflectance; here it is painted per pixel from where the point
lies on the neutral face (`canonical`), so that no texture image is needed and detail follows any resolution. Layers are
laid one over another: skin, lips, nostrils, beard, eyes, brows, hair, cloth. Colours are linear RGB reflectance.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simulator import texture
from simulator.canvas import EAR_PART, NECK_PART, TORSO_PART, Canvas, Surface
from simulator.face_paint import paint_brows, paint_eyes, paint_lids, paint_lips, paint_nostrils
from simulator.features import fold_distance, gaussian, smooth_step
from simulator.hair_paint import paint_beard, paint_clothes, paint_glasses, paint_hair
from simulator.identity import Identity

__all__ = ["Surface", "skin_surface"]

NECK_OCCLUSION = 0.5
"""Of the room's diffuse light under the chin; direct light is shadowed by geometry, and shoulders throw some back."""

PERIORAL = np.array([0.08, 0.13, 0.26], np.float32)
"""What of red, green and blue the skin around a mouth takes away at most."""


def skin_surface(identity: Identity, canonical: np.ndarray, part: np.ndarray, hair: np.ndarray) -> Surface:
    """The surface at `canonical` (P, 3) of `identity`'s mesh, given its `part` (P,) and `hair` ramp (P,) there."""
    canvas = Canvas(identity, canonical, part, hair)
    _paint_skin(identity, canvas)
    _paint_small_shadows(identity, canvas)
    _paint_wrinkles(identity, canvas)
    paint_lips(identity, canvas)
    paint_nostrils(identity, canvas)
    paint_beard(identity, canvas)
    paint_eyes(identity, canvas)
    paint_lids(identity, canvas)
    paint_brows(identity, canvas)
    paint_hair(identity, canvas)
    paint_clothes(identity, canvas)
    paint_glasses(identity, canvas)
    return canvas.surface()


def _paint_skin(identity: Identity, canvas: Canvas) -> None:
    """Base tone, flush of blood, blotches, pores, freckles, moles; redder ears; gloss on nose and forehead."""
    skin, nose = identity.skin, identity.nose
    u, v = skin.texture_offset
    patches = texture.sample(texture.blotches(), canvas.x / 9.0 + v, canvas.y / 9.0 + u)
    blood = skin.unevenness * (0.20 * canvas.blotch + 0.07 * patches)
    blood[(canvas.part > EAR_PART) & (canvas.part < NECK_PART)] += np.float32(0.7 * skin.flush)
    at = canvas.near(0.0, 7.5, -5.0, 4.0)
    cheeks = gaussian(canvas.side[at], canvas.y[at], 4.1, -0.7, 1.7, 1.5)
    tip = gaussian(canvas.x[at], canvas.y[at], 0.0, nose.base_y, 1.2, 0.9)
    blood[at] += skin.flush * (skin.flush_at[0] * cheeks + skin.flush_at[1] * tip) * canvas.front[at]
    at = canvas.near(0.0, 4.0, -10.0, -4.0)
    chin = gaussian(canvas.x[at], canvas.y[at], 0.0, identity.mouth.y - 3.0, 1.8, 1.0)
    blood[at] += skin.flush * skin.flush_at[2] * chin * canvas.front[at]
    sallow = np.zeros_like(blood)
    at = canvas.near(0.0, 7.5, 2.0, 11.0)
    sallow[at] = 0.35 * gaussian(canvas.side[at], canvas.y[at], 2.6, 6.4, 3.0, 1.6) * canvas.front[at]
    fine = 1.0 + skin.unevenness * (0.040 * canvas.blotch + 0.045 * patches) + 0.038 * skin.pores * canvas.grain
    _tint(np.array(skin.albedo, np.float32), blood, sallow, fine, canvas.albedo)
    _paint_perioral(identity, canvas)
    _paint_spots(identity, canvas)
    at = canvas.near(0.0, 7.5, -6.0, 10.0)
    x, y = canvas.x[at], canvas.y[at]
    oily = 0.55 * gaussian(x, y, 0.0, nose.base_y + 1.2, 0.75, 2.2) + 0.50 * gaussian(x, y, 0.0, 6.2, 2.6, 1.3)
    oily = (oily + 0.7 * gaussian(x, y, 0.0, nose.base_y + 0.1, 0.6, 0.5)) * canvas.front[at]
    oily = oily + 0.30 * gaussian(x, y, 0.0, identity.mouth.y - 3.1, 1.1, 0.7) * canvas.front[at]
    cheeks = gaussian(canvas.side[at], y, 3.9, 0.3, 1.6, 1.5) * canvas.front[at]
    middle, sides, uneven = skin.oil_at
    oily = middle * oily + sides * cheeks
    canvas.gloss[at] *= 1.0 + 1.2 * oily * (1.0 + 0.15 * canvas.grain[at])
    canvas.roughness[at] *= 1.0 - 0.15 * np.minimum(oily, 1.0)
    canvas.gloss *= np.exp(uneven * patches).astype(np.float32)


@njit(cache=True, nogil=True)
def _tint(tone: np.ndarray, blood: np.ndarray, sallow: np.ndarray, fine: np.ndarray, albedo: np.ndarray) -> None:
    """Fill `albedo` (P, 3) with `tone` (3,): blood takes green and blue away, sallow skin is yellower."""
    for index in range(blood.size):
        flush, pale = blood[index], sallow[index]
        albedo[index, 0] = tone[0] * fine[index] * (np.float32(1.0) + np.float32(0.05) * flush)
        green = np.float32(1.0) - np.float32(0.13) * flush + np.float32(0.03) * pale
        blue = np.float32(1.0) - np.float32(0.11) * flush - np.float32(0.05) * pale
        albedo[index, 1] = tone[1] * fine[index] * green
        albedo[index, 2] = tone[2] * fine[index] * blue


def _paint_perioral(identity: Identity, canvas: Canvas) -> None:
    """Around mouth and chin skin holds more melanin than the cheeks, and less blood: darker and yellower."""
    skin, mouth = identity.skin, identity.mouth
    at = canvas.near(0.0, 6.0, -10.0, -0.5)
    above = canvas.y[at] - mouth.y
    where = np.exp(-0.5 * (canvas.side[at] / 2.7) ** 4) * np.exp(-0.5 * np.maximum(above - 0.6, 0.0) ** 2 / 0.8**2)
    where = where * np.clip(1.0 + 0.3 * canvas.blotch[at], 0.3, 1.7) * canvas.front[at]
    canvas.albedo[at] *= (1.0 - skin.perioral * where[:, None] * PERIORAL).astype(np.float32)


def _paint_spots(identity: Identity, canvas: Canvas) -> None:
    """Freckles over nose and cheeks; single moles anywhere."""
    skin = identity.skin
    if skin.freckles > 0.0:
        at = canvas.near(0.0, 6.5, -4.0, 7.0)
        x, y = canvas.x[at], canvas.y[at]
        spots = texture.sample(texture.grain(), x / 38.0 + skin.texture_offset[0], y / 38.0)
        where = gaussian(canvas.side[at], y, 2.6, 0.2, 2.4, 1.9)
        weight = skin.freckles * where * smooth_step((spots - 1.15) / 0.12)
        canvas.cover(at, 0.55 * weight, np.array(skin.albedo) * (0.62, 0.48, 0.40))
    for x, y, radius in skin.moles:
        at = canvas.near(0.0, 7.0, y - 0.4, y + 0.4)
        distance = np.hypot(canvas.x[at] - x, canvas.y[at] - y)
        canvas.cover(at, 0.6 * smooth_step((radius - distance) / 0.03), np.array(skin.albedo) * (0.35, 0.26, 0.22))


def _paint_small_shadows(identity: Identity, canvas: Canvas) -> None:
    """Hollows that see less of the surroundings: inner eye corners, beside and under the nose, lips, chin, neck."""
    eyes, nose, mouth = identity.eyes, identity.nose, identity.mouth
    at = canvas.near(0.0, 7.0, mouth.y - 3.5, eyes.y + 3.5)
    x, y, side = canvas.x[at], canvas.y[at], canvas.side[at]
    hollow = (
        0.38 * gaussian(side, y, 1.85, eyes.y + 0.35, 0.50, 0.65)
        + 0.22 * gaussian(side, y, eyes.x - 0.1, eyes.y + 0.75, 1.2, 0.35)
        + 0.35 * gaussian(side, y, nose.wings_cm + 0.28, nose.base_y - 0.05, 0.22, 0.60)
        + 0.38 * gaussian(x, y, 0.0, nose.base_y - 0.95, 1.0, 0.25)
        + 0.30 * gaussian(x, y, 0.0, mouth.y - 1.75, 1.2, 0.30)
    )
    canvas.occlusion[at] *= 1.0 - np.minimum(hollow, 0.8) * canvas.front[at]
    neck = (canvas.part > NECK_PART) & (canvas.part < TORSO_PART)
    canvas.occlusion[neck] *= np.clip((-canvas.y[neck] - 6.5) / 8.0, NECK_OCCLUSION, 1.0)
    canvas.occlusion[(canvas.part < EAR_PART) & (canvas.y < -8.6) & (canvas.z < 3.5)] *= 0.6
    rings = 0.06 + 0.16 * eyes.bags
    at = canvas.near(0.5, 5.2, eyes.y - 2.2, eyes.y + 1.4)
    dark = rings * gaussian(canvas.side[at], canvas.y[at], eyes.x - 0.25, eyes.y - 0.95, 1.15, 0.38)
    dark = dark + 0.08 * gaussian(canvas.side[at], canvas.y[at], eyes.x, eyes.y + 0.55, 1.3, 0.4)
    canvas.albedo[at] *= 1.0 - dark[:, None] * np.array([0.75, 1.0, 0.95], np.float32)


def _paint_wrinkles(identity: Identity, canvas: Canvas) -> None:
    """Fold beside the mouth, lines of the forehead, between the brows and at the eyes' outer corners."""
    wrinkles, eyes = identity.skin.wrinkles, identity.eyes
    at = canvas.near(0.5, 5.5, identity.mouth.y - 2.0, identity.nose.base_y + 0.5)
    across, weight = fold_distance(identity, canvas.x[at], canvas.y[at])
    fold = (0.01 + 0.16 * wrinkles) * weight * np.exp(-0.5 * (across / 0.17) ** 2) * canvas.front[at]
    canvas.shade(at, 1.0 - fold)
    if wrinkles < 0.15:
        return
    at = canvas.near(0.0, 4.8, 4.8, 8.0)
    x, y = canvas.x[at], canvas.y[at]
    wave = y + 0.10 * np.sin(0.9 * x + 9.0 * identity.skin.texture_offset[0]) + 0.06 * canvas.blotch[at]
    lines = np.exp(-(((wave - 5.6) % 0.85 - 0.42) ** 2) / 0.006) * gaussian(x, y, 0.0, 6.3, 2.4, 0.75)
    canvas.shade(at, 1.0 - 0.26 * wrinkles * lines)
    canvas.bump[at] -= 2.0 * wrinkles * lines
    at = canvas.near(0.15, 0.7, eyes.y + 0.7, eyes.y + 2.6)
    frown = np.exp(-(((canvas.side[at] - 0.42) / 0.07) ** 2)) * gaussian(0.0, canvas.y[at], 0.0, eyes.y + 1.6, 1.0, 0.5)
    canvas.shade(at, 1.0 - 0.25 * wrinkles * frown)
    at = canvas.near(eyes.x + 1.3, eyes.x + 3.0, eyes.y - 1.2, eyes.y + 1.2)
    outward, up = canvas.side[at] - eyes.x - 1.3, canvas.y[at] - eyes.y
    fan = np.exp(-(np.sin(6.0 * np.arctan2(up, outward + 0.4)) ** 2) / 0.03) * gaussian(outward, up, 0.5, 0.0, 0.4, 0.6)
    canvas.shade(at, 1.0 - 0.20 * wrinkles * fan)
