"""The training loop's inside: one step, one validation, the optimiser and its schedule (paper, section 6.2).

The paper states Adam with exponentially decaying learning rate; the other recipe is ours (`training.settings`). With a
moving average of the weights, validation judges the average, for that is what is saved. Several processes take the
losses of the whole batch together (`training.processes`), and each judges its share of the validation split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, TypeVar

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from training.checkpoint import CHECKPOINT_STAMP, CHECKPOINT_VERSION
from training.errors import DatasetInvalid, LossNotFinite
from training.losses import LossTerms, Targets, total_loss
from training.metrics import eer
from training.network import ATRFAS
from training.processes import of_all_processes, process_count, share_statistics, whole_batch
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
        for name, value in zip(TERMS, values_of(terms), strict=True):
            self.sums[name] += value * captures

    def values(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: total / max(self.count, 1) for name, total in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """Return what `Means.of` makes the same means of."""
        return {"count": self.count, "sums": dict(self.sums)}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Means:
        """Return the means that `state` was taken from."""
        means = cls()
        means.count, means.sums = int(state["count"]), {name: float(state["sums"][name]) for name in TERMS}
        return means


def values_of(terms: LossTerms) -> list[float]:
    """Return the terms in the order of TERMS, fetched from their device at once."""
    values: list[float] = torch.stack([getattr(terms, name).detach() for name in TERMS]).tolist()
    return values


class TrainingModule(lightning.LightningModule):
    """Trains one network by one recipe, in this process or several; its trainer has a `CaptureData`."""

    def __init__(self, network: ATRFAS, settings: TrainSettings, processes: int = 1, on_gpu: bool = False) -> None:
        super().__init__()
        decay = settings.ema_decay
        # Channels last: convolutions of few channels train a quarter faster on a CPU so (measured on two cores).
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(network, avg_fn=moving_average(decay), use_buffers=True) if decay else None
        if self.averaged is not None:
            self.averaged.requires_grad_(False)  # else DDP would wait for its gradients
        self.network = share_statistics(network, on_gpu) if processes > 1 else network
        self.settings = settings
        self.training_means = Means()
        self.validation: ValidationResult | None = None
        self._judged_captures: list[list[float]] = []

    @property
    def judged(self) -> ATRFAS:
        """The network that is validated and saved."""
        network = self.network if self.averaged is None else self.averaged.module
        assert isinstance(network, ATRFAS)
        return network

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's means anew."""
        self.training_means = Means()

    def training_step(self, batch: dict[str, Any], step: int) -> Tensor:
        """Return the loss of one batch, times the number of processes that take it together."""
        outputs, targets = whole_batch(self.network(batch["input"])), whole_batch(targets_of(batch))
        try:
            terms = total_loss(outputs, targets, self.settings.loss)
        except ValueError as error:  # e.g. a depth label that is no number
            raise self._not_usable(batch, step, str(error)) from error
        total = values_of(terms)[TERMS.index("total")]
        if not isfinite(total):
            raise self._not_usable(batch, step, f"loss {total}")
        self.training_means.add(terms, len(targets.live))
        return terms.total * process_count()

    def _not_usable(self, batch: dict[str, Any], step: int, what: str) -> DatasetInvalid | LossNotFinite:
        """Return the error that says why a step went wrong: bad data, or a training that leads nowhere.

        All processes come here at the same step, for all know the loss of the whole batch.
        """
        place = f"epoch {self.trainer.current_epoch}, step {step}"
        captures = self.trainer.datamodule.drawn(self.trainer.current_epoch, step)
        broken = [
            f"{captures[place * process_count() + process]} ({', '.join(names)})"
            for process, found in enumerate(of_all_processes(broken_captures(batch)))
            for place, names in found.items()
        ]
        if broken:
            return DatasetInvalid(
                found=f"values that are not finite in {'; '.join(broken)}, at {place}",
                expected="finite frames, depth labels and flash responses",
                remedy="take these captures out of the data set or delete its prepared store to have it made again",
            )
        return LossNotFinite(
            found=f"{what} at {place}, on the captures {', '.join(captures)}",
            expected="a finite loss and gradient",
            remedy="look at these captures or lower the learning rate; the last checkpoint is kept",
        )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip as the recipe says, and stop before a gradient that is not finite ruins the weights."""
        assert gradient_clip_val is not None
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)
        if not isfinite(norm):
            raise self._not_usable({}, self.trainer.fit_loop.batch_idx, f"a gradient of norm {float(norm)}")

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Step, then follow the weights with their average: here, so that a checkpoint of this step has both."""
        super().optimizer_step(*arguments, **named)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._judged_captures = []

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Score one batch; the losses are each capture's own, so that no batch size and no number of processes
        shows in their means."""
        outputs, targets = self.judged(batch["input"]), targets_of(batch)
        for place in range(len(batch["live"])):
            terms = total_loss(_only(outputs, place), _only(targets, place), self.settings.loss)
            row = [float(outputs.score[place]), float(batch["live"][place]), *values_of(terms)]
            self._judged_captures.append(row)

    def on_validation_epoch_end(self) -> None:
        """Put the validation's result together, of all processes' captures in the order of the split."""
        rows = in_turns(of_all_processes(np.array(self._judged_captures, np.float64)))
        captures = self.trainer.datamodule.validation_set.examples
        broken = [captures[int(place)].record.name for place in np.flatnonzero(~np.isfinite(rows).all(axis=1))]
        if broken:
            raise LossNotFinite(
                found=f"a score or loss that is not finite on the validation captures {', '.join(broken[:8])}",
                expected="finite scores",
                remedy="look at these captures or lower the learning rate; the last checkpoint is kept",
            )
        scores, live = rows[:, 0], rows[:, 1].astype(bool)
        losses = dict(zip(TERMS, rows[:, 2:].mean(axis=0).tolist(), strict=True))
        self.validation = ValidationResult(losses, eer(scores, live).value, scores, live)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's means, for the checkpoint may lie within an epoch; say what kind of file it is."""
        checkpoint[CHECKPOINT_STAMP] = {"version": CHECKPOINT_VERSION, "training_means": self.training_means.state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the epoch's means."""
        self.training_means = Means.of(checkpoint[CHECKPOINT_STAMP]["training_means"])

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule of the recipe."""
        s = self.settings
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[s.optimiser]
        optimiser = kind(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": self._schedule(optimiser), "interval": "step"}}

    def _schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        # Not `trainer.estimated_stepping_batches`: it makes the loaders before a checkpoint's place is known.
        s = self.settings
        steps = s.epochs * self.trainer.datamodule.steps_per_epoch
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


Fields = TypeVar("Fields")


def _only(values: Fields, place: int) -> Fields:
    """Return a dataclass of tensors for one capture of the batch."""
    named = {entry.name: getattr(values, entry.name)[place : place + 1] for entry in fields(values)}  # type: ignore[arg-type]
    return replace(values, **named)  # type: ignore[type-var]


def in_turns(parts: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Put together what n processes have of rows r, r + n, ..."""
    rows = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.float64)
    for process, part in enumerate(parts):
        rows[process :: len(parts)] = part
    return rows


def broken_captures(batch: dict[str, Any]) -> dict[int, list[str]]:
    """Return {place in the batch: names of its arrays with values that are not finite}."""
    broken: dict[int, list[str]] = {}
    for name, value in batch.items():
        if torch.is_tensor(value) and value.is_floating_point():
            finite = value.flatten(start_dim=1).isfinite().all(dim=1)
            for place in (~finite).nonzero().flatten().tolist():
                broken.setdefault(place, []).append(name)
    return broken
