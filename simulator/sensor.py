"""What happens to light between a phone's lens and its file: blur, noise, denoising, sharpening, tone, compression.

The paper photographs with phones of four makers and says nothing of their processing (section 6.1); these are the
generic stages of any such pipeline, each a plain function. A frame may be a scaled-down view of the sensor: `scale` is
how many sensor pixels (in one direction) make one frame pixel, and each stage then does analytically what working on
the sensor and averaging scale × scale pixels would do: blur shrinks, noise falls, filters reach less far.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numba import njit

from flash_sequencer.colour import LUMINANCE_WEIGHTS, linear_to_srgb

LUMINANCE = np.array(LUMINANCE_WEIGHTS, np.float32)
SATURATION = 1.3
"""Sensors clip here, a little above full scale, before white balance."""
CURVE_STEPS = 1 << 14
TRANSFORM_LENGTH = 256
FAINTEST_TAP = 5e-4
SHARPEN_SIGMA_PX = 1.2
"""Of the unsharp mask, sensor pixels."""
OVERSHOOT = 0.2
"""Sharpening adds at most this share of the local brightness: phones hold their halos back."""
DENOISE_RADIUS_PX = 2
"""Half width of the denoising window, sensor pixels."""
ONE_RING_FROM, WHOLE_RING_UNTIL = 1.4, 2.5
"""From the first scale on the window is 3×3 frame pixels, and from the second ever less of it counts (fitted: what is
left of the noise is then within a tenth of what denoising on the sensor leaves)."""
SHORTEST_SMEAR_PX = 0.1
UNCOMPRESSED = 100
"""A JPEG quality that stands for no compression."""


def frame_sigma_px(sensor_sigma_px: float, scale: float) -> float:
    """Standard deviation in frame pixels of a blur stated in sensor pixels, after averaging `scale`² pixels into one.

    Averaging k pixels is itself a box of variance (k² − 1)/12 sensor pixels² (exact for whole k); variances add.
    """
    return float(np.sqrt(sensor_sigma_px**2 + (scale * scale - 1.0) / 12.0) / scale)


@lru_cache(maxsize=64)
def gaussian_taps(sigma_px: float) -> np.ndarray:
    """Odd, symmetric blur taps (T,) float32 of sum 1 whose transfer is a Gaussian's, exp(−2π²σ²f²), up to f = 1/2.

    They are the Gaussian's transform back, not its samples: below a pixel, samples blur too little.
    """
    frequencies = np.fft.rfftfreq(TRANSFORM_LENGTH)
    taps = np.fft.irfft(np.exp(-2.0 * (np.pi * sigma_px * frequencies) ** 2), TRANSFORM_LENGTH)
    reach = min(int(np.ceil(3.5 * sigma_px)) + 4, TRANSFORM_LENGTH // 2 - 1)
    reach = int(np.flatnonzero(np.abs(taps[: reach + 1]) > FAINTEST_TAP).max())
    taps = np.roll(taps, reach)[: 2 * reach + 1]
    return (taps / taps.sum()).astype(np.float32)


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur of (H, W[, C]) float32 of standard deviation `sigma_px`, right below one pixel too."""
    taps = gaussian_taps(round(sigma_px, 3))
    return cv2.sepFilter2D(image, -1, taps, taps, borderType=cv2.BORDER_REPLICATE)


def smear(image: np.ndarray, path_px: tuple[float, float]) -> np.ndarray:
    """Blur (H, W, 3) float32 along a straight path (x, y) in pixels: motion at constant speed during the exposure."""
    if float(np.hypot(*path_px)) < SHORTEST_SMEAR_PX:
        return image
    return cv2.filter2D(image, -1, line_kernel(path_px), borderType=cv2.BORDER_REPLICATE)


