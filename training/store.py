"""What training reads: a record and two arrays per capture, made once, so that training finds no faces.

`PreparedStore` is the reading side, whatever lies beneath: the prepared store beside a data set, here, or the shards
that carry one to another machine (`training.shards`).

    DIR/prepared-<key>/store.json     what the store was made from; written first
                       aligned.npy    (K, N0, 3, 256, 256) uint8, one row per capture in order of name
                       depth.npy      (K, 64, 64) float16, depth labels
                       index.jsonl    one line per finished capture, in order of completion
                       refused.json   the captures without a row and why; written last

The key names everything that decides the rows, so that another template or preprocessing makes another store. A capture
counts as done when its line stands in the index; a line that a kill cut short is done again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.atomic_files import write_atomically, write_json, writing_to
from sdk_reference.errors import FlashproofError, OutputNotWritable
from sdk_reference.labels import Labels
from sdk_reference.quality import Quality
from training.dataset_folder import read_dataset_record
from training.depth_labels import LABEL_SIZE
from training.errors import DatasetInvalid

STORE_FORMAT = "flashproof-prepared"
STORE_FILE = "store.json"
INDEX_FILE = "index.jsonl"
ALIGNED_FILE = "aligned.npy"
DEPTH_FILE = "depth.npy"
REFUSED_FILE = "refused.json"
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
    frames_sha256: str | None = None
    """Of the aligned frames: the same photographs have the same, whatever file they came in; None when refused."""
    said_sha256: str | None = None
    """Of capture.json or recording.json; None in a store made before this was kept."""

    @property
    def species(self) -> str:
        """`live`, `print`, `replay` or `mask`."""
        return str(self.labels["species"])

    @property
    def subject(self) -> str:
        """Who was photographed or impersonated."""
        return str(self.labels["subject"])


class PreparedStore(ABC):
    """The captures of one data set, ready to be read by row; it may be sent to a worker."""

    folder: Path
    records: tuple[StoredCapture, ...]
    """One per capture, in order of row."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The data set's name."""

    @property
    @abstractmethod
    def dataset_record(self) -> dict[str, Any]:
        """What `dataset.json` says about how the data set was made; empty for recorded data."""

    @property
    @abstractmethod
    def n0(self) -> int:
        """Frames per capture."""

    @abstractmethod
    def aligned_row(self, row: int) -> npt.NDArray[np.uint8]:
        """Return the aligned frames of a capture, (N0, 3, 256, 256) uint8 RGB, read-only, not yet in memory."""

    @abstractmethod
    def depth_row(self, row: int) -> npt.NDArray[np.float16]:
        """Return the depth label of a capture, (64, 64) float16, 0..1, read-only, not yet in memory."""

    @property
    def sha256(self) -> str:
        """Hash over the names and bytes of all captures; a store and its shards have the same."""
        lines = "".join(f"{record.sha256} {record.name}\n" for record in self.records)
        return hashlib.sha256(lines.encode()).hexdigest()

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

    def describe(self) -> dict[str, Any]:
        """Return the data set's name, hash and size, how much of it is simulated, and what makes that again."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "captures": len(self.records),
            "simulated_captures": sum(bool(record.labels["simulated"]) for record in self.records),
            "simulation": self.dataset_record.get("settings"),
            "simulator_sha256": self.dataset_record.get("simulator_sha256"),
        }


class AlignedStore(PreparedStore):
    """Read access to the prepared store beside a data set; arrays are opened when first read."""

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
    def name(self) -> str:
        """Name of the data set's folder."""
        return self.folder.resolve().parent.name

    @property
    def dataset_record(self) -> dict[str, Any]:
        """Content of `dataset.json`, if there is one."""
        return read_dataset_record(self.folder.resolve().parent) or {}

    @property
    def n0(self) -> int:
        """Frames per capture."""
        return int(self.aligned.shape[1])

    def aligned_row(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a row of `aligned`."""
        return self.aligned[row]

    def depth_row(self, row: int) -> npt.NDArray[np.float16]:
        """Return a row of `depth`."""
        return self.depth[row]


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
        records = [parse_record(line) for line in lines]
        repeated = [row for row, times in Counter(record.row for record in records).items() if times > 1]
        if repeated:
            raise ValueError(f"row {repeated[0]} more than once")
        return records
    except ValueError as error:
        raise DatasetInvalid(
            found=f"{path} with a damaged line ({error})",
            expected="one JSON object per line, every number finite, every row once",
            remedy=f"delete {path.parent} to have it made again",
        ) from error


def parse_record(line: bytes) -> StoredCapture:
    """Read one line of the index; raises ValueError for anything that is not a whole, finite record."""
    try:
        record = StoredCapture(**json.loads(line))
        Labels(**record.labels)
        sound = type(record.row) is int and record.row >= 0 and isinstance(record.name, str)
        if not sound or (record.refused is None) != (record.response is not None and record.quality is not None):
            raise ValueError("a record that is neither of a capture nor of a refused one")
        if record.response is not None and record.quality is not None:
            Quality(**record.quality)
            require_finite(record)
        return record
    except (TypeError, LookupError, FlashproofError, RecursionError) as error:
        raise ValueError(str(error)) from error


def require_finite(record: StoredCapture, depth: npt.NDArray[np.floating[Any]] | None = None) -> None:
    """Raise ValueError, naming capture and value, when response, quality or `depth` have NaN or infinite values."""
    response = np.asarray(record.response, np.float64)
    if response.ndim != 2 or response.shape[1] != 3 or not np.isfinite(response).all():
        raise ValueError(f"the response {record.response} of {record.name}")
    for name, value in (record.quality or {}).items():
        if not math.isfinite(value):
            raise ValueError(f"the quality {name} = {value} of {record.name}")
    if depth is not None and not np.isfinite(depth).all():
        raise ValueError(f"a depth label with NaN or infinite values of {record.name}")


def require_finite_depth(store: PreparedStore) -> None:
    """Raise `DatasetInvalid` when a stored depth label has NaN or infinite values."""
    for record in store.usable:
        try:
            require_finite(record, store.depth_row(record.row))
        except ValueError as error:
            raise DatasetInvalid(
                found=f"{store.folder} with {error}",
                expected="finite numbers",
                remedy=f"delete {store.folder} to have it made again",
            ) from error


def rewrite_index(path: Path, records: Sequence[StoredCapture]) -> None:
    """Let the index hold these records only, so that what is appended starts on a fresh line.

    An index that does already is not touched: several processes may open one finished store.
    """
    content = b"".join(index_line(record) for record in records)
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def hash_of_frames(aligned: npt.NDArray[np.uint8]) -> str:
    """Return the sha256 of aligned frames' pixels."""
    return hashlib.sha256(np.ascontiguousarray(aligned).data).hexdigest()


def index_line(record: StoredCapture) -> bytes:
    """Return one line of the index, its end included."""
    return (json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
