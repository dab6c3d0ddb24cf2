"""Hair: where it grows, how far it stands off the head, and what hangs down.

It belongs to no section of the paper. Short hair is the scalp itself, lifted and lumpy; long hair adds an open shell
around the sides and back. `growth` gives a signed distance to the hairline, which the mesh carries as a ramp and the
paint turns into strands.
"""

from __future__ import annotations

import numpy as np

from simulator import texture
from simulator.identity import Identity

RAMP_CM = 1.2
"""The mesh's hair attribute goes from 0 to 1 over this distance on either side of the hairline."""
FAR_FROM_HAIR_CM = -9.0
_AZIMUTH = np.linspace(0.0, np.pi, 181)
SHELL_ROWS, SHELL_COLUMNS = 48, 72
SHELL_LAYERS, LAYER_LENGTH = 2, (0.80, 1.0)
"""Hanging hair is two curtains, one over the other, the upper one shorter."""


def hair_ramp(distance_cm: np.ndarray) -> np.ndarray:
    """Signed distance into the hair → attribute 0..1, 0.5 at the hairline."""
    return np.clip(0.5 + distance_cm / (2.0 * RAMP_CM), 0.0, 1.0)


def hair_distance(ramp: np.ndarray) -> np.ndarray:
    """Inverse of `hair_ramp`, within its range."""
    return (ramp - 0.5) * 2.0 * RAMP_CM


def _hairline(identity: Identity) -> np.ndarray:
    """Height of the hairline at each `_AZIMUTH` from the face's middle: forehead, temple, sideburn, ear, nape."""
    top = identity.hair.hairline_y
    azimuths = [0.0, 0.70, 0.92, 1.06, 1.17, 1.27, 1.45, 1.55, 1.72, 1.82, 2.10, np.pi]
    heights = [top, top - 0.15, top - 1.3, 5.3, 3.0, 0.3, -0.4, 4.0, 4.2, 1.5, -4.8, -5.6]
    # From the temple to the sideburn the line comes forward, and what lies in front of it makes room.
    azimuths[2:6] = [azimuth - identity.hair.temple_rad for azimuth in azimuths[2:6]]
    azimuths[1] = min(azimuths[1], azimuths[2] - 0.1)
    line = np.interp(_AZIMUTH, azimuths, heights)
    kernel = np.hanning(13) / np.hanning(13).sum()
    line = np.convolve(np.pad(line, 6, mode="edge"), kernel, mode="valid")
    return line + identity.hair.recession_cm * np.exp(-(((_AZIMUTH - 0.62) / 0.22) ** 2))


