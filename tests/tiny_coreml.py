"""A tiny random network and its Core ML packages, converted once for all tests of a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from unittest import mock

import torch
from tiny_network import TINY

from export import coreml
from export.converted import CalibrationSet, Converted, FloatArray
from training.network import ATRFAS

SETTINGS = replace(TINY, joint_widths=(4, 4, 8))
SHAPE = (6, 3, 32, 32)
QUANTIZED_FROM = 100
"""Elements that a weight has at least for 8 bits to be worth it: so few that this network has some."""


@cache
def tiny_network() -> ATRFAS:
    torch.manual_seed(4)
    return ATRFAS(SETTINGS).eval()


def convert(network: ATRFAS, inputs: Sequence[FloatArray] = ()) -> list[Converted]:
    """With `inputs` as the captures to calibrate on."""
    with mock.patch.object(coreml, "MIN_QUANTIZED_ELEMENTS", QUANTIZED_FROM):
        return coreml.convert_coreml(network, CalibrationSet(0, tuple(inputs)))


@cache
def tiny_packages() -> dict[str, Converted]:
    """By precision."""
    return {converted.precision: converted for converted in convert(tiny_network())}
