"""Lips, nostrils, eyes, lids and brows, painted on the points of a face.

It belongs to no section of the paper. Each painter looks only at the points near its feature (`Canvas.near`) and draws
its outline with the same curves that shaped the mesh (`simulator.features`), so that paint and relief agree.
"""

from __future__ import annotations

import numpy as np

from simulator import texture
from simulator.canvas import DARKEST, MOUTH_PART, SHUT_PART, Canvas
from simulator.features import (
    MOUTH_SEAM_CM,
    eye_frame,
    eye_opening,
    gaussian,
    lower_lid,
    lower_lip_edge,
    smooth_step,
    upper_lid,
    upper_lip_edge,
)
from simulator.identity import Identity

IRIS_RADIUS_CM, PUPIL_RADIUS_CM = 0.62, 0.22
SCLERA = np.array([0.29, 0.258, 0.240])
"""Darker than the tissue itself: it lies in the hollow of the lids, wet and veined, and lashes shade it."""
EYE_ROUGHNESS = 0.08
BROW_OVER_HAIR, BROW_OVER_SKIN = 0.60, 0.24
"""Brows are darker than the hair of the head, and darker than the skin even on the fairest."""


def paint_lips(identity: Identity, canvas: Canvas) -> None:
    """Lips with fine upright creases, and the dark seam between them, which stretches into the open mouth."""
    mouth = identity.mouth
    at = canvas.near(0.0, mouth.half_width + 0.5, mouth.y - 1.9, mouth.y + 1.6)
    x, above, front = canvas.x[at], canvas.y[at] - mouth.y, canvas.front[at]
    within = smooth_step((mouth.half_width - np.abs(x)) / 0.06)
    lip = smooth_step((upper_lip_edge(mouth, x) - above) / 0.05) * within * front
    lip = lip * smooth_step((above - lower_lip_edge(mouth, x)) / 0.06)
    u, v = identity.skin.texture_offset
    creases = texture.sample(texture.strands(), x / 5.0 + u, above / 12.0 + v)
    full = np.where(above > 0.0, 0.80, 0.97) * (1.0 + 0.07 * creases)
    colour = np.array(identity.skin.albedo) * np.array(mouth.tint) * full[:, None]
    canvas.cover(at, mouth.redness * lip, colour)
    canvas.roughness[at] *= 1.0 - 0.30 * min(mouth.moist, 1.0) * lip
    moist = gaussian(x, above, 0.0, -0.48 * mouth.lower, 0.60 * mouth.half_width, 0.28 * mouth.lower) * lip
    canvas.gloss[at] *= 1.0 + 1.1 * mouth.moist * moist
    canvas.roughness[at] *= 1.0 - 0.25 * min(mouth.moist, 1.0) * moist
    canvas.bump[at] += lip * (1.2 * creases - canvas.bump[at])
    seam = np.exp(-0.5 * (above / 0.075) ** 2) * smooth_step((mouth.half_width + 0.08 - np.abs(x)) / 0.08) * front
    canvas.shade(at, 1.0 - 0.72 * seam)
    canvas.gloss[at] *= 1.0 - 0.9 * np.exp(-0.5 * (above / 0.16) ** 2) * within * front
    canvas.occlusion[at] *= 1.0 - 0.5 * seam
    _paint_open_mouth(canvas, at, above, within * front)


def _paint_open_mouth(canvas: Canvas, at: np.ndarray, above: np.ndarray, weight: np.ndarray) -> None:
    """Inside the stretched seam of an open mouth: upper teeth, then darkness."""
    along = above / MOUTH_SEAM_CM
    inside = weight * (canvas.part[at] > MOUTH_PART)
    teeth = smooth_step((along - 0.25) / 0.08) * smooth_step((0.9 - along) / 0.03)
    canvas.cover(at, 0.9 * inside, np.array([0.035, 0.012, 0.010]) + teeth[:, None] * np.array([0.42, 0.39, 0.33]))
    canvas.occlusion[at] *= 1.0 - 0.55 * inside


def paint_nostrils(identity: Identity, canvas: Canvas) -> None:
    """Two dark openings under the tip."""
    nose = identity.nose
    at = canvas.near(0.0, 2.2, nose.base_y - 1.3, nose.base_y + 0.2)
    across = (canvas.side[at] - 0.56 * nose.wings_cm) / (0.30 * nose.wings_cm)
    up = (canvas.y[at] - (nose.base_y - 0.66) + 0.12 * across) / 0.17
    hole = smooth_step((1.0 - across**2 - up**2) / 0.25) * canvas.front[at]
    canvas.shade(at, 1.0 - 0.85 * hole)
    canvas.occlusion[at] *= 1.0 - 0.7 * hole
    canvas.gloss[at] *= 1.0 - hole


