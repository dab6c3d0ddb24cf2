"""The relief of a face: what nose, eyes, mouth, cheeks and chin add to a bare skull, and how an expression moves them.

It belongs to no section of the paper. Everything is a smooth function of position on the face (x from the middle
towards the image's right, y up, in cm), so the mesh and the paint on it (`simulator.material`) agree exactly on where
lids and lips run. `canonical` positions are those of the neutral face before the person's own slow warp; paint is laid
in them and travels with the skin.
"""

from __future__ import annotations

import numpy as np

from simulator.identity import Expression, Eyes, Identity, Mouth

JAW_DROP_CM = 1.5
"""Opening of the mouth at Expression.mouth_open = 1."""
MOUTH_SEAM_CM = 0.03
"""Half height, on the canonical face, of the strip between the lips that stretches into the open mouth."""
EYEBALL_HALF_WIDTH_CM, EYEBALL_HALF_HEIGHT_CM, EYEBALL_BULGE_CM = 1.75, 1.30, 1.15
LID_THICKNESS_CM = 0.10
SHUT_FROM_BLINK = (0.78, 0.88)
"""Blinks at which the slit between the lids begins to vanish and is gone."""


def gaussian(
    x: np.ndarray | float, y: np.ndarray | float, at_x: float, at_y: float, wide: float, high: float
) -> np.ndarray:
    """A bump of height 1 at (at_x, at_y)."""
    return np.exp(-0.5 * (((x - at_x) / wide) ** 2 + ((y - at_y) / high) ** 2))


def smooth_step(t: np.ndarray) -> np.ndarray:
    """0 far below t = 0, 1 far above: the logistic function, safe for any t."""
    return 1.0 / (1.0 + np.exp(-np.clip(t, -30.0, 30.0)))


