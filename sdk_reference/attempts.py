"""Attempts are limited, and each costs a pause that grows: guessing a challenge must not be a matter of patience.

Not in the paper. A plan of five standard colours is one of 2,400; a spoof that may try as often as it likes would meet
its recording's plan some day. What an attempt costs depends on how it ended, in quarters of an attempt:

    spoof                                   4   the face was judged, and it was not live
    nothing (a crash, a kill, an error)     4   counted when the attempt begins, so that stopping it saves nothing
    retry: `IN_FULL`                        4   somebody else came before the camera
    retry: `DURING_THE_FLASH`               2   moved, light changed, a step missed: mostly honest, and mostly the
                                                 challenge was seen
    retry: `SURROUNDINGS`                   1   no face, too far, too bright, timed out: mostly before the flash, when
                                                 nothing was learnt about the challenge
    live                                    0   and all is forgiven

The code of the reason decides, not the moment: a window closed during the flash costs a quarter. A retry with several
reasons costs what its dearest one does; a reason that is not known costs a full attempt. The pause after an attempt is
first · growth^(used − 1), `used` being what all attempts so far cost, at most `longest_pause_s`: with the defaults 2,
4, 8, 16 s after spoofs, and 1.2 s after the first retry for want of light.

Without a `path` the count lives in memory; with one it goes on when the app is started again
(`sdk_reference.attempts_file`), an attempt that was killed counting in full. Of the pause what is left is then told by
the system's clock: set back, it makes the whole pause begin again, once; set forward, it shortens the pause, which only
a server can prevent (docs/records.md), but never the count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from sdk_reference.attempts_file import AttemptsFile
from sdk_reference.decide import Verdict
from sdk_reference.errors import (
    AttemptsUsedUp,
    Cancelled,
    FaceChanged,
    FaceCutOff,
    FaceLeft,
    FaceOffCentre,
    FaceTooLarge,
    FaceTooSmall,
    FaceTurned,
    FaceUnsteady,
    FlashNotSeen,
    FlashTooWeak,
    LightChanged,
    Moved,
    NoFace,
    Overexposed,
    PictureTurned,
    ScreenNotFull,
    SeveralFaces,
    StepMissed,
    TimedOut,
)

QUARTERS: Final = 4
"""Of an attempt: what a spoof costs."""
DURING_THE_FLASH: Final = frozenset(
    kind.code for kind in (Moved, LightChanged, StepMissed, FlashNotSeen, ScreenNotFull, FaceLeft)
)
SURROUNDINGS: Final = frozenset(
    kind.code
    for kind in (
        *(NoFace, SeveralFaces, FaceCutOff, FaceTooSmall, FaceTooLarge, FaceOffCentre, FaceTurned, FaceUnsteady),
        *(PictureTurned, FlashTooWeak, Overexposed, TimedOut, Cancelled),
    )
)
IN_FULL: Final = frozenset(kind.code for kind in (FaceChanged, AttemptsUsedUp))
"""AttemptsUsedUp is no attempt's reason: none begins."""
COST_OF_REASON: Final = {
    **dict.fromkeys(SURROUNDINGS, 1),
    **dict.fromkeys(DURING_THE_FLASH, 2),
    **dict.fromkeys(IN_FULL, QUARTERS),
}

LIMIT: Final = 5
MAX_LIMIT: Final = 100
FIRST_PAUSE_S: Final = 2.0
GROWTH: Final = 2.0
MAX_GROWTH: Final = 10.0
LONGEST_PAUSE_S: Final = 60.0
NS_PER_S: Final = 1_000_000_000


