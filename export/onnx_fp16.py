"""ONNX fp32 → fp16 inside, float32 at its inputs and outputs, so that callers need not know the precision.

Through onnxruntime's own converter: that of onnxconverter_common gave a file that does not load (EXPORT.md). A value
above 65,504 is infinite in fp16; gate 4 therefore also asks that no activation of the fp32 graph comes within a factor
of ten of that. Two parts stay float32: the stem, as the small differences of light that the network looks for are
rounded there first (with it in fp16, flash response and score missed gate 4's 60 dB), and all from the depth bins on.
Further layers follow from the calibration captures.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import onnx.numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from export.converted import CalibrationSet, Converted, FloatArray
from export.onnx import OPSET
from export.onnx_layers import LAYERS, layer_name
from export.parity import NO_MATCH, Gate, Outputs, at_most, run_onnx
from export.precision_gates import LIMITS
from export.sensitivity import MARGIN, float_layers, layer_snr_db, used_share
from sdk_reference.manifest import INPUT_NAME
from sdk_reference.runtime import open_session

PATH: Final = "models/atr-fas.fp16.onnx"
FLOAT32_OPERATIONS: Final = ("Softmax",)
"""ONNX Runtime 1.15 takes a softmax in fp16 apart, wrongly, and then refuses the file."""
STEM: Final = "network.stem."
"""What the names of the stem's weights begin with."""
MAX_ACTIVATION: Final = 6_550.0
"""A tenth of the largest fp16 number."""


def export_fp16(fp32: bytes, runs_on: str, calibration: CalibrationSet) -> Converted:
    """Convert the bytes of `export_onnx`; the result is yet to be compared with PyTorch.

    Layers whose rounding shows on the calibration captures stay float32 as well; without captures none do.
    """
    source = onnx.load_model_from_string(fp32)
    always = {*_stem(source.graph), *_from_depth_bins(source.graph)}
    layers = {layer_name(node): node.name for node in source.graph.node if node.op_type in LAYERS}
    body = [layer for layer, node in layers.items() if node not in always]
    kept = _float_layers(source, fp32, {layer: layers[layer] for layer in body}, always, calibration)
    content = _in_fp16(source, always | {layers[layer] for layer in kept})
    in_float = tuple(layer for layer, node in layers.items() if node in always or layer in kept)
    return Converted(PATH, "onnx", "fp16", {PATH: content}, runs_on, opset=OPSET, float_layers=in_float)


def _float_layers(
    source: onnx.ModelProto,
    fp32: bytes,
    body: Mapping[str, str],
    always: Collection[str],
    calibration: CalibrationSet,
) -> tuple[str, ...]:
    """Which of the layers of `body`, nodes by layer, must stay float32 besides the nodes of `always`."""
    if not calibration.inputs:
        return ()

    def outputs(model: bytes) -> list[Outputs]:
        session = open_session(model, threads=1)
        return [run_onnx(session, x) for x in calibration.inputs]

    def with_fp16(layers: Collection[str]) -> list[Outputs]:
        return outputs(_in_fp16(source, {*always, *(node for layer, node in body.items() if layer not in layers)}))

    references = outputs(fp32)
    snr = {layer: layer_snr_db(references, with_fp16([layer])) for layer in body}
    return float_layers(
        snr, lambda layers: used_share(LIMITS["fp16"], references, with_fp16(layers)) <= MARGIN, min_snr_db=-math.inf
    )


def _in_fp16(source: onnx.ModelProto, kept: Collection[str]) -> bytes:
    """The model in fp16 but for the nodes of `kept`."""
    blocked = [*DEFAULT_OP_BLOCK_LIST, *FLOAT32_OPERATIONS]
    original = onnx.ModelProto()
    original.CopyFrom(source)  # the converter changes what it is given
    model = convert_float_to_float16(original, keep_io_types=True, op_block_list=blocked, node_block_list=sorted(kept))
    _fold_casts_of_constants(model.graph)
    OnnxModel.graph_topological_sort(model.graph)  # the converter appends the casts of the inputs at the end
    return bytes(model.SerializeToString(deterministic=True))


def activation_gate(fp32: bytes, inputs: Sequence[FloatArray]) -> Gate:
    """The part of gate 4 that looks inside: the largest activation of the fp32 graph over captures."""
    return at_most("largest activation", largest_activation(fp32, inputs), MAX_ACTIVATION)


def largest_activation(fp32: bytes, inputs: Sequence[FloatArray]) -> float:
    """The largest magnitude of any tensor between operations, over captures N×3×S×S; NO_MATCH if one is not finite."""
    session = open_session(_with_all_outputs(fp32), threads=1)
    return max(_magnitude(value) for x in inputs for value in session.run(None, {INPUT_NAME: x}))


def _stem(graph: onnx.GraphProto) -> list[str]:
    """The convolutions of the network's stem."""
    return [node.name for node in graph.node if any(name.startswith(STEM) for name in node.input)]


def _from_depth_bins(graph: onnx.GraphProto) -> list[str]:
    """The softmax over depth bins and all that follows from it."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers["depth"]
    while node.op_type != "Softmax":
        node = producers[node.input[0]]
    return [node.name, *_behind(graph, node.output[0])]


def _behind(graph: onnx.GraphProto, tensor: str) -> list[str]:
    """The nodes that a tensor has an influence on."""
    influenced, nodes = {tensor}, []
    for node in graph.node:
        if influenced & set(node.input):
            influenced |= set(node.output)
            nodes.append(node.name)
    return nodes


def _fold_casts_of_constants(graph: onnx.GraphProto) -> None:
    """Turn constants that the converter casts back to float32 as the file runs into float32 constants.

    They are the scales of Resize; behind a cast no reader can work out the shapes.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for cast in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in constants]:
        values = onnx.numpy_helper.to_array(constants[cast.input[0]]).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(values, cast.output[0]))
        graph.node.remove(cast)
    used = {name for node in graph.node for name in node.input}
    for tensor in constants.values():
        if tensor.name not in used:
            graph.initializer.remove(tensor)


def _magnitude(values: FloatArray) -> float:
    return float(np.abs(values).max()) if np.isfinite(values).all() else NO_MATCH


def _with_all_outputs(model: bytes) -> bytes:
    """The model with every float tensor that an operation computes among its outputs."""
    proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), strict_mode=True)
    proto.graph.output.extend(_hidden_floats(proto.graph))
    return bytes(proto.SerializeToString())


def _hidden_floats(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    shown = {value.name for value in graph.output}
    for value in graph.value_info:
        if value.name not in shown and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            yield value