def eye_frame(eyes: Eyes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position relative to the nearer eye's middle: towards the temple, and up along the tilted eye."""
    outward = np.abs(x) - eyes.x
    return outward, y - eyes.y - eyes.tilt * outward


def upper_lid(eyes: Eyes, outward: np.ndarray) -> np.ndarray:
    """Height of the upper lid's edge above the eye's middle; 0 beyond the corners."""
    t = outward / eyes.half_width
    return eyes.opening * np.clip(1.0 - t**2, 0.0, 1.0) ** 0.6 * (1.0 - 0.10 * t)


def lower_lid(eyes: Eyes, outward: np.ndarray) -> np.ndarray:
    """Height of the lower lid's edge (negative); 0 beyond the corners."""
    t = outward / eyes.half_width
    return -0.78 * eyes.opening * np.clip(1.0 - t**2, 0.0, 1.0) ** 0.75 * (1.0 + 0.15 * t)


def upper_lip_edge(mouth: Mouth, x: np.ndarray) -> np.ndarray:
    """Upper edge of the upper lip above the mouth line, with the bow in its middle."""
    t = np.clip(np.abs(x) / mouth.half_width, 0.0, 1.0)
    return 0.74 * mouth.upper * (1.0 - t**2.2) * (1.0 - 0.20 * np.exp(-((x / 0.28) ** 2)))


def lower_lip_edge(mouth: Mouth, x: np.ndarray) -> np.ndarray:
    """Lower edge of the lower lip, relative to the mouth line (negative)."""
    t = np.clip(np.abs(x) / (0.97 * mouth.half_width), 0.0, 1.0)
    return -0.92 * mouth.lower * (1.0 - t**2.5)


def fold_distance(identity: Identity, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance across the fold from the nose's wing to the mouth's corner, and a weight that fades at its ends."""
    top, bottom = identity.nose.base_y - 0.1, identity.mouth.y - 0.9
    along = (top - y) / (top - bottom)
    start, end = identity.nose.wings_cm + 0.35, identity.mouth.half_width + 0.90
    path = start + (end - start) * np.clip(along, 0.0, 1.2) ** 0.8
    weight = smooth_step((along - 0.05) / 0.06) * smooth_step((0.85 - along) / 0.14)
    return np.abs(x) - path, weight


def face_relief(identity: Identity, expression: Expression, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the neutral or smiling face stands off the bare skull at (x, y), cm along z."""
    return (
        _nose_relief(identity, x, y)
        + _orbit_relief(identity, x, y)
        + _cheek_relief(identity, expression, x, y)
        + _mouth_relief(identity, expression, x, y)
        + _chin_relief(identity, x, y)
    )


def _nose_relief(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    nose, root = identity.nose, identity.eyes.y + 0.7
    side = np.abs(x)
    along = np.clip((root - y) / (root - nose.base_y), 0.0, 1.0)
    base = nose.base_y - 0.78 + 0.16 * np.minimum(side / nose.wings_cm, 1.3) ** 2
    under = smooth_step((y - base) / 0.19)
    height = nose.bridge_cm + (nose.height_cm - 0.25 - nose.bridge_cm) * along**1.2
    height = height + nose.hump_cm * np.exp(-(((along - 0.45) / 0.2) ** 2))
    height = height * under * smooth_step((root + 0.7 - y) / 0.45)
    half_width = (0.66 + 0.30 * along**1.5) * nose.width
    tip = 0.42 * gaussian(x, y, 0.0, nose.base_y + nose.tip_up_cm, 0.62 * nose.width, 0.55)
    wing_x = nose.wings_cm - 0.18
    wings = 0.74 * gaussian(side, y, wing_x, nose.base_y - 0.12, 0.44, 0.48) * under
    crease = -0.16 * gaussian(side, y, wing_x + 0.48, nose.base_y + 0.10, 0.16, 0.50)
    nostril = -0.28 * gaussian(side, y, 0.55 * nose.wings_cm, nose.base_y - 0.62, 0.26, 0.16)
    return height * np.exp(-0.62 * (side / half_width) ** 2) + tip + wings + crease + nostril


def _orbit_relief(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    eyes, skull, side = identity.eyes, identity.skull, np.abs(x)
    socket = -0.50 * gaussian(side, y, eyes.x - 0.15, eyes.y + 0.35, 1.55, 0.95)
    inner = -0.38 * gaussian(side, y, 1.75, eyes.y + 0.30, 0.55, 0.75)
    ball = 0.28 * gaussian(side, y, eyes.x, eyes.y, 1.05, 0.70)
    bags = 0.14 * eyes.bags * gaussian(side, y, eyes.x - 0.1, eyes.y - 0.95, 1.0, 0.28)
    trough = -0.13 * eyes.bags * gaussian(side, y, eyes.x - 0.5, eyes.y - 1.45, 1.2, 0.25)
    ridge = skull.brow_ridge_cm * gaussian(side, y, 2.8, eyes.brow_y - 0.05, 1.9, 0.60)
    between = 0.4 * skull.brow_ridge_cm * gaussian(x, y, 0.0, eyes.brow_y - 0.2, 0.9, 0.7)
    forehead = skull.forehead_cm * gaussian(side, y, 2.2, 6.6, 2.2, 1.4)
    return socket + inner + ball + bags + trough + ridge + between + forehead


def _cheek_relief(identity: Identity, expression: Expression, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    skull, eyes, side = identity.skull, identity.eyes, np.abs(x)
    smile = max(expression.smile, 0.0)
    bone = skull.cheekbone_cm * gaussian(side, y, 4.7, eyes.y - 2.4, 1.5, 1.1)
    flesh = skull.fullness_cm * gaussian(side, y, 4.3, identity.mouth.y + 0.8, 1.5, 1.7)
    raised = 0.32 * smile * gaussian(side, y, 3.9, eyes.y - 2.7, 1.2, 0.9)
    across, weight = fold_distance(identity, x, y)
    depth = 0.015 + 0.12 * identity.skin.wrinkles + 0.14 * smile
    fold = -depth * weight * np.exp(-0.5 * (across / 0.33) ** 2)
    pad = 0.9 * depth * weight * np.exp(-0.5 * ((across - 0.65) / 0.50) ** 2)
    return bone + flesh + raised + fold + pad


def _mouth_relief(identity: Identity, expression: Expression, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    mouth, above = identity.mouth, y - identity.mouth.y
    side = np.abs(x)
    within = np.exp(-((side / (0.98 * mouth.half_width)) ** 4))
    muzzle = 0.34 * gaussian(x, above, 0.0, 0.35, 2.3, 1.35)
    upper = 0.44 * mouth.upper * np.exp(-0.5 * ((above - 0.38 * mouth.upper) / (0.30 * mouth.upper)) ** 2)
    lower = 0.52 * mouth.lower * np.exp(-0.5 * ((above + 0.52 * mouth.lower) / (0.36 * mouth.lower)) ** 2)
    lips = upper * np.exp(-0.5 * (side / (0.62 * mouth.half_width)) ** 2)
    lips = lips + lower * np.exp(-0.5 * (side / (0.56 * mouth.half_width)) ** 2)
    line = -0.24 * within * np.exp(-0.5 * (above / 0.10) ** 2)
    corner = -0.16 * gaussian(side, above, mouth.half_width + 0.05, -0.05, 0.28, 0.25)
    groove = -0.12 * gaussian(x, above, 0.0, 1.25, 0.26, 0.42) + 0.06 * gaussian(side, above, 0.48, 1.2, 0.2, 0.45)
    stretched = 1.0 - 0.25 * max(expression.smile, 0.0)
    return muzzle + stretched * lips + line + corner + groove


def _chin_relief(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    skull, below = identity.skull, y - identity.mouth.y
    crease = -skull.chin_crease_cm * gaussian(x, below, 0.0, -1.80, 1.7, 0.42)
    button = skull.chin_forward_cm * gaussian(x, below, 0.0, -3.2, 1.30 * skull.chin, 0.95)
    cleft = -skull.chin_cleft_cm * gaussian(x, below, 0.0, -3.3, 0.22, 0.6)
    return crease + button + cleft


def seat_eyes(identity: Identity, expression: Expression, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """`z` (any shape) of the whole head with eyeballs set into the face, lids lying on them."""
    eyes = identity.eyes
    opening = eye_opening(eyes, x, y, expression.blink)
    outward, up = eye_frame(eyes, x, y)
    for sign in (-1.0, 1.0):
        mine = (sign * x > 0.0) & (z > 0.0)
        at = np.argmin(np.where(mine, (np.abs(x) - eyes.x) ** 2 + (y - eyes.y) ** 2, np.inf))
        inside = 1.0 - (outward / EYEBALL_HALF_WIDTH_CM) ** 2 - (up / EYEBALL_HALF_HEIGHT_CM) ** 2
        ball = z.flat[at] + EYEBALL_BULGE_CM * (np.sqrt(np.clip(inside, 0.0, 1.0)) - 1.0) - 0.22 * outward
        lid = np.maximum(z, ball + LID_THICKNESS_CM)
        near = mine & (inside > 0.0)
        z = np.where(near, lid * (1.0 - opening) + ball * opening, z)
    return z


def eye_opening(eyes: Eyes, x: np.ndarray, y: np.ndarray, blink: float = 0.0) -> np.ndarray:
    """1 where an eyeball shows between its lids, 0 on skin, soft over half a millimetre."""
    outward, up = eye_frame(eyes, x, y)
    low = lower_lid(eyes, outward)
    high = low + (upper_lid(eyes, outward) - low) * (1.0 - blink)
    shows = smooth_step((high - up) / 0.03) * smooth_step((up - low) / 0.03)
    return shows * (np.abs(outward) < eyes.half_width)


def lowered_lids(eyes: Eyes, x: np.ndarray, y: np.ndarray, blink: float) -> np.ndarray:
    """Canonical y after a blink: below the lowered edge nothing moves, above it the lid's skin is drawn down."""
    outward, up = eye_frame(eyes, x, y)
    low, high = lower_lid(eyes, outward), upper_lid(eyes, outward)
    edge = high - blink * (high - low)
    top = high + 0.6
    drawn = high + (up - edge) * (top - high) / np.maximum(top - edge, 1e-3)
    moved = (np.abs(outward) < eyes.half_width) & (up > edge) & (up < top)
    return np.where(moved, y + drawn - up, y)


def shut_seam(eyes: Eyes, x: np.ndarray, y: np.ndarray, blink: float) -> np.ndarray:
    """1 around the line where lids meet, 0 elsewhere; a slit narrower than a cell of the mesh counts as shut."""
    outward, up = eye_frame(eyes, x, y)
    shut = np.clip((blink - SHUT_FROM_BLINK[0]) / (SHUT_FROM_BLINK[1] - SHUT_FROM_BLINK[0]), 0.0, 1.0)
    near = (np.abs(outward) < eyes.half_width + 0.3) & (np.abs(up - lower_lid(eyes, outward)) < 0.3)
    return shut * near


def move_expression(
    identity: Identity, expression: Expression, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where smile and opened mouth carry the face's points, as (dx, dy) in cm; zero for a neutral face."""
    mouth, side = identity.mouth, np.abs(x)
    corner = gaussian(side, y, mouth.half_width, mouth.y, 1.1, 0.9)
    pull = gaussian(side, y, 3.6, mouth.y + 1.6, 1.6, 1.5)
    dx = np.sign(x) * expression.smile * (0.38 * corner + 0.10 * pull)
    dy = (0.42 * expression.smile + mouth.corner_cm) * corner + 0.22 * expression.smile * pull
    below = np.clip((mouth.y - y) / 2.5, 0.0, 1.0)
    lip = np.clip(1.0 - (side / mouth.half_width) ** 2, 0.0, 1.0) ** 0.8
    jaw = np.exp(-((side / 6.0) ** 4))
    lowered = (lip + (jaw - lip) * below) * (y < mouth.y)
    return dx, dy - JAW_DROP_CM * expression.mouth_open * lowered


def slow_warp(identity: Identity, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The person's own gentle distortion of the whole face as (dx, dy, dz) in cm; not symmetric."""
    waves = np.stack(
        [
            np.sin(x / 3.4),
            np.sin(x / 6.0) * np.sin(y / 5.0),
            np.cos(x / 3.2) * np.sin(y / 3.0),
            np.cos(x / 3.2) * np.cos(y / 3.0),
            0.5 * np.cos(x / 2.0) * np.sin(y / 2.1 + 0.7),
            np.sin(y / 4.2),
            0.35 * np.sin(x / 2.2) * np.cos(y / 2.4),
            0.35 * np.sin(x / 7.0),
        ]
    )
    warped = np.tensordot(np.array(identity.skull.warp), waves, axes=1)
    return warped[0], warped[1], warped[2]
