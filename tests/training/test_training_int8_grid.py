"""Weights on the int8 grid: whole numbers times a factor per output channel, also once normalisation is folded in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.int8_grid import LARGEST, on_int8_grid, round_to_int8_grid
from training.network import ATRFAS, PRESETS


def steps_of(weight: torch.Tensor) -> np.ndarray:
    """Weights (outputs, …) over their channel's largest magnitude, times 127: whole numbers if they are on the grid."""
    flat = weight.detach().flatten(1).double()
    return np.asarray((flat / flat.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) * LARGEST).numpy())


@pytest.mark.parametrize("preset", ["mobile", "paper"])
def test_every_convolution_and_linear_layer_is_rounded_and_nothing_else(preset: str) -> None:
    torch.manual_seed(0)
    network = ATRFAS(PRESETS[preset]).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    round_to_int8_grid(network)
    rounded = {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    for name, tensor in network.state_dict().items():
        if name not in rounded:
            assert torch.equal(tensor, before[name]), name
            continue
        steps = steps_of(tensor)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        largest = before[name].abs().flatten(1).amax(dim=1)
        assert ((tensor - before[name]).abs().flatten(1).amax(dim=1) <= 0.5001 * largest / LARGEST).all()
        torch.testing.assert_close(tensor.abs().flatten(1).amax(dim=1), largest)


def test_rounding_twice_is_rounding_once() -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    once = on_int8_grid(weight)
    assert not torch.equal(once, weight)
    torch.testing.assert_close(on_int8_grid(once), once, rtol=1e-6, atol=0)


def test_a_channel_without_weights_stays_without() -> None:
    weight = torch.zeros(2, 3)
    weight[1] = torch.tensor([1.0, -0.5, 0.249])
    assert torch.equal(on_int8_grid(weight)[0], torch.zeros(3))


def test_folding_normalisation_keeps_the_whole_numbers() -> None:
    generator = torch.Generator().manual_seed(2)
    layer, norm = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)
    round_to_int8_grid(layer)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean):
            assert values is not None
            values.copy_(torch.randn(6, generator=generator))
    before = np.rint(steps_of(layer.weight))
    after = steps_of(fuse_conv_bn_eval(layer.eval(), norm.eval()).weight)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-3)
