"""What a model file costs, counted from its ONNX graph: parameters and floating-point operations of one capture.

`export.cost` counts the same of a network that still is a network; a bundle holds only files. As there, convolutions
and matrix products count, nearly all of the work, as two operations per multiply-accumulate: GFLOP = 2 × GMAC, the
convention of the paper. Batch norms are folded into convolutions by the time they are in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import onnx

from sdk_reference.errors import ModelFailed

LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operations that count."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Of one model, whatever the format and precision it is stored in."""

    parameters: int
    """Numbers that the file stores as float tensors: all that was learned, and a few dozen constants."""

    gflop: float
    """10⁹ floating-point operations for one capture, of convolutions and matrix products."""


def cost_of_onnx(model: bytes) -> Cost:
    """Count parameters and operations of a float ONNX file with fixed shapes; raises ModelFailed for any other."""
    try:
        graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), strict_mode=True).graph
        if not graph.node:  # an empty file parses
            raise ValueError("no operations")
        constants = _constants(graph)
        shapes = _shapes(graph) | constants
        layers = [node for node in graph.node if node.op_type in LAYERS]
        stored = [prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
        operations = sum(_operations(node, shapes) for node in layers)
    except Exception as error:  # protobuf and onnx raise a dozen unrelated types
        raise ModelFailed(
            found=f"a graph whose operations cannot be counted ({type(error).__name__}: {error})",
            expected="an ONNX model with fixed shapes",
            remedy="check the bundle with `flashproof verify`",
        ) from error
    return Cost(sum(stored), operations / 1e9)


def _constants(graph: Any) -> dict[str, Shape]:
    """Shape of every stored tensor, by name: initializers, and the values of Constant nodes."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], part.t) for part in node.attribute if part.name == "value")
    return {name: tuple(tensor.dims) for name, tensor in tensors.items()}


def _shapes(graph: Any) -> dict[str, Shape]:
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim) for value in values}


def _operations(node: Any, shapes: Mapping[str, Shape]) -> int:
    """Two for each product that the node adds up."""
    first, second, out = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "Conv":  # weights: channels out, channels in per group, kernel
        return 2 * prod(out) * prod(second[1:])
    if node.op_type == "ConvTranspose":  # weights: channels in, channels out per group, kernel
        return 2 * prod(first) * prod(second[1:])
    transposed = node.op_type == "Gemm" and any(part.name == "transA" and part.i for part in node.attribute)
    return 2 * prod(out) * first[0 if transposed else -1]
