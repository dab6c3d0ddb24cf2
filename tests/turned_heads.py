"""Photographs of simulated heads in a pose that is known, for whoever measures poses from landmarks."""

from __future__ import annotations

import numpy as np

from flash_sequencer.colour import linear_to_srgb
from simulator.ambient import Ambient, Lighting
from simulator.framing import Framing
from simulator.head import Expression, Identity, build_head
from simulator.light import ScreenLight
from simulator.scene import relight, render_head

SIZE = 320


def photograph_head(
    subject: int,
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    share: float = 0.5,
    distance_cm: float = 32.0,
    offset_cm: tuple[float, float] = (0.0, 0.0),
    expression: Expression | None = None,
    size: int = SIZE,
) -> np.ndarray:
    """(size,size,3) uint8 RGB: a head lit by a room and a white screen, before grey.

    The angles are those of `simulator.scene.rotation`: positive yaw turns the nose to the right of the image, positive
    pitch turns it down, positive roll turns the head anticlockwise in the image.
    """
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    framing = Framing(share, distance_cm, float(yaw), float(pitch), float(roll), offset_cm)
    identity = Identity.draw(subject)
    lighting = Lighting(Ambient.draw(np.random.default_rng(3), lux=150.0), ScreenLight())
    layers = render_head(identity, build_head(identity, expression), framing.head_pose(), framing.view(size), lighting)
    light = relight(layers, np.full(3, lighting.screen.luminance_nits))
    exposed = 0.35 * light / np.median(light[layers.face])
    exposed = np.where(layers.covered[..., None], exposed, 0.2)
    return np.rint(255 * linear_to_srgb(np.clip(exposed, 0, 1))).astype(np.uint8)
