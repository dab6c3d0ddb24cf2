"""How far a training has come, and how fast it learns there."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Course:
    """So many steps, or so many minutes where a machine is lent by the clock."""

    steps: int
    minutes: float | None = None
    """Instead of steps."""

    def done(self, steps: int, seconds: float) -> float:
        """Share 0..1 of the training that lies behind after so many steps, which took so long."""
        share = steps / self.steps if self.minutes is None else seconds / (60.0 * self.minutes)
        return min(share, 1.0)


def one_cycle(done: float, warm_up: float) -> float:
    """Share of the highest learning rate, `done` 0..1 through a training: up a cosine from 4 %, then down one to 0."""
    if done < warm_up:
        return 0.04 + 0.96 * (1.0 - cos(pi * done / warm_up)) / 2.0
    return (1.0 + cos(pi * (done - warm_up) / (1.0 - warm_up))) / 2.0
