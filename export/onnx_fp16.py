"""ONNX fp32 → weights in fp16, widened again when the file is loaded and computed with in float32.

Half the size, and the same code runs it everywhere. With fp16 between the layers as well, through onnxruntime's own
converter, this network misses gate 4: rounding the features once, anywhere, moves a doubtful score by up to 1.4e-3
(1e-3 is allowed), whichever layers are spared; docs/log.md has the figures. Weights that show even so stay float32.

Gate 4 also asks that no activation of the fp32 graph comes within a factor of ten of fp16's end, for the runtimes that
do compute in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import onnx
import onnx.numpy_helper
from onnx import TensorProto, helper

from export.converted import CalibrationSet, Converted, FloatArray
from export.onnx import OPSET
from export.onnx_layers import LAYERS, layer_name
from export.parity import NO_MATCH, Outputs, run_onnx
from export.precision_gates import LIMITS
from export.sensitivity import Trials, float_layers, layer_snr_db, within_margin
from sdk_reference.manifest import INPUT_NAME
from sdk_reference.runtime import open_session

PATH: Final = "models/atr-fas.fp16.onnx"


def export_fp16(fp32: bytes, runs_on: str, calibration: CalibrationSet) -> Converted:
    """Convert the bytes of `export_onnx`; the result is yet to be compared with PyTorch.

    Layers whose rounding shows on the calibration captures keep their weights in float32; without captures none do.
    """
    source = onnx.load_model_from_string(fp32)
    weights = {layer_name(node): str(node.input[1]) for node in source.graph.node if node.op_type in LAYERS}
    kept = _float_layers(source, fp32, weights, calibration)
    halved = [weight for layer, weight in weights.items() if layer not in kept]
    return Converted(PATH, "onnx", "fp16", {PATH: _halved(source, halved)}, runs_on, opset=OPSET, float_layers=kept)


def _float_layers(
    source: onnx.ModelProto, fp32: bytes, weights: Mapping[str, str], calibration: CalibrationSet
) -> tuple[str, ...]:
    """Which layers keep their weights in float32; `weights` names the tensor of each."""
    if not calibration.inputs:
        return ()

    def opened(model: bytes) -> Callable[[FloatArray], Outputs]:
        return partial(run_onnx, open_session(model, threads=1))

    def with_half(layers: Collection[str]) -> Callable[[FloatArray], Outputs]:
        return opened(_halved(source, [weights[layer] for layer in layers]))

    def holds(layers: frozenset[str]) -> bool:
        return trials.hold(with_half(layers), within_margin(LIMITS["fp16"]))

    references = list(map(opened(fp32), calibration.inputs))
    trials = Trials(calibration.inputs, references)
    if holds(frozenset(weights)):
        return ()
    snr = {layer: layer_snr_db(references, list(map(with_half([layer]), calibration.inputs))) for layer in weights}
    return float_layers(snr, holds, min_snr_db=-math.inf)


def _halved(source: onnx.ModelProto, weights: Collection[str]) -> bytes:
    """The model with these weights in fp16, each behind a cast that runtimes fold away when they load the file."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.widened", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString(deterministic=True))


def largest_activation(fp32: bytes, inputs: Sequence[FloatArray]) -> float:
    """The largest magnitude of any tensor between operations, over captures N×3×S×S; NO_MATCH if one is not finite."""
    session = open_session(_with_all_outputs(fp32), threads=1)
    return max(_magnitude(value) for x in inputs for value in session.run(None, {INPUT_NAME: x}))


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
