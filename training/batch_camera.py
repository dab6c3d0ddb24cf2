"""The simulator's camera (`simulator.phone`, `simulator.sensor`) for a whole batch of captures at once, in torch.

It exists for GPUs, which would otherwise wait for processors that photograph one picture at a time. The stages, their
order and their settings are the simulator's, where each is explained; tests hold both against each other picture by
picture. What differs is below a level of the 8-bit frames: the tone curve is worked out instead of looked up, and
edges of the picture are repeated where the simulator sometimes mirrors them. JPEG differs by a level on average, for it
rounds elsewhere, and loses as much as the simulator's.

Pictures are (M, K, 3, H, W) float32: K frames of each of M captures; a setting of the phone is (M,) float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from flash_sequencer.colour import (
    CURVE_EXPONENT,
    CURVE_OFFSET,
    LINEAR_END,
    LINEAR_END_ENCODED,
    LINEAR_SLOPE,
    LUMINANCE_WEIGHTS,
)
from simulator import phone as simulated_phone
from simulator import sensor
from simulator.phone import Phone

TEXT_FIELDS = ("profile",)
LARGEST_REACH = 9  # taps on each side of a blur; no phone of the simulator blurs farther
BLOCK = 8
JPEG_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of the luma coefficients at quality 50 (ISO/IEC 10918-1, annex K)."""
JPEG_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * BLOCK),) * 4,
)

Settings = Mapping[str, Tensor]
"""Every number of `Phone`, by its name: (M,) float32, `white_balance` (M, 3)."""


def numbers_of(phone: Phone) -> dict[str, npt.NDArray[np.float32]]:
    """The settings of one phone, as a loader can stack them to a batch's."""
    names = [field.name for field in fields(Phone) if field.name not in TEXT_FIELDS]
    return {name: np.asarray(getattr(phone, name), np.float32) for name in names}


def srgb_encode(linear: Tensor) -> Tensor:
    """Linear light 0..1 → sRGB 0..1, as `flash_sequencer.colour.linear_to_srgb`."""
    curve = (1 + CURVE_OFFSET) * linear.clamp(min=LINEAR_END) ** (1 / CURVE_EXPONENT) - CURVE_OFFSET
    return torch.where(linear <= LINEAR_END, linear * LINEAR_SLOPE, curve)


def srgb_decode(encoded: Tensor) -> Tensor:
    """SRGB 0..1 → linear light 0..1, as `flash_sequencer.colour.srgb_to_linear`."""
    curve = ((encoded.clamp(min=LINEAR_END_ENCODED) + CURVE_OFFSET) / (1 + CURVE_OFFSET)) ** CURVE_EXPONENT
    return torch.where(encoded <= LINEAR_END_ENCODED, encoded / LINEAR_SLOPE, curve)


def metered(pictures: Tensor) -> Tensor:
    """Centre-weighted mean colour of (..., 3, H, W) → (..., 3)."""
    weight = _meter_weight(pictures.shape[-2], pictures.shape[-1], pictures.device)
    return (pictures * weight).sum(dim=(-2, -1))


@lru_cache(maxsize=4)
def _meter_weight(height: int, width: int, device: torch.device) -> Tensor:
    side = simulated_phone.METER_SIZE
    down, across = (
        cv2.resize(np.eye(n, dtype=np.float32), (n, side), interpolation=cv2.INTER_AREA) for n in (height, width)
    )
    weight = down.T @ simulated_phone.centre_weight(side, side) @ across
    return torch.from_numpy(np.ascontiguousarray(weight)).to(device)


def meter(phones: Settings, mean: Tensor) -> Tensor:
    """Gain (M,) that brings a metered mean colour (M, 3) to the phone's exposure target."""
    level = mean @ luminance_weights(mean.device)
    return (phones["exposure_target"] / level.clamp(min=1e-6)).clamp(
        max=1.0 / simulated_phone.LOWEST_FULL_SCALE_RADIANCE
    )


