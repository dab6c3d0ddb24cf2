"""The table of `flashproof bench` in words, and as a block of a Markdown page that nobody types.

The block lies between two marks; everything outside them is the page's own and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from export.bench import Bench, Estimate, Row
from export.page_block import PageBlock

BLOCK: Final = PageBlock("flashproof bench")
BEGIN, END = BLOCK.begin, BLOCK.end
COLUMNS: Final = (
    "file",
    "format",
    "precision",
    "KB",
    "GFLOP",
    "ms (95 %)",
    "speed, fp32 = 1",
    "score error",
    "depth error",
    "EER, %",
)
NARROW: Final = ("file", "KB", "ms (95 %)", "speed, fp32 = 1")
"""What 80 characters hold; the file's name tells format and precision."""
UNKNOWN: Final = "–"


def check_page(page: Path) -> None:
    """Raise PageMarksMissing unless the page has one place for the table."""
    BLOCK.check(page)


def write_page(page: Path, result: Bench) -> None:
    """Replace what lies between the marks of `page` by the table; raises PageMarksMissing, OutputNotWritable."""
    BLOCK.write(page, table(result))


def block(result: Bench) -> str:
    """The marks and what belongs between them."""
    return BLOCK.around(table(result))


def table(result: Bench) -> str:
    """One row per artifact, then the remarks."""
    lines = [" | ".join(COLUMNS), " | ".join("---" if name in COLUMNS[:3] else "---:" for name in COLUMNS)]
    lines += [" | ".join(cells(row)) for row in result.rows]
    rows = "\n".join(f"| {line} |" for line in lines)
    remarks = "\n".join(f"- {note}" for note in notes(result))
    return f"{rows}\n\n{remarks}"


def cells(row: Row) -> tuple[str, ...]:
    """One text per column of `COLUMNS`."""
    return (
        row.artifact.rpartition("/")[2],
        row.format,
        row.precision,
        f"{row.bytes / 1000:.0f}",
        UNKNOWN if row.gflop is None else f"{row.gflop:.2f}",
        spread(time_of(row), "{:.1f}"),
        spread(row.times_as_fast, "{:.2f}"),
        difference_of(row, "score"),
        difference_of(row, "depth"),
        spread(percent(row.eer), "{:.1f}"),
    )


def time_of(row: Row) -> Estimate | None:
    """Milliseconds of one capture."""
    if row.median_ms is None or row.low_ms is None or row.high_ms is None:
        return None
    return Estimate(row.median_ms, row.low_ms, row.high_ms)


def percent(rate: Estimate | None) -> Estimate | None:
    """A rate in hundredths."""
    return None if rate is None else Estimate(100 * rate.value, 100 * rate.low, 100 * rate.high)


def spread(estimate: Estimate | None, form: str) -> str:
    """A value with its interval."""
    if estimate is None:
        return UNKNOWN
    return f"{form.format(estimate.value)} ({form.format(estimate.low)} to {form.format(estimate.high)})"


def difference_of(row: Row, output: str) -> str:
    """E.g. `0.0012 (mean)`; the largest of a capture's values unless it says mean."""
    for name, value in (row.against_pytorch or {}).items():
        if name.startswith(f"{output}:"):
            return f"{value:.2g}" + (" (mean)" if "mean" in name else "")
    return UNKNOWN


def notes(result: Bench) -> list[str]:
    """What the columns leave out, one sentence each."""
    return list(_notes(result))


def _notes(result: Bench) -> Iterator[str]:
    row = result.rows[0]
    if row.parameters is not None:
        yield f"{result.bundle}: {row.parameters:,} parameters; GFLOP of one capture, the same in every format."
    else:
        yield f"{result.bundle}: parameters and GFLOP unknown, as it has no ONNX fp32 file to count them in."
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    yield (
        f"Times: median of {result.rounds} captures, one at a time on {threads} of the machine that wrote this table. "
        "Speed: against the first fp32 of the same format. Behind each its 95 % interval."
    )
    runtimes = sorted({row.ran_by for row in result.rows if row.ran_by and row.reason is None})
    if runtimes:
        yield f"Timed with {', '.join(runtimes)}."
    if any(row.against_pytorch for row in result.rows):
        yield (
            "Errors: largest difference from PyTorch in the worst capture of the export; a depth marked (mean) is the "
            "mean over its pixels."
        )
    if any(row.eer for row in result.rows):
        what = "simulated captures: it says nothing about real people" if result.simulated else "the export's captures"
        yield f"EER: on {what}."
    for row in result.rows:
        if row.reason is not None:
            ran = f" ({row.ran_by})" if row.ran_by else ""
            yield f"{row.artifact.rpartition('/')[2]} has no time: {row.reason}{ran}"
