"""The report of what could not be used and why: a table for people, `refused.json` beside the store for machines.

Training goes on with the rest: of recordings, some always fail. Each line has the reason's code (`no_face`,
`step_without_frame`, `frame_unreadable`, …), what was found, what was expected and what to do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sdk_reference.atomic_files import write_json
from training.store import PreparedStore, StoredCapture

REFUSED_FORMAT = "flashproof-refused"
SHOWN = 20  # lines of the table; the file has all


def refusal_report(records: Sequence[StoredCapture]) -> dict[str, Any]:
    """Return the content of refused.json: how many of how many, how often each reason, and every one of them."""
    refused = [record for record in records if record.refused is not None]
    return {
        "format": REFUSED_FORMAT,
        "captures": len(records),
        "refused": len(refused),
        "reasons": dict(sorted(Counter(record.refused["code"] for record in refused if record.refused).items())),
        "list": [
            {
                "name": record.name,
                "subject": record.subject,
                "species": record.species,
                "simulated": record.labels["simulated"],
                **(record.refused or {}),
            }
            for record in refused
        ],
    }


def write_report(path: Path, records: Sequence[StoredCapture]) -> None:
    """Write the report as JSON, unless it stands there already."""
    report = refusal_report(records)
    try:
        if json.loads(path.read_text(encoding="utf-8")) == report:
            return
    except (OSError, ValueError):
        pass
    write_json(path, report)


def refusal_table(store: PreparedStore) -> Table:
    """Return the first refused captures of a store as a table."""
    report = refusal_report(store.records)
    reasons = ", ".join(f"{number} {code}" for code, number in report["reasons"].items())
    table = Table(
        title=f"{store.name}: {report['refused']} of {report['captures']} captures cannot be used ({reasons})"
    )
    for column in ("capture", "species", "reason", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for line in report["list"][:SHOWN]:
        table.add_row(line["name"], line["species"], line["code"], line["found"], line["remedy"])
    if report["refused"] > SHOWN:
        table.caption = f"and {report['refused'] - SHOWN} more"
    return table


def show_refusals(stores: Sequence[PreparedStore], quiet: bool) -> None:
    """Print what each store refused, on standard error, unless `quiet`."""
    for store in stores:
        if store.refused and not quiet:
            Console(stderr=True).print(refusal_table(store))
