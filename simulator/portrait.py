"""What a print or a replay shows: a picture of a person, as the capturing camera will see it on its sheet.

It stands for the photographs and videos that the paper's attackers print and replay (section 5.1). A picture has its
own pose and its own light, drawn as live captures draw theirs, but no lens or sensor of its own: the picture is warped
by geometry, vertex by vertex, onto its sheet and drawn straight into the capture's pixels. Photographing a photograph
therefore costs no sharpness, and neither resolution nor noise can tell a picture from a face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.ambient import Ambient, Lighting
from simulator.background import draw_background
from simulator.devices import draw_screen
from simulator.framing import FACE_CENTRE_CM, Framing
from simulator.head import HeadMesh
from simulator.identity import Identity
from simulator.scene import LightLayers, Pose, View, relight, render_head
from simulator.sensor import LUMINANCE
from simulator.sheet import NEAREST_CM, Sheet
from simulator.truth_landmarks import ShownFace

SCREEN_LIT_SHARE = 0.25
"""Of pictures taken by the light of their own phone's screen, as a live capture's frames are."""
SHOULDER = 0.8
"""Above this share of white a picture's highlights are compressed, as every camera does."""


@dataclass(frozen=True)
class Hanging:
    """How a picture hangs before the capturing camera."""

    sheet: Sheet
    pose: Pose
    scale: float
    """Shown face over life size."""
    distance_cm: float
    """From which the picture was taken; seen from `scale` times it, it looks life-like."""
    view: View


@dataclass(frozen=True)
class Portrait:
    """A picture of a simulated person, as images of the capture's layers (S, S)."""

    linear: np.ndarray
    """(S, S, 3) float32, 0..1 of the medium's white, linear light."""
    face: np.ndarray
    """(S, S) bool."""
    head: np.ndarray
    """(S, S) bool: the person, with hair and shoulders."""
    eyes_cm: np.ndarray
    """(2, 2): the eyes' middles, measured along the sheet."""
    nose_cm: np.ndarray
    mouth_cm: np.ndarray
    shown: ShownFace
    """The person as the capturing camera sees the picture."""


def take_portrait(
    rng: np.random.Generator, identity: Identity, mesh: HeadMesh, hanging: Hanging, room: Ambient, *, neutral: bool
) -> Portrait:
    """Take a picture in a room of the same kind as `room`; `neutral` removes its colour cast, as printing services do.

    The capture's own room tints a print a second time, but a display only once.
    """
    pose = _picture_pose(Framing.draw(rng), hanging.distance_cm)
    ambient = Ambient.draw(rng, scene=room.scene)
    if neutral:
        ambient = replace(ambient, colour=(1.0, 1.0, 1.0))
    lighting = Lighting(ambient, draw_screen(rng))
    warped = replace(mesh, vertices_cm=_warped(mesh.vertices_cm, pose, hanging))
    person = render_head(identity, warped, pose, hanging.view, lighting)
    layers = draw_background(rng, hanging.view.size, lighting).under(person)
    eyes, nose, mouth = identity.eyes, identity.nose, identity.mouth
    landmarks = np.array(
        [(-eyes.x, eyes.y, 4.2), (eyes.x, eyes.y, 4.2), (0.0, nose.base_y + 0.6, 6.5), (0.0, mouth.y, 5.2)], np.float32
    )
    along = _on_sheet(pose.apply(landmarks), hanging)
    linear = _developed(rng, layers, lighting, identity)
    shown = ShownFace(identity, warped, pose)
    return Portrait(linear, layers.face, layers.covered, along[:2], along[2], along[3], shown)


def _picture_pose(framing: Framing, distance_cm: float) -> Pose:
    """The person's pose before the camera that takes the picture, the face's centre on its axis."""
    turn = framing.head_pose().rotation
    return Pose(turn, (np.array([0.0, 0.0, -distance_cm]) - turn @ np.asarray(FACE_CENTRE_CM)).astype(np.float32))


def _on_sheet(points: np.ndarray, hanging: Hanging) -> np.ndarray:
    """Where points (P, 3) before the picture's camera lie in the picture: (P, 2) cm along the sheet."""
    depth = np.maximum(-points[:, 2:], NEAREST_CM)
    return points[:, :2] / depth * np.float32(hanging.distance_cm * hanging.scale)


def _warped(vertices_cm: np.ndarray, pose: Pose, hanging: Hanging) -> np.ndarray:
    """Own coordinates (V, 3) from which `pose` and the capturing camera make the picture as it looks on its sheet.

    Each vertex moves sideways to the pixel at which the sheet shows it and keeps its depth before the picture's camera,
    so that what hid what still does.
    """
    taken = pose.apply(vertices_cm)
    seen = hanging.pose.apply(hanging.sheet.place(_on_sheet(taken, hanging)))
    depth = np.maximum(-taken[:, 2:], NEAREST_CM)
    sideways = seen[:, :2] / np.maximum(-seen[:, 2:], NEAREST_CM) * depth
    moved = np.concatenate([sideways, -depth], 1).astype(np.float32)
    return ((moved - pose.translation_cm) @ pose.rotation).astype(np.float32)


def _developed(rng: np.random.Generator, layers: LightLayers, lighting: Lighting, identity: Identity) -> np.ndarray:
    """Expose a picture for a usual mixture of skin and background; what is too bright is compressed."""
    lit = float(rng.random() < SCREEN_LIT_SHARE) * rng.uniform(0.2, 1.0)
    linear = relight(layers, lighting.screen.radiance(np.full(3, lit)) if lit > 0 else np.zeros(3))
    level = _exposure_level(lighting, identity, lit)
    exposed = linear * np.float32(np.exp(rng.uniform(np.log(0.20), np.log(0.36))) / level)
    high = np.maximum(exposed - SHOULDER, 0.0) / (1.0 - SHOULDER)
    return (np.minimum(exposed, SHOULDER) + (1.0 - SHOULDER) * high / (1.0 + 0.5 * high)).clip(0.0, 1.0)


def _exposure_level(lighting: Lighting, identity: Identity, lit: float) -> float:
    """Luminance that the picture is exposed for, cd/m².

    It is worked out from the skin's colour and the light, not measured in the rendered picture: a blink must not change
    a picture's exposure.
    """
    normals = np.array([[0, 0, 1], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.6, 0.8], [0, -0.6, 0.8]], np.float32)
    irradiance = lighting.ambient.diffuse(normals, np.ones(len(normals), np.float32)).mean(0)
    irradiance = irradiance + 0.02 * lit * lighting.screen.luminance_nits
    face = float(irradiance * np.asarray(identity.skin.albedo, np.float32) @ LUMINANCE)
    room = float(lighting.ambient.radiance @ LUMINANCE)
    return 0.55 * face + 0.35 * 0.35 * room * lighting.ambient.background + 0.10 * 0.25 * room
