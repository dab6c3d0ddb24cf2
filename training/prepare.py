"""Prepares a data set for training: labels are checked first, then every capture goes through the phone side's
preprocessing once, and its aligned frames, depth label and expected response are kept in a store (`training.store`).

Checking comes first because it takes seconds and landmarks take minutes. Captures and recordings (a video with its
flash log) go the same way. What shows no usable face, and what was recorded and cannot be used (no frame of some step,
an unreadable video), is no error: it is kept in the index with the reason, and reported (`training.refusals`). What
does not even say what it is, and a simulated capture that is damaged, is one: data that was meant to be there is not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk_reference.align import TEMPLATE, Affine
from sdk_reference.atomic_files import writing_to
from sdk_reference.errors import InvalidInput, UserFailure
from sdk_reference.labels import Labels
from sdk_reference.landmarks import FaceMeshDetector, LandmarkDetector
from sdk_reference.preprocess import PreprocessSettings, preprocess
from sdk_reference.quality import measure_quality
from sdk_reference.recording import is_recording
from sdk_reference.response import expected_response
from simulator.errors import SimulationError
from simulator.stage_file import load_stage
from training.dataset_folder import STAGES_FOLDER, find_captures, read_dataset_record
from training.depth_labels import live_label, spoof_label
from training.errors import DatasetInvalid
from training.layer_store import LAYERS_FILE, LayersRecord, add_layers_line, begin_layers, write_layers
from training.leaks import require_no_leaks
from training.progress import progress_bar
from training.refusals import show_refusals, write_report
from training.shard_checks import open_shards
from training.shards import is_sharded
from training.source import Peek, damaged, hash_of, peek, read_source, size_of
from training.splits import split_of
from training.store import (
    ALIGNED_FILE,
    DEPTH_FILE,
    INDEX_FILE,
    REFUSED_FILE,
    AlignedStore,
    PreparedStore,
    StoredCapture,
    begin_store,
    hash_of_frames,
    index_line,
    open_array,
    require_finite,
    require_finite_depth,
    rewrite_index,
)
from training.taking_turns import alone
from training.workers import Progress, no_progress, run_in_workers

LOCK_FILE = ".preparing.lock"
PREPARATION_VERSION = 3  # raise it when the same capture would give another row
DetectorFactory = Callable[[], LandmarkDetector]


def prepare_all(
    folders: Sequence[Path], workers: int, quiet: bool, detector_factory: DetectorFactory = FaceMeshDetector
) -> list[PreparedStore]:
    """Prepare every data set, or check it where it comes as shards; with progress bars and reports unless `quiet`.

    Raises `DatasetInvalid` when one is named twice, they differ in number of frames or a shard is damaged, `SplitLeaks`
    and `LabelsContradict` over all of them together.
    """
    if not folders or len({folder.resolve() for folder in folders}) != len(folders):
        raise DatasetInvalid(
            found=f"the data sets {', '.join(map(str, folders)) or '(none)'}",
            expected="at least one data set, none of them twice",
            remedy="name each folder once with --data",
        )
    stores = [_open(folder, workers, quiet, detector_factory) for folder in folders]
    if len({store.n0 for store in stores}) > 1:
        raise DatasetInvalid(
            found=f"data sets of {' and '.join(str(store.n0) for store in stores)} frames per capture",
            expected="one number of frames",
            remedy="train on data sets of one kind of plan",
        )
    require_no_leaks(stores)
    show_refusals(stores, quiet)
    return stores


def _open(folder: Path, workers: int, quiet: bool, detector_factory: DetectorFactory) -> PreparedStore:
    if is_sharded(folder):
        with progress_bar(f"Checking {folder.name}", quiet) as progress:
            return open_shards(folder, preparation_of(detector_factory), progress)
    with progress_bar(f"Aligning {folder.name}", quiet) as progress:
        return prepare_dataset(folder, workers, progress, detector_factory)


def prepare_dataset(
    folder: Path,
    workers: int = 1,
    progress: Progress = no_progress,
    detector_factory: DetectorFactory = FaceMeshDetector,
) -> AlignedStore:
    """Align every capture of the data set in `folder` that is not aligned yet, and return the store.

    Of several processes one prepares, and the others wait and find it prepared. Raises `DatasetInvalid`, one of its
    kinds or `OutputNotWritable`. `detector_factory` is called once per process.
    """
    with alone(folder / LOCK_FILE) if folder.is_dir() else nullcontext():
        return _prepare(folder, workers, progress, detector_factory)


def _prepare(folder: Path, workers: int, progress: Progress, detector_factory: DetectorFactory) -> AlignedStore:
    paths = find_captures(folder)
    recorded = read_dataset_record(folder) or {}
    said = [peek(path, recorded.get("simulated")) for path in paths]
    n0 = require_one_n0(said)
    origin = {"key": store_key(detector_factory), "names_sha256": _hash_of_lines(path.name for path in paths)}
    place = folder / f"prepared-{origin['key'][:12]}"
    done = begin_store(place, origin, (len(paths), n0, 3, TEMPLATE.size, TEMPLATE.size))
    records = [_with_frames_hash(record, place) for record in done if _unchanged(record, paths, said)]
    rewrite_index(place / INDEX_FILE, records)
    if _may_be_relit(folder, recorded):
        begin_layers(place, len(paths), [record.row for record in records])
    store = AlignedStore(place, _complete(place, paths, records, workers, progress, detector_factory))
    require_finite_depth(store)
    write_report(place / REFUSED_FILE, store.records)
    return store


def _may_be_relit(folder: Path, recorded: dict[str, Any]) -> bool:
    """Whether scenes were kept; those of a set made with the screen off must stay dark, or it would be no control."""
    return (folder / STAGES_FOLDER).is_dir() and not (recorded.get("settings") or {}).get("screen_off", False)


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
    if not tasks:
        return records
    with writing_to(place), (place / INDEX_FILE).open("ab") as index:
        work = partial(_prepare_one, place=place, detector_factory=detector_factory)
        for _, (record, layers) in run_in_workers(work, tasks, workers):
            if layers is not None:
                add_layers_line(place, layers)
            index.write(index_line(record))
            index.flush()
            records.append(record)
            progress(len(records), len(paths))
    return records


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


def preparation_of(detector_factory: DetectorFactory) -> dict[str, Any]:
    """Return everything besides the captures that decides the rows of a store."""
    return {
        "version": PREPARATION_VERSION,
        "template": {"size": TEMPLATE.size, "points": np.asarray(TEMPLATE.points).tolist()},
        "detector": f"{detector_factory.__module__}.{detector_factory.__qualname__}",
        "mediapipe": importlib.metadata.version("mediapipe"),
        "registration": PreprocessSettings().registration,
    }


def store_key(detector_factory: DetectorFactory) -> str:
    """Return a hash of `preparation_of`."""
    return hashlib.sha256(json.dumps(preparation_of(detector_factory), sort_keys=True).encode()).hexdigest()


def _prepare_one(
    task: tuple[int, Path], place: Path, detector_factory: DetectorFactory
) -> tuple[StoredCapture, LayersRecord | None]:
    row, path = task
    said = peek(path)
    labels = said.labels
    record = StoredCapture(
        row, path.name, size_of(path), hash_of(path), asdict(labels), None, None, None, said_sha256=said.sha256
    )
    try:
        capture = read_source(path)
        prepared = preprocess(capture, _detector(detector_factory), PreprocessSettings())
    except (InvalidInput, UserFailure) as error:
        if isinstance(error, InvalidInput) and labels.simulated and not is_recording(path):
            raise damaged(path, str(error)) from error
        return replace(record, refused=error.to_dict()), None
    depth = live_label(capture.depth_mm, prepared.faces[0], prepared.affines[0]) if labels.is_live else spoof_label()
    _write_row(place / ALIGNED_FILE, row, prepared.aligned_u8)
    _write_row(place / DEPTH_FILE, row, depth.astype(np.float16))
    measured = replace(
        record,
        response=np.asarray(expected_response(capture.plan), np.float64).tolist(),
        quality={name: float(value) for name, value in asdict(measure_quality(prepared, capture)).items()},
        frames_sha256=hash_of_frames(prepared.aligned_u8),
    )
    _require_finite(measured, depth)
    return measured, _align_layers(row, path, place, labels, prepared.affines[int(np.argmin(capture.timestamps_ns))])


def _align_layers(row: int, path: Path, place: Path, labels: Labels, affine: Affine) -> LayersRecord | None:
    """Keep the scene of a training capture, too, if there is one; `affine` is of the first frame in time."""
    stage = path.parent.parent / STAGES_FOLDER / f"{path.stem}.npz"
    if not (place / LAYERS_FILE).is_file() or not stage.is_file():
        return None
    if labels.subject is None or split_of(labels.subject) != "train":
        return None
    try:
        return write_layers(place, row, load_stage(stage), affine)
    except SimulationError as error:
        raise damaged(stage, str(error)) from error


def _require_finite(record: StoredCapture, depth: npt.NDArray[np.floating[Any]]) -> None:
    try:
        require_finite(record, depth)
    except ValueError as error:
        raise damaged(Path(record.name), f"{error}, measured on it") from error


def _with_frames_hash(record: StoredCapture, place: Path) -> StoredCapture:
    """Hash the frames of a capture that was prepared before their hash was kept."""
    if record.refused is not None or record.frames_sha256 is not None:
        return record
    return replace(record, frames_sha256=hash_of_frames(open_array(place / ALIGNED_FILE)[record.row]))


@cache
def _detector(factory: DetectorFactory) -> LandmarkDetector:
    return factory()


def _write_row(path: Path, row: int, values: npt.NDArray[Any]) -> None:
    open_array(path, writable=True)[row] = values


def _unchanged(record: StoredCapture, paths: Sequence[Path], said: Sequence[Peek]) -> bool:
    """Whether a capture is as large as when it was prepared, and says the same; hashing every pixel takes minutes."""
    row = record.row
    return (
        row < len(paths)
        and record.size_bytes == size_of(paths[row])
        and record.labels == asdict(said[row].labels)
        and record.said_sha256 in (None, said[row].sha256)
    )


def _hash_of_lines(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