class Attempts:
    """Counts the attempts of one person's session and says when the next may begin."""

    def __init__(
        self,
        clock_ns: Callable[[], int],
        *,
        limit: int = LIMIT,
        first_pause_s: float = FIRST_PAUSE_S,
        growth: float = GROWTH,
        longest_pause_s: float = LONGEST_PAUSE_S,
        path: str | Path | None = None,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """`clock_ns` is monotonic; should it jump back all the same, the pause begins again. Raises ValueError.

        `path`: the file that keeps the count, by `clock_s` (seconds since 1970); None: in memory. One that cannot be
        written, is damaged or in use raises OutputNotWritable, here and in `begin` and `end`: no count, no attempt.
        """
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"found limit {limit!r}; expected 1 to {MAX_LIMIT}")
        if not 0 <= first_pause_s <= longest_pause_s < math.inf or not 1 <= growth <= MAX_GROWTH:
            found = f"found first_pause_s {first_pause_s!r}, longest_pause_s {longest_pause_s!r}, growth {growth!r}"
            raise ValueError(f"{found}; expected 0 ≤ first ≤ longest, finite, and growth from 1 to {MAX_GROWTH:g}")
        self._clock_ns = clock_ns
        self._limit = limit * QUARTERS
        self._first_pause_s, self._growth, self._longest_pause_s = first_pause_s, growth, longest_pause_s
        self._used = 0  # quarters, a running attempt in full
        self._running = False
        self._number = 0
        self._pause_ns = 0
        self._pause_from_ns = 0
        self._latest_ns: int | None = None
        self._file = None if path is None else AttemptsFile(path, clock_s)
        if self._file is not None:
            self._go_on(self._file)

    @property
    def number(self) -> int:
        """How many attempts have begun; during one, its number from 1."""
        return self._number

    @property
    def used_up(self) -> bool:
        """Whether there will be no further attempt. No more than `limit` can ever end as a spoof."""
        return self._used >= self._limit

    def may_start(self) -> bool:
        """Whether `begin` may be called now."""
        return not self.used_up and not self._running and self.pause_left_s() == 0

    def pause_left_s(self) -> float:
        """Seconds until the next attempt may begin; 0 when it may, infinity when none is left."""
        if self.used_up:
            return math.inf
        now_ns = self._now_ns()  # which may start the pause again
        left_ns = self._pause_from_ns + self._pause_ns - now_ns
        return max(left_ns, 0) / NS_PER_S

    def require_left(self) -> None:
        """Raise AttemptsUsedUp when none is left."""
        if self.used_up:
            raise AttemptsUsedUp(
                found=f"{self._number} attempts that used up all {self._limit // QUARTERS}",
                expected="fewer",
                remedy="start over with whoever asked you for this check",
            )

    def begin(self) -> int:
        """Begin an attempt and return its number, from 1. It counts in full until `end` says how it ended.

        Raises AttemptsUsedUp when none is left, ValueError when the pause is not over or an attempt is still running.
        """
        self.require_left()
        if not self.may_start():
            state = "an attempt that still runs" if self._running else f"{self.pause_left_s():.1f} s of pause left"
            raise ValueError(f"found {state}; expected none; ask may_start() first")
        self._keep(self._used + QUARTERS, self._number + 1)
        self._running = True
        self._number += 1
        self._used += QUARTERS
        self._start_pause()
        return self._number

    def end(self, verdict: Verdict, reasons: Collection[str] = ()) -> None:
        """Say how the attempt ended, with the codes of its reasons. Raises ValueError when none is running."""
        if not self._running:
            raise ValueError("found no attempt that runs; expected one; call begin() first")
        self._running = False
        used = 0 if verdict == "live" else self._used - QUARTERS + cost(verdict, reasons)
        self._keep(used, self._number)  # where that fails, the attempt goes on counting in full
        self._used = used
        self._start_pause()

    def close(self) -> None:
        """Close the file, if there is one; nothing may be begun afterwards."""
        if self._file is not None:
            self._file.close()

    def _keep(self, used: int, number: int) -> None:
        if self._file is not None:
            self._file.write(used, number)

    def _go_on(self, file: AttemptsFile) -> None:
        """Take up the count and what is left of the pause."""
        try:
            spent = file.read()
            self._used, self._number = spent.used, spent.number
            self._start_pause()
            gone_s = file.now_s() - spent.paused_at_s
            if gone_s < 0:  # the clock was set back: how much of the pause has really passed is unknown
                file.write(spent.used, spent.number)
            self._pause_from_ns -= round(min(max(gone_s, 0.0), self._longest_pause_s) * NS_PER_S)
        except BaseException:
            file.close()
            raise

    def _start_pause(self) -> None:
        exponent = self._used / QUARTERS - 1
        pause_s = min(self._first_pause_s * self._growth**exponent, self._longest_pause_s) if self._used else 0.0
        self._pause_ns = math.ceil(pause_s * NS_PER_S)
        self._pause_from_ns = self._now_ns()

    def _now_ns(self) -> int:
        now_ns = self._clock_ns()
        if self._latest_ns is not None and now_ns < self._latest_ns:
            self._pause_from_ns = now_ns  # how much of the pause has really passed is unknown: all of it again
        self._latest_ns = now_ns
        return now_ns


def cost(verdict: Verdict, reasons: Collection[str] = ()) -> int:
    """What an attempt that ended so costs, in quarters of an attempt."""
    if verdict == "live":
        return 0
    if verdict != "retry" or not reasons:
        return QUARTERS
    return max(COST_OF_REASON.get(reason, QUARTERS) for reason in reasons)
