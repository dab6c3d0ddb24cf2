"""How much of the machine a job may use: it has no part in what comes out, but for rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from training.errors import require_range
from training.workers import MAX_WORKERS


@dataclass(frozen=True)
class Machine:
    """How the work is done."""

    threads: int = 1
    """Of torch or of the model's runtime."""
    workers: int = 1
    """Processes that align captures."""
    loader_workers: int = 0
    """Processes that make batches; 0: the training process itself."""
    quiet: bool = False
    """No progress bars."""
    accelerator: str = "auto"
    """Lightning's name of the device to train on."""

    def __post_init__(self) -> None:
        require_range("threads", self.threads, 1, MAX_WORKERS)
        require_range("workers", self.workers, 1, MAX_WORKERS)
        require_range("loader workers", self.loader_workers, 0, MAX_WORKERS)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for the while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
