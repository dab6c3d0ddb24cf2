"""The folder of a data set: where its captures lie, and the file that says how they came to be.

DIR/dataset.json           of simulated data: settings and version of the simulator
DIR/captures/000123.zip    one capture each; recorded captures may lie in DIR itself
DIR/anna-live-1/           a capture's folder (capture.json) or a recording's (recording.json)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdk_reference.capture import INDEX_NAME
from sdk_reference.recording import is_recording
from training.errors import DatasetInvalid

DATASET_FORMAT = "flashproof-dataset"
STAGES_FOLDER = "stages"
DATASET_VERSION = 2
DATASET_FILE = "dataset.json"
CAPTURES_FOLDER = "captures"


def find_captures(folder: Path) -> list[Path]:
    """Return the captures (zips and folders with a capture.json) and recordings of a data set, sorted by name.

    They lie in `folder`/captures, or in `folder` itself when it has no such folder. Raises `DatasetInvalid`.
    """
    place = folder / CAPTURES_FOLDER if (folder / CAPTURES_FOLDER).is_dir() else folder
    entries = sorted(place.iterdir(), key=lambda path: path.name) if place.is_dir() else []
    found = [path for path in entries if not path.name.startswith(".") and _is_either(path)]
    if not found:
        raise DatasetInvalid(
            found=f"no captures in {folder}",
            expected=f"captures or recordings, in it or in {CAPTURES_FOLDER}/ inside",
            remedy="make some with `flashproof simulate`, or check the path",
        )
    return found


def _is_either(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or (path / INDEX_NAME).is_file() or is_recording(path)


def read_dataset_record(folder: Path) -> dict[str, Any] | None:
    """Return what `dataset.json` in `folder` says, or None when there is none; raises `DatasetInvalid`."""
    path = folder / DATASET_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise not_a_dataset(f"{path} that cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != DATASET_FORMAT:
        raise not_a_dataset(f"{path} of another format")
    return record


def not_a_dataset(found: str) -> DatasetInvalid:
    """Return the error about a folder in which no data set can be begun or continued."""
    return DatasetInvalid(
        found=found, expected="an empty or new folder, or a simulated data set", remedy="choose another folder"
    )
