"""The LiteRT backend: right values, and an error of our tree for everything that is not right."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import mutated
from stub_model import pack_stub_bundle, stub_artifact
from tiny_network import TINY

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert, from flashproof[litert], is not installed")
pytest.importorskip("litert_torch", reason="litert-torch, from flashproof[export], makes the model of these tests")

import torch

from export.litert import export_litert
from export.litert_file import read, write
from export.parity import run_network
from sdk_reference.backends import open_backend
from sdk_reference.bundle import hash_files, load_bundle, write_manifest
from sdk_reference.errors import BackendMissing, BundleHashMismatch, FlashproofError, ModelFailed
from sdk_reference.litert_backend import LitertBackend
from sdk_reference.manifest import from_json
from sdk_reference.preprocess import PreprocessSettings
from training.network import ATRFAS

SIZE = 32
SHAPE = (6, 3, SIZE, SIZE)
MODEL_FILE = "models/tiny.tflite"
MUTATIONS = 500
ARTIFACT = stub_artifact(5, SIZE, 0.5).model_copy(update={"file": MODEL_FILE, "format": "litert", "opset": None})


@pytest.fixture(scope="module")
def network() -> ATRFAS:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return ATRFAS(TINY).eval()


@pytest.fixture(scope="module")
def model(network: ATRFAS) -> bytes:
    return export_litert(network)


@pytest.fixture
def folder(model: bytes, tmp_path: Path) -> Path:
    """A bundle whose only model is the LiteRT file."""
    folder = pack_stub_bundle(tmp_path / "tiny")
    (folder / "models" / "stub.onnx").unlink()
    (folder / MODEL_FILE).write_bytes(model)
    manifest = from_json((folder / "manifest.json").read_bytes())
    changes = {"artifacts": (ARTIFACT,), "preprocess": PreprocessSettings(input_size=SIZE), "files": hash_files(folder)}
    write_manifest(folder, manifest.model_copy(update=changes))
    return folder


def model_input(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, SHAPE).astype(np.float32)


def test_outputs_are_those_of_the_network(model: bytes, network: ATRFAS) -> None:
    x = model_input()
    outputs, expected = LitertBackend(model, artifact=ARTIFACT).run(x), run_network(network, x)
    assert outputs.score == pytest.approx(float(expected["score"][0]), abs=1e-5)
    np.testing.assert_allclose(outputs.type, expected["type"], atol=1e-5)
    np.testing.assert_allclose(outputs.depth, expected["depth"][0], atol=1e-5)
    np.testing.assert_allclose(outputs.flash_response, expected["flash_response"], atol=1e-5)


def test_threads_and_repetition_do_not_change_the_answer(model: bytes) -> None:
    one, two = LitertBackend(model, 1), LitertBackend(model, 2)
    first, second, threaded = one.run(model_input()), one.run(model_input()), two.run(model_input())
    assert first.score == second.score == pytest.approx(threaded.score, abs=1e-6)
    np.testing.assert_array_equal(first.depth, second.depth)


def test_an_answer_stays_as_it_was_after_the_next_run(model: bytes) -> None:
    backend = LitertBackend(model)
    depth = (first := backend.run(model_input(0))).depth.copy()
    backend.run(model_input(1))
    np.testing.assert_array_equal(first.depth, depth)


def test_a_bundle_opens_its_litert_model(folder: Path) -> None:
    backend = open_backend(load_bundle(folder))
    assert isinstance(backend, LitertBackend)
    assert 0 <= backend.run(model_input()).score <= 1


def test_loading_says_nothing(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    LitertBackend(model).run(model_input())
    with pytest.raises(ModelFailed):
        LitertBackend(model[:-200])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "bad_input",
    [
        np.zeros((4, 3, SIZE, SIZE), np.float32),
        np.zeros((6, 3, 2 * SIZE, 2 * SIZE), np.float32),
        np.zeros(SHAPE, np.float64),
        np.full(SHAPE, np.nan, np.float32),
        np.full(SHAPE, 1.5, np.float32),
    ],
    ids=["rows", "size", "dtype", "nan", "range"],
)
def test_an_input_that_does_not_fit_is_an_error(model: bytes, bad_input: Any) -> None:
    with pytest.raises(ModelFailed):
        LitertBackend(model).run(bad_input)


@pytest.mark.parametrize("damaged", [b"", b"not a model" * 20, b"\0\0\0\0TFL3" + bytes(200)])
def test_what_is_not_a_model_is_an_error(damaged: bytes) -> None:
    with pytest.raises(ModelFailed):
        LitertBackend(damaged)


def test_a_model_that_contradicts_the_manifest_is_an_error(model: bytes) -> None:
    with pytest.raises(ModelFailed, match="as the manifest says"):
        LitertBackend(model, artifact=stub_artifact(5, 2 * SIZE, 0.5))


@pytest.mark.parametrize(("old", "new"), [(b"score", b"probability"), (b"differential", b"input")])
def test_a_model_with_other_names_is_an_error(model: bytes, old: bytes, new: bytes) -> None:
    parsed = read(model)
    (signature,) = parsed.signatureDefs
    (entry,) = [entry for entry in (*signature.inputs, *signature.outputs) if entry.name == old]
    entry.name = new
    with pytest.raises(ModelFailed, match=new.decode()):
        LitertBackend(write(parsed))


def test_a_missing_litert_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(BackendMissing, match=r"pip install 'flashproof\[litert\]'"):
        LitertBackend(model)


def test_a_format_without_a_backend_is_an_error(folder: Path) -> None:
    bundle = load_bundle(folder)
    artifact = ARTIFACT.model_copy(update={"format": "coreml"})
    object.__setattr__(bundle, "manifest", bundle.manifest.model_copy(update={"artifacts": (artifact,)}))
    with pytest.raises(FlashproofError):
        open_backend(bundle)


@pytest.mark.slow
def test_500_mutations_of_a_bundles_model_are_500_errors(folder: Path, model: bytes) -> None:
    rng = random.Random(11)
    for _ in range(MUTATIONS):
        (folder / MODEL_FILE).write_bytes(mutated(model, rng))
        with pytest.raises(BundleHashMismatch):
            open_backend(load_bundle(folder))


MUTATE_RAW = """
import random, sys
from pathlib import Path
import numpy as np
from sdk_reference.errors import ModelFailed
from sdk_reference.litert_backend import LitertBackend
from mutations import mutated

model, rng, refused = Path(sys.argv[1]).read_bytes(), random.Random(12), 0
for _ in range(int(sys.argv[2])):
    try:
        LitertBackend(mutated(model, rng)).run(np.zeros((6, 3, 32, 32), np.float32))
    except ModelFailed:
        refused += 1
print(refused)
"""


@pytest.mark.slow
def test_500_mutations_past_the_hash_never_end_the_process(folder: Path) -> None:
    """Without the manifest's hash a changed weight may go unseen, but nothing crashes and no other error escapes."""
    here = Path(__file__).resolve()
    paths = [str(here.parents[2]), str(here.parents[1])]
    command = f"import sys; sys.path[:0] = {paths!r}\n{MUTATE_RAW}"
    arguments = [sys.executable, "-c", command, str(folder / MODEL_FILE), str(MUTATIONS)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > MUTATIONS // 3  # every truncation at the least
