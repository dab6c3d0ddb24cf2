"""What goes wrong in a training: each trouble is one clear error, early, and the last good checkpoint is kept."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from safetensors.torch import load_file, save_file
from tiny_captures import KnowingDetector, subjects_of, write_tiny_dataset
from tiny_network import TINY

from sdk_reference.errors import OutputNotWritable
from training.checkpoint import CHECKPOINT_STAMP
from training.errors import DatasetInvalid, LossNotFinite, RunInvalid
from training.log_table import read_log
from training.machine import Machine
from training.network import ATRFAS, PRESETS
from training.settings import RECIPES
from training.splits import split_of
from training.store import DEPTH_FILE, open_array
from training.train import train
from training.training_progress import TrainingProgress, duration

SETTINGS = replace(RECIPES["mobile"], epochs=3, batch_size=8, seed=4)
QUIET = Machine(quiet=True, accelerator="cpu")
STEPS_PER_EPOCH = 2


class Stop(Exception):
    """Ends a training from outside."""


class At(Callback):
    """Does something at the start of one step."""

    def __init__(self, epoch: int, step: int, action: Any) -> None:
        self.place = (epoch, step)
        self.action = action

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            self.action(pl_module, batch)


def stop(module: Any, batch: Any) -> None:
    raise Stop


@pytest.fixture(scope="module", autouse=True)
def tiny_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(PRESETS, "mobile", TINY)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_tiny_dataset(folder, [*subjects_of("train", 9), *subjects_of("val", 4), *subjects_of("test", 2)])


def run(out: Path, data: Path, *callbacks: Callback, machine: Machine = QUIET) -> Any:
    return train(out, [data], SETTINGS, machine, detector_factory=KnowingDetector, callbacks=callbacks)


@pytest.fixture(scope="module")
def one_epoch(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after its first epoch."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(Stop):
        run(out, dataset, At(1, 0, stop))
    return out


@pytest.fixture()
def stopped(one_epoch: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(one_epoch, tmp_path / "run"))


def checkpoint(out: Path) -> Any:
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def spoil_weights(module: Any, batch: Any) -> None:
    with torch.no_grad():
        next(module.network.parameters()).fill_(torch.inf)


def spoil_part(name: str) -> Any:
    def spoil(module: Any, batch: Any) -> None:
        batch[name][3].flatten()[0] = torch.nan

    return spoil


def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_last_checkpoint(dataset: Path, stopped: Path) -> None:
    before = checkpoint(stopped)
    with pytest.raises(LossNotFinite, match=r"epoch 1, step 1, on the captures (\d{6}\.zip(, )?){8};"):
        run(stopped, dataset, At(1, 1, spoil_weights))
    after = checkpoint(stopped)
    assert after["global_step"] == before["global_step"] == STEPS_PER_EPOCH
    assert all(torch.isfinite(value).all() for value in after["state_dict"].values())
    assert run(stopped, dataset)["best_epoch"] in range(3), "the same command goes on"


def test_a_gradient_that_is_no_number_never_reaches_the_weights(dataset: Path, stopped: Path) -> None:
    seen: list[Any] = []

    def spoil_gradient(module: Any, batch: Any) -> None:
        seen.append(module)
        next(module.network.parameters()).register_hook(lambda gradient: gradient * torch.nan)

    with pytest.raises(LossNotFinite, match="a gradient of norm nan at epoch 1, step 0, on the captures"):
        run(stopped, dataset, At(1, 0, spoil_gradient))
    assert all(torch.isfinite(value).all() for value in seen[0].network.parameters())


@pytest.mark.parametrize("part", ["input", "depth"])
def test_a_batch_with_nan_names_the_capture_and_its_place(dataset: Path, stopped: Path, part: str) -> None:
    with pytest.raises(DatasetInvalid, match=rf"not finite in \d{{6}}\.zip \({part}\), at epoch 1, step 1"):
        run(stopped, dataset, At(1, 1, spoil_part(part)))


def test_a_stored_depth_label_that_is_no_number_names_its_capture_before_the_training_begins(
    dataset: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    (path,) = data.glob(f"prepared-*/{DEPTH_FILE}")
    store = [store for store in prepared(data) if split_of(store.subject) == "train"]
    labels = open_array(path, writable=True)
    labels[store[5].row, 30, 30] = np.nan
    labels.flush()
    with pytest.raises(DatasetInvalid, match=rf"depth label with NaN or infinite values of {store[5].name}"):
        run(tmp_path / "run", data)
    assert not (tmp_path / "run").exists()


def prepared(data: Path) -> Any:
    from training.prepare import prepare_dataset

    return prepare_dataset(data, detector_factory=KnowingDetector).records


def test_a_validation_score_that_is_no_number_is_an_error(dataset: Path, stopped: Path) -> None:
    def spoil_average(module: Any, batch: Any) -> None:
        with torch.no_grad():
            module.averaged.module.classification_head.linear.bias.fill_(torch.nan)

    with pytest.raises(LossNotFinite, match=r"validation captures \d{6}\.zip"):
        run(stopped, dataset, At(1, 1, spoil_average))
    assert len(read_log(stopped)) == 1


def rewrite(change: Any) -> Any:
    def rewritten(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return rewritten


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def other_architecture(content: Any) -> None:
    wide = ATRFAS(replace(TINY, response_width=8)).state_dict()
    content["state_dict"] = {f"network.{name}": value for name, value in wide.items()}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"PK\x03\x04 not a checkpoint"), "cannot be read"),
        (lambda path: torch.save([1, 2], path), "cannot be read"),
        (lambda path: torch.save({"state_dict": Stop}, path), "cannot be read"),
        (rewrite(lambda content: content.pop(CHECKPOINT_STAMP)), "cannot be read"),
        (rewrite(lambda content: content[CHECKPOINT_STAMP].update(version=2)), "of version 2"),
        (rewrite(other_architecture), "another architecture: averaged.module"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_before_any_step(
    dataset: Path, stopped: Path, damage: Any, message: str
) -> None:
    damage(stopped / "checkpoints" / "last.ckpt")
    with pytest.raises(RunInvalid, match=message):
        run(stopped, dataset, At(1, 0, stop))


@pytest.mark.parametrize("damage", ["cut", "missing", "another architecture", "narrower"])
def test_best_weights_that_do_not_fit_are_refused_before_any_step(dataset: Path, stopped: Path, damage: str) -> None:
    path = stopped / "checkpoints" / "best.safetensors"
    if damage == "cut":
        cut(path)
    elif damage == "missing":
        path.unlink()
    else:
        tensors = load_file(str(path))
        name = "flash_response_head.linear.0.weight"
        tensors[name] = tensors[name][:, :2].contiguous() if damage == "narrower" else torch.zeros(1)
        save_file(tensors, str(path), {"epoch": "0", "eer": "0.5", "loss": "1.0"})
    with pytest.raises(RunInvalid):
        run(stopped, dataset, At(1, 0, stop))


@pytest.fixture()
def full_disk() -> Iterator[Any]:
    """Stands for a disk without room: no file may grow beyond a few bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*_: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_complete(
    dataset: Path, stopped: Path, full_disk: Any
) -> None:
    before = (stopped / "checkpoints" / "last.ckpt").read_bytes()
    at_every_step = replace(QUIET, checkpoint_every_s=0.0)
    with pytest.raises(OutputNotWritable, match=r"last\.ckpt"):
        run(stopped, dataset, At(1, 0, full_disk), machine=at_every_step)
    assert (stopped / "checkpoints" / "last.ckpt").read_bytes() == before
    assert {path.name for path in (stopped / "checkpoints").iterdir()} == {"last.ckpt", "best.safetensors"}


