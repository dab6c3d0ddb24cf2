"""Which camera frame saw which step. The paper takes it for granted; on real devices D means nothing without it.

A frame is usable when its whole exposure saw one colour. Light of a step shown from s to e reaches the camera, on the
camera's clock, from s + lag to e + lag; the first `settling_ns` of it are left out (pixels still turning, auto-exposure
still moving). A frame is exposed from its timestamp t to t + exposure. A camera that stamps the end of exposure is
served by a `lag_ns` that is larger by the exposure. Of several usable frames the one most central in its step is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from flash_sequencer.errors import MatchingError
from flash_sequencer.player import PresentedStep

__all__ = ["DropReason", "Matching", "MatchingError", "match"]


class DropReason(str, Enum):
    """Why a frame is not used."""

    BEFORE_FIRST_STEP = "before_first_step"
    """Its exposure began before the first step's light arrived."""
    AFTER_LAST_STEP = "after_last_step"
    """Its exposure ended after the last step's light had gone."""
    SETTLING = "settling"
    """It saw one step only, but began while the step was still settling."""
    TRANSITION = "transition"
    """Its exposure saw more than one colour."""
    LESS_CENTRAL = "less_central"
    """It is usable, but another frame lies nearer to the middle of the same step."""


@dataclass(frozen=True)
class Matching:
    """One frame per step."""

    frame_index_by_rank: tuple[int, ...]
    """For each rank the index of its frame in the list of timestamps."""
    dropped: tuple[tuple[int, DropReason], ...]
    """All other frames, in order, with the reason."""


@dataclass(frozen=True)
class _Window:
    """When a step's light reached the camera, on the camera's clock."""

    rank: int
    begins_ns: int
    settled_ns: int
    ends_ns: int

    def distance_from_centre(self, start_ns: int, end_ns: int) -> int:
        """Twice the distance between the middles, to stay in whole numbers."""
        return abs((start_ns + end_ns) - (self.settled_ns + self.ends_ns))


def match(
    presented: Sequence[PresentedStep],
    frame_timestamps_ns: Sequence[int],
    *,
    exposure_ns: int,
    lag_ns: int,
    settling_ns: int,
) -> Matching:
    """Choose one frame for every presented step.

    `presented` in time order; `frame_timestamps_ns` strictly rising starts of exposure; `lag_ns` may be negative.
    Raises MatchingError when a step gets no frame, or the steps or times make no sense.
    """
    _check(presented, frame_timestamps_ns, exposure_ns, settling_ns)
    windows = [
        _Window(s.rank, s.shown_at_ns + lag_ns, s.shown_at_ns + lag_ns + settling_ns, s.ended_at_ns + lag_ns)
        for s in presented
    ]
    judged = [_judge(start_ns, start_ns + exposure_ns, windows) for start_ns in frame_timestamps_ns]
    chosen = _most_central(judged, frame_timestamps_ns, exposure_ns)
    missing = sorted({window.rank for window in windows} - set(chosen))
    if missing:
        counts = ", ".join(f"{judged.count(reason)} {reason.value}" for reason in DropReason if reason in judged)
        raise MatchingError(
            f"found no frame for the steps of rank {missing} ({len(judged)} frames: {counts or 'none dropped'}); "
            "expected an exposure wholly within each step; use longer steps, a shorter exposure, or the true lag"
        )
    dropped = tuple(
        (index, verdict if isinstance(verdict, DropReason) else DropReason.LESS_CENTRAL)
        for index, verdict in enumerate(judged)
        if index not in chosen.values()
    )
    return Matching(tuple(chosen[rank] for rank in range(len(windows))), dropped)


def _judge(start_ns: int, end_ns: int, windows: Sequence[_Window]) -> _Window | DropReason:
    """The step that the exposure saw, or why it cannot be used."""
    if start_ns < windows[0].begins_ns:
        return DropReason.BEFORE_FIRST_STEP
    if end_ns > windows[-1].ends_ns:
        return DropReason.AFTER_LAST_STEP
    for window in windows:
        if window.begins_ns <= start_ns and end_ns <= window.ends_ns:
            return window if start_ns >= window.settled_ns else DropReason.SETTLING
    return DropReason.TRANSITION


def _most_central(judged: Sequence[_Window | DropReason], starts_ns: Sequence[int], exposure_ns: int) -> dict[int, int]:
    """Rank → index of the usable frame nearest to the middle of its settled step; of two as near, the later."""
    best: dict[int, tuple[int, int]] = {}
    for index, (window, start_ns) in enumerate(zip(judged, starts_ns, strict=True)):
        if isinstance(window, _Window):
            distance = window.distance_from_centre(start_ns, start_ns + exposure_ns)
            if window.rank not in best or distance <= best[window.rank][0]:
                best[window.rank] = (distance, index)
    return {rank: index for rank, (_, index) in best.items()}


def _check(presented: Sequence[PresentedStep], starts_ns: Sequence[int], exposure_ns: int, settling_ns: int) -> None:
    if exposure_ns <= 0 or settling_ns < 0:
        found = f"found exposure {exposure_ns} ns and settling {settling_ns} ns"
        raise MatchingError(f"{found}; expected a positive and a non-negative time; ask the camera for its exposure")
    if not presented or sorted(step.rank for step in presented) != list(range(len(presented))):
        found = f"found presented ranks {[step.rank for step in presented]}"
        raise MatchingError(f"{found}; expected each rank of the plan once; pass FlashPlayer.presented()")
    if any(step.ended_at_ns <= step.shown_at_ns for step in presented) or any(
        later.shown_at_ns < earlier.ended_at_ns for earlier, later in pairwise(presented)
    ):
        raise MatchingError("found steps that overlap or last no time; expected time order; check the reported times")
    if any(later <= earlier for earlier, later in pairwise(starts_ns)):
        raise MatchingError("found frame timestamps that do not rise; expected the camera's monotonic clock; use that")
