"""Opens a folder of shards after checking all of it: bytes, arrays, records, labels, splits (`training.shards`).

Everything that a damaged, cut, exchanged or badly written shard could do to a training is found here, in the time it
takes to read the data once, and the error names the shard.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sdk_reference.labels import Labels
from training.errors import DatasetInvalid, SplitLeaks
from training.label_checks import require_labels
from training.shards import (
    ALIGNED_SUFFIX,
    DEPTH_SHAPE,
    DEPTH_SUFFIX,
    RECORD_SUFFIX,
    REFUSED_FILE,
    SHARDS_FILE,
    Place,
    ShardStore,
    aligned_shape,
    broken,
    read_shard_index,
    require_unchanged,
)
from training.splits import split_of
from training.store import StoredCapture, parse_record, require_finite_depth
from training.workers import Progress, no_progress

MAX_RECORD_BYTES = 2**16
MAX_HEADER_BYTES = 1024  # of an .npy file
DECIDING = ("version", "template")  # what of the preparation must be as here; the landmark finder may be another's


def open_shards(folder: Path, preparation: dict[str, Any], progress: Progress = no_progress) -> ShardStore:
    """Check every shard in `folder`, byte by byte, and return the store.

    `preparation` is how captures are aligned here. Raises `DatasetInvalid`, naming the shard, or one of its kinds.
    """
    index = read_shard_index(folder)
    _require_usable(folder, index, preparation)
    places: dict[int, Place] = {}
    where: list[tuple[StoredCapture, dict[str, Any]]] = []
    for number, shard in enumerate(index["shards"]):
        require_unchanged(folder / shard["file"], shard)
        found = list(_walk(folder / shard["file"], number, index["n0"]))
        if len(found) != shard["captures"]:
            raise broken(shard["file"], f"{len(found)} captures", f"{shard['captures']}, as {SHARDS_FILE} says")
        places.update({record.row: place for record, place in found})
        where += [(record, shard) for record, _ in found]
        progress(number + 1, len(index["shards"]))
    require_own_splits(where)
    records = [*_refused(folder, index["refused"]), *(record for record, _ in where)]
    _require_labels(index, records)
    _require_whole(folder, index, records)
    store = ShardStore(folder, index, records, places)
    if store.sha256 != index["data_sha256"]:
        raise broken(SHARDS_FILE, f"data_sha256 {index['data_sha256']}", f"{store.sha256}, the captures' own")
    require_finite_depth(store)
    return store


def _require_usable(folder: Path, index: dict[str, Any], preparation: dict[str, Any]) -> None:
    if index["complete"] is not True:
        raise DatasetInvalid(
            found=f"{folder}, whose shards are not all written",
            expected="whole shards",
            remedy="repeat the command that writes them; it goes on where it stopped",
        )
    differing = [key for key in DECIDING if index["preparation"].get(key) != preparation[key]]
    if differing:
        raise DatasetInvalid(
            found=f"{folder}, aligned by another {' and '.join(differing)}",
            expected="frames aligned as this release aligns them",
            remedy="write the shards anew from the captures",
        )


def _refused(folder: Path, said: dict[str, Any]) -> Iterator[StoredCapture]:
    require_unchanged(folder / REFUSED_FILE, said)
    for number, line in enumerate((folder / REFUSED_FILE).read_bytes().splitlines()):
        record = _parse(line, f"line {number} of {REFUSED_FILE}")
        if record.refused is None:
            raise broken(REFUSED_FILE, f"{record.name}, which is not refused", "refused captures only")
        yield record


def _walk(path: Path, number: int, n0: int) -> Iterator[tuple[StoredCapture, Place]]:
    """Yield each capture of a shard with its place; only headers and records are read."""
    try:
        with path.open("rb") as handle, tarfile.open(fileobj=handle, mode="r:") as archive:
            members: dict[str, dict[str, tarfile.TarInfo]] = {}
            for member in archive:
                key, _, suffix = member.name.partition(".")
                if not member.isfile() or suffix in members.setdefault(key, {}):
                    raise broken(path.name, f"the member {member.name!r}", "each file of a capture once")
                members[key][suffix] = member
            for key, parts in members.items():
                yield _sample(path.name, handle, key, parts, number, n0)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise broken(path.name, f"a tar that cannot be read ({error})", "a whole tar file") from error


def _sample(
    shard: str, handle: Any, key: str, parts: dict[str, tarfile.TarInfo], number: int, n0: int
) -> tuple[StoredCapture, Place]:
    if set(parts) != {ALIGNED_SUFFIX, DEPTH_SUFFIX, RECORD_SUFFIX} or parts[RECORD_SUFFIX].size > MAX_RECORD_BYTES:
        raise broken(shard, f"the capture {key} of {sorted(parts)}", "aligned.npy, depth.npy and json")
    handle.seek(parts[RECORD_SUFFIX].offset_data)
    record = _parse(handle.read(parts[RECORD_SUFFIX].size), f"{key}.json of {shard}")
    if record.refused is not None or str(record.row) != key.lstrip("0").zfill(1):
        raise broken(shard, f"the record of row {record.row} under the key {key}", "the row as key, not refused")
    aligned = _payload(shard, handle, parts[ALIGNED_SUFFIX], np.dtype(np.uint8), aligned_shape(n0))
    return record, Place(number, aligned, _payload(shard, handle, parts[DEPTH_SUFFIX], np.dtype("<f2"), DEPTH_SHAPE))


def _payload(shard: str, handle: Any, member: tarfile.TarInfo, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return the byte at which an .npy member's values begin; its header must say just this type and shape."""
    handle.seek(member.offset_data)
    head = handle.read(min(member.size, MAX_HEADER_BYTES))
    try:
        header_bytes, found = _npy_header(head[: _header_length(head)])
    except (ValueError, IndexError, SyntaxError, TypeError) as error:
        raise broken(shard, f"{member.name}, which is no .npy ({error})", "arrays in numpy's format") from error
    size = header_bytes + int(np.prod(shape)) * dtype.itemsize
    if found != (shape, False, dtype) or member.size != size:
        raise broken(shard, f"{member.name} with {found} in {member.size} bytes", f"{dtype} {shape} in {size} bytes")
    return int(member.offset_data) + header_bytes


