"""`flashproof bench`: size, cost, time and error of every artifact of a bundle in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from export.bench import Bench

ROUNDS = 60  # export.bench.ROUNDS, which is not imported before the command runs
MIN_ROUNDS = 6

WIDE = 150
"""Characters that all columns take."""


def bench(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder with manifest.json, or a zip of one.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
    rounds: Annotated[int, typer.Option(min=MIN_ROUNDS, help="Runs of each artifact; they take turns.")] = ROUNDS,
    json_output: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write one JSON object to FILE; - is standard output.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the table into FILE, between the marks that are there.")
    ] = None,
) -> None:
    """Measure size, operations, time, error against PyTorch and EER of every artifact, with 95 % intervals."""
    import json

    from export.bench import bench as run_bench
    from export.bench_page import check_page, write_page
    from sdk_reference.atomic_files import write_json

    if markdown is not None:
        check_page(markdown)  # before minutes of measuring
    result = run_bench(bundle, threads, rounds)
    if markdown is not None:
        write_page(markdown, result)
    if json_output == Path("-"):
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    if json_output is not None:
        write_json(json_output, result.to_dict())
    from rich.console import Console

    console = Console()
    console.print(table(result, console.width))


def table(result: Bench, width: int) -> Table:
    """The rows as a table for people, with the columns that a terminal of `width` characters holds unbroken."""
    from rich.markup import escape
    from rich.table import Table

    from export.bench_page import COLUMNS, NARROW, cells, notes

    shown = COLUMNS if width >= WIDE else NARROW
    remarks = [*notes(result), *([] if shown == COLUMNS else ["A wider terminal, --json or --markdown shows more."])]
    drawn = Table(title=escape(result.bundle), caption=escape("\n".join(remarks)), caption_justify="left")
    for name in shown:
        drawn.add_column(escape(name), justify="left" if name in COLUMNS[:3] else "right", overflow="fold")
    for row in result.rows:
        by_name = dict(zip(COLUMNS, cells(row), strict=True))
        drawn.add_row(*(escape(by_name[name]) for name in shown))
    return drawn
