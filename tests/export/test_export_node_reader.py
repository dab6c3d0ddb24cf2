"""The reader that is not Python agrees on sound bundles, catches broken ones, and is never taken for having run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_script import from_reader, needs_any_node, run_node

from export import node_reader
from export.node_reader import node_gates, why_not
from sdk_reference.align import align
from sdk_reference.bundle import SHIPPED_BUNDLE, zip_bundle
from sdk_reference.errors import BundleMalformed
from sdk_reference.manifest import from_json

READER = node_reader.READER
MODEL = "atr-fas.fp32.onnx"
BASE = "golden/disk"
CLOSED = "Node: the reader's answer"
CASES = "golden/decisions.json"
CASES_GATE = "decisions: cases answered otherwise"

needs_node = pytest.mark.skipif(why_not() is not None, reason=f"the reader cannot run here: {why_not()}")


def missed(folder: Path) -> list[str]:
    return [gate.name for gate in node_gates(folder) if not gate.ok]


@needs_node
def test_the_shipped_bundle_passes_every_gate_under_node() -> None:
    gates = node_gates(SHIPPED_BUNDLE)
    assert [gate for gate in gates if not gate.ok] == []
    assert all(gate.name.startswith("Node: ") for gate in gates)
    for stage in ("affines corrected", "aligned", "differential", "model_input", "quality", "response", "decision"):
        assert any(gate.name.endswith(f" {stage}") for gate in gates), stage
    assert any("flash_response of" in gate.name for gate in gates)


@needs_node
def test_a_folder_and_a_zip_of_it_pass_alike(packed, tmp_path: Path) -> None:
    from_folder = node_gates(packed.path)
    assert [gate for gate in from_folder if not gate.ok] == []
    assert node_gates(zip_bundle(packed.path, tmp_path / "bundle.zip")) == from_folder


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def swap_channels(folder: Path) -> None:
    for path in folder.glob(f"{BASE}/aligned_*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path))[..., ::-1])


def transpose_frames(folder: Path) -> None:
    for path in folder.glob(f"{BASE}/capture/*.png"):
        cv2.imwrite(str(path), np.ascontiguousarray(cv2.imread(str(path)).transpose(1, 0, 2)))


def negate(path: Path) -> None:
    (-np.fromfile(path, "<f4")).tofile(path)


def shift_map(folder: Path, which: str, amount: float) -> None:
    path = folder / BASE / "affines.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content[which][0][0][2] += amount
    path.write_text(json.dumps(content), encoding="utf-8")


def answer_otherwise(folder: Path, name: str, **changes: object) -> None:
    content = json.loads((folder / CASES).read_text(encoding="utf-8"))
    (case,) = (case for case in content["cases"] if case["name"] == name)
    case["answer"].update(changes)
    (folder / CASES).write_text(json.dumps(content), encoding="utf-8")


BREAKS = {
    "channels swapped": (swap_channels, "disk aligned"),
    "frames transposed": (transpose_frames, "disk aligned"),
    "landmark map off": (lambda f: shift_map(f, "from_landmarks", 0.01), "disk affines from landmarks"),
    "corrected map off": (lambda f: shift_map(f, "affines", 0.2), "disk affines corrected"),
    "differences of the other sign": (lambda f: negate(f / BASE / "differential_window.f32"), "disk differential"),
    "input of the other sign": (lambda f: negate(f / BASE / "model_input.f32"), "disk model_input"),
    "another gain": (lambda f: edit_json(f / BASE / "model_input.json", gain=1.5), "disk model_input"),
    "another measurement": (lambda f: edit_json(f / BASE / "quality.json", motion_px=3.0), "disk quality"),
    "stale depth": (lambda f: negate(f / BASE / "output_depth.f32"), f"disk depth of {MODEL}"),
    "other rows disagree": (lambda f: edit_json(f / BASE / "response.json", disagreeing=[True] * 6), "disk response"),
    "another verdict": (lambda f: edit_json(f / BASE / "decision.json", verdict="live?"), "disk decision"),
    "another answer to a case": (lambda f: answer_otherwise(f, "every row disagrees", verdict="live"), CASES_GATE),
    "an answer to a case that is an error": (lambda f: answer_otherwise(f, "threshold of 0", error=False), CASES_GATE),
}


@needs_node
@pytest.mark.parametrize("name", BREAKS)
def test_a_bundle_broken_on_purpose_misses_the_gate_that_names_it(name: str, bundle: Path, reseal) -> None:
    damage, gate = BREAKS[name]
    damage(bundle)
    assert f"Node: {gate}" in missed(reseal(bundle))


@needs_node
def test_another_threshold_or_tolerance_is_noticed(bundle: Path, reseal) -> None:
    first = from_json((bundle / "manifest.json").read_bytes()).artifacts[0]
    point = first.operating_point.model_copy(update={"threshold": first.operating_point.threshold / 2})
    reseal(bundle, artifacts=(first.model_copy(update={"operating_point": point}),))
    assert "Node: disk decision" in missed(bundle)
    strict = first.model_copy(update={"tolerances": dict.fromkeys(first.tolerances, 1e-30)})
    reseal(bundle, artifacts=(strict,))
    assert f"Node: disk depth of {MODEL}" in missed(bundle)


@needs_node
def test_a_bundle_without_cases_passes_and_one_with_malformed_cases_is_refused(bundle: Path, reseal) -> None:
    assert f"Node: {CASES_GATE}" in {gate.name for gate in node_gates(bundle)}
    for content in ({"version": 2}, {"cases": []}, {"cases": [{"name": "all well"}]}):
        whole = (bundle / CASES).read_bytes()
        edit_json(bundle / CASES, **content)
        (gate,) = node_gates(reseal(bundle))
        assert gate.name == CLOSED and "exit status 4" in gate.detail and CASES in gate.detail
        (bundle / CASES).write_bytes(whole)
    (bundle / CASES).unlink()
    gates = node_gates(reseal(bundle))
    assert [gate for gate in gates if not gate.ok] == []
    assert f"Node: {CASES_GATE}" not in {gate.name for gate in gates}


# Rule forgotten → file of the reader, what stands there, what stands there instead.
FORGOTTEN = {
    "every row agrees": ("decide", "return !(cosine >= limit);", "return false;"),
    "every row disagrees": ("decide", "return !(cosine >= limit);", "return true;"),
    "another cosine limit": ("decide", "return !(cosine >= limit);", "return !(cosine >= limit - 0.05);"),
    "the cosine without lengths": ("decide", "product / (own * length)", "product"),
    "zeros agree": ("decide", "own > 0 ? product / (own * length) : 0", "own > 0 ? product / (own * length) : 1"),
    "grey rows disagree": ("decide", "if (length < NEUTRAL) return false;", ""),
    "a wider grey": ("decide", "if (length < NEUTRAL)", "if (length < 2 * NEUTRAL)"),
    "one disagreeing row is one too many": ("decide", "filter(Boolean).length > allowed", "filter(Boolean).length > 0"),
    "as many rows as may are too many": (
        "decide",
        "filter(Boolean).length > allowed",
        "filter(Boolean).length >= allowed",
    ),
    "one row more may disagree": ("decide", "filter(Boolean).length > allowed", "filter(Boolean).length > allowed + 1"),
    "the mismatch is no doubt": ("decide", "doubts.push('response_mismatch')", "doubts.length"),
    "the threshold is not reached": ("decide", "!(score >= threshold)", "!(score > threshold)"),
    "a lower threshold": ("decide", "!(score >= threshold)", "!(score >= threshold - 1e-7)"),
    "any threshold": ("decide", "threshold > 0 && threshold <= 1", "true"),
    "a threshold of 0": ("decide", "threshold > 0 &&", "threshold >= 0 &&"),
    "any sum of types": ("decide", "!(Math.abs(sum - 1) <= SUM_ROUNDING)", "false"),
    "no rounding of sums": ("decide", "<= SUM_ROUNDING)", "<= SUM_ROUNDING / 10)"),
    "no rounding of scores": ("decide", "const ROUNDING = 1e-5;", "const ROUNDING = 0;"),
    "much rounding of scores": ("decide", "const ROUNDING = 1e-5;", "const ROUNDING = 1e-3;"),
    "scores are not clipped": ("decide", "Math.min(Math.max(value, 0), 1)", "2 * value - value"),
    "what is no number is no matter": ("decide", "if (!finite || ", "if ("),
    "grey plans": ("decide", "Math.hypot(...row) >= NEUTRAL)) throw", "true)) throw"),
    "plans of another length": ("decide", "if (expected.length !== predicted.length) throw", "if (false) throw"),
    "plans that are no numbers": ("decide", "!expected.every(sound)", "false"),
    "the last of the largest species": ("decide", "outputs.type.indexOf(", "outputs.type.lastIndexOf("),
    "a species for everyone": ("decide", "verdict === 'spoof' ? likeliest : null", "likeliest"),
    "a species for no one": ("decide", "verdict === 'spoof' ? likeliest : null", "null"),
    "spoof before retry": (
        "decide",
        "missed.length ? 'retry' : doubts",
        "missed.length && !doubts.length ? 'retry' : doubts",
    ),
    "all reasons together": ("decide", "missed.length ? missed : doubts;", "[...missed, ...doubts];"),
    "reasons in another order": (
        "decide",
        "missed.length ? missed : doubts;",
        "missed.length ? missed : doubts.reverse();",
    ),
    "no limit": ("quality", "return Object.keys(missed).filter((code) => missed[code]);", "return [];"),
    "the first limit alone": ("quality", "missed[code]);", "missed[code]).slice(0, 1);"),
    "codes in another order": ("quality", "missed[code]);", "missed[code]).reverse();"),
    "a wider face": ("quality", "quality.face_width_px >= ", "quality.face_width_px > "),
    "less motion": ("quality", "quality.motion_px <= ", "quality.motion_px < "),
    "less clipped": ("quality", "quality.clipped_fraction <= ", "quality.clipped_fraction < "),
    "less drift": ("quality", "quality.exposure_drift >= ", "quality.exposure_drift > "),
    "drift of any sign": ("quality", "!(quality.exposure_drift >=", "!(-Math.abs(quality.exposure_drift) >="),
    "drift of the other sign": ("quality", "quality.exposure_drift >= -", "quality.exposure_drift <= "),
    "more flash to ambient": ("quality", "quality.flash_to_ambient >= ", "quality.flash_to_ambient > "),
    "more flash to noise": ("quality", "quality.flash_snr >= ", "quality.flash_snr > "),
    "one flash limit alone": ("quality", " || !(quality.flash_snr >= limits.min_flash_snr)", ""),
    "measurements that are no numbers": (
        "quality",
        "!(quality.motion_px <= limits.max_motion_px)",
        "quality.motion_px > limits.max_motion_px",
    ),
    "missing measurements count as 0": ("golden", "if (value === null) return NaN;", "if (value === null) return 0;"),
}


@needs_any_node
def test_a_port_that_forgets_a_rule_is_caught_by_the_cases(packed, tmp_path: Path) -> None:
    """Copies of the reader, each with one rule changed, and one as it is."""
    whole = tmp_path / "whole"
    shutil.copytree(READER.parent, whole, ignore=shutil.ignore_patterns("node_modules"))
    for number, (file, right, wrong) in enumerate(FORGOTTEN.values()):
        copy = Path(shutil.copytree(whole, tmp_path / str(number)))
        source = (copy / f"{file}.mjs").read_text(encoding="utf-8")
        assert source.count(right) == 1, right
        (copy / f"{file}.mjs").write_text(source.replace(right, wrong), encoding="utf-8")
    script = (
        "const folders = ['whole', ...Array(Number(process.argv[3])).keys()];"
        "for (const folder of folders) {"
        "  const { openBundle } = await import(`./${folder}/bundle.mjs`);"
        "  const { readDecisions } = await import(`./${folder}/golden.mjs`);"
        "  const { replayDecisions } = await import(`./${folder}/replay.mjs`);"
        "  const bundle = openBundle(process.argv[2]);"
        "  console.log(JSON.stringify(replayDecisions(readDecisions(bundle), bundle.manifest))); }"
    )
    answers = run_node(script, tmp_path, packed.path, len(FORGOTTEN)).splitlines()
    whole_gate, *gates = (json.loads(line) for line in answers)
    assert whole_gate == {"name": CASES_GATE, "ok": True, "value": 0, "limit": 0}
    assert len(gates) == len(FORGOTTEN)
    assert [name for name, gate in zip(FORGOTTEN, gates, strict=True) if gate["ok"]] == []
    assert all(gate["value"] >= 1 and gate["detail"] for gate in gates)


RULE = {"cosine_limit": 0.5, "max_disagreeing_rows": 2}
REFUSED = {
    "changed": lambda f: (f / "MODEL_CARD.md").write_bytes(b"x" * (f / "MODEL_CARD.md").stat().st_size),
    "missing": lambda f: (f / "MODEL_CARD.md").unlink(),
    "stranger": lambda f: (f / "stranger").write_bytes(b""),
    "link": lambda f: (f / "link").symlink_to("MODEL_CARD.md"),
    "another schema": lambda f: edit_json(f / "manifest.json", schema_version=4),
    "unknown field": lambda f: edit_json(f / "manifest.json", more=1),
    "unknown field further down": lambda f: edit_json(f / "manifest.json", response_rule=RULE | {"more": 1}),
    "path outside": lambda f: edit_json(f / "manifest.json", files={"../x": {"sha256": "0" * 64, "bytes": 0}}),
    "no artifact": lambda f: edit_json(f / "manifest.json", artifacts=[]),
    "other rows of D": lambda f: edit_json(f / "manifest.json", differential_rows=[[0, 1]] * 6),
    "other species": lambda f: edit_json(f / "manifest.json", species_order=["mask", "replay", "print"]),
    "no JSON": lambda f: (f / "manifest.json").write_bytes(b"{"),
    "huge manifest": lambda f: (f / "manifest.json").write_bytes(b" " * 1_000_001),
}


@needs_node
@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_bundle_is_refused_by_the_reader(name: str, bundle: Path) -> None:
    REFUSED[name](bundle)
    (gate,) = node_gates(bundle)
    assert gate.name == CLOSED and not gate.ok
    assert "exit status 4" in gate.detail and "the bundle cannot be read" in gate.detail


POINT = ("artifacts", 0, "operating_point")
OUT_OF_RANGE = [
    *(((*POINT, "threshold"), value) for value in (0, -1, 1.01, "", "0.6", False, None, [0.5])),
    *(((*POINT, "split"), value) for value in ("test", "")),
    (((*POINT, "rates", "eer")), {"value": 0.5, "low": 0.6, "high": 0.7}),
    ((*POINT, "captures"), 0),
    *((("response_rule", "cosine_limit"), value) for value in (-9, 1.5, "0")),
    *((("response_rule", "max_disagreeing_rows"), value) for value in (-1, 0.5, "2")),
    *((("quality_limits", "max_motion_px"), value) for value in (-1, "999999", None, True)),
    *((("preprocess", "gain_target"), value) for value in (0, 2)),
    *((("preprocess", "gain_limit"), value) for value in (0, "16")),
    *((("preprocess", "input_size"), value) for value in (0, 126, 512)),
    *((("n0",), value) for value in (2, 9, "5")),
    *((("depth_bins",), value) for value in (1, 2.5)),
    (("flash", "colours_srgb"), [[0, 0, 256]] * 5),
    (("flash", "colours_srgb"), [[0, 0, 255]] * 4),
    (("alignment", "points"), [[0.0, 0.0]]),
    (("artifacts", 0, "tolerances", "score"), 0),
    (("artifacts", 0, "precision"), "int4"),
    (("artifacts", 0, "calibration"), {"seed": 0, "captures": 1, "sha256": "0" * 64}),
    (("artifacts", 0, "opset"), None),
    (("name",), "Upper"),
    (("created",), "yesterday"),
    (("training", "data_sha256"), "0"),
    (("files", "MODEL_CARD.md"), {"sha256": "0" * 64, "bytes": -1}),
]
"""Where in the shipped manifest, and what must not stand there."""


@needs_any_node
def test_a_value_out_of_its_range_is_refused_by_both_readers(tmp_path: Path) -> None:
    """A threshold of −1 would let everything pass."""
    whole = (SHIPPED_BUNDLE / "manifest.json").read_bytes()
    for number, (place, value) in enumerate(OUT_OF_RANGE):
        manifest = json.loads(whole)
        inside = manifest
        for part in place[:-1]:
            inside = inside[part]
        inside[place[-1]] = value
        (tmp_path / f"{number}.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(BundleMalformed):
            from_json((tmp_path / f"{number}.json").read_bytes())
    (tmp_path / "whole.json").write_bytes(whole)
    script = (
        "import { readFileSync } from 'node:fs';"
        f"{from_reader('parseManifest', 'manifest.mjs')}"
        f"for (const name of ['whole', ...Array({len(OUT_OF_RANGE)}).keys()]) {{"
        "  try { parseManifest(readFileSync(`${name}.json`)); console.log('read'); }"
        "  catch (error) { console.log(error.constructor.name); } }"
    )
    assert run_node(script, tmp_path).split() == ["read", *["BundleError"] * len(OUT_OF_RANGE)]


WORTHLESS = {
    "a threshold of 0": "decide(outputs, [], [false], manifest, 0)",
    "a threshold below 0": "decide(outputs, [], [false], manifest, -1)",
    "no threshold": "decide(outputs, [], [false], manifest, undefined)",
    "a threshold that is text": "decide(outputs, [], [false], manifest, '')",
    "a plan that expects no numbers": "disagreements([[1, 0, -1]], [[NaN, 0, 0]], 0.5)",
    "a plan that expects nothing": "disagreements([], [], 0.5)",
    "no limit": "disagreements([[1, 0, -1]], [[1, 0, -1]], NaN)",
}


@needs_any_node
@pytest.mark.parametrize("name", WORTHLESS)
def test_the_reader_decides_nothing_by_worthless_numbers(name: str, tmp_path: Path) -> None:
    script = (
        f"{from_reader('decide, disagreements', 'decide.mjs')}"
        "const outputs = { score: [0.9], type: [1, 0, 0], depth: [0.5], flash_response: [1, 0, -1] };"
        "const manifest = { response_rule: { max_disagreeing_rows: 0 }, species_order: ['print', 'replay', 'mask'] };"
        "console.log(decide(outputs, [], [false], manifest, 0.5).verdict);"
        "console.log(disagreements([[1, 0, -1]], [[1, 0, -1]], 0.5)[0]);"
        f"try {{ {WORTHLESS[name]}; console.log('decided'); }} catch (error) {{ console.log('refused'); }}"
    )
    assert run_node(script, tmp_path).split() == ["live", "false", "refused"]


@needs_any_node
@pytest.mark.parametrize("scale", [0.31, 0.75, 1.4])
def test_frames_larger_and_smaller_than_the_template_are_resampled_alike(scale: float, tmp_path: Path) -> None:
    """The golden frames may all be smaller than the template; a telephone's are larger and are averaged down first."""
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (300, 401, 3)).astype(np.float32), (0, 0), 2) * 4 - 384
    frame = np.clip(smooth, 0, 255).astype(np.uint8)
    affine = np.array([[scale, 0.05 * scale, 20.5], [-0.04 * scale, scale, 9.25]])
    frame.tofile(tmp_path / "frame.rgb")
    script = (
        "import { readFileSync, writeFileSync } from 'node:fs';"
        f"{from_reader('alignFrame', 'align.mjs')}"
        "const frame = { width: 401, height: 300, data: readFileSync('frame.rgb') };"
        f"writeFileSync('aligned.rgb', alignFrame(frame, {affine.tolist()}, 256).data);"
    )
    run_node(script, tmp_path)
    found = np.fromfile(tmp_path / "aligned.rgb", np.uint8).reshape(256, 256, 3)
    difference = np.abs(found.astype(int) - align(frame, affine))
    assert difference.max() <= 1 and difference.mean() <= 0.01


