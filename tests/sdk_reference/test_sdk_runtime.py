"""The ONNX backend on a model of a few kilobytes: right values, and an error for everything that is not right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_model import pack_stub_bundle, stub_artifact, stub_model

from sdk_reference.backends import open_backend
from sdk_reference.bundle import load_bundle
from sdk_reference.errors import BackendMissing, BundleMalformed, ModelFailed
from sdk_reference.runtime import OnnxBackend, checked_outputs

SHAPE = (6, 3, 128, 128)


def model_input(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, SHAPE).astype(np.float32)


def test_outputs_are_what_the_stub_computes_by_hand() -> None:
    x = model_input()
    outputs = OnnxBackend(stub_model(slope=2.0, offset=-1.0, type_logits=(0, math.log(2), 0))).run(x)
    assert outputs.score == pytest.approx(1 / (1 + math.exp(-(2 * float(np.abs(x).mean()) - 1))), abs=1e-6)
    np.testing.assert_allclose(outputs.type, [0.25, 0.5, 0.25], atol=1e-6)
    np.testing.assert_allclose(outputs.depth, np.tile(np.linspace(0, 1, 32)[:, None], 32), atol=1e-6)
    red, green, blue = x.astype(np.float64).mean(axis=(2, 3)).T
    np.testing.assert_allclose(outputs.flash_response, np.stack([red - green, green - blue, blue - red], 1), atol=1e-5)


def test_threads_do_not_change_the_answer() -> None:
    one, two = (OnnxBackend(stub_model(slope=2.0), threads).run(model_input()) for threads in (1, 2))
    assert one.score == pytest.approx(two.score, abs=1e-6)


def test_a_bundle_opens_its_model(tmp_path: Path) -> None:
    bundle = load_bundle(pack_stub_bundle(tmp_path / "stub"))
    zeros = np.zeros(SHAPE, np.float32)
    assert open_backend(bundle).run(zeros).score == open_backend(bundle, "models/stub.onnx").run(zeros).score
    with pytest.raises(BundleMalformed, match=r"models/other\.onnx"):
        open_backend(bundle, "models/other.onnx")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["score", "type", "depth", "flash_response"])
def test_an_output_that_is_not_finite_is_an_error(name: str, bad: float) -> None:
    with pytest.raises(ModelFailed, match=name):
        OnnxBackend(stub_model(poison={name: bad})).run(model_input())


@pytest.mark.parametrize(
    ("name", "added", "message"),
    [("score", 0.5, "score"), ("score", -1.0, "score"), ("type", 0.1, "add up"), ("depth", 0.01, "depth")],
)
def test_an_output_out_of_range_is_an_error(name: str, added: float, message: str) -> None:
    with pytest.raises(ModelFailed, match=message):
        OnnxBackend(stub_model(poison={name: added})).run(model_input())


def test_rounding_just_outside_the_range_is_set_to_the_bound() -> None:
    values = {
        "score": np.array([1.000001], np.float32),
        "type": np.array([1.000001, -1e-7, 0], np.float32),
        "depth": np.full((1, 2, 2), 1.000001, np.float32),
        "flash_response": np.zeros((6, 3), np.float32),
    }
    outputs = checked_outputs(values)
    assert (outputs.score, outputs.type.max(), outputs.type.min(), outputs.depth.max()) == (1.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "bad_input",
    [
        np.zeros((4, 3, 128, 128), np.float32),
        np.zeros((6, 3, 64, 64), np.float32),
        np.zeros(SHAPE, np.float64),
        np.full(SHAPE, np.nan, np.float32),
        np.full(SHAPE, 1.5, np.float32),
    ],
    ids=["rows", "size", "dtype", "nan", "range"],
)
def test_an_input_that_does_not_fit_is_an_error(bad_input: Any) -> None:
    with pytest.raises(ModelFailed):
        OnnxBackend(stub_model()).run(bad_input)


@pytest.mark.parametrize("damaged", [b"", b"not a model", stub_model()[:-200]], ids=["empty", "text", "truncated"])
def test_a_damaged_model_is_an_error_and_silent(damaged: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelFailed):
        OnnxBackend(damaged)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_contradicts_the_manifest_is_an_error() -> None:
    with pytest.raises(ModelFailed, match="as the manifest says"):
        OnnxBackend(stub_model(n0=4), artifact=stub_artifact(5, 128, 0.5))


def test_a_model_with_other_tensors_is_an_error() -> None:
    import onnx

    model = onnx.load_from_string(stub_model())
    del model.graph.output[0]
    with pytest.raises(ModelFailed, match="score"):
        OnnxBackend(model.SerializeToString())


def test_a_missing_onnxruntime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(BackendMissing, match="pip install onnxruntime"):
        OnnxBackend(stub_model())
