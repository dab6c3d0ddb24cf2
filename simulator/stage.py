"""A scene, drawn and rendered: somebody or something before a phone in a room, as layers of light.

Every nuisance (framing, room, phone, background, expression, blink) has its own stream of random numbers, drawn from
the seed without looking at the species: two scenes of one seed and different species are the same room before the same
phone; only what stands there differs. That is what makes a difference between classes a difference in how they answer
the light (section 3.2 of the paper), and not one of framing or blur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.ambient import Ambient, Lighting
from simulator.attack import Artefact, present
from simulator.background import draw_background
from simulator.devices import draw_screen
from simulator.framing import Framing
from simulator.head import build_head
from simulator.identity import Expression, Identity
from simulator.phone import Phone
from simulator.scene import OVERSAMPLING, SKIN, Finish, LightLayers, View
from simulator.streams import stream
from simulator.truth_landmarks import ShownFace

DISTANCES_CM = (12.0, 100.0)
"""Distances that may be asked for; those drawn are within an arm's reach."""


@dataclass(frozen=True)
class Stage:
    """A person or an artefact standing before a phone, rendered, ready to be photographed under any screen colour."""

    species: str
    instrument: str
    subject: int
    seed: int
    size: int
    """Width and height of the photographs, pixels."""
    layers: LightLayers
    view: View
    """Of the layers."""
    lighting: Lighting
    phone: Phone
    middle_cm: np.ndarray
    """(3,) what the object turns about when it moves."""
    distance_cm: float
    skin_tone: int
    """Monk Skin Tone of the person shown, 1 (fairest) to 10 (deepest)."""
    detail: str = ""
    """What the instrument's name leaves open, such as a mask's material."""
    eyes_shut: LightLayers | None = None
    """The same with the eyes (nearly) shut, where a blink falls into the capture."""
    blink_at: float = 0.0
    """When it does, as a share of the capture's duration."""
    shown: ShownFace | None = None
    """Whose face is shown, and where; None of a stage that was read from a file."""

    def layers_at(self, begin: float, end: float) -> LightLayers:
        """The layers of a photograph that stands for this stretch (shares of the capture's duration)."""
        blinks = self.eyes_shut is not None and begin <= self.blink_at < end
        return self.eyes_shut if blinks and self.eyes_shut is not None else self.layers

    @property
    def labels(self) -> dict[str, object]:
        """The truth about this stage."""
        return {
            "subject": subject_name(self.subject),
            "species": self.species,
            "instrument": self.instrument,
            "detail": self.detail or None,
            "scene": self.lighting.ambient.scene,
            "device": self.phone.profile,
            "distance_cm": round(self.distance_cm, 2),
            "ambient_lux": round(self.lighting.ambient.lux, 2),
            "flash_to_ambient": round(self.layers.flash_to_ambient(self.lighting.screen.luminance_nits), 5),
            "skin_tone": self.skin_tone,
            "seed": self.seed,
        }


def subject_name(subject: int) -> str:
    """The pseudonym of a simulated person in a capture's labels."""
    return f"sim-{subject:06d}"


@dataclass(frozen=True)
class Blink:
    """A blink within the capture: of the person, of the picture, of whoever wears the mask, equally often.

    Nobody's print blinks. But if only live faces did, a blink would tell them apart without any flash.
    """

    SHARE = 0.12
    """Of captures that have one: people blink about every five seconds, a capture takes one to two."""
    at: float
    """Share of the capture's duration."""
    closed: float
    """As in Expression.blink."""

    @staticmethod
    def draw(rng: np.random.Generator) -> Blink | None:
        """Draw a blink, or none."""
        happens, at, closed = rng.random(3)
        return Blink(float(at), 0.6 + 0.4 * float(closed)) if happens < Blink.SHARE else None


def set_stage(
    seed: int,
    subject: int,
    species: str,
    instrument: str,
    size: int = 256,
    ambient_lux: float | None = None,
    distance_cm: float | None = None,
    cues: bool = False,
    scene: str | None = None,
    device: str | None = None,
    skin: Finish = SKIN,
) -> Stage:
    """Draw and render the scene of a capture; arguments as in CaptureSpec, `scene` and `device` None to draw them.

    `skin` is what a live face is made of.
    """
    framing = Framing.draw(stream(seed, "framing"), size)
    if distance_cm is not None:
        framing = replace(framing, distance_cm=float(distance_cm))
    phone = Phone.draw(stream(seed, "phone"), device, sensor_scale=framing.sensor_scale)
    screen = draw_screen(stream(seed, "screen"), phone.profile)
    lighting = Lighting(Ambient.draw(stream(seed, "room"), scene, lux=ambient_lux), screen)
    view = framing.view(round(size * OVERSAMPLING))
    identity = Identity.draw(subject)
    expression = Expression.draw(stream(seed, "expression"))
    background = draw_background(stream(seed, "background"), view.size, lighting, view)

    def show(face: Expression) -> Artefact:
        mesh = build_head(identity, face)
        return present(seed, species, instrument, identity, mesh, framing, view, lighting, cues=cues, skin=skin)

    artefact = show(expression)
    blink = Blink.draw(stream(seed, "blink"))
    return Stage(
        species=species,
        instrument=instrument,
        subject=subject,
        seed=seed,
        size=size,
        layers=background.under(artefact.layers),
        view=view,
        lighting=lighting,
        phone=phone,
        middle_cm=np.array([*framing.offset_cm, -framing.distance_cm]) * artefact.scale,
        distance_cm=framing.distance_cm * artefact.scale,
        skin_tone=identity.skin_tone,
        detail=artefact.detail,
        eyes_shut=background.under(show(replace(expression, blink=blink.closed)).layers) if blink else None,
        blink_at=blink.at if blink else 0.0,
        shown=artefact.shown,
    )
