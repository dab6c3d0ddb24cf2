"""The progress bar of the long jobs: done, rate, time gone and time left, on standard error, so that standard output
stays free for results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

from training.workers import Progress as Report
from training.workers import no_progress


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return e.g. `12.3/s`, or a dash before the first item."""
        speed = task.finished_speed or task.speed
        return Text("–" if speed is None else f"{speed:.1f}/s")


@contextmanager
def progress_bar(description: str, quiet: bool = False) -> Iterator[Report]:
    """Give a function that is called with (done, total) and draws the bar; draws nothing when `quiet`."""
    if quiet:
        yield no_progress
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        Elapsed(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=60.0) as bars:
        task = bars.add_task(description, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
