"""FlashPlayer: says which colour must be on the screen at any moment. Section 4 of the paper, made testable.

It neither draws nor sleeps nor owns a clock: a display loop asks it for the colour of the moment, a test walks time.
All times are nanoseconds of the one clock passed in, which should be monotonic, and the camera's own if possible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from flash_sequencer.errors import PlayerError
from flash_sequencer.palette import Srgb
from flash_sequencer.plan import FlashPlan

__all__ = ["DARK_SURROUND", "FlashPlayer", "PlayerError", "PresentedStep"]

NS_PER_MS = 1_000_000
DARK_SURROUND: Srgb = (32, 32, 32)  # the grey of a dark user interface


@dataclass(frozen=True)
class PresentedStep:
    """One step as it was shown, from `shown_at_ns` (inclusive) to `ended_at_ns` (exclusive)."""

    rank: int
    srgb: Srgb
    """8-bit sRGB, 0 to 255."""
    shown_at_ns: int
    ended_at_ns: int


class FlashPlayer:
    """Plays a plan once against `clock_ns`; before and after it the colour is `surround`."""

    def __init__(self, plan: FlashPlan, clock_ns: Callable[[], int], surround: Srgb = DARK_SURROUND) -> None:
        self.plan = plan
        self._clock_ns = clock_ns
        self._surround = surround
        self._started_at_ns: int | None = None
        # End of each step after the start, in ns
        self._ends_ns = list(accumulate(step.duration_ms * NS_PER_MS for step in plan.steps))
        self._reported_ns: dict[int, int] = {}

    def start(self) -> None:
        """Show the first step from now on. Raises PlayerError the second time: a plan is shown once."""
        if self._started_at_ns is not None:
            raise PlayerError("found a player that was started before; expected a new one per presentation; make one")
        self._started_at_ns = self._clock_ns()

    def step_at(self, t_ns: int) -> int | None:
        """Index in time order of the step due at `t_ns`; None before the start, without one, and after the end."""
        if self._started_at_ns is None or t_ns < self._started_at_ns or self.finished(t_ns):
            return None
        return bisect_right(self._ends_ns, t_ns - self._started_at_ns)

    def colour_at(self, t_ns: int) -> Srgb:
        """8-bit sRGB due at `t_ns`."""
        index = self.step_at(t_ns)
        return self._surround if index is None else self.plan.steps[index].srgb

    def colour_now(self) -> Srgb:
        """8-bit sRGB due now."""
        return self.colour_at(self._clock_ns())

    def finished(self, t_ns: int) -> bool:
        """Whether the last step is over at `t_ns`."""
        return self._started_at_ns is not None and t_ns >= self._started_at_ns + self._ends_ns[-1]

    def report_shown(self, index: int, at_ns: int) -> None:
        """Tell when step `index` really appeared, if the display knows; the first report of a step counts."""
        if not 0 <= index < len(self.plan.steps):
            raise PlayerError(
                f"found step {index}; expected 0 to {len(self.plan.steps) - 1}; report steps in time order"
            )
        self._reported_ns.setdefault(index, at_ns)

    def presented(self) -> tuple[PresentedStep, ...]:
        """The steps as shown, in time order: at the reported times where there are any, else at the due times.

        A step ends when the next appears; the last one at its due time. Raises PlayerError until the plan is over.
        """
        if self._started_at_ns is None or not self.finished(self._clock_ns()):
            raise PlayerError(
                "found a presentation that is not over; expected to be asked after it; wait for finished()"
            )
        due_ns = [self._started_at_ns, *(self._started_at_ns + end_ns for end_ns in self._ends_ns)]
        times_ns = [self._reported_ns.get(index, at_ns) for index, at_ns in enumerate(due_ns)]
        return tuple(
            PresentedStep(step.rank, step.srgb, times_ns[index], times_ns[index + 1])
            for index, step in enumerate(self.plan.steps)
        )
