"""The code in docs/android.md and docs/ios.md says what the bundle says: files, tensors, manifest keys, codes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import sdk_reference.errors as errors
import sdk_reference.manifest as manifests
from export.bench import Row
from export.bench_page import check_page
from export.precision_gates import LIMITS
from flash_sequencer.palette import GENTLE, STANDARD
from flash_sequencer.player import DARK_SURROUND
from sdk_reference.bundle import SHIPPED_BUNDLE
from sdk_reference.landmarks import N_LANDMARKS
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import Quality, QualityLimits
from sdk_reference.response import NEUTRAL_NORM

DOCS = Path(__file__).resolve().parents[2] / "docs"
ANDROID, IOS = (DOCS / name for name in ("android.md", "ios.md"))
PAGES = pytest.mark.parametrize("page", [ANDROID, IOS], ids=lambda page: page.name)
CODE = re.compile(r"^```(?:kotlin|swift)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"models/[\w.\-]+")
LITERAL = re.compile(r'"([a-z][a-z0-9]*(?:_[a-z0-9]+)*)"')
"""Every string in code that could be a name of the bundle: lower case, digits, underscores."""

GETTER = re.compile(r'\.(?:get|opt)(?:String|Int|Long|Double|JSONArray|JSONObject)\("([^"]*)"\)')
SWIFT_STRUCT = re.compile(r"^struct (\w+): Decodable \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)

FORMATS = {
    ".onnx": {"fp32", "fp16", "int8"},
    ".tflite": {"fp32", "fp16", "int8-weights", "int8-dynamic", "int8"},
    ".mlpackage": {"fp32", "fp16", "int8"},
}
FILES = {f"models/atr-fas.{precision}{suffix}" for suffix, kinds in FORMATS.items() for precision in kinds}
OURS = {"retry", "live", "spoof", "response_mismatch", "score_below_threshold"} | set(LIMITS)
PLATFORM = {"tflite", "onnx", "onnxruntime", "main", "other"}
"""Strings that are Gradle's, Swift Package Manager's or Core ML's, not ours."""


def code_of(page: Path) -> str:
    return "\n".join(CODE.findall(page.read_text(encoding="utf-8")))


def keys_of(kind: Any) -> set[str]:
    """Field names of a manifest class."""
    return set(kind.model_fields if issubclass(kind, BaseModel) else {field.name for field in dataclasses.fields(kind)})


def manifest_classes() -> dict[str, Any]:
    found = {
        name: kind
        for name, kind in vars(manifests).items()
        if isinstance(kind, type) and issubclass(kind, manifests.Record)
    }
    return found | {"PreprocessSettings": PreprocessSettings, "QualityLimits": QualityLimits}


def manifest_keys() -> set[str]:
    return {key for kind in manifest_classes().values() for key in keys_of(kind)}


def error_codes() -> set[str]:
    return {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}


def known_names() -> set[str]:
    tensors = {manifests.INPUT_NAME, *manifests.OUTPUT_NAMES}
    settings = {value for value in dataclasses.asdict(PreprocessSettings()).values() if isinstance(value, str)}
    return manifest_keys() | tensors | settings | error_codes() | OURS | PLATFORM


def unknown_names(code: str) -> set[str]:
    return {name for name in LITERAL.findall(code) if name not in known_names()}


def unknown_keys(code: str) -> set[str]:
    return set(GETTER.findall(code)) - manifest_keys()


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


def swift_structs(code: str) -> Iterator[tuple[str, set[str]]]:
    for name, body in SWIFT_STRUCT.findall(code):
        yield name, {snake_case(field) for field in re.findall(r"^ {4}let (\w+):", body, re.MULTILINE)}


def unknown_fields(code: str) -> list[str]:
    """Swift fields that the manifest's class of the same name has not; `Listing` is a view of the manifest itself."""
    kinds = manifest_classes() | {"Listing": manifests.Manifest}
    return [f"{name}.{field}" for name, fields in swift_structs(code) for field in fields - keys_of(kinds[name])]


