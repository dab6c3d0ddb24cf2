"""The Core ML packages have the agreed form, compute what PyTorch computes, and each deviation is noticed."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from tiny_coreml import SETTINGS, SHAPE, convert, tiny_network, tiny_packages

from export.coreml import RUNS_ON, float_weights
from export.coreml_gates import coreml_accuracy_gates, coreml_structure_gates
from export.coreml_opening import EVALUATED, open_coreml
from export.mil_file import MODEL_FILE, parse_model, read_package
from export.parity import run_network
from sdk_reference.coreml_backend import CoreMLBackend
from sdk_reference.errors import ModelFailed
from training.network import ATRFAS

PRECISIONS = ("fp32", "fp16", "int8_weights")


def inputs(count=2):
    rng = np.random.default_rng(8)
    return [rng.uniform(-1, 1, SHAPE).astype(np.float32) for _ in range(count)]


def missed(gates):
    return {gate.name for gate in gates if not gate.ok}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_package_is_a_complete_folder_of_the_agreed_form(precision, tmp_path):
    converted = tiny_packages()[precision]
    assert {path.removeprefix(converted.path) for path in converted.files} == {
        "/Manifest.json",
        "/Data/com.apple.CoreML/model.mlmodel",
        "/Data/com.apple.CoreML/weights/weight.bin",
    }
    assert (converted.format, converted.runs_on, converted.opset) == ("coreml", RUNS_ON, None)
    assert missed(coreml_structure_gates(converted.write(tmp_path), SHAPE)) == set()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_program_computes_what_pytorch_computes(precision):
    gates = coreml_accuracy_gates(tiny_packages()[precision], tiny_network(), inputs())
    assert missed(gates) == set()
    assert ("largest activation" in {gate.name for gate in gates}) == (precision != "fp32")


def test_other_weights_miss_the_accuracy_gates():
    changed = ATRFAS(SETTINGS).eval()
    for precision in PRECISIONS:
        assert missed(coreml_accuracy_gates(tiny_packages()[precision], changed, inputs()))


def test_a_network_that_fuses_late_is_converted_as_well():
    network = ATRFAS(replace(SETTINGS, fusion="late", joint_widths=(), shared_encoder=False)).eval()
    for converted in convert(network):
        assert missed(coreml_accuracy_gates(converted, network, inputs(1))) == set()


def test_equal_weights_give_equal_bytes_and_other_weights_other_identifiers():
    again = {converted.precision: converted for converted in convert(tiny_network())}
    for precision, converted in tiny_packages().items():
        assert again[precision].files == converted.files
    manifests = {c.files[f"{c.path}/Manifest.json"] for c in tiny_packages().values()}
    assert len(manifests) == len(PRECISIONS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_package_tells_its_makers_and_nothing_of_the_machine_or_the_day(precision):
    converted = tiny_packages()[precision]
    model = converted.files[f"{converted.path}/{MODEL_FILE}"]
    for text in (b".py", b"site-packages", b"/home", b"/work", b"/usr", b"/tmp", b"conversion_date"):
        assert not [path for path, content in converted.files.items() if text in content]
    notes = parse_model(model).description.metadata
    assert (notes.author, notes.license) == ("Flashproof", "Apache-2.0")
    assert notes.userDefined["com.github.apple.coremltools.version"]


def test_8_bit_weights_are_smaller_and_what_stays_float_is_listed(tmp_path):
    half, small = tiny_packages()["fp16"], tiny_packages()["int8_weights"]
    weights = [c.files[f"{c.path}/Data/com.apple.CoreML/weights/weight.bin"] for c in (half, small)]
    assert len(weights[1]) < len(weights[0])
    program = read_package(small.write(tmp_path))
    weighted = {operation.name for operation in program.operations if "weight" in operation.arguments}
    assert set() < set(small.float_layers) < weighted
    assert half.float_layers == ()
    assert set(float_weights(half.write(tmp_path))) == weighted


def test_weights_named_to_stay_float_do_and_unknown_names_are_an_error(tmp_path):
    before = tiny_packages()["int8_weights"]
    program = read_package(before.write(tmp_path))
    quantized = [o.name for o in program.operations if "weight" in o.arguments and o.name not in before.float_layers]
    after = convert(tiny_network(), (quantized[0],))[-1]
    assert set(after.float_layers) == {*before.float_layers, quantized[0]}
    with pytest.raises(ValueError, match="nowhere"):
        convert(tiny_network(), ("nowhere",))


def older_version(spec, _):
    spec.specificationVersion = 6


def rename_output(spec, block):
    spec.description.output[0].name = "probability"
    block.outputs[0] = "probability"
    for step in block.operations:
        for output in step.outputs:
            output.name = "probability" if output.name == "score" else output.name


def unknown_operation(_, block):
    next(step for step in block.operations if step.type == "relu").type = "erf"


def unknown_argument(_, block):
    step = next(step for step in block.operations if step.type == "relu")
    step.inputs["alpha"].CopyFrom(step.inputs["x"])


def fifth_axis(_, block):
    tensor = next(step for step in block.operations if step.type == "relu").outputs[0].type.tensorType
    tensor.rank = 5
    tensor.dimensions.add().constant.size = 1


def free_dimension(_, block):
    tensor = next(step for step in block.operations if step.type == "relu").outputs[0].type.tensorType
    tensor.dimensions[0].unknown.variadic = False


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        (older_version, "specification version"),
        (rename_output, "inputs and outputs other than agreed"),
        (unknown_operation, "operations that the evaluator does not know"),
        (unknown_argument, "programs with an operation that does not fit"),
        (fifth_axis, "largest rank"),
        (free_dimension, "programs that cannot be read"),
    ],
)
def test_each_deviation_is_noticed(change, gate, tmp_path):
    package = tiny_packages()["fp16"].write(tmp_path)
    spec = parse_model((package / MODEL_FILE).read_bytes())
    function = spec.mlProgram.functions["main"]
    change(spec, function.block_specializations[function.opset])
    (package / MODEL_FILE).write_bytes(spec.SerializeToString())
    assert gate in missed(coreml_structure_gates(package, SHAPE))


def test_another_input_size_is_noticed(tmp_path):
    package = tiny_packages()["fp32"].write(tmp_path)
    gates = coreml_structure_gates(package, (6, 3, 64, 64))
    assert missed(gates) == {"inputs and outputs other than agreed"}


def test_off_macos_the_program_is_evaluated_and_the_text_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    backend, what_ran = open_coreml(tiny_packages()["fp32"].write(tmp_path))
    assert EVALUATED in what_ran
    (x,) = inputs(1)
    assert backend.run(x).score == pytest.approx(float(run_network(tiny_network(), x)["score"][0]), abs=1e-5)
    with pytest.raises(ModelFailed, match="not in -1 to 1"):
        backend.run(x * 3)


def test_on_macos_core_ml_itself_is_opened(tmp_path, monkeypatch):
    package = tiny_packages()["fp32"].write(tmp_path)
    spec = parse_model((package / MODEL_FILE).read_bytes())
    model = types.SimpleNamespace(get_spec=lambda: spec)
    stand_in = types.SimpleNamespace(
        models=types.SimpleNamespace(MLModel=lambda path, compute_units: model),
        ComputeUnit=types.SimpleNamespace(ALL="all"),
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", stand_in)
    backend, what_ran = open_coreml(package)
    assert isinstance(backend, CoreMLBackend)
    assert EVALUATED not in what_ran and "macOS" in what_ran


def test_conversion_prints_nothing(capfd):
    convert(tiny_network())
    assert capfd.readouterr() == ("", "")
