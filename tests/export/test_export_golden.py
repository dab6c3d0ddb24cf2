"""Golden files are readable without our code, hold what the runtime computes, and are refused when damaged."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from stub_capture import StubDetector, stub_capture, stub_face

from export.golden import STAGES, TOLERANCES, WINDOW_SIZE, WINDOW_START, GoldenUnusable, golden_of, numbers, raw
from export.golden_reading import read_golden
from sdk_reference.bundle import load_bundle, zip_bundle
from sdk_reference.checker import Checker
from sdk_reference.errors import BundleError, BundleMalformed
from sdk_reference.landmarks import FACE_OVAL
from sdk_reference.manifest import INPUT_NAME, OUTPUT_NAMES, Artifact, Manifest

BASE = "golden/disk"


def read_json(folder, path):
    return json.loads((folder / path).read_text(encoding="utf-8"))


def edit_json(folder, path, edit):
    value = read_json(folder, path)
    edit(value)
    (folder / path).write_text(json.dumps(value), encoding="utf-8")


def test_raw_floats_are_little_endian_ieee_754():
    assert raw(np.array([1.0, -2.0], np.float32)) == bytes.fromhex("0000803f000000c0")
    assert raw(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32).T) == struct.pack("<4f", 1, 3, 2, 4)


def test_decimal_numbers_bring_every_float32_back_to_the_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    again = np.array(json.loads(json.dumps(numbers(values))), np.float32)
    assert np.array_equal(values.view(np.uint32), again.view(np.uint32))


def test_the_index_names_exactly_the_files_that_are_there(packed):
    index = read_json(packed.path, "golden/golden.json")
    (capture,) = index["captures"]
    assert capture["name"] == "disk" and set(capture["stages"]) == set(STAGES)
    named = {f"{BASE}/{file}" for stage in capture["stages"].values() for file in stage["files"]}
    there = {path.relative_to(packed.path).as_posix() for path in (packed.path / BASE).rglob("*") if path.is_file()}
    assert named == there
    assert all(set(stage) == {"files", "shape", "layout", "range", "tolerance"} for stage in capture["stages"].values())


def test_every_stage_follows_from_the_one_before_by_the_formula(packed):
    """Recomputed from the files with numpy and the definitions alone, as a port would."""
    folder = packed.path / BASE
    aligned = np.stack([cv2.imread(str(folder / f"aligned_{k}.png"))[..., ::-1] for k in range(5)]) / 255.0
    linear = np.where(aligned <= 0.04045, aligned / 12.92, ((aligned + 0.055) / 1.055) ** 2.4).transpose(0, 3, 1, 2)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)]
    window = np.fromfile(folder / "differential_window.f32", "<f4").reshape(6, 3, 32, 32)
    full = np.stack([linear[i] - linear[j] for i, j in pairs])
    assert np.abs(full[:, :, 112:144, 112:144] - window).max() < 1e-6
    means = np.fromfile(folder / "differential_means.f32", "<f4").reshape(2, 6, 3)
    assert np.abs(means - [full.mean(axis=(2, 3)), np.abs(full).mean(axis=(2, 3))]).max() < 1e-6

    side, block = 32, 8
    small = linear.reshape(5, 3, side, block, side, block).mean(axis=(3, 5))
    differences = np.stack([small[i] - small[j] for i, j in pairs])
    manifest = read_json(packed.path, "manifest.json")
    ellipse = manifest["alignment"]["face_ellipse"]
    centres = (np.arange(side) + 0.5) * block
    across = (centres[None, :] - ellipse["centre"][0]) / ellipse["semi_axes"][0]
    down = (centres[:, None] - ellipse["centre"][1]) / ellipse["semi_axes"][1]
    gain = min(0.25 / np.abs(differences[:, :, across**2 + down**2 <= 1]).mean(), 16.0)
    stored = np.fromfile(folder / "model_input.f32", "<f4").reshape(6, 3, side, side)
    assert read_json(folder, "model_input.json")["gain"] == pytest.approx(gain, rel=1e-5)
    assert np.abs(np.clip(gain * differences, -1, 1) - stored).max() < 1e-5


def test_affines_take_the_stored_landmarks_to_the_template_by_least_squares(packed):
    template = read_json(packed.path, "manifest.json")["alignment"]
    landmarks = np.array(read_json(packed.path, f"{BASE}/landmarks.json")["points"])
    affines = np.array(read_json(packed.path, f"{BASE}/affines.json")["from_landmarks"])
    for points, affine in zip(landmarks[:, template["indices"]], affines, strict=True):
        design = np.hstack([points, np.ones((len(points), 1))])
        normal = np.linalg.solve(design.T @ design, design.T @ np.array(template["points"]))
        assert np.abs(normal.T - affine).max() < 1e-6


def test_stored_outputs_are_those_of_pytorch(packed, run):
    from export.parity import run_network

    folder = packed.path / BASE
    expected = run_network(run.network, np.fromfile(folder / "model_input.f32", "<f4").reshape(6, 3, 32, 32))
    for name, values in expected.items():
        assert np.array_equal(np.fromfile(folder / f"output_{name}.f32", "<f4"), values.ravel()), name


def test_reading_gives_back_what_was_stored(packed, tmp_path):
    for place in (packed.path, zip_bundle(packed.path, tmp_path / "bundle.zip")):
        (golden,) = read_golden(load_bundle(place))
        assert golden.name == "disk"
        assert np.array_equal(golden.capture.frames, stub_capture().frames)
        assert np.array_equal(golden.landmarks, np.stack([stub_face().points] * 5))
        stored = read_json(packed.path, f"{BASE}/affines.json")
        assert np.array_equal(golden.landmark_affines, stored["from_landmarks"])
        assert np.array_equal(golden.affines, stored["affines"])
        assert golden.capture.depth_mm is None
        assert golden.decision == read_json(packed.path, f"{BASE}/decision.json")


DAMAGES = {
    "too short": (f"{BASE}/model_input.f32", lambda data: data[:-4]),
    "not finite": (f"{BASE}/output_depth.f32", lambda data: struct.pack("<f", float("nan")) + data[4:]),
    "no JSON": (f"{BASE}/quality.json", lambda data: data[:-5]),
    "another index": ("golden/golden.json", lambda data: data.replace(b'"version": 1', b'"version": 2')),
    "an index of nothing": (
        "golden/golden.json",
        lambda data: b'{"format": "flashproof-golden", "version": 1, "captures": []}',
    ),
    "an index of lists": ("golden/golden.json", lambda data: b"[]"),
    "a name that leads out": ("golden/golden.json", lambda data: data.replace(b'"disk"', b'"../.."')),
    "missing landmarks": (f"{BASE}/landmarks.json", lambda data: data.replace(b'"points"', b'"point"')),
    "no landmark maps": (f"{BASE}/affines.json", lambda data: data.replace(b'"from_landmarks"', b'"of_landmarks"')),
    "maps of another shape": (f"{BASE}/affines.json", lambda data: b'{"from_landmarks": [[1.0]], "affines": [[1.0]]}'),
    "a truncated frame": (f"{BASE}/capture/frame_1.png", lambda data: data[:-30]),
    "a truncated aligned frame": (f"{BASE}/aligned_2.png", lambda data: data[:-30]),
    "JSON that contradicts raw": (
        f"{BASE}/outputs.json",
        lambda data: json.dumps(json.loads(data) | {"score": [0.75]}).encode(),
    ),
    "infinite gain": (f"{BASE}/model_input.json", lambda data: b'{"gain": Infinity}'),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damaged_golden_files_are_an_error_of_the_bundle(damage, bundle, reseal):
    path, change = DAMAGES[damage]
    (bundle / path).write_bytes(change((bundle / path).read_bytes()))
    sealed = load_bundle(reseal(bundle))
    with pytest.raises(BundleError) as caught:
        read_golden(sealed)
    assert caught.value.exit_status == 4


def test_an_aligned_frame_of_another_size_is_refused(bundle, reseal):
    cv2.imwrite(str(bundle / BASE / "aligned_0.png"), np.zeros((128, 128, 3), np.uint8))
    with pytest.raises(BundleMalformed, match="128×128"):
        read_golden(load_bundle(reseal(bundle)))


def test_a_capture_without_a_face_cannot_become_golden(packed):
    result = Checker(load_bundle(packed.path), StubDetector(faces=[])).check(stub_capture())
    with pytest.raises(GoldenUnusable, match="no_face"):
        golden_of("nobody", result)


def test_a_retry_with_a_score_can_become_golden(packed):
    dark = stub_capture(strength=0.0001)
    golden = golden_of("dark", Checker(load_bundle(packed.path), StubDetector()).check(dark))
    assert golden.decision["verdict"] == "retry" and "flash_too_weak" in golden.decision["reasons"]
    assert replace(golden, name="x").gain == 16.0


DOCUMENT = Path(__file__).parents[2] / "docs" / "bundle.md"


def table_keys(heading):
    """What the first columns of the tables under a heading of docs/bundle.md name, its tables of ranges left out."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    text = re.sub(r"### Types and ranges\n.*?(?=\n### )", "", text, flags=re.DOTALL)
    return {
        key for line in text.splitlines() if line.startswith("| `") for key in re.findall("`(.+?)`", line.split("|")[1])
    }


def test_the_document_names_every_stage_and_every_manifest_field():
    assert table_keys("Golden vectors") == set(STAGES)
    assert table_keys("The manifest") == {*Manifest.model_fields, *Artifact.model_fields, INPUT_NAME, *OUTPUT_NAMES}


def test_the_document_states_the_tolerances_and_constants_of_the_code():
    text = DOCUMENT.read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    for stage, tolerance in TOLERANCES.items():
        for kind, value in tolerance.items():
            figure = f"{100 * value:g} %" if kind == "relative" else f"{value:.0e}".replace("e-0", "e-")
            assert value == 0 or figure in lines[stage] or f"{value:g}" in lines[stage], stage
    oval = re.search(r"The face oval is these landmarks: ([\d,\s]+)\.", text)
    assert oval is not None and tuple(int(number) for number in oval[1].split(",")) == FACE_OVAL
    assert f"rows and columns {WINDOW_START} to {WINDOW_START + WINDOW_SIZE - 1}" in text
