"""A procedural head with neck and shoulders, as one triangle mesh.

It belongs to no section of the paper; it stands for the people the authors photographed. The head is a stack of rows,
each half an egg-shaped loop in front and half behind, whose lower rows rise towards the ears so that there is a jaw.
Relief (`simulator.features`), the person's slow warp, the expression and hair (`simulator.hairdo`) move its points.
Ears, neck and shoulders, and hanging hair are separate parts. No scan or photograph is behind it. Head coordinates: x
to the image's right, y up, z towards the camera, cm, the origin near the middle of the face's height.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator import features, glasses, hairdo
from simulator.identity import Expression, Identity, Skull
from simulator.surface_grid import SurfaceGrid, grid_normals, grid_triangles

__all__ = ["Expression", "HeadMesh", "Identity", "build_head"]

FACE, EAR, NECK, TORSO, LONG_HAIR, GLASSES = 0, 1, 2, 3, 4, 5
"""Values of HeadMesh.part."""
PART_COUNT = 6
MOUTH_INSIDE = 0.25
"""Part of the two rows at the lips' seam while the mouth is open: a face still, but the paint sees the difference."""
SHUT_LID = 0.12
"""Part of the vertices along the seam of shut lids: the triangles across it hold no eyeball, only lashes."""
CHIN_Y, CROWN_FROM_Y, CROWN_Y = -9.6, 6.0, 13.1
MIDDLE_Z = -2.9
TAPER_Y = (1.0, -6.0)
"""From the cheekbones down to below the mouth a tapering face becomes more pointed."""
FINE_STEP_CM, COARSE_STEP_CM = 0.12, 0.30
CROWN_ROWS, HEAD_COLUMNS = 26, 191
RELIEF_FADE = (0.22, 0.07)
"""Relief ends where the cosine of the azimuth falls below the first, over the second."""
TORSO_BOTTOM_Y = -32.0
SHOULDERS_UP_CM = 2.3
"""How much higher neck and shoulders sit than the profiles of `_shoulder_loop` say: the length of the neck."""


@dataclass(frozen=True)
class HeadMesh:
    """One head, ready to be posed and drawn."""

    vertices_cm: np.ndarray
    """(V, 3) float32, head coordinates."""
    normals: np.ndarray
    """(V, 3) float32, unit, outward."""
    triangles: np.ndarray
    """(T, 3) int32, counter-clockwise seen from outside."""
    canonical: np.ndarray
    """(V, 3) float32, cm: the same point of skin on the neutral, unwarped face; what paint is laid in."""
    part: np.ndarray
    """(V,) float32: FACE, EAR, NECK, TORSO, LONG_HAIR or GLASSES, or MOUTH_INSIDE."""
    hair: np.ndarray
    """(V,) float32 in 0..1: `hairdo.hair_ramp` of the distance to the hairline."""
    lenses: glasses.LensMesh | None = None
    """The clear lenses of somebody who wears glasses; their frame is part of the mesh."""


def build_head(identity: Identity, expression: Expression | None = None) -> HeadMesh:
    """The mesh of `identity` wearing `expression` (neutral by default); about 80,000 triangles, always the same."""
    head = _head_grid(identity, expression or Expression())
    grids = [head, *_torso_grids(identity)]
    if identity.hair.length_cm == 0.0:
        grids += [_ear_grid(identity, side) for side in (-1.0, 1.0)]
    else:
        grids += [_hair_grid(identity, layer) for layer in range(hairdo.SHELL_LAYERS)]
    if identity.glasses is None:
        return _join(grids)
    fitting = glasses.fit(identity, head.canonical, head.positions)
    tubes = glasses.frame_tubes(identity, fitting)
    grids += [SurfaceGrid(tube, tube, GLASSES, np.zeros(tube.shape[:2]), closed=True) for tube in tubes]
    return replace(_join(grids), lenses=glasses.lens_mesh(identity, fitting))


