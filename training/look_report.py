"""Tables of a look: how the statistics of simulated captures spread, and where real photographs fall among them.

Not in the paper. A real value outside the range from the 5th to the 95th percentile of the simulated captures of its
species counts as "still differs". One real photograph cannot say more: it shows what the simulator does not reach, not
that the simulator's spread is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from simulator.instruments import SPECIES
from training.look_captures import Look

RATIO = "flash/ambient, face"
COMPARABLE = 4.0  # a real pair is compared with captures whose flash/ambient ratio is at most so many times off
FEWEST_COMPARABLE = 10  # with fewer of them, with all
FEWEST_TOLD = 5  # simulated values below which no range is drawn
LOW, HIGH = 10.0, 90.0  # percentiles of the table
REAL_LOW, REAL_HIGH = 5.0, 95.0  # percentiles beyond which a real value differs
NORMAL_SPREAD = 3.29  # distance of these two percentiles in standard deviations of a normal distribution
SMALLEST_SPREAD = 1e-5  # of values that are all the same
DECIMALS = 5


@dataclass(frozen=True)
class Range:
    """How one statistic spreads over the captures of one species."""

    median: float
    low: float
    """10th percentile."""
    high: float
    """90th percentile."""
    count: int
    """Captures in which it could be told."""


@dataclass(frozen=True)
class Comparison:
    """Where one statistic of a real pair falls among simulated captures of its species."""

    statistic: str
    real: float
    low: float
    """5th percentile of the simulated captures."""
    median: float
    high: float
    """95th percentile."""
    percentile: float
    """Part of the simulated captures, 0..100, that lie below the real value."""
    spreads: float
    """(real − median) / (high − low), times 3.29: standard deviations if simulated values were normal."""
    count: int
    """Simulated captures compared with."""

    @property
    def differs(self) -> bool:
        """Whether the real value lies outside the range that holds 90 % of the simulated ones."""
        return not self.low <= self.real <= self.high


def values_of(looks: Sequence[Look], statistic: str) -> npt.NDArray[np.float64]:
    """Return the finite values (n,) of a statistic."""
    values = np.array([look.statistics.get(statistic, np.nan) for look in looks], dtype=np.float64)
    return values[np.isfinite(values)]


def statistic_names(looks: Sequence[Look]) -> list[str]:
    """Return all names, in the order in which they were measured."""
    return list(dict.fromkeys(name for look in looks for name in look.statistics))


def summarise(looks: Sequence[Look]) -> dict[str, dict[str, Range]]:
    """Return statistic → species → Range of simulated captures; what no capture can tell is left out."""
    summary: dict[str, dict[str, Range]] = {}
    for name in statistic_names(looks):
        for species in SPECIES:
            values = values_of([look for look in looks if look.species == species], name)
            if values.size:
                low, median, high = _percentiles(values, LOW, HIGH)
                summary.setdefault(name, {})[species] = Range(median, low, high, int(values.size))
    return summary


def compare(real: Look, simulated: Sequence[Look]) -> list[Comparison]:
    """Place each statistic of a real pair among simulated captures of its species with a like flash/ambient ratio.

    The ratio itself is placed among all of them.
    """
    same = [look for look in simulated if look.species == real.species and look.statistics]
    alike = comparable(real, same)
    found = [compare_one(name, value, same if name == RATIO else alike) for name, value in real.statistics.items()]
    return [comparison for comparison in found if comparison is not None]


def comparable(real: Look, same: Sequence[Look]) -> list[Look]:
    """Return the captures whose flash/ambient ratio is within a factor of the real one's; all when these are few."""
    ratio = real.statistics[RATIO]
    alike = [x for x in same if ratio / COMPARABLE <= x.statistics[RATIO] <= ratio * COMPARABLE]
    return alike if len(alike) >= FEWEST_COMPARABLE else list(same)


def compare_one(name: str, value: float, simulated: Sequence[Look]) -> Comparison | None:
    """Return where `value` falls; None when it is not a number or too few simulated captures can tell theirs."""
    values = values_of(simulated, name)
    if not math.isfinite(value) or values.size < FEWEST_TOLD:
        return None
    low, median, high = _percentiles(values, REAL_LOW, REAL_HIGH)
    below = (np.count_nonzero(values < value) + 0.5 * np.count_nonzero(values == value)) / values.size
    spreads = (value - median) / max(high - low, SMALLEST_SPREAD) * NORMAL_SPREAD
    real, percentile = round(value, DECIMALS), round(float(100.0 * below), 1)
    return Comparison(name, real, low, median, high, percentile, round(spreads, 2), int(values.size))


