"""The gates' results of a bundle as a table between two marks of a Markdown page, so that nobody types a figure.

python -m export.gates_page BUNDLE PAGE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from export.page_block import PageBlock
from export.report_files import DECISIONS_FILE, PARITY_FILE
from sdk_reference.bundle import Bundle, load_bundle
from sdk_reference.manifest import OUTPUT_NAMES

BLOCK: Final = PageBlock("export.gates_page")
UNKNOWN: Final = "–"


def write_gates(bundle: Bundle, page: Path) -> None:
    """Put the table between the marks of `page`; raises PageMarksMissing, or BundleFileMissing without reports."""
    BLOCK.write(page, table(bundle))


def table(bundle: Bundle) -> str:
    """Rows by artifact, then the control and what the figures are about."""
    parity = json.loads(bundle.read(PARITY_FILE))
    has_decisions = DECISIONS_FILE in bundle.manifest.files
    decisions = json.loads(bundle.read(DECISIONS_FILE)) if has_decisions else {}
    return "\n".join([*rows(parity, decisions), "", *remarks(bundle, parity, decisions)])


def rows(parity: Mapping[str, Any], decisions: Mapping[str, Any]) -> Iterator[str]:
    """The table itself; differences with their limits, all of the worst capture."""
    yield "| file | run by | score | type | depth | response | dB | flips (far) | EER, HTER moved | gates open |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for path, report in parity["artifacts"].items():
        gates = report["gates"]
        differences = [difference(gates, name) for name in OUTPUT_NAMES]
        decided = decisions.get("artifacts", {}).get(path)
        opened = f"{sum(gate['ok'] for gate in gates)} of {len(gates)}"
        cells = [PurePosixPath(path).name, report["ran_by"], *differences, noise(gates), *verdicts(decided), opened]
        yield f"| {' | '.join(cells)} |"


def difference(gates: Sequence[Mapping[str, Any]], output: str) -> str:
    """Found of allowed, e.g. `3.1e-07 of 1e-05`."""
    for gate in gates:
        if gate["name"].startswith(f"{output}:") and "difference" in gate["name"]:
            return f"{gate['value']:.2g} of {gate['limit']:.2g}"
    return UNKNOWN


def noise(gates: Sequence[Mapping[str, Any]]) -> str:
    """The smallest signal-to-noise ratio of any output."""
    found = [gate["value"] for gate in gates if gate["name"].endswith("dB") and not gate["name"].startswith("odd")]
    return f"{min(found):.0f}" if found else UNKNOWN


def verdicts(decided: Mapping[str, Any] | None) -> tuple[str, str]:
    """Flips, and how far the error rates moved."""
    if decided is None:
        return UNKNOWN, UNKNOWN
    shifts = [100 * (decided[name]["value"] - decided[f"pytorch_{name}"]["value"]) for name in ("eer", "hter")]
    return f"{decided['flips']} ({decided['flips_outside']})", ", ".join(f"{shift:+.2f}" for shift in shifts)


def remarks(bundle: Bundle, parity: Mapping[str, Any], decisions: Mapping[str, Any]) -> Iterator[str]:
    """On what the figures rest."""
    compared = sum(parity["captures"].values())
    yield f"- {bundle.identity}; outputs compared on {compared} captures, the worst counts."
    for gate in parity["negative_control"]:
        yield f"- {gate['name']}: {gate['value']:.0f}."
    kept = {
        PurePosixPath(artifact.file).name: len(artifact.float_layers)
        for artifact in bundle.manifest.artifacts
        if artifact.float_layers
    }
    if kept:
        counted = ", ".join(f"{count} in {name}" for name, count in kept.items())
        yield f"- Layers with weights that stay float: {counted}."
    if decisions:
        what = "simulated captures" if decisions["simulated"] else "captures"
        unseen, admitted = decisions["of_people_unseen_in_training"], decisions["admitted_by_the_quality_limits"]
        yield (
            f"- Verdicts on {decisions['captures']} {what}, {unseen} of them of people unseen in training, at the "
            f"threshold {decisions['threshold']:.4f}; *far*: flips outside ± {decisions['band']} of it. "
            f"Error rates on the {admitted} that the quality limits admit."
        )


def main(arguments: Sequence[str]) -> None:
    """`BUNDLE PAGE`."""
    bundle, page = arguments
    write_gates(load_bundle(bundle), Path(page))


if __name__ == "__main__":
    main(sys.argv[1:])
