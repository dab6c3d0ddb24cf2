"""Damaged and malicious bundles: an error of our tree or the very same bundle, never a crash or a changed byte in use.

Mutations are random but seeded: bits flipped, ranges cut, inserted, overwritten and swapped, files cut short. What one
particular malformation gives is in test_sdk_bundle.py.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stub_model import MODEL_FILE, pack_stub_bundle, stub_artifact

from sdk_reference import bundle as bundles
from sdk_reference import manifest as manifests
from sdk_reference.bundle import Bundle, hash_files, load_bundle, write_manifest, zip_bundle
from sdk_reference.capture import load_capture
from sdk_reference.container import MAX_FILES as MAX_CAPTURE_FILES
from sdk_reference.container import is_small_zip
from sdk_reference.errors import BundleError, BundleHashMismatch, BundleMalformed, BundleSchemaUnsupported, InvalidInput

MUTATIONS = 500
LITERT_FILE, COREML_PACKAGE = "models/stub.tflite", "models/stub.mlpackage"
COREML_FILE = f"{COREML_PACKAGE}/Data/com.apple.CoreML/model.mlmodel"
PICTURE, NUMBERS, VALUES = "golden/one/aligned_0.png", "golden/one/model_input.f32", "golden/one/quality.json"
MEMBERS = (MODEL_FILE, LITERT_FILE, COREML_FILE, PICTURE, NUMBERS, VALUES)
HEADER_OF_A_ZIP_ENTRY = 46


def member_contents() -> dict[str, bytes]:
    """A few hundred bytes of each kind of file that a bundle can hold."""
    rng = np.random.default_rng(0)
    picture = cv2.imencode(".png", rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))[1].tobytes()
    return {
        LITERT_FILE: struct.pack("<I4s", 28, b"TFL3") + rng.bytes(400),
        COREML_FILE: b"\x08\x07\x12\x10" + rng.bytes(400),
        f"{COREML_PACKAGE}/Data/com.apple.CoreML/weights/weight.bin": rng.bytes(300),
        f"{COREML_PACKAGE}/Manifest.json": b'{"fileFormatVersion": "1.0.0"}',
        PICTURE: picture,
        NUMBERS: rng.normal(size=64).astype("<f4").tobytes(),
        VALUES: json.dumps({"flash_snr": 12.5, "motion_px": 3.25}).encode(),
    }


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an artifact of every format and a file of every type; only the ONNX file is a real model."""
    folder = pack_stub_bundle(tmp_path_factory.mktemp("bundles") / "sound")
    for path, data in member_contents().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    first = stub_artifact(5, 128, 0.5)
    litert = first.model_copy(update={"file": LITERT_FILE, "format": "litert", "opset": None})
    coreml = first.model_copy(update={"file": COREML_PACKAGE, "format": "coreml", "opset": None})
    manifest = manifests.from_json((folder / "manifest.json").read_bytes())
    artifacts = (first, litert, coreml)
    write_manifest(folder, manifest.model_copy(update={"artifacts": artifacts, "files": hash_files(folder)}))
    load_bundle(folder)
    return folder


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with one to three random damages; never `data` itself."""
    changed = data
    while changed == data:
        for _ in range(int(rng.integers(1, 4))):
            changed = damaged(changed, rng)
    return changed


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return rng.bytes(4)
    start, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    short = min(end, start + 16)
    kind = rng.integers(0, 6)
    if kind == 0:
        place = int(rng.integers(0, len(data)))
        return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(0, 8))]) + data[place + 1 :]
    if kind == 1:
        return data[:start]
    if kind == 2:
        return data[:start] + rng.bytes(int(rng.integers(1, 16))) + data[start:]
    if kind == 3:
        return data[:start] + data[short:]
    if kind == 4:
        return data[:start] + rng.choice([b"\0", b"\xff"]) * (short - start) + data[short:]
    return data[short:end] + data[:short] + data[end:]


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {path: bundle.read(path) for path in bundle.manifest.files}


@pytest.mark.parametrize("path", MEMBERS)
def test_no_mutation_of_a_member_is_loaded_or_read(path: str, sound: Path) -> None:
    original, loaded = (sound / path).read_bytes(), load_bundle(sound)
    rng = np.random.default_rng(MEMBERS.index(path))
    try:
        for _ in range(MUTATIONS):
            (sound / path).write_bytes(mutated(original, rng))
            with pytest.raises(BundleHashMismatch):
                loaded.read(path)  # opened before the change
            with pytest.raises(BundleHashMismatch):
                load_bundle(sound)
    finally:
        (sound / path).write_bytes(original)


def test_a_mutated_manifest_is_refused_or_says_the_same_in_other_bytes(sound: Path) -> None:
    path = sound / "manifest.json"
    original, rng = path.read_bytes(), np.random.default_rng(10)
    sha256, refused = load_bundle(sound).sha256, 0
    try:
        for _ in range(MUTATIONS):
            path.write_bytes(mutated(original, rng))
            try:
                bundle = load_bundle(sound)
            except BundleError:
                refused += 1
                continue
            assert bundle.sha256 != sha256  # what changed is another bundle, and says so
            assert set(bundle.manifest.files) == set(contents(bundle))
    finally:
        path.write_bytes(original)
    assert refused > 0.9 * MUTATIONS


@pytest.mark.parametrize("value", [None, True, -1, 1e999, 10**400, "", "\ud800", [], {}, [[]], {"a": {}}], ids=repr)
def test_no_value_anywhere_in_the_manifest_gives_another_error(value: object, sound: Path) -> None:
    content = json.loads((sound / "manifest.json").read_bytes())
    del content["alignment"]["points"][2:], content["alignment"]["indices"][2:]
    for parent, key in places(content):
        kept, parent[key] = parent[key], value
        try:
            manifests.from_json(json.dumps(content).encode())
        except BundleError as error:
            str(error).encode()
        parent[key] = kept


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in nested JSON."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def test_a_mutated_zip_is_refused_or_holds_the_same_bytes(sound: Path, tmp_path: Path) -> None:
    original = zip_bundle(sound, tmp_path / "sound.zip").read_bytes()
    expected = load_bundle(tmp_path / "sound.zip")
    whole, rng = contents(expected), np.random.default_rng(11)
    target = tmp_path / "mutated.zip"
    for round_number in range(2 * MUTATIONS):
        # half of them among the headers, where an archive is most of all code
        half = len(original) if round_number % 2 else original.index(b"PK\1\2")
        data = mutated(original, rng) if half == len(original) else original[:half] + mutated(original[half:], rng)
        target.write_bytes(data)
        try:
            bundle = load_bundle(target)
        except BundleError:
            continue
        assert bundle.sha256 == expected.sha256
        assert contents(bundle) == whole


def test_a_zip_changed_after_loading_is_refused_when_read(sound: Path, tmp_path: Path) -> None:
    target = zip_bundle(sound, tmp_path / "later.zip")
    original, bundle, rng = target.read_bytes(), load_bundle(target), np.random.default_rng(12)
    expected = bundle.read(MODEL_FILE)
    for _ in range(MUTATIONS):
        target.write_bytes(mutated(original, rng))
        try:
            assert bundle.read(MODEL_FILE) == expected
        except BundleError:
            continue


def zip_of(path: Path, folder: Path, change: Callable[[zipfile.ZipFile], object], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **({"compression": zipfile.ZIP_DEFLATED} | options)) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
        change(archive)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflated_entries_are_unpacked(method: int, sound: Path, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "odd.zip", sound, lambda archive: None, compression=method)
    with pytest.raises(BundleMalformed, match="packed unusually"):
        load_bundle(archive)


@pytest.mark.parametrize("name", ["../", "../up/", "/", "/etc/", "a/../../b/", "C:/x/", "con/"])
def test_a_folder_entry_that_leads_out_is_refused(name: str, sound: Path, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "out.zip", sound, lambda archive: archive.writestr(zipfile.ZipInfo(name), b""))
    with pytest.raises(BundleMalformed):
        load_bundle(archive)


def test_folder_entries_of_ordinary_zip_programs_are_allowed(sound: Path, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "usual.zip", sound, lambda archive: archive.writestr(zipfile.ZipInfo("models/"), b""))
    assert load_bundle(archive).sha256 == load_bundle(sound).sha256


def test_a_zip_bomb_is_refused_before_it_is_unpacked(sound: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A member of 257 MiB in 260 KB, at a ratio that deflate really reaches."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte, crc = bytes(2**20), 0
    packed = b"".join(packer.compress(mebibyte) for _ in range(257)) + packer.flush()
    for _ in range(257):
        crc = zlib.crc32(mebibyte, crc)
    target = zip_of(tmp_path / "bomb.zip", sound, lambda archive: archive.writestr("zeros", packed, zipfile.ZIP_STORED))
    data = bytearray(target.read_bytes())
    local, central = data.index(b"zeros") - 30, data.rindex(b"zeros") - HEADER_OF_A_ZIP_ENTRY
    for place, method_at in ((local, 8), (central, 10)):
        struct.pack_into("<H", data, place + method_at, zipfile.ZIP_DEFLATED)
        struct.pack_into("<III", data, place + method_at + 6, crc, len(packed), 257 * 2**20)
    target.write_bytes(data)
    with zipfile.ZipFile(target) as archive:
        assert archive.open("zeros").read(10) == bytes(10)  # a bomb indeed
    monkeypatch.setattr(bundles.ZipStore, "read", lambda *_: pytest.fail("the contents were read"))
    with pytest.raises(BundleMalformed, match=f"at most {bundles.MAX_FILE_BYTES}"):
        load_bundle(target)


def test_a_member_that_unpacks_to_more_than_it_states_is_refused(sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "liar.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in sound.rglob("*") if file.is_file()):
            name = file.relative_to(sound).as_posix()
            archive.writestr(name, file.read_bytes() + bytes(10**6 if name == PICTURE else 0))
    data, true_size = bytearray(target.read_bytes()), (sound / PICTURE).stat().st_size
    for place in (data.index(PICTURE.encode()) - 30 + 22, data.rindex(PICTURE.encode()) - HEADER_OF_A_ZIP_ENTRY + 24):
        struct.pack_into("<I", data, place, true_size)
    target.write_bytes(data)
    with pytest.raises(BundleError):
        load_bundle(target)


def test_a_manifest_of_100_mb_is_refused_unread(sound: Path, tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(100_000_000)  # a file with a hole: no time, no disk
    with pytest.raises(BundleMalformed, match="a manifest of 100000000 bytes"):
        load_bundle(tmp_path)
    target = tmp_path / "bundle.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("manifest.json", b" " * 2_000_000)
    with pytest.raises(BundleMalformed, match="a manifest of 2000000 bytes"):
        load_bundle(target)


@pytest.mark.parametrize("version", [4, 10**30, "3", 3.0, True, None, [3]], ids=repr)
def test_another_schema_version_is_named_whatever_else_the_manifest_holds(version: object, sound: Path) -> None:
    content = {"schema_version": version, "future": {"unknown": [1, 2, 3]}}
    with pytest.raises(BundleSchemaUnsupported, match="manifest schema version"):
        manifests.from_json(json.dumps(content).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe{\0}\0",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"schema_version": 3, "schema_version": 3}',
        b'{"schema_version": NaN}',
        b'{"schema_version": ' + b"9" * 5_000 + b"}",
        b"null",
    ],
    ids=["empty", "UTF-16", "deep list", "deep object", "key twice", "NaN", "5,000 digits", "null"],
)
def test_odd_json_for_a_manifest_is_an_error_of_the_bundle(data: bytes) -> None:
    with pytest.raises(BundleError):
        manifests.from_json(data)


def test_a_table_of_contents_of_many_members_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}", b"")
    target = tmp_path / "many.zip"
    target.write_bytes(data.getvalue())
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda *_: pytest.fail("the table was read"))
    with pytest.raises(BundleMalformed, match="table of contents"):
        load_bundle(target)
    with pytest.raises(InvalidInput):
        load_capture(target)


def test_a_64_bit_table_of_contents_does_not_hide_a_long_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("a", b"a")
    plain = (tmp_path / "plain.zip").read_bytes()
    end = plain[-22:]
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, 10**9, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(plain) - 22, 1)
    (tmp_path / "hiding.zip").write_bytes(plain[:-22] + record + locator + end)
    assert is_small_zip(tmp_path / "plain.zip", MAX_CAPTURE_FILES)
    assert not is_small_zip(tmp_path / "hiding.zip", MAX_CAPTURE_FILES)


def test_a_comment_or_leading_bytes_do_not_hide_the_table_of_contents(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a", b"a")
        archive.comment = b"c" * 65_535
    target.write_bytes(b"#!/bin/sh\n" * 10_000 + target.read_bytes())
    assert is_small_zip(target, MAX_CAPTURE_FILES)


def test_too_many_files_in_a_folder_are_counted_only_so_far(sound: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(bundles, "MAX_FILES", 3)
    for number in range(10):
        (tmp_path / f"{number}").write_bytes(b"")
    with pytest.raises(BundleMalformed, match="4 files or more"):
        load_bundle(tmp_path)
