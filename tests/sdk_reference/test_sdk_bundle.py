"""A bundle that is not exactly what its manifest says is refused, each malformation by its own error."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_model import MODEL_FILE, pack_stub_bundle

from sdk_reference import bundle as bundles
from sdk_reference.bundle import FolderStore, hash_files, load_bundle, zip_bundle
from sdk_reference.errors import (
    BundleError,
    BundleFileMissing,
    BundleHashMismatch,
    BundleMalformed,
    BundleNotFound,
    BundleSchemaUnsupported,
)
from sdk_reference.manifest import runtime_alignment


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    return pack_stub_bundle(tmp_path / "stub")


def edit_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_folder_and_a_zip_of_it_are_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    from_folder, from_zip = load_bundle(folder), load_bundle(zip_bundle(folder, tmp_path / "stub.zip"))
    assert from_folder.sha256 == from_zip.sha256
    assert from_folder.manifest == from_zip.manifest
    assert from_folder.read(MODEL_FILE) == from_zip.read(MODEL_FILE) == (folder / MODEL_FILE).read_bytes()
    assert from_folder.identity == f"stub 0.0.1 ({from_folder.sha256[:12]})"


def test_zipping_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first, second = (zip_bundle(folder, tmp_path / name).read_bytes() for name in ("a.zip", "b.zip"))
    assert first == second


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "abc.txt").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert hash_files(tmp_path)["abc.txt"].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def remove_model(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()


def link_model(folder: Path) -> None:
    model = folder / MODEL_FILE
    model.rename(folder.parent / "elsewhere.onnx")
    model.symlink_to(folder.parent / "elsewhere.onnx")


def link_a_folder(folder: Path) -> None:
    (folder / "models").rename(folder.parent / "models")
    (folder / "models").symlink_to(folder.parent / "models")


def add_pipe(folder: Path) -> None:
    __import__("os").mkfifo(folder / "pipe")


def list_a_path_outside(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    edit_manifest(folder, lambda content: content["files"].update({"../secret": content["files"]["MODEL_CARD.md"]}))


MALFORMATIONS: dict[str, tuple[Callable[[Path], object], type[BundleError]]] = {
    "changed byte": (lambda folder: flip_a_bit(folder / MODEL_FILE), BundleHashMismatch),
    "longer file": (lambda folder: (folder / "MODEL_CARD.md").write_bytes(b"# A stub\n\n"), BundleHashMismatch),
    "missing file": (remove_model, BundleFileMissing),
    "missing manifest": (lambda folder: (folder / "manifest.json").unlink(), BundleFileMissing),
    "extra file": (lambda folder: (folder / "models/extra.bin").write_bytes(b""), BundleMalformed),
    "link": (link_model, BundleMalformed),
    "linked folder": (link_a_folder, BundleMalformed),
    "pipe": (add_pipe, BundleMalformed),
    "path outside": (list_a_path_outside, BundleMalformed),
    "manifest is text": (lambda folder: (folder / "manifest.json").write_text("hello"), BundleMalformed),
    "huge manifest": (lambda folder: (folder / "manifest.json").write_bytes(b" " * 1_000_001), BundleMalformed),
    "older schema": (lambda f: edit_manifest(f, lambda c: c.update(schema_version=2)), BundleSchemaUnsupported),
    "newer schema": (lambda f: edit_manifest(f, lambda c: c.update(schema_version=4)), BundleSchemaUnsupported),
    "other D": (
        lambda f: edit_manifest(f, lambda c: c["differential_rows"].__setitem__(5, [1, 3])),  # the paper's misprint
        BundleSchemaUnsupported,
    ),
    "other template": (
        lambda f: edit_manifest(f, lambda c: c["alignment"]["points"].__setitem__(0, [1.0, 1.0])),
        BundleSchemaUnsupported,
    ),
    "other species": (
        lambda f: edit_manifest(f, lambda c: c.update(species_order=["mask", "replay", "print"])),
        BundleSchemaUnsupported,
    ),
}


@pytest.mark.parametrize("name", MALFORMATIONS)
def test_a_malformed_folder_is_refused(name: str, folder: Path) -> None:
    damage, error = MALFORMATIONS[name]
    damage(folder)
    with pytest.raises(error) as caught:
        load_bundle(folder)
    assert type(caught.value) is error
    assert caught.value.exit_status == 4


def test_the_same_alignment_is_no_other_template(tmp_path: Path) -> None:
    load_bundle(pack_stub_bundle(tmp_path / "stub", alignment=runtime_alignment()))


def test_nothing_at_the_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound):
        load_bundle(tmp_path / "nowhere")


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(b"hello")
    with pytest.raises(BundleMalformed):
        load_bundle(tmp_path / "bundle.zip")


def test_a_zip_cut_short_or_changed_anywhere_never_loads_quietly(folder: Path, tmp_path: Path) -> None:
    whole = zip_bundle(folder, tmp_path / "whole.zip").read_bytes()
    damaged = tmp_path / "damaged.zip"
    for place in range(0, len(whole), 61):
        damaged.write_bytes(whole[:place])
        with pytest.raises(BundleError):
            load_bundle(damaged)
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            bundle = load_bundle(damaged)
        except BundleError:
            continue
        # Dates and the like may differ; what counts may not.
        assert bundle.sha256 == load_bundle(folder).sha256


def write_zip(path: Path, folder: Path, extra: Callable[[zipfile.ZipFile], object]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FolderStore(folder).sizes():
            archive.write(folder / name, name)
        extra(archive)
    return path


def linked_entry(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/hostname")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (lambda archive: archive.writestr("../outside.txt", "x"), "does not list"),
        (lambda archive: archive.writestr("/absolute.txt", "x"), "does not list"),
        (lambda archive: archive.writestr("extra.txt", "x"), "does not list"),
        (linked_entry, "a link or a device"),
    ],
    ids=["parent", "absolute", "extra", "link"],
)
def test_a_hostile_zip_entry_is_refused(
    extra: Callable[[zipfile.ZipFile], object], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleMalformed, match=message):
        load_bundle(write_zip(tmp_path / "hostile.zip", folder, extra))


def test_two_entries_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "twice.zip", folder, lambda archive: archive.writestr("MODEL_CARD.md", "other"))
    with pytest.raises(BundleMalformed, match="two entries"):
        load_bundle(path)


def test_limits_hold_before_contents_are_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", folder, lambda archive: archive.writestr("zeros", bytes(2**20)))
    monkeypatch.setattr(bundles, "MAX_FILE_BYTES", 2**20 - 1)
    monkeypatch.setattr(bundles.ZipStore, "read", lambda *_: pytest.fail("the contents were read"))
    with pytest.raises(BundleMalformed, match="at most"):
        load_bundle(bomb)


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 2), ("MAX_TOTAL_BYTES", 1000), ("MAX_FILE_BYTES", 500)])
def test_too_much_is_refused(limit: str, value: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_bundle(folder)
    monkeypatch.setattr(bundles, limit, value)
    with pytest.raises(BundleMalformed):
        load_bundle(folder)


def test_an_entry_that_claims_an_impossible_compression_is_refused() -> None:
    entry = zipfile.ZipInfo("x")
    entry.file_size, entry.compress_size = 10**6, 10
    with pytest.raises(BundleMalformed, match="compression"):
        bundles.check_member(entry)


def test_a_file_changed_after_loading_is_noticed_when_read(folder: Path) -> None:
    bundle = load_bundle(folder)
    flip_a_bit(folder / MODEL_FILE)
    with pytest.raises(BundleHashMismatch):
        bundle.read(MODEL_FILE)
    (folder / MODEL_FILE).unlink()
    with pytest.raises(BundleFileMissing):
        bundle.read(MODEL_FILE)


@pytest.mark.parametrize("path", ["manifest.json", "../stub/MODEL_CARD.md", "nothing"])
def test_only_listed_files_can_be_read(path: str, folder: Path) -> None:
    with pytest.raises(BundleFileMissing):
        load_bundle(folder).read(path)
