"""ONNX fp32 → static int8 with a float tail, as QDQ pairs: uint8 activations, int8 weights per channel.

EXPORT.md says why the tail is float: a softmax quantized to 256 levels ruins the depth. Here every softmax, every
expectation and everything behind the depth map stays float, because only convolutions, linear layers and what carries
their values (pooling, resizing, sums, joins) are ever quantized; `export.sensitivity` then takes out of int8 what the
gates do not bear. `everything_int8` is the control that must fail: it quantizes all that ONNX Runtime can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import save_and_reload_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from export.converted import CalibrationSet, Converted, FloatArray
from export.onnx import OPSET
from export.onnx_layers import LAYERS, layer_name
from export.parity import Outputs, run_network, run_onnx
from export.precision_gates import LIMITS
from export.sensitivity import Trials, float_layers, layer_snr_db, within_margin
from sdk_reference.manifest import INPUT_NAME
from sdk_reference.runtime import open_session
from training.network import ATRFAS

PATH: Final = "models/atr-fas.int8.onnx"
CARRIERS: Final = ("MaxPool", "Resize", "Add", "Concat")
"""Operations that are int8 where all their inputs are: going back to float between two layers costs more than it saves.
"""
REPEATING: Final = ("Resize", "Reshape", "Squeeze", "Unsqueeze", "Identity")
"""Operations that give the values they are given."""
CONTROL_PATH: Final = "models/everything.int8.onnx"
CONTROL_OPTIONS: Final = {"ForceQuantizeNoInputCheck": True}
EVERY_KIND: Final = tuple(sorted({*QLinearOpsRegistry, *QDQRegistry}))
"""All that ONNX Runtime can quantize."""


def export_int8(network: ATRFAS, fp32: bytes, runs_on: str, calibration: CalibrationSet) -> Converted | None:
    """Convert the bytes of `export_onnx`; None where not one layer may be int8: such a file would be int8 in name only.

    The gates hold with a margin on the calibration captures; on others they are yet to be proved.
    """
    graph = QuantizableGraph(fp32, calibration)
    references = [run_network(network, x) for x in calibration.inputs]
    kept = _float_layers(graph, references, calibration)
    if set(kept) == set(graph.layers):
        return None
    return Converted(
        path=PATH,
        format="onnx",
        precision="int8_static",
        files={PATH: quantize(graph, set(graph.layers) - set(kept))},
        runs_on=runs_on,
        opset=OPSET,
        float_layers=kept,
        calibration=calibration,
    )


def everything_int8(fp32: bytes, runs_on: str, calibration: CalibrationSet) -> Converted:
    """The negative control: all that ONNX Runtime can quantize, softmax, expectation and tail included.

    Gate 7 wants it to fail the gates of int8_static. It never goes into a bundle.
    """
    model = _Quantizer(fp32, EVERY_KIND, calibration).quantized([], CONTROL_OPTIONS)
    return Converted(
        path=CONTROL_PATH,
        format="onnx",
        precision="int8_static",
        files={CONTROL_PATH: model},
        runs_on=runs_on,
        opset=OPSET,
        calibration=calibration,
    )


class QuantizableGraph:
    """An fp32 model and what of it may become int8. Layers go by the names of the network's modules."""

    def __init__(self, model: bytes, calibration: CalibrationSet) -> None:
        self.proto = onnx.load_model_from_string(model)
        self.quantizer = _Quantizer(model, (*LAYERS, *CARRIERS), calibration)
        self.layers: Mapping[str, str] = {
            layer_name(node): node.name for node in self.proto.graph.node if node.op_type in LAYERS
        }
        """Node by layer, in the order they are computed."""

    @cached_property
    def tail(self) -> frozenset[str]:
        """Layers that see the depth map: they always stay float."""
        behind, layers = {_unwidened(self.proto, "depth")}, set()
        for node in self.proto.graph.node:
            if behind & set(node.input):
                behind |= set(node.output)
                layers |= {layer_name(node)} if node.op_type in LAYERS else set()
        return frozenset(layers)

    def int8_nodes(self, layers: Collection[str]) -> list[str]:
        """The nodes to quantize so that `layers` are int8: theirs, and the carriers all of whose inputs are int8."""
        names = {self.layers[layer] for layer in layers}
        constants = {tensor.name for tensor in self.proto.graph.initializer}
        int8_tensors: set[str] = set()
        chosen: list[str] = []
        for node in self.proto.graph.node:
            inputs = {name for name in node.input if name} - constants
            carried = node.op_type in (*CARRIERS, "Relu") and inputs <= int8_tensors
            if node.name in names or carried:
                int8_tensors |= set(node.output)
                chosen.append(node.name)
        return chosen


