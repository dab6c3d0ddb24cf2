"""Pictures of an evaluation: how the scores spread, which errors trade for which, and what the depth head draws.

Drawn by matplotlib's Agg, so that no screen is needed. Every picture of simulated data says so in its title.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sdk_reference.atomic_files import writing_to

SPECIES_COLOURS = {"live": "#1b7837", "print": "#d6604d", "replay": "#4393c3", "mask": "#9970ab"}
BINS = np.linspace(0.0, 1.0, 41)
DPI = 110
LOWEST_RATE = 1e-3  # a logarithmic axis has no zero


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=DPI)


def score_histogram(scores: npt.NDArray[np.float64], species: list[str], threshold: float, title: str) -> Figure:
    """Draw the scores (n,) 0..1 of each species; counts on a logarithmic axis, so that the few wrong ones show."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    names = np.asarray(species)
    for name, colour in SPECIES_COLOURS.items():
        chosen = scores[names == name]
        if chosen.size:
            axes.hist(
                chosen.tolist(),
                BINS.tolist(),
                histtype="step",
                color=colour,
                linewidth=1.6,
                label=f"{name} ({chosen.size})",
            )
    axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="score: probability of live", ylabel="captures", yscale="log", title=title)
    axes.legend(fontsize="small")
    return figure


def detection_error_tradeoff(
    scores: npt.NDArray[np.float64], species: list[str], threshold: float, title: str
) -> Figure:
    """Draw the share of live refused against the share of each attack accepted, over all thresholds."""
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.subplots()
    names = np.asarray(species)
    thresholds = np.unique(np.concatenate([scores, [0.0, threshold, np.nextafter(1.0, 2.0)]]))
    refused = rate_below(scores[names == "live"], thresholds)
    for name, colour in SPECIES_COLOURS.items():
        chosen = scores[names == name]
        if name != "live" and chosen.size:
            accepted = 1.0 - rate_below(chosen, thresholds)
            shown = (np.maximum(accepted, LOWEST_RATE), np.maximum(refused, LOWEST_RATE))
            axes.step(*shown, where="post", color=colour, label=name)
            at = int(np.searchsorted(thresholds, threshold))
            axes.plot(shown[0][at], shown[1][at], "o", color=colour, markersize=5)
    limits = (LOWEST_RATE, 1.0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, title=title)
    axes.set(xlabel="attacks accepted (APCER)", ylabel="live refused (BPCER)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def rate_below(scores: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (m,) the share of scores (n,) that lie below each threshold (m,)."""
    return np.searchsorted(np.sort(scores), thresholds, side="left") / max(scores.size, 1)


def depth_panels(panels: list[dict[str, Any]], title: str) -> Figure:
    """Draw one column per capture: brightest frame, the label of its depth, the depth that was predicted.

    Each panel holds `frame` (H,W,3) uint8, `label` and `depth` (s,s) 0..1, `caption`.
    """
    figure = Figure(figsize=(1.7 * len(panels) + 0.5, 5.6), layout="constrained")
    axes = figure.subplots(3, len(panels), squeeze=False)
    for column, panel in zip(axes.T, panels, strict=True):
        column[0].imshow(panel["frame"])
        column[0].set_title(panel["caption"], fontsize="small")
        for place, name in ((column[1], "label"), (column[2], "depth")):
            place.imshow(panel[name], cmap="viridis", vmin=0.0, vmax=1.0)
        for place in column:
            place.set(xticks=[], yticks=[])
    for place, name in zip(axes[:, 0], ("rank 0", "depth label", "predicted depth"), strict=True):
        place.set_ylabel(name, fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure
