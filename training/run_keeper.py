"""Keeps a training on disk, epoch by epoch: the log, the best weights, and the checkpoint to take it up again.

Each file is whole at any moment. A kill costs the epoch under way; the same command then repeats that epoch with the
same draws, and the log reads as if nothing had happened.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError, safe_open

from sdk_reference.atomic_files import write_atomically, writing_to
from training.checkpoint import BEST_FILE, LAST_FILE, LOG_FILE, save_weights
from training.errors import RunInvalid
from training.lightning_module import TERMS, TrainingModule

COLUMNS = (
    "epoch",
    "seconds",
    "captures_per_second",
    "learning_rate",
    *(f"train_{name}" for name in TERMS),
    *(f"val_{name}" for name in TERMS),
    "val_eer",
)


@dataclass(frozen=True, order=True)
class Merit:
    """How good an epoch is: the lower the better, equal error rate first, then the validation loss."""

    eer: float
    loss: float
    epoch: int
    """The earlier of two equal epochs is kept."""


class RunKeeper(Checkpoint):
    """Writes the run's files at the end of each epoch.

    It is a `Checkpoint` because Lightning calls those last, when everything else of the epoch is done.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self.folder = folder
        self.clock = clock
        self.best = read_best(folder)
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock; drop lines of the log that belong to epochs about to be repeated."""
        self._began = self.clock()
        rows = [row for row in read_log(self.folder) if int(row["epoch"]) < trainer.current_epoch]
        write_log(self.folder, rows)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write best weights, log and checkpoint; the checkpoint last, so that no kill can lose a line of the log."""
        assert isinstance(pl_module, TrainingModule) and pl_module.validation is not None
        validation = pl_module.validation
        merit = Merit(validation.eer, validation.losses["total"], trainer.current_epoch)
        if self.best is None or merit < self.best:
            self.best = merit
            described = {"epoch": str(merit.epoch), "eer": repr(merit.eer), "loss": repr(merit.loss)}
            save_weights(pl_module.judged, self.folder / BEST_FILE, described)
        write_log(self.folder, [*read_log(self.folder), self._row(trainer, pl_module)])
        save_checkpoint(trainer, self.folder / LAST_FILE)

    def _row(self, trainer: Trainer, module: TrainingModule) -> dict[str, Any]:
        assert module.validation is not None
        seconds = self.clock() - self._began
        means = module.training_means
        return {
            "epoch": trainer.current_epoch,
            "seconds": f"{seconds:.1f}",
            "captures_per_second": f"{means.count / max(seconds, 1e-9):.2f}",
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}",
            **{f"train_{name}": f"{value:.6g}" for name, value in means.values().items()},
            **{f"val_{name}": f"{value:.6g}" for name, value in module.validation.losses.items()},
            "val_eer": f"{module.validation.eer:.6g}",
        }


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write Lightning's checkpoint so that a kill leaves the old one or the new one."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with writing_to(path):
        try:
            trainer.save_checkpoint(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def read_log(folder: Path) -> list[dict[str, str]]:
    """Return the lines of log.csv as {column: text}; none when there is no log yet."""
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def write_log(folder: Path, rows: list[Any]) -> None:
    """Write log.csv anew."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / LOG_FILE, text.getvalue().encode())


def read_best(folder: Path) -> Merit | None:
    """Return the merit of the best weights so far, or None; raises `RunInvalid` for a damaged file."""
    path = folder / BEST_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as weights:
            said = weights.metadata()
        return Merit(float(said["eer"]), float(said["loss"]), int(said["epoch"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunInvalid(
            found=f"{path} that cannot be read ({error})",
            expected="the best weights so far",
            remedy=f"delete {folder} and train anew",
        ) from error
