"""Draws people: which faces, skins, hair and clothes occur, how often, and together with what.

It belongs to no section of the paper. Three hidden traits (age, a scale from softer to stronger features, skin tone)
tie the rest together, so that people look plausible and differ all the same. Skin tones follow the ten steps of the
Monk Skin Tone scale (E. Monk, 2019), drawn evenly; the scale's printed swatches are paler and yellower than skin under
a camera, so each step is given a reflectance that skin can have, from about 0.65 in red for the fairest to 0.08 for
the deepest. The ranges are our judgement of adult faces, not measurements of a population.
"""

from __future__ import annotations

import numpy as np

from simulator.identity import (
    BEARD_STYLES,
    FRAME_STYLES,
    HAIR_STYLES,
    NECKLINES,
    Clothes,
    Colour,
    Eyes,
    Glasses,
    Hair,
    Identity,
    Mouth,
    Nose,
    Skin,
    Skull,
)
from simulator.light import as_triple

MONK_ALBEDO: tuple[Colour, ...] = (
    (0.66, 0.480, 0.405),
    (0.62, 0.435, 0.350),
    (0.58, 0.395, 0.300),
    (0.52, 0.340, 0.245),
    (0.45, 0.280, 0.190),
    (0.36, 0.210, 0.138),
    (0.275, 0.153, 0.098),
    (0.195, 0.106, 0.067),
    (0.130, 0.070, 0.046),
    (0.083, 0.046, 0.032),
)
"""Linear reflectance of skin at Monk tones 1 (fairest) to 10 (deepest)."""

LATER_TRAITS = 1
"""Stream of the traits that came later: drawing them moves no draw of the earlier ones."""


def draw_identity(subject: int) -> Identity:
    """The person with this number, from a random generator of its own; ValueError when it is negative."""
    rng = np.random.default_rng(subject)
    age = float(rng.beta(1.4, 2.0))
    strength = float(np.clip(rng.choice([0.22, 0.78]) + rng.normal() * 0.13, 0.0, 1.0))
    later = np.random.default_rng([subject, LATER_TRAITS])
    skin = _draw_skin(rng, age, later)
    hair = _draw_hair(rng, age, strength, skin.tone, later)
    return Identity(
        subject=int(subject),
        skull=_draw_skull(rng, age, strength, later),
        nose=_draw_nose(rng, strength),
        eyes=_draw_eyes(rng, age, strength, skin.tone),
        mouth=_draw_mouth(rng, strength, skin, later),
        skin=skin,
        hair=hair,
        clothes=_draw_clothes(rng),
        glasses=_draw_glasses(rng, age),
    )


def _around(rng: np.random.Generator, mean: float, spread: float, limit: float = 2.2) -> float:
    """A bell-shaped draw that never leaves mean ± limit · spread."""
    return mean + spread * float(np.clip(rng.normal(), -limit, limit))


def _draw_skull(rng: np.random.Generator, age: float, strength: float, later: np.random.Generator) -> Skull:
    waves = rng.normal(size=(3, 8)) * np.array([[0.10], [0.10], [0.16]])
    return Skull(
        width=_around(rng, 0.985 + 0.03 * strength, 0.048),
        height=_around(rng, 1.0, 0.035),
        depth=_around(rng, 1.0, 0.045),
        jaw=_around(rng, 0.905 + 0.09 * strength, 0.085),
        chin=_around(rng, 0.87 + 0.22 * strength, 0.13),
        lower_face=_around(rng, 0.90 + 0.05 * strength, 0.045),
        temple=_around(rng, 1.0, 0.022),
        cheekbone_cm=float(rng.uniform(0.05, 0.75)),
        fullness_cm=_around(rng, 0.10, 0.40),
        brow_ridge_cm=float(rng.uniform(0.10, 0.38) + 0.30 * strength),
        chin_forward_cm=_around(rng, 0.55 + 0.2 * strength, 0.20),
        chin_cleft_cm=float(0.25 * max(rng.random() - 0.75, 0.0) * 4.0),
        chin_crease_cm=float(later.uniform(0.20, 0.80)),
        forehead_cm=_around(rng, 0.15, 0.18),
        flatness=_around(rng, 0.98, 0.08),
        taper=float(later.uniform(0.0, 0.55)),
        ear_size=_around(rng, 1.0 + 0.06 * age, 0.07),
        ear_angle=float(rng.uniform(0.35, 0.85)),
        neck=_around(rng, 0.96 + 0.16 * strength, 0.05),
        shoulder_cm=_around(rng, 18.5 + 3.5 * strength, 1.2),
        warp=tuple(tuple(float(value) for value in axis) for axis in np.clip(waves, -0.35, 0.35)),
    )


