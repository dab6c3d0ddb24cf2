"""Charts of an evaluation: how the scores spread, which errors trade for which, and for whom they are made.

Drawn by matplotlib's Agg, so that no screen is needed. Every picture of simulated data says so in its title; a species
has one colour everywhere. `training.figure_panels` draws the pictures of captures.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sdk_reference.atomic_files import write_atomically

SPECIES_COLOURS = {"live": "#1b7837", "print": "#d6604d", "replay": "#4393c3", "mask": "#9970ab"}
SPECIES_MARKERS = {"live": "o", "print": "s", "replay": "^", "mask": "D"}
ROW_COLOURS = ("#08306b", "#2171b5", "#e6750a", "#9e9e9e", "#bdbdbd")
NEUTRAL = "#5a6570"
BINS = np.linspace(0.0, 1.0, 41)
DPI = 150
LOWEST_RATE = 1e-3  # a logarithmic axis has no zero
WIDTH = 10.0  # inches, of a figure as wide as the page
LETTERS_PER_INCH = 11  # of a title
FEW_ALPHA = 0.35  # groups too small to prove anything are drawn pale
TICK_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of so many inches; a title too long for it is broken into lines."""
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, round(width * LETTERS_PER_INCH))]
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    return figure


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    write_atomically(path, png_of(figure))


def tidy(axes: Axes) -> None:
    """Take away the lines that frame nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def score_histogram(scores: npt.NDArray[np.float64], species: list[str], threshold: float, title: str) -> Figure:
    """Draw the scores (n,) 0..1, a row per species; counts on a logarithmic axis, so that the few wrong ones show."""
    names = np.asarray(species)
    there = [name for name in SPECIES_COLOURS if (names == name).any()]
    figure = new_figure(WIDTH, 1.25 * len(there) + 1.1, title)
    rows = figure.subplots(len(there), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(rows, there, strict=True):
        chosen = scores[names == name]
        axes.hist(chosen.tolist(), BINS.tolist(), color=SPECIES_COLOURS[name], log=True)
        axes.axvline(threshold, color="black", linestyle=":")
        axes.set(ylim=(0.7, max(2.0, 2 * len(chosen))), xlim=(0, 1))
        axes.set_ylabel(f"{name}\n({len(chosen)})", rotation=0, ha="right", va="center", fontsize=10)
        tidy(axes)
    rows[-1].set_xlabel(
        f"score: probability of live by the model; dotted: threshold {threshold:.3f}, live from there on"
    )
    return figure


def detection_error_tradeoff(
    scores: npt.NDArray[np.float64], species: list[str], threshold: float, title: str
) -> Figure:
    """Draw the share of live refused against the share of each attack accepted, over all thresholds."""
    figure = new_figure(6.6, 6.0, title)
    axes = figure.subplots()
    names = np.asarray(species)
    thresholds = np.unique(np.concatenate([scores, [0.0, threshold, np.nextafter(1.0, 2.0)]]))
    refused = rate_below(scores[names == "live"], thresholds)
    at = int(np.searchsorted(thresholds, threshold))
    for name, colour in SPECIES_COLOURS.items():
        chosen = scores[names == name]
        if name != "live" and chosen.size:
            accepted = 1.0 - rate_below(chosen, thresholds)
            shown = (np.maximum(accepted, LOWEST_RATE), np.maximum(refused, LOWEST_RATE))
            axes.step(*shown, where="post", color=colour, label=f"{name} ({chosen.size})", linewidth=1.8)
            axes.plot(shown[0][at], shown[1][at], SPECIES_MARKERS[name], color=colour, markersize=8, clip_on=False)
    limits = (LOWEST_RATE, 1.0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    labels = [f"{rate:.1%}" if rate < 0.01 else f"{rate:.0%}" for rate in TICK_RATES]
    labels[0] = "≤" + labels[0]
    axes.set_xticks(TICK_RATES, labels)
    axes.set_yticks(TICK_RATES, labels)
    axes.minorticks_off()
    axes.set(xlabel="attacks accepted (APCER)", ylabel="live faces rejected (BPCER)")
    axes.grid(alpha=0.3)
    tidy(axes)
    axes.legend(fontsize=9, title="mark: the threshold", title_fontsize=9)
    return figure


def rate_below(scores: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (m,) the share of scores (n,) that lie below each threshold (m,)."""
    return np.searchsorted(np.sort(scores), thresholds, side="left") / max(scores.size, 1)


