"""Which camera frame saw which step. The paper takes it for granted; on real devices D means nothing without it.

A frame is usable when its whole exposure saw one colour. Light of a step shown from s to e reaches the camera, on the
camera's clock, from s + lag to e + lag; the first `settling_ns` of it are left out (pixels still turning, auto-exposure
still moving). A frame is exposed from its timestamp t to t + exposure. A camera that stamps the end of exposure is
served by a `lag_ns` that is larger by the exposure. Where the lag was estimated (`flash_sequencer.lag`), an exposure is
taken to be longer by its uncertainty at both ends. Of several usable frames the one of the highest quality is taken,
among equals the one most central in its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, pairwise
from math import isfinite

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
    DUPLICATE = "duplicate"
    """Its timestamp is not later than that of every frame before it: a repeated frame, or one out of order."""
    NOT_BEST = "not_best"
    """It is usable, but another frame of the same step is of higher quality, or as good and more central."""


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
    uncertainty_ns: int = 0,
    quality: Sequence[float] | None = None,
) -> Matching:
    """Choose one frame for every presented step.

    `presented` in time order; `frame_timestamps_ns` starts of exposure, of which any that does not rise is dropped;
    `lag_ns` may be negative; `uncertainty_ns`: how far the true lag may lie from it, either way; `quality`: one finite
    number per frame, higher = better (sharper, less motion), or None: only the place in the step counts.
    Raises MatchingError when a step gets no frame, or the steps, times or qualities make no sense.
    """
    _check(presented, exposure_ns, settling_ns, uncertainty_ns)
    quality = _checked_quality(quality, len(frame_timestamps_ns))
    windows = [
        _Window(s.rank, s.shown_at_ns + lag_ns, s.shown_at_ns + lag_ns + settling_ns, s.ended_at_ns + lag_ns)
        for s in presented
    ]
    spans = [(start_ns - uncertainty_ns, start_ns + exposure_ns + uncertainty_ns) for start_ns in frame_timestamps_ns]
    repeated = _repeated(frame_timestamps_ns)
    judged = [
        DropReason.DUPLICATE if repeats else _judge(*span, windows)
        for repeats, span in zip(repeated, spans, strict=True)
    ]
    chosen = _best(judged, spans, quality)
    missing = sorted({window.rank for window in windows} - set(chosen))
    if missing:
        counts = ", ".join(f"{judged.count(reason)} {reason.value}" for reason in DropReason if reason in judged)
        raise MatchingError(
            f"found no frame for the steps of rank {missing} ({len(judged)} frames: {counts or 'none dropped'}); "
            "expected an exposure wholly within each step; use longer steps, a shorter exposure, or the true lag"
        )
    dropped = tuple(
        (index, verdict if isinstance(verdict, DropReason) else DropReason.NOT_BEST)
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


def _repeated(starts_ns: Sequence[int]) -> list[bool]:
    """Per frame: whether a frame before it has the same timestamp or a later one."""
    latest = [None, *accumulate(starts_ns, max)]
    return [before is not None and start_ns <= before for start_ns, before in zip(starts_ns, latest, strict=False)]


def _best(
    judged: Sequence[_Window | DropReason], spans: Sequence[tuple[int, int]], quality: Sequence[float]
) -> dict[int, int]:
    """Rank → index of the best usable frame: by quality, then nearest to the middle of its settled step, then later."""
    best: dict[int, tuple[float, int, int]] = {}
    for index, (window, span) in enumerate(zip(judged, spans, strict=True)):
        if isinstance(window, _Window):
            worth = (quality[index], -window.distance_from_centre(*span), index)
            best[window.rank] = max(worth, best.get(window.rank, worth))
    return {rank: index for rank, (_, _, index) in best.items()}


def _checked_quality(quality: Sequence[float] | None, frames: int) -> Sequence[float]:
    if quality is None:
        return [0.0] * frames
    if len(quality) != frames or not all(map(isfinite, quality)):
        found = f"found {len(quality)} qualities, {sum(map(isfinite, quality))} of them finite"
        raise MatchingError(f"{found}; expected a finite number for each of {frames} frames; leave unusable frames out")
    return quality


def _check(presented: Sequence[PresentedStep], exposure_ns: int, settling_ns: int, uncertainty_ns: int) -> None:
    if exposure_ns <= 0 or settling_ns < 0 or uncertainty_ns < 0:
        found = f"found exposure {exposure_ns} ns, settling {settling_ns} ns and uncertainty {uncertainty_ns} ns"
        raise MatchingError(f"{found}; expected a positive and two non-negative times; ask the camera for its exposure")
    if not presented or sorted(step.rank for step in presented) != list(range(len(presented))):
        found = f"found presented ranks {[step.rank for step in presented]}"
        raise MatchingError(f"{found}; expected each rank of the plan once; pass FlashPlayer.presented()")
    if any(step.ended_at_ns <= step.shown_at_ns for step in presented) or any(
        later.shown_at_ns < earlier.ended_at_ns for earlier, later in pairwise(presented)
    ):
        raise MatchingError("found steps that overlap or last no time; expected time order; check the reported times")
