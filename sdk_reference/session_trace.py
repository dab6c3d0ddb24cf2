"""What one attempt of a session leaves for the engineer: a `LiveTrace`, made of the film and of how it was judged."""

from __future__ import annotations

from sdk_reference.frame_choice import FrameChoice
from sdk_reference.live_trace import LiveTrace, Shown, TracedFrame, TracedLag
from sdk_reference.rig import Rig
from sdk_reference.session import Attempt

AROUND_NS = 2_000_000_000
"""Before the first step: what the screen showed from then on is part of the picture."""
NS_PER_MS = 1e6


def trace_of(attempt: Attempt, rig: Rig) -> LiveTrace:
    """Return the trace, as far as the attempt came."""
    decision, take, choice = attempt.result.decision, attempt.take, attempt.choice
    begin_ns = take.presented[0].shown_at_ns - AROUND_NS if take is not None else attempt.states[0].start_ns
    end_ns = attempt.states[-1].end_ns
    return LiveTrace(
        verdict=decision.verdict,
        reason=decision.reasons[0].code if decision.reasons else None,
        states=attempt.states,
        presented=tuple(Shown(srgb, at_ns) for srgb, at_ns in rig.presentation.entries if begin_ns <= at_ns <= end_ns),
        steps=take.presented if take is not None else (),
        frames=_frames(attempt),
        exposure_ns=rig.exposure_ns,
        settling_ns=choice.settling_ns if choice is not None else 0,
        lag=None if choice is None else _lag(choice),
        exposure_corrected=choice is not None and choice.factors is not None,
        safety=attempt.safety.to_dict(),
        camera=rig.camera_info,
        display=rig.display_info,
        plan=None if take is None else take.plan,
        attempt=attempt.number,
        after_flash_ms=after_flash_ms(attempt),
    )


def after_flash_ms(attempt: Attempt) -> dict[str, float]:
    """Milliseconds from the last flash to the verdict, by part; empty when there was no flash.

    Matching begins with a wait: the last step's light is still under way. What `deciding` does besides the check
    (showing that it does, comparing faces) is its `rest`.
    """
    if attempt.take is None:
        return {}
    spans = {name: spent_ns / NS_PER_MS for name, spent_ns in attempt.durations_ns.items()}
    parts = {"matching": spans["matching"]} if "matching" in spans else {}
    parts |= attempt.result.decision.timings_ms
    if "deciding" in spans:
        parts["rest"] = max(spans["deciding"] - sum(attempt.result.decision.timings_ms.values()), 0.0)
    return parts


def _frames(attempt: Attempt) -> tuple[TracedFrame, ...]:
    take, choice = attempt.take, attempt.choice
    if take is None:
        return ()
    if choice is None:
        return tuple(TracedFrame(frame.timestamp_ns) for frame in take.frames)
    rank_of = {index: rank for rank, index in enumerate(choice.matching.frame_index_by_rank)}
    reason_of = {index: reason.value for index, reason in choice.matching.dropped}
    return tuple(
        TracedFrame(
            timestamp_ns=frame.timestamp_ns,
            face_linear=_triple(choice.face_linear[index]),
            used_for_rank=rank_of.get(index),
            drop_reason=reason_of.get(index),
            gains=_triple(choice.drift[index]),
        )
        for index, frame in enumerate(take.frames)
    )


def _lag(choice: FrameChoice) -> TracedLag:
    lag = choice.lag
    return TracedLag(
        lag_ns=lag.lag_ns,
        uncertainty_ns=lag.uncertainty_ns,
        explained=lag.explained,
        plausible=lag.plausible,
        doubt=None if lag.doubt is None else lag.doubt.value,
        curve=lag.curve,
    )


def _triple(values: object) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]
    return red, green, blue
