"""LiteRT files of every precision have the agreed form, and each deviation from it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_quantizer.quantizer import Quantizer
from tiny_network import TINY

from export.converted import CalibrationSet
from export.formats import left_out
from export.litert import PATHS, convert_litert, export_litert
from export.litert_file import (
    FLOAT16,
    INT8,
    convolution_filters,
    op_name,
    read,
    rename,
    restate_versions,
    weighted_layers,
    write,
)
from export.litert_quantize import (
    BITS,
    CONVOLUTIONS,
    MARGIN,
    Quantized,
    _all_but,
    _quantized,
    _smallest_store,
    _store_in_fp16,
    _store_in_int8,
    everything_int8,
    int8_static,
    int8_weights,
    multiplications,
    run_litert,
    used_share,
)
from export.litert_structure import litert_structure_gates
from export.parity import ParityError, run_network
from export.precision_gates import LIMITS, limit_gates, precision_gates
from sdk_reference.errors import ModelFailed
from training.int8_grid import round_to_int8_grid
from training.network import ATRFAS

SHAPE = (6, 3, 32, 32)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return ATRFAS(TINY).eval()


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(5)
    return CalibrationSet(5, [rng.uniform(-1, 1, SHAPE).astype(np.float32) for _ in range(3)])


@pytest.fixture(scope="module")
def artifacts(network, calibration):
    return {converted.precision: converted for converted in convert_litert(network, calibration)}


def content(converted):
    return converted.files[converted.path]


@pytest.fixture(scope="module")
def model(artifacts):
    return content(artifacts["fp32"])


def missed(file: bytes, precision="fp32"):
    return {gate.name for gate in litert_structure_gates(file, SHAPE, precision) if not gate.ok}


def test_every_precision_becomes_one_file_that_holds_the_structure_gates(artifacts):
    assert {precision: converted.path for precision, converted in artifacts.items()} == dict(PATHS)
    for precision, converted in artifacts.items():
        assert (converted.format, converted.opset, set(converted.files)) == ("litert", None, {converted.path})
        assert missed(content(converted), precision) == set()


@pytest.mark.parametrize("precision", PATHS)
def test_a_file_answers_as_the_network_does_within_the_limits_of_its_precision(
    artifacts, network, calibration, precision
):
    references = [run_network(network, x) for x in calibration.inputs]
    found = run_litert(content(artifacts[precision]), calibration.inputs)
    assert [gate for gate in precision_gates(artifacts[precision], references, found) if not gate.ok] == []


def test_narrower_files_are_smaller(artifacts):
    assert artifacts["int8_static"].bytes < artifacts["fp32"].bytes
    assert artifacts["int8_dynamic"].bytes < artifacts["fp32"].bytes
    assert artifacts["fp16"].bytes < artifacts["fp32"].bytes


@pytest.fixture(scope="module")
def on_the_grid(network, calibration):
    """Files of the same network, whose weights training has rounded to what int8 holds."""
    rounded = ATRFAS(TINY).eval()
    rounded.load_state_dict(network.state_dict())
    round_to_int8_grid(rounded)
    chosen = ("fp32", "int8_weights", "int8_dynamic", "int8_static")
    return {converted.precision: converted for converted in convert_litert(rounded, calibration, chosen)}


def test_weights_on_the_grid_lose_nothing_in_int8(on_the_grid, artifacts, calibration):
    exact, narrow, rough = (content(on_the_grid[name]) for name in ("fp32", "int8_weights", "int8_dynamic"))
    references, found, others = (run_litert(file, calibration.inputs) for file in (exact, narrow, rough))
    assert [gate for gate in limit_gates(LIMITS["fp32"], references, found) if not gate.ok] == []
    assert [gate for gate in limit_gates(LIMITS["fp32"], references, others) if not gate.ok] != []
    linear = set(weighted_layers(read(exact))) - set(multiplications(exact))
    assert set(on_the_grid["int8_weights"].float_layers) == linear
    off_grid = run_litert(content(artifacts["fp32"]), calibration.inputs)
    loses = run_litert(content(artifacts["int8_weights"]), calibration.inputs)
    assert [gate for gate in limit_gates(LIMITS["fp32"], off_grid, loses) if not gate.ok] != []


def test_what_is_computed_in_float_is_stored_in_int8_on_the_grid_and_in_fp16_off_it(on_the_grid, artifacts):
    def types(converted):
        return {tensor.type for tensor in read(content(converted)).subgraphs[0].tensors}

    made_up = int8_dynamic_with_a_layer_in_float(content(artifacts["fp32"]))
    assert FLOAT16 in made_up and INT8 in made_up
    made_up = int8_dynamic_with_a_layer_in_float(content(on_the_grid["fp32"]))
    assert FLOAT16 not in made_up and INT8 in made_up
    assert FLOAT16 not in types(on_the_grid["int8_static"])


def test_one_layer_off_the_grid_is_enough_for_fp16(on_the_grid, monkeypatch):
    model = content(on_the_grid["fp32"])
    assert _smallest_store(model) is _store_in_int8
    filters = [*convolution_filters(read(model))]
    monkeypatch.setattr("export.litert_quantize.convolution_filters", lambda _: [*filters[1:], filters[0] * [1.003]])
    assert _smallest_store(model) is _store_in_int8  # a factor for all is none
    off = filters[0].copy()
    off[0, 0] += 0.4 * np.abs(off[0]).max() / 127
    monkeypatch.setattr("export.litert_quantize.convolution_filters", lambda _: [*filters[1:], off])
    assert _smallest_store(model) is _store_in_fp16


def int8_dynamic_with_a_layer_in_float(model: bytes) -> set[int]:
    """The types of tensors in a dynamic int8 file in which no capture may differ, so that layers are given back."""
    store = _smallest_store(model)
    layer = next(iter(multiplications(model)))
    quantizer = Quantizer(model)
    quantizer.add_dynamic_config(_all_but([layer]), CONVOLUTIONS[0], BITS)
    return {tensor.type for tensor in read(_quantized(quantizer, [layer], None, store)).subgraphs[0].tensors}


def test_only_the_static_file_names_its_calibration(artifacts, calibration):
    named = {precision for precision, converted in artifacts.items() if converted.calibration is not None}
    assert named == {"int8_static"}
    assert artifacts["int8_static"].calibration is calibration


def test_what_is_said_to_be_in_float_is_in_float_and_nothing_else(artifacts):
    for precision in ("int8_dynamic", "int8_static"):
        parsed = read(content(artifacts[precision]))
        tensors = parsed.subgraphs[0].tensors
        in_float = []
        for operator in parsed.subgraphs[0].operators:
            weights = [tensors[i] for i in operator.inputs if tensors[i].name.endswith(b".weight")]
            name = tensors[operator.outputs[0]].name.decode().removesuffix("_quantized")
            if weights and weights[0].type != INT8 and op_name(parsed, operator) != "DEQUANTIZE":
                in_float.append(name)
        assert set(in_float) <= set(artifacts[precision].float_layers)
        assert not set(artifacts[precision].float_layers) >= set(weighted_layers(read(content(artifacts["fp32"]))))
    assert artifacts["fp32"].float_layers == ()
    linear = set(weighted_layers(read(content(artifacts["fp32"])))) - set(multiplications(content(artifacts["fp32"])))
    assert linear <= set(artifacts["fp16"].float_layers)


def test_operations_with_weights_are_called_as_the_networks_layers(model, network):
    modules = {name for name, module in network.named_modules() if hasattr(module, "weight") and module.weight.ndim > 1}
    assert set(weighted_layers(read(model))) == modules
    assert set(multiplications(model)) < modules


def test_equal_weights_give_equal_bytes_and_nothing_of_the_machine(network, model, artifacts):
    again = read(export_litert(network))
    restate_versions(again)
    assert write(again) == model
    for converted in artifacts.values():
        for text in (b".py", b"site-packages", b"/home", b"/work", b"/usr", b"/tmp", b"__main__"):
            assert text not in content(converted)


def test_conversion_says_nothing(calibration, model, capfd):
    int8_static(model, calibration)
    assert capfd.readouterr() == ("", "")


def test_versions_are_those_that_mean_quantized_operations(artifacts):
    versions = {}
    for precision, converted in artifacts.items():
        parsed = read(content(converted))
        codes = {op_name(parsed, o): parsed.operatorCodes[o.opcodeIndex].version for o in parsed.subgraphs[0].operators}
        versions[precision] = codes["CONV_2D"]
    assert versions == {"fp32": 1, "fp16": 1, "int8_weights": 1, "int8_dynamic": 5, "int8_static": 3}
    assert "TensorFlow Lite 2.4.0" in artifacts["int8_dynamic"].runs_on


def test_weights_lie_inside_the_flatbuffer_and_aligned(artifacts):
    from ai_edge_litert import schema_py_generated as schema

    for converted in artifacts.values():
        root = schema.Model.GetRootAs(bytearray(content(converted)), 0)
        buffers = [root.Buffers(index) for index in range(root.BuffersLength())]
        assert {buffer.Offset() for buffer in buffers} == {0}
        starts = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]
        assert {start % 16 for start in starts} == {0}


class TestFloatLayers:
    """Which layers an int8 file gives back to float."""

    def test_a_tighter_limit_gives_more_of_them_back(self, model, calibration, monkeypatch):
        loose = int8_static(model, calibration)
        references = run_litert(model, calibration.inputs)
        share = used_share(LIMITS["int8_static"], references, run_litert(loose.model, calibration.inputs))
        assert 0 < share <= MARGIN
        factor = share / MARGIN / 2
        old = LIMITS["int8_static"]
        tight = replace(
            old,
            score=old.score * factor,
            depth=old.depth * factor,
            type=old.type * factor,
            flash_response=old.flash_response * factor,
        )
        monkeypatch.setitem(LIMITS, "int8_static", tight)
        strict = int8_static(model, calibration)
        assert set(strict.float_layers) > set(loose.float_layers)
        assert used_share(tight, references, run_litert(strict.model, calibration.inputs)) <= MARGIN

    def test_limits_that_no_file_holds_are_an_error(self, model, calibration, monkeypatch):
        monkeypatch.setitem(LIMITS, "int8_weights", replace(LIMITS["int8_weights"], score=1e-12))
        with pytest.raises(ParityError, match="no layer computed in int8"):
            int8_weights(model, calibration)

    def test_a_file_that_would_be_int8_in_name_only_is_left_out(self, model, network, calibration, monkeypatch):
        monkeypatch.setattr(
            "export.litert_quantize._search", lambda model, *_: Quantized(model, tuple(multiplications(model)))
        )
        assert int8_static(model, calibration) is None
        made = convert_litert(network, calibration, ("fp32", "int8_static"))
        assert [converted.precision for converted in made] == ["fp32"]
        assert left_out(("onnx", "litert"), ("fp32", "int8_static"), made)[-1] == ("litert", "int8_static")


def test_everything_in_int8_misses_the_gates_of_static_int8(model, network, calibration):
    """This network's file does not even load; that of the mobile preset does, and is wrong."""
    try:
        found = run_litert(everything_int8(model, calibration), calibration.inputs)
    except ModelFailed:
        return
    gates = limit_gates(LIMITS["int8_static"], [run_network(network, x) for x in calibration.inputs], found)
    assert not all(gate.ok for gate in gates)


