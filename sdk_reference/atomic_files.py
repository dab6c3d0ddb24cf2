"""Small files that are either whole or absent: written beside their place, then renamed."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdk_reference.errors import OutputNotWritable


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` (full, read-only, no such folder) into `OutputNotWritable`."""
    try:
        yield
    except OSError as error:
        raise OutputNotWritable(
            found=f"{path}: {error.strerror or error}",
            expected="a place that can be written, with room left",
            remedy="choose another place or make room; what was complete before is kept",
        ) from error


def require_place(path: Path) -> None:
    """Make the folder of a file that is to be written later, and write a byte there to see that it can be.

    Raises OutputNotWritable: before the work that the file is to hold, instead of after it.
    """
    with writing_to(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.parent.is_file():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(b"?")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a kill at any moment leaves the old file or the new one."""
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused, for they are not JSON."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())
