"""Lays out the charts of a live session's page: numbers in, places on a drawing out; `live_report_template.html` draws.

Everything is drawn on the screen's clock: a frame is shifted back by the lag, so that it stands under the colour whose
light it gathered. Milliseconds count from the first step of the flash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sdk_reference.live_trace import LiveTrace, TracedLag

WIDTH: Final = 1040.0
LEFT: Final = 76.0
RIGHT: Final = 24.0
MARGIN_NS: Final = 150_000_000
"""Shown before the first step and after the last."""

LANES: Final = 3
"""Frames take turns, so that those that follow closely can be told apart."""

TICKS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
MOST_TICKS: Final = 12
LAG_TICKS: Final = 6
STATE_COLOURS: Final = 8  # classes of the template
CHANNELS: Final = ("r", "g", "b")
NS_PER_MS: Final = 1e6


class TimeAxis:
    """Places on the drawing of times of the screen's clock."""

    def __init__(self, begin_ns: int, end_ns: int, zero_ns: int) -> None:
        self.begin_ns, self.end_ns, self.zero_ns = begin_ns, max(end_ns, begin_ns + 1), zero_ns

    def x(self, at_ns: int) -> float:
        """Place of a time, cut to the drawing."""
        share = (at_ns - self.begin_ns) / (self.end_ns - self.begin_ns)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def holds(self, begin_ns: int, end_ns: int) -> bool:
        """Whether any of this stretch is on the drawing."""
        return end_ns > self.begin_ns and begin_ns < self.end_ns

    def ticks(self) -> list[dict[str, Any]]:
        """Round milliseconds, at most MOST_TICKS."""
        low, high = ((side - self.zero_ns) / NS_PER_MS for side in (self.begin_ns, self.end_ns))
        values = round_ms(low, high, MOST_TICKS)
        return [{"x": self.x(self.zero_ns + round(value * NS_PER_MS)), "text": f"{value:.0f}"} for value in values]


