"""The looks of relit captures (`training.relit_looks`, `training.relight.set_up`) for a whole batch at once, in torch.

Each function is that of its name there, where it is explained; tests hold both against each other. The paper states
no augmentation. Pictures are (M, C, H, W) float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.relit_looks import (
    BLOTCHES_ACROSS,
    DARKEST_CHROMA,
    SHADING_SIDE,
    SHADING_TAPS,
    STRONGEST_CHROMA,
    STRONGEST_SHADING,
    TINY_ANSWER,
)


def scene_light(sheets: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Collated sheets (`training.batch_relight`) → room's and screen's light (M, 3, 256, 256) with all looks."""
    planes = sheets["planes"].float()
    ambient, screen, covered = planes[:, :3], planes[:, 3:6], planes[:, 6:7]
    side = planes.shape[-1]
    surface = blotch_factors(sheets["blotches"], side)
    surface = surface * chroma_factors(screen, covered, sheets["chroma"])
    other = blotch_factors(sheets["blotches_behind"], side)
    room_behind, screen_behind = (
        1.0 + (other * _of_channels(sheets[name]) - 1.0) * (1.0 - covered) for name in ("room_behind", "screen_behind")
    )
    room = _of_channels(sheets["ambient_scale"][:, None] * sheets["room"])
    shading = shading_factors(screen, covered, sheets["shading"])
    return ambient * surface * room * room_behind, screen * surface * shading * screen_behind


def blotch_factors(patches: Tensor, side: int) -> Tensor:
    """Stacked patches (M, P) → factors (M, 3, side, side)."""
    fields, begin = [], 0
    for across in BLOTCHES_ACROSS:
        end = begin + 3 * across * across
        grid = patches[:, begin:end].view(-1, 3, across, across)
        fields.append(F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False))
        begin = end
    return torch.stack(fields).sum(dim=0).exp()


def chroma_factors(screen: Tensor, covered: Tensor, contrast: Tensor) -> Tensor:
    """`training.relit_looks.chroma_factors` of each capture."""
    weight = covered / covered.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)
    floor = ((screen * weight).sum(dim=(2, 3), keepdim=True) * DARKEST_CHROMA).clamp(min=TINY_ANSWER)
    light = torch.maximum(screen, floor).log()
    colour = light - light.mean(dim=1, keepdim=True)
    pattern = colour - (colour * weight).sum(dim=(2, 3), keepdim=True)
    strength = (contrast - 1.0).view(-1, 1, 1, 1) * pattern.clamp(-STRONGEST_CHROMA, STRONGEST_CHROMA)
    return (strength * covered).exp()


def shading_factors(screen: Tensor, covered: Tensor, contrast: Tensor) -> Tensor:
    """`training.relit_looks.shading_factors` of each capture."""
    small, weight = (
        F.adaptive_avg_pool2d(image, SHADING_SIDE) for image in (screen.mean(dim=1, keepdim=True), covered)
    )
    weight = weight / weight.sum(dim=(2, 3), keepdim=True).clamp(min=TINY_ANSWER)
    floor = ((small * weight).sum(dim=(2, 3), keepdim=True) * DARKEST_CHROMA).clamp(min=TINY_ANSWER)
    taps = torch.from_numpy(SHADING_TAPS).to(screen.device)
    kernel, reach = (taps @ taps.T)[None, None], len(taps) // 2
    slow = F.conv2d(F.pad(torch.maximum(small, floor).log(), (reach,) * 4, mode="replicate"), kernel)
    pattern = slow - (slow * weight).sum(dim=(2, 3), keepdim=True)
    pattern = (contrast - 1.0).view(-1, 1, 1, 1) * pattern.clamp(-STRONGEST_SHADING, STRONGEST_SHADING)
    whole = F.interpolate(pattern, size=screen.shape[-2:], mode="bicubic", align_corners=False)
    return (whole * covered).exp()


def _of_channels(values: Tensor) -> Tensor:
    """(M, 3) → (M, 3, 1, 1)."""
    return values[..., None, None]
