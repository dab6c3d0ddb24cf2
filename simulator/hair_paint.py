"""Beard, hair of the head, clothes and the frames of glasses, painted on the points of a person.

It belongs to no section of the paper. Strands are streaks of noise along the direction of growth; at the hairline they
thin out raggedly, and cropped hair lets the scalp through.
"""

from __future__ import annotations

import numpy as np

from simulator import hairdo, texture
from simulator.canvas import DARKEST, EAR_PART, GLASSES_PART, LONG_HAIR_PART, TORSO_PART, Canvas
from simulator.features import gaussian, lower_lip_edge, smooth_step, upper_lip_edge
from simulator.identity import Identity

HAIR_ROUGHNESS, CLOTH_ROUGHNESS = 0.50, 0.85


def _beard_area(identity: Identity, canvas: Canvas, style: str) -> np.ndarray:
    """Where a beard of this style grows (P,), 0..1."""
    mouth, side = identity.mouth, canvas.side
    above = canvas.y - mouth.y
    cheek_line = 1.5 - 1.6 * np.exp(-((side / 3.2) ** 4)) + 0.55 * np.clip(side - 4.5, 0.0, 3.0)
    jaw = smooth_step((cheek_line - above + 0.35 * canvas.blotch * 0.3) / 0.35)
    moustache = gaussian(canvas.x, above, 0.0, 1.02, 1.7, 0.38) * 1.5
    goatee = smooth_step((2.3 - side) / 0.25) * smooth_step((-0.9 - above) / 0.25)
    round_mouth = smooth_step((0.5 - np.abs(np.hypot(side / 1.05, above + 0.2) - 2.75)) / 0.2) * (above < 0.9)
    under_lip = 1.0 - 0.8 * gaussian(side, above, 1.2, -1.45, 0.7, 0.35)
    grows = {
        "none": 0.0 * jaw,
        "stubble": np.maximum(jaw, moustache),
        "moustache": moustache,
        "goatee": np.maximum(np.maximum(goatee, moustache), round_mouth),
        "full": np.maximum(jaw, moustache),
    }[style]
    return np.clip(grows, 0.0, 1.0) * under_lip * canvas.front


def paint_beard(identity: Identity, canvas: Canvas) -> None:
    """Bristles, from stubble that lets the skin through to a full beard; never on the lips."""
    hair = identity.hair
    if hair.shadow > 0.0:
        _paint_shadow(identity, canvas)
    if hair.beard == "none":
        return
    on_lips = _on_lips(identity, canvas)
    bristle = texture.sample(texture.strands(), canvas.x / 9.0, canvas.y / 16.0 + 0.1 * canvas.x)
    weight = (
        hair.beard_density * _beard_area(identity, canvas, hair.beard) * (1.0 + 0.18 * bristle + 0.22 * canvas.grain)
    )
    weight = np.where(on_lips, 0.0, np.clip(weight, 0.0, 0.95)).astype(np.float32)
    colour = np.array(hair.beard_albedo) * (1.2 + 0.3 * bristle[:, None]) + 0.004
    canvas.cover(np.arange(len(weight)), weight, np.maximum(colour, 0.003))
    canvas.roughness += weight * (HAIR_ROUGHNESS - canvas.roughness)
    canvas.gloss *= 1.0 - 0.6 * weight
    canvas.bump += weight * (1.5 * bristle + 0.8 * canvas.grain)
    canvas.hair = np.maximum(canvas.hair, weight * (hair.beard_density > 0.55))


def _on_lips(identity: Identity, canvas: Canvas) -> np.ndarray:
    """Which points (P,) are lips, on which nothing grows."""
    mouth, above = identity.mouth, canvas.y - identity.mouth.y
    between = (above < upper_lip_edge(mouth, canvas.x)) & (above > lower_lip_edge(mouth, canvas.x))
    return between & (canvas.side < mouth.half_width)


def _paint_shadow(identity: Identity, canvas: Canvas) -> None:
    """A shaven beard: bristles too short to see one by one, denser in patches, the skin's gloss between them."""
    u, v = identity.skin.texture_offset
    patches = texture.sample(texture.blotches(), canvas.x / 7.0 + u, canvas.y / 7.0 + v)
    fine = texture.sample(texture.grain(), canvas.x / 26.0 + v, canvas.y / 26.0 + u)
    weight = identity.hair.shadow * _beard_area(identity, canvas, "full") * (1.0 + 0.22 * patches + 0.30 * fine)
    weight = np.where(_on_lips(identity, canvas), 0.0, np.clip(weight, 0.0, 0.7)).astype(np.float32)
    canvas.cover(np.arange(len(weight)), weight, np.maximum(np.array(identity.hair.beard_albedo), DARKEST))
    canvas.bump += (2.0 * weight * fine).astype(np.float32)


