"""Films a capture: every frame that a camera would have taken while its plan was shown, lag, settling and all.

The camera integrates: a frame whose exposure saw two colours, or a colour that was still rising, shows a mixture. So a
wrong choice of frame is seen in the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flash_sequencer.player import FlashPlayer, PresentedStep
from sdk_reference.capture import Capture, Labels
from sdk_reference.recording import Recording, save_recording

MS = 1_000_000
BEFORE_NS = 120 * MS
PERIOD_NS, EXPOSURE_NS, LAG_NS, SETTLING_NS = 50 * MS, 20 * MS, 63 * MS, 90 * MS


def presented_steps(capture: Capture) -> tuple[PresentedStep, ...]:
    """The plan as shown from BEFORE_NS on."""
    now = BEFORE_NS
    player = FlashPlayer(capture.plan, lambda: now, ideal_display=True)
    player.start()
    now += capture.plan.duration_ms * MS
    return player.presented()


def tiny_recording(capture: Capture, *, labels: Labels | None = None, **changes: Any) -> Recording:
    """The log that belongs to `film`; `changes` replace its fields."""
    steps = presented_steps(capture)
    times = tuple(range(0, steps[-1].ended_at_ns + LAG_NS + 2 * PERIOD_NS, PERIOD_NS))
    log = Recording(capture.plan, steps, times, EXPOSURE_NS, LAG_NS, SETTLING_NS, labels or capture.labels)
    return replace(log, **changes)


def film(capture: Capture, times: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The frame of each time: the mean, over its exposure, of what the light showed."""
    steps = presented_steps(capture)
    for start in times:
        moments = start + (np.arange(8) + 0.5) / 8 * EXPOSURE_NS - LAG_NS
        shares = np.array([_light(capture, steps, moment) for moment in moments]).mean(axis=0)
        mixed = np.tensordot(shares, capture.frames.astype(np.float64), axes=1)
        yield np.rint(mixed).astype(np.uint8)


def _light(capture: Capture, steps: tuple[PresentedStep, ...], moment: float) -> np.ndarray:
    """(N0,) share of each rank's picture; half of the darkest before and after."""
    shares = np.zeros(capture.n0)
    for step in steps:
        if step.shown_at_ns <= moment < step.ended_at_ns:
            risen = min((moment - step.shown_at_ns) / SETTLING_NS, 1.0)
            shares[step.rank] += 0.5 + 0.5 * risen
            return shares
    shares[-1] = 0.5
    return shares


def write_recording(
    folder: Path, capture: Capture, *, labels: Labels | None = None, video: str = "frames"
) -> Recording:
    """Film a capture into a folder; returns its log."""
    log = tiny_recording(capture, labels=labels, video=video)
    save_recording(log, folder, film(capture, log.frame_timestamps_ns))
    return log
