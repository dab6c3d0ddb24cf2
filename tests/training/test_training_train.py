"""Training on a tiny set: it learns, a kill costs nothing, the record rebuilds the network, bad folders are refused."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from made_up_scenes import made_up_stage
from safetensors.torch import load_file, save_file
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset
from tiny_network import TINY
from torch import nn

from sdk_reference.capture import save_capture
from sdk_reference.errors import OutputNotWritable
from sdk_reference.manifest import OperatingPoint
from simulator.stage_file import stage_bytes
from training.augment import NO_AUGMENTATION
from training.checkpoint import load_run
from training.errors import ClassMissing, RunInvalid, SettingOutOfRange, SettingsMismatch
from training.int8_grid import on_int8_grid, round_to_int8_grid
from training.lightning_module import TrainingModule, moving_average
from training.log_table import read_log
from training.machine import Machine
from training.network import ATRFAS, PRESETS
from training.run_folder import differences
from training.run_keeper import Merit
from training.settings import RECIPES, TrainSettings
from training.shard_writing import shard_dataset
from training.train import train

EPOCHS = 3
SETTINGS = replace(RECIPES["mobile"], epochs=EPOCHS, batch_size=8, seed=4)
QUIET = Machine(quiet=True, accelerator="cpu")


class Killed(Exception):
    """Stands for a kill: nothing of ours catches it."""


class KillAt(Callback):
    """Ends the process' work in the middle of an epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            raise Killed


@pytest.fixture(scope="module", autouse=True)
def tiny_network() -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(PRESETS, "mobile", TINY)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    people = [*subjects_of("train", 9), *subjects_of("val", 4), *subjects_of("test", 2)]
    return keep_scenes(write_tiny_dataset(folder, people))


def keep_scenes(folder: Path) -> Path:
    """Put a scene beside every capture, so that trainings photograph anew, as those of simulated data do."""
    (folder / "stages").mkdir()
    for number, path in enumerate(sorted((folder / "captures").iterdir())):
        (folder / "stages" / f"{path.stem}.npz").write_bytes(stage_bytes(made_up_stage(number)))
    return folder


def run_training(
    out: Path, data: Path, settings: TrainSettings = SETTINGS, callbacks: tuple[Callback, ...] = ()
) -> Any:
    return train(out, [data], settings, QUIET, detector_factory=KnowingDetector, callbacks=callbacks)


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run_training(out, dataset)
    return out


def curve(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_log(folder)]


