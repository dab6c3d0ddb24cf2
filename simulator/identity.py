"""A person, as numbers: the shape of the skull and features, skin, hair, clothes. Everything follows from one seed.

It belongs to no section of the paper, which photographs 400 hired people. How the numbers are drawn is in
`simulator.population`. Lengths in cm, colours linear RGB reflectance in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[float, float, float]

HAIR_STYLES = ("bald", "buzz", "short", "swept", "curly", "medium", "long")
BEARD_STYLES = ("none", "stubble", "moustache", "goatee", "full")
NECKLINES = ("round", "deep", "high")
FRAME_STYLES = ("full", "browline", "half")
SUBJECT_COUNT = 1_000_000
"""Subjects are numbered from 0 to one less."""


@dataclass(frozen=True)
class Expression:
    """A passing state of the face; the default is neutral. Shapes return exactly to neutral at zero."""

    mouth_open: float = 0.0
    """0 closed … 1 jaw lowered by about 1.5 cm."""
    smile: float = 0.0
    """−0.5 frown … 1 broad smile."""
    blink: float = 0.0
    """0 open … 1 both eyes shut."""

    @staticmethod
    def draw(rng: np.random.Generator) -> Expression:
        """Mostly neutral, often a slight smile, sometimes parted lips, rarely half-shut eyes; alike for all species."""
        return Expression(
            mouth_open=float(max(rng.normal() * 0.12 - 0.08, 0.0)),
            smile=float(np.clip(rng.normal() * 0.2 + 0.08, -0.25, 0.7)),
            blink=float(max(rng.normal() * 0.2 - 0.2, 0.0)),
        )


@dataclass(frozen=True)
class Skull:
    """The head without its features."""

    width: float
    height: float
    depth: float
    """Scales about 1."""
    jaw: float
    """Width of the jaw at its corners, scale about 1."""
    chin: float
    """Width of the chin, scale about 1."""
    lower_face: float
    """Length from nose to chin, scale about 1."""
    temple: float
    """Width at the temples, scale about 1."""
    cheekbone_cm: float
    fullness_cm: float
    """Flesh of the cheeks: negative is hollow."""
    brow_ridge_cm: float
    chin_forward_cm: float
    chin_cleft_cm: float
    chin_crease_cm: float
    """Depth of the hollow between lower lip and chin."""
    forehead_cm: float
    flatness: float
    """Exponent of the cross-section: below 1 the face is flatter in front."""
    taper: float
    """Added to it from the cheeks down to the chin: above 0 the lower face is more pointed than the upper."""
    ear_size: float
    ear_angle: float
    """Radians that the ears stand off the head."""
    neck: float
    """Thickness of the neck, scale about 1."""
    shoulder_cm: float
    """Half the width of the shoulders."""
    warp: tuple[tuple[float, ...], ...]
    """(3 axes, 8) amplitudes in cm of slow waves over the face: what makes it one's own, and not quite symmetric."""


@dataclass(frozen=True)
class Nose:
    """The nose."""

    height_cm: float
    """How far the tip stands off the face."""
    width: float
    """Scale about 1."""
    wings_cm: float
    """Half the distance between the wings."""
    base_y: float
    """Height of the tip on the face."""
    bridge_cm: float
    """How far the root between the eyes stands off."""
    hump_cm: float
    tip_up_cm: float


@dataclass(frozen=True)
class Eyes:
    """Eyes and brows. Positions are on the face: x from the middle, y up."""

    x: float
    y: float
    half_width: float
    opening: float
    """Height of the upper lid above the middle of the eye."""
    tilt: float
    """Rise towards the temple, cm per cm."""
    crease: float
    """Depth of the upper lid's fold, 0..1."""
    fold_y: float
    """Height of that fold above the upper lid."""
    bags: float
    """0..1"""
    lashes: float
    """0..1"""
    iris: Colour
    brow_y: float
    brow_thickness: float
    brow_density: float
    brow_arch: float
    brow_length: float


@dataclass(frozen=True)
class Mouth:
    """Mouth and lips."""

    y: float
    half_width: float
    upper: float
    lower: float
    """Fullness of each lip, scale about 1."""
    corner_cm: float
    """Resting height of the corners."""
    redness: float
    """0 like skin … 1 painted."""
    tint: Colour
    """Multiplies the skin's colour at full redness."""
    moist: float
    """Gloss of the lips over the skin's, 0 dry, about 1."""


