"""A bundle is written whole and proved, or not at all; its manifest and card say what the run's record says."""

import copy
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import typer
from made_up_evaluation import made_up_evaluation, made_up_real_pairs
from stub_capture import StubDetector, stub_capture
from stub_run import stub_record, stub_run
from typer.testing import CliRunner

import export.side_by_side
from export.converted import CalibrationSet, Converted
from export.describe import PackSettings, manifest_of
from export.evidence import Evidence
from export.formats import NothingToConvert, chosen_formats, convert
from export.inputs import MAX_GOLDEN, golden_captures, name_of, nonce_of, simulated, simulated_golden
from export.onnx import OPSET
from export.pack import PLANNED, pack
from export.parity import ParityError
from export.verify import verify
from flash_sequencer.plan import challenge, default_plan
from flashproof.commands import export as command
from sdk_reference.bundle import load_bundle
from sdk_reference.capture import save_capture
from sdk_reference.errors import CaptureNotFound, N0Mismatch, NoFace, OutputNotWritable
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.preprocess import PreprocessSettings, preprocess
from training.errors import RunInvalid

SETTINGS = PackSettings(created="2026-01-02T03:04:05Z", formats=("onnx",), precisions=("fp32",))
NO_EVIDENCE = Evidence(inputs=[], calibration=CalibrationSet(0, ()))
GOLDEN = {"disk": stub_capture()}
ALONE = ("--formats", "onnx", "--precisions", "fp32", "--decision-captures", 0, "--proof-captures", 0)


@pytest.fixture
def quick(packed, monkeypatch):
    """Skip the conversion, which takes seconds: the network is that of the shared bundle."""
    file = "models/atr-fas.fp32.onnx"
    converted = Converted(file, "onnx", "fp32", {file: (packed.path / file).read_bytes()}, "ONNX Runtime", OPSET)
    monkeypatch.setattr(export.side_by_side, "convert", lambda *what: [converted])


def test_a_packed_bundle_opens_and_says_what_the_run_says(packed, run):
    manifest = load_bundle(packed.path).manifest
    (artifact,) = manifest.artifacts
    assert artifact.operating_point.threshold == run.threshold == 0.01
    assert artifact.operating_point.rates["apcer_print"].high == 0.0444
    assert (manifest.training.captures, manifest.training.subjects, manifest.training.seed) == (3211, 267, 41)
    assert manifest.training.data_sha256 == "ab" * 32
    assert (manifest.preprocess, manifest.quality_limits) == (run.preprocess, run.limits)
    assert manifest.flash.colours_srgb[0] == (255, 255, 255) and manifest.flash.colours_srgb[-1] == (0, 0, 0)
    assert set(artifact.tolerances.values()) == {1e-5}
    report = json.loads((packed.path / "reports/parity.json").read_text(encoding="utf-8"))
    assert report["captures"] == {"golden": 1, "others": 0} and set(report["artifacts"]) == {artifact.file}


