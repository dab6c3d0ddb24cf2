"""A disk that is really full: whoever writes to it gets what the operating system says, not what a test made up.

For root a file system of 256 KiB is mounted, in memory, and every write beyond that fails with ENOSPC. For anybody else
the process's limit on file sizes (RLIMIT_FSIZE) is set to nothing: the kernel refuses each further byte too, with EFBIG
and for the whole process, so nothing else should write meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SIZE_BYTES: Final = 256 * 1024
PIECE: Final = bytes(4096)
FILLER: Final = "filler"


class SmallDisk(Protocol):
    """A folder that `fill` leaves no room in."""

    @property
    def folder(self) -> Path:
        """Where to write."""

    def fill(self) -> None:
        """From now on nothing can be written here."""


@dataclass(frozen=True)
class MountedDisk:
    """A small file system of its own."""

    folder: Path

    def fill(self) -> None:
        """Write until the system says that it is full."""
        with (self.folder / FILLER).open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(PIECE)
            except OSError:
                return


@dataclass(frozen=True)
class LimitedProcess:
    """Any folder, in a process that may be forbidden to write."""

    folder: Path

    def fill(self) -> None:
        """Forbid it; `unlimited` around this allows it again."""
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Make the empty `folder` a disk that can be filled; afterwards it is an ordinary, writable one again."""
    if mounted(folder):
        try:
            yield MountedDisk(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # lazy: a test that failed has files open
    else:
        with unlimited():
            yield LimitedProcess(folder)


def mounted(folder: Path) -> bool:
    """Mount a small file system on `folder`, if that can be; returns whether it was."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    options = ["-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=700", "none", str(folder)]
    return subprocess.run(["mount", *options], stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextmanager
def unlimited() -> Iterator[None]:
    """Set the limit on file sizes back afterwards."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
