"""The gates on flash and clipping (`sdk_reference.quality`) for a whole batch of photographs at once, in torch.

A training learns from captures that a phone would judge. Tests hold both against each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sdk_reference.align import TEMPLATE
from sdk_reference.quality import (
    AMBIENT_FLOOR,
    CLIPPED_LEVEL,
    MAD_TO_SIGMA,
    NOISE_FLOOR,
    NOISE_REGION,
    NOISE_SCALE,
    RESIDUAL_SHARE,
    SMOOTHING,
    QualityLimits,
)
from training.batch_camera import luminance_weights, srgb_decode


def judgeable(frames: Tensor, limits: QualityLimits) -> Tensor:
    """(M,) bool: which of (M, N0, 3, 256, 256) levels 0..255 by rank keep the limits of flash and clipping."""
    snr, to_ambient = flash_strength(frames)
    within = (snr >= limits.min_flash_snr) & (to_ambient >= limits.min_flash_to_ambient)
    return within & (clipped_fraction(frames) <= limits.max_clipped_fraction)


def flash_strength(frames: Tensor) -> tuple[Tensor, Tensor]:
    """`flash_snr` and `flash_to_ambient` of each capture, (M,) float32."""
    device = frames.device
    light = srgb_decode(frames[:, [0, -1]] / 255.0)
    bright, dark = (light * luminance_weights(device).view(3, 1, 1)).sum(dim=2).unbind(dim=1)
    difference = bright - dark
    face = torch.from_numpy(TEMPLATE.face_region()).to(device)
    signal = difference[:, face].mean(dim=1)
    ambient = dark[:, face].mean(dim=1).clamp(min=AMBIENT_FLOOR)
    return signal / _noise(difference), signal / ambient


def clipped_fraction(frames: Tensor) -> Tensor:
    """Part of each face with a channel at its end in the brightest frame, (M,)."""
    face = torch.from_numpy(TEMPLATE.face_region()).to(frames.device)
    return (frames[:, 0] >= CLIPPED_LEVEL).any(dim=1)[:, face].float().mean(dim=1)


def _noise(difference: Tensor) -> Tensor:
    small = F.avg_pool2d(difference[:, None], NOISE_SCALE)
    reach = SMOOTHING // 2
    smooth = F.avg_pool2d(F.pad(small, (reach,) * 4, mode="reflect"), SMOOTHING, stride=1)
    region = torch.from_numpy(TEMPLATE.face_region(small.shape[-1], NOISE_REGION)).to(difference.device)
    residual = (small - smooth)[:, 0][:, region]
    deviation = _median((residual - _median(residual)[:, None]).abs())
    return (MAD_TO_SIGMA * deviation / RESIDUAL_SHARE**0.5).clamp(min=NOISE_FLOOR)


def _median(values: Tensor) -> Tensor:
    """Of each row; between both middle ones where there are two, as NumPy has it."""
    return values.quantile(0.5, dim=1)