def test_the_card_names_the_files_that_are_there(packed):
    card = (packed.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(models/[^`]+)`", card))
    assert named == {artifact.file for artifact in load_bundle(packed.path).manifest.artifacts}


def test_nothing_is_left_beside_the_bundle(packed):
    assert [path.name for path in packed.path.parent.iterdir()] == [packed.path.name]
    assert packed.bytes == sum(path.stat().st_size for path in packed.path.rglob("*") if path.is_file())
    assert packed.path.stat().st_mode & 0o777 == 0o755


def test_the_same_run_gives_the_same_bytes(run, packed, tmp_path):
    again = pack(run, tmp_path / "again", GOLDEN, NO_EVIDENCE, StubDetector(), SETTINGS)
    assert again.bundle == packed.bundle  # the identity hashes the manifest, which hashes every file


def test_a_file_that_computes_something_else_is_not_packed(run, tmp_path, monkeypatch):
    other = stub_run(tmp_path / "other", seed=4)
    computed = convert("onnx", other.network, NO_EVIDENCE.calibration, ("fp32",))
    monkeypatch.setattr(export.side_by_side, "convert", lambda *what: computed)
    with pytest.raises(ParityError, match="against PyTorch"):
        pack(run, tmp_path / "bundles" / "out", GOLDEN, NO_EVIDENCE, StubDetector(), SETTINGS)
    assert not any((tmp_path / "bundles").iterdir())


class Restless(StubDetector):
    """Finds the face elsewhere in the golden frames when they are verified."""

    def detect(self, frame):
        faces = super().detect(frame)
        if self.calls > 10:  # five frames for the input, five for the golden stages
            faces[0].points[:] += 3.0
        return faces


def test_a_bundle_whose_golden_stages_do_not_replay_is_not_written(run, tmp_path, quick):
    with pytest.raises(ParityError, match="golden disk landmarks"):
        pack(run, tmp_path / "bundles" / "out", GOLDEN, NO_EVIDENCE, Restless(), SETTINGS)
    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_folder_that_is_no_bundle_is_left_alone(run, tmp_path, quick):
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(OutputNotWritable, match="no bundle"):
            pack(run, tmp_path, GOLDEN, NO_EVIDENCE, StubDetector(), replace(SETTINGS, force=force))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_bundle_is_replaced_only_when_asked_to(run, bundle, quick):
    before = load_bundle(bundle).sha256
    later = replace(SETTINGS, created="2027-01-01T00:00:00Z")
    with pytest.raises(OutputNotWritable, match="--force"):
        pack(run, bundle, GOLDEN, NO_EVIDENCE, StubDetector(), later)
    assert load_bundle(bundle).sha256 == before
    pack(run, bundle, GOLDEN, NO_EVIDENCE, StubDetector(), replace(later, force=True))
    assert load_bundle(bundle).manifest.created == later.created
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_a_failed_replacement_leaves_the_old_bundle(run, bundle, quick):
    before = load_bundle(bundle).sha256
    with pytest.raises(NoFace):
        pack(run, bundle, GOLDEN, NO_EVIDENCE, StubDetector([]), replace(SETTINGS, force=True))
    assert load_bundle(bundle).sha256 == before
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def without(*path):
    """The stub record without one entry."""
    record = copy.deepcopy(stub_record())
    place = record
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return record


@pytest.mark.parametrize("path", [("seed",), ("data", "sha256"), ("operating_point", "rates")], ids=".".join)
def test_a_record_that_lacks_what_the_manifest_states_is_refused(run, path):
    record = {**without(*path), "name": "tiny"}
    broken = replace(run, record=record)
    with pytest.raises(RunInvalid, match=path[-1]):
        manifest_of(broken, [PLANNED], SETTINGS)


def test_a_run_whose_preprocessing_does_not_fit_its_network_is_refused(run):
    other = replace(run, preprocess=PreprocessSettings())
    with pytest.raises(RunInvalid, match="128"):
        manifest_of(other, [PLANNED], SETTINGS)


def test_golden_captures_come_from_a_folder_a_zip_or_a_folder_of_them(tmp_path):
    save_capture(stub_capture(), tmp_path / "many" / "First one.zip")
    save_capture(stub_capture(), tmp_path / "many" / "second")
    assert list(golden_captures(str(tmp_path / "many"), 5)) == ["first-one", "second"]
    assert list(golden_captures(str(tmp_path / "many" / "second"), 5)) == ["second"]
    assert list(golden_captures(str(tmp_path / "many" / "First one.zip"), 5)) == ["first-one"]
    with pytest.raises(N0Mismatch, match="second"):
        golden_captures(str(tmp_path / "many" / "second"), 4)


def test_no_golden_capture_or_too_many_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nowhere"):
        with pytest.raises(CaptureNotFound):
            golden_captures(str(tmp_path / place), 5)
    for number in range(MAX_GOLDEN + 1):
        (tmp_path / "empty" / f"{number}.zip").write_bytes(b"")
    with pytest.raises(CaptureNotFound, match="5 captures"):
        golden_captures(str(tmp_path / "empty"), 5)


@pytest.mark.parametrize(
    ("file", "name"), [("Ünlü 7.zip", "nl-7"), ("漢字.zip", "capture-2"), ("a" * 90, "a" * 40)], ids=str
)
def test_names_of_golden_captures_are_plain(file, name, tmp_path):
    assert name_of(tmp_path / file, 2) == name


def test_simulated_golden_captures_go_all_the_way_with_the_real_landmark_detector(run, tmp_path, quick):
    """The one test here with MediaPipe: what `flashproof export` does by default, but for the number of captures."""
    detector = FaceMeshDetector()
    golden = simulated_golden(5)
    assert set(golden) == {"live", "print"} and golden["live"].plan.nonce is not None
    assert golden["print"].plan == default_plan(5)
    plan = challenge(nonce_of("proof"))
    captures = [simulated(plan, species, seed=1, subject=1, size=192) for species in ("live", "replay")]
    inputs = [preprocess(capture, detector, run.preprocess).model_input for capture in captures]
    assert [x.shape for x in inputs] == [(6, 3, 32, 32)] * 2 and not np.array_equal(*inputs)
    packed = pack(run, tmp_path / "bundle", golden, replace(NO_EVIDENCE, inputs=inputs), detector, SETTINGS)
    assert verify(tmp_path / "bundle", FaceMeshDetector()).ok
    assert packed.captures == 4
    full_size = 6 * 3 * 4 * (128**2 - 32**2) * 2  # what inputs of 128 pixels would add
    assert packed.bytes + full_size < 5e6


@pytest.fixture
def flashproof_export(monkeypatch, quick):
    monkeypatch.setattr(command, "new_detector", StubDetector)
    app = typer.Typer()
    app.command()(command.export)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_a_bundle_and_one_json_object(flashproof_export, run, tmp_path):
    save_capture(stub_capture(), tmp_path / "disk.zip")
    files = {
        "--evaluation": made_up_evaluation(),
        "--screen-off": made_up_evaluation(screen_off=True),
        "--real": made_up_real_pairs(),
    }
    options = ["--golden", tmp_path / "disk.zip", *ALONE]
    for option, content in files.items():
        (tmp_path / f"{option}.json").write_text(json.dumps(content), encoding="utf-8")
        options += [option, tmp_path / f"{option}.json"]
    shown = flashproof_export(run.folder, "--out", tmp_path / "bundle", *options, "--json")
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert said["ok"] is True and said["captures"] == 1 and said["path"] == str(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.identity == said["bundle"]
    reports = {f"reports/{name}.json" for name in ("parity", "evaluation", "screen_off", "real_pairs")}
    assert {path for path in bundle.manifest.files if path.startswith("reports/")} == reports
    assert "12.00% (3 of 25)" in bundle.read("MODEL_CARD.md").decode()
    again = flashproof_export(run.folder, "--out", tmp_path / "bundle", *options, "--json")
    assert again.exit_code == 3 and json.loads(again.stdout)["error"]["code"] == "output_not_writable"


@pytest.mark.parametrize(("arguments", "status"), [(("--formats", "gguf"), 2), (("--golden", "nowhere"), 3)], ids=str)
def test_the_command_refuses_what_it_cannot_do_and_writes_nothing(flashproof_export, run, tmp_path, arguments, status):
    options = ("--decision-captures", 0, "--proof-captures", 0, "--precisions", "fp32")
    shown = flashproof_export(run.folder, "--out", tmp_path / "bundle", "--json", *options, *arguments)
    assert shown.exit_code == status, shown.output
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_without_the_reference_file_is_refused(run):
    for formats, precisions in ((("coreml",), ("fp32",)), (("onnx",), ("fp16",))):
        with pytest.raises(NothingToConvert, match="onnx and fp32"):
            chosen_formats(formats, precisions)
    assert chosen_formats(("coreml", "onnx"), ("fp16", "fp32")) == ["onnx", "coreml"]


def test_figures_of_another_threshold_are_refused_before_anything_is_converted(flashproof_export, run, tmp_path):
    (tmp_path / "real.json").write_text(json.dumps(made_up_real_pairs(threshold=0.5)), encoding="utf-8")
    save_capture(stub_capture(), tmp_path / "disk.zip")
    options = ("--golden", tmp_path / "disk.zip", *ALONE, "--real", tmp_path / "real.json", "--json")
    shown = flashproof_export(run.folder, "--out", tmp_path / "bundle", *options)
    assert shown.exit_code == 3 and json.loads(shown.stdout)["error"]["code"] == "evaluation_unusable"
    assert not (tmp_path / "bundle").exists()


def test_a_run_that_is_not_there_is_named(flashproof_export, tmp_path):
    shown = flashproof_export(tmp_path / "nothing", "--out", tmp_path / "bundle", "--json")
    assert shown.exit_code == 3 and json.loads(shown.stdout)["error"]["code"] == "run_invalid"


def test_golden_frames_in_a_zip_are_not_followed_out_of_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../capture.json", "{}")
    with pytest.raises(Exception, match=r"capture\.json"):
        golden_captures(str(tmp_path / "evil.zip"), 5)
