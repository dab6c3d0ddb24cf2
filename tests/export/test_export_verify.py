"""A sound bundle passes every gate; a bundle broken on purpose misses the gate that names what was broken."""

import dataclasses
import json
import struct

import cv2
import numpy as np
import onnx
import pytest
import typer
from onnx import numpy_helper
from stub_capture import StubDetector, stub_face
from textured_faces import IDENTITY, misplacements, textured_capture
from typer.testing import CliRunner

from export.golden import golden_of
from export.golden_reading import read_golden
from export.parity import ParityError
from export.replay import affine_error, aligned_error, registration_error
from export.verify import artifact_gates, repeat_gates, require_sound, verify
from flashproof.commands import verify as command
from sdk_reference.align import map_points
from sdk_reference.backends import open_backend
from sdk_reference.bundle import load_bundle
from sdk_reference.checker import Checker
from sdk_reference.errors import BundleHashMismatch
from sdk_reference.landmarks import N_LANDMARKS, Face
from sdk_reference.manifest import from_json
from sdk_reference.quality import QualityLimits

BASE = "golden/disk"
MODEL_FILE = "models/atr-fas.fp32.onnx"
MODEL = "atr-fas.fp32.onnx"
TEMPLATE_FACE = stub_face(scale=1.0).points
NO_DEPTH = np.zeros(N_LANDMARKS, np.float32)


def missed(folder, detector=None):
    return {gate.name for gate in verify(folder, detector or StubDetector()).gates if not gate.ok}


def swap_channels(folder, pattern):
    for path in sorted(folder.glob(pattern)):
        cv2.imwrite(str(path), cv2.imread(str(path))[..., ::-1])


def edit_json(path, edit):
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def shift_map(folder, which, amount):
    def edit(stored):
        stored[which][0][0][2] += amount

    edit_json(folder / BASE / "affines.json", edit)


def edit_model(folder, edit):
    model = onnx.load(folder / MODEL_FILE)
    edit(model)
    (folder / MODEL_FILE).write_bytes(model.SerializeToString())


def change_weight(change):
    """Change the largest weight of the first convolution of the graph, which every output depends on."""

    def edit(model):
        name = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        values = numpy_helper.to_array(tensor).copy()
        place = np.abs(values).argmax()
        values.flat[place] = change(values.flat[place])
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return edit


def shift_floats(path, amount, place=0):
    data = bytearray(path.read_bytes())
    (value,) = struct.unpack_from("<f", data, 4 * place)
    struct.pack_into("<f", data, 4 * place, value + amount)
    path.write_bytes(bytes(data))


def stale_response(folder):
    shift_floats(folder / BASE / "output_flash_response.f32", 0.01)
    values = np.fromfile(folder / BASE / "output_flash_response.f32", "<f4").reshape(6, 3).tolist()
    edit_json(folder / BASE / "outputs.json", lambda v: v.update(flash_response=values))


def test_a_sound_bundle_passes_every_gate(packed):
    found = verify(packed.path, StubDetector())
    assert found.ok and require_sound(found) is None
    shown = found.to_dict()
    assert shown["ok"] is True and len(shown["gates"]) > 30
    assert all({"name", "ok", "value", "limit"} <= set(gate) for gate in shown["gates"])
    json.dumps(shown, allow_nan=False)
    names = [gate["name"] for gate in shown["gates"]]
    assert len(set(names)) == len(names)
    stages = ("landmarks", "affines", "registration", "aligned", "differential", "model_input", "quality", "response")
    for stage in (*stages, f"decision at the threshold of {MODEL}"):
        assert f"golden disk {stage}" in names