def shipped_files() -> set[str]:
    manifest = json.loads((SHIPPED_BUNDLE / "manifest.json").read_text(encoding="utf-8"))
    return {artifact["file"] for artifact in manifest["artifacts"]}


@PAGES
def test_every_model_file_named_is_one_that_the_export_writes(page):
    named = set(FILE.findall(page.read_text(encoding="utf-8")))
    assert named and named <= FILES


def test_every_model_file_of_the_shipped_bundle_is_on_a_page():
    named = {name for page in (ANDROID, IOS) for name in FILE.findall(page.read_text(encoding="utf-8"))}
    assert shipped_files() and shipped_files() <= named


@PAGES
def test_tensors_have_the_names_of_the_manifest(page):
    code = code_of(page)
    (model_input,) = re.findall(r'INPUT_NAME = "(\w+)"', code)
    (outputs,) = re.findall(r"OUTPUT_NAMES = (?:listOf\(|\[)(.*?)[)\]]", code)
    assert model_input == manifests.INPUT_NAME
    assert tuple(re.findall(r'"(\w+)"', outputs)) == manifests.OUTPUT_NAMES


@PAGES
def test_every_name_in_code_is_one_of_the_bundle(page):
    code = code_of(page)
    assert len(LITERAL.findall(code)) > 10
    assert unknown_names(code) == set()


def test_every_key_that_kotlin_asks_for_is_in_the_manifest():
    code = code_of(ANDROID)
    assert len(set(GETTER.findall(code))) > 15
    assert unknown_keys(code) == set()


def test_every_field_that_swift_decodes_is_in_the_manifest_where_swift_looks_for_it():
    code = code_of(IOS)
    assert {name for name, _ in swift_structs(code)} > {"Manifest", "Artifact", "OperatingPoint", "PreprocessSettings"}
    assert unknown_fields(code) == []


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (unknown_names, 'outputs["liveness"]'),
        (unknown_keys, 'settings.getDouble("gain_aim")'),
        (unknown_fields, "struct Artifact: Decodable {\n    let gainTarget: Double\n}\n"),
    ],
)
def test_the_checks_can_fail(check, wrong):
    assert check(wrong)


@PAGES
def test_numbers_in_code_and_text_are_those_of_the_reference(page):
    text, code = page.read_text(encoding="utf-8"), code_of(page)
    schemas = re.findall(r'(?:"schema_version"\) != |schemaVersion == )(\d+)', code)
    assert schemas == [str(manifests.SCHEMA_VERSION)]
    assert f"({N_LANDMARKS})" in code and f"{NEUTRAL_NORM:g} &&" in code
    assert f"lasts {STANDARD.step_ms} ms in the profile `standard`, {GENTLE.step_ms} ms in `gentle`" in text
    assert str(DARK_SURROUND) in text
    for name in (field.name for field in dataclasses.fields(Quality)):
        assert f"`{name}`" in text  # what to log


@PAGES
def test_the_registration_that_the_page_calls_shipped_is_the_shipped_one(page):
    manifest = json.loads((SHIPPED_BUNDLE / "manifest.json").read_text(encoding="utf-8"))
    (named,) = re.findall(r"`registration` = `(\w+)`, as shipped", page.read_text(encoding="utf-8"))
    assert named == manifest["preprocess"]["registration"]


@PAGES
def test_code_blocks_are_closed(page):
    """A brace too few is what editing a page by hand leaves behind; comments and strings hold none."""
    blocks = CODE.findall(page.read_text(encoding="utf-8"))
    assert len(blocks) >= 9
    for block in blocks:
        for opening, closing in ("{}", "()"):
            assert block.count(opening) == block.count(closing), block[:80]


def test_the_page_of_formats_explains_every_key_of_a_row():
    rows = re.findall(r"^\| (`[^|]+) \|", (DOCS / "formats.md").read_text(encoding="utf-8"), re.MULTILINE)
    explained = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    assert explained == [field.name for field in dataclasses.fields(Row)]


def test_the_page_of_formats_has_a_place_for_the_table():
    check_page(DOCS / "formats.md")