def _header_length(head: bytes) -> int:
    if head[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not version 1 of the format")
    return 10 + int.from_bytes(head[8:10], "little")


@lru_cache(maxsize=64)  # thousands of captures share two headers
def _npy_header(header: bytes) -> tuple[int, tuple[Any, ...]]:
    stream = io.BytesIO(header)
    np.lib.format.read_magic(stream)
    found: tuple[Any, ...] = np.lib.format.read_array_header_1_0(stream)
    return stream.tell(), found


def _parse(line: bytes, where: str) -> StoredCapture:
    try:
        return parse_record(line)
    except ValueError as error:
        raise broken(where, f"a record that cannot be used ({error})", "a whole record, every number finite") from error


def require_own_splits(found: Sequence[tuple[StoredCapture, dict[str, Any]]]) -> None:
    """Raise `SplitLeaks` when the shards' own splits part a person, or are not those of the subjects' names."""
    first: dict[str, tuple[StoredCapture, dict[str, Any]]] = {}
    for record, shard in found:
        other, home = first.setdefault(record.subject, (record, shard))
        if shard["split"] != home["split"]:
            both = f"{other.name} in {home['file']} and {record.name} in {shard['file']}"
            raise _leak(f"{both}, both of {record.subject}", "each person in one split")
        if shard["split"] != split_of(record.subject):
            expected = f"the {split_of(record.subject)} split, which follows from the subject's name"
            raise _leak(f"{record.name} of {record.subject} in {shard['file']}", expected)


def _leak(found: str, expected: str) -> SplitLeaks:
    return SplitLeaks(found=found, expected=expected, remedy="write the shards anew from the captures")


def _require_labels(index: dict[str, Any], records: Sequence[StoredCapture]) -> None:
    simulated = (index["dataset"] or {}).get("simulated")
    for record in records:
        require_labels(record.name, Labels(**record.labels), simulated)


def _require_whole(folder: Path, index: dict[str, Any], records: Sequence[StoredCapture]) -> None:
    rows = sorted(record.row for record in records)
    if rows != list(range(index["captures"])):
        found = f"{len(rows)} captures, {len(set(rows))} different"
        raise broken(str(folder), found, f"{index['captures']}, as {SHARDS_FILE} says")
