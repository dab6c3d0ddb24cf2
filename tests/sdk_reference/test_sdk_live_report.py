"""The page of a live session shows each frame under the colour that lit it, says what is missing, fetches nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from html_page import FETCHING, Page
from made_up_session import FLASH_NS, LAG_NS, MS, made_up_trace
from stub_capture import StubDetector, stub_capture
from stub_model import pack_stub_bundle

from sdk_reference.bundle import load_bundle
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.errors import OutputNotWritable
from sdk_reference.live_charts import LEFT, RIGHT, WIDTH, TimeAxis, flash_axis, lag_chart, state_bar, timeline
from sdk_reference.live_report import live_values, render_live, write_live_report
from sdk_reference.live_trace import LiveTrace, TracedLag
from sdk_reference.report import render


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    bundle = load_bundle(pack_stub_bundle(tmp_path_factory.mktemp("bundle")))
    return Checker(bundle, StubDetector()).check(stub_capture())


def section(html: str) -> str:
    """The part about the capture."""
    found = re.search(r'<section class="card" id="capture-1".*?</section>', html, re.DOTALL)
    assert found is not None
    return found[0]


def test_everything_an_engineer_asks_for_is_on_the_page(result: CheckResult) -> None:
    page = Page(render_live(made_up_trace(), result))
    assert page.open_tags == []
    plan = made_up_trace().plan
    assert plan is not None and plan.nonce is not None
    wanted = ["positioning 4.20 s", "63.0 ms", "± 4.0", "plausible", "divided out before judging", "within all limits"]
    wanted += [
        "186.7 ms",
        "(goal 400)",
        "camera 0 (V4L2)",
        "raised from 40 to 100 %",
        "one of 2",
        "standard",
        plan.nonce,
    ]
    wanted += ["saw more than one colour", "Depth", "Quality", "threshold", "Differences in", plan.canonical_hash()]
    assert [said for said in wanted if said not in page.text] == []


def test_the_check_has_the_very_section_of_the_report_of_a_capture(result: CheckResult) -> None:
    live = section(render_live(made_up_trace(), result))
    assert live == section(render([result], ["the check of this session"]))
    assert "Aligned to the template" in live


def test_nothing_is_fetched_and_nothing_runs(result: CheckResult) -> None:
    html = render_live(made_up_trace(), result)
    assert not FETCHING.search(re.sub(r"data:image/[^\"]+", "data:", html))
    assert {tag for tag, _, _ in Page(html).attributes}.isdisjoint({"script", "link", "iframe", "object", "base"})


def test_every_frame_of_the_flash_stands_under_the_colour_that_lit_it() -> None:
    trace = made_up_trace()
    axis = flash_axis(trace)
    assert axis is not None
    drawn = timeline(trace, axis)
    used = {bar["rank"]: bar for bar in drawn["frames"] if bar["css"] == "used"}
    assert sorted(used) == [0, 1, 2, 3, 4]
    for step in drawn["steps"]:
        bar = used[step["rank"]]
        assert step["x"] + step["settling"] <= bar["x"] and bar["x"] + bar["width"] <= step["end"]
    edges = {edge for step in drawn["steps"] for edge in (step["x"], step["end"])}
    mixed = [bar for bar in drawn["frames"] if bar["css"] == "drop-transition"]
    assert mixed
    assert all(any(bar["x"] < edge < bar["x"] + bar["width"] for edge in edges) for bar in mixed)
    colours = [part["colour"] for part in drawn["colours"]]
    planned = ["#{:02x}{:02x}{:02x}".format(*step.srgb) for step in trace.steps]
    assert colours == ["#202020", *planned, "#202020"]


def test_frames_are_drawn_earlier_by_the_lag() -> None:
    trace = made_up_trace()
    axis = flash_axis(trace)
    assert axis is not None and trace.lag is not None
    unshifted = replace(trace, lag=replace(trace.lag, lag_ns=0))

    def place(of: LiveTrace) -> float:
        return next(float(bar["x"]) for bar in timeline(of, axis)["frames"] if bar["title"].startswith("frame 10,"))

    assert place(unshifted) - place(trace) == pytest.approx(axis.x(FLASH_NS + LAG_NS) - axis.x(FLASH_NS), abs=0.2)


def test_frames_are_counted_by_reason() -> None:
    trace = made_up_trace()
    values = live_values(trace)
    counted = Counter(frame.drop_reason for frame in trace.frames if frame.drop_reason)
    assert {row["code"]: row["count"] for row in values["dropped"]} == dict(counted)
    assert sum(counted.values()) + trace.used == len(trace.frames)
    assert len(values["used"]) == 5 and all(row["frame"] != "–" for row in values["used"])


def test_a_session_that_ended_early_says_so() -> None:
    trace = LiveTrace("retry", reason="no_face", states=made_up_trace().states[:1], notes=("the window was closed",))
    page = Page(render_live(trace))
    for said in ("no_face", "Nothing was flashed", "before anything was judged", "the window was closed"):
        assert said in page.text
    assert "Lag from screen" not in page.text and page.open_tags == []


def test_an_implausible_lag_and_an_unsafe_presentation_stand_out() -> None:
    trace = made_up_trace()
    lag = TracedLag(0, 60 * MS, 0.2, False, doubt="other_plan")
    safety = {**(trace.safety or {}), "ok": False, "reasons": ["4 general flashes in a second"]}
    page = Page(render_live(replace(trace, lag=lag, safety=safety, verdict="retry")))
    for said in ("not plausible", "other_plan", "beyond a limit", "4 general flashes in a second"):
        assert said in page.text
    assert lag_chart(lag) is None


def test_a_verdict_that_took_too_long_is_not_green() -> None:
    assert live_values(made_up_trace())["in_time"]
    assert not live_values(made_up_trace(after_flash_ms={"model": 401.0}))["in_time"]


def test_frames_without_face_or_gain_leave_gaps_not_errors() -> None:
    trace = made_up_trace()
    bare = tuple(replace(frame, face_linear=None, gains=None) for frame in trace.frames)
    values = live_values(replace(trace, frames=bare, lag=None))
    assert values["answer"] is None and values["gains"] is None and values["timeline"] is not None
    assert Page(render_live(replace(trace, frames=bare, lag=None))).open_tags == []


def test_what_others_named_is_escaped() -> None:
    trace = made_up_trace()
    assert trace.camera is not None
    evil = replace(trace.camera, name="<script>alert(1)</script>")
    assert "<script>" not in render_live(replace(trace, camera=evil, notes=("<b>x</b>",)))


def test_the_trace_is_plain_json_without_pictures() -> None:
    trace = made_up_trace()
    plain: dict[str, Any] = json.loads(json.dumps(trace.to_dict(), allow_nan=False))
    assert plain["plan_hash"] == trace.plan.canonical_hash() if trace.plan else False
    assert plain["dropped"] == trace.dropped and plain["used"] == 5
    assert plain["frames"][0]["timestamp_ns"] == trace.frames[0].timestamp_ns
    assert json.dumps(LiveTrace("retry").to_dict())


def test_times_are_drawn_in_proportion_and_cut_at_the_edges() -> None:
    axis = TimeAxis(FLASH_NS, FLASH_NS + 1000 * MS, FLASH_NS)
    assert axis.x(FLASH_NS) == LEFT and axis.x(FLASH_NS + 1000 * MS) == WIDTH - RIGHT
    assert axis.x(FLASH_NS + 500 * MS) == pytest.approx((LEFT + WIDTH - RIGHT) / 2, abs=0.1)
    assert axis.x(0) == LEFT
    assert [tick["text"] for tick in axis.ticks()] == [str(100 * place) for place in range(11)]


def test_states_fill_the_bar_in_proportion() -> None:
    parts = state_bar(made_up_trace())
    assert sum(part["width"] for part in parts) == pytest.approx(100.0, abs=0.1)
    assert parts[0]["left"] == 0.0 and parts[0]["seconds"] == "4.20"
    assert len({part["css"] for part in parts}) == len(parts)


def test_the_lag_is_marked_where_the_curve_is_highest() -> None:
    lag = made_up_trace().lag
    assert lag is not None
    chart = lag_chart(lag)
    assert chart is not None
    places = [tuple(map(float, point.split(","))) for point in chart["points"].split()]
    highest = min(places, key=lambda place: place[1])
    assert chart["mark"] == pytest.approx(highest[0], abs=3.0)
    assert LAG_NS == lag.lag_ns


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable):
        write_live_report(tmp_path / "file" / "page.html", made_up_trace())
    assert write_live_report(tmp_path / "page.html", made_up_trace()).read_text().startswith("<!DOCTYPE html>")
