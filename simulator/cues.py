"""What else gives an attack away in a single image: printer's dots, a display's pixels, banding, borders, bezels.

None of it is an answer to the flash, so training leaves it out unless it is asked for (`present(..., cues=True)`): a
model that learns these learns to fail on a better printer. They exist so that their effect can be measured. Dots and
pixels are sampled once per pixel of the layers after losing what the pixel's own size averages away; moiré then arises
by itself, from sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.framing import FACE_WIDTH_CM
from simulator.portrait import Hanging
from simulator.sheet import SheetLight

CM_PER_INCH = 2.54
SCREEN_ANGLES = np.deg2rad([15.0, 75.0, 0.0])
"""Of cyan, magenta and yellow dots: the inks that take red, green and blue away."""
SUBPIXELS = (-1.0 / 3.0, 0.0, 1.0 / 3.0)
"""Sideways places of a display's red, green and blue stripes, in pixels."""
LENS_SHARE = 0.15
"""Contrast left by the averaging over a pixel where it would be nil: lenses and sensors do not average evenly."""


@dataclass(frozen=True)
class PrintCues:
    """A printer's screen and a paper's border."""

    lines_per_inch: float
    angle: float
    """By which all of the printer's screens are turned, radians."""
    depth: float
    """Contrast of the dots, 0..1."""
    half_size: tuple[float, float]
    """Half width and height of the paper in widths of the shown face."""
    margin: float
    """Unprinted border, in the same unit."""

    @staticmethod
    def draw(rng: np.random.Generator) -> PrintCues:
        """Draw a printer between a newspaper's and a good laser's, and a paper with or without a white border."""
        wide = float(rng.uniform(0.62, 1.0))
        return PrintCues(
            lines_per_inch=float(np.exp(rng.uniform(np.log(45.0), np.log(150.0)))),
            angle=float(rng.normal() * 0.05),
            depth=float(rng.uniform(0.3, 0.9)),
            half_size=(wide, wide * float(rng.uniform(1.1, 1.45))),
            margin=float(rng.choice([0.0, rng.uniform(0.03, 0.12)])),
        )

    @property
    def without_border(self) -> PrintCues:
        """The same printer's picture on a paper that fills the image."""
        return replace(self, half_size=(np.inf, np.inf), margin=0.0)

    def halftone(self, picture: np.ndarray, along: np.ndarray, hanging: Hanging) -> np.ndarray:
        """The picture (S, S, 3) in dots, which are largest in the middle tones; its unprinted border is white."""
        pitch_cm = CM_PER_INCH / self.lines_per_inch
        left = self.depth * averaging(pitch_cm, hanging)
        dotted = picture.copy()
        for channel, angle in enumerate(SCREEN_ANGLES + self.angle):
            across = along @ np.array([np.cos(angle), np.sin(angle)], np.float32)
            down = along @ np.array([-np.sin(angle), np.cos(angle)], np.float32)
            dots = np.cos(2 * np.pi / pitch_cm * across) + np.cos(2 * np.pi / pitch_cm * down)
            tone = picture[..., channel]
            dotted[..., channel] = np.clip(tone + np.float32(left) * tone * (1.0 - tone) * dots, 0.0, 1.0)
        printed = _within(along, hanging, np.asarray(self.half_size) - self.margin)
        return np.where(printed[..., None], dotted, np.float32(1.0))

    def inside(self, along: np.ndarray, hanging: Hanging) -> np.ndarray:
        """(S, S) bool: where the paper is."""
        return _within(along, hanging, np.asarray(self.half_size))


@dataclass(frozen=True)
class ReplayCues:
    """A display's pixels, its flicker as the camera's rows see it, and its bezel."""

    grid_depth: float
    """Contrast of the pixel grid, 0..1."""
    band_depth: float
    readout_s: float
    """Time between the camera's first and last row."""
    phase: float
    half_size: tuple[float, float]
    """Half width and height of the display in widths of the shown face."""
    bezel: float
    """Width of the bezel, in the same unit."""
    bezel_albedo: float

    @staticmethod
    def draw(rng: np.random.Generator) -> ReplayCues:
        """Draw how strongly the display betrays itself."""
        wide = float(rng.uniform(0.62, 1.0))
        return ReplayCues(
            grid_depth=float(rng.uniform(0.3, 0.9)),
            band_depth=float(rng.choice([0.0, rng.uniform(0.01, 0.12)])),
            readout_s=float(rng.uniform(0.010, 0.030)),
            phase=float(rng.uniform(0.0, 2 * np.pi)),
            half_size=(wide, wide * float(rng.uniform(1.1, 1.8))),
            bezel=float(rng.uniform(0.02, 0.15)),
            bezel_albedo=float(rng.uniform(0.015, 0.06)),
        )

    def pixel_grid(self, shown: np.ndarray, along: np.ndarray, hanging: Hanging, pitch_cm: float) -> np.ndarray:
        """The picture (S, S, 3) through a grid of dark lines between striped pixels: screen-door or moiré."""
        left = np.float32(self.grid_depth * averaging(pitch_cm, hanging))
        turns = along * np.float32(2 * np.pi / pitch_cm)
        columns = np.stack([np.cos(turns[..., 0] - np.float32(2 * np.pi * place)) for place in SUBPIXELS], -1)
        rows = np.cos(turns[..., 1:])
        return np.clip(shown * (1.0 + left * columns) * (1.0 + 0.5 * left * rows), 0.0, 1.0)

    def banding(self, shown: np.ndarray, refresh_hz: float) -> np.ndarray:
        """The picture (S, S, 3) with brighter and darker rows, as a rolling shutter sees a flickering backlight."""
        when = np.linspace(0.0, self.readout_s, shown.shape[0], dtype=np.float32)
        bands = 1.0 + self.band_depth * np.cos(2 * np.pi * refresh_hz * when + self.phase)
        return shown * bands[:, None, None].astype(np.float32)

    def framed(
        self,
        emitted: np.ndarray,
        haze: np.ndarray,
        screen: np.ndarray,
        kept: np.ndarray,
        along: np.ndarray,
        hanging: Hanging,
        light: SheetLight,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The display's layers with a dark glossy bezel around, and nothing beyond it."""
        panel = _within(along, hanging, np.asarray(self.half_size))[..., None]
        body = self.bezel_albedo
        return (
            np.where(panel, emitted, 0.0),
            np.where(panel, haze, body * light.room + light.room_gloss),
            np.where(panel, screen, body * light.screen + light.screen_gloss),
            kept & _within(along, hanging, np.asarray(self.half_size) + self.bezel),
        )


def averaging(pitch_cm: float, hanging: Hanging) -> float:
    """Contrast that a pattern of this pitch keeps when each of the view's square pixels averages over itself."""
    footprint_cm = hanging.scale * hanging.distance_cm / hanging.view.focal_px
    return max(abs(float(np.sinc(footprint_cm / pitch_cm))), LENS_SHARE if footprint_cm > pitch_cm / 2 else 0.0)


def _within(along: np.ndarray, hanging: Hanging, half_size: np.ndarray) -> np.ndarray:
    """(S, S) bool: inside a rectangle of this half width and height, in widths of the shown face."""
    half_cm = (half_size * FACE_WIDTH_CM * hanging.scale).astype(np.float32)
    with np.errstate(invalid="ignore"):
        return (np.abs(along) < half_cm).all(-1)
