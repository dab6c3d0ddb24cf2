"""One exported bundle for all tests of this folder: a tiny random network and a painted disk for a face."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stub_capture import StubDetector, stub_capture
from stub_run import stub_run

from export.converted import CalibrationSet
from export.describe import PackSettings
from export.evidence import Evidence
from export.pack import pack
from sdk_reference.bundle import hash_files, load_bundle, write_manifest
from sdk_reference.manifest import Manifest, from_json

CREATED = "2026-01-02T03:04:05Z"
ONNX_ALONE = PackSettings(created=CREATED, formats=("onnx",), precisions=("fp32",))
NO_EVIDENCE = Evidence(inputs=[], calibration=CalibrationSet(0, ()))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return stub_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def packed(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "sound"
    return pack(run, out, {"disk": stub_capture()}, NO_EVIDENCE, StubDetector(), ONNX_ALONE)


@pytest.fixture
def bundle(packed, tmp_path):
    """A copy of the sound bundle, to be broken."""
    return Path(shutil.copytree(packed.path, tmp_path / "bundle"))


@pytest.fixture
def reseal():
    """A function that gives a changed bundle the hashes of its files again; `changes` replaces manifest fields."""

    def write(folder: Path, **changes: object) -> Path:
        manifest = load_manifest(folder)
        write_manifest(folder, manifest.model_copy(update={**changes, "files": hash_files(folder)}))
        load_bundle(folder)
        return folder

    return write


def load_manifest(folder: Path) -> Manifest:
    return from_json((folder / "manifest.json").read_bytes())