def _draw_nose(rng: np.random.Generator, strength: float) -> Nose:
    width = _around(rng, 1.0 + 0.06 * strength, 0.15)
    return Nose(
        height_cm=_around(rng, 2.0 + 0.25 * strength, 0.26),
        width=width,
        wings_cm=1.26 * width + _around(rng, 0.08, 0.11),
        base_y=_around(rng, -1.2 - 0.1 * strength, 0.20),
        bridge_cm=_around(rng, 0.35, 0.20),
        hump_cm=_around(rng, 0.02 + 0.06 * strength, 0.10),
        tip_up_cm=_around(rng, 0.0, 0.10),
    )


def _draw_eyes(rng: np.random.Generator, age: float, strength: float, tone: int) -> Eyes:
    light_eyes = rng.random() < float(np.clip(0.68 - 0.13 * tone, 0.0, 0.5))
    dark = np.array([0.040, 0.020, 0.011]) * rng.uniform(0.3, 1.5) * (0.5 if tone > 7 else 1.0)
    light = np.array([[0.10, 0.17, 0.26], [0.09, 0.14, 0.10], [0.15, 0.10, 0.045]])[int(rng.integers(3))]
    iris = light * rng.uniform(0.7, 1.3) if light_eyes else dark
    return Eyes(
        x=_around(rng, 3.10, 0.15),
        y=_around(rng, 2.6, 0.10),
        half_width=_around(rng, 1.42, 0.09),
        opening=_around(rng, 0.475 - 0.04 * strength - 0.05 * age, 0.080),
        tilt=_around(rng, 0.03, 0.05),
        crease=float(rng.uniform(0.1, 1.0)),
        fold_y=float(rng.uniform(0.16, 0.42)),
        bags=float(np.clip(0.1 + 0.7 * age + 0.25 * rng.normal(), 0.0, 1.0)),
        lashes=float(np.clip(rng.uniform(0.3, 0.9) + 0.25 * (0.5 - strength), 0.0, 1.0)),
        iris=_colour(iris),
        brow_y=_around(rng, 4.25 - 0.15 * strength, 0.20),
        brow_thickness=float(rng.uniform(0.26, 0.45) + 0.16 * strength),
        brow_density=float(1.0 - 0.45 * rng.random() ** 2),
        brow_arch=_around(rng, 0.50 - 0.15 * strength, 0.16),
        brow_length=_around(rng, 4.0, 0.25),
    )


def _draw_mouth(rng: np.random.Generator, strength: float, skin: Skin, later: np.random.Generator) -> Mouth:
    painted = strength < 0.5 and rng.random() < 0.35
    tints = np.array([[0.90, 0.38, 0.43], [0.80, 0.26, 0.30], [0.95, 0.50, 0.50], [0.65, 0.29, 0.34]])
    natural = np.array([0.60, 0.32, 0.36] if skin.tone > 7 else [0.62, 0.20, 0.23])
    return Mouth(
        y=_around(rng, -4.3, 0.18),
        half_width=_around(rng, 2.40, 0.20),
        upper=_around(rng, 1.22 - 0.12 * strength, 0.24),
        lower=_around(rng, 1.20 - 0.08 * strength, 0.22),
        corner_cm=_around(rng, 0.02, 0.14),
        redness=float(rng.uniform(0.75, 1.0)) if painted else float(rng.uniform(0.55, 1.0)),
        tint=_colour(tints[int(rng.integers(4))] if painted else natural + rng.normal(size=3) * 0.03),
        moist=float(later.uniform(0.0, 1.6)),
    )


