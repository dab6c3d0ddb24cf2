"""The mobile network made so small that a test trains it in seconds."""

from __future__ import annotations

from dataclasses import replace

from training.network import MOBILE

TINY = replace(
    MOBILE,
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