BREAKS = {
    "one weight changed": (
        lambda folder: edit_model(folder, change_weight(lambda value: value + 0.1)),
        f"golden disk flash_response of {MODEL}",
    ),
    "a weight that is not finite": (
        lambda folder: edit_model(folder, change_weight(lambda value: float("nan"))),
        f"{MODEL}: odd input noise: not finite",
    ),
    "channels swapped in the aligned frames": (
        lambda folder: swap_channels(folder, f"{BASE}/aligned_*.png"),
        "golden disk aligned",
    ),
    "channels swapped in the frames": (
        lambda folder: swap_channels(folder, f"{BASE}/capture/*.png"),
        "golden disk aligned",
    ),
    "two aligned frames exchanged": (
        lambda folder: (folder / BASE / "aligned_1.png").write_bytes((folder / BASE / "aligned_2.png").read_bytes()),
        "golden disk differential",
    ),
    "a landmark moved": (
        lambda folder: edit_json(
            folder / BASE / "landmarks.json", lambda v: v["points"][1].__setitem__(33, [10.0, 10.0])
        ),
        "golden disk affines",
    ),
    "a landmark map shifted by a hundredth of a pixel": (
        lambda folder: shift_map(folder, "from_landmarks", 0.01),
        "golden disk affines",
    ),
    "a corrected map shifted by a fiftieth of a pixel": (
        lambda folder: shift_map(folder, "affines", 0.02),
        "golden disk registration",
    ),
    "a corrected map that cannot be undone": (
        lambda folder: edit_json(folder / BASE / "affines.json", lambda v: v.update(affines=[[[0.0] * 3] * 2] * 5)),
        "golden disk registration",
    ),
    "a difference of the other sign": (
        lambda folder: (folder / BASE / "differential_window.f32").write_bytes(
            (-np.fromfile(folder / BASE / "differential_window.f32", "<f4")).tobytes()
        ),
        "golden disk differential",
    ),
    "an input value changed": (
        lambda folder: shift_floats(folder / BASE / "model_input.f32", 0.001, 777),
        "golden disk model_input",
    ),
    "another gain": (
        lambda folder: edit_json(folder / BASE / "model_input.json", lambda v: v.update(gain=v["gain"] * 1.01)),
        "golden disk model_input",
    ),
    "another measurement": (
        lambda folder: edit_json(folder / BASE / "quality.json", lambda v: v.update(flash_snr=v["flash_snr"] + 1)),
        "golden disk quality",
    ),
    "a stale output": (stale_response, f"golden disk flash_response of {MODEL}"),
    "another expected response": (
        lambda folder: edit_json(folder / BASE / "response.json", lambda v: v["expected"].reverse()),
        "golden disk response",
    ),
    "other rows that disagree": (
        lambda folder: edit_json(
            folder / BASE / "response.json", lambda v: v.update(disagreeing=[not row for row in v["disagreeing"]])
        ),
        "golden disk response",
    ),
    "another verdict": (
        lambda folder: edit_json(
            folder / BASE / "decision.json", lambda v: v.update(verdict="live", reasons=[], species=None)
        ),
        f"golden disk decision at the threshold of {MODEL}",
    ),
    "no model card": (lambda folder: (folder / "MODEL_CARD.md").unlink(), "required files missing"),
    "another opset": (
        lambda folder: edit_model(folder, lambda model: setattr(model.opset_import[0], "version", 19)),
        f"{MODEL}: opset as in the manifest",
    ),
    "a model that is none": (lambda folder: (folder / MODEL_FILE).write_bytes(b"onnx"), f"{MODEL} runs"),
}


@pytest.mark.parametrize("broken", BREAKS, ids=str)
def test_a_broken_bundle_misses_the_gate_that_names_what_broke(broken, bundle, reseal):
    spoil, gate = BREAKS[broken]
    spoil(bundle)
    assert gate in missed(reseal(bundle))


def test_another_threshold_is_noticed_by_the_stored_decision(bundle, reseal):
    artifact = from_json((bundle / "manifest.json").read_bytes()).artifacts[0]
    point = artifact.operating_point.model_copy(update={"threshold": 0.9})
    reseal(bundle, artifacts=(artifact.model_copy(update={"operating_point": point}),))
    found = verify(bundle, StubDetector())
    (gate,) = (gate for gate in found.gates if gate.name.startswith("golden disk decision"))
    assert not gate.ok and "threshold 0.9" in gate.detail
    with pytest.raises(ParityError, match="golden disk decision"):
        require_sound(found)


def test_a_model_that_calls_odd_frames_live_is_noticed(bundle, reseal):
    manifest = from_json((bundle / "manifest.json").read_bytes())
    nothing = QualityLimits(0.0, 0.0, 1e9, 1.0, 0.0)
    rule = manifest.response_rule.model_copy(update={"max_disagreeing_rows": 99})
    found = missed(reseal(bundle, quality_limits=nothing, response_rule=rule))
    assert f"{MODEL}: odd frames identical: live verdicts" in found


def test_another_landmark_detector_is_noticed_and_so_is_what_it_does_to_the_verdict(packed):
    found = missed(packed.path, StubDetector([stub_face(offset=(6.0, 0.0))]))
    assert "golden disk landmarks" in found
    assert "golden disk affines" not in found  # later stages start from what is stored
    assert {"golden disk landmarks", f"golden disk from frames by {MODEL}"} <= missed(packed.path, StubDetector([]))


