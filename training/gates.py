"""Quality limits and the flash-response rule, set from the validation split: what a phone should refuse to judge.

The paper judges every capture. A phone that guesses in sunlight turns honest people away and lets attacks through, so
captures that the model cannot judge become `retry`. Which ones those are is measured: along each quality the share of
wrong verdicts is fitted by a curve that may only fall as quality rises (isotonic regression), and the limit is where
that curve comes down to `TOLERATED` times the error of the better half. All together they refuse no more than
`MOST_REFUSED` of the live captures, and none is looser than the limits that the training itself used. Without that
bound a better model would refuse more people: the fewer its errors, the more of what is left counts as hard to judge
(docs/log.md). Live captures weigh as much as attacks, and the
species of attacks alike. All of it happens on validation captures; the test split has no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from sdk_reference.differential import differential_rows
from sdk_reference.quality import Quality, QualityLimits, failures
from sdk_reference.response import COSINE_LIMIT, MAX_DISAGREEING_FRAMES
from training import metrics
from training.response_report import CHOSEN_BY, Held
from training.scoring import Scored

TOLERATED = 1.5
"""Times the error of the better half: beyond, a capture is not judged."""
LEAST_ERROR = 0.02
"""A better half without errors tolerates this share all the same."""
MOST_REFUSED = 0.15
"""Of live captures within the training's own limits, by all limits together: a person turned away is an error, too, and
refusing the next fifth of them bought 0.8 points of EER on the validation split (docs/log.md)."""
FEWEST = 300
"""Captures below which nothing is fitted: the limits stay as they are."""
RIGHT_PASSES = 0.995
"""Share of live captures that the response rule must let pass under their own plan."""
RULE_LIMITS = (0.35, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Cosine limits to choose from."""

ROWS_OF_PAPER = 6

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """One limit and the quality that it bounds."""

    limit: str
    """Field of `QualityLimits`."""
    quality: str
    """Field of `Quality`."""
    least: bool
    """Whether the limit is the least allowed value; else the largest."""

    def goodness(self, qualities: list[Quality]) -> Floats:
        """Return (n,) the quality, turned so that more is better."""
        values = np.array([getattr(quality, self.quality) for quality in qualities], np.float64)
        if self.quality == "exposure_drift":  # a background that gets brighter is lit by the screen
            return np.minimum(values, 0.0)
        return values if self.least else -values

    def as_limit(self, goodness: float) -> float:
        """Return the limit that refuses what is worse than `goodness`."""
        return float(goodness if self.least else -goodness)


GATES = (
    Gate("min_flash_to_ambient", "flash_to_ambient", least=True),
    Gate("min_flash_snr", "flash_snr", least=True),
    Gate("max_motion_px", "motion_px", least=False),
    Gate("max_exposure_drop", "exposure_drift", least=False),
    Gate("max_clipped_fraction", "clipped_fraction", least=False),
)
"""In the order in which they are fitted, each on the captures that those before it leave."""


