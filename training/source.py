"""One thing to prepare, a capture or a recording: what it says about itself, what it shows, how large it is, its hash.

Both answer alike, so that preparation need not know which it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flash_sequencer.plan import FlashPlan, PlanError
from sdk_reference.capture import INDEX_NAME, MAX_INDEX_BYTES, Capture, Labels, load_capture
from sdk_reference.container import FolderOrZip
from sdk_reference.errors import FlashproofError
from sdk_reference.recording import INDEX_NAME as RECORDING_NAME
from sdk_reference.recording import extract_capture, is_recording, load_recording
from training.errors import DatasetInvalid
from training.label_checks import require_labels

CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Peek:
    """What a capture says about itself, read without decoding a pixel."""

    name: str
    labels: Labels
    n0: int
    sha256: str
    """Of the bytes that say it."""


def peek(path: Path, simulated: bool | None = None) -> Peek:
    """Read the labels and number of frames of a capture or recording.

    `simulated` is what the data set says of all its captures. Raises `DatasetInvalid` or one of its kinds.
    """
    try:
        index = FolderOrZip(path).read(RECORDING_NAME if is_recording(path) else INDEX_NAME, MAX_INDEX_BYTES) or b""
        labels, plan = _said(path, index)
    except (ValueError, TypeError, LookupError, PlanError) as error:
        raise damaged(path, str(error)) from error
    except FlashproofError as error:
        raise damaged(path, error.found) from error
    checked = require_labels(path.name, labels, simulated)
    return Peek(path.name, checked, plan.n0, hashlib.sha256(index).hexdigest())


def _said(path: Path, index: bytes) -> tuple[Labels | None, FlashPlan]:
    if is_recording(path):
        recording = load_recording(path)
        return recording.labels, recording.plan
    raw: Any = json.loads(index)
    return None if raw["labels"] is None else Labels(**raw["labels"]), FlashPlan.from_dict(raw["plan"])


def read_source(path: Path) -> Capture:
    """Read a capture, or extract one from a recording; raises what `load_capture` and `extract_capture` raise."""
    return extract_capture(path) if is_recording(path) else load_capture(path)


def size_of(path: Path) -> int:
    """Return the bytes of a capture or recording."""
    return sum(part.stat().st_size for part in _files_of(path))


def hash_of(path: Path) -> str:
    """Return the sha256 over the bytes of all files of a capture or recording, in order of name."""
    digest = hashlib.sha256()
    for part in _files_of(path):
        with part.open("rb") as handle:
            while chunk := handle.read(CHUNK_BYTES):  # a video does not fit into memory
                digest.update(chunk)
    return digest.hexdigest()


def _files_of(path: Path) -> Iterator[Path]:
    """The file itself, or the files of a folder; of a recording also those of its folder of frames."""
    if not path.is_dir():
        return iter([path])
    parts = path.rglob("*") if is_recording(path) else path.iterdir()
    return iter(sorted(part for part in parts if part.is_file()))


def damaged(path: Path, what: str) -> DatasetInvalid:
    """Return the error about a capture whose own description cannot be read."""
    return DatasetInvalid(
        found=f"{path}: {what}",
        expected="a whole capture or recording",
        remedy="make or copy it again, or take it out of the data set",
    )