def nearest(real: Look, simulated: Sequence[Look], number: int) -> list[Look]:
    """Return the simulated captures of the same species whose flash/ambient ratio is nearest to the real one's."""
    same = [look for look in simulated if look.species == real.species and look.panel]
    target = _log_ratio(real)
    return sorted(same, key=lambda look: abs(_log_ratio(look) - target))[:number]


def _log_ratio(look: Look) -> float:
    ratio = look.statistics[RATIO]
    return math.log(max(ratio, 1e-3)) if math.isfinite(ratio) else math.inf


def _percentiles(values: npt.NDArray[np.float64], low: float, high: float) -> tuple[float, float, float]:
    """Return the low percentile, the median and the high percentile, rounded."""
    lowest, median, highest = (round(float(value), DECIMALS) for value in np.percentile(values, (low, 50.0, high)))
    return lowest, median, highest


def to_json(settings: dict[str, object], simulated: Sequence[Look], real: dict[str, Look]) -> dict[str, object]:
    """Return everything as plain JSON values; keys are stable."""
    counts = {species: sum(look.species == species for look in simulated) for species in SPECIES}
    refused = {
        species: sum(look.species == species and bool(look.refused) for look in simulated) for species in SPECIES
    }
    summary = {name: {s: asdict(r) for s, r in row.items()} for name, row in summarise(simulated).items()}
    comparisons = {
        name: [asdict(c) | {"differs": c.differs} for c in compare(pair, simulated)] for name, pair in real.items()
    }
    return {
        "settings": settings,
        "captures": counts,
        "refused": refused,
        "simulated": summary,
        "real": {name: {"species": pair.species, "values": finite(pair.statistics)} for name, pair in real.items()},
        "comparisons": comparisons,
    }


def finite(statistics: dict[str, float]) -> dict[str, float]:
    """Return the values that are numbers, rounded."""
    return {name: round(value, DECIMALS) for name, value in statistics.items() if math.isfinite(value)}


def to_markdown(simulated: Sequence[Look], real: dict[str, Look]) -> str:
    """Return the table of all statistics and, when there are real pairs, what still differs."""
    parts = ["# The look of simulated captures", "", *statistics_table(simulated, real)]
    for name, pair in real.items():
        parts += ["", f"## What still differs: {name} ({pair.species})", "", *differences_table(pair, simulated)]
    return "\n".join(parts) + "\n"


def statistics_table(simulated: Sequence[Look], real: dict[str, Look]) -> list[str]:
    """Return the lines of a Markdown table: per statistic the real values, per species the median (10 to 90 %)."""
    heads = ["statistic", *(f"real {name}" for name in real), *(f"simulated {species}" for species in SPECIES)]
    lines = [_row(heads), _row(["---"] + ["---:"] * (len(heads) - 1))]
    for name, row in summarise(simulated).items():
        reals = [_number(pair.statistics.get(name, math.nan)) for pair in real.values()]
        ranges = [_range(row[species]) if species in row else "–" for species in SPECIES]
        lines.append(_row([name, *reals, *ranges]))
    return lines


def differences_table(real: Look, simulated: Sequence[Look]) -> list[str]:
    """Return the lines of a Markdown table of what lies outside the simulated 5 to 95 %, the farthest first."""
    comparisons = compare(real, simulated)
    outside = sorted((c for c in comparisons if c.differs), key=lambda c: -abs(c.spreads))
    lines = [f"{len(outside)} of {len(comparisons)} statistics lie outside the simulated range from 5 to 95 %."]
    if outside:
        heads = ["statistic", "real", "simulated 5 %", "median", "95 %", "percentile", "spreads away", "captures"]
        lines += ["", _row(heads), _row(["---"] + ["---:"] * (len(heads) - 1))]
    for c in outside:
        values = [_number(value) for value in (c.real, c.low, c.median, c.high)]
        lines.append(_row([c.statistic, *values, f"{c.percentile:.0f}", f"{c.spreads:+.1f}", str(c.count)]))
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _range(found: Range) -> str:
    return f"{_number(found.median)} ({_number(found.low)} to {_number(found.high)})"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"