def _join(grids: list[SurfaceGrid]) -> HeadMesh:
    offsets = np.cumsum([0] + [grid.hair.size for grid in grids])
    triangles = [grid_triangles(*grid.hair.shape) for grid in grids]
    parts = [np.broadcast_to(np.float32(grid.part), grid.hair.shape).ravel() for grid in grids]
    return HeadMesh(
        vertices_cm=np.concatenate([grid.positions.reshape(-1, 3) for grid in grids]).astype(np.float32),
        normals=np.concatenate([grid_normals(grid).reshape(-1, 3) for grid in grids]),
        triangles=np.concatenate([t + np.int32(o) for t, o in zip(triangles, offsets, strict=False)]),
        canonical=np.concatenate([grid.canonical.reshape(-1, 3) for grid in grids]).astype(np.float32),
        part=np.concatenate(parts),
        hair=np.concatenate([grid.hair.ravel() for grid in grids]).astype(np.float32),
    )


def _profile(y: np.ndarray, knots: list[tuple[float, float]]) -> np.ndarray:
    """A smooth curve through (nearly) the given (y, value) knots, held at its ends."""
    heights, values = np.array(knots).T
    table_y = np.arange(heights[0], heights[-1] + 0.02, 0.02)
    table = np.interp(table_y, heights, values)
    reach = 25  # half a centimetre
    kernel = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(table, reach, mode="reflect", reflect_type="odd")
    return np.interp(y, table_y, np.convolve(padded, kernel / kernel.sum(), mode="valid"))


def _crown(y: np.ndarray, exponent: float) -> np.ndarray:
    """Narrowing of the skull above CROWN_FROM_Y: 1 there, 0 at the crown."""
    height = np.clip((y - CROWN_FROM_Y) / (CROWN_Y - CROWN_FROM_Y), 0.0, 1.0)
    return np.sqrt(1.0 - height**exponent)