def test_the_loss_falls_where_nothing_is_changed_from_draw_to_draw(dataset: Path, tmp_path: Path) -> None:
    run_training(tmp_path / "run", dataset, replace(SETTINGS, augment=NO_AUGMENTATION))
    losses = [float(row["train_total"]) for row in read_log(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_the_log_has_one_line_per_epoch(finished: Path) -> None:
    rows = read_log(finished)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


@pytest.mark.parametrize(("epoch", "batch", "photographs_lost"), [(0, 0, False), (2, 1, False), (2, 1, True)])
def test_a_killed_training_goes_on_to_the_same_curve_and_the_same_weights(
    finished: Path, dataset: Path, tmp_path: Path, epoch: int, batch: int, photographs_lost: bool
) -> None:
    """The photographs that wait for their next draw are there, or gone with the disk that held them."""
    out = tmp_path / "killed"
    with pytest.raises(Killed):
        run_training(out, dataset, callbacks=(KillAt(epoch, batch),))
    assert len(read_log(out)) == epoch
    assert SETTINGS.augment.photograph_serves == 3 and list((out / "photographs").glob("*.npz"))
    if photographs_lost:
        shutil.rmtree(out / "photographs")
    with pytest.raises(RunInvalid, match="unfinished"):
        load_run(out)
    record = run_training(out, dataset)
    assert curve(out) == curve(finished)
    assert not (out / "photographs").exists()
    whole = json.loads((finished / "run.json").read_text())
    assert record["weights"] == whole["weights"]
    assert record["operating_point"] == whole["operating_point"]


def test_a_run_is_not_gone_on_with_where_its_captures_can_no_longer_be_relit(dataset: Path, tmp_path: Path) -> None:
    """Shards of a data set have its hash and not its layers of light: another training under the same settings."""
    shards, out = tmp_path / "shards", tmp_path / "run"
    with pytest.raises(Killed):
        run_training(out, dataset, callbacks=(KillAt(1, 0),))
    shard_dataset(dataset, shards, quiet=True, detector_factory=KnowingDetector)
    with pytest.raises(SettingsMismatch, match="relightable 18"):
        run_training(out, shards)


def test_what_cannot_be_relit_is_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lit, unlit = tmp_path / "lit", tmp_path / "unlit"
    shutil.copytree(dataset, lit, ignore=shutil.ignore_patterns("prepared-*"))
    shutil.copytree(dataset, unlit, ignore=shutil.ignore_patterns("prepared-*", "stages"))
    loud = replace(QUIET, quiet=False)
    for folder, said in ((lit, False), (unlit, True)):
        with pytest.raises(Killed):
            train(
                tmp_path / f"of-{folder.name}",
                [folder],
                SETTINGS,
                loud,
                detector_factory=KnowingDetector,
                callbacks=(KillAt(0, 0),),
            )
        told = " ".join(capsys.readouterr().err.split())
        assert ("18 of 18 simulated captures to train on come without layers of light" in told) is said


def test_a_finished_run_is_left_as_it_is(finished: Path, dataset: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    record = run_training(finished, dataset)
    assert record == json.loads((finished / "run.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_the_best_epoch_is_the_one_of_lowest_equal_error_then_loss(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    order = min(read_log(finished), key=lambda row: (float(row["val_eer"]), float(row["val_total"])))
    assert record["best_epoch"] == int(order["epoch"])
    assert Merit(0.1, 9.0, 5) < Merit(0.2, 1.0, 0) and Merit(0.1, 1.0, 5) < Merit(0.1, 2.0, 0)


def test_the_record_states_all_that_made_the_run(finished: Path, dataset: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["preset"], record["seed"], record["network"]) == (
        "mobile",
        4,
        json.loads(json.dumps(TINY.to_dict())),
    )
    assert record["preprocess"]["input_size"] == 32
    assert record["data"]["splits"]["val"]["captures"] == 8 and record["data"]["simulated"] is True
    assert record["parameters"] == sum(parameter.numel() for parameter in ATRFAS(TINY).parameters())
    assert record["weights"]["sha256"] == hashlib.sha256((finished / "model.safetensors").read_bytes()).hexdigest()
    assert {"torch", "python", "numpy"} <= record["versions"].keys()
    settings = {**record["training"], "loss": record["loss"]}
    assert TrainSettings.from_dict(settings) == SETTINGS


def test_the_operating_point_is_what_a_manifest_takes(finished: Path) -> None:
    point = json.loads((finished / "run.json").read_text())["operating_point"]
    accepted = OperatingPoint.model_validate_json(json.dumps(point))
    assert accepted.simulated and accepted.captures == 8
    assert {"eer", "far", "frr", "bpcer", "apcer_print"} <= set(accepted.rates)


def test_a_loaded_run_scores_as_the_trained_network_did(finished: Path) -> None:
    run = load_run(finished)
    assert not run.network.training and run.settings == TINY and 0 < run.threshold <= 1
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 6, 3, 32, 32)).astype(np.float32))
    weights = load_file(str(finished / "checkpoints" / "best.safetensors"))
    other = ATRFAS(TINY).eval()
    other.load_state_dict(weights)
    round_to_int8_grid(other)  # as every training ends
    with torch.inference_mode():
        torch.testing.assert_close(run.network(x).score, other(x).score, rtol=0, atol=0)


def test_the_weights_of_a_run_lie_on_the_int8_grid_and_those_of_its_best_epoch_do_not(finished: Path) -> None:
    network, best = load_run(finished).network, load_file(finished / "checkpoints/best.safetensors")
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    for name, layer in layers.items():
        torch.testing.assert_close(layer.weight, on_int8_grid(best[f"{name}.weight"]), rtol=1e-6, atol=0)
    assert any(not torch.equal(layer.weight, best[f"{name}.weight"]) for name, layer in layers.items())


def test_training_leaves_torchs_own_random_numbers_alone(dataset: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run_training(tmp_path / "run", dataset, replace(SETTINGS, epochs=1))
    torch.testing.assert_close(torch.rand(3), expected)


def test_a_training_begins_with_the_weights_of_another_run(finished: Path, dataset: Path, tmp_path: Path) -> None:
    """At a learning rate of next to nothing they stay what they were, and the record says whose they are."""
    settings = replace(SETTINGS, epochs=1, learning_rate=1e-8, weight_decay=0.0)
    record = train(tmp_path / "on", [dataset], settings, QUIET, start=finished, detector_factory=KnowingDetector)
    before, after = (load_run(folder) for folder in (finished, tmp_path / "on"))
    assert record["training"]["started_from"] == before.record["weights"]["sha256"]
    for one, other in zip(before.network.parameters(), after.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    with pytest.raises(SettingsMismatch, match="started_from"):
        run_training(tmp_path / "on", dataset, settings)


def test_a_run_of_another_network_is_no_beginning(finished: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched, pytest.raises(RunInvalid, match="attention_span"):
        patched.setitem(PRESETS, "mobile", replace(TINY, attention_span=2.0))
        train(tmp_path / "on", [dataset], SETTINGS, QUIET, start=finished, detector_factory=KnowingDetector)
    assert not (tmp_path / "on").exists()


def test_another_seed_gives_another_curve(finished: Path, dataset: Path, tmp_path: Path) -> None:
    run_training(tmp_path / "run", dataset, replace(SETTINGS, seed=5, epochs=1))
    assert curve(tmp_path / "run")[0]["train_total"] != curve(finished)[0]["train_total"]


def test_the_papers_recipe_trains_without_an_average(dataset: Path, tmp_path: Path) -> None:
    settings = replace(RECIPES["paper"], preset="mobile", epochs=2, batch_size=8)
    run_training(tmp_path / "run", dataset, settings)
    rates = [float(row["learning_rate"]) for row in read_log(tmp_path / "run")]
    assert rates == pytest.approx([1e-4 * 0.95, 1e-4 * 0.95**2], rel=1e-3)


def test_half_precision_trains_to_full_precision_weights(dataset: Path, tmp_path: Path) -> None:
    run_training(tmp_path / "run", dataset, replace(SETTINGS, epochs=1, precision="bf16-mixed"))
    run = load_run(tmp_path / "run")
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 5}, "training.seed"), ({"epochs": 9}, "training.epochs"), ({"batch_size": 2}, "batch")],
)
def test_a_run_of_other_settings_is_refused(finished: Path, dataset: Path, change: dict[str, int], name: str) -> None:
    with pytest.raises(SettingsMismatch, match=name):
        run_training(finished, dataset, replace(SETTINGS, **change))  # type: ignore[arg-type]


def test_a_run_of_other_data_is_refused(finished: Path, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset / "captures", tmp_path / "captures")
    save_capture(tiny_capture(77, subjects_of("train", 1)[0], "live"), tmp_path / "captures" / "extra.zip")
    with pytest.raises(SettingsMismatch, match="data_sha256"):
        run_training(finished, tmp_path)


def test_a_folder_that_holds_something_else_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunInvalid, match="something else"):
        run_training(tmp_path, dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_class_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "val")):
        save_capture(tiny_capture(seed, subjects_of(split, 1)[0], "live"), tmp_path / "data" / f"{split}.zip")
    with pytest.raises(ClassMissing):
        run_training(tmp_path / "run", tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_place_is_an_error(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable):
        run_training(tmp_path / "file" / "run", dataset)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"seed": -1}, {"precision": "16"}, {"preset": "huge"}, {"learning_rate": 0.0}],
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingOutOfRange):
        replace(SETTINGS, **wrong)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"workers": 0}, {"loader_workers": -1}])
