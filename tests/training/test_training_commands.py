"""`flashproof simulate`, `train` and `evaluate` as commands: one JSON object on standard output, clear errors."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from tiny_captures import KnowingDetector, subjects_of, write_tiny_dataset
from tiny_network import TINY
from typer.testing import CliRunner

from flashproof.commands.evaluate import evaluate
from flashproof.commands.simulate import simulate
from flashproof.commands.train import train
from sdk_reference.errors import FlashproofError
from training.augment import WIDE, AugmentSettings
from training.errors import ClassMissing, DatasetInvalid, RunInvalid, SettingOutOfRange
from training.network import PRESETS

app = typer.Typer()
for command in (simulate, train, evaluate):
    app.command()(command)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mobile", TINY)
    detect = KnowingDetector.detect
    monkeypatch.setattr(
        "sdk_reference.landmarks.FaceMeshDetector.detect", lambda self, frame: detect(KnowingDetector(), frame)
    )


def test_simulate_prints_what_it_made(tmp_path: Path) -> None:
    done = call("simulate", tmp_path / "set", "--count", 2, "--size", 128, "--workers", 1, "--seed", 3, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert (made["captures"], made["made"], made["simulated"]) == (2, 2, True)
    again = call("simulate", tmp_path / "set", "--count", 2, "--size", 128, "--workers", 1, "--seed", 3)
    assert "2 simulated captures" in again.stdout and "0 new" in again.stdout


def test_train_and_evaluate_follow_each_other(tmp_path: Path) -> None:
    data = write_tiny_dataset(
        tmp_path / "data", [p for split in ("train", "val", "test") for p in subjects_of(split, 3)]
    )
    options = ("--data", data, "--threads", 1, "--workers", 1)
    trained = call(
        "train", tmp_path / "run", "--preset", "mobile", "--epochs", 1, "--batch-size", 4, *options, "--json"
    )
    assert trained.exit_code == 0, trained.output
    record = json.loads(trained.stdout)
    shown = call("train", tmp_path / "run", "--preset", "mobile", "--epochs", 1, "--batch-size", 4, *options)
    assert "apcer_print" in shown.stdout and shown.stdout.count("simulated") >= 8
    judged = call("evaluate", tmp_path / "run", *options, "--json", "-", "--report", tmp_path / "report")
    assert judged.exit_code == 0, judged.output
    result = json.loads(judged.stdout)
    assert result["threshold"] == record["operating_point"]["threshold"]
    assert (tmp_path / "report" / "scores.png").is_file()
    written = call("evaluate", tmp_path / "run", *options, "--json", tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert "BPCER" in written.stdout and "simulated" in written.stdout
    further = (
        "--from",
        tmp_path / "run",
        "--looks",
        "simulated",
        "--learning-rate",
        1e-4,
        "--epochs",
        1,
        "--batch-size",
        4,
    )
    went_on = call("train", tmp_path / "on", "--preset", "mobile", *further, *options, "--json")
    assert went_on.exit_code == 0, went_on.output
    settings = json.loads(went_on.stdout)["training"]
    assert settings["started_from"] == record["weights"]["sha256"] and settings["learning_rate"] == 1e-4
    assert record["training"]["augment"] == asdict(replace(WIDE, photograph_serves=3))
    assert settings["augment"] == asdict(replace(AugmentSettings(), photograph_serves=3))
    assert not (tmp_path / "run" / "photographs").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("simulate", "OUT", "--count", 0), SettingOutOfRange),
        (("simulate", "OUT", "--count", 1, "--mix", "half"), SettingOutOfRange),
        (("simulate", "OUT", "--count", 1, "--workers", -1), SettingOutOfRange),
        (("simulate", "OUT", "--count", 1, "--size", 5), SettingOutOfRange),
        (("train", "OUT", "--preset", "huge", "--data", "OUT"), SettingOutOfRange),
        (("train", "OUT", "--preset", "mobile", "--data", "OUT"), DatasetInvalid),
        (("train", "OUT", "--preset", "mobile", "--data", "OUT", "--looks", "odd"), SettingOutOfRange),
        (("train", "OUT", "--preset", "mobile", "--data", "OUT", "--from", "OUT"), RunInvalid),
        (("train", "OUT", "--preset", "mobile", "--data", "OUT", "--epochs", 0), SettingOutOfRange),
        (("train", "OUT", "--preset", "mobile", "--data", "OUT", "--threads", -2), SettingOutOfRange),
        (("evaluate", "OUT", "--data", "OUT"), FlashproofError),
        (("evaluate", "OUT", "--data", "OUT", "--split", "some"), SettingOutOfRange),
    ],
)
def test_senseless_arguments_are_one_clear_error(
    tmp_path: Path, arguments: tuple[object, ...], error: type[FlashproofError]
) -> None:
    done = call(*(tmp_path / "out" if argument == "OUT" else argument for argument in arguments))
    assert isinstance(done.exception, error), done.output
    assert done.exception.exit_status >= 3
    assert not (tmp_path / "out").exists()


def test_the_errors_of_this_room_are_invalid_input() -> None:
    assert {kind.exit_status for kind in (SettingOutOfRange, DatasetInvalid, ClassMissing, RunInvalid)} == {3}
