"""Which pictures an evaluation has, by file name: charts of its numbers and pictures of some of its captures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from training import figure_panels, figures
from training.evaluate import EvaluationResult
from training.figure_panels import Panel
from training.scoring import Scored

GROUP_NAMES = {
    "lux": "ambient light, lux",
    "skin_tone": "skin tone, Monk scale",
    "device": "device",
    "scene": "scene",
    "distance_cm": "distance, cm",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """The captures that charts of scores are drawn of."""

    scored: Scored
    title: str
    """Names the model, the split and whether the data is simulated; belongs on every picture."""

    @property
    def species(self) -> list[str]:
        """The species of each."""
        return list(self.scored.species)


def shown(result: EvaluationResult) -> Shown:
    """Return the captures that the gates accept; where these lack a class, all with a face, and the title says so."""
    origin = "SIMULATED data" if result.data.simulated else "real data"
    title = f"{result.model.kind} {result.model.name}, {result.split} split, {origin}"
    if result.rates is not None:
        return Shown(result.judged, title)
    return Shown(result.scored, f"{title}, captures that the gates refuse included")


def draw_figures(result: EvaluationResult) -> Iterator[tuple[str, Figure]]:
    """Yield name → figure; none when no capture has a score. All pictures of scores hold for `shown(result)`."""
    chosen = shown(result)
    if not chosen.scored.examples:
        return
    yield from _charts(result, chosen)
    panels = panels_of(result, chosen.scored)
    yield "depth", figure_panels.depth_panels(panels, f"Depth maps (as the paper's figure 6): {chosen.title}")
    for panel in panels[::2]:
        title = f"Differences, {panel.caption.splitlines()[0]} (as the paper's figure 3): {chosen.title}"
        yield f"differences_{panel.species}", figure_panels.difference_panel(panel, title)
    features = result.model.features(np.stack([output.depth for output in chosen.scored.outputs]))
    title = f"Species in feature space (as the paper's figure 1b)\n{chosen.title}"
    yield "features", figure_panels.feature_scatter(features, chosen.species, result.model.feature_name, title)


def _charts(result: EvaluationResult, chosen: Shown) -> Iterator[tuple[str, Figure]]:
    threshold, details = result.model.threshold, result.details
    scores, title = chosen.scored.scores, chosen.title
    yield "scores", figures.score_histogram(scores, chosen.species, threshold, f"Scores by species: {title}")
    if len(set(chosen.species)) > 1 and "live" in chosen.species:
        curve = figures.detection_error_tradeoff(scores, chosen.species, threshold, f"DET curves\n{title}")
        yield "det", curve
    if details["apcer_by_instrument"]:
        bars = figures.instrument_bars(details["apcer_by_instrument"], f"Attacks accepted, by instrument: {title}")
        yield "instruments", bars
    for name, groups in details["breakdowns"].items():
        heading = f"By {GROUP_NAMES[name]} (all captures of the group in brackets; pale: under 20)\n{title}"
        yield f"by_{name}", figures.breakdown_bars(groups, GROUP_NAMES[name], heading)
    response = details["flash_response"]
    if response["curve"]:
        heading = f"Flash response of live faces accepted by the gates (dotted: the limit in use)\n{title}"
        yield "response", figures.response_curves(response["curve"], response["rule"], heading)


def panels_of(result: EvaluationResult, scored: Scored) -> list[Panel]:
    """Return of each species the capture with the median score and the worst one, live first."""
    panels = []
    for name in [name for name in figures.SPECIES_COLOURS if name in scored.species]:
        at = np.flatnonzero(np.asarray(scored.species) == name)
        ordered = at[np.argsort(scored.scores[at], kind="stable")]
        worst = ordered[0] if name == "live" else ordered[-1]
        panels.append(_panel(result, scored, int(ordered[(len(ordered) - 1) // 2]), f"{name}, median"))
        panels.append(_panel(result, scored, int(worst), f"{name}, worst"))
    return panels


def _panel(result: EvaluationResult, scored: Scored, position: int, caption: str) -> Panel:
    example = scored.examples[position]
    aligned, label = result.dataset.arrays(result.dataset.examples.index(example))
    text = f"{caption}\nscore {scored.scores[position]:.3f}"
    return Panel(text, example.record.species, aligned, label, scored.outputs[position].depth)
