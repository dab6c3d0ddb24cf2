"""Prepares a data set for training: labels are checked first, then every capture goes through the phone side's
preprocessing once, and its aligned frames, depth label and expected response are kept in a store (`training.store`).

Checking comes first because it takes seconds and landmarks take minutes. A capture whose face cannot be found is not an
error: it is kept in the index with the reason, and counted. A capture that is damaged is an error: data that was
meant to be there is not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flash_sequencer.plan import FlashPlan, PlanError
from sdk_reference.align import TEMPLATE
from sdk_reference.atomic_files import writing_to
from sdk_reference.capture import INDEX_NAME, MAX_INDEX_BYTES, Labels, load_capture
from sdk_reference.container import FolderOrZip
from sdk_reference.errors import FlashproofError, UserFailure
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.preprocess import PreprocessSettings, preprocess
from sdk_reference.quality import measure_quality
from sdk_reference.response import expected_response
from training.dataset_folder import find_captures
from training.depth_labels import live_label, spoof_label
from training.errors import DatasetInvalid, LabelsMissing
from training.progress import progress_bar
from training.store import (
    ALIGNED_FILE,
    DEPTH_FILE,
    INDEX_FILE,
    AlignedStore,
    StoredCapture,
    begin_store,
    index_line,
    open_array,
    rewrite_index,
)
from training.workers import Progress, no_progress, run_in_workers

PREPARATION_VERSION = 1  # raise it when the same capture would give another row
DetectorFactory = Callable[[], LandmarkDetector]


@dataclass(frozen=True)
class Peek:
    """What a capture says about itself, read without decoding a pixel."""

    name: str
    labels: Labels
    n0: int


def prepare_all(
    folders: Sequence[Path], workers: int, quiet: bool, detector_factory: DetectorFactory = FaceMeshDetector
) -> list[AlignedStore]:
    """Prepare every data set, with a progress bar unless `quiet`.

    Raises `DatasetInvalid` when one is named twice or they differ in number of frames.
    """
    if not folders or len({folder.resolve() for folder in folders}) != len(folders):
        raise DatasetInvalid(
            found=f"the data sets {', '.join(map(str, folders)) or '(none)'}",
            expected="at least one data set, none of them twice",
            remedy="name each folder once with --data",
        )
    stores = []
    for folder in folders:
        with progress_bar(f"Aligning {folder.name}", quiet) as progress:
            stores.append(prepare_dataset(folder, workers, progress, detector_factory))
    if len({store.n0 for store in stores}) > 1:
        raise DatasetInvalid(
            found=f"data sets of {' and '.join(str(store.n0) for store in stores)} frames per capture",
            expected="one number of frames",
            remedy="train on data sets of one kind of plan",
        )
    return stores


def prepare_dataset(
    folder: Path,
    workers: int = 1,
    progress: Progress = no_progress,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> AlignedStore:
    """Align every capture of the data set in `folder` that is not aligned yet, and return the store.

    Raises `DatasetInvalid`, `LabelsMissing` or `OutputNotWritable`. `detector_factory` is called once per process.
    """
    paths = find_captures(folder)
    peeks = [peek(path) for path in paths]
    n0 = require_one_n0(peeks)
    origin = {"key": store_key(detector_factory), "names_sha256": _hash_of_lines(path.name for path in paths)}
    place = folder / f"prepared-{origin['key'][:12]}"
    done = begin_store(place, origin, (len(paths), n0, 3, TEMPLATE.size, TEMPLATE.size))
    records = [record for record in done if _unchanged(record, paths)]
    with writing_to(place):
        rewrite_index(place / INDEX_FILE, records)
    return AlignedStore(place, _complete(place, paths, records, workers, progress, detector_factory))


def _complete(
    place: Path,
    paths: Sequence[Path],
    records: list[StoredCapture],
    workers: int,
    progress: Progress,
    detector_factory: DetectorFactory,
) -> list[StoredCapture]:
    known = {record.row for record in records}
    tasks = [(row, path) for row, path in enumerate(paths) if row not in known]
    progress(len(records), len(paths))
    with writing_to(place), (place / INDEX_FILE).open("ab") as index:
        work = partial(_prepare_one, place=place, detector_factory=detector_factory)
        for _, record in run_in_workers(work, tasks, workers):
            index.write(index_line(record))
            index.flush()
            records.append(record)
            progress(len(records), len(paths))
    return records


def peek(path: Path) -> Peek:
    """Read a capture's labels and number of frames; raises `DatasetInvalid` or `LabelsMissing`."""
    try:
        raw = json.loads(FolderOrZip(path).read(INDEX_NAME, MAX_INDEX_BYTES) or b"")
        labels, plan = raw["labels"], FlashPlan.from_dict(raw["plan"])
        return Peek(path.name, require_labels(path.name, None if labels is None else Labels(**labels)), plan.n0)
    except (ValueError, TypeError, LookupError, PlanError) as error:
        raise _damaged(path, str(error)) from error
    except LabelsMissing:
        raise
    except FlashproofError as error:
        raise _damaged(path, error.found) from error