def _skull_profiles(skull: Skull, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, front depth and back depth (R, 1) of each row."""
    jaw, chin = skull.jaw, skull.chin
    width = [
        (-9.6, 0.0), (-9.52, 2.3 * chin), (-9.3, 3.7 * chin), (-8.9, 4.65 * (chin + jaw) / 2), (-8.2, 5.35 * jaw),
        (-7.0, 5.9 * jaw), (-5.0, 6.3 * jaw), (-2.5, 6.70), (0.3, 7.05), (3.0, 7.15 * skull.temple),
        (4.5, 7.15 * skull.temple), (6.0, 7.35),
    ]  # fmt: skip
    front = [(-9.6, 5.9), (-9.3, 6.75), (-8.9, 7.25), (-8.2, 7.6), (-6.5, 7.85), (-4.0, 8.15), (0.0, 8.2), (3.0, 8.0),
             (4.5, 8.1), (6.0, 8.1)]  # fmt: skip
    back = [(-9.6, 2.0), (-6.0, 4.4), (-3.0, 7.0), (0.0, 9.0), (3.0, 9.9), (6.0, 10.2)]
    return (
        _profile(y, width) * _crown(y, 2.2) * skull.width,
        _profile(y, front) * _crown(y, 2.5) * skull.depth,
        _profile(y, back) * _crown(y, 2.2) * skull.depth,
    )


def _row_heights(mouth_y: float) -> np.ndarray:
    """Canonical heights of the rows, dense over the face, with two rows exactly at the lips' seam."""
    heights = [CHIN_Y]
    while heights[-1] < CROWN_FROM_Y:
        outside = max(abs(heights[-1] + 0.9) - 5.8, 0.0)
        heights.append(heights[-1] + min(FINE_STEP_CM + 0.10 * outside, COARSE_STEP_CM))
    crown = CROWN_FROM_Y + (CROWN_Y - CROWN_FROM_Y) * np.sin(np.linspace(0.0, np.pi / 2, CROWN_ROWS + 1)[1:])
    seam = mouth_y + np.array([-features.MOUTH_SEAM_CM, features.MOUTH_SEAM_CM])
    below = np.array([height for height in heights[:-1] if np.abs(height - seam).min() > 0.04])
    return np.sort(np.concatenate([below, seam, [CROWN_FROM_Y], crown]))


def _column_azimuths() -> np.ndarray:
    """Azimuths from −π to π about the vertical axis, 0 in front and dense there; exactly symmetric."""
    half = np.linspace(0.0, 1.0, HEAD_COLUMNS // 2 + 1)
    right = np.pi * (0.42 * half + 0.58 * half**5)
    right[-1] = np.pi
    return np.concatenate([-right[:0:-1], right])


def _head_grid(identity: Identity, expression: Expression) -> SurfaceGrid:
    """Skull and face with hair, as one closed grid."""
    skull = identity.skull
    heights = _row_heights(identity.mouth.y).astype(np.float32)
    y, azimuth = np.meshgrid(heights, _column_azimuths().astype(np.float32), indexing="ij")
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    sine[:, [0, -1]] = 0.0
    cosine[:, [0, -1]] = -1.0
    width, front, back = (profile.astype(np.float32) for profile in _skull_profiles(skull, heights[:, None]))
    lower = np.clip((TAPER_Y[0] - y) / (TAPER_Y[0] - TAPER_Y[1]), 0.0, 1.0)
    exponent = skull.flatness + skull.taper * lower * lower * (3.0 - 2.0 * lower)
    x = width * np.sign(sine) * np.abs(sine) ** exponent
    z = np.where(cosine > 0.0, front, back) * cosine + MIDDLE_Z
    behind = np.clip(front + MIDDLE_Z - z, 0.0, 8.5)
    on_face = features.smooth_step((cosine - RELIEF_FADE[0]) / RELIEF_FADE[1])
    on_face = on_face * np.clip((y - CHIN_Y) / 0.5, 0.0, 1.0)
    z = z + on_face * features.face_relief(identity, expression, x, y)
    z = features.seat_eyes(identity, expression, x, y, z)
    drawn_y = features.lowered_lids(identity.eyes, x, y, expression.blink) if expression.blink > 0.0 else y
    canonical = np.stack([x, np.where(cosine > 0.0, drawn_y, y), z], -1)
    distance = hairdo.growth(identity, x, y, azimuth)
    positions = _deform(identity, expression, np.stack([x, y, z], -1), on_face, behind)
    positions = _lift_hair(positions, hairdo.volume(identity, distance, y, azimuth))
    seam = (np.abs(y - identity.mouth.y) < features.MOUTH_SEAM_CM + 1e-6) & (cosine > 0.0)
    part = MOUTH_INSIDE * (seam & (expression.mouth_open > 0.0)) + FACE
    if expression.blink > 0.0:
        part = part + SHUT_LID * features.shut_seam(identity.eyes, x, y, expression.blink) * (cosine > 0.0)
    return SurfaceGrid(positions, canonical, part, hairdo.hair_ramp(distance), closed=True)


def _deform(
    identity: Identity, expression: Expression, points: np.ndarray, on_face: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """Expression, slow warp, the jaw's rise towards the ears, and the length of the lower face and whole head."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    dx, dy = features.move_expression(identity, expression, x, y)
    wx, wy, wz = features.slow_warp(identity, x, y)
    out_y = y + on_face * (dy + wy)
    out_y = np.where(out_y < -1.5, -1.5 + (out_y + 1.5) * identity.skull.lower_face, out_y)
    out_y = out_y + 0.42 * behind * np.clip((-2.5 - y) / 6.0, 0.0, 1.0)
    moved = [x + on_face * (dx + wx), out_y * identity.skull.height, z + on_face * wz]
    return np.stack(moved, -1)


def _lift_hair(positions: np.ndarray, volume_cm: np.ndarray) -> np.ndarray:
    """Positions pushed away from the skull's middle by the hair's volume."""
    outward = positions - np.array([0.0, 3.0, MIDDLE_Z - 1.0])
    outward = outward / np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-6)
    lifted = positions + outward * volume_cm[..., None]
    lifted[-1] = lifted[-1].mean(0)  # the crown is one point
    return lifted


def _ear_grid(identity: Identity, side: float) -> SurfaceGrid:
    """One ear: a bent, cupped disc with a rim, standing off the head."""
    skull = identity.skull
    polar, turn = np.meshgrid(np.linspace(0.0, np.pi, 24), np.linspace(-np.pi, np.pi, 41), indexing="ij")
    out = -np.cos(polar)  # −1 on the head's side … 1 on the outer side
    up, back = np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn)
    radius = np.hypot(up, back)
    cup = 0.42 * np.exp(-((radius / 0.55) ** 2)) - 0.12 * np.exp(-(((radius - 0.62) / 0.12) ** 2))
    thick = 0.34 * out - np.where(out > 0.0, cup, 0.0)
    shape = np.stack([side * thick, 3.05 * up + 0.25 * back, -1.65 * back * (1.0 + 0.25 * up)], -1) * skull.ear_size
    cos, sin = np.cos(skull.ear_angle), np.sin(skull.ear_angle)
    turned = np.stack(
        [
            shape[..., 0] * cos - side * shape[..., 2] * sin,
            shape[..., 1],
            shape[..., 2] * cos + side * shape[..., 0] * sin,
        ],
        -1,
    )
    placed = turned + np.array([side * 7.40 * skull.width, 1.0, -3.4])
    placed[..., 1] *= skull.height
    if side > 0.0:
        placed = placed[:, ::-1]
    return SurfaceGrid(placed, placed.copy(), EAR, np.zeros(polar.shape), closed=True)


def _shoulder_loop(identity: Identity, y: np.ndarray, azimuth: np.ndarray, looser_cm: float) -> np.ndarray:
    """Points around neck and shoulders at heights `y`, `looser_cm` outside the skin."""
    skull, up = identity.skull, y
    y = up - SHOULDERS_UP_CM
    neck, wide = 5.05 * skull.neck, skull.shoulder_cm
    width = [(-32.0, wide), (-24.5, wide), (-21.5, 0.95 * wide), (-19.0, 0.80 * wide), (-17.0, 0.56 * wide),
             (-15.0, 1.45 * neck), (-13.0, 1.12 * neck), (-10.5, neck), (-5.0, neck)]  # fmt: skip
    depth = [(-32.0, 11.0), (-24.0, 9.5), (-20.0, 7.6), (-17.5, 6.3), (-14.0, 1.02 * neck), (-5.0, neck)]
    middle = [(-32.0, -4.0), (-20.0, -5.0), (-15.0, -5.0), (-9.0, -4.2), (-5.0, -3.4)]
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    x = (_profile(y, width) + looser_cm) * np.sign(sine) * np.abs(sine) ** 0.9
    z = (_profile(y, depth) + looser_cm) * cosine + _profile(y, middle)
    throat = 0.35 * features.gaussian(x, y, 0.0, -12.0, 1.0, 1.2)
    cords = 0.30 * np.exp(-(((np.abs(x) - 1.2 - 0.28 * (y + 16.5)) / 0.8) ** 2)) * (y > -17.0)
    z = z + np.where((cosine > 0.0) & (looser_cm == 0.0), throat + cords, 0.0)
    return np.stack([x, up, z], -1)


def _torso_grids(identity: Identity) -> list[SurfaceGrid]:
    """Neck and shoulders of skin, and the garment over them."""
    azimuth = np.linspace(-np.pi, np.pi, 73)
    skin_y, skin_azimuth = np.meshgrid(np.linspace(-26.0, -5.0, 44), azimuth, indexing="ij")
    skin = _shoulder_loop(identity, skin_y, skin_azimuth, 0.0)
    lowest = {"round": -17.3, "deep": -20.5, "high": -13.8}[identity.clothes.neckline]
    sharpness = 6.0 if identity.clothes.neckline == "deep" else 2.0
    front = np.exp(-sharpness * (1.0 - np.cos(azimuth)))
    collar = SHOULDERS_UP_CM - 14.3 + (lowest + 14.3) * front
    down = np.linspace(1.0, 0.0, 34)[:, None] ** 1.3
    cloth_y = collar + (TORSO_BOTTOM_Y - collar) * down
    cloth = _shoulder_loop(identity, cloth_y, np.broadcast_to(azimuth, cloth_y.shape), 0.4)
    return [
        SurfaceGrid(skin, skin.copy(), NECK, np.zeros(skin_y.shape), closed=True),
        SurfaceGrid(cloth, cloth.copy(), TORSO, np.zeros(cloth_y.shape), closed=True),
    ]


def _hair_grid(identity: Identity, layer: int) -> SurfaceGrid:
    """One layer of hanging hair: its rows go down and its columns leftwards, which keeps normals outward."""
    positions, canonical = hairdo.hanging_shell(identity, layer)
    return SurfaceGrid(positions, canonical, LONG_HAIR, np.ones(positions.shape[:2]), closed=False)
