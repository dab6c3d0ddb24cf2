"""A share together with the counts it comes from: the form of every cell in the tables of an evaluation.

A cell without captures has no rate, and one of few proves nothing; both say so instead of showing a bare 0 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from training.metrics import Rate, share

FEWEST = 20  # captures; below, even no error at all leaves up to 17 % possible


@dataclass(frozen=True)
class Counted:
    """`events` of `trials` captures."""

    events: int
    trials: int

    @property
    def rate(self) -> Rate | None:
        """The share with its exact interval; None of no captures."""
        return share(self.events, self.trials) if self.trials else None

    @property
    def few(self) -> bool:
        """Whether there are too few captures to prove anything."""
        return self.trials < FEWEST

    def to_dict(self) -> dict[str, Any]:
        """`value`, `low`, `high` (null of no captures), `events`, `trials`, `few`."""
        rate = {"value": None, "low": None, "high": None} if self.rate is None else self.rate.to_dict()
        return {**rate, "events": self.events, "trials": self.trials, "few": self.few}


def count(happened: Iterable[bool]) -> Counted:
    """Count how often something happened."""
    outcomes = list(happened)
    return Counted(sum(outcomes), len(outcomes))
