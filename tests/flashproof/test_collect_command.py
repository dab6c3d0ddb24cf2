"""`flashproof collect` asks before it films, films what training reads, and says what there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stub_filmer import SimulatedFilmer, StubFilmer
from tiny_captures import KnowingDetector

from flashproof.app import EXIT_USAGE, run
from flashproof.commands import collect as command
from sdk_reference.collecting import collect, order_for
from sdk_reference.errors import CameraLost
from training.prepare import prepare_dataset

LIVE = ["--subject", "ann", "--species", "live"]


@pytest.fixture(autouse=True)
def filmer(monkeypatch: pytest.MonkeyPatch) -> StubFilmer:
    stub = StubFilmer()

    @contextmanager
    def opened(camera: str, order: Any) -> Iterator[StubFilmer]:
        stub.species = order.labels.species
        yield stub

    monkeypatch.setattr(command, "open_filmer", opened)
    return stub


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    status = run(["collect", *map(str, arguments), "--json"])
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, printed


def test_training_takes_a_collected_folder_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for species, count in (("live", 2), ("print", 1), ("mask", 1)):
        arguments = ["--subject", "ann", "--species", species, "--count", count, "--consent", "--scene", "office"]
        status, printed = called(capsys, tmp_path, *arguments)
        assert status == 0
    assert printed["new"] == ["ann-mask-001"]
    assert printed["counts"]["species"] == {"live": 2, "mask": 1, "print": 1}
    assert printed["subjects"] == {"ann": {"live": 2, "attacks": 2}}
    store = prepare_dataset(tmp_path, detector_factory=KnowingDetector)
    assert store.refused == {}
    assert sorted(record.name for record in store.usable) == sorted(
        ["ann-live-001", "ann-live-002", "ann-mask-001", "ann-print-001"]
    )
    assert {record.labels["subject"] for record in store.usable} == {"ann"}
    assert not any(record.labels["simulated"] for record in store.usable)


@pytest.mark.slow
def test_a_simulated_person_who_was_collected_trains_with_the_real_landmark_finder(tmp_path: Path) -> None:
    order = order_for("sim-7", "live", simulated=True)
    collect(tmp_path, order, SimulatedFilmer("live", 7), count=1, new_nonce=lambda: bytes(range(16)))
    store = prepare_dataset(tmp_path)
    assert store.refused == {} and [record.name for record in store.usable] == ["sim-7-live-001"]
    brightness = store.aligned[0].mean(axis=(1, 2, 3))
    assert brightness.argmax() == 0 and brightness.argmin() == store.n0 - 1


def test_a_person_reads_the_text_and_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.prompt", lambda text, default: "ja")
    assert run(["collect", str(tmp_path), *LIVE]) == 0
    printed = capsys.readouterr().out
    assert "CONSENT TO BEING RECORDED" in printed and "EINWILLIGUNG" in printed
    assert "kept ann-live-001" in printed and "1 recordings of 1 people" in printed
    assert json.loads((tmp_path / "consent.json").read_text())["consents"][0]["given"] == "here"


def test_without_an_answer_nobody_is_filmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], filmer: StubFilmer
) -> None:
    status, printed = called(capsys, tmp_path, *LIVE)
    assert (status, printed["error"]["code"]) == (3, "invalid_input")
    assert "consent" in printed["error"]["found"]
    assert filmer.plans == []


def test_simulated_people_are_not_asked_and_are_labelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = called(capsys, tmp_path, *LIVE, "--camera", "sim:live")
    assert status == 0
    assert json.loads((tmp_path / "ann-live-001" / "recording.json").read_text())["labels"]["simulated"] is True


def test_a_camera_that_is_lost_keeps_what_was_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], filmer: StubFilmer
) -> None:
    filmer.trouble = [None, CameraLost(found="no frame", expected="a camera", remedy="plug it in")]
    status, printed = called(capsys, tmp_path, *LIVE, "--count", 3, "--consent")
    assert (status, printed["error"]["code"]) == (5, "camera_lost")
    status, printed = called(capsys, tmp_path)
    assert (status, printed["recordings"], printed["new"]) == (0, 1, [])


@pytest.mark.parametrize(
    "arguments",
    [["--subject", "ann"], ["--species", "live"], [*LIVE, "--count", "0"], [*LIVE, "--count", "x"]],
)
def test_command_lines_that_make_no_sense_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert run(["collect", str(tmp_path), *arguments]) == EXIT_USAGE


@pytest.mark.parametrize(
    ("subject", "species"), [("../../etc", "live"), ("ann", "sculpture"), ("ann/ben", "live"), ("", "live")]
)
def test_wrong_labels_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], subject: str, species: str
) -> None:
    status, printed = called(capsys, tmp_path / "new", "--subject", subject, "--species", species, "--consent")
    assert (status, printed["error"]["code"]) == (3, "invalid_input")
    assert not (tmp_path / "new").exists()
