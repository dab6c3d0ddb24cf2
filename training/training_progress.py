"""How far a training is: epoch, step, captures a second, time left of the whole training, losses so far.

In a terminal this is a bar on standard error. Where standard error is a file or a pipe (`nohup flashproof train ... 2>
log`) it is a line every half minute and one per epoch. The time left counts all that this process has done, so that
validations are in it from the second epoch on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from training.lightning_module import TERMS, TrainingModule

LINE_EVERY_S = 30.0


class TrainingProgress(Callback):
    """Reports from the first process; the others are silent."""

    def __init__(
        self, console: Console | None = None, every_s: float = LINE_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or Console(stderr=True)
        self.every_s = every_s
        self.clock = clock
        self._bar: Progress | None = None
        self._began = self._reported = clock()
        self._first_step = 0
        self._epoch_began = clock()
        self._epoch_first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and, in a terminal, the bar."""
        self._began = self._epoch_began = self._reported = self.clock()
        self._first_step = self._epoch_first_step = trainer.global_step
        if self.console.is_terminal and trainer.is_global_zero:
            self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=self.console)
            self._bar.add_task("training", total=steps_in_all(trainer), completed=trainer.global_step)
            self._bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began, self._epoch_first_step = self.clock(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, or write a line when the last one is old enough."""
        if not trainer.is_global_zero:
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, description=self._text(trainer))
        elif self.clock() - self._reported >= self.every_s:
            self._write(self._text(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's line."""
        assert isinstance(pl_module, TrainingModule) and pl_module.validation is not None
        if not trainer.is_global_zero:
            return
        validation, trained = pl_module.validation, pl_module.training_means.values()
        seconds = self.clock() - self._epoch_began
        self._write(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} done in {duration(seconds)}"
            f"  {duration(self._left_s(trainer))} left  validation: EER {validation.eer:.2%}, "
            f"loss {validation.losses['total']:.4f}; training: loss {trained['total']:.4f}"
        )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was when the training fails or is interrupted."""
        self._stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _write(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._reported = self.clock()

    def _text(self, trainer: Trainer) -> str:
        module = trainer.lightning_module
        steps = trainer.num_training_batches
        captures = (trainer.global_step - self._epoch_first_step) * trainer.datamodule.batch_size
        rate = captures / max(self.clock() - self._epoch_began, 1e-9)
        means = module.training_means.values()
        losses = " ".join(f"{name} {means[name]:.3f}" for name in TERMS if name != "total")
        return (
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  step {trainer.fit_loop.batch_idx + 1}/{steps}"
            f"  {rate:.1f} captures/s  {duration(self._left_s(trainer))} left  loss {means['total']:.4f} ({losses})"
        )

    def _left_s(self, trainer: Trainer) -> float:
        done = trainer.global_step - self._first_step
        return (self.clock() - self._began) / max(done, 1) * (steps_in_all(trainer) - trainer.global_step)


def steps_in_all(trainer: Trainer) -> int:
    """Return how many steps the whole training has."""
    return int(trainer.max_epochs * trainer.num_training_batches)


def duration(seconds: float) -> str:
    """Return a time as people say it: `45 s`, `12 min` or `3 h 07 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