def _draw_skin(rng: np.random.Generator, age: float, later: np.random.Generator) -> Skin:
    tone = int(rng.integers(1, 11))
    between = float(np.clip(tone - 1 + rng.uniform(-0.45, 0.45), 0.0, 9.0))
    albedo = np.array([np.interp(between, range(10), channel) for channel in np.array(MONK_ALBEDO).T])
    hue = np.array([1.0, 1.0 + _around(rng, 0.0, 0.03), 1.0 + _around(rng, 0.0, 0.055)])
    moles = rng.uniform([-5.5, -7.5, 0.04], [5.5, 7.0, 0.11], (int(rng.integers(0, 7)), 3))
    fair = float(np.clip((6 - tone) / 4.0, 0.0, 1.0))
    return Skin(
        tone=tone,
        albedo=_colour(albedo * hue),
        flush=float(rng.uniform(0.0, 1.0) * (0.45 + 0.55 * fair)),
        flush_at=as_triple(later.uniform([0.1, 0.1, -0.4], [1.1, 1.1, 0.6])),
        unevenness=float(rng.uniform(0.4, 1.3)),
        freckles=float(fair * max(rng.random() - 0.6, 0.0) * 2.5),
        moles=tuple((float(x), float(y), float(radius)) for x, y, radius in moles),
        wrinkles=float(np.clip(1.25 * age - 0.15 + 0.1 * rng.normal(), 0.0, 1.0)),
        pores=float(rng.uniform(0.5, 1.5)),
        roughness=float(rng.uniform(0.34, 0.66)),
        oil=float(rng.uniform(0.3, 1.9)),
        oil_at=as_triple(later.uniform([0.0, 0.0, 0.0], [1.8, 0.9, 0.45])),
        perioral=float(later.random() ** 1.5),
        texture_offset=(float(rng.random()), float(rng.random())),
    )


def _draw_hair(rng: np.random.Generator, age: float, strength: float, tone: int, later: np.random.Generator) -> Hair:
    style = _draw_style(rng, age, strength, tone)
    albedo = _draw_hair_colour(rng, age, tone)
    ranges = {
        "bald": (0.0, 0.0), "buzz": (0.08, 0.25), "short": (0.5, 1.3), "swept": (1.0, 2.2),
        "curly": (1.2, 4.0), "medium": (1.0, 1.9), "long": (0.8, 1.6),
    }  # fmt: skip
    recession = max(0.0, _around(rng, 0.3 + 1.6 * age * strength, 0.45))
    beard = _draw_beard(rng, strength)
    hanging = {"medium": (3.0, 9.0), "long": (12.0, 22.0)}.get(style, (0.0, 0.0))
    fringe_chance = {"short": 0.55, "swept": 0.3, "medium": 0.6, "long": 0.4}.get(style, 0.0)
    return Hair(
        style=style,
        albedo=albedo,
        hairline_y=_around(rng, 8.3 + 0.3 * age, 0.40),
        peak_cm=_around(rng, 0.1, 0.18),
        recession_cm=recession,
        volume_cm=float(rng.uniform(*ranges[style])),
        fringe_cm=float(rng.uniform(0.8, 4.0)) if rng.random() < fringe_chance else 0.0,
        parting_x=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.0, 4.0)),
        length_cm=float(rng.uniform(*hanging)),
        curl=float(rng.uniform(0.7, 1.0)) if style == "curly" else float(rng.uniform(0.0, 0.5)),
        beard=beard,
        beard_density=float(rng.uniform(0.20, 0.6) if beard == "stubble" else rng.uniform(0.65, 0.95)),
        beard_albedo=_colour(np.array(albedo) * rng.uniform(0.9, 1.4)),
        shadow=_draw_shadow(later, strength, albedo),
        temple_rad=float(later.uniform(0.05, 0.42)) if style != "buzz" and later.random() < 0.45 else 0.0,
    )


def _draw_style(rng: np.random.Generator, age: float, strength: float, tone: int) -> str:
    """Strong features wear short hair more often, soft ones long; the old go bald."""
    curly = 0.30 if tone >= 7 else 0.10
    short_haired = np.array([0.05 + 0.20 * age, 0.20, 0.35, 0.25, curly, 0.08, 0.04])
    long_haired = np.array([0.0, 0.02, 0.08, 0.10, curly, 0.32, 0.45])
    weights = strength * short_haired + (1.0 - strength) * long_haired
    return HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=weights / weights.sum()))]


