"""The evaluator computes what each MIL operation is defined to, refuses what it does not know, and survives damage."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from tiny_coreml import tiny_packages

from export.coreml_quiet import load_coremltools, quiet
from export.mil import MilBackend, check_program, evaluate, unknown_kinds
from export.mil_file import MANIFEST_FILE, MODEL_FILE, WEIGHTS_FILE, parse_model, read_package
from export.mil_operations import OPERATIONS
from sdk_reference.errors import FlashproofError, ModelFailed

RNG = np.random.default_rng(3)


def uniform(*shape):
    return RNG.uniform(-2, 2, shape).astype(np.float32)


PICTURE = uniform(2, 4, 6, 8)
OTHER = uniform(2, 4, 6, 8)
KERNEL = uniform(6, 4, 3, 3)
GROUPED = uniform(4, 1, 3, 3)
BIAS = uniform(6)
WEIGHT = uniform(3, 8)


def convolved(x, kernel, bias, stride=1, pad=((0, 0), (0, 0)), dilation=1, groups=1):
    """The definition, one output value at a time."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *pad))
    outputs, inputs, rows, columns = kernel.shape
    height = (x.shape[2] - dilation * (rows - 1) - 1) // stride + 1
    width = (x.shape[3] - dilation * (columns - 1) - 1) // stride + 1
    result = np.empty((x.shape[0], outputs, height, width))
    for o, i, j in np.ndindex(outputs, height, width):
        first = o // (outputs // groups) * inputs
        top, left = i * stride, j * stride
        window = x[
            :,
            first : first + inputs,
            top : top + dilation * rows : dilation,
            left : left + dilation * columns : dilation,
        ]
        result[:, o, i, j] = (window[:, :, :rows, :columns] * kernel[o]).sum(axis=(1, 2, 3)) + bias[o]
    return result


