"""The layers of an exported ONNX graph: operations with weights, by the names of the network's modules."""

from __future__ import annotations

from typing import Final

import onnx

LAYERS: Final = ("Conv", "Gemm")
"""Operations with weights."""


def layer_name(node: onnx.NodeProto) -> str:
    """The path of the layer's module in the training network, from the name of its weight."""
    return str(node.input[1]).removeprefix("network.").removesuffix(".weight")
