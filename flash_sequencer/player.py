"""FlashPlayer: says which colour must be on the screen at any moment. Section 4 of the paper, made testable.

It neither draws nor sleeps nor owns a clock: a display loop asks it for the colour of the moment and reports when each
step was really seen; a test walks time. A step is over when it has been *shown* for its duration: a late or dropped
display frame makes a sequence longer, but never brings two changes closer together, which could make a safe plan
unsafe. All times are nanoseconds of the one clock passed in, which should be monotonic, and the camera's own if
possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """Plays a plan once against `clock_ns`; before and after it the colour is `surround`.

    The display must report each step (`report_shown`), or the step never ends. With `ideal_display` every step counts
    as shown the moment it is due, and nothing is reported: for simulated screens that ask `colour_at` at any time.
    """

    def __init__(
        self,
        plan: FlashPlan,
        clock_ns: Callable[[], int],
        surround: Srgb = DARK_SURROUND,
        *,
        ideal_display: bool = False,
    ) -> None:
        self.plan = plan
        self._clock_ns = clock_ns
        self._surround = surround
        self._ideal = ideal_display
        self._durations_ns = [step.duration_ms * NS_PER_MS for step in plan.steps]
        self._due_ns: list[int] = []  # from when on each step is due, then the end; as far as known
        self._shown_ns: list[int] = []
        self._stopped_at_ns: int | None = None

    def start(self) -> None:
        """The first step is due from now on. Raises PlayerError the second time, for a plan is shown once."""
        if self._due_ns or self._stopped_at_ns is not None:
            raise PlayerError("found a player that was started before; expected a new one per presentation; make one")
        self._due_ns.append(self._clock_ns())
        if self._ideal:
            for index in range(len(self.plan.steps)):
                self._note(self._due_ns[index])

    def stop(self) -> None:
        """Abort: from now on nothing is due but the surround. Harmless at any time, and when called again."""
        if self._stopped_at_ns is None:
            self._stopped_at_ns = self._clock_ns()

    @property
    def stopped(self) -> bool:
        """Whether `stop` cut the plan short."""
        return self._stopped_at_ns is not None and not self._played(self._stopped_at_ns)

    def step_at(self, t_ns: int) -> int | None:
        """Index in time order of the step due at `t_ns`; None before the start, without one, and after the end."""
        if not self._due_ns or t_ns < self._due_ns[0] or self.finished(t_ns):
            return None
        return sum(due_ns <= t_ns for due_ns in self._due_ns) - 1

    def colour_at(self, t_ns: int) -> Srgb:
        """8-bit sRGB due at `t_ns`."""
        index = self.step_at(t_ns)
        return self._surround if index is None else self.plan.steps[index].srgb

    def colour_now(self) -> Srgb:
        """8-bit sRGB due now."""
        return self.colour_at(self._clock_ns())

    def finished(self, t_ns: int) -> bool:
        """Whether nothing is due any more at `t_ns`: the last step was shown for its duration, or `stop` was called."""
        return self._played(t_ns) or (self._stopped_at_ns is not None and t_ns >= self._stopped_at_ns)

    def change_due_ns(self) -> int | None:
        """When the step that was last reported, or the first, is over: the next change. None before the start."""
        return self._due_ns[-1] if self._due_ns else None

    def report_shown(self, index: int, at_ns: int) -> None:
        """Tell when step `index` really appeared; its end follows from that. Only the first report of a step counts.

        Raises PlayerError when the step is none of the plan's, comes out of turn or before it was due.
        """
        if self._ideal or not 0 <= index < len(self.plan.steps):
            expected = "none, the display being ideal" if self._ideal else f"0 to {len(self.plan.steps) - 1}"
            raise PlayerError(f"found a report of step {index}; expected {expected}; report steps in time order")
        if index < len(self._shown_ns):
            return
        if index >= len(self._due_ns) or at_ns < self._due_ns[index]:
            found = f"found step {index} shown at {at_ns} ns, before it was due"
            raise PlayerError(f"{found}; expected each step after the one before it; show what step_at says")
        self._note(at_ns)

    def presented(self) -> tuple[PresentedStep, ...]:
        """The steps as shown, in time order; after `stop` those shown until then.

        A step ends when the next appears; the last one once it was shown for its duration, or at the stop, although
        the screen may have held it a little longer. Raises PlayerError until the plan is over.
        """
        if not self.finished(self._clock_ns()):
            raise PlayerError(
                "found a presentation that is not over; expected to be asked after it; wait for finished()"
            )
        ended_ns, shown_ns = self._due_ns[-1:], self._shown_ns
        if self._stopped_at_ns is not None and self.stopped:
            ended_ns, shown_ns = [self._stopped_at_ns], [at_ns for at_ns in shown_ns if at_ns < self._stopped_at_ns]
        times_ns = [*shown_ns, *ended_ns]
        spans = zip(self.plan.steps, times_ns, times_ns[1:], strict=False)
        return tuple(PresentedStep(step.rank, step.srgb, start, end) for step, start, end in spans)

    def _note(self, at_ns: int) -> None:
        self._due_ns.append(at_ns + self._durations_ns[len(self._shown_ns)])
        self._shown_ns.append(at_ns)

    def _played(self, t_ns: int) -> bool:
        return len(self._due_ns) > len(self.plan.steps) and t_ns >= self._due_ns[-1]