def _draw_hair_colour(rng: np.random.Generator, age: float, tone: int) -> Colour:
    """Black to brown for most, fair hair on fair skin, grey with age, now and then dyed."""
    fair = float(np.clip((6 - tone) / 5.0, 0.0, 1.0))
    black = np.array([0.018, 0.014, 0.012]) * rng.uniform(0.5, 1.6)
    brown = np.array([0.075, 0.040, 0.022]) * rng.uniform(0.5, 1.5) * (0.45 + 0.55 * fair)
    blond = np.array([0.30, 0.19, 0.085]) * rng.uniform(0.6, 1.3)
    red = np.array([0.20, 0.065, 0.020]) * rng.uniform(0.7, 1.2)
    weights = np.array([0.86 - 0.44 * fair, 0.14 + 0.27 * fair, 0.14 * fair, 0.03 * fair])
    colour = np.array([black, brown, blond, red])[int(rng.choice(4, p=weights / weights.sum()))]
    grey = float(np.clip(2.6 * (age - 0.62) + 0.25 * rng.normal(), 0.0, 0.95))
    return _colour(colour * (1.0 - grey) + np.array([0.34, 0.33, 0.32]) * grey)


def _draw_beard(rng: np.random.Generator, strength: float) -> str:
    if strength < 0.5 or rng.random() < 0.45:
        return "none"
    return BEARD_STYLES[int(rng.choice([1, 2, 3, 4], p=[0.5, 0.1, 0.15, 0.25]))]


def _draw_shadow(rng: np.random.Generator, strength: float, hair: Colour) -> float:
    """Whoever could wear a beard shows where it is shaven, dark hair more than fair."""
    dark = float(np.clip(1.2 - 4.0 * hair[1], 0.15, 1.0))
    share = float(rng.uniform(0.02, 0.50))
    return share * dark if strength >= 0.5 else 0.0


def _draw_clothes(rng: np.random.Generator) -> Clothes:
    lightness = float(np.exp(rng.uniform(np.log(0.03), np.log(0.65))))
    tint = np.clip(1.0 + rng.normal(size=3) * 0.35, 0.3, 1.7)
    second = rng.uniform(0.03, 0.7, 3)
    stripes = float(rng.integers(8, 40)) if rng.random() < 0.25 else 0.0
    return Clothes(
        albedo=_colour(lightness * tint),
        second=_colour(second),
        stripes=stripes,
        neckline=NECKLINES[int(rng.choice(3, p=[0.5, 0.25, 0.25]))],
    )


def _draw_glasses(rng: np.random.Generator, age: float) -> Glasses | None:
    """Three people in ten wear glasses, the old more often; plastic or metal, mostly dark, sometimes coloured."""
    if rng.random() > 0.16 + 0.34 * age:
        return None
    metal = rng.random() < 0.4
    dark, brown = np.array([0.012, 0.012, 0.014]), np.array([0.075, 0.035, 0.016])
    plastics = np.array([dark, dark, brown, rng.uniform(0.02, 0.5, 3), [0.55, 0.53, 0.50]])
    metals = np.array([[0.03, 0.03, 0.03], [0.30, 0.30, 0.30], [0.34, 0.24, 0.10]])  # brushed: their gloss is broad
    albedo = (metals if metal else plastics)[int(rng.integers(3 if metal else 5))]
    half_width = _around(rng, 2.45, 0.16)
    coated = rng.random() < 0.75
    return Glasses(
        style=FRAME_STYLES[int(rng.choice(3, p=[0.65, 0.15, 0.20]))],
        half_width_cm=half_width,
        half_height_cm=half_width * float(rng.uniform(0.62, 0.97)),
        squareness=float(rng.uniform(2.0, 3.6)),
        rim_cm=float(rng.uniform(0.06, 0.10)) if metal else float(rng.uniform(0.10, 0.22)),
        arm_height_cm=float(rng.uniform(0.10, 0.20)) if metal else float(rng.uniform(0.20, 0.45)),
        albedo=_colour(albedo),
        roughness=float(rng.uniform(0.25, 0.45)),
        gloss=float(rng.uniform(1.6, 2.4)) if metal else float(rng.uniform(1.2, 1.6)),
        base_radius_cm=float(rng.uniform(8.0, 16.0)),
        coating_f0=float(rng.uniform(0.004, 0.015)) if coated else 0.042,
    )


def _colour(values: np.ndarray) -> Colour:
    """Three floats, kept inside what a surface can reflect."""
    red, green, blue = np.clip(values, 0.004, 0.92)
    return float(red), float(green), float(blue)
