"""What the processes of one training do together, so that several learn what one alone would.

Each process runs the network on its share of a step's captures. The losses are then taken over the whole batch in
every process (a loss that counts something over the batch, as the flash response's does, is not a mean of shares'
means), and batch normalisation uses the whole batch's statistics. What remains between one process and several is
rounding. With a single process nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.errors import ProcessLost

Batch = TypeVar("Batch")


def process_count() -> int:
    """Return how many processes train together: 1 when this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def whole_batch(share: Batch) -> Batch:
    """Return a dataclass of tensors (B/n first) for all processes' captures (B first), process after process.

    Gradients flow into this process' own captures only. Each process computes the same loss of the whole batch and
    takes its gradient n-fold; the mean of that over n processes, which DDP takes, is the gradient of the whole batch.
    """
    if process_count() == 1:
        return share
    return replace(share, **{entry.name: _gathered(getattr(share, entry.name)) for entry in fields(share)})  # type: ignore[type-var, arg-type]


def _gathered(own: Tensor) -> Tensor:
    source = own.detach().contiguous()
    parts = [torch.empty_like(source) for _ in range(process_count())]
    dist.all_gather(parts, source)
    parts[dist.get_rank()] = own
    return torch.cat(parts)


def of_all_processes(value: Any) -> list[Any]:
    """Return every process' value, in the order of the processes; any value that pickles."""
    if process_count() == 1:
        return [value]
    values: list[Any] = [None] * process_count()
    dist.all_gather_object(values, value)
    return values


class _MeanOverProcesses(torch.autograd.Function):
    """The mean of a tensor over processes; its gradient is the mean of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _mean(gradient)


def _mean(value: Tensor) -> Tensor:
    if process_count() == 1:
        return value
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / process_count()


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' captures; equal shares are taken for granted.

    PyTorch's own SyncBatchNorm does this on GPUs only. Parameters, buffers and their names are BatchNorm2d's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise F×C×h×w; float32 inside."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        mean: Tensor = _MeanOverProcesses.apply(wide.mean(dim=(0, 2, 3)))
        centred = wide - mean.view(1, -1, 1, 1)
        variance: Tensor = _MeanOverProcesses.apply(centred.square().mean(dim=(0, 2, 3)))
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * process_count())
        return self._scaled(centred, variance).to(x.dtype)

    def _scaled(self, centred: Tensor, variance: Tensor) -> Tensor:
        scaled = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.weight is None:
            return scaled
        return scaled * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as BatchNorm2d does, with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)


Network = TypeVar("Network", bound=nn.Module)


def share_statistics(network: Network, on_gpu: bool) -> Network:
    """Let every batch normalisation of `network` use all processes' statistics; its weights keep their names."""
    if on_gpu:
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _shared(child))
    return network


def _shared(norm: nn.BatchNorm2d) -> SharedBatchNorm2d:
    made = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine)
    made.load_state_dict(norm.state_dict())
    return made.train(norm.training)


@contextmanager
def lost_processes_are_errors() -> Iterator[None]:
    """Turn what torch says when another process of the training is gone into `ProcessLost`."""
    try:
        yield
    except RuntimeError as error:
        if process_count() == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise ProcessLost(
            found=f"a process of this training that no longer answers ({str(error)[:200]})",
            expected="all processes to go on together",
            remedy="read what the other process said; the same command goes on from the last checkpoint",
        ) from error
