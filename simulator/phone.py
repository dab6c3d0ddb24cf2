"""The phone's front camera with its settings for one capture, and its automatic exposure and white balance over time.

The paper photographs with phones of four makers and says nothing of their processing; here every setting is drawn from
one distribution, whoever or whatever stands before the camera. Half of the captures have their exposure locked or
nearly so; the others let it follow the light, as in real pairs, where it fell to 0.69 on a live face and to 0.82 on a
print when the screen lit up. Metering is centre-weighted over the image and knows of no face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from simulator import sensor
from simulator.devices import PROFILES, Range, profile_of
from simulator.light import as_triple
from simulator.sensor import LUMINANCE

BASE_ISO_RADIANCE = 80.0
"""Full-scale radiance, cd/m², of 1/30 s at base gain: brighter scenes are exposed shorter, darker amplified."""
LONGEST_EXPOSURE_S = 1 / 30
FLOOR_ELECTRON_SHARE = 0.05
LOWEST_FULL_SCALE_RADIANCE = 1.5
"""The most sensitive setting: a darker scene stays dark, cd/m²."""
DARK_SATURATION = 0.7
"""Share of the saturation left at the highest gain."""
NOISY = 0.03
"""Standard deviation of mid-grey noise, full scale = 1, at which colour is blurred as much as the phone ever does."""
STEP_S = 0.25
"""A usual time between two photographs of a capture: what reactions and drifts refer to."""
LOCKED_SHARE, NEARLY_LOCKED = 0.35, 0.03
"""Of captures, this share is locked, and as a half in all at most nearly locked: exposure goes so little of its way."""
BALANCE_ADAPTS = 0.7
"""Share of a colour cast (in log) that automatic white balance would take away if it had time."""
BALANCE_LIMIT = 0.5
"""|log| of the farthest that it goes."""
METER_SIZE = 48


@dataclass(frozen=True)
class Phone:
    """One phone's camera with its settings for one capture."""

    profile: str
    """Device label, one of PROFILES."""
    full_well_electrons: float
    """Electrons at full scale at base gain."""
    read_electrons: float
    """Standard deviation of the read noise, electrons."""
    blur_px: float
    """Standard deviation of the lens blur, sensor pixels."""
    defocus_px: float
    """Radius of the circle of confusion, sensor pixels."""
    denoise: float
    """How many times its own noise the denoising takes off brightness, 0 = none."""
    chroma_sigma_px: float
    """Blur of colour at high gain, sensor pixels."""
    chroma_noise: float
    """How much the colour correction widens noise between the channels, 1 = not."""
    sharpen: float
    """Strength of unsharp masking, 0 = none."""
    crosstalk: float
    """Share of each channel's light that leaks into each of the other two."""
    vignetting: float
    """Share of the light lost in the corners."""
    white_balance: tuple[float, float, float]
    """Channel gains, mean about 1: the random colour cast of every capture."""
    saturation: float
    """Of colours at base gain; phones lower it in the dark, where colour noise would show."""
    contrast: float
    """Share of an S-curve in the tone curve."""
    gamma: float
    """Exponent on the encoded values, about 1."""
    shadows: float
    """Level of black, 0..1: above 0 where the lens flares or the phone lifts shadows."""
    exposure_target: float
    """Linear mean the metered middle is brought to."""
    longest_exposure_s: float
    """Darker scenes are amplified rather than exposed longer."""
    metering_level: float
    """Grey level the screen shows when exposure is metered and locked, linear 0..1."""
    exposure_reaction: float
    """Share of the way (in log) that automatic exposure goes within STEP_S; 0 = locked."""
    exposure_jitter: float
    """Standard deviation of the exposure's own random walk per STEP_S, relative."""
    balance_reaction: float
    """Share of the way that automatic white balance goes within STEP_S towards a grey mean; 0 = locked."""
    balance_drift: float
    """Standard deviation of the white balance's random walk per STEP_S, relative; 0 = none."""
    jpeg_quality: int
    """Of the frames that the app gets; sensor.UNCOMPRESSED for none."""
    sensor_scale: float = 1.0
    """Sensor pixels per frame pixel, in one direction, at least 1: how far the phone scaled its picture down."""

    @staticmethod
    def draw(rng: np.random.Generator, profile: str | None = None, sensor_scale: float = 1.0) -> Phone:
        """Draw a phone of a random (or the given) profile with its settings for one capture."""
        name = profile or str(rng.choice(list(PROFILES)))
        camera = profile_of(name).camera
        compressed = rng.random() < camera.compressed
        return Phone(
            profile=name,
            full_well_electrons=_uniform(rng, camera.full_well_electrons),
            read_electrons=_uniform(rng, camera.read_electrons),
            blur_px=_uniform(rng, camera.blur_px),
            defocus_px=float((rng.random() < 0.5) * rng.uniform(0.0, 2.2)),
            denoise=_uniform(rng, camera.denoise),
            chroma_sigma_px=_uniform(rng, camera.chroma_sigma_px),
            chroma_noise=_uniform(rng, camera.chroma_noise),
            sharpen=_uniform(rng, camera.sharpen),
            crosstalk=_uniform(rng, camera.crosstalk),
            vignetting=_uniform(rng, camera.vignetting),
            white_balance=as_triple(np.exp(rng.normal(size=3) * np.array([0.07, 0.02, 0.08]))),
            saturation=_uniform(rng, (0.75, 1.25)),
            contrast=_uniform(rng, camera.contrast),
            gamma=_uniform(rng, (0.9, 1.1)),
            shadows=float(max(rng.normal() * 0.02, 0.0)),
            exposure_target=float(np.exp(rng.uniform(np.log(0.12), np.log(0.26)))),
            longest_exposure_s=_uniform(rng, camera.longest_exposure_s),
            metering_level=_uniform(rng, (0.3, 1.0)),
            exposure_reaction=_draw_reaction(rng, camera.reaction),
            exposure_jitter=float(rng.choice([0.0, rng.uniform(0.002, 0.012)])),
            balance_reaction=float((rng.random() < 0.4) * np.exp(rng.uniform(np.log(0.01), np.log(0.3)))),
            balance_drift=float((rng.random() < 0.3) * rng.uniform(0.003, 0.015)),
            jpeg_quality=int(rng.integers(*camera.jpeg_quality, endpoint=True)) if compressed else sensor.UNCOMPRESSED,
            sensor_scale=float(sensor_scale),
        )

    def meter(self, linear: np.ndarray) -> float:
        """Gain (per cd/m²) that brings the centre-weighted mean of `linear` (H, W, 3) cd/m² to the exposure target."""
        level = float(_metered(linear) @ LUMINANCE)
        return min(self.exposure_target / max(level, 1e-6), 1.0 / LOWEST_FULL_SCALE_RADIANCE)

    def exposure_s(self, gain: float) -> float:
        """Exposure time at this gain: as long as the scene needs at base gain, up to the phone's longest."""
        return min(self.longest_exposure_s, LONGEST_EXPOSURE_S * BASE_ISO_RADIANCE * gain)

    def electrons_at_full_scale(self, gain: float) -> float:
        """Electrons that make full scale at this gain: fewer in the dark, so noise grows with gain."""
        filled = self.exposure_s(gain) / (LONGEST_EXPOSURE_S * BASE_ISO_RADIANCE * gain)
        return self.full_well_electrons * min(1.0, filled + FLOOR_ELECTRON_SHARE)

    def photograph(
        self,
        linear: np.ndarray,
        gain: float,
        balance: np.ndarray,
        rng: np.random.Generator,
        *,
        smear_px: tuple[float, float] = (0.0, 0.0),
        noise: bool = True,
    ) -> np.ndarray:
        """Photograph radiance `linear` (H, W, 3) float32 cd/m² → (H, W, 3) uint8 RGB.

        `gain` maps radiance to full scale = 1; `balance` (3,) multiplies the white balance; `smear_px` is the path of
        the image (x, y) during the exposure, frame pixels. `noise=False` leaves out shot and read noise.
        """
        electrons = self.electrons_at_full_scale(gain)
        image = self._expose(np.asarray(linear, np.float32), gain, smear_px)
        if noise:
            image = sensor.add_noise(image, electrons, self.read_electrons, self.sensor_scale, self.chroma_noise, rng)
        image = self._process(image, electrons)
        image = sensor.develop(
            image,
            self._colour_matrix(balance, electrons),
            sensor.tone_table(self.contrast, self.gamma, self.shadows),
        )
        return sensor.compress(image, self.jpeg_quality)

    def _expose(self, linear: np.ndarray, gain: float, smear_px: tuple[float, float]) -> np.ndarray:
        sigma_px = float(np.hypot(self.blur_px, self.defocus_px / 2.0))  # a disc of radius r has variance r²/4
        image = sensor.blur(linear, sensor.frame_sigma_px(sigma_px, self.sensor_scale))
        image = sensor.smear(image, smear_px)
        shade = sensor.vignette(linear.shape[0], linear.shape[1], self.vignetting) * np.float32(gain)
        return np.minimum(image * shade, np.float32(sensor.SATURATION))

    def _process(self, image: np.ndarray, electrons: float) -> np.ndarray:
        """Brightness keeps its edges under denoising and is sharpened; colour is only blurred, more in the dark."""
        per_signal = 1.0 / (electrons * self.sensor_scale**2)
        constant = self.read_electrons**2 / electrons * per_signal
        noisy = min(np.sqrt(0.2 / electrons + (self.read_electrons / electrons) ** 2) / NOISY, 1.0)
        luma = sensor.denoise(sensor.luminance(image), (per_signal, constant), self.denoise, self.sensor_scale)
        luma = sensor.sharpen(luma, self.sharpen, self.sensor_scale)
        coloured = sensor.blur(image, self.chroma_sigma_px * noisy / self.sensor_scale)
        return sensor.with_luminance(coloured, luma)

    def _colour_matrix(self, balance: np.ndarray, electrons: float) -> np.ndarray:
        leak = np.full((3, 3), self.crosstalk, np.float32) + np.eye(3, dtype=np.float32) * (1 - 3 * self.crosstalk)
        clean = electrons / self.full_well_electrons
        saturation = self.saturation * (DARK_SATURATION + (1 - DARK_SATURATION) * min(clean, 1.0))
        saturate = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * LUMINANCE[None, :]
        gains = np.asarray(self.white_balance, np.float32) * np.asarray(balance, np.float32)
        return (saturate @ (gains[:, None] * leak)).astype(np.float32)