def paint_hair(identity: Identity, canvas: Canvas) -> None:
    """Hair of the head: strands that thin out raggedly at the hairline; cropped hair lets the scalp through."""
    hair = identity.hair
    u, v = identity.skin.texture_offset
    hanging = (canvas.part > LONG_HAIR_PART) & (canvas.part < GLASSES_PART)
    at = np.flatnonzero(hanging | ((canvas.ramp > 0.02) & (canvas.part < EAR_PART)))
    if at.size == 0:
        return
    x, y, z, loose = canvas.x[at], canvas.y[at], canvas.z[at], hanging[at]
    around = np.where(loose, x / 8.0, np.arctan2(x, z - (-2.9)))
    strands = texture.sample(texture.strands(), around / 1.5 + u, y / 55.0 + 0.25 * np.sin(around) + v)
    curls = texture.sample(texture.grain(), around / 1.6 + v, y / 13.0 + u)
    lock = (1.0 - 0.8 * hair.curl) * strands + 0.8 * hair.curl * curls
    ragged = hairdo.hair_distance(canvas.ramp[at]) + (0.20 - 0.10 * hair.curl) * lock + 0.08 * canvas.grain[at]
    weight = np.where(loose, 1.0, smooth_step(ragged / 0.16))
    if hair.style == "buzz":
        weight = weight * np.clip(0.78 + 0.12 * canvas.grain[at], 0.0, 1.0)
    colour = np.array(hair.albedo) * np.clip(1.0 + 0.30 * lock + 0.15 * canvas.blotch[at], 0.25, 2.2)[:, None]
    canvas.cover(at, weight, np.maximum(colour, DARKEST))
    canvas.roughness[at] += weight * (HAIR_ROUGHNESS - canvas.roughness[at])
    inside = np.where(loose, smooth_step((np.abs(around) - 1.75) / 0.15), 0.0)
    shine = np.where(loose, 0.14, 0.20) * (1.0 + 0.45 * lock) * (1.0 - inside)
    canvas.gloss[at] += weight * (shine - canvas.gloss[at])
    canvas.bump[at] += weight * (3.0 * lock - canvas.bump[at])
    canvas.hair[at] = np.maximum(canvas.hair[at], weight)
    canvas.occlusion[at] *= 1.0 - weight * np.clip(0.16 - 0.14 * lock, 0.0, 0.5)
    canvas.occlusion[at] *= 1.0 - 0.55 * inside


def paint_clothes(identity: Identity, canvas: Canvas) -> None:
    """Knitted or striped cloth on the shoulders."""
    at = np.flatnonzero((canvas.part > TORSO_PART) & (canvas.part < LONG_HAIR_PART))
    clothes = identity.clothes
    x, y = canvas.x[at], canvas.y[at]
    knit = texture.sample(texture.grain(), x / 20.0, y / 20.0)
    colour = np.broadcast_to(np.array(clothes.albedo), (at.size, 3))
    if clothes.stripes > 0.0:
        stripe = smooth_step(np.sin(2.0 * np.pi * x * clothes.stripes / 45.0) / 0.15)[:, None]
        colour = colour * (1.0 - stripe) + np.array(clothes.second) * stripe
    canvas.albedo[at] = colour * (1.0 + 0.05 * knit + 0.08 * canvas.blotch[at])[:, None]
    canvas.roughness[at] = CLOTH_ROUGHNESS
    canvas.gloss[at] = 0.4
    canvas.bump[at] = 2.0 * knit


def paint_glasses(identity: Identity, canvas: Canvas) -> None:
    """The frame's plastic or metal."""
    worn = identity.glasses
    if worn is None:
        return
    at = np.flatnonzero(canvas.part > GLASSES_PART)
    canvas.albedo[at] = worn.albedo
    canvas.roughness[at] = worn.roughness
    canvas.gloss[at] = worn.gloss
    canvas.bump[at] = 0.0