def round_ms(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, evenly spaced, about `most` at most."""
    step = next((tick for tick in TICKS if (high - low) / tick <= most), TICKS[-1])
    first = -(-low // step) * step
    return [first + step * place for place in range(int((high - first) // step) + 1)]


def flash_axis(trace: LiveTrace) -> TimeAxis | None:
    """The axis of the flash; None when nothing was flashed."""
    if not trace.steps:
        return None
    begin_ns, end_ns = trace.steps[0].shown_at_ns, trace.steps[-1].ended_at_ns
    return TimeAxis(begin_ns - MARGIN_NS, end_ns + MARGIN_NS, begin_ns)


def timeline(trace: LiveTrace, axis: TimeAxis) -> dict[str, Any]:
    """Shown colours, the settling part of each step, and the exposures beneath."""
    return {
        "ticks": axis.ticks(),
        "colours": _colours(trace, axis),
        "steps": [_step(step.rank, step.shown_at_ns, step.ended_at_ns, trace, axis) for step in trace.steps],
        "frames": _frames(trace, axis),
        "left": LEFT,
        "right": WIDTH - RIGHT,
    }


def _colours(trace: LiveTrace, axis: TimeAxis) -> list[dict[str, Any]]:
    ends = [shown.at_ns for shown in trace.presented[1:]] + [axis.end_ns]
    return [
        {"x": axis.x(shown.at_ns), "width": _width(axis, shown.at_ns, end), "colour": hex_of(shown.srgb)}
        for shown, end in zip(trace.presented, ends, strict=True)
        if axis.holds(shown.at_ns, end)
    ]


def _step(rank: int, begin_ns: int, end_ns: int, trace: LiveTrace, axis: TimeAxis) -> dict[str, Any]:
    settled_ns = min(begin_ns + trace.settling_ns, end_ns)
    middle = (axis.x(begin_ns) + axis.x(end_ns)) / 2
    return {
        "rank": rank,
        "x": axis.x(begin_ns),
        "end": axis.x(end_ns),
        "settling": _width(axis, begin_ns, settled_ns),
        "middle": round(middle, 1),
    }


def _frames(trace: LiveTrace, axis: TimeAxis) -> list[dict[str, Any]]:
    lag_ns = trace.lag.lag_ns if trace.lag is not None else 0
    bars = []
    for number, frame in enumerate(trace.frames):
        begin_ns = frame.timestamp_ns - lag_ns
        end_ns = begin_ns + trace.exposure_ns
        if axis.holds(begin_ns, end_ns):
            said = f"used for rank {frame.used_for_rank}" if frame.used_for_rank is not None else frame.drop_reason
            bars.append(
                {
                    "x": axis.x(begin_ns),
                    "width": _width(axis, begin_ns, end_ns),
                    "lane": number % LANES,
                    "css": "used" if frame.used_for_rank is not None else css_of(frame.drop_reason),
                    "rank": frame.used_for_rank,
                    "title": f"frame {number}, {(begin_ns - axis.zero_ns) / NS_PER_MS:.1f} ms: {said or 'not judged'}",
                }
            )
    return bars


def css_of(reason: str | None) -> str:
    """Class of a dropped frame's bar; reasons that are not known look like any other."""
    known = ("transition", "settling", "not_best", "before_first_step", "after_last_step")
    return f"drop-{reason.replace('_', '-')}" if reason in known and reason is not None else "drop-other"


def _width(axis: TimeAxis, begin_ns: int, end_ns: int) -> float:
    return round(max(axis.x(end_ns) - axis.x(begin_ns), 0.5), 1)


def channel_chart(
    trace: LiveTrace,
    axis: TimeAxis,
    value_of: Callable[[Any], Sequence[float] | None],
    *,
    height: float,
    low: float | None = None,
    at_least: float = 0.0,
) -> dict[str, Any] | None:
    """Red, green and blue of every frame against time; None without values.

    `low` fixes the lower end of the scale; its length is at least `at_least`.
    """
    lag_ns = trace.lag.lag_ns if trace.lag is not None else 0
    times = [frame.timestamp_ns - lag_ns for frame in trace.frames]
    found = [(at_ns, value_of(frame)) for at_ns, frame in zip(times, trace.frames, strict=True)]
    points = [(at_ns, values) for at_ns, values in found if values is not None and axis.holds(at_ns, at_ns + 1)]
    if not points:
        return None
    bottom, top = _scale([value for _, values in points for value in values], low, at_least)
    middle_ns = trace.exposure_ns // 2

    def place(at_ns: int, value: float) -> str:
        return f"{axis.x(at_ns + middle_ns)},{round(height - (value - bottom) / (top - bottom) * height, 1)}"

    lines = [
        {"css": css, "points": " ".join(place(at_ns, values[channel]) for at_ns, values in points)}
        for channel, css in enumerate(CHANNELS)
    ]
    return {"lines": lines, "height": height, "bottom": f"{bottom:.3g}", "top": f"{top:.3g}", "ticks": axis.ticks()}


def _scale(values: Sequence[float], low: float | None, at_least: float) -> tuple[float, float]:
    bottom, top = (min(values) if low is None else low), max(values)
    if top - bottom < at_least:
        middle = (top + bottom) / 2
        bottom, top = (middle - at_least / 2, middle + at_least / 2) if low is None else (low, low + at_least)
    return bottom, top if top > bottom else bottom + 1.0


def lag_chart(lag: TracedLag, *, width: float = 460.0, height: float = 150.0) -> dict[str, Any] | None:
    """Share explained against lag, with the estimate marked; None without a curve."""
    if len(lag.curve) < 2:
        return None
    first, last = lag.curve[0][0], lag.curve[-1][0]
    bottom, top = min(0.0, *(value for _, value in lag.curve)), 1.0

    def x(lag_ns: float) -> float:
        return round(40.0 + min(max((lag_ns - first) / (last - first), 0.0), 1.0) * (width - 56.0), 1)

    def y(value: float) -> float:
        return round(8.0 + (top - value) / (top - bottom) * (height - 8.0), 1)

    ticks = round_ms(first / NS_PER_MS, last / NS_PER_MS, LAG_TICKS)
    return {
        "points": " ".join(f"{x(lag_ns)},{y(value)}" for lag_ns, value in lag.curve),
        "mark": x(lag.lag_ns),
        "mark_y": y(lag.explained),
        "band": x(lag.lag_ns - lag.uncertainty_ns),
        "band_width": round(max(x(lag.lag_ns + lag.uncertainty_ns) - x(lag.lag_ns - lag.uncertainty_ns), 1.0), 1),
        "ticks": [{"x": x(tick * NS_PER_MS), "text": f"{tick:.0f}"} for tick in ticks],
        "width": width,
        "height": height,
        "bottom_text": f"{bottom:.2g}",
    }


def state_bar(trace: LiveTrace) -> list[dict[str, Any]]:
    """The states as parts of one bar: per cent of the session, and seconds."""
    if not trace.states:
        return []
    begin_ns, end_ns = trace.states[0].start_ns, max(trace.states[-1].end_ns, trace.states[0].start_ns + 1)
    return [
        {
            "name": span.name,
            "left": round(100 * (span.start_ns - begin_ns) / (end_ns - begin_ns), 2),
            "width": round(100 * (span.end_ns - span.start_ns) / (end_ns - begin_ns), 2),
            "start": f"{(span.start_ns - begin_ns) / 1e9:.2f}",
            "seconds": f"{(span.end_ns - span.start_ns) / 1e9:.2f}",
            "css": f"state-{place % STATE_COLOURS}",
        }
        for place, span in enumerate(trace.states)
    ]


def hex_of(srgb: Sequence[int]) -> str:
    """8-bit sRGB as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*srgb)
