"""The manifest: what is written is read back, nothing is optional, nothing is extra, other versions come first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stub_model import pack_stub_bundle

from sdk_reference import manifest as manifests
from sdk_reference.errors import BundleMalformed, BundleSchemaUnsupported
from sdk_reference.manifest import Manifest, check_path, from_json, to_json


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (pack_stub_bundle(tmp_path_factory.mktemp("stub")) / "manifest.json").read_bytes()


def changed(data: bytes, place: str, value: Any) -> bytes:
    """The manifest with the value at a dotted place replaced; `...` removes it."""
    parsed = json.loads(data)
    *parents, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    target = parsed
    for part in parents:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return json.dumps(parsed).encode()


def test_writing_and_reading_gives_the_same_manifest_and_the_same_bytes(written: bytes) -> None:
    assert to_json(from_json(written)) == written


def test_the_canonical_form_does_not_depend_on_the_order_of_keys(written: bytes) -> None:
    backwards = json.dumps(dict(reversed(json.loads(written).items()))).encode()
    assert to_json(from_json(backwards)) == written


def test_it_states_what_the_paper_fixes(written: bytes) -> None:
    manifest = from_json(written)
    # section 5.1, the matrix for five frames: (rank taken, rank subtracted)
    assert manifest.differential_rows == ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4))
    assert manifest.species_order == ("print", "replay", "mask")
    assert manifest.artifact().inputs[0].shape == (6, 3, 128, 128)


FREE_TABLES = ("files/", "artifacts/0/tolerances/", "artifacts/0/operating_point/rates/")


def every_place(value: Any, place: str = "") -> list[str]:
    """The place of every key of every object, lists' first elements included, but for free-form tables."""
    if isinstance(value, list):
        return every_place(value[0], f"{place}0/") if value and isinstance(value[0], dict) else []
    if not isinstance(value, dict) or place in FREE_TABLES:
        return []
    return [found for key in value for found in (place + key, *every_place(value[key], f"{place}{key}/"))]


def test_every_field_is_required(written: bytes) -> None:
    places = every_place(json.loads(written))
    assert len(places) > 60
    for place in places:
        with pytest.raises((BundleMalformed, BundleSchemaUnsupported)):
            from_json(changed(written, place, ...))


@pytest.mark.parametrize(
    "place", ["surprise", "flash/surprise", "alignment/surprise", "preprocess/surprise", "quality_limits/surprise"]
)
def test_an_unknown_field_is_refused(written: bytes, place: str) -> None:
    with pytest.raises(BundleMalformed, match="surprise"):
        from_json(changed(written, place, 1))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("n0", "5"),
        ("n0", 5.5),
        ("n0", 2),
        ("n0", 9),
        ("n0", 4),
        ("name", "../x"),
        ("version", "1.0"),
        ("created", "yesterday"),
        ("colour_order", "BGR"),
        ("flash/colours_srgb/0", [255, 255, 256]),
        ("flash/colours_srgb/0", [1.0, 1.0, 1.0]),
        ("preprocess/transfer", "log"),
        ("preprocess/input_size", "128"),
        ("artifacts", []),
        ("artifacts/0/file", "models/other.onnx"),
        ("artifacts/0/format", "pickle"),
        ("artifacts/0/inputs/0/shape", [6, 3, 64, 64]),
        ("artifacts/0/outputs/0/name", "verdict"),
        ("artifacts/0/operating_point/threshold", 0.0),
        ("artifacts/0/operating_point/threshold", 1.5),
        ("artifacts/0/operating_point/threshold", True),
        ("artifacts/0/operating_point/split", "test"),
        ("artifacts/0/operating_point/rates/far/low", 0.5),
        ("alignment/points", [[0.0, 0.0]]),
        ("files/y.bin", {"sha256": "0" * 64, "bytes": -1}),
        ("files/x.bin", {"sha256": "0" * 63, "bytes": 1}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(written: bytes, place: str, value: Any) -> None:
    with pytest.raises(BundleMalformed):
        from_json(changed(written, place, value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_threshold_that_is_not_finite_is_refused(written: bytes, number: str) -> None:
    data = written.replace(b'"threshold": 0.5', f'"threshold": {number}'.encode())
    assert data != written
    with pytest.raises(BundleMalformed):
        from_json(data)


@pytest.mark.parametrize("version", [0, 1, 2, 4, 3.0, True, "3", None, ..., [3]])
def test_another_schema_version_is_named_before_anything_else(written: bytes, version: Any) -> None:
    data = changed(changed(written, "schema_version", version), "n0", "nonsense")
    with pytest.raises(BundleSchemaUnsupported, match="schema version"):
        from_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema_version": 3, "schema_version": 3}',
        b"[" * 100_000,
        b'{"schema_version": ' + b"9" * 5000 + b"}",
        b" " * (manifests.MAX_MANIFEST_BYTES + 1),
    ],
    ids=["empty", "cut", "list", "null", "not utf-8", "twice", "deep", "huge number", "too long"],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleMalformed):
        from_json(data)


@pytest.mark.parametrize("path", ["models/a.onnx", "MODEL_CARD.md", "golden/1 live/frame_0.png", "a"])
def test_ordinary_paths_are_accepted(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "C:/a", "a\0b", "a\n", ".hidden", "x" * 201),
        *("manifest.json", "nul", "models/COM1.onnx", "a.", "a ", "ä"),
    ],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|manifest"):
        check_path(path)


def test_two_paths_that_differ_only_in_case_are_refused(written: bytes) -> None:
    entry = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(BundleMalformed, match="upper and lower"):
        from_json(changed(changed(written, "files/a.txt", entry), "files/A.txt", entry))


def test_a_manifest_cannot_be_changed(written: bytes) -> None:
    manifest: Manifest = from_json(written)
    with pytest.raises(ValueError, match="frozen"):
        manifest.n0 = 4  # type: ignore[misc]
