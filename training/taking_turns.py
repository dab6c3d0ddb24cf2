"""Processes that take turns: one does the work, and the others wait and find it done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from sdk_reference.atomic_files import writing_to


@contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Wait for all others that are inside under the same file; its folder is made if there is none.

    The file stays: deleted while others wait, it would let more than one in. Raises `OutputNotWritable`.
    """
    lock = FileLock(lock_file)
    with writing_to(lock_file):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