@pytest.fixture
def textured(packed):
    """A golden capture with something to register: a marked face whose landmarks misplace each frame."""
    rng = np.random.default_rng(0)
    capture = textured_capture([IDENTITY] * 5, rng)
    found = [[Face(map_points(TEMPLATE_FACE, one).astype(np.float32), NO_DEPTH)] for one in misplacements(rng)]
    return golden_of("marked", Checker(load_bundle(packed.path), StubDetector(per_call=found)).check(capture))


def test_registration_is_replayed_from_the_stored_landmark_maps(textured, packed):
    settings = load_bundle(packed.path).manifest.preprocess
    assert np.abs(textured.affines - textured.landmark_affines).max() > 0.5
    assert affine_error(textured) == 0
    assert registration_error(textured, settings) < 1e-9
    assert aligned_error(textured) == 0
    uncorrected = dataclasses.replace(textured, affines=textured.landmark_affines)
    assert registration_error(uncorrected, settings) > 0.5
    assert registration_error(uncorrected, dataclasses.replace(settings, registration="none")) < 1e-9


def test_registration_is_measured_in_pixels_of_the_aligned_frame(textured, packed):
    settings = load_bundle(packed.path).manifest.preprocess
    shift = np.array([[0.0, 0.0, 0.3], [0.0, 0.0, -0.4]])
    shifted = dataclasses.replace(textured, affines=textured.affines + shift)
    assert registration_error(shifted, settings) == pytest.approx(0.5, abs=1e-9)


class Unsteady:
    """A backend whose outputs drift from run to run."""

    def __init__(self, backend):
        self.backend, self.runs = backend, 0

    def run(self, model_input):
        self.runs += 1
        outputs = self.backend.run(model_input)
        outputs.depth[0, 0] += 1e-4 * self.runs
        return outputs


def test_a_backend_that_does_not_repeat_itself_is_noticed(packed):
    bundle = load_bundle(packed.path)
    artifact = bundle.manifest.artifacts[0]
    backend = open_backend(bundle)
    (golden,) = read_golden(bundle)
    assert all(gate.ok for gate in repeat_gates(artifact, golden, backend, backend))
    again, threads = repeat_gates(artifact, golden, Unsteady(backend), backend)
    assert not again.ok and not threads.ok and again.value == pytest.approx(1e-4, rel=0.01)
    assert all(gate.ok for gate in artifact_gates(bundle, artifact, (golden,), StubDetector()))


def test_threads_are_not_compared_where_the_runtime_takes_no_number_of_them(packed):
    bundle = load_bundle(packed.path)
    artifact = bundle.manifest.artifacts[0].model_copy(update={"format": "coreml"})
    (golden,) = read_golden(bundle)
    backend = open_backend(bundle)
    (again,) = repeat_gates(artifact, golden, backend, Unsteady(backend))
    assert again.ok
    (again,) = repeat_gates(artifact, golden, Unsteady(backend), backend)
    assert not again.ok


def test_a_changed_byte_is_refused_before_any_gate(bundle):
    data = bytearray((bundle / MODEL_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / MODEL_FILE).write_bytes(bytes(data))
    with pytest.raises(BundleHashMismatch):
        verify(bundle, StubDetector())


@pytest.fixture
def flashproof_verify(monkeypatch):
    monkeypatch.setattr(command, "new_detector", StubDetector)
    app = typer.Typer()
    app.command()(command.verify)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_ends_with_0_when_all_gates_are_open(flashproof_verify, packed):
    shown = flashproof_verify(packed.path, "--json")
    assert shown.exit_code == 0 and json.loads(shown.stdout)["ok"] is True
    table = flashproof_verify(packed.path)
    assert table.exit_code == 0 and "gates open" in table.stdout and "MISSED" not in table.stdout


def test_the_command_ends_with_1_when_a_gate_is_missed(flashproof_verify, bundle, reseal):
    swap_channels(bundle, f"{BASE}/aligned_*.png")
    reseal(bundle)
    shown = flashproof_verify(bundle, "--json")
    assert shown.exit_code == 1 and json.loads(shown.stdout)["ok"] is False
    assert "MISSED" in flashproof_verify(bundle).stdout


def test_the_command_ends_with_4_when_the_bundle_cannot_be_opened(flashproof_verify, bundle, tmp_path):
    (bundle / "MODEL_CARD.md").write_text("changed", encoding="utf-8")
    for path, code in ((bundle, "bundle_hash_mismatch"), (tmp_path / "nothing", "bundle_not_found")):
        shown = flashproof_verify(path, "--json")
        assert shown.exit_code == 4 and json.loads(shown.stdout)["error"]["code"] == code