@dataclass(frozen=True)
class ResponseChoice:
    """A rule for the flash response, and what it did on live captures of the validation split."""

    cosine_limit: float
    max_disagreeing_rows: int
    right_passes: float | None
    """Share of live captures that pass under their own plan."""
    wrong_caught: float | None
    """Share of wrong plans, visible to D, under which they are refused."""

    def to_dict(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class FittedDecision:
    """What decides beside the weights, all of it from the validation split."""

    limits: QualityLimits
    response: ResponseChoice
    judged: Scored
    """The captures that the limits leave, on which the threshold is fixed."""


def fit_decision(scored: Scored, base: QualityLimits, n0: int) -> FittedDecision:
    """Fit limits and rule on all validation captures with an aligned face; `base` are the training's own limits."""
    limits = fit_limits(scored, base)
    response = fit_response_rule(scored, limits, n0, usual_response_rule(n0))
    return FittedDecision(limits, response, scored.chosen(passing(qualities_of(scored), limits)))


def usual_response_rule(n0: int) -> ResponseChoice:
    """The rule of the authors' released code, 2 of 6 rows, which stands where there is nothing to choose from."""
    rows = len(differential_rows(n0))
    return ResponseChoice(COSINE_LIMIT, MAX_DISAGREEING_FRAMES * rows // ROWS_OF_PAPER, None, None)


def fit_limits(scored: Scored, base: QualityLimits) -> QualityLimits:
    """Return limits at least as strict as `base`, from captures with an aligned face, whatever their quality.

    Too few captures, or one class only, leave `base` as it is.
    """
    qualities = qualities_of(scored)
    kept = passing(qualities, base)
    if kept.sum() < FEWEST or not 0 < scored.live[kept].sum() < kept.sum():
        return base
    threshold = metrics.eer(scored.scores[kept], scored.live[kept]).threshold
    wrong = (scored.scores >= threshold) != scored.live
    limits, species = base, np.asarray(scored.species)
    must_stay = (1.0 - MOST_REFUSED) * (scored.live & kept).sum()
    for gate in GATES:
        kept = passing(qualities, limits)
        refusable = 1.0 - must_stay / (scored.live & kept).sum()
        found = _limit(gate.goodness(qualities)[kept], wrong[kept], species[kept], max(refusable, 0.0))
        if found is not None:
            limits = replace(limits, **{gate.limit: gate.as_limit(found)})  # of captures within `limits`: no looser
    return limits


def fit_response_rule(scored: Scored, limits: QualityLimits, n0: int, base: ResponseChoice) -> ResponseChoice:
    """Return the rule that catches most wrong plans while live captures pass under their own; `base` if none does."""
    chosen = scored.live & passing(qualities_of(scored), limits)
    if chosen.sum() < FEWEST // 3:
        return base
    points = Held(scored, (), n0, CHOSEN_BY).points("head", RULE_LIMITS, chosen)
    fitting = [point for point in points if point["right_passes"] >= RIGHT_PASSES]
    if not fitting:
        return base
    best = max(fitting, key=lambda point: (point["wrong_caught"], point["right_passes"]))
    return ResponseChoice(best["cosine_limit"], best["max_disagreeing"], best["right_passes"], best["wrong_caught"])


def passing(qualities: list[Quality], limits: QualityLimits) -> Bools:
    """Return (n,) whether each capture misses no limit."""
    return np.array([not failures(quality, limits) for quality in qualities], bool)


def qualities_of(scored: Scored) -> list[Quality]:
    """Return what was measured on each capture when it was prepared."""
    return [Quality(**_measured(example.record.quality)) for example in scored.examples]


def _measured(quality: Mapping[str, float] | None) -> Mapping[str, float]:
    assert quality is not None, "a capture with an aligned face has been measured"
    return quality


def _limit(goodness: Floats, wrong: Bools, species: npt.NDArray[np.str_], refusable: float) -> float | None:
    """The goodness below which captures are wrong too often, of live ones at most a share; None when they never are."""
    order = np.argsort(goodness, kind="stable")
    ranked, weights = goodness[order], _weights(species)[order]
    fitted = isotonic_regression(wrong[order].astype(np.float64), weights=weights, increasing=False).x
    better = ranked >= np.median(goodness[species == "live"])
    error = float(np.average(wrong[order][better], weights=weights[better]))
    bad = fitted > max(TOLERATED * error, LEAST_ERROR)
    if not bad.any():
        return None
    first_good = int(np.argmin(bad)) if not bad.all() else len(bad) - 1
    most = float(np.quantile(goodness[species == "live"], refusable, method="lower"))
    return min(float(ranked[first_good]), most)


def _weights(species: npt.NDArray[np.str_]) -> Floats:
    """(n,): live weigh one half in all, each species of attack an equal part of the other."""
    names, counts = np.unique(species, return_counts=True)
    attacks = max(len(names) - 1, 1)
    per_capture = {
        str(name): (0.5 if name == "live" else 0.5 / attacks) / number
        for name, number in zip(names, counts, strict=True)
    }
    return np.array([per_capture[str(name)] for name in species], np.float64) * len(species)