def growth(identity: Identity, x: np.ndarray, y: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Signed distance in cm from the hairline, positive where hair grows, for points of the head."""
    hair = identity.hair
    if hair.style == "bald":
        return np.full(x.shape, FAR_FROM_HAIR_CM)
    line = _hairline(identity)
    slope = np.gradient(line, _AZIMUTH) / 7.3
    around = np.abs(azimuth)
    level = np.interp(around, _AZIMUTH, line)
    level = level - hair.peak_cm * np.exp(-((x / 1.1) ** 2)) - _fringe(identity, x, around)
    return (y - level) / np.sqrt(1.0 + np.interp(around, _AZIMUTH, slope) ** 2)


def _fringe(identity: Identity, x: np.ndarray, around: np.ndarray) -> np.ndarray:
    """How far strands fall below the hairline: locks of uneven length, parted at one place."""
    hair = identity.hair
    if hair.fringe_cm == 0.0:
        return np.zeros(x.shape)
    u, v = identity.skin.texture_offset
    locks = 0.8 + 0.22 * texture.sample(texture.strands(), x / 40.0 + u, np.full_like(x, v))
    parted = 1.0 - 0.75 * np.exp(-(((x - hair.parting_x) / 1.0) ** 2))
    return hair.fringe_cm * np.clip(locks, 0.2, 1.3) * parted * np.exp(-((around / 0.95) ** 6))


def volume(identity: Identity, distance_cm: np.ndarray, y: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """How far hair lifts the scalp, cm; rises from the hairline, higher on top than at the sides, lumpy."""
    hair = identity.hair
    u, v = identity.skin.texture_offset
    rise = np.clip((distance_cm - 0.25) / (0.5 + 1.1 * hair.volume_cm), 0.0, 1.0)
    rise = np.sqrt(rise * (2.0 - rise))
    sides = 1.0 if hair.style == "curly" else 0.35 + 0.65 * np.clip((y - 3.0) / 5.0, 0.0, 1.0)
    around = azimuth / (2.0 * np.pi)
    streaks = texture.sample(texture.strands(), around * 2.0 + u, y / 30.0 + v)
    lumps = texture.sample(texture.blotches(), around * 2.0 + v, y / 22.0 + u)
    uneven = 1.0 + 0.15 * (1.0 - hair.curl) * streaks + 0.10 * lumps
    lopsided = 1.0 + 0.04 * hair.parting_x * np.sin(azimuth)
    return hair.volume_cm * rise * sides * np.clip(uneven, 0.4, 1.7) * lopsided


def hanging_shell(identity: Identity, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """A layer of hanging hair as positions and texture coordinates, each (SHELL_ROWS, SHELL_COLUMNS, 3), cm.

    The upper layer (0) is shorter and parted farther back; both frame the face and reach around the head's back.
    """
    hair, skull = identity.hair, identity.skull
    u, v = identity.skin.texture_offset
    u = u + 0.37 * layer
    across = np.linspace(-1.0, 1.0, SHELL_COLUMNS)
    down = np.linspace(0.0, 1.0, SHELL_ROWS)[:, None]
    ends = texture.sample(texture.strands(), across * 0.5 + u, np.full(across.size, v))
    bottom = -1.0 - hair.length_cm * LAYER_LENGTH[layer] * (1.0 + 0.08 * ends)
    y = 9.0 + (bottom - 9.0) * down
    azimuth = _shell_azimuth(identity, layer, across, y)
    curtain = np.interp(y, [-24.0, -12.0, -5.0, 1.0, 5.0, 7.5, 9.0], [9.5, 8.7, 8.2, 8.1, 7.95, 7.1, 5.2])
    along = np.sign(across) * (1.0 + (np.pi - 1.0) * (1.0 - np.abs(across)))  # strands run along columns
    arc = np.broadcast_to(along, y.shape)
    waves = texture.sample(texture.strands(), arc / 4.0 + u, y / 60.0 + v)
    sway = np.sin(y / (4.5 - 2.5 * hair.curl) + 3.0 * azimuth + 2.0 * layer) * 0.35 * hair.curl
    radius = curtain * skull.width + 0.55 * hair.volume_cm * np.clip((8.0 - y) / 5.0, 0.0, 1.0) - 0.25 * layer
    radius = radius * (1.0 + 0.022 * waves) + sway
    depth = np.where(np.cos(azimuth) > 0.0, 0.80, 1.05)
    positions = np.stack([radius * np.sin(azimuth), y * skull.height, radius * depth * np.cos(azimuth) - 3.4], -1)
    return positions, np.stack([8.0 * arc, y, np.full(y.shape, -1.0)], -1)


def _shell_azimuth(identity: Identity, layer: int, across: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Azimuth of each point of a layer: its front edges wander, and lie farther back on the parting's side."""
    hair, (u, v) = identity.hair, identity.skin.texture_offset
    edge = np.interp(y, [-24.0, -8.0, -2.0, 3.0, 6.0, 9.0], [0.86, 0.88, 0.96, 1.04, 0.98, 0.85]) + 0.16 * (1 - layer)
    wander = texture.sample(texture.blotches(), np.full_like(y, u + 0.5 * layer), y / 90.0 + v)
    front = edge + 0.05 * wander + 0.035 * hair.parting_x * np.sign(across)
    return np.sign(across) * (front + (np.pi - front) * (1.0 - np.abs(across)))