def breakdown_bars(groups: Sequence[dict[str, Any]], name: str, title: str) -> Figure:
    """Draw `training.breakdown` of one grouping: live people refused by the gates, BPCER, APCER per species."""
    attacks = [species for species in SPECIES_COLOURS if species in groups[0]["apcer"]]
    figure = new_figure(WIDTH, 0.62 * len(groups) + 1.7, title)
    panels = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(groups), dtype=float)
    draw_cells(panels[0], places, [group["bona_fide_refused"] for group in groups], NEUTRAL, 0.6)
    draw_cells(panels[1], places, [group["bpcer"] for group in groups], SPECIES_COLOURS["live"], 0.6)
    thick = 0.8 / max(len(attacks), 1)
    for number, species in enumerate(attacks):
        shifted = places + (number - (len(attacks) - 1) / 2) * thick
        cells = [group["apcer"][species] for group in groups]
        draw_cells(panels[2], shifted, cells, SPECIES_COLOURS[species], 0.85 * thick, species)
    for axes, heading in zip(panels, ("live faces refused by the gates", "BPCER", "APCER"), strict=True):
        finish_bars(axes, heading)
    panels[0].set_yticks(places, [f"{group['group']}  ({group['captures']})" for group in groups], parse_math=False)
    panels[0].set_ylabel(name)
    panels[0].invert_yaxis()
    if attacks:
        panels[2].legend(fontsize=9, loc="lower right")
    return figure


def instrument_bars(instruments: dict[str, dict[str, Any]], title: str) -> Figure:
    """Draw the share of each instrument's attacks that were accepted, in the colour of its species."""
    figure = new_figure(WIDTH, 0.34 * len(instruments) + 1.4, title)
    axes = figure.subplots()
    for place, cell in enumerate(instruments.values()):
        draw_cells(axes, np.array([float(place)]), [cell], SPECIES_COLOURS[cell["species"]], 0.65)
    names = [f"{name}  ({cell['trials']})" for name, cell in instruments.items()]
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    finish_bars(axes, "APCER: attacks accepted as live")
    return figure


def draw_cells(
    axes: Axes,
    places: npt.NDArray[np.float64],
    cells: Iterable[dict[str, Any]],
    colour: str,
    thick: float,
    label: str | None = None,
) -> None:
    """Draw one horizontal bar with its interval per cell (a `training.counted.Counted` as JSON values)."""
    for number, (place, cell) in enumerate(zip(places, cells, strict=True)):
        alpha = FEW_ALPHA if cell["few"] else 1.0
        if label is not None and number == 0:
            axes.barh(place, 0.0, thick, color=colour, label=label)
        if cell["value"] is None:
            axes.text(0.01, place, "no captures", fontsize=7, va="center", color=NEUTRAL)
            continue
        axes.barh(place, cell["value"], thick, color=colour, alpha=alpha)
        whisker = [[cell["value"] - cell["low"]], [cell["high"] - cell["value"]]]
        axes.errorbar(cell["value"], place, xerr=whisker, color="black", alpha=alpha, capsize=2.5, linewidth=1.1)
        axes.plot(cell["value"], place, "o", color=colour, markersize=4, markeredgecolor="black", alpha=alpha)


def finish_bars(axes: Axes, heading: str) -> None:
    """Put percent on the axis, and a heading."""
    axes.set_title(heading, fontsize=10)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.3)
    tidy(axes)


def response_curves(curve: Sequence[dict[str, Any]], rule: dict[str, Any], title: str) -> Figure:
    """Draw `flash_response.curve`: right plans passed and wrong ones caught over the cosine limit, per answer."""
    answers = list(dict.fromkeys(point["answer"] for point in curve))
    figure = new_figure(WIDTH, 4.6, title)
    panels = figure.subplots(1, len(answers), sharey=True, squeeze=False)[0]
    for axes, answer in zip(panels, answers, strict=True):
        for rows, colour in enumerate(ROW_COLOURS[:4]):
            points = [p for p in curve if (p["answer"], p["max_disagreeing"]) == (answer, rows)]
            limits = [point["cosine_limit"] for point in points]
            passes, caught = ([point[key] for point in points] for key in ("right_passes", "wrong_caught"))
            axes.plot(limits, passes, "-", color=colour, label=f"{rows}: right plans passed")
            axes.plot(limits, caught, "--", color=colour, label=f"{rows}: wrong plans caught")
        if answer == rule["answer"]:
            axes.axvline(rule["cosine_limit"], color="black", linestyle=":", linewidth=1)
        axes.set_title(RESPONSE_NAMES[answer], fontsize=10)
        axes.set(xlabel="cosine limit", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        tidy(axes)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    panels[0].legend(fontsize=7.5, title="rows that may disagree", title_fontsize=8)
    return figure


RESPONSE_NAMES = {
    "head": "the model's response head",
    "measured": "measured on the frames",
    "both": "both, either one refuses",
}
