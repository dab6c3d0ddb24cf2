"""What benchmarks share: contestants take turns in rounds, and medians come with the interval that the rounds allow."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

RESAMPLES = 4000
INTERVAL = (2.5, 97.5)  # percentiles
WIDTH = 150  # of tables that go into a file


@dataclass(frozen=True)
class Estimate:
    """A median and the interval of 95 % for it, by resampling rounds."""

    median: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """Return e.g. `1.23 (1.20 to 1.31)`."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return asdict(self)


def estimate(values: npt.NDArray[np.float64]) -> Estimate:
    """Return the median of the rounds that have a value (others are NaN), with its interval."""
    present = values[~np.isnan(values)]
    drawn = np.random.default_rng(0).choice(present, (RESAMPLES, len(present)))
    low, high = np.percentile(np.median(drawn, axis=1), INTERVAL)
    return Estimate(round(float(np.median(present)), 4), round(float(low), 4), round(float(high), 4))


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = time.perf_counter()
    run()
    return (time.perf_counter() - begin) * 1e3


def machine(load_before: float) -> dict[str, Any]:
    """Return what must be known of the machine; a load average above this benchmark's own threads means company."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "load_average_before": round(load_before, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the processor's name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows, their names in the first column; as wide as the terminal, or wide enough for a file."""
    table = Table(title=title)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    (Console() if sys.stdout.isatty() else Console(width=WIDTH)).print(table)
