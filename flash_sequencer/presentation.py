"""Presentation: the log of what was really on the screen, and its flash analysis. Not in the paper.

A plan says what should be shown; a window is late, or drops a frame. What the eye and the camera saw is this log, so
the photosensitivity limits are held against it, and a simulated camera is lit by it. Times are nanoseconds of the clock
that also stamps the camera's frames.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flash_sequencer.errors import PlayerError
from flash_sequencer.palette import BLACK, WHITE, Srgb
from flash_sequencer.safety import SafetyReport, analyse

__all__ = ["Presentation"]

NS_PER_MS = 1_000_000


class Presentation:
    """Colours in the order in which they filled the screen, each until the next; grows while the session runs."""

    def __init__(self) -> None:
        self._colours: list[Srgb] = []
        self._times_ns: list[int] = []

    def record(self, srgb: Srgb, at_ns: int) -> None:
        """Note that `srgb` (8-bit sRGB, 0 to 255) was on the screen from `at_ns` on; a repeated colour adds nothing.

        Raises PlayerError when time goes back.
        """
        if self._times_ns and at_ns < self._times_ns[-1]:
            found = f"found a colour shown {self._times_ns[-1] - at_ns} ns before the one before it"
            raise PlayerError(f"{found}; expected times that never go back; use one monotonic clock")
        if not self._colours or self._colours[-1] != srgb:
            self._colours.append(srgb)
            self._times_ns.append(at_ns)

    @property
    def entries(self) -> tuple[tuple[Srgb, int], ...]:
        """(8-bit sRGB, shown from, ns) in time order; neighbours differ."""
        return tuple(zip(self._colours, self._times_ns, strict=True))

    def colour_at(self, t_ns: int) -> Srgb:
        """8-bit sRGB on the screen at `t_ns`; before the first entry the first colour. PlayerError for an empty log."""
        if not self._colours:
            raise PlayerError("found an empty log; expected a colour on the screen; record the first before asking")
        return self._colours[max(bisect_right(self._times_ns, t_ns) - 1, 0)]

    def sequence(self, until_ns: int) -> list[tuple[Srgb, int]]:
        """(8-bit sRGB, whole ms) from the first entry to `until_ns`, as `safety.analyse` takes it.

        Times are cut to whole ms, so two changes at least n ms apart stay so; a colour shown for less than one is given
        one, so that no change is lost. Entries from `until_ns` on are left out; PlayerError when none is left.
        """
        shown = [(colour, at_ns) for colour, at_ns in self.entries if at_ns < until_ns]
        if not shown:
            raise PlayerError(f"found nothing shown before {until_ns} ns; expected a colour; record what is shown")
        starts_ms: list[int] = []
        for _, at_ns in [*shown, (BLACK, until_ns)]:
            earliest_ms = starts_ms[-1] + 1 if starts_ms else at_ns // NS_PER_MS
            starts_ms.append(max(at_ns // NS_PER_MS, earliest_ms))
        durations_ms = [after - start for start, after in pairwise(starts_ms)]
        return [(colour, duration_ms) for (colour, _), duration_ms in zip(shown, durations_ms, strict=True)]

    def safety(self, until_ns: int, surrounds: Sequence[Srgb] = (BLACK, WHITE)) -> SafetyReport:
        """The photosensitivity analysis of what was shown up to `until_ns`, late and dropped display frames included.

        `surrounds`: what may have been on the screen before the first entry and after the last.
        """
        return analyse(self.sequence(until_ns), surrounds=surrounds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `entries`, each with `srgb` and `at_ns`."""
        return {"entries": [{"srgb": list(colour), "at_ns": at_ns} for colour, at_ns in self.entries]}