def rename_output(parsed: Any) -> None:
    parsed.signatureDefs[0].outputs[0].name = b"probability"


def rename_signature(parsed: Any) -> None:
    parsed.signatureDefs[0].signatureKey = b"main"


def free_dimension(parsed: Any) -> None:
    tensor = parsed.subgraphs[0].tensors[parsed.subgraphs[0].inputs[0]]
    tensor.shapeSignature = [-1, *tensor.shape[1:]]


def fifth_axis(parsed: Any) -> None:
    tensor = parsed.subgraphs[0].tensors[parsed.subgraphs[0].operators[0].outputs[0]]
    tensor.shape = [1, *tensor.shape]


def custom_operation(parsed: Any) -> None:
    code = parsed.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = b"FlexConv2D"


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        (rename_output, "inputs and outputs other than agreed"),
        (rename_signature, "signatures other than agreed"),
        (free_dimension, "tensors of dynamic shape"),
        (fifth_axis, "largest rank"),
        (custom_operation, "operations outside the built-in set"),
        (custom_operation, "runs that fail"),
    ],
)
def test_each_deviation_is_noticed(model: bytes, change: Callable[[Any], None], gate: str) -> None:
    parsed = read(model)
    change(parsed)
    assert gate in missed(write(parsed))


def test_a_file_of_another_precision_than_stated_is_noticed(artifacts, model):
    assert "tensors of the agreed narrow type" in missed(model, "int8_static")
    assert "tensors of 8 or 16 bits other than agreed" in missed(content(artifacts["int8_static"]), "fp32")


def test_a_quantized_operation_of_unknown_version_is_refused(model, calibration):
    with pytest.raises(ParityError, match="version is not known"):
        restate_versions(read(everything_int8(model, calibration)))


def test_a_layer_with_changed_weights_loses_its_name(model, network):
    parsed = read(model)
    other = ATRFAS(TINY)
    rename(parsed, other)
    assert not set(weighted_layers(parsed)) & {name for name, _ in network.named_modules()}