@dataclass(frozen=True)
class Skin:
    """Colour and surface of the skin."""

    tone: int
    """Monk Skin Tone, 1 (fairest) to 10 (deepest)."""
    albedo: Colour
    flush: float
    """Redness of cheeks, nose and ears, 0..1."""
    flush_at: tuple[float, float, float]
    """How much of it shows on cheeks, nose and chin."""
    unevenness: float
    freckles: float
    """0..1"""
    moles: tuple[tuple[float, float, float], ...]
    """(x, y, radius) on the face."""
    wrinkles: float
    """0..1"""
    pores: float
    roughness: float
    oil: float
    """Scale of the gloss, about 1."""
    oil_at: tuple[float, float, float]
    """How much more gloss forehead, nose and chin have (about 1), cheeks, and irregular patches."""
    perioral: float
    """How much darker and yellower than the cheeks the skin around mouth and chin is, 0..1."""
    texture_offset: tuple[float, float]
    """Where this person looks at the noise sheets."""


@dataclass(frozen=True)
class Hair:
    """Hair and beard."""

    style: str
    """One of HAIR_STYLES."""
    albedo: Colour
    hairline_y: float
    peak_cm: float
    """How far the hairline's middle dips."""
    recession_cm: float
    """How far it retreats above the temples."""
    volume_cm: float
    fringe_cm: float
    """How far strands fall over the forehead."""
    parting_x: float
    length_cm: float
    """Length of hanging hair below the ears; 0 for none."""
    curl: float
    """0 straight … 1 tight curls."""
    beard: str
    """One of BEARD_STYLES."""
    beard_density: float
    beard_albedo: Colour
    shadow: float
    """Share of the skin that a shaven beard's bristles cover where they grow densest; 0 for none."""
    temple_rad: float
    """How far hair comes forward over the temples."""


@dataclass(frozen=True)
class Clothes:
    """What covers the shoulders."""

    albedo: Colour
    second: Colour
    stripes: float
    """Stripes per tile; 0 for plain cloth."""
    neckline: str
    """One of NECKLINES."""


@dataclass(frozen=True)
class Glasses:
    """Spectacles with clear lenses. They belong to the person as clothes do."""

    style: str
    """One of FRAME_STYLES: an even rim, a rim heavier above, or a rim above and hardly any below."""
    half_width_cm: float
    half_height_cm: float
    """Half the size of one lens."""
    squareness: float
    """Exponent of the lens's outline: 2 is an ellipse, 4 nearly a rectangle."""
    rim_cm: float
    """Half the rim's thickness where it is heaviest."""
    arm_height_cm: float
    albedo: Colour
    roughness: float
    gloss: float
    """Relative to plain skin; about 1.5."""
    base_radius_cm: float
    """Radius of the lenses' front surface: small ones mirror the screen smaller."""
    coating_f0: float
    """Reflectance of one lens surface at normal incidence: 0.04 plain, 0.004 to 0.015 with an anti-reflex coating."""


@dataclass(frozen=True)
class Identity:
    """One person. Equal numbers give the same face, to the last bit."""

    subject: int
    skull: Skull
    nose: Nose
    eyes: Eyes
    mouth: Mouth
    skin: Skin
    hair: Hair
    clothes: Clothes
    glasses: Glasses | None = None
    """None: this person wears none."""

    @property
    def skin_tone(self) -> int:
        """Monk Skin Tone, 1 to 10."""
        return self.skin.tone

    @staticmethod
    def draw(subject: int) -> Identity:
        """The person with this number (a non-negative integer): the same person every time."""
        from simulator.population import draw_identity  # which builds on this module

        return draw_identity(subject)


def with_bald_head(identity: Identity) -> Identity:
    """The same face without hair or beard, as mannequins and head models are; glasses, brows, shaven beard stay."""
    bare = replace(
        identity.hair, style="bald", volume_cm=0.0, fringe_cm=0.0, length_cm=0.0, beard="none", beard_density=0.0
    )
    return replace(identity, hair=bare)