def lines_of(out: Path, data: Path, *, every_s: float) -> list[str]:
    text = StringIO()
    ticks = iter(range(10**6))
    progress = TrainingProgress(Console(file=text, width=40), every_s, clock=lambda: 10.0 * next(ticks))
    run(out, data, progress)
    return text.getvalue().splitlines()


def test_a_log_shows_place_rate_time_left_and_losses(dataset: Path, tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "run", dataset, every_s=0.0)
    assert len(lines) == 3 * (STEPS_PER_EPOCH + 1)
    assert lines[0].startswith("epoch 1/3  step 1/2  ") and " captures/s  " in lines[0] and " left  loss " in lines[0]
    assert lines[2].startswith("epoch 1/3 done in ") and "validation: EER " in lines[2]
    assert lines[-1].startswith("epoch 3/3 done in ") and "  0 s left  " in lines[-1]


def test_a_log_has_one_line_per_epoch_when_epochs_are_short(dataset: Path, tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "run", dataset, every_s=1e9)
    assert [line[:14] for line in lines] == [f"epoch {epoch}/3 done" for epoch in (1, 2, 3)]


def test_a_terminal_has_a_bar_that_is_taken_away_whatever_happens(dataset: Path, tmp_path: Path) -> None:
    text = StringIO()
    progress = TrainingProgress(Console(file=text, force_terminal=True, width=200))
    with pytest.raises(Stop):
        run(tmp_path / "run", dataset, progress, At(1, 1, stop))
    assert "━" in text.getvalue() and "epoch 2/3  step 1/2" in text.getvalue()
    assert text.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is back"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (150, "2 min"), (3540, "59 min"), (11220, "3 h 07 min")]
)
def test_times_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
