"""The Core ML packages have the agreed form, compute what PyTorch computes, and each deviation is noticed."""

from __future__ import annotations

import sys
import tempfile
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_coreml import SETTINGS, SHAPE, convert, tiny_network, tiny_packages

from export import coreml_search
from export.converted import Converted
from export.coreml import RUNS_ON
from export.coreml_gates import coreml_structure_gates
from export.coreml_opening import EVALUATED, open_coreml
from export.coreml_search import Judge, fewest_kept, layers_of, one_coarse, program_of
from export.mil import evaluate
from export.mil_file import MODEL_FILE, parse_model
from export.parity import run_network
from export.precision_gates import LIMITS
from export.proof import References, prove
from sdk_reference.coreml_backend import CoreMLBackend
from sdk_reference.errors import ModelFailed
from training.network import ATRFAS

LATE = replace(SETTINGS, fusion="late", joint_widths=(), joint_detail=1, shared_encoder=False)
PRECISIONS = ("fp32", "fp16", "int8_weights")


def inputs(count=2):
    rng = np.random.default_rng(8)
    return [rng.uniform(-1, 1, SHAPE).astype(np.float32) for _ in range(count)]


def gates_of(converted, network, captures):
    """What `prove` finds about a package."""
    with tempfile.TemporaryDirectory() as folder:
        converted.write(Path(folder))
        return prove(converted, Path(folder), References.of(network, captures, threshold=0.5)).gates


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
    gates = gates_of(tiny_packages()[precision], tiny_network(), inputs())
    assert missed(gates) == set()
    assert ("largest activation" in {gate.name for gate in gates}) == (precision != "fp32")


def test_other_weights_miss_the_accuracy_gates():
    changed = ATRFAS(SETTINGS).eval()
    for precision in PRECISIONS:
        assert missed(gates_of(tiny_packages()[precision], changed, inputs()))


def test_a_network_that_fuses_late_is_converted_as_well():
    network = ATRFAS(LATE).eval()
    for converted in convert(network):
        assert missed(gates_of(converted, network, inputs(1))) == set()


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


def test_8_bit_weights_are_smaller_and_what_stays_float_is_listed():
    half, small = tiny_packages()["fp16"], tiny_packages()["int8_weights"]
    weights = [c.files[f"{c.path}/Data/com.apple.CoreML/weights/weight.bin"] for c in (half, small)]
    assert len(weights[1]) < len(weights[0])
    program = program_of(small)
    stored_float = {layer.name for layer in layers_of(program) if layer.arguments["weight"][0] in program.constants}
    assert set() < set(small.float_layers) == stored_float < {layer.name for layer in layers_of(program)}
    assert tiny_packages()["fp32"].float_layers == ()


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_in_half_precision_the_stem_its_head_the_softmaxes_and_the_tail_stay_float32(fusion):
    if fusion == "early":
        half = tiny_packages()["fp16"]
    else:
        half = convert(ATRFAS(LATE).eval())[1]
    program = program_of(half)
    kinds = {operation.name: operation.kind for operation in program.operations}
    float32 = [operation for operation in program.operations if operation.result.dtype == "fp32"]
    assert {o.kind for o in program.operations if o.result.dtype == "fp16"} >= {"conv", "relu", "linear"}
    assert all(operation.result.dtype == "fp32" for operation in program.operations if operation.kind == "softmax")
    stem, head, tail = 2, 3, 4  # layers with weights
    behind_attention = fusion == "early"  # the experts' first convolution
    assert [kinds[name] for name in half.float_layers].count("conv") == stem + 1 + 3 + behind_attention
    assert len(half.float_layers) == stem + head + tail + behind_attention
    seen = {"differential", *(o.name for o in float32 if o.kind == "avg_pool")}
    (first,) = (o for o in float32 if seen & set(o.arguments.get("x", ())) and o.kind == "conv")
    assert first.name == half.float_layers[0]


class StrictAfter:
    """A judge that accepts a package once it keeps so many layers in float more than the first it saw."""

    def __init__(self, count):
        self.count, self.seen = count, []

    def holds(self, converted):
        self.seen.append(len(converted.float_layers))
        return self.seen[-1] >= self.seen[0] + self.count

    def loudest_first(self, fine, coarse):
        return ["c", "a", "b", "d", "e"]


@pytest.mark.parametrize(
    ("needed", "kept"), [(0, ()), (1, ("c",)), (2, ("c", "a")), (3, ("c", "a", "b", "d")), (9, tuple("cabde"))]
)
def test_the_loudest_layers_are_kept_until_the_gates_hold(needed, kept):
    fine = Converted("x", "coreml", "fp32", {}, "")
    found = fewest_kept(lambda names: replace(fine, float_layers=tuple(names)), fine, StrictAfter(needed))
    assert (found.kept, found.converted.float_layers) == (kept, kept)


def test_the_search_leaves_float_what_the_gates_do_not_bear(monkeypatch):
    """With limits that nothing below fp32 meets, every layer ends in float32 and no weight in 8 bits."""
    nothing = dict.fromkeys(("score", "depth", "type", "flash_response"), 1e-12)
    none = {precision: replace(limits, **nothing) for precision, limits in LIMITS.items()}
    monkeypatch.setattr(coreml_search, "LIMITS", none)
    _, half, small = convert(tiny_network(), inputs(1))
    for converted in (half, small):
        assert set(converted.float_layers) == {layer.name for layer in layers_of(program_of(converted))}


def test_a_layer_alone_in_half_precision_is_noise_that_can_be_measured():
    full, half = tiny_packages()["fp32"], tiny_packages()["fp16"]
    order = Judge(tiny_network(), inputs()).loudest_first(full, half)
    assert set(order) == {layer.name for layer in layers_of(program_of(half))} - set(half.float_layers)
    name = order[0]
    (x,) = inputs(1)
    coarse = one_coarse(program_of(full), program_of(half), name)
    found, exact = (evaluate(program, {"differential": x}, "fp16")[0] for program in (coarse, program_of(full)))
    assert any((found[output] != exact[output]).any() for output in exact)


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
