"""The prepared store beside a data set: every capture aligned once, so that training reads arrays and finds no faces.

    DIR/prepared-<key>/store.json     what the store was made from; written first
                       aligned.npy    (K, N0, 3, 256, 256) uint8, one row per capture in order of name
                       depth.npy      (K, 64, 64) float16, depth labels
                       index.jsonl    one line per finished capture, in order of completion

The key names everything that decides the rows, so that another template or preprocessing makes another store. A capture
counts as done when its line stands in the index; a line that a kill cut short is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.atomic_files import write_json, writing_to
from sdk_reference.errors import OutputNotWritable
from training.depth_labels import LABEL_SIZE
from training.errors import DatasetInvalid

STORE_FORMAT = "flashproof-prepared"
STORE_FILE = "store.json"
INDEX_FILE = "index.jsonl"
ALIGNED_FILE = "aligned.npy"
DEPTH_FILE = "depth.npy"
open_memmap: Callable[..., Any] = np.lib.format.open_memmap  # numpy states no types for it
SPARE_BYTES = 2**28  # room that must remain on the disk for everything else


@dataclass(frozen=True)
class StoredCapture:
    """One line of the index."""

    row: int
    """Row in the arrays."""
    name: str
    """File or folder name of the capture within its data set."""
    size_bytes: int
    sha256: str
    """Of the capture's bytes."""
    labels: dict[str, Any]
    """Fields of `sdk_reference.capture.Labels`."""
    refused: dict[str, str] | None
    """Why no face could be aligned ({"code", "found", "expected", "remedy"}), or None."""
    response: list[list[float]] | None
    """(N, 3) expected flash response of each difference; None when refused."""
    quality: dict[str, float] | None
    """Fields of `sdk_reference.quality.Quality`; None when refused."""

    @property
    def species(self) -> str:
        """`live`, `print`, `replay` or `mask`."""
        return str(self.labels["species"])

    @property
    def subject(self) -> str:
        """Who was photographed or impersonated."""
        return str(self.labels["subject"])


class AlignedStore:
    """Read access to a prepared store; arrays are opened when first read, so that it may be sent to a worker."""

    def __init__(self, folder: Path, records: Sequence[StoredCapture]) -> None:
        self.folder = folder
        self.records = tuple(sorted(records, key=lambda record: record.row))

    @cached_property
    def aligned(self) -> npt.NDArray[np.uint8]:
        """(K, N0, 3, 256, 256) uint8 RGB, read-only, on disk; rows of refused captures are zeros."""
        return open_array(self.folder / ALIGNED_FILE)

    @cached_property
    def depth(self) -> npt.NDArray[np.float16]:
        """(K, 64, 64) float16, 0..1, read-only, on disk."""
        return open_array(self.folder / DEPTH_FILE)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "records": self.records}

    @property
    def sha256(self) -> str:
        """Hash over the names and bytes of all captures."""
        lines = "".join(f"{record.sha256} {record.name}\n" for record in self.records)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def n0(self) -> int:
        """Frames per capture."""
        return int(self.aligned.shape[1])

    @property
    def usable(self) -> tuple[StoredCapture, ...]:
        """The captures in which one face could be aligned in every frame."""
        return tuple(record for record in self.records if record.refused is None)

    @property
    def refused(self) -> Counter[str]:
        """How many captures were refused, by reason."""
        return Counter(record.refused["code"] for record in self.records if record.refused is not None)

    @property
    def simulated(self) -> bool:
        """Whether any capture was simulated: then no rate measured on this data is a real one."""
        return any(record.labels["simulated"] for record in self.records)


def open_array(path: Path, writable: bool = False) -> npt.NDArray[Any]:
    """Open an .npy file without reading it."""
    return np.asanyarray(np.load(path, mmap_mode="r+" if writable else "r"))


def begin_store(folder: Path, origin: dict[str, Any], shape: tuple[int, ...]) -> list[StoredCapture]:
    """Make the store's arrays, or find those of an unfinished store of the same origin and return what is done.

    `shape` is (K, N0, 3, S, S). A store of another origin under the same name is made anew: it is derived data only.
    Raises `OutputNotWritable` when the disk has no room for it.
    """
    record = {"format": STORE_FORMAT, "shape": list(shape), **origin}
    if _read_json(folder / STORE_FILE) == record:
        return read_index(folder / INDEX_FILE)
    with writing_to(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    reserve_array(folder / ALIGNED_FILE, shape, np.dtype(np.uint8))
    reserve_array(folder / DEPTH_FILE, (shape[0], LABEL_SIZE, LABEL_SIZE), np.dtype(np.float16))
    write_json(folder / STORE_FILE, record)
    return []


def reserve_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make an .npy file of zeros and claim its whole room on the disk now: a full disk later would kill the process."""
    wanted = int(np.prod(shape)) * dtype.itemsize
    with writing_to(path):
        free = shutil.disk_usage(path.parent).free
        if free < wanted + SPARE_BYTES:
            raise OutputNotWritable(
                found=f"{free / 1e9:.1f} GB free for {path}",
                expected=f"{(wanted + SPARE_BYTES) / 1e9:.1f} GB",
                remedy="make room, or move the data set to a larger disk",
            )
        open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with path.open("r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)


def read_index(path: Path) -> list[StoredCapture]:
    """Return the whole lines of the index; the last one may have been cut short by a kill and is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    try:
        return [StoredCapture(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise DatasetInvalid(
            found=f"{path} with a damaged line ({error})",
            expected="one JSON object per line",
            remedy=f"delete {path.parent} to have it made again",
        ) from error


def rewrite_index(path: Path, records: Sequence[StoredCapture]) -> None:
    """Write the index anew with these records only, so that what is appended starts on a fresh line."""
    with writing_to(path):
        path.write_bytes(b"".join(index_line(record) for record in records))


def index_line(record: StoredCapture) -> bytes:
    """Return one line of the index, its end included."""
    return (json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
