"""Phones by class: what a model's camera and screen have in common, so that one device label settles both.

The paper collects with phones of four makers without describing them (section 6.1). These six are generic: ranges are
typical of published data sheets and sensor tests of each class, none is a measurement of one model. Screens are seen
by the camera, whose channels are taken to be those of Display P3 (`simulator.light`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.errors import require_one_of
from simulator.light import ScreenLight, draw_primaries

Range = tuple[float, float]


@dataclass(frozen=True)
class CameraRanges:
    """Ranges from which a capture's camera settings are drawn."""

    full_well_electrons: Range
    read_electrons: Range
    blur_px: Range
    """Of the lens, standard deviation in sensor pixels."""
    denoise: Range
    """How many times its own noise the denoising takes off brightness."""
    chroma_sigma_px: Range
    """Blur of colour at high gain, sensor pixels."""
    chroma_noise: Range
    """How much the colour correction widens noise between the channels."""
    sharpen: Range
    crosstalk: Range
    """Share of each channel's light that is left in each of the other two."""
    contrast: Range
    """Share of an S-curve in the tone curve."""
    vignetting: Range
    """Light lost in the corners."""
    longest_exposure_s: Range
    reaction: Range
    """Share of the way that exposure, where it is not locked, goes within STEP_S; drawn log-uniformly."""
    jpeg_quality: tuple[int, int]
    compressed: float
    """Probability that the app gets compressed frames at all. Camera interfaces of phones and browsers hand out raw
    frames; what was compressed came by a recorded video or an app that asks for JPEG."""


@dataclass(frozen=True)
class ScreenRanges:
    """Ranges from which a capture's screen is drawn."""

    luminance_nits: Range
    black_ratio: Range
    offset_x_cm: Range
    """|sideways distance| of the screen's middle from the camera."""
    offset_y_cm: Range
    """Distance of the screen's upper edge below the camera; negative for a camera in a hole of the screen."""
    width_cm: Range
    height_cm: Range
    panel: str
    """Kind of its primaries, one of simulator.light.PANELS."""

    def draw(self, rng: np.random.Generator) -> ScreenLight:
        """Draw one screen."""
        return ScreenLight(
            luminance_nits=float(rng.uniform(*self.luminance_nits)),
            black_ratio=float(rng.uniform(*self.black_ratio)),
            offset_x_cm=float(rng.choice([-1.0, 1.0]) * rng.uniform(*self.offset_x_cm)),
            offset_y_cm=float(rng.uniform(*self.offset_y_cm)),
            width_cm=float(rng.uniform(*self.width_cm)),
            height_cm=float(rng.uniform(*self.height_cm)),
            primaries=draw_primaries(rng, self.panel),
        )


@dataclass(frozen=True)
class PhoneProfile:
    """One class of phone."""

    camera: CameraRanges
    screen: ScreenRanges


OLED_BLACK = (0.0, 0.0)

PROFILES: dict[str, PhoneProfile] = {
    "sim-flagship-oled": PhoneProfile(
        CameraRanges((8000, 13000), (1.3, 2.5), (0.45, 0.85), (0.5, 4.0), (0.5, 2.0), (1.1, 1.4), (0.2, 1.0),
                     (0.01, 0.05), (0.0, 0.45), (0.0, 0.12), (1 / 60, 1 / 30), (0.10, 0.9), (88, 98), 0.10),
        ScreenRanges((500, 900), OLED_BLACK, (0.0, 0.2), (-0.5, -0.2), (6.7, 7.1), (14.4, 15.4), "p3"),
    ),
    "sim-compact-oled": PhoneProfile(
        CameraRanges((6000, 10000), (1.5, 3.0), (0.45, 0.90), (0.3, 3.0), (0.5, 1.8), (1.1, 1.4), (0.1, 0.6),
                     (0.01, 0.04), (-0.05, 0.35), (0.0, 0.10), (1 / 60, 1 / 30), (0.10, 0.7), (88, 98), 0.10),
        ScreenRanges((450, 750), OLED_BLACK, (0.8, 1.4), (0.0, 0.3), (6.2, 6.6), (13.2, 14.0), "srgb"),
    ),
    "sim-midrange-oled": PhoneProfile(
        CameraRanges((4500, 8000), (2.0, 4.0), (0.50, 1.00), (1.0, 6.0), (0.8, 2.5), (1.2, 1.6), (0.3, 1.3),
                     (0.01, 0.06), (0.0, 0.50), (0.0, 0.18), (1 / 50, 1 / 30), (0.10, 0.7), (82, 96), 0.15),
        ScreenRanges((400, 650), OLED_BLACK, (0.0, 0.2), (-0.4, 0.1), (6.7, 7.0), (14.6, 15.4), "p3"),
    ),
    "sim-midrange-lcd": PhoneProfile(
        CameraRanges((4500, 7500), (2.0, 4.0), (0.50, 1.05), (0.8, 5.0), (0.8, 2.5), (1.2, 1.6), (0.2, 1.1),
                     (0.01, 0.06), (0.0, 0.45), (0.0, 0.18), (1 / 50, 1 / 30), (0.10, 0.6), (82, 96), 0.15),
        ScreenRanges((400, 600), (0.0006, 0.0012), (0.0, 2.6), (-0.2, 0.5), (6.6, 7.0), (14.2, 15.2), "srgb"),
    ),
    "sim-budget-lcd": PhoneProfile(
        CameraRanges((3000, 5500), (3.0, 5.5), (0.60, 1.30), (0.5, 7.0), (0.8, 3.0), (1.3, 1.9), (0.2, 1.5),
                     (0.02, 0.08), (-0.05, 0.50), (0.05, 0.28), (1 / 40, 1 / 30), (0.10, 0.6), (78, 94), 0.25),
        ScreenRanges((350, 480), (0.0007, 0.0020), (0.0, 0.3), (0.1, 0.6), (6.6, 7.0), (14.0, 15.0), "narrow"),
    ),
    "sim-older-lcd": PhoneProfile(
        CameraRanges((2500, 4500), (4.0, 7.0), (0.65, 1.40), (0.0, 4.0), (0.0, 2.0), (1.3, 2.0), (0.0, 0.8),
                     (0.02, 0.10), (-0.10, 0.40), (0.05, 0.30), (1 / 40, 1 / 30), (0.10, 0.6), (78, 94), 0.25),
        ScreenRanges((350, 550), (0.0008, 0.0030), (0.8, 1.9), (0.6, 1.4), (5.8, 6.8), (10.4, 12.4), "narrow"),
    ),
}  # fmt: skip
"""By device label."""


def profile_of(name: str) -> PhoneProfile:
    """The ranges of a device; an unknown label is an error."""
    return PROFILES[require_one_of("phone profile", name, tuple(PROFILES), "name a profile of simulator.devices")]


def draw_screen(rng: np.random.Generator, profile: str | None = None) -> ScreenLight:
    """Draw the screen of a phone of this profile, or of any."""
    return profile_of(profile or str(rng.choice(list(PROFILES)))).screen.draw(rng)
