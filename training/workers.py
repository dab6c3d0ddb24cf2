"""Runs one function over many items in worker processes: spawned (MediaPipe and OpenMP do not survive a fork), one
thread each, results in the order of the items, so that nothing depends on how many workers there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from sdk_reference.errors import RuntimeFailure
from training.errors import require_range

MAX_WORKERS = 256
TASKS_AHEAD = 4  # per worker: enough that none waits, few enough that an interrupt ends soon

# Libraries read these when they are loaded, so they must stand in the environment before a worker starts.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (items done, items in all)."""


class WorkerLost(RuntimeFailure):
    """A worker process ended without an answer, e.g. killed for want of memory."""

    code = "worker_lost"


def no_progress(done: int, total: int) -> None:
    """The progress report of those who want none."""


def default_workers() -> int:
    """As many workers as this process may use processors."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MAX_WORKERS)


def run_in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, cut_off: bool = False
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, `function(item)`) as results come, in no particular order.

    `function` must be importable by name. One worker means this process itself. The first error or an interrupt ends
    everything: after the items begun, or with `cut_off` at once, for work that takes minutes and leaves nothing behind.
    """
    require_range("workers", workers, 1, MAX_WORKERS)
    if workers == 1 or len(items) <= 1:
        for item in items:
            yield item, function(item)
        return
    with _one_thread_each(), _pool(min(workers, len(items)), cut_off) as pool:
        try:
            yield from _results(pool, function, items, workers * TASKS_AHEAD)
        except BrokenProcessPool as error:
            raise WorkerLost(
                found="a worker process that ended without an answer",
                expected="workers that finish",
                remedy="start again with fewer workers (each needs about 1 GB of memory); what is done is kept",
            ) from error


def _results(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    while True:
        for item in islice(waiting, ahead - len(running)):
            running[pool.submit(function, item)] = item
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield running.pop(future), future.result()


@contextmanager
def _pool(workers: int, cut_off: bool) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        for process in list(pool._processes.values()) if cut_off else ():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """One thread for OpenCV; an interrupt is the parent's to handle; and no worker outlives a killed parent."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
