"""Pictures of captures in an evaluation: depth maps (the paper's figure 6), differences with their histograms
(figure 3) and how the species lie in the network's features (figure 1b).

What is shown is not picked by hand: of each species the capture with the median score and the worst one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flash_sequencer.colour import srgb8_to_linear
from sdk_reference.align import TEMPLATE
from sdk_reference.differential import differential, differential_rows
from training.figures import SPECIES_COLOURS, SPECIES_MARKERS, WIDTH, new_figure, tidy

SCALE_PERCENTILE = 99.5  # of the absolute differences on the face: what full colour stands for
MIN_SCALE = 1 / 255
HISTOGRAM_BINS = 61
CHANNEL_COLOURS = ("#d62728", "#2ca02c", "#1f77b4")


@dataclass(frozen=True, eq=False)
class Panel:
    """One capture as it is shown."""

    caption: str
    species: str
    aligned: npt.NDArray[np.uint8]
    """(N0,3,256,256) uint8 RGB, by rank."""
    label: npt.NDArray[np.float32]
    """(64,64) 0..1, the depth it should have."""
    depth: npt.NDArray[np.float32]
    """(h,w) 0..1, the depth that was predicted."""


def depth_panels(panels: list[Panel], title: str) -> Figure:
    """Draw one column per capture: brightest frame, the label of its depth, the depth that was predicted."""
    figure = new_figure(WIDTH, 4.3, title)
    axes = figure.subplots(3, len(panels), squeeze=False)
    for column, panel in zip(axes.T, panels, strict=True):
        column[0].imshow(panel.aligned[0].transpose(1, 2, 0))
        column[0].set_title(panel.caption, fontsize=8.5, color=SPECIES_COLOURS[panel.species])
        for place, values in ((column[1], panel.label), (column[2], panel.depth)):
            drawn = place.imshow(values, cmap="viridis", vmin=0.0, vmax=1.0)
        for place in column:
            place.set(xticks=[], yticks=[])
    for place, name in zip(axes[:, 0], ("brightest frame", "depth label", "predicted"), strict=True):
        place.set_ylabel(name, fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.02, pad=0.01)
    bar.set_ticks([0.0, 0.5, 1.0], labels=["0 far", "0.5 flat", "1 near"], fontsize=8)
    return figure


def difference_panel(panel: Panel, title: str) -> Figure:
    """Draw a capture's aligned frames, the differences that D takes of them, and the histogram of each on the face."""
    differences = differential(srgb8_to_linear(panel.aligned).astype(np.float32))
    on_face = differences[:, :, TEMPLATE.face_region()]
    scale = max(float(np.percentile(np.abs(on_face), SCALE_PERCENTILE)), MIN_SCALE)
    pairs = differential_rows(len(panel.aligned))
    figure = new_figure(
        WIDTH, 5.3, f"{title}\nfull colour in the differences: ±{scale:.3f} of linear light, grey: none"
    )
    axes = figure.subplots(3, max(len(pairs), len(panel.aligned)), squeeze=False)
    for place in axes.ravel():
        place.set_axis_off()
    for rank, frame in enumerate(panel.aligned):
        _picture(axes[0, rank], frame.transpose(1, 2, 0), f"rank {rank}")
    for row, (taken, subtracted) in enumerate(pairs):
        shown = 0.5 + 0.5 * np.clip(differences[row].transpose(1, 2, 0) / scale, -1, 1)
        _picture(axes[1, row], shown, f"{taken} − {subtracted}")
        _histogram(axes[2, row], on_face[row], scale)
    axes[2, 0].set_ylabel("pixels of the face", fontsize=8)
    return figure


def _picture(axes: Axes, picture: npt.NDArray[Any], heading: str) -> None:
    axes.set_axis_on()
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.set_title(heading, fontsize=8.5)


def _histogram(axes: Axes, values: npt.NDArray[np.float32], scale: float) -> None:
    """Draw how the differences (3, pixels) of one row spread, per channel."""
    axes.set_axis_on()
    edges = np.linspace(-scale, scale, HISTOGRAM_BINS).tolist()
    for channel, colour in zip(values, CHANNEL_COLOURS, strict=True):
        axes.hist(np.clip(channel, -scale, scale).tolist(), edges, histtype="step", color=colour, linewidth=1)
    axes.axvline(0.0, color="black", linewidth=0.6)
    axes.set(yticks=[], xlim=(-scale, scale))
    axes.set_xticks([-scale, 0.0, scale], [f"−{scale:.2f}", "0", f"+{scale:.2f}"])
    tidy(axes)
    axes.tick_params(labelsize=7)


def feature_scatter(features: npt.NDArray[np.float32], species: list[str], what: str, title: str) -> Figure:
    """Draw (n,F) features of n captures on their two strongest principal components."""
    places, shares = principal_components(features)
    figure = new_figure(7.6, 6.2, title)
    axes = figure.subplots()
    names = np.asarray(species)
    for name, colour in SPECIES_COLOURS.items():
        chosen = places[names == name]
        if len(chosen):
            look: dict[str, Any] = {
                "s": 18,
                "c": colour,
                "marker": SPECIES_MARKERS[name],
                "alpha": 0.65,
                "linewidths": 0,
            }
            axes.scatter(chosen[:, 0], chosen[:, 1], label=f"{name} ({len(chosen)})", **look)
    axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance) of\n{what}")
    axes.set_ylabel(f"second ({shares[1]:.0%})")
    axes.legend(fontsize=9)
    tidy(axes)
    return figure


def principal_components(
    features: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (n,2) coordinates on the two directions of most variance, and their shares (2,) of it; zeros of none."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    two = np.zeros((len(features), 2))
    two[:, : min(2, len(strengths))] = (left * strengths)[:, :2]
    variance = np.zeros(2)
    variance[: min(2, len(strengths))] = strengths[:2] ** 2
    return two, variance / max(float((strengths**2).sum()), 1e-30)
