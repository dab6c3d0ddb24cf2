"""The tables of an evaluation beside its headline: instruments, refusals, no gates, another threshold, verdicts.

All of them hold at the model's own threshold but `at_bpcer`, whose threshold is chosen on the split itself: it
describes the curve there and is no operating point that anybody could have fixed beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from training import metrics
from training.counted import count
from training.errors import ClassMissing
from training.metrics import ErrorRates, Rate
from training.outcomes import Outcome, of_species, species_in

BPCER_LIMIT = 0.01
BOOTSTRAP_SEED = 0  # the same scores give the same intervals
VERDICTS = ("live", "spoof", "retry")
RATE_KEYS = ("eer", "hter", "threshold", "apcer", "apcer_max", "bpcer", "refused", "counts")


def rates_of(outcomes: Sequence[Outcome], threshold: float) -> ErrorRates | None:
    """Return the rates of the captures that were judged; None when a class has none left."""
    scores = np.array([outcome.score or 0.0 for outcome in outcomes])
    refused = [not outcome.judged for outcome in outcomes]
    return _rates(outcomes, scores, threshold, refused)


def rates_without_gates(outcomes: Sequence[Outcome], threshold: float) -> ErrorRates | None:
    """Return the rates of all captures with an aligned face, whatever the quality limits say; None as above."""
    scores = np.array([outcome.score or 0.0 for outcome in outcomes])
    return _rates(outcomes, scores, threshold, [outcome.score is None for outcome in outcomes])


def _rates(
    outcomes: Sequence[Outcome], scores: np.ndarray[Any, np.dtype[np.float64]], threshold: float, gone: list[bool]
) -> ErrorRates | None:
    species = [outcome.species for outcome in outcomes]
    people = [outcome.record.subject for outcome in outcomes]
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    try:
        return metrics.error_rates(scores, species, threshold, rng, gone, people)
    except ClassMissing:  # the split has both classes; the gates have left one
        return None


def rates_dict(rates: ErrorRates | None, outcomes: Sequence[Outcome], threshold: float) -> dict[str, Any]:
    """Return DESIGN's keys; where a class is missing, the rates are null and the counts stand all the same."""
    if rates is not None:
        return rates.to_dict()
    judged = Counter(outcome.species for outcome in outcomes if outcome.judged)
    refused = Counter(outcome.species for outcome in outcomes if not outcome.judged)
    counts = {"refused": dict(sorted(refused.items())), "counts": dict(sorted(judged.items()))}
    return {**dict.fromkeys(RATE_KEYS), "threshold": threshold, "apcer": {}, **counts}


def instruments(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Return per instrument of attack its species and how many of its judged captures were accepted as live."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not outcome.is_live:
            groups.setdefault(outcome.label("instrument"), []).append(outcome)
    ordered = sorted(groups.items(), key=lambda item: (item[1][0].species, item[0]))
    return {
        name: {"species": members[0].species, **count(o.accepted for o in members if o.judged).to_dict()}
        for name, members in ordered
    }


def refusals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how many captures nobody should judge: by reason, by species, and of live people by scene."""
    refused = [outcome for outcome in outcomes if not outcome.judged]
    by_reason: dict[str, dict[str, int]] = {}
    for outcome in refused:
        by_reason.setdefault(str(outcome.refusal), Counter())[outcome.species] += 1
    live = of_species(outcomes, "live")
    return {
        "all": count(not outcome.judged for outcome in outcomes).to_dict(),
        "by_reason": {code: dict(sorted(found.items())) for code, found in sorted(by_reason.items())},
        "by_species": {
            species: count(not o.judged for o in of_species(outcomes, species)).to_dict()
            for species in species_in(outcomes)
        },
        "bona_fide_by_scene": {
            scene: count(not o.judged for o in live if o.label("scene") == scene).to_dict()
            for scene in sorted({outcome.label("scene") for outcome in live})
        },
    }


def at_bpcer(outcomes: Sequence[Outcome], limit: float = BPCER_LIMIT) -> dict[str, Any] | None:
    """Return the rates at the highest threshold with BPCER ≤ `limit` on this split; None when a class is missing."""
    judged = [outcome for outcome in outcomes if outcome.judged]
    scores, species = np.array([outcome.score for outcome in judged], np.float64), [o.species for o in judged]
    live = np.array([outcome.is_live for outcome in judged], bool)
    if live.all() or not live.any():
        return None
    threshold = metrics.threshold_at_bpcer(scores, live, limit)
    apcer = metrics.apcer(scores, species, threshold)
    return {
        "limit": limit,
        "chosen_on": "the evaluated split itself: this only describes the curve",
        "threshold": threshold,
        "bpcer": metrics.bpcer(scores, live, threshold).to_dict(),
        "apcer": _dicts(apcer),
        "apcer_max": metrics.apcer_max(apcer).to_dict(),
    }


def verdicts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what a phone says, per species: the share of each verdict, and how often each reason was given."""
    return {species: _verdicts(of_species(outcomes, species)) for species in species_in(outcomes)}


def _verdicts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    reasons = Counter(code for outcome in outcomes for code in outcome.reasons)
    shares = {verdict: count(o.verdict == verdict for o in outcomes).to_dict() for verdict in VERDICTS}
    not_live = count(outcome.verdict != "live" for outcome in outcomes).to_dict()
    return {**shares, "not_live": not_live, "reasons": dict(sorted(reasons.items()))}


def _dicts(rates: dict[str, Rate]) -> dict[str, Any]:
    return {name: rate.to_dict() for name, rate in rates.items()}
