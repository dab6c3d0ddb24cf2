"""Writes a prepared data set as shards (`training.shards` has the format), one after the other, each whole or absent.

The same store gives the same bytes: headers carry no time and no owner. The index is written first, as unfinished, and
after each shard; a kill costs the shard under way. Written again, a shard that was damaged since is made anew.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.atomic_files import write_atomically, write_json, writing_to
from sdk_reference.landmarks import FaceMeshDetector
from training.errors import DatasetInvalid, SettingsMismatch, require_range
from training.prepare import DetectorFactory, preparation_of, prepare_all
from training.progress import progress_bar
from training.refusals import refusal_report
from training.shards import (
    ALIGNED_SUFFIX,
    DEPTH_SUFFIX,
    RECORD_SUFFIX,
    REFUSED_FILE,
    SHARDS_FILE,
    SHARDS_FORMAT,
    SHARDS_VERSION,
    hash_of_file,
    is_sharded,
    read_shard_index,
    require_unchanged,
)
from training.splits import SPLITS, split_of
from training.store import PreparedStore, StoredCapture, index_line
from training.workers import Progress, no_progress

CAPTURES_PER_SHARD = 256  # 250 MB of five frames each
MAX_CAPTURES_PER_SHARD = 8192


@dataclass(frozen=True)
class ShardedDataset:
    """What `shard_dataset` did."""

    folder: Path
    index: dict[str, Any]
    """Content of shards.json."""
    written: int
    """Shards written by this call; the others were there already."""
    report: dict[str, Any]
    """`training.refusals.refusal_report`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `--json` prints."""
        shards = self.index["shards"]
        return {
            "folder": str(self.folder),
            "captures": self.index["captures"],
            "shards": len(shards),
            "written": self.written,
            "bytes": sum(shard["bytes"] for shard in shards),
            "data_sha256": self.index["data_sha256"],
            "splits": {
                split: sum(shard["captures"] for shard in shards if shard["split"] == split) for split in SPLITS
            },
            "refused": self.report,
        }


def shard_dataset(
    folder: Path,
    out: Path,
    *,
    captures_per_shard: int = CAPTURES_PER_SHARD,
    workers: int = 1,
    quiet: bool = False,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> ShardedDataset:
    """Prepare the data set in `folder` where it is not prepared, and write its shards into `out`, or go on there.

    Raises what `prepare_all` raises, `SettingsMismatch` for shards of other data, `DatasetInvalid` or
    `OutputNotWritable`.
    """
    require_range("captures per shard", captures_per_shard, 1, MAX_CAPTURES_PER_SHARD)
    if is_sharded(folder):
        raise DatasetInvalid(
            found=f"{folder}, which holds shards already",
            expected="captures or recordings",
            remedy="copy the folder as it is, or shard the captures that it was made from",
        )
    (store,) = prepare_all([folder], workers, quiet, detector_factory)
    with progress_bar(f"Writing {out.name}", quiet) as progress:
        index, written = write_shards(store, out, preparation_of(detector_factory), captures_per_shard, progress)
    return ShardedDataset(out, index, written, refusal_report(store.records))


def write_shards(
    store: PreparedStore,
    out: Path,
    preparation: dict[str, Any],
    captures_per_shard: int = CAPTURES_PER_SHARD,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], int]:
    """Write the shards that `out` still lacks; returns the index and how many were written."""
    index = _begin(store, out, preparation, captures_per_shard)
    there = {shard["file"]: shard for shard in index["shards"]}
    plan = list(_plan(store, captures_per_shard))
    index["shards"] = []
    written = 0
    for done, (file, split, records) in enumerate(plan, start=1):
        said = there.get(file)
        if said is None or not _is_whole(out / file, said):
            said = _write_shard(store, out / file, split, records)
            written += 1
        index["shards"].append(said)
        later = [there[name] for name, _, _ in plan[done:] if name in there]
        write_json(out / SHARDS_FILE, {**index, "shards": index["shards"] + later})
        progress(done, len(plan))
    index["complete"] = True
    write_json(out / SHARDS_FILE, index)
    return index, written


def _begin(store: PreparedStore, out: Path, preparation: dict[str, Any], captures_per_shard: int) -> dict[str, Any]:
    """Write the index and the refused records into a new folder, or return the index of the same data found there."""
    refused = b"".join(index_line(record) for record in store.records if record.refused is not None)
    index = {
        "format": SHARDS_FORMAT,
        "version": SHARDS_VERSION,
        "complete": False,
        "name": store.name,
        "dataset": store.dataset_record or None,
        "preparation": preparation,
        "data_sha256": store.sha256,
        "n0": store.n0,
        "captures": len(store.records),
        "captures_per_shard": captures_per_shard,
        "refused": {
            "captures": refused.count(b"\n"),
            "bytes": len(refused),
            "sha256": hashlib.sha256(refused).hexdigest(),
        },
        "shards": [],
    }
    if is_sharded(out):
        index = {**index, "shards": _of_same_data(read_shard_index(out), index, out)}
    elif out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise DatasetInvalid(
            found=f"{out}, which holds something else",
            expected="a new or empty folder, or shards of the same data set",
            remedy="choose another folder",
        )
    write_atomically(out / REFUSED_FILE, refused)
    write_json(out / SHARDS_FILE, index)
    with writing_to(out):
        for unfinished in out.glob(".*.part"):  # left by a kill
            unfinished.unlink()
    return index


def _of_same_data(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    differing = [key for key in wanted if key not in ("complete", "shards", "name") and found[key] != wanted[key]]
    if differing:
        raise SettingsMismatch(
            found=f"{out} with shards of other {', '.join(differing)}",
            expected="shards of the same data set, of the same size",
            remedy="choose another folder",
        )
    return list(found["shards"])


def _plan(store: PreparedStore, size: int) -> Iterator[tuple[str, str, Sequence[StoredCapture]]]:
    """Yield (file, split, captures) of each shard: the captures of one split, in order of row."""
    for split in SPLITS:
        records = [record for record in store.usable if split_of(record.subject) == split]
        for number, start in enumerate(range(0, len(records), size)):
            yield f"{split}-{number:06d}.tar", split, records[start : start + size]


def _is_whole(path: Path, said: dict[str, Any]) -> bool:
    try:
        require_unchanged(path, said)
    except DatasetInvalid:
        return False
    return True


def _write_shard(store: PreparedStore, path: Path, split: str, records: Sequence[StoredCapture]) -> dict[str, Any]:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing_to(path):
        try:
            with unfinished.open("wb") as handle:
                with tarfile.open(fileobj=handle, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
                    for record in records:
                        _add_capture(archive, store, record)
                handle.flush()
                os.fsync(handle.fileno())  # the index must never speak of bytes that a power cut can take back
            said = {"bytes": unfinished.stat().st_size, "sha256": hash_of_file(unfinished)}
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return {"file": path.name, "split": split, "captures": len(records), **said}


def _add_capture(archive: tarfile.TarFile, store: PreparedStore, record: StoredCapture) -> None:
    key = f"{record.row:06d}"
    _add(archive, f"{key}.{ALIGNED_SUFFIX}", npy_bytes(store.aligned_row(record.row)))
    _add(archive, f"{key}.{DEPTH_SUFFIX}", npy_bytes(store.depth_row(record.row)))
    _add(archive, f"{key}.{RECORD_SUFFIX}", index_line(record))


def npy_bytes(values: npt.NDArray[Any]) -> bytes:
    """Return an array as the bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(values), allow_pickle=False)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time, no owner: the same data give the same bytes
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
