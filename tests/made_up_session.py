"""A live session as it might have been: states, screen, frames, lag and drift, all by formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from flash_sequencer.matching import match
from flash_sequencer.plan import FlashPlan, challenge
from flash_sequencer.player import DARK_SURROUND, FlashPlayer, PresentedStep
from sdk_reference.camera import CameraInfo
from sdk_reference.display import DisplayInfo
from sdk_reference.live_trace import LiveTrace, Shown, StateSpan, TracedFrame, TracedLag

MS, SECOND = 1_000_000, 1_000_000_000
FLASH_NS = 9 * SECOND
PERIOD_NS, EXPOSURE_NS, LAG_NS, SETTLING_NS = 41 * MS, 20 * MS, 63 * MS, 60 * MS


def shown_steps(plan: FlashPlan) -> tuple[PresentedStep, ...]:
    now = FLASH_NS
    player = FlashPlayer(plan, lambda: now, ideal_display=True)
    player.start()
    now += plan.duration_ms * MS
    return player.presented()


def made_up_frames(plan: FlashPlan, steps: tuple[PresentedStep, ...]) -> tuple[TracedFrame, ...]:
    rng = np.random.default_rng(7)
    times = range(FLASH_NS - 100 * MS, steps[-1].ended_at_ns + LAG_NS + 120 * MS, PERIOD_NS)
    stamps = [at_ns + int(rng.integers(-2 * MS, 2 * MS)) for at_ns in times]
    matching = match(steps, stamps, exposure_ns=EXPOSURE_NS, lag_ns=LAG_NS, settling_ns=SETTLING_NS)
    rank_of = {index: rank for rank, index in enumerate(matching.frame_index_by_rank)}
    reason_of = {index: reason.value for index, reason in matching.dropped}
    colours = plan.colours_linear()
    frames = []
    for index, stamp in enumerate(stamps):
        light = np.zeros(3)
        for moment in stamp - LAG_NS + np.linspace(0, EXPOSURE_NS, 9):
            lit = [colours[step.rank] for step in steps if step.shown_at_ns <= moment < step.ended_at_ns]
            light += (lit[0] if lit else np.full(3, 0.014)) / 9
        gains = 1 - 0.03 * np.array([1.0, 0.8, 1.2]) * index / len(stamps) + rng.normal(0, 0.002, 3)
        face = gains * (0.06 + 0.3 * np.array([1.0, 0.7, 0.55]) * light) + rng.normal(0, 0.002, 3)
        red, green, blue = (float(value) for value in face)
        frames.append(
            TracedFrame(
                stamp,
                (red, green, blue),
                rank_of.get(index),
                reason_of.get(index),
                (float(gains[0]), float(gains[1]), float(gains[2])),
            )
        )
    return tuple(frames)


def made_up_trace(**changes: Any) -> LiveTrace:
    plan = challenge("5a" * 16)
    steps = shown_steps(plan)
    spans = {"positioning": 4.2, "lighting": 1.1, "flashing": 2.0, "matching": 0.12, "deciding": 0.21, "result": 3.0}
    edges = FLASH_NS - 5.4 * SECOND + np.cumsum([0, *spans.values()]) * SECOND
    shown = [Shown(DARK_SURROUND, FLASH_NS - SECOND)]
    shown += [Shown(step.srgb, step.shown_at_ns) for step in steps]
    shown.append(Shown(DARK_SURROUND, steps[-1].ended_at_ns))
    lags = np.arange(0, 400, 4)
    curve = tuple((int(lag * MS), float(0.15 + 0.8 * np.exp(-(((lag - 63) / 45) ** 2)))) for lag in lags)
    values: dict[str, Any] = {
        "verdict": "live",
        "states": tuple(
            StateSpan(name, int(begin), int(end)) for name, begin, end in zip(spans, edges, edges[1:], strict=False)
        ),
        "presented": tuple(shown),
        "steps": steps,
        "frames": made_up_frames(plan, steps),
        "exposure_ns": EXPOSURE_NS,
        "settling_ns": SETTLING_NS,
        "lag": TracedLag(LAG_NS, 4 * MS, 0.95, True, curve=curve),
        "exposure_corrected": True,
        "safety": plan.safety.to_dict(),
        "camera": CameraInfo("camera 0 (V4L2)", 640, 480, 29.97, 33_333_333, True, False),
        "display": DisplayInfo(1920, 1080, 60.0, 2, "raised from 40 to 100 %"),
        "plan": plan,
        "after_flash_ms": {"last frame arrives": 71.0, "lag and matching": 24.5, "landmarks": 60.2, "model": 31.0},
    }
    return LiveTrace(**{**values, **changes})
