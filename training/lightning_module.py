"""The training loop's inside: one step, one validation, the optimiser and its schedule (paper, section 6.2).

The paper states Adam with exponentially decaying learning rate; the other recipe is ours (`training.settings`). With a
moving average of the weights, validation judges the average, for that is what is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from training.losses import LossTerms, Targets, total_loss
from training.metrics import eer
from training.network import ATRFAS
from training.settings import TrainSettings

TERMS = tuple(entry.name for entry in fields(LossTerms))


@dataclass(frozen=True)
class ValidationResult:
    """One pass over the validation split."""

    losses: dict[str, float]
    """Means over captures, by term of `LossTerms`."""
    eer: float
    scores: npt.NDArray[np.float64]
    """(n,) float64, probability of live."""
    live: npt.NDArray[np.bool_]
    """(n,) bool."""


class Means:
    """Means of loss terms over captures."""

    def __init__(self) -> None:
        self.count = 0
        self.sums = dict.fromkeys(TERMS, 0.0)

    def add(self, terms: LossTerms, captures: int) -> None:
        """Add the means of a batch of so many captures."""
        self.count += captures
        for name in TERMS:
            self.sums[name] += float(getattr(terms, name).detach()) * captures

    def values(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: total / max(self.count, 1) for name, total in self.sums.items()}


class TrainingModule(lightning.LightningModule):
    """Trains one network by one recipe."""

    def __init__(self, network: ATRFAS, settings: TrainSettings) -> None:
        super().__init__()
        # Channels last: convolutions of few channels train a quarter faster on a CPU so (measured on two cores).
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        decay = settings.ema_decay
        self.averaged = AveragedModel(network, avg_fn=moving_average(decay), use_buffers=True) if decay else None
        self.training_means = Means()
        self.validation_means = Means()
        self.validation: ValidationResult | None = None
        self._scores: list[Tensor] = []
        self._live: list[Tensor] = []

    @property
    def judged(self) -> ATRFAS:
        """The network that is validated and saved."""
        network = self.network if self.averaged is None else self.averaged.module
        assert isinstance(network, ATRFAS)
        return network

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's means anew."""
        self.training_means = Means()

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Return the loss of one batch."""
        terms = total_loss(self.network(batch["input"]), targets_of(batch), self.settings.loss)
        self.training_means.add(terms, len(batch["live"]))
        self.log("loss", terms.total, prog_bar=True, logger=False)
        return terms.total

    def on_train_batch_end(self, *_: Any) -> None:
        """Follow the weights with their average."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.validation_means, self._scores, self._live = Means(), [], []

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Score one batch."""
        outputs = self.judged(batch["input"])
        self.validation_means.add(total_loss(outputs, targets_of(batch), self.settings.loss), len(batch["live"]))
        self._scores.append(outputs.score.float().cpu())
        self._live.append(batch["live"].cpu())

    def on_validation_epoch_end(self) -> None:
        """Put the validation's result together."""
        scores = torch.cat(self._scores).double().numpy()
        live = torch.cat(self._live).numpy().astype(bool)
        rate = eer(scores, live).value
        self.validation = ValidationResult(self.validation_means.values(), rate, scores, live)
        self.log("val_eer", rate, prog_bar=True, logger=False)

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule of the recipe."""
        s = self.settings
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[s.optimiser]
        optimiser = kind(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": self._schedule(optimiser), "interval": "step"}}

    def _schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        s, steps = self.settings, int(self.trainer.estimated_stepping_batches)
        if s.schedule == "exponential":
            per_step = s.decay ** (s.epochs / steps)
            return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: per_step**step)
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, s.learning_rate, total_steps=steps + 1, pct_start=s.warm_up
        )


def moving_average(decay: float) -> Callable[[Tensor, Tensor, int | Tensor], Tensor]:
    """Return the step of an exponential moving average: (average so far, new value, steps so far) → average.

    At first the average follows faster, with (1 + n) / (10 + n), and forgets the first weights, which know nothing.
    """

    def step(average: Tensor, value: Tensor, steps: int | Tensor) -> Tensor:
        n = float(steps)
        return average + (1.0 - min(decay, (1.0 + n) / (10.0 + n))) * (value - average)

    return step


def targets_of(batch: dict[str, Any]) -> Targets:
    """Return the targets in a batch of `CaptureDataset`."""
    return Targets(live=batch["live"], species=batch["species"], depth=batch["depth"], response=batch["response"])
