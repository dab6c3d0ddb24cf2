"""Error rates and refusals by light, skin tone, device, scene and distance: where a model is weak, and for whom.

Not in the paper. Every rate holds at the model's own threshold. Groups of few captures are shown and marked: they prove
nothing either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from training.controls_report import LUX_EDGES, band_name
from training.counted import count
from training.data import UNKNOWN
from training.outcomes import Outcome, species_in

DISTANCE_EDGES_CM = (0.0, 25.0, 35.0, 45.0, 60.0, math.inf)
TONE_EDGES = (0.0, 3.0, 6.0, 10.0)  # Monk scale: 1 to 3, 4 to 6, 7 to 10
TONE_NAMES = ("1-3", "4-6", "7-10")
Grouping = Callable[[Outcome], str]


def band(value: float | None, edges: Sequence[float], names: Sequence[str] = ()) -> str:
    """Return the name of the band that holds `value`: above its lower edge (0 itself included), up to its upper one."""
    if value is None:
        return UNKNOWN
    named = names or [band_name(low, high) for low, high in pairwise(edges)]
    inside = [name for name, high in zip(named, edges[1:], strict=True) if value <= high]
    return inside[0] if inside else band_name(edges[-1], math.inf)


def tone_group(outcome: Outcome) -> str:
    """Return the group of a Monk skin tone; a tone that is a name stands for itself."""
    number = outcome.number("skin_tone")
    return outcome.label("skin_tone") if number is None else band(number, TONE_EDGES, TONE_NAMES)


GROUPINGS: dict[str, Grouping] = {
    "lux": lambda outcome: band(outcome.number("ambient_lux"), LUX_EDGES),
    "skin_tone": tone_group,
    "device": lambda outcome: outcome.label("device"),
    "scene": lambda outcome: outcome.label("scene"),
    "distance_cm": lambda outcome: band(outcome.number("distance_cm"), DISTANCE_EDGES_CM),
}
ORDERS: dict[str, list[str]] = {
    "lux": [band_name(*edges) for edges in pairwise(LUX_EDGES)],
    "skin_tone": list(TONE_NAMES),
    "distance_cm": [band_name(*edges) for edges in pairwise(DISTANCE_EDGES_CM)],
}


def breakdowns(outcomes: Sequence[Outcome]) -> dict[str, list[dict[str, Any]]]:
    """Return per grouping its groups in order; every cell is a `training.counted.Counted` as JSON values."""
    return {name: _groups(outcomes, name, grouping) for name, grouping in GROUPINGS.items()}


def _groups(outcomes: Sequence[Outcome], name: str, grouping: Grouping) -> list[dict[str, Any]]:
    members: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        members.setdefault(grouping(outcome), []).append(outcome)
    order = ORDERS.get(name, [])
    names = sorted(members, key=lambda group: (order.index(group) if group in order else len(order), group))
    attacks = [species for species in species_in(outcomes) if species != "live"]
    return [{"group": group, **_cells(members[group], attacks)} for group in names]


def _cells(outcomes: Sequence[Outcome], attacks: Sequence[str]) -> dict[str, Any]:
    live = [outcome for outcome in outcomes if outcome.is_live]
    judged = [outcome for outcome in outcomes if outcome.judged]
    return {
        "captures": len(outcomes),
        "refused": count(not outcome.judged for outcome in outcomes).to_dict(),
        "bona_fide_refused": count(not outcome.judged for outcome in live).to_dict(),
        "bpcer": count(not outcome.accepted for outcome in judged if outcome.is_live).to_dict(),
        "apcer": {
            species: count(outcome.accepted for outcome in judged if outcome.species == species).to_dict()
            for species in attacks
        },
    }
