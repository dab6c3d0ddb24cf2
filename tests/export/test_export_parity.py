"""The gates of a converted file hold for an honest one and fall for a changed one."""

import json
import math

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from tiny_network import awakened

from export.converted import Converted
from export.onnx import OPSET, export_onnx
from export.parity import (
    NO_MATCH,
    NO_NOISE_DB,
    Gate,
    ParityError,
    at_least,
    at_most,
    difference,
    odd_inputs,
    require,
    snr_db,
)
from export.proof import References, prove
from training.network import ATRFAS, MOBILE

FILE = "models/a.onnx"


@pytest.fixture(scope="module")
def network():
    """The mobile network with a score, types and a depth that depend visibly on the input."""
    return awakened(MOBILE, seed=1)


@pytest.fixture(scope="module")
def model(network):
    return export_onnx(network)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return [np.clip(rng.normal(0, s, (6, 3, 256, 256)), -1, 1).astype(np.float32) for s in (0.05, 0.3, 0.6)]


@pytest.fixture(scope="module")
def references(network, inputs):
    return References.of(network, inputs, threshold=0.5)


@pytest.fixture
def proved(tmp_path):
    """The gates of an ONNX fp32 file, against what PyTorch says."""

    def gates(model, references):
        artifact = Converted(FILE, "onnx", "fp32", {FILE: model}, "ONNX Runtime", OPSET)
        artifact.write(tmp_path)
        return prove(artifact, tmp_path, references).gates

    return gates


def perturbed(model, name_part, amount):
    """The model with one value of the first weight whose name contains `name_part` changed."""
    proto = onnx.load_model_from_string(model)
    tensor = next(t for t in proto.graph.initializer if name_part in t.name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += amount
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return proto.SerializeToString()


def test_an_exported_file_passes_every_gate(model, references, proved):
    gates = require(proved(model, references), "the file")
    assert len({gate.name for gate in gates}) == len(gates)
    assert {f"{name}: largest difference" for name in ("score", "depth", "type")} < {gate.name for gate in gates}
    json.dumps([gate.to_dict() for gate in gates], allow_nan=False)


@pytest.mark.parametrize(
    ("weight", "amount", "named"),
    [
        ("classification_head.linear.bias", 1e-3, "score"),
        ("type_gate.linear.2.bias", 1e-3, "type|score|depth"),  # the gate mixes the depth, too
        ("experts.decoders.1.output.bias", 0.1, "depth|score"),
        ("flash_response_head.linear.2.bias", 1e-3, "flash_response"),
    ],
)
def test_one_changed_weight_is_named(model, references, proved, weight, amount, named):
    with pytest.raises(ParityError, match=rf"({named}): .*gates missed; expected") as caught:
        require(proved(perturbed(model, weight, amount), references), "the file")
    assert caught.value.exit_status == 5


def test_a_weight_that_is_not_a_number_closes_the_gate(model, references, proved):
    (missed,) = (gate for gate in proved(perturbed(model, "stem", math.nan), references) if not gate.ok)
    assert missed.name == "runs: errors"


def test_the_worst_capture_counts_not_the_mean(model, network, inputs, proved):
    """A file that differs only where the input is strong is caught by one strong capture among many weak ones."""
    changed = perturbed(model, "type_gate.linear.2.bias", 3e-5)

    def largest(*chosen):
        gates = proved(changed, References.of(network, chosen, 0.5))
        return next(gate.value for gate in gates if gate.name == "type: largest difference")

    assert largest(inputs[0]) == largest(*[inputs[0]] * 3) > 0
    assert largest(*inputs) == max(largest(x) for x in inputs)


def test_parity_needs_something_to_compare_on(network):
    with pytest.raises(ValueError, match="no inputs"):
        References.of(network, [], 0.5)


def test_a_network_in_training_mode_is_refused(inputs):
    with pytest.raises(ValueError, match="evaluation mode"):
        References.of(ATRFAS(MOBILE).train(), inputs, 0.5)


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [
        ([1.0, 0.0], [1.0, 0.25], 0.25),
        ([4.0, 0.0], [4.0, 1.0], 0.25),  # relative to the largest value above 1
        ([0.5], [0.5], 0.0),
        ([0.5], [math.nan], NO_MATCH),
        ([math.inf], [math.inf], NO_MATCH),
        ([0.5], [0.5, 0.5], NO_MATCH),
    ],
)
def test_difference_by_hand(reference, found, expected):
    assert difference(np.float32(reference), np.float32(found)) == expected


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [
        ([3.0, 4.0], [3.0, 4.5], 20.0),  # 25 to ¼ is a hundredfold
        ([1.0], [1.0], NO_NOISE_DB),
        ([0.0], [0.0], NO_NOISE_DB),
        ([0.0], [1.0], -NO_NOISE_DB),
        ([1.0], [math.nan], -NO_NOISE_DB),
    ],
)
def test_signal_to_noise_by_hand(reference, found, expected):
    assert snr_db(np.float32(reference), np.float32(found)) == pytest.approx(expected)


def test_odd_inputs_are_what_their_names_say():
    found = odd_inputs((6, 3, 8, 8), np.random.default_rng(0))
    assert set(found) == {"all zero", "saturated high", "saturated low", "identical frames", "noise"}
    for x in found.values():
        assert (x.shape, x.dtype) == ((6, 3, 8, 8), np.float32)
        assert np.abs(x).max() <= 1
    assert (found["identical frames"] == found["identical frames"][:1]).all()
    assert found["identical frames"].std() > 0.1
    assert found["noise"].std(axis=0).min() > 0


@pytest.mark.parametrize("value", [2.0, math.nan, math.inf])
def test_a_gate_does_not_pass_beyond_its_limit_nor_without_a_number(value):
    assert not at_most("a", value, 1.0).ok
    assert not at_least("a", -value, -1.0).ok
    assert at_most("a", 1.0, 1.0).ok
    assert at_least("a", 1.0, 1.0).ok


def test_require_names_the_gate_furthest_out():
    gates = [
        at_most("near", 2e-5, 1e-5),
        at_most("far", 1e-2, 1e-5),
        at_least("noisy", 100.0, 110.0),
        Gate("held", True, 0.0, 1.0),
    ]
    with pytest.raises(ParityError, match=r"a file: far 0\.01, and 3 of 4 gates missed; expected 1e-05"):
        require(gates, "a file")


def test_require_returns_gates_that_hold():
    gates = (at_most("a", 0.0, 1.0),)
    assert require(iter(gates), "a file") == gates