def pooled(x, size, stride, pool=np.max):
    height, width = (x.shape[2] - size) // stride + 1, (x.shape[3] - size) // stride + 1
    result = np.empty((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        window = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
        result[:, :, i, j] = pool(window, axis=(2, 3))
    return result


CONV_PAD = {"pad_type": "custom", "pad": [1, 0, 2, 1]}
CASES = {
    "conv": (lambda mb, x: mb.conv(x=x, weight=KERNEL, bias=BIAS), convolved(PICTURE, KERNEL, BIAS)),
    "conv, stride": (
        lambda mb, x: mb.conv(x=x, weight=KERNEL, bias=BIAS, strides=[2, 2], **CONV_PAD),
        convolved(PICTURE, KERNEL, BIAS, stride=2, pad=((1, 0), (2, 1))),
    ),
    "conv, dilation, no bias": (
        lambda mb, x: mb.conv(x=x, weight=KERNEL, dilations=[2, 2], pad_type="valid"),
        convolved(PICTURE, KERNEL, np.zeros(6), dilation=2),
    ),
    "conv, groups": (
        lambda mb, x: mb.conv(x=x, weight=GROUPED, groups=4),
        convolved(PICTURE, GROUPED, np.zeros(4), groups=4),
    ),
    "max_pool": (
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"),
        pooled(PICTURE, 2, 2),
    ),
    "max_pool, pad": (
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]),
        pooled(np.pad(PICTURE, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf), 3, 2),
    ),
    "avg_pool": (
        lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"),
        pooled(PICTURE, 2, 2, np.mean),
    ),
    "avg_pool, pad": (
        lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]),
        pooled(np.pad(PICTURE, ((0, 0), (0, 0), (1, 1), (1, 1))), 3, 2, np.mean),
    ),
    "relu": (lambda mb, x: mb.relu(x=x), np.maximum(PICTURE, 0)),
    "abs": (lambda mb, x: mb.abs(x=x), np.abs(PICTURE)),
    "square": (lambda mb, x: mb.square(x=x), PICTURE**2),
    "sigmoid": (lambda mb, x: mb.sigmoid(x=x), 1 / (1 + np.exp(-PICTURE))),
    "sqrt": (lambda mb, x: mb.sqrt(x=mb.abs(x=x)), np.sqrt(np.abs(PICTURE))),
    "add": (lambda mb, x: mb.add(x=x, y=OTHER), PICTURE + OTHER),
    "sub": (lambda mb, x: mb.sub(x=np.float32(1), y=x), 1 - PICTURE),
    "mul": (lambda mb, x: mb.mul(x=x, y=OTHER[:1, :, :1]), PICTURE * OTHER[:1, :, :1]),
    "real_div": (lambda mb, x: mb.real_div(x=x, y=OTHER), PICTURE / OTHER),
    "pow": (lambda mb, x: mb.pow(x=x, y=np.float32(3)), PICTURE**3),
    "maximum": (lambda mb, x: mb.maximum(x=x, y=OTHER), np.maximum(PICTURE, OTHER)),
    "minimum": (lambda mb, x: mb.minimum(x=x, y=np.float32(0.5)), np.minimum(PICTURE, 0.5)),
    "softmax": (lambda mb, x: mb.softmax(x=x, axis=1), softmax(PICTURE, axis=1)),
    "reduce_sum": (lambda mb, x: mb.reduce_sum(x=x, axes=[1, 3], keep_dims=True), PICTURE.sum((1, 3), keepdims=True)),
    "reduce_mean": (lambda mb, x: mb.reduce_mean(x=x, axes=[-1], keep_dims=False), PICTURE.mean(-1)),
    "reduce_max": (lambda mb, x: mb.reduce_max(x=x, axes=[2], keep_dims=False), PICTURE.max(2)),
    "concat": (lambda mb, x: mb.concat(values=[x, OTHER, x], axis=1), np.concatenate([PICTURE, OTHER, PICTURE], 1)),
    "stack": (lambda mb, x: mb.stack(values=[x, OTHER], axis=1), np.stack([PICTURE, OTHER], 1)),
    "reshape": (lambda mb, x: mb.reshape(x=x, shape=[8, -1]), PICTURE.reshape(8, -1)),
    "transpose": (lambda mb, x: mb.transpose(x=x, perm=[0, 2, 3, 1]), PICTURE.transpose(0, 2, 3, 1)),
    "expand_dims": (lambda mb, x: mb.expand_dims(x=x, axes=[0]), PICTURE[None]),
    "squeeze": (
        lambda mb, x: mb.squeeze(x=mb.reduce_max(x=x, axes=[2], keep_dims=True), axes=[2]),
        PICTURE.max(2),
    ),
    "upsample_nearest_neighbor": (
        lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2.0, scale_factor_width=3.0),
        PICTURE.repeat(2, axis=2).repeat(3, axis=3),
    ),
    "slice_by_index": (
        lambda mb, x: mb.slice_by_index(
            x=x,
            begin=[1, 0, 1, -1],
            end=[0, 3, 5, 0],
            stride=[1, 1, 2, 1],
            begin_mask=[False, True, False, False],
            end_mask=[True, False, False, False],
            squeeze_mask=[False, False, False, True],
        ),
        PICTURE[1:, :3, 1:5:2, -1],
    ),
    "linear": (lambda mb, x: mb.linear(x=x, weight=WEIGHT, bias=BIAS[:3]), PICTURE @ WEIGHT.T + BIAS[:3]),
    "matmul": (
        lambda mb, x: mb.matmul(x=x, y=OTHER, transpose_x=True, transpose_y=False),
        PICTURE.swapaxes(-1, -2) @ OTHER,
    ),
    "cast": (lambda mb, x: mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32"), PICTURE),
    "constexpr_affine_dequantize": (
        lambda mb, x: mb.add(
            x=x,
            y=mb.constexpr_affine_dequantize(
                quantized_data=(OTHER[0] * 60).astype(np.int8),
                zero_point=np.array([1, -2, 3, 0], np.int8),
                scale=np.array([0.5, 0.25, 1, 2], np.float32),
                axis=0,
            ),
        ),
        PICTURE
        + ((OTHER[0] * 60).astype(np.int8) - np.array([1.0, -2, 3, 0])[:, None, None])
        * np.array([0.5, 0.25, 1, 2])[:, None, None],
    ),
}
REFUSED = {
    "pad_type": lambda mb, x: mb.conv(x=x, weight=KERNEL, pad_type="same"),
    "ceil_mode": lambda mb, x: mb.max_pool(
        x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid", pad=[0, 0, 0, 0], ceil_mode=True
    ),
    "means without their padding": lambda mb, x: mb.avg_pool(
        x=x,
        kernel_sizes=[3, 3],
        strides=[2, 2],
        pad_type="custom",
        pad=[1, 1, 1, 1],
        exclude_padding_from_average=True,
    ),
    "interleave": lambda mb, x: mb.concat(values=[x, OTHER], axis=1, interleave=True),
    "strides": lambda mb, x: mb.slice_by_index(x=x, begin=[1, 3, 5, 7], end=[0, 0, 0, 0], stride=[-1, -1, -1, -1]),
    "scale factors": lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=1.5, scale_factor_width=2.0),
    "a cast to": lambda mb, x: mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"),
    "unknown operation erf": lambda mb, x: mb.erf(x=x),
}


