"""Shards: a prepared data set as plain tar files in WebDataset's convention, to be moved, streamed and trained on.

The store beside a data set (`training.store`) is made in any order by many processes, so it is one file of rows; shards
are written once, in order, and never changed. Anyone with the `webdataset` package reads them without our code.

    SHARDS/shards.json        format, what the data set is, how it was aligned; of each shard its split, size and sha256
           train-000000.tar   up to 256 captures of one split, each as three files:
                                 000017.aligned.npy   uint8 (N0, 3, 256, 256), RGB
                                 000017.depth.npy     float16 (64, 64), 0..1
                                 000017.json          the record: labels, quality, response (`StoredCapture`)
           val-000000.tar, test-000000.tar
           refused.jsonl      records of the captures that have no arrays, so that they are still counted

The key of a capture is its row in the store. Reading opens nothing in whole: each shard is mapped into memory when a
capture of it is first read, and every capture's place is known, so any order of drawing is as good as another. Before
that every byte is hashed once: a shard cut short or changed ends the work before it begins.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.align import TEMPLATE
from sdk_reference.container import is_flat_name
from sdk_reference.errors import InvalidInput
from sdk_reference.strict_values import exact_object, is_int, strict_json
from training.depth_labels import LABEL_SIZE
from training.errors import DatasetInvalid
from training.splits import SPLITS
from training.store import PreparedStore, StoredCapture

SHARDS_FORMAT = "flashproof-shards"
SHARDS_VERSION = 1
SHARDS_FILE = "shards.json"
REFUSED_FILE = "refused.jsonl"
ALIGNED_SUFFIX, DEPTH_SUFFIX, RECORD_SUFFIX = "aligned.npy", "depth.npy", "json"
MAX_INDEX_BYTES = 2**26
CHUNK_BYTES = 2**22
INDEX_KEYS = {
    "format",
    "version",
    "complete",
    "name",
    "dataset",
    "preparation",
    "data_sha256",
    "n0",
    "captures",
    "captures_per_shard",
    "refused",
    "shards",
}
SHARD_KEYS = {"file", "split", "captures", "bytes", "sha256"}
FILE_KEYS = {"captures", "bytes", "sha256"}


@dataclass(frozen=True)
class Place:
    """Where a capture's arrays lie."""

    shard: int
    """Number in `ShardStore.files`."""
    aligned: int
    """Byte of the shard at which the pixels begin."""
    depth: int


class ShardStore(PreparedStore):
    """Read access to a folder of shards that was checked; shards are mapped when first read."""

    def __init__(
        self, folder: Path, index: dict[str, Any], records: Sequence[StoredCapture], places: dict[int, Place]
    ) -> None:
        self.folder = folder
        self.records = tuple(sorted(records, key=lambda record: record.row))
        self._index = index
        self._places = places
        self._maps: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    @property
    def name(self) -> str:
        """Name of the data set that was sharded."""
        return str(self._index["name"])

    @property
    def dataset_record(self) -> dict[str, Any]:
        """Content of the data set's `dataset.json`, if it had one."""
        return dict(self._index["dataset"] or {})

    @property
    def n0(self) -> int:
        """Frames per capture."""
        return int(self._index["n0"])

    def aligned_row(self, row: int) -> npt.NDArray[np.uint8]:
        """Return the aligned frames of a capture, (N0, 3, 256, 256) uint8, on disk."""
        place = self._places[row]
        return self._view(place.shard, place.aligned, np.dtype(np.uint8), aligned_shape(self.n0))

    def depth_row(self, row: int) -> npt.NDArray[np.float16]:
        """Return the depth label of a capture, (64, 64) float16, on disk."""
        place = self._places[row]
        return self._view(place.shard, place.depth, np.dtype(np.float16), DEPTH_SHAPE)

    def _view(self, shard: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        if shard not in self._maps:
            with (self.folder / self._index["shards"][shard]["file"]).open("rb") as handle:
                self._maps[shard] = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._maps[shard], dtype, math.prod(shape), offset).reshape(shape)


DEPTH_SHAPE = (LABEL_SIZE, LABEL_SIZE)


def aligned_shape(n0: int) -> tuple[int, int, int, int]:
    """Return the shape of a capture's aligned frames."""
    return n0, 3, TEMPLATE.size, TEMPLATE.size


def is_sharded(folder: Path) -> bool:
    """Whether `folder` holds shards."""
    return (folder / SHARDS_FILE).is_file()


def read_shard_index(folder: Path) -> dict[str, Any]:
    """Return the content of shards.json, its form checked; raises `DatasetInvalid`."""
    path = folder / SHARDS_FILE
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        index = exact_object(strict_json(path.read_bytes(), SHARDS_FILE), INDEX_KEYS, SHARDS_FILE)
        if (index["format"], index["version"]) != (SHARDS_FORMAT, SHARDS_VERSION):
            raise ValueError(f"format {index['format']!r}, version {index['version']!r}")
        _check_index(index)
        return index
    except (OSError, ValueError, TypeError, InvalidInput) as error:
        found = error.found if isinstance(error, InvalidInput) else str(error)
        raise broken(
            str(path), f"an index that cannot be used: {found}", f"{SHARDS_FORMAT} {SHARDS_VERSION}"
        ) from error


def _check_index(index: dict[str, Any]) -> None:
    for shard in index["shards"]:
        exact_object(shard, SHARD_KEYS, "shards[]")
        if not isinstance(shard["file"], str) or not is_flat_name(shard["file"]) or shard["split"] not in SPLITS:
            raise ValueError(f"the shard {shard['file']!r} of split {shard['split']!r}")
    for part in (*index["shards"], exact_object(index["refused"], FILE_KEYS, "refused")):
        if not is_int(part["captures"], 2**31) or not is_int(part["bytes"], 2**62):
            raise ValueError(f"sizes {part['captures']!r} and {part['bytes']!r}")
    if not is_int(index["n0"], 8) or not isinstance(index["preparation"], dict) or not isinstance(index["name"], str):
        raise ValueError("n0, name or preparation of another kind")
    if len({shard["file"] for shard in index["shards"]}) != len(index["shards"]):
        raise ValueError("one shard listed twice")


def require_unchanged(path: Path, said: dict[str, Any]) -> None:
    """Raise `DatasetInvalid` unless the file has the size and sha256 that the index says."""
    try:
        size = path.stat().st_size
        if size != said["bytes"]:
            raise broken(path.name, f"{size} bytes", f"{said['bytes']}, as {SHARDS_FILE} says")
        digest = hash_of_file(path)
    except OSError as error:
        raise broken(path.name, f"no readable file ({error.strerror or error})", "every shard of the index") from error
    if digest != said["sha256"]:
        raise broken(path.name, f"sha256 {digest}", f"{said['sha256']}, as {SHARDS_FILE} says")


def hash_of_file(path: Path) -> str:
    """Return the sha256 of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def broken(what: str, found: str, expected: str) -> DatasetInvalid:
    """Return the error about a shard or index that is not what it should be."""
    return DatasetInvalid(
        found=f"{what} with {found}",
        expected=expected,
        remedy="copy the shards again, or write them again from the captures",
    )
