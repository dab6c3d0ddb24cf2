"""Core ML's predictor: its answers are vouched for, its failures are errors of ours, and off macOS it says so.

No Core ML runs here: a stand-in for coremltools shows what the runtime makes of what Core ML returns.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sdk_reference.bundle import unpacked
from sdk_reference.coreml_backend import CoreMLBackend, open_coreml_artifact
from sdk_reference.errors import BackendMissing, ModelFailed
from sdk_reference.manifest import INPUT_NAME, Artifact, expected_shapes

SHAPE = (6, 3, 32, 32)
ARTIFACT = Artifact.model_construct(file="models/a.mlpackage", format="coreml")
FILES = {"models/a.mlpackage/Manifest.json": b"{}", "models/a.mlpackage/Data/model.mlmodel": b"model"}


class StandIn:
    """What the backend uses of coremltools."""

    ComputeUnit = SimpleNamespace(ALL="all", CPU_ONLY="cpu only")

    def __init__(self, shapes=None, answer=None, error=None):
        self.models = SimpleNamespace(MLModel=self.load)
        self.shapes = shapes or expected_shapes(SHAPE[0], SHAPE[-1])
        self.answer = answer or sound_answer()
        self.error = error
        self.loaded = []

    def load(self, path, compute_units):
        self.loaded.append((compute_units, sorted(p.name for p in Path(path).rglob("*") if p.is_file())))
        return self

    def get_spec(self):
        arrays = {n: SimpleNamespace(multiArrayType=SimpleNamespace(shape=s)) for n, s in self.shapes.items()}
        tensors = [SimpleNamespace(name=name, type=array) for name, array in arrays.items()]
        return SimpleNamespace(description=SimpleNamespace(input=tensors[:1], output=tensors[1:]))

    def predict(self, values):
        assert {name: value.shape for name, value in values.items()} == {INPUT_NAME: SHAPE}
        if self.error:
            raise self.error
        return self.answer


def sound_answer(**changes):
    shapes = expected_shapes(SHAPE[0], SHAPE[-1])
    answer = {name: np.full(shapes[name], 0.25, np.float32) for name in ("score", "depth", "flash_response")}
    return {**answer, "type": np.array([0.5, 0.25, 0.25], np.float32), **changes}


@pytest.fixture
def macos(monkeypatch):
    """A function that makes this a Mac with that coremltools."""

    def become(stand_in):
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setitem(sys.modules, "coremltools", stand_in)
        return stand_in

    return become


def zeros():
    return np.zeros(SHAPE, np.float32)


def test_off_macos_it_says_where_core_ml_runs_and_what_to_do_instead(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(BackendMissing, match=r"Apple systems only.*check --artifact"):
        CoreMLBackend(tmp_path)


def test_a_mac_without_coremltools_is_told_how_to_install_it(macos, tmp_path):
    macos(None)  # which Python's import takes for a module that cannot be found
    with pytest.raises(BackendMissing, match="pip install coremltools"):
        CoreMLBackend(tmp_path)


def test_an_answer_becomes_outputs(macos, tmp_path):
    macos(StandIn())
    outputs = CoreMLBackend(tmp_path).run(zeros())
    assert outputs.score == 0.25
    assert outputs.depth.shape == (8, 8)
    assert outputs.flash_response.shape == (6, 3)


def test_the_compute_units_are_the_callers_choice_and_all_by_default(macos, tmp_path):
    stand_in = macos(StandIn())
    CoreMLBackend(tmp_path)
    CoreMLBackend(tmp_path, "CPU_ONLY")
    assert [units for units, _ in stand_in.loaded] == ["all", "cpu only"]


@pytest.mark.parametrize(
    "answer",
    [
        sound_answer(score=np.array([np.nan], np.float32)),
        sound_answer(depth=np.full((1, 8, 8), 1.5, np.float32)),
        {"score": np.zeros(1, np.float32)},
    ],
)
def test_an_answer_that_is_not_sound_is_an_error(answer, macos, tmp_path):
    macos(StandIn(answer=answer))
    with pytest.raises(ModelFailed):
        CoreMLBackend(tmp_path).run(zeros())


def test_core_mls_own_error_is_one_of_ours(macos, tmp_path):
    macos(StandIn(error=RuntimeError("Error computing NN outputs")))
    with pytest.raises(ModelFailed, match="computing NN outputs"):
        CoreMLBackend(tmp_path).run(zeros())


def test_a_package_with_other_tensors_is_refused(macos, tmp_path):
    macos(StandIn(shapes={**expected_shapes(6, 32), "score": (2,)}))
    with pytest.raises(ModelFailed, match="tensors"):
        CoreMLBackend(tmp_path)


def test_a_package_that_does_not_load_is_refused(macos, tmp_path):
    stand_in = macos(StandIn())
    stand_in.models.MLModel = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("compiler error"))
    with pytest.raises(ModelFailed, match="compiler error"):
        CoreMLBackend(tmp_path)


def bundle():
    files = {**FILES, "models/b.onnx": b"another", "models/a.mlpackage.txt": b"not in the package"}
    return SimpleNamespace(manifest=SimpleNamespace(files=files), read=files.__getitem__)


def test_a_package_is_written_out_of_the_bundle_and_removed_again():
    with unpacked(bundle(), ARTIFACT) as package:
        found = {f"{ARTIFACT.file}/{p.relative_to(package).as_posix()}" for p in package.rglob("*") if p.is_file()}
        assert found == set(FILES)
        assert (package / "Data/model.mlmodel").read_bytes() == b"model"
    assert not package.exists()


def test_an_artifact_is_opened_from_a_folder_that_does_not_stay(macos, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stand_in = macos(StandIn())
    assert open_coreml_artifact(bundle(), ARTIFACT, "CPU_ONLY").run(zeros()).score == 0.25
    assert stand_in.loaded == [("cpu only", ["Manifest.json", "model.mlmodel"])]
    assert list(tmp_path.iterdir()) == []
