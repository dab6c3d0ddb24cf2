"""The network in the form that ships: one capture at a time, no tensor above rank 4, softmax on the last axis.

The training network folds a batch of captures, B·N frames; here the first axis holds the N frames of one capture, so no
axis for captures is needed. The weights and the convolutions are the training network's own. Only what converters
stumble over is written anew (EXPORT.md): GPU delegates refuse rank 5, LiteRT wants softmax last, and the expectation
over bins must stay multiply and sum. The results agree with the training network's to rounding.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final

import torch
from torch import Tensor, nn

from training.modules import bin_values
from training.network import ATRFAS, LIVE

MAX_RANK: Final = 4


class DeployNetwork(nn.Module):
    """differential N×3×S×S float32 in −1..1 → score (1,), type (3,), depth (1, S/4, S/4), flash_response (N, 3).

    Score and type are probabilities, depth is 0..1; see `sdk_reference.runtime.ModelOutputs`. The given network is
    copied: float32, on the CPU, in evaluation mode.
    """

    depth_values: Tensor
    attention_values: Tensor

    def __init__(self, network: ATRFAS) -> None:
        super().__init__()
        self.network = deepcopy(network).to("cpu", torch.float32).eval()
        self.network.requires_grad_(False)
        settings = network.settings
        reference = torch.zeros(())
        self.register_buffer("depth_values", bin_values(settings.depth_bins, reference))
        self.register_buffer(
            "attention_values", bin_values(settings.attention_bins, reference) * settings.attention_span
        )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        settings = self.network.settings
        return settings.n_frames, 3, settings.input_size, settings.input_size

    def forward(self, differential: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        net = self.network
        frames = net.coarse(differential)
        features = net.stem(frames)
        attention = self._attention(frames)
        if net.joint_stem is None:
            type_logits = net.type_gate(frames)
            depth = self._fuse(attention, _expectation(net.depth_logits(features, type_logits), self.depth_values))
        else:
            fused = (features * attention.permute(2, 0, 1).unsqueeze(1)).sum(dim=0, keepdim=True)
            type_logits = net.type_gate(_stacked(frames))
            joint = net.joint_stem(_stacked(differential))
            depth = _expectation(net.depth_logits(fused, type_logits, joint), self.depth_values)
        score_logits = net.classification_head(depth.unsqueeze(0))
        return (
            torch.softmax(score_logits, dim=-1)[:, LIVE],
            torch.softmax(type_logits.mean(dim=0), dim=-1),
            net.widened(depth),
            net.flash_response_head(features),
        )

    def _attention(self, frames: Tensor) -> Tensor:
        """A with the frames last, h×w×N."""
        gate = self.network.attention_gate
        values = _expectation(gate.unet(gate.stem(frames)), self.attention_values)
        return torch.softmax(values.permute(1, 2, 0), dim=-1)

    def _fuse(self, attention: Tensor, frame_depth: Tensor) -> Tensor:
        """h×w×N and N×h×w → 1×h×w."""
        return (attention * frame_depth.permute(1, 2, 0)).sum(dim=-1).unsqueeze(0)


def _stacked(frames: Tensor) -> Tensor:
    """N×3×h×w → 1×3N×h×w."""
    return frames.reshape(1, -1, *frames.shape[2:])


def _expectation(logits: Tensor, values: Tensor) -> Tensor:
    """N×K×h×w logits over bins that stand for K values → N×h×w."""
    return (torch.softmax(logits.permute(0, 2, 3, 1), dim=-1) * values).sum(dim=-1)