def test_a_senseless_machine_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingOutOfRange):
        Machine(**wrong)  # type: ignore[arg-type]


def damaged(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def rewrite(folder: Path, change: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("network"), "unusable settings"),
        (lambda record: record["network"].update(stem_widths=[8, 8]), "does not fit"),
        (lambda record: record["network"].update(width=3), "unusable settings"),
        (lambda record: record["preprocess"].update(gain="loud"), "unusable settings"),
        (lambda record: record["operating_point"].update(threshold=float("nan")), "threshold"),
        (lambda record: record["operating_point"].update(threshold="0.5"), "threshold"),
        (lambda record: record["operating_point"].update(threshold=1.5), "threshold"),
        (lambda record: record["weights"].update(sha256="0" * 64), "sha256"),
        (lambda record: record.update(version=2), "another format"),
        (lambda record: record.update(format="model"), "another format"),
    ],
)
def test_a_changed_record_is_refused(finished: Path, tmp_path: Path, change: Any, message: str) -> None:
    folder = damaged(finished, tmp_path / "run")
    rewrite(folder, change)
    with pytest.raises(RunInvalid, match=message):
        load_run(folder)


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff\xfe", b"{"])
def test_an_unreadable_record_is_refused(finished: Path, tmp_path: Path, content: bytes) -> None:
    folder = damaged(finished, tmp_path / "run")
    (folder / "run.json").write_bytes(content)
    with pytest.raises(RunInvalid):
        load_run(folder)


def test_missing_or_changed_weights_are_refused(finished: Path, tmp_path: Path) -> None:
    folder = damaged(finished, tmp_path / "run")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunInvalid, match="sha256"):
        load_run(folder)
    weights.unlink()
    with pytest.raises(RunInvalid, match=r"model\.safetensors"):
        load_run(folder)


