"""What one capture costs: floating-point operations of the network, counted by torch, not estimated.

`torch.utils.flop_counter` counts convolutions and matrix products, nearly all of the work, as two operations per
multiply-accumulate: GFLOP = 2 × GMAC, the convention of the paper. Counted on shapes alone, so that it takes no time.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.network import ATRFAS


def gflop_per_capture(network: ATRFAS) -> float:
    """Return 10⁹ floating-point operations for one capture, of convolutions and matrix products."""
    settings = network.settings
    shapes = deepcopy(network).to("meta").eval()
    capture = torch.zeros(1, settings.n_frames, 3, settings.input_size, settings.input_size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(capture)
    return float(counter.get_total_flops()) / 1e9
