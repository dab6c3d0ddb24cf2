"""The phone's front camera: exposure, white balance, lens, sensor noise, denoising, tone curve, 8 bits.

The paper photographs with phones of four makers and says nothing of their processing; this is a generic pipeline whose
every setting is drawn from one distribution, whoever or whatever stands before it. Measured on real pairs (see the
project's notes): exposure drift within a capture is the rule, so automatic exposure and white balance creep here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from flash_sequencer.colour import linear_to_srgb
from simulator.errors import require_one_of
from simulator.light import as_triple

REFERENCE_SIZE = 256
"""Lens blur is stated in pixels of an image this wide, and scales with the image."""
BASE_ISO_RADIANCE = 80.0
"""Full-scale radiance, cd/m², down to which a phone needs no extra gain; darker scenes lose electrons in proportion."""
FLOOR_ELECTRON_SHARE = 0.05
LOWEST_FULL_SCALE_RADIANCE = 1.5
"""The most sensitive setting: a darker scene stays dark, cd/m²."""
DARK_SATURATION = 0.7
"""Share of the saturation left at the highest gain."""
CURVE_STEPS = 1 << 14
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class PhoneProfile:
    """Ranges typical of one class of phone."""

    full_well_electrons: tuple[float, float]
    read_electrons: tuple[float, float]
    blur_px: tuple[float, float]
    denoise: tuple[float, float]
    sharpen: tuple[float, float]
    crosstalk: tuple[float, float]


PROFILES: dict[str, PhoneProfile] = {
    "flagship": PhoneProfile((7000, 12000), (1.5, 3.0), (0.40, 0.80), (0.2, 0.6), (0.0, 0.5), (0.01, 0.05)),
    "midrange": PhoneProfile((4500, 8000), (2.0, 4.0), (0.45, 1.00), (0.1, 0.6), (0.0, 0.5), (0.01, 0.06)),
    "budget": PhoneProfile((3000, 5500), (3.0, 5.5), (0.55, 1.30), (0.0, 0.6), (0.0, 0.4), (0.02, 0.08)),
    "older": PhoneProfile((2500, 4500), (4.0, 7.0), (0.60, 1.40), (0.0, 0.5), (0.0, 0.3), (0.02, 0.10)),
}


@dataclass(frozen=True)
class Phone:
    """One phone's camera with its settings for one capture."""

    profile: str
    full_well_electrons: float
    """Electrons at full scale at base gain."""
    read_electrons: float
    """Standard deviation of the read noise, electrons."""
    blur_px: float
    """Standard deviation of the lens blur, pixels at REFERENCE_SIZE."""
    denoise: float
    """Share of a blurred copy mixed in, 0..1."""
    sharpen: float
    """Strength of unsharp masking, 0 = none."""
    crosstalk: float
    """Share of each channel's light that leaks into each of the other two."""
    white_balance: tuple[float, float, float]
    """Channel gains, mean about 1: the random colour cast of every capture."""
    saturation: float
    """Of colours at base gain; phones lower it in the dark, where colour noise would show."""
    contrast: float
    """Share of an S-curve in the tone curve."""
    exposure_target: float
    """Linear mean the metered middle is brought to."""
    metering_level: float
    """Grey level the screen shows when exposure is metered and locked, linear 0..1."""
    exposure_reaction: float
    """Share of the way that automatic exposure moves per frame towards what it would like; 0 = locked."""
    exposure_jitter: float
    """Standard deviation of the exposure's own random walk per frame, relative."""
    balance_drift: float
    """Standard deviation of the white balance's random walk per frame, relative; 0 = locked."""

    @staticmethod
    def draw(rng: np.random.Generator, profile: str | None = None) -> Phone:
        """Draw a phone of a random (or the given) profile with its settings for one capture."""
        name = profile or str(rng.choice(list(PROFILES)))
        ranges = PROFILES[require_one_of("phone profile", name, tuple(PROFILES), "name a profile of simulator.phone")]
        reacts, drifts = rng.random() < 0.5, rng.random() < 0.3
        return Phone(
            profile=name,
            full_well_electrons=float(rng.uniform(*ranges.full_well_electrons)),
            read_electrons=float(rng.uniform(*ranges.read_electrons)),
            blur_px=float(rng.uniform(*ranges.blur_px)),
            denoise=float(rng.uniform(*ranges.denoise)),
            sharpen=float(rng.uniform(*ranges.sharpen)),
            crosstalk=float(rng.uniform(*ranges.crosstalk)),
            white_balance=as_triple(np.exp(rng.normal(size=3) * np.array([0.07, 0.02, 0.08]))),
            saturation=float(rng.uniform(0.75, 1.25)),
            contrast=float(rng.uniform(-0.1, 0.35)),
            exposure_target=float(np.exp(rng.uniform(np.log(0.12), np.log(0.26)))),
            metering_level=float(rng.uniform(0.3, 1.0)),
            exposure_reaction=float(reacts * rng.uniform(0.02, 0.25)),
            exposure_jitter=float(rng.choice([0.0, rng.uniform(0.002, 0.012)])),
            balance_drift=float(drifts * rng.uniform(0.003, 0.015)),
        )

    def meter(self, linear: np.ndarray) -> float:
        """Gain (per cd/m²) that brings the centre-weighted mean of `linear` (H, W, 3) cd/m² to the exposure target."""
        luminance = linear @ LUMINANCE
        level = float((luminance * _centre_weight(*luminance.shape)).sum())
        return min(self.exposure_target / max(level, 1e-6), 1.0 / LOWEST_FULL_SCALE_RADIANCE)

    def electrons_at_full_scale(self, gain: float) -> float:
        """Electrons that make full scale at this gain: fewer in the dark, so noise grows with gain."""
        return self.full_well_electrons * min(1.0, 1.0 / (BASE_ISO_RADIANCE * gain) + FLOOR_ELECTRON_SHARE)

    def photograph(
        self, linear: np.ndarray, gain: float, balance: np.ndarray, rng: np.random.Generator, *, noise: bool = True
    ) -> np.ndarray:
        """Photograph radiance `linear` (H, W, 3) float32 cd/m² → (H, W, 3) uint8 RGB.

        `gain` maps radiance to full scale = 1; `balance` (3,) multiplies the white balance. `noise=False` leaves out
        shot and read noise.
        """
        exposed = self._expose(np.asarray(linear, np.float32), gain)
        if noise:
            exposed = self._add_noise(exposed, self.electrons_at_full_scale(gain), rng)
        exposed = self._denoise_and_sharpen(exposed)
        exposed = exposed @ self._colour_matrix(balance, gain).T
        return self._tone(exposed)

    def _expose(self, linear: np.ndarray, gain: float) -> np.ndarray:
        sigma = self.blur_px * linear.shape[1] / REFERENCE_SIZE
        return np.clip(cv2.GaussianBlur(linear * np.float32(gain), (0, 0), sigma), 0.0, 1.3)

    def _add_noise(self, exposed: np.ndarray, electrons: float, rng: np.random.Generator) -> np.ndarray:
        signal = exposed * np.float32(electrons)
        deviation = np.sqrt(signal + np.float32(self.read_electrons**2))
        return (signal + rng.standard_normal(signal.shape, dtype=np.float32) * deviation) / np.float32(electrons)

    def _denoise_and_sharpen(self, exposed: np.ndarray) -> np.ndarray:
        if self.denoise > 0.0:
            exposed = cv2.addWeighted(
                exposed, 1 - self.denoise, cv2.GaussianBlur(exposed, (0, 0), 0.9), self.denoise, 0
            )
        if self.sharpen > 0.0:
            blurred = cv2.GaussianBlur(exposed, (0, 0), 1.2)
            exposed = cv2.addWeighted(exposed, 1 + self.sharpen, blurred, -self.sharpen, 0)
        return exposed

    def _colour_matrix(self, balance: np.ndarray, gain: float) -> np.ndarray:
        leak = np.full((3, 3), self.crosstalk, np.float32) + np.eye(3, dtype=np.float32) * (1 - 3 * self.crosstalk)
        clean = self.electrons_at_full_scale(gain) / self.full_well_electrons
        saturation = self.saturation * (DARK_SATURATION + (1 - DARK_SATURATION) * min(clean, 1.0))
        saturate = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * LUMINANCE[None, :]
        gains = np.asarray(self.white_balance, np.float32) * np.asarray(balance, np.float32)
        return (saturate @ (gains[:, None] * leak)).astype(np.float32)

    def _tone(self, exposed: np.ndarray) -> np.ndarray:
        steps = linear_to_srgb(np.linspace(0.0, 1.0, CURVE_STEPS))
        curved = (1 - self.contrast) * steps + self.contrast * steps * steps * (3 - 2 * steps)
        table = (np.clip(curved, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return table[(np.clip(exposed, 0.0, 1.0) * (CURVE_STEPS - 1) + 0.5).astype(np.int32)]


class ExposureControl:
    """Automatic exposure and white balance over the frames of one capture; give it the frames in the order of time."""

    def __init__(self, phone: Phone, metered: np.ndarray, rng: np.random.Generator) -> None:
        """`metered` (H, W, 3) float32 cd/m²: what the camera saw when its exposure was set."""
        self.phone = phone
        self.gain = phone.meter(metered)
        self.balance = np.ones(3)
        self._rng = rng

    def photograph(self, linear: np.ndarray) -> np.ndarray:
        """Photograph the next frame (H, W, 3) cd/m² → uint8 RGB, then let exposure and balance creep."""
        image = self.phone.photograph(linear, self.gain, self.balance, self._rng)
        wanted = self.phone.meter(linear)
        self.gain *= (wanted / self.gain) ** self.phone.exposure_reaction
        self.gain *= float(np.exp(self._rng.normal() * self.phone.exposure_jitter))
        self.balance = self.balance * np.exp(self._rng.normal(size=3) * self.phone.balance_drift)
        return image


@lru_cache(maxsize=4)
def _centre_weight(height: int, width: int) -> np.ndarray:
    """Weights (H, W) float32 of a centre-weighted meter, sum 1. It must not know where the face is, nor whose."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    squared = ((x / width - 0.5) / 0.22) ** 2 + ((y / height - 0.5) / 0.28) ** 2
    weight = np.exp(-0.5 * squared)
    return (weight / weight.sum()).astype(np.float32)
