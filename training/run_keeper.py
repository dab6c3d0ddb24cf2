"""Keeps a training on disk: the log, the best weights, and the checkpoint to take it up again.

Each file is whole at any moment. The checkpoint is written after each epoch, and every few minutes within a long one;
a kill costs what was done since. The same command goes on with the same draws, and the log reads as if nothing had
happened. Of several processes the first one writes; all of them know what is written, for they learn the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError, safe_open

from sdk_reference.atomic_files import writing_to
from training.checkpoint import BEST_FILE, LAST_FILE, save_weights
from training.errors import RunInvalid
from training.lightning_module import TERMS, TrainingModule
from training.log_table import read_log, write_log

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
    """Writes the run's files.

    It is a `Checkpoint` because Lightning calls those last, when everything else of a step or an epoch is done.
    """

    def __init__(self, folder: Path, every_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.folder = folder
        self.every_s = every_s
        self.clock = clock
        self.best = read_best(folder)
        self._began = clock()  # of the epoch, or of this process' part of it
        self._seconds_before = 0.0  # of the epoch, in a process that was killed
        self._saved = clock()

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds that the epoch under way has taken."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the epoch's seconds; a new epoch begins at 0 anyway."""
        self._seconds_before = float(state_dict["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began = self._saved = self.clock()
        self._drop_lines_of_epochs_to_be_repeated(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock; a training taken up within an epoch does not come here."""
        self._began, self._seconds_before = self.clock(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the training when it is time to, but for the epoch's last step: its end is saved in a moment."""
        due = self.clock() - self._saved >= self.every_s
        if batch_idx + 1 < trainer.num_training_batches and trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write best weights, log and checkpoint; the checkpoint last, so that no kill can lose a line of the log."""
        assert isinstance(pl_module, TrainingModule) and pl_module.validation is not None
        validation = pl_module.validation
        merit = Merit(validation.eer, validation.losses["total"], trainer.current_epoch)
        if self.best is None or merit < self.best:
            self.best = merit
            described = {"epoch": str(merit.epoch), "eer": repr(merit.eer), "loss": repr(merit.loss)}
            if trainer.is_global_zero:
                save_weights(pl_module.judged, self.folder / BEST_FILE, described)
        self._drop_lines_of_epochs_to_be_repeated(trainer)
        if trainer.is_global_zero:
            write_log(self.folder, [*read_log(self.folder), self._row(trainer, pl_module)], COLUMNS)
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        save_checkpoint(trainer, self.folder / LAST_FILE)
        self._saved = self.clock()

    def _seconds(self) -> float:
        return self._seconds_before + self.clock() - self._began

    def _drop_lines_of_epochs_to_be_repeated(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            rows = [row for row in read_log(self.folder) if int(row["epoch"]) < trainer.current_epoch]
            write_log(self.folder, rows, COLUMNS)

    def _row(self, trainer: Trainer, module: TrainingModule) -> dict[str, Any]:
        assert module.validation is not None
        seconds = self._seconds()
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
    """Write Lightning's checkpoint so that a kill leaves the old one or the new one; all processes must call this."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with writing_to(path):
        try:
            trainer.save_checkpoint(unfinished)
            if trainer.is_global_zero:
                unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


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
