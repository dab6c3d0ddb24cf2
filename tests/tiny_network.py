"""The presets made so small that a test trains them in seconds, and networks whose answers can be told apart."""

from __future__ import annotations

from dataclasses import replace

import torch

from training.network import ATRFAS, MOBILE, PAPER, NetworkSettings


def tiny(settings: NetworkSettings) -> NetworkSettings:
    """A preset's form at the smallest sizes."""
    return replace(
        settings,
        input_size=32,
        depth_bins=8,
        stem_widths=(4, 4),
        expert_input_width=4,
        expert_encoder_widths=(4, 4),
        expert_decoder_widths=(4,),
        type_gate_widths=(4, 4, 4),
        type_gate_hidden=4,
        attention_stem_widths=(4, 4),
        attention_input_width=4,
        attention_encoder_widths=(4, 4),
        attention_decoder_widths=(4,),
        attention_bins=4,
        response_width=4,
        response_hidden=4,
    )


TINY = tiny(MOBILE)
TINY_PAPER = tiny(PAPER)
"""Late fusion, inverted residual blocks, joined skips and kernels of 7, as in `paper`."""


def awakened(settings: NetworkSettings, seed: int) -> ATRFAS:
    """A network with a score, types and a depth that depend visibly on the input."""
    torch.manual_seed(seed)
    network = ATRFAS(settings)
    for layer in (network.classification_head.linear, network.type_gate.linear[2]):
        torch.nn.init.normal_(layer.weight, 0, 1)  # type: ignore[arg-type]
    torch.nn.init.normal_(network.position_embedding.embedding, 0, 0.5)
    return network.eval()