def package_of(build, folder: Path) -> Path:
    """A package whose program is `build` of one input named x, of PICTURE's shape, unoptimised."""
    ct = load_coremltools()
    with quiet():
        from coremltools.converters.mil import Builder as mb

        @mb.program(input_specs=[mb.TensorSpec(shape=PICTURE.shape)], opset_version=ct.target.iOS16)
        def program(x):
            return build(mb, x)

        model = ct.convert(
            program,
            source="milinternal",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(folder / "made.mlpackage"))
    return folder / "made.mlpackage"


def run(package: Path, activations="fp32"):
    program = read_package(package)
    check_program(program)
    outputs, largest = evaluate(program, {"x": PICTURE}, activations)
    (result,) = outputs.values()
    return result, largest


@pytest.mark.parametrize("case", CASES)
def test_each_operation_computes_its_definition(case, tmp_path):
    build, expected = CASES[case]
    package = package_of(build, tmp_path)
    assert case.partition(",")[0] in {operation.kind for operation in read_package(package).operations}
    found, largest = run(package)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert largest >= np.abs(found).max()


def test_every_operation_of_the_table_has_a_case():
    assert {case.partition(",")[0] for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize("reason", REFUSED)
def test_what_the_evaluator_does_not_implement_is_an_error_before_anything_runs(reason, tmp_path):
    program = read_package(package_of(REFUSED[reason], tmp_path))
    with pytest.raises(ModelFailed, match=re.escape(reason)):
        check_program(program)
    assert unknown_kinds(program) == ({"erf"} if "erf" in reason else set())


def test_an_argument_that_is_not_known_is_an_error(tmp_path):
    package = package_of(CASES["relu"][0], tmp_path)

    def add_argument(spec, block):
        step = next(step for step in block.operations if step.type == "relu")
        step.inputs["alpha"].CopyFrom(step.inputs["x"])

    edit(package, add_argument)
    with pytest.raises(ModelFailed, match="alpha"):
        run(package)


def far_and_back(mb, x, dtype):
    """0.1 + 2048 − 2048 in `dtype`, float32 at the end."""
    number = np.float16 if dtype == "fp16" else np.float32
    small = mb.mul(x=mb.cast(x=x, dtype=dtype), y=number(0))
    far = mb.add(x=mb.add(x=small, y=number(0.1)), y=number(2048))
    return mb.cast(x=mb.sub(x=far, y=number(2048)), dtype="fp32")


def test_results_are_rounded_that_the_program_declares_as_fp16_and_no_others(tmp_path):
    """0.1 + 2048 is 2048 in half precision, so that taking 2048 off again gives 0."""
    package = package_of(lambda mb, x: far_and_back(mb, x, "fp16"), tmp_path)
    assert np.abs(run(package)[0] - 0.1).max() < 1e-3
    found, largest = run(package, "fp16")
    assert (found == 0).all()
    assert largest == pytest.approx(2048.1)
    declared_fp32 = package_of(lambda mb, x: far_and_back(mb, x, "fp32"), tmp_path / "other")
    assert np.abs(run(declared_fp32, "fp16")[0] - 0.1).max() < 1e-3


def test_a_value_beyond_fp16_is_seen_at_its_full_size(tmp_path):
    package = package_of(
        lambda mb, x: mb.cast(
            x=mb.mul(x=mb.add(x=mb.abs(x=mb.cast(x=x, dtype="fp16")), y=np.float16(7000)), y=np.float16(10)),
            dtype="fp32",
        ),
        tmp_path,
    )
    found, largest = run(package, "fp16")
    assert np.isinf(found).all()
    assert np.isinf(largest) or 70000 <= largest < 70100


def test_a_result_declared_finer_than_it_is_computed_is_refused(tmp_path):
    """A file that declares fp32 where Core ML would compute fp16 must not look better than it is."""
    package = package_of(lambda mb, x: far_and_back(mb, x, "fp16"), tmp_path)

    def declare_fp32(spec, block):
        step = next(step for step in block.operations if step.type == "add")
        step.outputs[0].type.tensorType.dataType = 11

    edit(package, declare_fp32)
    with pytest.raises(ModelFailed, match="fp32"):
        run(package)


def edit(package: Path, change) -> None:
    spec = parse_model((package / MODEL_FILE).read_bytes())
    function = spec.mlProgram.functions["main"]
    change(spec, function.block_specializations[function.opset])
    (package / MODEL_FILE).write_bytes(spec.SerializeToString(deterministic=True))


@pytest.fixture
def package(tmp_path):
    """The tiny network's package with 8-bit weights, to be broken."""
    return tiny_packages()["int8_weights"].write(tmp_path)


def survives(package: Path) -> bool:
    """Whether the package still runs; anything but an answer or an error of ours is a failure of the test."""
    try:
        backend = MilBackend(package, "fp16")
        backend.run(np.zeros(backend.input_shape, np.float32))
    except FlashproofError:
        return False
    return True


def far_weights(spec, block):
    step = next(s for s in block.operations if s.type == "const" and s.attributes["val"].HasField("blobFileValue"))
    step.attributes["val"].blobFileValue.offset = 2**40


def odd_weights(spec, block):
    step = next(s for s in block.operations if s.type == "const" and s.attributes["val"].HasField("blobFileValue"))
    step.attributes["val"].blobFileValue.offset += 8


def foreign_weights(spec, block):
    step = next(s for s in block.operations if s.type == "const" and s.attributes["val"].HasField("blobFileValue"))
    step.attributes["val"].blobFileValue.fileName = "@model_path/../../secret.bin"


def huge_tensor(spec, block):
    step = next(step for step in block.operations if step.type == "relu")
    step.outputs[0].type.tensorType.dimensions[0].constant.size = 2**40


def free_dimension(spec, block):
    step = next(step for step in block.operations if step.type == "relu")
    step.outputs[0].type.tensorType.dimensions[0].unknown.variadic = False


def wrong_shape(spec, block):
    step = next(step for step in block.operations if step.type == "relu")
    step.outputs[0].type.tensorType.dimensions[0].constant.size += 1


def twice_named(spec, block):
    step = next(step for step in block.operations if step.type == "relu")
    block.operations.add().CopyFrom(step)


def from_nowhere(spec, block):
    step = next(step for step in block.operations if step.type == "relu")
    step.inputs["x"].arguments[0].name = "nowhere"


def other_description(spec, block):
    spec.description.output[0].name = "probability"


def other_version_of_model(spec, block):
    spec.neuralNetwork.SetInParent()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (far_weights, "weights outside the file"),
        (odd_weights, "weights outside the file"),
        (foreign_weights, "secret"),
        (huge_tensor, "a tensor of shape"),
        (free_dimension, "dynamic"),
        (wrong_shape, "is declared"),
        (twice_named, "two values named"),
        (from_nowhere, "nowhere"),
        (other_description, "a description of"),
        (other_version_of_model, "no ML Program"),
    ],
)
def test_a_program_that_is_not_sound_is_refused_for_its_reason(change, reason, package):
    edit(package, change)
    with pytest.raises(ModelFailed, match=reason):
        MilBackend(package)


