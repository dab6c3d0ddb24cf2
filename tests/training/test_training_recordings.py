"""Recordings as training data: extracted like captures, refused with a reason, mixed with simulated sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset
from tiny_network import TINY
from tiny_recordings import write_recording
from typer.testing import CliRunner

from flash_sequencer.plan import challenge
from flash_sequencer.player import FlashPlayer
from flashproof.commands.evaluate import evaluate
from flashproof.commands.train import train
from sdk_reference.capture import Labels, save_capture
from sdk_reference.images import encode_frame
from sdk_reference.preprocess import preprocess
from sdk_reference.recording import RecordingWriter
from simulator.camera import SimulatedCamera, SimulatedClock
from simulator.stage import set_stage
from training.depth_labels import label_from_mesh
from training.errors import DatasetInvalid, LabelsContradict, LabelsMissing
from training.network import PRESETS
from training.prepare import prepare_all, prepare_dataset
from training.refusals import refusal_table
from training.store import AlignedStore

app = typer.Typer()
for command in (train, evaluate):
    app.command()(command)


def prepare(folder: Path) -> AlignedStore:
    return prepare_dataset(folder, detector_factory=KnowingDetector)


def record(
    folder: Path, seed: int, subject: str, species: str, *, faceless: bool = False, video: str = "frames"
) -> None:
    """Film a tiny capture as if it were a real one."""
    capture = tiny_capture(seed, subject, species, faceless=faceless)
    assert capture.labels is not None
    write_recording(folder, capture, labels=replace(capture.labels, simulated=False), video=video)


def write_recordings(folder: Path, people: list[str]) -> Path:
    for number, person in enumerate(people):
        record(folder / f"{person}-live", 900 + 2 * number, person, "live")
        attack = ("print", "replay", "mask")[number % 3]
        record(folder / f"{person}-attack", 901 + 2 * number, person, attack, video="video.mkv")
    return folder


def test_a_recording_gives_the_row_of_the_capture_it_was_filmed_from(tmp_path: Path) -> None:
    capture = tiny_capture(5, "ann", "print")
    save_capture(capture, tmp_path / "a" / "one.zip")
    write_recording(tmp_path / "b" / "one", capture, video="video.mkv")
    as_capture, as_recording = prepare(tmp_path / "a"), prepare(tmp_path / "b")
    np.testing.assert_array_equal(as_recording.aligned, as_capture.aligned)
    np.testing.assert_array_equal(as_recording.depth, as_capture.depth)
    (one,), (other,) = as_capture.records, as_recording.records
    assert (one.quality, one.response, one.frames_sha256) == (other.quality, other.response, other.frames_sha256)


def test_a_live_recordings_depth_label_comes_from_the_landmark_mesh(tmp_path: Path) -> None:
    record(tmp_path / "ann-1", 5, "ann", "live")
    store = prepare(tmp_path)
    capture = tiny_capture(5, "ann", "live")
    prepared = preprocess(capture, KnowingDetector())
    expected = label_from_mesh(prepared.faces[0], prepared.affines[0])
    np.testing.assert_array_equal(store.depth[0], expected.astype(np.float16))
    assert expected.max() > 0.9 and expected.min() == 0.0


def test_a_filmed_person_goes_all_the_way_with_the_real_landmark_finder(tmp_path: Path) -> None:
    stage = set_stage(3, 11, "live", "face", 256, ambient_lux=30.0)
    clock = SimulatedClock(10**9)
    player = FlashPlayer(challenge("ab" * 16), clock.now_ns, ideal_display=True)
    camera = SimulatedCamera(stage, player.colour_at, clock, latency_ms=45.0, rng=np.random.default_rng(1))
    camera.open()
    with RecordingWriter(tmp_path / "someone") as writer:
        player.start()
        while not player.finished(clock.now_ns() - 45_000_000):
            frame = camera.read()
            writer.add(frame.image, frame.timestamp_ns)
        times = {"exposure_ns": camera.exposure_ns, "lag_ns": 45_000_000, "settling_ns": 60_000_000}
        writer.finish(player.plan, player.presented(), **times, labels=Labels(True, "p", "live"))
    store = prepare_dataset(tmp_path)
    assert store.refused == {}
    brightness = store.aligned[0].mean(axis=(1, 2, 3))
    assert brightness.argmax() == 0 and brightness.argmin() == store.n0 - 1
    assert store.depth[0].max() > 0.9


def unusable(folder: Path) -> Path:
    """One good recording, and one of each kind that cannot be used."""
    record(folder / "good", 1, "ann", "live")
    record(folder / "no-face", 2, "ann", "live", faceless=True)
    record(folder / "no-frame", 3, "ann", "print")
    index = folder / "no-frame" / "recording.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "exposure_ns": 900_000_000}))
    record(folder / "cut-video", 4, "ann", "mask", video="video.mkv")
    video = folder / "cut-video" / "video.mkv"
    video.write_bytes(video.read_bytes()[:3000])
    record(folder / "no-video", 5, "ann", "mask", video="video.mkv")
    (folder / "no-video" / "video.mkv").unlink()
    capture = tiny_capture(6, "ann", "replay")
    assert capture.labels is not None
    save_capture(replace(capture, labels=replace(capture.labels, simulated=False)), folder / "cut-frame")
    frame = folder / "cut-frame" / "frame_2.png"
    frame.write_bytes(frame.read_bytes()[:500])
    return folder


REASONS = {
    "cut-frame": "frame_unreadable",
    "cut-video": "frame_count_mismatch",
    "no-face": "no_face",
    "no-frame": "step_without_frame",
    "no-video": "frame_unreadable",
}


def test_what_cannot_be_used_is_listed_with_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    store = prepare(unusable(tmp_path))
    assert {record.name: record.refused["code"] for record in store.records if record.refused} == REASONS
    assert [record.name for record in store.usable] == ["good"]
    report = json.loads((store.folder / "refused.json").read_text())
    assert (report["captures"], report["refused"]) == (6, 5)
    assert report["reasons"] == {
        "frame_count_mismatch": 1,
        "frame_unreadable": 2,
        "no_face": 1,
        "step_without_frame": 1,
    }
    assert {line["name"]: line["code"] for line in report["list"]} == REASONS
    assert all(line["found"] and line["expected"] and line["remedy"] for line in report["list"])
    assert {line["species"] for line in report["list"]} == {"live", "print", "replay", "mask"}


def test_people_are_shown_a_table_of_what_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unusable(tmp_path)
    prepare_all([tmp_path], 1, False, KnowingDetector)
    captured = capsys.readouterr()
    assert captured.out == ""
    for name, code in REASONS.items():
        assert name in captured.err and code.split("_")[0] in captured.err
    (store,) = prepare_all([tmp_path], 1, True, KnowingDetector)
    assert capsys.readouterr().err == ""
    assert refusal_table(store).row_count == 5


def test_a_refused_recording_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    record(tmp_path / "r", 3, "ann", "print", video="frames")
    (tmp_path / "r" / "frames" / "000001.png").unlink()
    first = prepare(tmp_path)
    assert first.refused == {"frame_count_mismatch": 1}
    (tmp_path / "r" / "frames" / "000001.png").write_bytes(encode_frame(tiny_capture(3, "ann", "print").frames[0]))
    assert prepare(tmp_path).refused == {}


def test_a_corrected_log_or_label_is_noticed_though_the_size_stays(tmp_path: Path) -> None:
    record(tmp_path / "r", 3, "anna", "print")
    index = tmp_path / "r" / "recording.json"
    right = index.read_text()
    wrong = right.replace('"lag_ns": 63000000', '"lag_ns": 99000000')
    assert len(wrong) == len(right) and wrong != right
    index.write_text(wrong)
    prepare(tmp_path)
    index.write_text(right)
    before = KnowingDetector.detected
    prepare(tmp_path)
    assert KnowingDetector.detected == before + 5
    index.write_text(right.replace('"anna"', '"hans"'))
    assert [record.subject for record in prepare(tmp_path).records] == ["hans"]


def test_opening_a_finished_store_writes_nothing(tmp_path: Path) -> None:
    store = prepare(unusable(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert prepare(tmp_path).records == store.records
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before


def test_a_simulated_capture_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    save_capture(tiny_capture(1, "ann", "live"), tmp_path / "one")
    frame = tmp_path / "one" / "frame_0.png"
    frame.write_bytes(frame.read_bytes()[:500])
    with pytest.raises(DatasetInvalid, match="one"):
        prepare(tmp_path)


def test_a_recording_that_does_not_say_what_it_is_is_an_error_that_names_it(tmp_path: Path) -> None:
    record(tmp_path / "ann-7", 3, "ann", "print")
    (tmp_path / "ann-7" / "recording.json").write_text("{")
    with pytest.raises(DatasetInvalid, match="ann-7"):
        prepare(tmp_path)


def test_contradicting_labels_of_a_recording_are_an_error_before_any_frame_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = tiny_capture(1, "ann", "live")
    assert capture.labels is not None
    write_recording(tmp_path / "odd", capture, labels=replace(capture.labels, instrument="print_hd"))
    monkeypatch.setattr("training.source.extract_capture", lambda *_: pytest.fail("decoded"))
    with pytest.raises(LabelsContradict, match="odd with species live and an instrument of attack, print_hd"):
        prepare(tmp_path)


def test_a_recording_without_labels_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_recording(tmp_path / "odd", tiny_capture(1, None, "live"))
    with pytest.raises(LabelsMissing, match="odd without subject"):
        prepare(tmp_path)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mobile", TINY)
    detect = KnowingDetector.detect
    monkeypatch.setattr(
        "sdk_reference.landmarks.FaceMeshDetector.detect", lambda self, frame: detect(KnowingDetector(), frame)
    )


OPTIONS = ("--preset", "mobile", "--epochs", 1, "--batch-size", 4, "--threads", 1, "--workers", 1, "--json")


def test_a_user_trains_on_recordings_alone_and_mixed_with_simulated_captures(tiny: None, tmp_path: Path) -> None:
    people = [p for split in ("train", "val", "test") for p in subjects_of(split, 2)]
    recordings = write_recordings(tmp_path / "my_recordings", people)
    record(recordings / "nobody", 777, people[0], "live", faceless=True)
    alone = call("train", tmp_path / "alone", "--data", recordings, *OPTIONS)
    assert alone.exit_code == 0, alone.output
    data = json.loads(alone.stdout)["data"]
    assert (data["captures"], data["simulated"], data["refused"]) == (13, False, {"no_face": 1})
    assert json.loads(alone.stdout)["operating_point"]["simulated"] is False

    simulated = write_tiny_dataset(tmp_path / "sim", [f"sim-{number}" for number in range(20)])
    mixed = call("train", tmp_path / "mixed", "--data", recordings, "--data", simulated, *OPTIONS)
    assert mixed.exit_code == 0, mixed.output
    data = json.loads(mixed.stdout)["data"]
    assert data["simulated"] is True and json.loads(mixed.stdout)["operating_point"]["simulated"] is True
    assert {part["name"]: (part["captures"], part["simulated_captures"]) for part in data["folders"]} == {
        "my_recordings": (13, 0),
        "sim": (40, 40),
    }
    judged = call("evaluate", tmp_path / "mixed", "--data", recordings, "--threads", 1, "--workers", 1, "--json", "-")
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["simulated"] is False