def require_labels(name: str, labels: Labels | None) -> Labels:
    """Return the labels when they name species and subject; raises `LabelsMissing`."""
    missing = [key for key in ("species", "subject") if labels is None or not getattr(labels, key)]
    if labels is None or missing:
        raise LabelsMissing(
            found=f"{name} without {' and '.join(missing)}",
            expected="a species (live, print, replay or mask) and a subject in every capture's labels",
            remedy="label the capture or take it out of the data set",
        )
    return labels


def require_one_n0(peeks: Sequence[Peek]) -> int:
    """Return the number of frames that all captures share; raises `DatasetInvalid`."""
    first = peeks[0]
    for other in peeks:
        if other.n0 != first.n0:
            raise DatasetInvalid(
                found=f"{first.n0} frames in {first.name} and {other.n0} in {other.name}",
                expected="one number of frames in a data set",
                remedy="keep captures of different plans in different folders",
            )
    return first.n0


def store_key(detector_factory: DetectorFactory) -> str:
    """Return a hash of everything besides the captures that decides the rows of a store."""
    parts = {
        "version": PREPARATION_VERSION,
        "template": {"size": TEMPLATE.size, "points": np.asarray(TEMPLATE.points).tolist()},
        "detector": f"{detector_factory.__module__}.{detector_factory.__qualname__}",
        "mediapipe": importlib.metadata.version("mediapipe"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _prepare_one(task: tuple[int, Path], place: Path, detector_factory: DetectorFactory) -> StoredCapture:
    row, path = task
    try:
        capture = load_capture(path)
    except FlashproofError as error:
        raise _damaged(path, str(error)) from error
    labels = require_labels(path.name, capture.labels)
    base: dict[str, Any] = {
        "row": row,
        "name": path.name,
        "size_bytes": size_of(path),
        "sha256": hash_of(path),
        "labels": asdict(labels),
    }
    try:
        prepared = preprocess(capture, _detector(detector_factory), PreprocessSettings())
    except UserFailure as error:
        return StoredCapture(**base, refused=error.to_dict(), response=None, quality=None)
    live = labels.is_live
    depth = live_label(capture.depth_mm, prepared.faces[0], prepared.affines[0]) if live else spoof_label()
    _write_row(place / ALIGNED_FILE, row, prepared.aligned_u8)
    _write_row(place / DEPTH_FILE, row, depth.astype(np.float16))
    quality = {name: float(value) for name, value in asdict(measure_quality(prepared, capture)).items()}
    response = np.asarray(expected_response(capture.plan), np.float64).tolist()
    return StoredCapture(**base, refused=None, response=response, quality=quality)


@cache
def _detector(factory: DetectorFactory) -> LandmarkDetector:
    return factory()


def _write_row(path: Path, row: int, values: npt.NDArray[Any]) -> None:
    open_array(path, writable=True)[row] = values


def _unchanged(record: StoredCapture, paths: Sequence[Path]) -> bool:
    return record.row < len(paths) and record.size_bytes == size_of(paths[record.row])


def size_of(path: Path) -> int:
    """Return the bytes of a capture, zip or folder."""
    return sum(part.stat().st_size for part in _files_of(path))


def hash_of(path: Path) -> str:
    """Return the sha256 over the names and bytes of a capture's files."""
    digest = hashlib.sha256()
    for part in _files_of(path):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def _files_of(path: Path) -> list[Path]:
    return sorted(part for part in path.iterdir() if part.is_file()) if path.is_dir() else [path]


def _hash_of_lines(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _damaged(path: Path, what: str) -> DatasetInvalid:
    return DatasetInvalid(
        found=f"{path}: {what}",
        expected="a whole capture",
        remedy="make or copy it again, or take it out of the data set",
    )
