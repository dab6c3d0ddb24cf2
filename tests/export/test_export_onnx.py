"""The ONNX file has the agreed form, and each deviation from it is noticed."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from export.deploy import DeployNetwork
from export.onnx import OPSET, export_onnx, structure_gates
from training.network import ATRFAS, MOBILE

SETTINGS = replace(MOBILE, n0=4, input_size=64)
FUSIONS = {
    "early": SETTINGS,
    "late": replace(SETTINGS, fusion="late", joint_widths=(), joint_detail=1, shared_encoder=False),
}
SHAPE = (4, 3, 64, 64)
MOVES = ("Transpose", "Unsqueeze", "Reshape")
"""Operations that leave values as they are."""


@pytest.fixture(scope="module", params=FUSIONS)
def network(request):
    torch.manual_seed(2)
    return ATRFAS(FUSIONS[request.param]).eval()


@pytest.fixture(scope="module")
def model(network):
    return export_onnx(network)


def missed(model):
    return {gate.name for gate in structure_gates(model, SHAPE) if not gate.ok}


def test_the_file_is_self_contained_opset_18_with_the_agreed_tensors(model):
    proto = onnx.load_model_from_string(model)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", OPSET)] == [("", 18)]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [("differential", list(SHAPE), "tensor(float)")]
    assert [(o.name, o.shape, o.type) for o in session.get_outputs()] == [
        ("score", [1], "tensor(float)"),
        ("type", [3], "tensor(float)"),
        ("depth", [1, 16, 16], "tensor(float)"),
        ("flash_response", [4, 3], "tensor(float)"),
    ]
    assert missed(model) == set()


def test_onnx_runtime_computes_what_the_shipping_network_computes(model, network):
    x = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for a, b in zip(session.run(None, {"differential": x}), DeployNetwork(network)(torch.from_numpy(x)), strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-5


def test_the_expectation_over_bins_is_not_a_convolution(model):
    """Quantizers go by operation type and would take it for one."""
    graph = onnx.load_model_from_string(model).graph
    convolutions = {o for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul") for o in node.output}
    sums = [node for node in graph.node if node.op_type == "ReduceSum"]
    products = {node.output[0]: node for node in graph.node if node.op_type == "Mul"}
    softmaxes = {o for node in graph.node if node.op_type == "Softmax" for o in node.output}
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type in MOVES}

    def source(name):
        while name in before:
            name = before[name]
        return name

    expectations = [
        s for s in sums if s.input[0] in products and set(map(source, products[s.input[0]].input)) & softmaxes
    ]
    assert len(expectations) == 3  # depth, attention, and the fusion over frames: of depths, or of features
    assert not softmaxes & {i for node in graph.node if node.op_type == "Conv" for i in node.input}
    assert convolutions


def test_the_file_tells_nothing_about_the_machine_it_was_made_on(model):
    for text in (b".py", b"site-packages", b"/home", b"/work", b"/usr"):
        assert text not in model


def test_equal_weights_give_equal_bytes(model, network):
    assert export_onnx(network) == model


def set_opset(proto):
    proto.opset_import[0].version = 17


def add_domain(proto):
    proto.opset_import.append(helper.make_opsetid("com.example", 1))


def rename_output(proto):
    for node in proto.graph.node:
        node.output[:] = ["probability" if name == "score" else name for name in node.output]
    proto.graph.output[0].name = "probability"


def free_dimension(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "frames"


def fifth_axis(proto):
    proto.graph.initializer.append(helper.make_tensor("five", TensorProto.FLOAT, [1] * 5, [0.0]))


def outside_weights(proto):
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        (set_opset, "opset"),
        (add_domain, "operations outside the standard set"),
        (rename_output, "inputs and outputs other than agreed"),
        (free_dimension, "tensors of unknown or dynamic shape"),
        (fifth_axis, "largest rank"),
        (outside_weights, "tensors outside the file"),
    ],
)
def test_each_deviation_is_noticed(model, change, gate):
    proto = onnx.load_model_from_string(model)
    change(proto)
    assert gate in missed(proto)


def test_a_graph_that_is_not_valid_is_noticed(model):
    proto = onnx.load_model_from_string(model)
    next(node for node in proto.graph.node if node.op_type == "Conv").input[0] = "nowhere"
    assert "onnx.checker: errors" in missed(proto)