def line_kernel(path_px: tuple[float, float]) -> np.ndarray:
    """Kernel (S, S) float32, sum 1, of an even line of this extent (x, y), centred; its covariance is exact: p·pᵀ/12.

    Points of the line are dropped on the grid with Keys' cubic weights, which keep second moments (bilinear ones
    would blur short lines several times too much).
    """
    reach = int(np.ceil(max(abs(path_px[0]), abs(path_px[1])) / 2)) + 2
    count = max(16, int(4 * np.hypot(*path_px)))
    along = (np.arange(count) + 0.5) / count - 0.5
    grid = np.arange(-reach, reach + 1)
    across, down = (_keys(grid[None, :] - along[:, None] * extent) for extent in path_px)
    return (down.T @ across / count).astype(np.float32)


def _keys(offset: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution weights (a = −1/2) at a distance in pixels."""
    x = np.abs(offset)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@lru_cache(maxsize=8)
def _radius_squared(height: int, width: int) -> np.ndarray:
    """Squared distance (H, W, 1) float32 from the image's middle, 1 at the corners."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    squared = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2
    return (2.0 * squared)[..., None].astype(np.float32)


def vignette(height: int, width: int, loss: float) -> np.ndarray:
    """Share of the light (H, W, 1) float32 that arrives: 1 in the middle, 1 − loss in the corners."""
    return 1.0 - np.float32(loss) * _radius_squared(height, width)


def add_noise(
    exposed: np.ndarray, electrons: float, read_electrons: float, scale: float, chroma: float, rng: np.random.Generator
) -> np.ndarray:
    """Shot and read noise on `exposed` (H, W, 3) float32, full scale = 1 = `electrons`, averaged over scale² pixels.

    `chroma` >= 1 widens the part of the noise that differs between the channels, as a colour correction matrix does.
    Every value of every frame has a draw of its own: frames are differenced, and shared noise would vanish there.
    """
    noisy = np.empty_like(exposed)
    seed = np.uint64(rng.integers(0, 1 << 63))
    _noise_kernel(
        np.ascontiguousarray(exposed).reshape(-1, 3),
        np.float32(1.0 / electrons),
        np.float32((read_electrons / electrons) ** 2),
        np.float32(1.0 / scale),
        np.float32(chroma),
        seed,
        noisy.reshape(-1, 3),
    )
    return noisy


@njit(cache=True, nogil=True, inline="always")
def _mixed(counter: np.uint64) -> np.uint64:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014): 64 random bits per counter."""
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _ones(bits: np.uint64) -> np.uint64:
    """How many of 64 bits are set."""
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def _noise_kernel(
    exposed: np.ndarray,
    per_electron: np.float32,
    read_variance: np.float32,
    per_scale: np.float32,
    chroma: np.float32,
    seed: np.uint64,
    out: np.ndarray,
) -> None:
    """Normal deviates are 64 coin flips plus a uniform dither: excess kurtosis −0.03, five times ziggurat's speed."""
    unit = np.float32(1.0 / np.sqrt(16.0 + 1.0 / 12.0))
    dither_unit = np.float32(1.0 / 2097152.0)
    low21 = np.uint64(0x1FFFFF)
    draw = np.empty(3, np.float32)
    for i in range(exposed.shape[0]):
        counter = seed + np.uint64(4) * np.uint64(i)
        dither = _mixed(counter + np.uint64(3))
        for c in range(3):
            flips = np.float32(np.int64(_ones(_mixed(counter + np.uint64(c)))))
            fraction = np.float32(np.int64((dither >> np.uint64(21 * c)) & low21)) * dither_unit
            variance = max(exposed[i, c], np.float32(0.0)) * per_electron + read_variance
            draw[c] = (flips + fraction - np.float32(32.5)) * unit * np.sqrt(variance) * per_scale
        grey = (draw[0] + draw[1] + draw[2]) * np.float32(1.0 / 3.0)
        for c in range(3):
            out[i, c] = exposed[i, c] + grey + chroma * (draw[c] - grey)


