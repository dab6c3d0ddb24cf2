"""Phones by class: what a model's camera and screen have in common, so that one device label settles both.

The paper collects with phones of four makers without describing them (section 6.1). These six are generic: ranges are
typical of published data sheets and sensor tests of each class, none is a measurement of one model. Screens are seen
by the camera, whose channels are taken to be those of Display P3, so that no phone's screen shows it negative light:
`primaries` has one column per primary of the screen, and its rows sum to 1, since white is white.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.light import ScreenLight, as_triple

Range = tuple[float, float]

Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

DISPLAY_P3: Matrix3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""A wide-gamut screen that shows sRGB values unmanaged: its primaries are the camera's."""
SRGB: Matrix3 = ((0.8225, 0.1775, 0.0), (0.0332, 0.9668, 0.0), (0.0171, 0.0724, 0.9105))
"""A colour-managed or sRGB screen."""
PALE_LCD: Matrix3 = ((0.7421, 0.25, 0.0079), (0.0559, 0.9179, 0.0263), (0.0243, 0.0885, 0.8873))
"""An LCD that covers about four fifths of sRGB, red (0.615, 0.340), green (0.315, 0.575), blue (0.155, 0.075)."""
WHITE_TOLERANCE = (0.04, 0.0, 0.06)
"""Standard deviations, relative, of how one screen's white differs from the next in red, green and blue."""


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
    """Probability that the app gets compressed frames at all."""


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
    primaries: Matrix3
    """Row c, column p: what the camera's channel c sees of primary p at full, over what it sees of white."""

    def draw(self, rng: np.random.Generator) -> ScreenLight:
        """Draw one screen."""
        return ScreenLight(
            luminance_nits=float(rng.uniform(*self.luminance_nits)),
            black_ratio=float(rng.uniform(*self.black_ratio)),
            offset_x_cm=float(rng.choice([-1.0, 1.0]) * rng.uniform(*self.offset_x_cm)),
            offset_y_cm=float(rng.uniform(*self.offset_y_cm)),
            width_cm=float(rng.uniform(*self.width_cm)),
            height_cm=float(rng.uniform(*self.height_cm)),
        )

    def draw_primaries(self, rng: np.random.Generator) -> Matrix3:
        """Draw one screen's primaries: its kind's, with a white of its own."""
        white = np.exp(rng.normal(size=3) * WHITE_TOLERANCE)
        first, second, third = (as_triple(row) for row in np.asarray(self.primaries) * white[:, None])
        return first, second, third


@dataclass(frozen=True)
class PhoneProfile:
    """One class of phone."""

    camera: CameraRanges
    screen: ScreenRanges


OLED_BLACK = (0.0, 0.0)

PROFILES: dict[str, PhoneProfile] = {
    "sim-flagship-oled": PhoneProfile(
        CameraRanges((8000, 13000), (1.3, 2.5), (0.45, 0.85), (0.5, 4.0), (0.5, 2.0), (1.1, 1.4), (0.2, 1.0),
                     (0.01, 0.05), (0.0, 0.45), (0.0, 0.12), (1 / 60, 1 / 30), (0.10, 0.9), (80, 98), 0.5),
        ScreenRanges((500, 900), OLED_BLACK, (0.0, 0.2), (-0.5, -0.2), (6.7, 7.1), (14.4, 15.4), DISPLAY_P3),
    ),
    "sim-compact-oled": PhoneProfile(
        CameraRanges((6000, 10000), (1.5, 3.0), (0.45, 0.90), (0.3, 3.0), (0.5, 1.8), (1.1, 1.4), (0.1, 0.6),
                     (0.01, 0.04), (-0.05, 0.35), (0.0, 0.10), (1 / 60, 1 / 30), (0.10, 0.7), (85, 98), 0.4),
        ScreenRanges((450, 750), OLED_BLACK, (0.8, 1.4), (0.0, 0.3), (6.2, 6.6), (13.2, 14.0), SRGB),
    ),
    "sim-midrange-oled": PhoneProfile(
        CameraRanges((4500, 8000), (2.0, 4.0), (0.50, 1.00), (1.0, 6.0), (0.8, 2.5), (1.2, 1.6), (0.3, 1.3),
                     (0.01, 0.06), (0.0, 0.50), (0.0, 0.18), (1 / 50, 1 / 30), (0.10, 0.7), (72, 95), 0.6),
        ScreenRanges((400, 650), OLED_BLACK, (0.0, 0.2), (-0.4, 0.1), (6.7, 7.0), (14.6, 15.4), DISPLAY_P3),
    ),
    "sim-midrange-lcd": PhoneProfile(
        CameraRanges((4500, 7500), (2.0, 4.0), (0.50, 1.05), (0.8, 5.0), (0.8, 2.5), (1.2, 1.6), (0.2, 1.1),
                     (0.01, 0.06), (0.0, 0.45), (0.0, 0.18), (1 / 50, 1 / 30), (0.10, 0.6), (72, 95), 0.6),
        ScreenRanges((400, 600), (0.0006, 0.0012), (0.0, 2.6), (-0.2, 0.5), (6.6, 7.0), (14.2, 15.2), SRGB),
    ),
    "sim-budget-lcd": PhoneProfile(
        CameraRanges((3000, 5500), (3.0, 5.5), (0.60, 1.30), (0.5, 7.0), (0.8, 3.0), (1.3, 1.9), (0.2, 1.5),
                     (0.02, 0.08), (-0.05, 0.50), (0.05, 0.28), (1 / 40, 1 / 30), (0.10, 0.6), (60, 90), 0.8),
        ScreenRanges((350, 480), (0.0007, 0.0020), (0.0, 0.3), (0.1, 0.6), (6.6, 7.0), (14.0, 15.0), PALE_LCD),
    ),
    "sim-older-lcd": PhoneProfile(
        CameraRanges((2500, 4500), (4.0, 7.0), (0.65, 1.40), (0.0, 4.0), (0.0, 2.0), (1.3, 2.0), (0.0, 0.8),
                     (0.02, 0.10), (-0.10, 0.40), (0.05, 0.30), (1 / 40, 1 / 30), (0.10, 0.6), (60, 92), 0.7),
        ScreenRanges((350, 550), (0.0008, 0.0030), (0.8, 1.9), (0.6, 1.4), (5.8, 6.8), (10.4, 12.4), PALE_LCD),
    ),
}  # fmt: skip
"""By device label."""
