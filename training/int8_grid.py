"""The last step of a training: weights that int8 can hold (not in the paper).

Every format's quantizer stores the weights of a layer as whole numbers from −127 to 127 times one factor per output
channel, chosen so that the channel's largest weight is ±127. Weights that lie on that grid already lose nothing by it.
So the trained weights are rounded to it here, *before* threshold, quality limits and error rates are measured: what a
run says of itself, it says of the weights that an int8 file holds. Folding batch normalisation into a layer multiplies
each output channel by a factor, which moves the grid and not the whole numbers.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

LARGEST: Final = 127


def round_to_int8_grid(network: nn.Module) -> None:
    """Round the weights of every convolution and linear layer, in place; biases and normalisation stay as they are."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.copy_(on_int8_grid(layer.weight))


def on_int8_grid(weight: Tensor) -> Tensor:
    """Return (outputs, …) float32 weights rounded to 1/127 of the largest magnitude of their output channel."""
    largest = weight.abs().flatten(1).amax(dim=1)
    step = torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
    step = step.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / step) * step
