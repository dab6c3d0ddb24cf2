"""A bundle that goes or changes while it is in use gives no verdict, from a folder as from a zip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_capture import StubDetector, stub_capture
from stub_model import MODEL_FILE, pack_stub_bundle

from sdk_reference.bundle import MANIFEST_NAME, load_bundle, zip_bundle
from sdk_reference.checker import Checker
from sdk_reference.errors import (
    BundleError,
    BundleFileMissing,
    BundleHashMismatch,
    BundleMalformed,
    BundleNotFound,
)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def put_a_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"no folder")


def put_a_pipe_in_place_of_the_model(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    os.mkfifo(folder / MODEL_FILE)


def put_another_bundle_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    pack_stub_bundle(folder, offset=-4.0)


HAPPENINGS: dict[str, tuple[Callable[[Path], object], type[BundleError]]] = {
    "removed": (shutil.rmtree, BundleNotFound),
    "model removed": (lambda folder: (folder / MODEL_FILE).unlink(), BundleFileMissing),
    "model changed": (lambda folder: flip_a_bit(folder / MODEL_FILE), BundleHashMismatch),
    "model emptied": (lambda folder: (folder / MODEL_FILE).write_bytes(b""), BundleHashMismatch),
    "model a pipe": (put_a_pipe_in_place_of_the_model, BundleMalformed),
    "manifest removed": (lambda folder: (folder / MANIFEST_NAME).unlink(), BundleFileMissing),
    "manifest changed": (lambda folder: flip_a_bit(folder / MANIFEST_NAME), BundleHashMismatch),
    "card removed": (lambda folder: (folder / "MODEL_CARD.md").unlink(), BundleFileMissing),
    "a file instead": (put_a_file_in_its_place, BundleMalformed),
    "another bundle": (put_another_bundle_in_its_place, BundleHashMismatch),
}


@pytest.mark.parametrize("name", HAPPENINGS)
def test_what_happens_to_the_folder_in_use_is_an_error_and_no_verdict(name: str, tmp_path: Path) -> None:
    happens, error = HAPPENINGS[name]
    folder = pack_stub_bundle(tmp_path / "stub")
    checker = Checker(load_bundle(folder), StubDetector())
    assert checker.check(stub_capture()).decision.verdict == "live"
    happens(folder)
    with pytest.raises(error) as caught:
        checker.check(stub_capture())
    assert type(caught.value) is error


def cut_in_half(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def zip_another(archive: Path) -> None:
    zip_bundle(pack_stub_bundle(archive.parent / "other", offset=-4.0), archive)


@pytest.mark.parametrize(
    ("happens", "error"),
    [(Path.unlink, BundleNotFound), (cut_in_half, BundleMalformed), (zip_another, BundleHashMismatch)],
)
def test_what_happens_to_the_zip_in_use_is_an_error_and_no_verdict(
    happens: Callable[[Path], object], error: type[BundleError], tmp_path: Path
) -> None:
    archive = zip_bundle(pack_stub_bundle(tmp_path / "stub"), tmp_path / "stub.zip")
    checker = Checker(load_bundle(archive), StubDetector())
    assert checker.check(stub_capture()).decision.verdict == "live"
    happens(archive)
    with pytest.raises(error):
        checker.check(stub_capture())


def test_a_bundle_that_was_put_back_decides_again(tmp_path: Path) -> None:
    folder = pack_stub_bundle(tmp_path / "stub")
    checker = Checker(load_bundle(folder), StubDetector())
    away = folder.rename(tmp_path / "away")
    with pytest.raises(BundleNotFound, match="put it back"):
        checker.check(stub_capture())
    away.rename(folder)
    assert checker.check(stub_capture()).decision.verdict == "live"
