"""The report of the controls for people: tables in Markdown and one figure. All of it is about simulated captures, and
says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure

from simulator.instruments import SPECIES
from training.controls_model import CONTROLS
from training.controls_report import ATTACKS, BANDS, Cell, find_cell, lux_ranges
from training.figures import SPECIES_COLOURS

TITLES = {
    "flash": "flash differences",
    "screen_off": "screen off",
    "one_frame": "one frame (brightest)",
    "darkest_frame": "one frame (darkest)",
    "shuffled": "levels shuffled",
}


def markdown(report: dict[str, Any]) -> str:
    """Return the tables of a report (as `training.controls` writes it), each AUC with its 95 % interval."""
    parts = [
        "<!-- written by `python -m training.controls`; do not edit -->",
        f"AUC of live against each species on {report['captures']['usable']} **simulated** captures of "
        f"{report['captures']['subjects']} simulated subjects, with 95 % intervals (bootstrap over subjects).",
        "## Goals",
        _table(("goal", "AUC", "95 % interval", "limit", "met"), [_goal_row(goal) for goal in report["goals"]]),
    ]
    for accepted_only, heading in ((False, "All captures"), (True, "Captures that the quality limits accept")):
        for control in CONTROLS:
            parts.append(f"## {heading}: {TITLES[control]}")
            parts.append(_auc_table(report, control, accepted_only))
    parts += ["## Simulated captures", _counts_table(report)]
    return "\n\n".join(parts) + "\n"


def _goal_row(goal: dict[str, Any]) -> tuple[str, ...]:
    limit = "–" if goal["limit"] is None else f"{goal['relation']} {goal['limit']:.2f}"
    if goal["value"] is None:
        return goal["name"], "–", "–", limit, "not measured"
    interval = f"{goal['low']:.3f} to {goal['high']:.3f}"
    return goal["name"], f"{goal['value']:.3f}", interval, limit, "yes" if goal["ok"] else "**no**"


def _auc_table(report: dict[str, Any], control: str, accepted_only: bool) -> str:
    cells = {
        (cell["lux"], cell["species"]): cell
        for cell in report["auc"]
        if cell["control"] == control and cell["accepted_only"] is accepted_only
    }
    rows = [(lux, *(_auc_text(cells[lux, attack]) for attack in ATTACKS)) for lux in lux_ranges()]
    return _table(("ambient lux", *ATTACKS), rows)


def _auc_text(cell: dict[str, Any]) -> str:
    rate = cell["auc"]
    if rate is None:
        return f"– ({cell['live']} live, {cell['attacks']} attacks)"
    return f"{rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f})"


def _counts_table(report: dict[str, Any]) -> str:
    rows = {(row["lux"], row["species"]): row for row in report["captures"]["counts"]}
    texts = [(lux, *(_count_text(rows[lux, species]) for species in SPECIES)) for lux in lux_ranges()]
    return "Made / usable / accepted by the quality limits.\n\n" + _table(("ambient lux", *SPECIES), texts)


def _count_text(row: dict[str, Any]) -> str:
    return f"{row['made']} / {row['made'] - sum(row['left_out'].values())} / {row['accepted']}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *rows))


def fade_figure(cells: Sequence[Cell], captures: int) -> Figure:
    """Draw the AUC by ambient light, a panel per control, a line per species, with intervals; all captures count."""
    figure = Figure(figsize=(3.0 * len(CONTROLS), 3.6), layout="constrained")
    panels = figure.subplots(1, len(CONTROLS), sharey=True)
    for panel, control in zip(panels, CONTROLS, strict=True):
        for shift, attack in enumerate(ATTACKS):
            _draw_species(panel, cells, control, attack, (shift - 1) * 0.13)
        panel.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        panel.axvline(BANDS.index("300-1000") - 0.5, color="grey", linewidth=0.8, linestyle="--")
        panel.set_xticks(range(len(BANDS)), BANDS, rotation=45, ha="right", fontsize="small")
        panel.set(title=TITLES[control], ylim=(0.2, 1.02))
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("AUC, live against species")
    panels[-1].legend(fontsize="small", loc="lower left")
    figure.supxlabel("ambient light, lux (dashed: the gate at 300 lux; dotted: chance)", fontsize="small")
    figure.suptitle(f"{captures} simulated captures: only the flash may tell live from attack", fontsize="medium")
    return figure


def _draw_species(panel: Any, cells: Sequence[Cell], control: str, attack: str, shift: float) -> None:
    points = [
        (place + shift, cell.auc)
        for place, band in enumerate(BANDS)
        if (cell := find_cell(cells, control, attack, band)).auc is not None
    ]
    rates = [rate for _, rate in points if rate is not None]
    values = [rate.value for rate in rates]
    bars = [[rate.value - rate.low for rate in rates], [rate.high - rate.value for rate in rates]]
    panel.errorbar(
        [x for x, _ in points],
        values,
        bars,
        color=SPECIES_COLOURS[attack],
        marker="o",
        markersize=4,
        capsize=2,
        linewidth=1.4,
        elinewidth=1.0,
        label=attack,
    )
