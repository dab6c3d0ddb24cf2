"""The HTML page about one live session, for engineers: what was shown, what was filmed, and what became of every frame.

The session's own part comes from a `LiveTrace`; what the model made of the frames is shown by the very section that
`sdk_reference.report` has for any capture. One file, nothing fetched, everything escaped. The layout is
`live_report_template.html`, the charts are laid out by `sdk_reference.live_charts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sdk_reference.atomic_files import write_atomically
from sdk_reference.checker import CheckResult
from sdk_reference.live_charts import channel_chart, flash_axis, hex_of, lag_chart, state_bar, timeline
from sdk_reference.live_trace import LiveTrace
from sdk_reference.report import NOTHING, page_of, page_values

TEMPLATE_NAME: Final = "live_report_template.html"
TITLE: Final = "Flashproof: live session"
CHART_HEIGHT: Final = 120.0
LEAST_GAIN_SPAN: Final = 0.2
"""Drift of a per cent is drawn as the nearly straight line that it is."""

WORD_OF_REASON: Final = {
    "before_first_step": "before the first step",
    "after_last_step": "after the last step",
    "settling": "the step had not settled",
    "transition": "saw more than one colour",
    "not_best": "usable; another frame of its step is sharper",
}
BUDGET_MS: Final = 400.0
"""From the last flash to the verdict."""


def write_live_report(path: Path, trace: LiveTrace, result: CheckResult | None = None, title: str = TITLE) -> Path:
    """Write the page; `result` is None when the session did not come to a check. Raises OutputNotWritable."""
    write_atomically(path, render_live(trace, result, title).encode())
    return path


def render_live(trace: LiveTrace, result: CheckResult | None = None, title: str = TITLE) -> str:
    """Return the page as HTML text."""
    check = None if result is None else page_values([result], ["the check of this session"])
    return page_of(TEMPLATE_NAME, title=title, live=live_values(trace), check=check)


def live_values(trace: LiveTrace) -> dict[str, Any]:
    """Everything that the template calls `live`."""
    axis = flash_axis(trace)
    charts: dict[str, Any] = {"timeline": None, "answer": None, "gains": None}
    if axis is not None:
        gains = channel_chart(trace, axis, lambda frame: frame.gains, height=CHART_HEIGHT, at_least=LEAST_GAIN_SPAN)
        charts = {
            "timeline": timeline(trace, axis),
            "answer": channel_chart(trace, axis, lambda frame: frame.face_linear, height=CHART_HEIGHT, low=0.0),
            "gains": gains,
        }
    return charts | {
        "verdict": trace.verdict,
        "reason": trace.reason,
        "notes": trace.notes,
        "states": state_bar(trace),
        "seconds": _session_seconds(trace),
        "lag": None if trace.lag is None else lag_values(trace),
        "frames": f"{len(trace.frames)} frames, {trace.used} used",
        "dropped": [
            {"code": code, "words": WORD_OF_REASON.get(code, NOTHING), "count": count}
            for code, count in trace.dropped.items()
        ],
        "used": used_rows(trace),
        "corrected": trace.exposure_corrected,
        "safety": None if trace.safety is None else safety_values(trace.safety),
        "timings": [{"part": part, "ms": f"{spent:.1f}"} for part, spent in trace.after_flash_ms.items()],
        "timings_sum": f"{sum(trace.after_flash_ms.values()):.1f}",
        "in_time": sum(trace.after_flash_ms.values()) <= BUDGET_MS,
        "budget": f"{BUDGET_MS:.0f}",
        "facts": facts(trace),
    }


def _session_seconds(trace: LiveTrace) -> str:
    return f"{(trace.states[-1].end_ns - trace.states[0].start_ns) / 1e9:.1f}" if trace.states else NOTHING


def lag_values(trace: LiveTrace) -> dict[str, Any]:
    """The estimate in words, and its curve."""
    lag = trace.lag
    assert lag is not None, "asked for only where there is one"
    return {
        "ms": f"{lag.lag_ns / 1e6:.1f}",
        "uncertainty": f"{lag.uncertainty_ns / 1e6:.1f}",
        "explained": f"{lag.explained:.3f}",
        "plausible": lag.plausible,
        "doubt": lag.doubt,
        "chart": lag_chart(lag),
    }


def used_rows(trace: LiveTrace) -> list[dict[str, Any]]:
    """Per step in order of time: its colour, when it was shown, and which frame was used for it."""
    lag_ns = trace.lag.lag_ns if trace.lag is not None else 0
    begin_ns = trace.steps[0].shown_at_ns if trace.steps else 0
    frame_of = {frame.used_for_rank: (number, frame) for number, frame in enumerate(trace.frames)}
    rows = []
    for place, step in enumerate(trace.steps, start=1):
        number, frame = frame_of.get(step.rank, (None, None))
        into_ms = None if frame is None else (frame.timestamp_ns - lag_ns - step.shown_at_ns) / 1e6
        rows.append(
            {
                "place": place,
                "rank": step.rank,
                "colour": hex_of(step.srgb),
                "shown": f"{(step.shown_at_ns - begin_ns) / 1e6:.0f}",
                "lasted": f"{(step.ended_at_ns - step.shown_at_ns) / 1e6:.0f}",
                "frame": NOTHING if number is None else number,
                "into": NOTHING if into_ms is None else f"{into_ms:.0f}",
                "face": NOTHING if frame is None or frame.face_linear is None else _triple(frame.face_linear),
                "gains": NOTHING if frame is None or frame.gains is None else _triple(frame.gains),
            }
        )
    return rows


def _triple(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def safety_values(safety: dict[str, Any]) -> dict[str, Any]:
    """The analysis of what was really presented."""
    names = {
        "general": "general flashes (WCAG 2.3.1)",
        "red": "red flashes (WCAG 2.3.1)",
        "luminance": "flashes by luminance (ITU-R BT.1702)",
    }
    limit = safety["limits"]["flashes_per_second"]
    rows = [
        {"name": words, "found": f"{safety[kind]['flashes']:g}", "limit": f"at most {limit:g} in any second"}
        for kind, words in names.items()
    ]
    train_ms, longest_ms = safety["longest_train_ms"], safety["limits"]["train_ms"]
    rows.append(
        {
            "name": "longest run of two or more flashes a second",
            "found": f"{train_ms / 1000:g} s",
            "limit": f"at most {longest_ms / 1000:g} s",
        }
    )
    return {"ok": safety["ok"], "reasons": safety["reasons"], "rows": rows}


def facts(trace: LiveTrace) -> list[tuple[str, str]]:
    """Challenge, camera and display."""
    rows = [("attempt", str(trace.attempt))]
    plan, camera, display = trace.plan, trace.camera, trace.display
    if plan is not None:
        rows += [
            ("profile", f"{plan.profile}, {plan.entropy_bits:.1f} bits, {plan.duration_ms} ms"),
            ("order of ranks", ", ".join(map(str, plan.time_order()))),
            ("nonce", plan.nonce or "none: a fixed plan proves nothing about when it was filmed"),
            ("plan hash", plan.canonical_hash()),
        ]
    if camera is not None:
        held = {True: "locked", False: "automatic"}
        rows += [
            ("camera", f"{camera.name}, {camera.width} × {camera.height}, {camera.frame_rate_hz:.1f} frames a second"),
            ("exposure", f"at most {camera.exposure_ns / 1e6:.1f} ms, {held[camera.exposure_locked]}"),
            ("white balance", held[camera.balance_locked]),
        ]
    if display is not None:
        screens = "" if display.screens == 1 else f" (one of {display.screens})"
        rows += [
            ("display", f"{display.width} × {display.height} at {display.refresh_hz:.0f} Hz{screens}"),
            ("brightness", display.brightness),
        ]
    return rows
