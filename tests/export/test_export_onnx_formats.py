"""fp32, fp16 and int8 come out of one call, in the agreed form, and the control that must fail does fail."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from tiny_network import TINY

from export.converted import CalibrationSet
from export.formats import left_out
from export.onnx_formats import IR_VERSION, convert_control, convert_fp32, convert_onnx
from export.onnx_fp16 import largest_activation
from export.onnx_int8 import CARRIERS, QuantizableGraph, export_int8, quantize
from export.onnx_layers import LAYERS
from export.parity import NO_MATCH, run_network, run_onnx
from export.precision_gates import MAX_ACTIVATION, activation_gate, precision_gates
from export.sensitivity import share_of
from sdk_reference.manifest import INPUT_NAME
from sdk_reference.runtime import OnnxBackend, open_session
from training.network import ATRFAS

SHAPE = (6, 3, 32, 32)
PRECISIONS = ("fp32", "fp16", "int8_static")


@pytest.fixture(scope="module")
def network():
    """A tiny network whose depth, score and types depend visibly on the input."""
    torch.manual_seed(3)
    network = ATRFAS(replace(TINY, depth_bins=32)).eval()
    for layer in (network.classification_head.linear, network.type_gate.linear[2]):
        torch.nn.init.normal_(layer.weight, 0, 1)
    for decoder in network.experts.decoders:
        torch.nn.init.normal_(decoder.output.weight, 0, 2)
    return network


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    scales = (0.2, 0.4, 0.6)
    return CalibrationSet(0, [np.clip(rng.normal(0, s, SHAPE), -1, 1).astype(np.float32) for s in scales])


@pytest.fixture(scope="module")
def artifacts(network, calibration):
    return {converted.precision: converted for converted in convert_onnx(network, calibration)}


def graph(converted):
    return onnx.load_model_from_string(converted.files[converted.path]).graph


def gates(converted, network, inputs):
    session = open_session(converted.files[converted.path], threads=1)
    return precision_gates(converted, [run_network(network, x) for x in inputs], [run_onnx(session, x) for x in inputs])


def test_the_three_precisions_come_in_order_under_their_paths(artifacts):
    assert tuple(artifacts) == PRECISIONS
    paths = [converted.path for converted in artifacts.values()]
    assert paths == [f"models/atr-fas.{name}.onnx" for name in ("fp32", "fp16", "int8")]
    assert all(list(converted.files) == [converted.path] for converted in artifacts.values())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_is_opset_18_of_the_standard_set_in_the_oldest_file_version_that_has_it(artifacts, precision):
    converted = artifacts[precision]
    proto = onnx.load_model_from_string(converted.files[converted.path])
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", converted.opset)] == [("", 18)]
    assert proto.ir_version == IR_VERSION == 8
    assert not any(tensor.external_data for tensor in proto.graph.initializer)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_passes_the_gates_of_its_precision_and_the_runtime_takes_it(artifacts, network, calibration, precision):
    assert [gate for gate in gates(artifacts[precision], network, calibration.inputs) if not gate.ok] == []
    backend = OnnxBackend(artifacts[precision].files[artifacts[precision].path])
    assert 0 < backend.run(calibration.inputs[0]).score < 1


def test_fp16_holds_its_weights_in_fp16_and_is_float32_to_its_callers(artifacts):
    inner = graph(artifacts["fp16"])
    halves = [tensor for tensor in inner.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    weights = {node.input[1] for node in inner.node if node.op_type in ("Conv", "Gemm")}
    widened = {node.output[0] for node in inner.node if node.op_type == "Cast"}
    assert {tensor.name.removesuffix(".half") for tensor in halves} == widened < weights | {""}
    in_float = {name.removeprefix("network.").removesuffix(".weight") for name in weights - widened}
    assert in_float == set(artifacts["fp16"].float_layers) and len(widened) > len(weights) / 2
    types = {value.type.tensor_type.elem_type for value in (*inner.input, *inner.output)}
    assert types == {onnx.TensorProto.FLOAT}


def test_int8_computes_its_layers_in_int8_and_nothing_behind_the_depth_bins(artifacts):
    """Read off the file: a layer is int8 where both its weight and its input come out of DequantizeLinear."""
    converted = artifacts["int8_static"]
    producers = {name: node for node in graph(converted).node for name in node.output}
    layers = [node for node in graph(converted).node if node.op_type in ("Conv", "Gemm")]

    def is_int8(node):
        return all(name in producers and producers[name].op_type == "DequantizeLinear" for name in node.input[:2])

    in_float = {node.input[1].removeprefix("network.").removesuffix(".weight") for node in layers if not is_int8(node)}
    assert in_float == set(converted.float_layers) != set()
    assert sum(map(is_int8, layers)) == len(layers) - len(converted.float_layers) > 0
    assert {name for name in in_float if name.startswith("classification_head")} == {
        *(f"classification_head.convolutions.{place}" for place in ("0.0", "1.0", "2")),
        "classification_head.linear",
    }
    for softmax in (node for node in graph(converted).node if node.op_type == "Softmax"):
        assert not {"QuantizeLinear"} & {n.op_type for n in graph(converted).node if softmax.output[0] in n.input}


def test_int8_weights_have_a_scale_per_channel_and_activations_are_unsigned(artifacts):
    inner = graph(artifacts["int8_static"])
    constants = {tensor.name: tensor for tensor in inner.initializer}
    dequantized = [node for node in inner.node if node.op_type == "DequantizeLinear"]
    weights = [n for n in dequantized if n.input[0] in constants and len(constants[n.input[0]].dims) == 4]
    assert weights
    assert all(constants[n.input[0]].data_type == onnx.TensorProto.INT8 for n in weights)
    assert all(tuple(constants[n.input[1]].dims) == (constants[n.input[0]].dims[0],) for n in weights)
    activations = [constants[node.input[2]] for node in inner.node if node.op_type == "QuantizeLinear"]
    assert {tensor.data_type for tensor in activations} == {onnx.TensorProto.UINT8}


def test_a_model_is_quantized_as_onnx_runtime_does_it_in_one_go(network, calibration):
    """Whatever was quantized with the same ranges before."""
    fp32 = convert_fp32(network).files["models/atr-fas.fp32.onnx"]
    graph = QuantizableGraph(fp32, calibration)
    layers = [layer for layer in graph.layers if layer not in graph.tail]
    quantize(graph, layers[:1])
    found = onnx.load_model_from_string(quantize(graph, layers))

    class Reader(CalibrationDataReader):
        inputs = iter(calibration.inputs)

        def get_next(self):
            model_input = next(self.inputs, None)
            return None if model_input is None else {INPUT_NAME: model_input}

    with TemporaryDirectory() as folder:
        path = Path(folder) / "expected.onnx"
        quantize_static(
            onnx.load_model_from_string(fp32), path, Reader(), per_channel=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, nodes_to_quantize=graph.int8_nodes(layers),
            op_types_to_quantize=[*LAYERS, *CARRIERS],
        )  # fmt: skip
        expected = onnx.load(path)
    assert found.graph == expected.graph


def test_carriers_follow_their_inputs(network, calibration):
    quantizable = QuantizableGraph(convert_fp32(network).files["models/atr-fas.fp32.onnx"], calibration)
    kinds = {node.name: node.op_type for node in quantizable.proto.graph.node}
    first, *_ = quantizable.layers
    alone = {kinds[name] for name in quantizable.int8_nodes([first])}
    body = [layer for layer in quantizable.layers if layer not in quantizable.tail]
    together = {kinds[name] for name in quantizable.int8_nodes(body)}
    assert alone == {"Conv", "Relu"}
    assert {"Conv", "MaxPool", "Resize"} <= together
    assert not {"Softmax", "Mul", "ReduceSum", "Div"} & together


def test_everything_in_int8_fails_the_gates_where_the_type_decides_between_experts(network, calibration):
    """As in a trained network; the tiny one as drawn is too indifferent, and its control is within the gates."""
    decided = deepcopy(network)
    decided.type_gate.linear[2].weight.data *= 8
    control = convert_control(decided, convert_fp32(decided), calibration)
    worst = max(gates(control, decided, calibration.inputs), key=share_of)
    assert not worst.ok
    assert share_of(worst) > 1


def test_equal_weights_and_captures_give_equal_bytes(artifacts, network, calibration):
    again = {converted.precision: converted for converted in convert_onnx(network, calibration)}
    assert {p: again[p].files for p in again} == {p: artifacts[p].files for p in artifacts}


def test_a_network_of_which_no_layer_can_be_int8_has_no_int8_file(network, calibration, monkeypatch):
    monkeypatch.setattr("export.sensitivity.used_share", lambda *what: 9.0)
    assert export_int8(network, convert_fp32(network).files["models/atr-fas.fp32.onnx"], "any", calibration) is None
    assert [converted.precision for converted in convert_onnx(network, calibration)] == ["fp32", "fp16"]
    made = convert_onnx(network, calibration, ("fp32", "int8_static"))
    assert left_out(("onnx",), ("fp32", "int8_static"), made) == (("onnx", "int8_static"),)
    assert left_out(("onnx",), ("fp32",), made) == ()


def test_the_largest_activation_is_no_less_than_what_hooks_see_in_the_training_network(network, calibration):
    """The graph has these tensors and more; normalisations are folded into the convolutions before them."""
    seen = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output: seen.append(float(output.abs().max())))
        for module in network.modules()
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Linear | torch.nn.ReLU)
    ]
    for x in calibration.inputs:
        run_network(network, x)
    for handle in handles:
        handle.remove()
    model = convert_fp32(network).files["models/atr-fas.fp32.onnx"]
    assert largest_activation(model, calibration.inputs) >= max(seen) * (1 - 1e-5)
    assert activation_gate(largest_activation(model, calibration.inputs)).ok


def test_an_activation_that_fp16_cannot_hold_misses_its_gate(network, calibration):
    model = onnx.load_model_from_string(convert_fp32(network).files["models/atr-fas.fp32.onnx"])
    name = next(node.input[1] for node in model.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = onnx.numpy_helper.to_array(weight).copy()
    for value in (20 * MAX_ACTIVATION, np.nan):
        values.flat[0] = value
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        gate = activation_gate(largest_activation(model.SerializeToString(), calibration.inputs))
        assert not gate.ok
        assert gate.value > 1.5 * MAX_ACTIVATION
    assert gate.value == NO_MATCH
