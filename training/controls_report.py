"""What the controls say: the AUC of live against each species by ambient light, and which goals are met. Not in the
paper. `training.controls_tables` draws it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.instruments import SPECIES
from training.auc import auc_within_folds
from training.controls_data import Scene
from training.controls_model import LIVE, Scores
from training.metrics import Rate

REPORT_FORMAT, REPORT_VERSION = "flashproof-controls-report", 1
ATTACKS = tuple(name for name in SPECIES if name != LIVE)
LUX_EDGES = (0.0, 10.0, 30.0, 100.0, 300.0, 1000.0, math.inf)
GATE_LUX = 300.0  # the "300 lux and below"; an edge of the bands
FEWEST = 8  # captures of each class; below, a band has no AUC

OFF_LIMIT = 0.65
FLASH_GOAL = {"print": 0.97, "replay": 0.97, "mask": 0.90}
SHUFFLED_BELOW = 0.15  # what "far below flash" means here; the issue names no number


@dataclass(frozen=True)
class Cell:
    """The AUC of live against one species, of one control, in one range of ambient light."""

    control: str
    species: str
    lux: str
    """Name of the range."""
    accepted_only: bool
    """Whether only captures count that pass the quality limits."""
    live: int
    attacks: int
    auc: Rate | None
    """None when there are too few captures."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `auc` is `{"value", "low", "high"}` or null."""
        return asdict(self)


@dataclass(frozen=True)
class Goal:
    """One thing that must hold."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    relation: str
    """`at least` or `at most`."""
    limit: float | None
    ok: bool | None
    """Whether the value keeps the limit; None when it could not be measured."""


def lux_ranges() -> dict[str, tuple[float, float]]:
    """Return name → (above, up to) of every range: all, the gate's, then the bands."""
    bands = {band_name(low, high): (low, high) for low, high in pairwise(LUX_EDGES)}
    return {"all": (0.0, math.inf), "up to 300": (0.0, GATE_LUX), **bands}


def band_name(low: float, high: float) -> str:
    """Return e.g. `30-100`, `0-10` or `above 1000`."""
    return f"above {low:g}" if math.isinf(high) else f"{low:g}-{high:g}"


BANDS = tuple(lux_ranges())[2:]


def in_range(lux: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.bool_]:
    """Return which of (n,) lux lie in a range: above its lower end (0 itself included) and up to its upper one."""
    low, high = lux_ranges()[name]
    return ((lux > low) | (low == 0)) & (lux <= high)


def measure(scenes: Sequence[Scene], scores: Sequence[Scores], seed: int) -> list[Cell]:
    """Return every cell; `scores` are of the usable `scenes`, in their order."""
    lux = np.array([scene.ambient_lux for scene in scenes])
    accepted = np.array([scene.accepted for scene in scenes], bool)
    cells = []
    for one in scores:
        for accepted_only in (False, True):
            for name in lux_ranges():
                chosen = in_range(lux, name) & (accepted | (not accepted_only))
                cells += [_cell(scenes, one, attack, name, chosen, accepted_only, seed) for attack in ATTACKS]
    return cells


def _cell(
    scenes: Sequence[Scene],
    scores: Scores,
    attack: str,
    lux: str,
    chosen: npt.NDArray[np.bool_],
    accepted_only: bool,
    seed: int,
) -> Cell:
    species = np.array([scene.species for scene in scenes])
    subjects = np.array([scene.subject for scene in scenes])
    chosen = chosen & np.isin(species, (LIVE, attack))
    live = species[chosen] == LIVE
    there, attacks = int(live.sum()), int((~live).sum())
    rate = None
    if min(there, attacks) >= FEWEST:
        rng = np.random.default_rng([seed, 3])
        rate = auc_within_folds(scores.live_logit[chosen], live, scores.fold[chosen], subjects[chosen], rng)
    return Cell(scores.control, attack, lux, accepted_only, there, attacks, rate)


def find_cell(cells: Iterable[Cell], control: str, species: str, lux: str, accepted_only: bool = False) -> Cell:
    """Return the one cell of these names."""
    wanted = (control, species, lux, accepted_only)
    return next(cell for cell in cells if (cell.control, cell.species, cell.lux, cell.accepted_only) == wanted)


def goals(cells: Sequence[Cell]) -> list[Goal]:
    """Return what must hold: nothing without the screen's light, nearly all with it, far less when levels are shuffled.

    All captures count, whether the quality limits accept them or not.
    """
    found = []
    for attack in ATTACKS:
        off = find_cell(cells, "screen_off", attack, "all").auc
        found.append(_goal(f"screen off, {attack}, all lux", off, "at most", OFF_LIMIT))
    for attack in ATTACKS:
        flash = find_cell(cells, "flash", attack, "up to 300").auc
        found.append(_goal(f"flash, {attack}, up to 300 lux", flash, "at least", FLASH_GOAL[attack]))
    for attack in ATTACKS:
        flash = find_cell(cells, "flash", attack, "up to 300").auc
        shuffled = find_cell(cells, "shuffled", attack, "up to 300").auc
        # What the screen-off control may reach counts as nothing here, too.
        limit = None if flash is None else max(flash.value - SHUFFLED_BELOW, OFF_LIMIT)
        found.append(_goal(f"shuffled, {attack}, up to 300 lux", shuffled, "at most", limit))
    return found


def _goal(name: str, rate: Rate | None, relation: str, limit: float | None) -> Goal:
    if rate is None or limit is None:
        return Goal(name, None, None, None, relation, limit, None)
    ok = rate.value >= limit if relation == "at least" else rate.value <= limit
    return Goal(name, rate.value, rate.low, rate.high, relation, limit, ok)


def all_met(found: Sequence[Goal]) -> bool:
    """Whether every goal that could be measured is met, and one at least could be."""
    return any(goal.ok for goal in found) and not any(goal.ok is False for goal in found)


def scene_counts(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """Return for every range of lux and every species how many scenes there are, are usable and are accepted."""
    rows = []
    for name in lux_ranges():
        within = in_range(np.array([scene.ambient_lux for scene in scenes]), name)
        for species in SPECIES:
            here = [scene for scene, inside in zip(scenes, within, strict=True) if inside and scene.species == species]
            reasons = Counter(scene.left_out for scene in here if scene.left_out)
            rows.append(
                {
                    "lux": name,
                    "species": species,
                    "made": len(here),
                    "left_out": dict(sorted(reasons.items())),
                    "accepted": sum(scene.accepted for scene in here),
                }
            )
    return rows