@pytest.mark.parametrize("path", [MANIFEST_FILE, MODEL_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_an_error(path, package):
    (package / path).unlink()
    with pytest.raises(ModelFailed):
        MilBackend(package)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"rootModelIdentifier": "x"}', b"[" * 100_000, b"\xff"])
def test_a_manifest_that_names_no_model_is_an_error(content, package):
    (package / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ModelFailed, match="names no model"):
        MilBackend(package)


def test_a_manifest_that_names_another_file_is_an_error(package):
    text = (package / MANIFEST_FILE).read_text()
    (package / MANIFEST_FILE).write_text(text.replace("CoreML/model.mlmodel", "CoreML/../../model.mlmodel"))
    with pytest.raises(ModelFailed, match="that names"):
        MilBackend(package)


@pytest.mark.parametrize(("path", "count"), [(MODEL_FILE, 300), (WEIGHTS_FILE, 120), (MANIFEST_FILE, 80)])
def test_flipped_bits_give_an_answer_or_an_error_never_a_crash(path, count, package):
    rng = np.random.default_rng(5)
    content = (package / path).read_bytes()
    survivors = 0
    for _ in range(count):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (package / path).write_bytes(damaged)
        survivors += survives(package)
    assert 0 < survivors < count  # letters in a name and bits of a weight do no harm here, sizes and types do


@pytest.mark.parametrize("path", [MODEL_FILE, WEIGHTS_FILE, MANIFEST_FILE])
def test_a_truncated_file_is_an_error(path, package):
    content = (package / path).read_bytes()
    for length in np.random.default_rng(6).integers(0, len(content) - 64, 30):
        (package / path).write_bytes(content[:length])
        assert not survives(package)


def test_the_sound_package_runs(package):
    assert survives(package)