def denoise(luma: np.ndarray, noise_variance: tuple[float, float], strength: float, scale: float) -> np.ndarray:
    """Denoise brightness (H, W) float32: a self-guided filter (He, Sun and Tang 2013) that keeps its edges.

    `noise_variance` (per unit of signal, constant) is what the pipeline knows of its own noise, so that detail well
    above the noise stays and detail below goes; `strength` counts how many times the noise is taken off, 0 = none.
    """
    if strength <= 0.0:
        return luma
    radius = DENOISE_RADIUS_PX if scale < ONE_RING_FROM else 1
    side = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(luma, side, borderType=cv2.BORDER_REFLECT)
    spread = np.maximum(cv2.blur(luma * luma, side, borderType=cv2.BORDER_REFLECT) - mean * mean, 1e-9)
    per_signal, constant = noise_variance
    taken = np.float32(strength) * (np.maximum(mean, 0.0) * np.float32(per_signal) + np.float32(constant))
    kept = spread / (spread + taken)
    kept, offset = cv2.blur(kept, side), cv2.blur((1.0 - kept) * mean, side)
    whole = min(WHOLE_RING_UNTIL / scale, 1.0)
    return cv2.addWeighted(kept * luma + offset, whole, luma, 1.0 - whole, 0.0)


def sharpen(luma: np.ndarray, strength: float, scale: float) -> np.ndarray:
    """Unsharp masking of brightness (H, W) float32, its overshoot limited."""
    if strength <= 0.0:
        return luma
    soft = blur(luma, SHARPEN_SIGMA_PX / scale)
    limit = np.maximum(soft, 0.0) * np.float32(OVERSHOOT)
    return luma + np.clip((luma - soft) * np.float32(strength), -limit, limit)


def luminance(image: np.ndarray) -> np.ndarray:
    """Brightness (H, W) float32 of (H, W, 3) float32."""
    return cv2.transform(image, LUMINANCE[None, :])


def with_luminance(image: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The colours (differences between channels) of (H, W, 3) float32 at another brightness (H, W) float32."""
    out = np.empty_like(image)
    _luminance_kernel(image.reshape(-1, 3), luma.reshape(-1), LUMINANCE, out.reshape(-1, 3))
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _luminance_kernel(image: np.ndarray, luma: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    for i in range(image.shape[0]):
        red, green, blue = image[i, 0], image[i, 1], image[i, 2]
        shift = luma[i] - (weights[0] * red + weights[1] * green + weights[2] * blue)
        out[i, 0], out[i, 1], out[i, 2] = red + shift, green + shift, blue + shift


@lru_cache(maxsize=64)
def tone_table(contrast: float, gamma: float, shadows: float) -> np.ndarray:
    """Tone curve (CURVE_STEPS,) uint8 over linear 0..1: sRGB's, bent by a power and an S, blacks lifted or crushed."""
    encoded = linear_to_srgb(np.linspace(0.0, 1.0, CURVE_STEPS)) ** gamma
    curved = (1.0 - contrast) * encoded + contrast * encoded * encoded * (3.0 - 2.0 * encoded)
    return (np.clip(shadows + (1.0 - shadows) * curved, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def develop(image: np.ndarray, colour: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Colour matrix (3, 3) and tone table on (H, W, 3) float32 → uint8."""
    out = np.empty(image.shape, np.uint8)
    rows = np.ascontiguousarray(image, np.float32).reshape(-1, 3)
    _develop_kernel(rows, np.ascontiguousarray(colour, np.float32), table, out.reshape(-1, 3))
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _develop_kernel(image: np.ndarray, colour: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    last = np.float32(table.shape[0] - 1)
    for i in range(image.shape[0]):
        red, green, blue = image[i, 0], image[i, 1], image[i, 2]
        for c in range(3):
            value = colour[c, 0] * red + colour[c, 1] * green + colour[c, 2] * blue
            value = min(max(value, np.float32(0.0)), np.float32(1.0))
            out[i, c] = table[int(value * last + np.float32(0.5))]


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of this quality makes of (H, W, 3) uint8 RGB; UNCOMPRESSED leaves it alone."""
    if quality >= UNCOMPRESSED:
        return image
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