def _unwidened(model: onnx.ModelProto, output: str) -> str:
    """The tensor whose values an output repeats or lays out anew: what the network itself goes on with."""
    makers = {name: node for node in model.graph.node for name in node.output}
    name = output
    while name in makers and makers[name].op_type in REPEATING:
        name = makers[name].input[0]
    return name


def quantize(graph: QuantizableGraph, layers: Collection[str]) -> bytes:
    """The model with just these layers in int8."""
    return graph.quantizer.quantized(graph.int8_nodes(layers), {})


def _float_layers(
    graph: QuantizableGraph, references: Sequence[Outputs], calibration: CalibrationSet
) -> tuple[str, ...]:
    def opened(layers: Collection[str]) -> Callable[[FloatArray], Outputs]:
        return partial(run_onnx, open_session(quantize(graph, layers), threads=1))

    def holds(layers: frozenset[str]) -> bool:
        return trials.hold(opened(layers), within_margin(LIMITS["int8_static"]))

    trials = Trials(calibration.inputs, references)
    body = [layer for layer in graph.layers if layer not in graph.tail]
    snr = {layer: layer_snr_db(references, list(map(opened([layer]), calibration.inputs))) for layer in body}
    kept = {*float_layers(snr, holds), *graph.tail}
    return tuple(layer for layer in graph.layers if layer in kept)


class _Quantizer:
    """ONNX Runtime's quantizer for one model, as `quantize_static` uses it, but with the ranges measured once.

    They are those of the float model, whatever is quantized of it. The form of a result is judged by `onnx_formats`.
    """

    def __init__(self, model: bytes, kinds: Sequence[str], calibration: CalibrationSet) -> None:
        """`kinds` are the operations that may be quantized, whose inputs and outputs are measured."""
        self._kinds = list(kinds)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(model)
            self._model = save_and_reload_model_with_shape_infer(onnx.load_model_from_string(model))
            calibrator = create_calibrator(path, self._kinds, str(Path(folder) / "augmented.onnx"))
            calibrator.collect_data(_Reader(calibration.inputs))
            self._ranges: TensorsData = calibrator.compute_data()

    def quantized(self, nodes: list[str], options: dict[str, Any]) -> bytes:
        """The model with these nodes in int8, or with every node of the kinds where none is named."""
        with _without_advice():
            quantizer = QDQQuantizer(
                model=deepcopy(self._model),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=deepcopy(self._ranges),  # it moves them across activations that it folds away
                nodes_to_quantize=nodes,
                nodes_to_exclude=[],
                op_types_to_quantize=self._kinds,
                extra_options=options,
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        return bytes(quantizer.model.model.SerializeToString())


class _Reader(CalibrationDataReader):
    """The calibration captures in the form that ONNX Runtime asks for."""

    def __init__(self, inputs: Sequence[FloatArray]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        """The next capture by input name; None after the last."""
        model_input = next(self._inputs, None)
        return None if model_input is None else {INPUT_NAME: model_input}


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the quantizer's advice to optimise the graph first: the exporter has folded all there is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