@pytest.mark.parametrize("fault", ["missing", "extra", "nan"])
def test_weights_must_fit_exactly_and_be_finite(finished: Path, tmp_path: Path, fault: str) -> None:
    folder = damaged(finished, tmp_path / "run")
    path = folder / "model.safetensors"
    tensors = load_file(str(path))
    name = sorted(tensors)[0]
    if fault == "missing":
        del tensors[name]
    elif fault == "extra":
        tensors["surplus"] = torch.zeros(1)
    else:
        tensors[name].fill_(torch.nan)
    save_file(tensors, str(path))
    rewrite(folder, lambda record: record["weights"].update(sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    with pytest.raises(RunInvalid, match="not finite" if fault == "nan" else "does not fit"):
        load_run(folder)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunInvalid, match="no run"):
        load_run(tmp_path / name)


def test_the_moving_average_forgets_the_first_weights_and_then_follows_slowly() -> None:
    step = moving_average(0.9)
    value, average = torch.tensor([1.0]), torch.tensor([0.0])
    assert float(step(average, value, 1)) == pytest.approx(1 - 2 / 11)
    assert float(step(average, value, 1000)) == pytest.approx(0.1)


def test_what_is_validated_is_the_average(dataset: Path) -> None:
    module = TrainingModule(ATRFAS(TINY), SETTINGS)
    assert module.averaged is not None and module.judged is module.averaged.module
    plain = TrainingModule(ATRFAS(TINY), replace(SETTINGS, ema_decay=0.0))
    assert plain.judged is plain.network


def test_differences_name_the_leaf() -> None:
    found, wanted = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 3, "c": [1]}, "e": 2}
    assert list(differences(found, wanted)) == [("a.b", 1, 3), ("d", 2, None), ("e", None, 2)]