def _uniform(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(*limits))


def _draw_reaction(rng: np.random.Generator, limits: Range) -> float:
    kind, nearly, free = rng.random(), rng.uniform(0.0, NEARLY_LOCKED), float(np.exp(rng.uniform(*np.log(limits))))
    return 0.0 if kind < LOCKED_SHARE else float(nearly) if kind < 0.5 else free


class ExposureControl:
    """Automatic exposure and white balance over the frames of one capture; give it the frames in the order of time."""

    def __init__(self, phone: Phone, metered: np.ndarray, rng: np.random.Generator) -> None:
        """`metered` (H, W, 3) float32 cd/m²: what the camera saw when its exposure was set."""
        self.phone = phone
        self.gain = phone.meter(metered)
        self.balance = np.ones(3)
        self._mean_at_first = _metered(metered)
        self._rng = rng

    def photograph(
        self,
        linear: np.ndarray,
        *,
        elapsed_s: float = STEP_S,
        speed_px: tuple[float, float] = (0.0, 0.0),
        exposure_s: float | None = None,
    ) -> np.ndarray:
        """Let exposure and balance follow this light for `elapsed_s`, then photograph it (H, W, 3) cd/m² → uint8 RGB.

        `speed_px`: how fast the image moves (x, y), pixels per second; `exposure_s` None: as long as the phone exposes.
        """
        self._follow(linear, elapsed_s)
        time_s = self.phone.exposure_s(self.gain) if exposure_s is None else exposure_s
        path_px = (speed_px[0] * time_s, speed_px[1] * time_s)
        return self.phone.photograph(linear, self.gain, self.balance, self._rng, smear_px=path_px)

    def _follow(self, linear: np.ndarray, elapsed_s: float) -> None:
        steps = max(elapsed_s, 0.0) / STEP_S
        wander = self._rng.normal(size=4) * np.sqrt(steps)
        way = 1.0 - (1.0 - self.phone.exposure_reaction) ** steps
        self.gain *= (self.phone.meter(linear) / self.gain) ** way * float(
            np.exp(wander[3] * self.phone.exposure_jitter)
        )
        way = 1.0 - (1.0 - self.phone.balance_reaction) ** steps
        reacted = self.balance * (self._wanted_balance(linear) / self.balance) ** way
        self.balance = reacted * np.exp(wander[:3] * (1.0, 0.3, 1.0) * self.phone.balance_drift)

    def _wanted_balance(self, linear: np.ndarray) -> np.ndarray:
        """Gains (3,), green 1, that would give the mean back the colour it had when metered; the flash counts too."""
        change = np.maximum(_metered(linear), 1e-6) / np.maximum(self._mean_at_first, 1e-6)
        wanted = -BALANCE_ADAPTS * np.log(change / change[1])
        return np.exp(np.clip(wanted, -BALANCE_LIMIT, BALANCE_LIMIT))


def _metered(linear: np.ndarray) -> np.ndarray:
    """Centre-weighted mean colour (3,) of (H, W, 3)."""
    small = cv2.resize(linear, (METER_SIZE, METER_SIZE), interpolation=cv2.INTER_AREA)
    return np.tensordot(centre_weight(METER_SIZE, METER_SIZE), small, 2)


@lru_cache(maxsize=4)
def centre_weight(height: int, width: int) -> np.ndarray:
    """Weights (H, W) float32 of a centre-weighted meter, sum 1. It must not know where the face is, nor whose."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    squared = (((x + 0.5) / width - 0.5) / 0.22) ** 2 + (((y + 0.5) / height - 0.5) / 0.28) ** 2
    weight = np.exp(-0.5 * squared)
    return (weight / weight.sum()).astype(np.float32)
