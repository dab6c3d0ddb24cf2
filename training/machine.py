"""How much of the machine a job may use. It has no part in what comes out, but for rounding; a GPU alone has one in how
captures are relit (a photograph for every draw, noise drawn for a whole batch; `training.batch_relight`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from training.errors import require_choice, require_range
from training.workers import MAX_WORKERS

ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp")


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
    """What to train on: `cpu`, `gpu`, or `auto` for a GPU where there is one."""
    devices: int = 1
    """Training processes on each node, one per GPU where GPUs are used; 0: one per GPU there is."""
    nodes: int = 1
    """Machines that train together and see the same folders; the same command runs on each."""
    strategy: str = "auto"
    """`ddp`: Lightning's data-parallel training; `auto`: that for several processes, nothing for one."""
    checkpoint_every_s: float = 180.0
    """After so many seconds within an epoch the training is saved; a kill costs no more."""

    def __post_init__(self) -> None:
        require_range("threads", self.threads, 1, MAX_WORKERS)
        require_range("workers", self.workers, 1, MAX_WORKERS)
        require_range("loader workers", self.loader_workers, 0, MAX_WORKERS)
        require_choice("accelerator", self.accelerator, ACCELERATORS)
        require_range("devices", self.devices, 0, MAX_WORKERS)
        require_range("nodes", self.nodes, 1, 4096)
        require_choice("strategy", self.strategy, STRATEGIES)
        require_range("checkpoint_every_s", self.checkpoint_every_s, 0.0, 1e6)

    @property
    def processes_per_node(self) -> int:
        """How many processes train on each node."""
        if self.devices or self.accelerator == "cpu":
            return max(self.devices, 1)
        return max(torch.cuda.device_count(), 1)

    @property
    def is_parallel(self) -> bool:
        """Whether the training is set up for several processes."""
        return self.strategy == "ddp" or self.processes_per_node * self.nodes > 1


def is_first_process() -> bool:
    """Whether this is the process that reports; known once Lightning's trainer was made."""
    return int(rank_zero_only.rank or 0) == 0


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for the while; Lightning and the processes it starts read the environment."""
    before, stated = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(count)
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.environ.pop("OMP_NUM_THREADS") if stated is None else os.environ.update(OMP_NUM_THREADS=stated)