def electrons_at_full_scale(phones: Settings, gain: Tensor) -> Tensor:
    """Electrons that make full scale at gains (M, K)."""
    base = simulated_phone.LONGEST_EXPOSURE_S * simulated_phone.BASE_ISO_RADIANCE
    exposure_s = torch.minimum(phones["longest_exposure_s"][:, None], base * gain)
    filled = (exposure_s / (base * gain) + simulated_phone.FLOOR_ELECTRON_SHARE).clamp(max=1.0)
    return phones["full_well_electrons"][:, None] * filled


def photograph(
    phones: Settings, light: Tensor, gain: Tensor, balance: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Photograph (M, K, 3, H, W) cd/m² with gains (M, K) and white balances (M, K, 3) → whole levels 0..255, float32.

    `generator` draws shot and read noise; None leaves it out.
    """
    electrons = electrons_at_full_scale(phones, gain)
    image = _expose(phones, light, gain)
    if generator is not None:
        image = _noisy(phones, image, electrons, generator)
    image = _process(phones, image, electrons)
    return compress(_develop(phones, image, balance, electrons), phones["jpeg_quality"])


def _expose(phones: Settings, light: Tensor, gain: Tensor) -> Tensor:
    scale = phones["sensor_scale"]
    sensor_sigma = torch.hypot(phones["blur_px"], phones["defocus_px"] / 2.0)
    image = blur(light, torch.sqrt(sensor_sigma**2 + (scale * scale - 1.0) / 12.0) / scale)
    height, width = light.shape[-2:]
    shade = 1.0 - phones["vignetting"][:, None, None] * _radius_squared(height, width, light.device)
    return (image * (shade[:, None] * gain[..., None, None])[:, :, None]).clamp(max=sensor.SATURATION)


@lru_cache(maxsize=4)
def _radius_squared(height: int, width: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(1.0 - sensor.vignette(height, width, 1.0)[..., 0])).to(device)


def _noisy(phones: Settings, image: Tensor, electrons: Tensor, generator: torch.Generator) -> Tensor:
    per_electron = _spread(1.0 / electrons)
    read = _spread(phones["read_electrons"][:, None] / electrons)
    drawn = torch.randn(image.shape, generator=generator, device=image.device)
    drawn = (
        drawn * (image.clamp(min=0.0) * per_electron + read * read).sqrt() / _spread(phones["sensor_scale"][:, None])
    )
    grey = drawn.mean(dim=2, keepdim=True)
    return image + grey + _spread(phones["chroma_noise"][:, None]) * (drawn - grey)


def _process(phones: Settings, image: Tensor, electrons: Tensor) -> Tensor:
    scale, read = phones["sensor_scale"], phones["read_electrons"][:, None]
    per_signal = 1.0 / (electrons * (scale**2)[:, None])
    noisy = (torch.sqrt(0.2 / electrons + (read / electrons) ** 2) / simulated_phone.NOISY).clamp(max=1.0)
    luma = _luma(image)
    luma = _denoised(luma, per_signal, read**2 / electrons * per_signal, phones["denoise"], scale)
    luma = _sharpened(luma, phones["sharpen"], scale)
    coloured = blur(image, phones["chroma_sigma_px"][:, None] * noisy / scale[:, None])
    return coloured + (luma - _luma(coloured))


def _luma(image: Tensor) -> Tensor:
    """(M, K, 3, H, W) → (M, K, 1, H, W)."""
    return (image * luminance_weights(image.device).view(3, 1, 1)).sum(dim=2, keepdim=True)


def _denoised(luma: Tensor, per_signal: Tensor, constant: Tensor, strength: Tensor, scale: Tensor) -> Tensor:
    wide = (scale < sensor.ONE_RING_FROM).view(-1, 1, 1, 1, 1)
    mean = _box(luma, wide)
    spread = (_box(luma * luma, wide) - mean * mean).clamp(min=1e-9)
    taken = _spread(strength[:, None]) * (mean.clamp(min=0.0) * _spread(per_signal) + _spread(constant))
    kept = spread / (spread + taken)
    filtered = _box(kept, wide) * luma + _box((1.0 - kept) * mean, wide)
    whole = _spread((sensor.WHOLE_RING_UNTIL / scale).clamp(max=1.0)[:, None])
    return torch.where(_spread(strength[:, None]) > 0, filtered * whole + luma * (1.0 - whole), luma)


def _box(luma: Tensor, wide: Tensor) -> Tensor:
    """Mean over 5×5 pixels where `wide`, else over 3×3."""
    radius, flat = sensor.DENOISE_RADIUS_PX, luma.flatten(0, 1)
    over_25, over_9 = (
        F.avg_pool2d(F.pad(flat, (r,) * 4, mode="replicate"), 2 * r + 1, stride=1).view_as(luma) for r in (radius, 1)
    )
    return torch.where(wide, over_25, over_9)


def _sharpened(luma: Tensor, strength: Tensor, scale: Tensor) -> Tensor:
    soft = blur(luma, sensor.SHARPEN_SIGMA_PX / scale)
    limit = soft.clamp(min=0.0) * sensor.OVERSHOOT
    halo = (luma - soft) * _spread(strength[:, None])
    return luma + torch.minimum(torch.maximum(halo, -limit), limit)


def _develop(phones: Settings, image: Tensor, balance: Tensor, electrons: Tensor) -> Tensor:
    eye = torch.eye(3, device=image.device)
    crosstalk = phones["crosstalk"][:, None, None, None]
    leak = crosstalk + eye * (1.0 - 3.0 * crosstalk)
    clean = (electrons / phones["full_well_electrons"][:, None]).clamp(max=1.0)
    dark = simulated_phone.DARK_SATURATION
    saturation = (phones["saturation"][:, None] * (dark + (1.0 - dark) * clean))[..., None, None]
    saturate = saturation * eye + (1.0 - saturation) * luminance_weights(image.device)
    gains = phones["white_balance"][:, None] * balance
    matrix = saturate @ (gains[..., None] * leak)
    linear = torch.einsum("mkij,mkjhw->mkihw", matrix, image).clamp(0.0, 1.0)
    gamma, contrast, shadows = (_spread(phones[name][:, None]) for name in ("gamma", "contrast", "shadows"))
    encoded = srgb_encode(linear) ** gamma
    curved = (1.0 - contrast) * encoded + contrast * encoded * encoded * (3.0 - 2.0 * encoded)
    return ((shadows + (1.0 - shadows) * curved).clamp(0.0, 1.0) * 255.0 + 0.5).floor()


def _spread(values: Tensor) -> Tensor:
    """(M, K) → (M, K, 1, 1, 1)."""
    return values[..., None, None, None]


@lru_cache(maxsize=4)
def luminance_weights(device: torch.device) -> Tensor:
    """(3,) what R, G and B have in luminance."""
    return torch.tensor(LUMINANCE_WEIGHTS, dtype=torch.float32, device=device)


def blur(pictures: Tensor, sigma_px: Tensor) -> Tensor:
    """Gaussian blur of (M, K, C, H, W) by (M,) or (M, K) pixels, right below one pixel too; edges are repeated.

    Each direction is one product with a matrix: 256 by 256 numbers where 19 taps would do, but what GPUs are made for.
    """
    captures, frames, _, height, width = pictures.shape
    taps = gaussian_taps(sigma_px if sigma_px.dim() == 2 else sigma_px[:, None].expand(captures, frames))
    across = torch.einsum("mkchw,mkvw->mkchv", pictures, _smoothing(taps, width))
    return torch.einsum("mkchv,mkuh->mkcuv", across, _smoothing(taps, height))


def _smoothing(taps: Tensor, length: int) -> Tensor:
    """Matrices (M, K, L, L): what each of a line's pixels has of every one, by taps (M, K, T)."""
    return (taps @ _taken_from(length, taps.shape[-1], taps.device)).unflatten(-1, (length, length))


@lru_cache(maxsize=4)
def _taken_from(length: int, count: int, device: torch.device) -> Tensor:
    """(T, L·L): 1 where a tap of a pixel lies on a pixel, beyond both ends on the last one."""
    places = torch.arange(length)
    from_places = (places + torch.arange(count)[:, None] - count // 2).clamp(0, length - 1)
    return F.one_hot(from_places, length).float().flatten(1).to(device)


def gaussian_taps(sigma_px: Tensor) -> Tensor:
    """Taps (M, K, T) of sum 1 for standard deviations (M, K), as `simulator.sensor.gaussian_taps`."""
    length = sensor.TRANSFORM_LENGTH
    frequencies = torch.fft.rfftfreq(length, device=sigma_px.device)
    taps = torch.fft.irfft(torch.exp(-2.0 * (np.pi * sigma_px[..., None] * frequencies) ** 2), length)
    taps = taps[..., : LARGEST_REACH + 1]
    places = torch.arange(LARGEST_REACH + 1, device=sigma_px.device)
    counts = (taps.abs() > sensor.FAINTEST_TAP) & (places <= torch.ceil(3.5 * sigma_px[..., None]) + 4)
    counts = counts.flip(-1).cummax(dim=-1).values.flip(-1)  # up to the last tap that is not faint
    taps = taps * counts
    whole = torch.cat([taps[..., 1:].flip(-1), taps], dim=-1)
    return whole / whole.sum(dim=-1, keepdim=True)


def compress(levels: Tensor, quality: Tensor) -> Tensor:
    """What JPEGs of these qualities (M,) make of levels (M, K, 3, H, W); sensor.UNCOMPRESSED leaves them alone."""
    chosen = (quality < sensor.UNCOMPRESSED).nonzero().flatten()
    if len(chosen) == 0:
        return levels
    some = levels[chosen]
    squeezed = _jpeg(some.flatten(0, 1), quality[chosen].repeat_interleave(some.shape[1]))
    return levels.index_copy(0, chosen, squeezed.view_as(some))


def _jpeg(rgb: Tensor, quality: Tensor) -> Tensor:
    """Quantize the 8×8 cosine transforms of (F, 3, H, W) levels, chroma at half the size (4:2:0), and go back."""
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=rgb.device
    )
    ycc = torch.einsum("ij,fjhw->fihw", to_ycc, rgb).round()
    luma = _quantized(ycc[:, :1] - 128.0, JPEG_LUMA, quality) + 128.0
    chroma = _quantized(F.avg_pool2d(ycc[:, 1:], 2).round(), JPEG_CHROMA, quality)
    chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
    back = torch.einsum("ij,fjhw->fihw", torch.linalg.inv(to_ycc), torch.cat([luma, chroma], dim=1))
    return back.round().clamp(0.0, 255.0)


def _quantized(planes: Tensor, steps: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    percent = torch.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)
    table = torch.tensor(steps, dtype=torch.float32, device=planes.device)
    table = ((table * percent.view(-1, 1, 1) + 50.0) / 100.0).floor().clamp(1.0, 255.0)
    table = table.repeat(1, height // BLOCK, width // BLOCK)[:, None]
    down, across = _cosines(height, planes.device), _cosines(width, planes.device)
    coefficients = down @ planes @ across.T
    return (down.T @ ((coefficients / table).round() * table) @ across).round()


@lru_cache(maxsize=4)
def _cosines(length: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II of every 8 samples of a line, (length, length)."""
    k, n = np.mgrid[:BLOCK, :BLOCK]
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    matrix[0] /= np.sqrt(2)
    return torch.from_numpy(np.kron(np.eye(length // BLOCK), matrix).astype(np.float32)).to(device)
