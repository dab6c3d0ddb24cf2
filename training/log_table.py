"""The table of how a training goes, log.csv: written anew with every line, so that it is whole at any moment."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdk_reference.atomic_files import write_atomically
from training.checkpoint import LOG_FILE


def read_log(folder: Path) -> list[dict[str, str]]:
    """Return the lines of log.csv as {column: text}; none when there is no log yet."""
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def write_log(folder: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write log.csv anew."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / LOG_FILE, text.getvalue().encode())
