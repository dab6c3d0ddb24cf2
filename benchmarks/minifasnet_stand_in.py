"""A network of MiniFASNet's size, to measure time against: its layer shapes in our own words, with random weights.

Such a network is a pruned MobileFaceNet on a crop of 80×80: a stem that halves, three stages of depthwise-separable
bottlenecks that each halve again, a global depthwise convolution and two linear layers. The widths are those of the
public networks V2 and V1SE. With them the count is what their authors state, 0.43 M parameters and 81 MFLOP, if a
multiplication and an addition are counted as two (41 M of both together).

PReLU is slow in ONNX Runtime on a CPU, which fuses it with nothing. `without_prelu` puts ReLU in its place, which is
fused away: no longer that network, but a lower bound for what any runtime could make of it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CROP_SIZE = 80
STEM_WIDTH = 32
STAGE_WIDTHS = (64, 128, 128)
LAST_WIDTH = 512
EMBEDDING = 128
CLASSES = 3
LAST_MAP = CROP_SIZE // 16
REDUCTION = 4  # of squeeze-and-excitation


@dataclass(frozen=True)
class Widths:
    """Channels inside the bottlenecks of each stage; the first of a stage halves its map."""

    stages: tuple[tuple[int, ...], ...]
    squeeze: bool
    """Whether the last bottleneck of each stage has squeeze-and-excitation."""


V2 = Widths(((103, 13, 13, 13, 13), (231, 231, 52, 26, 77, 26, 26), (308, 26, 26)), squeeze=False)
V1SE = Widths(((103, 13, 26, 13, 52), (231, 154, 52, 26, 52, 26, 26), (308, 26, 26)), squeeze=True)


def convolution(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution and its normalisation; kernels of more than one pixel keep size / stride."""
    padding = 1 if kernel == 3 else 0
    return [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def active(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution, its normalisation and PReLU."""
    return [*convolution(inputs, outputs, kernel, stride=stride, groups=groups), nn.PReLU(outputs)]


class SqueezeExcitation(nn.Module):
    """Weighs channels by what all pixels say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            *convolution(channels, channels // REDUCTION),
            nn.ReLU(),
            *convolution(channels // REDUCTION, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B×C×h×w → the same."""
        weighed: Tensor = x * self.weigh(x)
        return weighed


class Bottleneck(nn.Module):
    """1×1 to `width`, depthwise 3×3, 1×1 back; with a shortcut where the size stays."""

    def __init__(self, inputs: int, width: int, outputs: int, *, halves: bool, squeeze: bool) -> None:
        super().__init__()
        self.halves = halves
        self.layers = nn.Sequential(
            *active(inputs, width),
            *active(width, width, 3, stride=2 if halves else 1, groups=width),
            *convolution(width, outputs),
            *([SqueezeExcitation(outputs)] if squeeze else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×h×w → B×outputs×h×w, or half of h and w."""
        made: Tensor = self.layers(x)
        return made if self.halves else x + made


def stand_in(widths: Widths) -> nn.Sequential:
    """Return the network: B×3×80×80 → B×3 logits; random weights, evaluation mode."""
    layers = [*active(3, STEM_WIDTH, 3, stride=2), *active(STEM_WIDTH, STEM_WIDTH, 3, groups=STEM_WIDTH)]
    channels = STEM_WIDTH
    for inner, outputs in zip(widths.stages, STAGE_WIDTHS, strict=True):
        for place, width in enumerate(inner):
            squeeze = widths.squeeze and place == len(inner) - 1
            layers.append(Bottleneck(channels, width, outputs, halves=place == 0, squeeze=squeeze))
            channels = outputs
    layers += [*active(channels, LAST_WIDTH), *convolution(LAST_WIDTH, LAST_WIDTH, LAST_MAP, groups=LAST_WIDTH)]
    layers += [nn.Flatten(), nn.Linear(LAST_WIDTH, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING)]
    return nn.Sequential(*layers, nn.Linear(EMBEDDING, CLASSES, bias=False)).eval()


def without_prelu(network: nn.Sequential) -> nn.Sequential:
    """Return a copy with ReLU for each PReLU."""
    copied = deepcopy(network)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.PReLU):
                setattr(module, name, nn.ReLU())
    return copied


def multiply_adds(network: nn.Module, example: Tensor) -> int:
    """Return how many multiplications, each with its addition, the convolutions and linear layers take."""
    counts: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        pixels = output[0, 0].numel() if output.dim() == 4 else 1
        counts.append(layer.weight.numel() * pixels * output.shape[0])  # type: ignore[union-attr, operator]

    counted = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in counted]
    with torch.inference_mode():
        network(example)
    for handle in handles:
        handle.remove()
    return sum(counts)