def pretend(program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put a shell script in node's place."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "node").write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    (tmp_path / "bin" / "node").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")


OPEN = {"name": "disk aligned", "ok": True, "value": 0.0, "limit": 2.0}
ANSWERS = {
    "nothing": "exit 0",
    "no JSON": "echo hello",
    "no gates": """echo '{"ok": true, "gates": []}'""",
    "a list": "echo '[]'",
    "a gate without figures": """echo '{"gates": [{"name": "x", "ok": true}]}'""",
    "a crash": "echo out of memory >&2; exit 134",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_judges_nothing_is_a_closed_gate(name: str, monkeypatch, tmp_path: Path) -> None:
    pretend(ANSWERS[name], monkeypatch, tmp_path)
    (gate,) = node_gates(tmp_path)
    assert gate.name == CLOSED and not gate.ok


@pytest.mark.parametrize("changes", [{"ok": False}, {"value": 3.0}, {"value": "NaN"}, {"limit": "NaN"}], ids=str)
def test_a_gate_is_open_only_when_the_reader_and_its_own_figures_say_so(changes, monkeypatch, tmp_path: Path) -> None:
    answer = json.dumps({"gates": [OPEN, OPEN | changes]})
    pretend(f"echo '{answer}'", monkeypatch, tmp_path)
    assert [gate.ok for gate in node_gates(tmp_path)] == [True, False]


def test_a_reader_that_does_not_end_is_a_closed_gate(monkeypatch, tmp_path: Path) -> None:
    pretend("exec sleep 60", monkeypatch, tmp_path)
    monkeypatch.setattr(node_reader, "TIMEOUT_S", 0.2)
    (gate,) = node_gates(tmp_path)
    assert not gate.ok and "timed out" in gate.detail


def test_what_is_missing_is_said(monkeypatch, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    monkeypatch.setenv("FLASHPROOF_NODE_MODULES", str(packages))
    pretend("echo v20.1.0", monkeypatch, tmp_path)
    assert "npm ci" in (why_not() or "")
    (packages / "onnxruntime-web").mkdir(parents=True)
    (packages / "onnxruntime-web" / "package.json").write_text("{}", encoding="utf-8")
    assert why_not() is None
    for version in ("v18.20.0", "hello", ""):
        (tmp_path / "bin" / "node").write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
        assert "20 is needed" in (why_not() or "")
    monkeypatch.setenv("PATH", str(packages))
    assert why_not() == "node is not installed"
    monkeypatch.setattr(node_reader, "READER", tmp_path / "nowhere.mjs")
    assert "source checkout" in (why_not() or "")


def test_the_package_pins_what_it_needs_and_names_no_registry() -> None:
    package = json.loads((READER.parent / "package.json").read_text(encoding="utf-8"))
    lock = (READER.parent / "package-lock.json").read_text(encoding="utf-8")
    versions = {name: entry.get("version") for name, entry in json.loads(lock)["packages"].items()}
    for name, version in package["dependencies"].items():
        assert version[0].isdigit() and versions[f"node_modules/{name}"] == version
    assert "://" not in lock and "resolved" not in lock
