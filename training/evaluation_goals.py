"""What an evaluation must reach: the paper's two figures on captures that a phone accepts, and nothing without light.

A goal whose value is met but whose interval reaches beyond the limit is met on these captures and not yet proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.controls_report import Goal
from training.counted import Counted, count
from training.metrics import ErrorRates, Rate
from training.outcomes import Outcome, of_species

PAPER_EER, PAPER_HTER = 0.0101, 0.0129  # table 2 of the paper
SCREEN_OFF_NOT_LIVE = 0.99  # of live people whose screen shows nothing: `retry` or `spoof`


def evaluation_goals(
    rates: ErrorRates | None, at_bpcer: dict[str, Any] | None, outcomes: Sequence[Outcome], screen_off: bool
) -> list[Goal]:
    """Return the goals that this data can tell about; with the screen off, no rate says anything about a model."""
    if screen_off:
        live = count(outcome.verdict != "live" for outcome in of_species(outcomes, "live"))
        return [_not_live(live)]
    eer, hter = (None, None) if rates is None else (rates.eer, rates.hter)
    worst = None if at_bpcer is None else Rate(**at_bpcer["apcer_max"])
    return [
        goal("EER, captures accepted by the gates", eer, "at most", PAPER_EER),
        goal("HTER, captures accepted by the gates", hter, "at most", PAPER_HTER),
        goal("APCER of the worst species where BPCER is 1 %", worst, "reported", None),
    ]


def goal(name: str, rate: Rate | None, relation: str, limit: float | None) -> Goal:
    """Hold a rate against a limit; without either, nothing is met or missed."""
    if rate is None:
        return Goal(name, None, None, None, relation, limit, None)
    ok = None if limit is None else rate.value <= limit if relation == "at most" else rate.value >= limit
    return Goal(name, rate.value, rate.low, rate.high, relation, limit, ok)


def _not_live(found: Counted) -> Goal:
    return goal("screen off, live people called retry or spoof", found.rate, "at least", SCREEN_OFF_NOT_LIVE)