def paint_eyes(identity: Identity, canvas: Canvas) -> None:
    """Eyeball: white with the pink inner corner, iris with a dark rim and rays, pupil, the upper lid's shadow."""
    eyes = identity.eyes
    at = canvas.near(1.2, 5.2, eyes.y - 0.9, eyes.y + 0.9)
    shows = eye_opening(eyes, canvas.x[at], canvas.y[at]) * canvas.front[at]
    shows = shows * np.clip(1.0 - canvas.part[at] / SHUT_PART, 0.0, 1.0)
    at, shows = at[shows > 0.002], shows[shows > 0.002]
    outward, up = eye_frame(eyes, canvas.x[at], canvas.y[at])
    radius = np.hypot(outward, up - 0.03)
    iris = smooth_step((IRIS_RADIUS_CM - radius) / 0.025)[:, None]
    pupil = smooth_step((PUPIL_RADIUS_CM - radius) / 0.02)[:, None]
    corner = gaussian(outward, up, -eyes.half_width, 0.0, 0.28, 0.4)[:, None]
    white = SCLERA * (1.0 - 0.45 * (np.abs(outward) / eyes.half_width) ** 3)[:, None]
    white = white * (1.0 - corner) + corner * np.array([0.42, 0.20, 0.17])
    rays = 1.0 + 0.22 * np.sin(23.0 * np.arctan2(up, outward) + 2.0 * np.sin(7.0 * np.arctan2(up, outward)))
    glow = (0.45 + 0.5 * np.clip(radius / IRIS_RADIUS_CM, 0.0, 1.0) * rays)[:, None]
    rim = np.exp(-(((radius - IRIS_RADIUS_CM) / 0.075) ** 2))[:, None]
    coloured = np.array(eyes.iris) * glow * (1.0 - 0.65 * rim)
    ball = (white * (1.0 - iris) + coloured * iris) * (1.0 - 0.96 * pupil)
    under_lid = np.exp(-np.maximum(upper_lid(eyes, outward) - up, 0.0) / 0.24)
    shadow = (1.0 - 0.72 * under_lid) * (1.0 - 0.35 * np.exp(-np.maximum(up - lower_lid(eyes, outward), 0.0) / 0.07))
    canvas.cover(at, shows, ball * shadow[:, None])
    canvas.eye[at] = shows
    canvas.occlusion[at] *= 1.0 - shows * (0.30 + 0.35 * under_lid)
    canvas.roughness[at] += shows * (EYE_ROUGHNESS - canvas.roughness[at])
    canvas.gloss[at] += shows * (0.6 - 0.4 * under_lid - canvas.gloss[at])
    canvas.bump[at] *= 1.0 - shows


def paint_lids(identity: Identity, canvas: Canvas) -> None:
    """Lashes, the moist rim of the lower lid, and the fold of the upper lid."""
    eyes = identity.eyes
    at = canvas.near(1.0, 5.6, eyes.y - 1.2, eyes.y + 1.6)
    outward, up = eye_frame(eyes, canvas.x[at], canvas.y[at])
    t = outward / eyes.half_width
    front = canvas.front[at]
    high, low = upper_lid(eyes, outward), lower_lid(eyes, outward)
    along = smooth_step((1.04 - np.abs(t)) / 0.03) * front
    thick = 0.05 + 0.06 * eyes.lashes * (0.8 + 0.5 * t)
    lash = np.exp(-0.5 * ((up - high - 0.02) / np.clip(thick, 0.03, 0.2)) ** 2) * along
    canvas.shade(at, 1.0 - (0.70 + 0.26 * eyes.lashes) * lash)
    under = np.exp(-0.5 * ((up - low + 0.03) / 0.05) ** 2) * smooth_step((1.0 - np.abs(t)) / 0.03) * front
    canvas.shade(at, 1.0 - (0.22 + 0.22 * eyes.lashes) * under)
    fold_at = high + eyes.fold_y * (1.0 + 0.15 * t) + 0.10 * np.clip(1.0 - t**2, 0.0, 1.0)
    fold = np.exp(-0.5 * ((up - fold_at) / 0.07) ** 2) * smooth_step((1.10 - np.abs(t)) / 0.06) * front
    canvas.shade(at, 1.0 - 0.42 * eyes.crease * fold)
    canvas.occlusion[at] *= 1.0 - 0.25 * eyes.crease * fold


def paint_brows(identity: Identity, canvas: Canvas) -> None:
    """Brows as a tapering arch of short slanted strokes."""
    eyes = identity.eyes
    at = canvas.near(0.5, 6.2, eyes.brow_y - 1.4, eyes.brow_y + 1.6)
    x, y, side = canvas.x[at], canvas.y[at], canvas.side[at]
    along = (side - 1.05) / eyes.brow_length
    middle = eyes.brow_y - 0.15 + eyes.brow_arch * np.sin(np.clip(along, 0.0, 1.1) * 2.2)
    middle = middle - 0.5 * np.clip(along - 0.62, 0.0, 1.0)
    half = eyes.brow_thickness * np.clip(1.12 - 0.85 * along, 0.05, 1.0)
    u, v = identity.skin.texture_offset
    across = (side - 0.8 * (y - middle)) / 4.2 + u
    strokes = texture.sample(texture.strands(), across, (y + 0.3 * side) / 9.0 + v + x / 40.0)
    ragged = (half - np.abs(y - middle) + 0.04 * strokes) / 0.09
    weight = smooth_step(ragged) * smooth_step(along / 0.05) * smooth_step((1.0 - along) / 0.07)
    weight = np.clip(weight * eyes.brow_density * (0.92 + 0.14 * strokes), 0.0, 0.97) * canvas.front[at]
    colour = np.minimum(
        BROW_OVER_HAIR * np.array(identity.hair.albedo), BROW_OVER_SKIN * np.array(identity.skin.albedo)
    )
    canvas.cover(at, weight, np.maximum(colour, DARKEST))
    canvas.bump[at] += weight * strokes
    canvas.gloss[at] *= 1.0 - 0.85 * weight
    canvas.occlusion[at] *= 1.0 - 0.25 * weight
    canvas.hair[at] = np.maximum(canvas.hair[at], weight)
