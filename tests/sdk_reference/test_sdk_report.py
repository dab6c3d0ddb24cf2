"""The report is one file, shows every stage, escapes what it is told and says when things are simulated."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from html_page import FETCHING, Page
from stub_capture import StubDetector, stub_capture
from stub_model import pack_stub_bundle

from sdk_reference.bundle import load_bundle
from sdk_reference.capture import Labels
from sdk_reference.checker import Checker, CheckResult
from sdk_reference.errors import NoFace, OutputNotWritable
from sdk_reference.report import colour_mapped, hue_cell, render, signed_picture, write_report


def checked(folder: Path, detector: Any = None, offset: float = 4.0, labels: Labels | None = None) -> CheckResult:
    bundle = load_bundle(pack_stub_bundle(folder, offset=offset))
    return Checker(bundle, detector or StubDetector()).check(stub_capture(labels=labels))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    labels = Labels(simulated=True, species="live", scene="office", ambient_lux=80.0)
    return checked(tmp_path_factory.mktemp("live"), labels=labels)


@pytest.fixture(scope="module")
def spoof(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    labels = Labels(simulated=True, species="print", instrument="print_bent")
    return checked(tmp_path_factory.mktemp("spoof"), offset=-4.0, labels=labels)


@pytest.fixture(scope="module")
def retry(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    return checked(tmp_path_factory.mktemp("retry"), detector=StubDetector([]))


def test_every_stage_is_there(live: CheckResult) -> None:
    page = Page(render([live], ["a capture"]))
    assert page.open_tags == []
    for said in (
        "live",
        "0.982",
        "0.500",
        "Aligned",
        "Differences in linear light",
        "Depth",
        "print",
        "replay",
        "mask",
    ):
        assert said in page.text
    for said in ("Flash response", "Quality", "Time spent", "office", "80 lux", live.bundle_sha256):
        assert said in page.text
    # 5 frames, 5 aligned, 6 differences, the depth map and its colour bar
    assert len(page.images) == 5 + 5 + 6 + 2


def test_every_picture_can_be_decoded_and_is_described(live: CheckResult) -> None:
    for image in Page(render([live])).images:
        kind, data = str(image["src"]).split(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) is not None
        assert image["alt"]


def test_nothing_is_fetched(live: CheckResult, spoof: CheckResult) -> None:
    html = render([live, spoof])
    assert not FETCHING.search(re.sub(r"data:image/[^\"]+", "data:", html))
    tags = {tag for tag, _, _ in Page(html).attributes}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "base"})


@pytest.mark.parametrize("text", ['<img src="https://example.org/x.png">', "url(//example.org/a)", '<a href="a.css">'])
def test_the_check_for_fetching_can_fail(text: str) -> None:
    assert FETCHING.search(text)


def test_reasons_come_with_what_to_do(spoof: CheckResult) -> None:
    text = Page(render([spoof])).text
    for reason in spoof.decision.reasons:
        assert reason.code in text
        assert reason.message in text
        assert reason.hint in text


def test_a_capture_that_never_reached_the_model_still_makes_a_page(retry: CheckResult) -> None:
    page = Page(render([retry]))
    assert page.open_tags == []
    assert "no_face" in page.text
    assert "did not reach the model" in page.text
    assert len(page.images) == 5


def test_photographs_that_made_no_capture_still_make_a_page(tmp_path: Path) -> None:
    checker = Checker(load_bundle(pack_stub_bundle(tmp_path / "stub")), StubDetector())
    page = Page(render([checker.refused(NoFace(found="no face", expected="one", remedy="look here"))]))
    assert page.open_tags == []
    assert "look here" in page.text


def test_several_results_have_an_overview_that_leads_to_each(
    live: CheckResult, spoof: CheckResult, retry: CheckResult
) -> None:
    page = Page(render([live, spoof, retry], ["first", "second", "third"]))
    assert "Overview" in page.text
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    anchors = [f"#{value}" for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert links == anchors == ["#capture-1", "#capture-2", "#capture-3"]
    assert "Overview" not in Page(render([live])).text


def test_right_and_wrong_are_told_by_the_label(tmp_path: Path) -> None:
    wrong = checked(tmp_path, labels=Labels(simulated=True, species="mask"))
    assert "against the label: wrong" in Page(render([wrong])).text


def test_simulation_is_named_where_there_is_any(live: CheckResult, retry: CheckResult) -> None:
    text = Page(render([live, retry])).text
    assert "on no photograph of a real person" in text
    assert "1 of 2 captures on this page are simulated" in text


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&lt;b"]
)
def test_names_and_labels_are_escaped(hostile: str, tmp_path: Path) -> None:
    result = checked(tmp_path, labels=Labels(simulated=False, scene=hostile, device=hostile))
    page = Page(render([result, result], [hostile, hostile]))
    assert page.text.count(hostile) >= 4
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "script" not in {tag for tag, _, _ in page.attributes}


def test_the_file_appears_whole_also_in_a_new_folder(live: CheckResult, tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "report.html", live)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_an_error_that_leaves_nothing(live: CheckResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "report.html", tmp_path / "folder"):
        with pytest.raises(OutputNotWritable):
            write_report(path, live)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_page_about_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no results"):
        render([])


def test_grey_is_no_difference_and_the_scale_is_kept() -> None:
    difference = np.array([[[0.0, 0.2, -0.2, 0.4]]], np.float32).repeat(3, axis=0)
    assert signed_picture(difference, 0.2)[0, :, 0].tolist() == [128, 255, 0, 255]


def test_the_depth_map_uses_viridis() -> None:
    low, high = colour_mapped(np.array([[0.0, 1.0]], np.float32))[0].tolist()
    # first and last colour of matplotlib's viridis: (68, 1, 84) and (253, 231, 37)
    assert np.abs(np.subtract(low, (68, 1, 84))).max() <= 1
    assert np.abs(np.subtract(high, (253, 231, 37))).max() <= 2


@pytest.mark.parametrize(
    ("colour", "strongest"), [((1, 0, 0), 0), ((0, 1, 0), 1), ((0, 0, 1), 2)], ids=["red", "green", "blue"]
)
def test_a_patch_has_the_hue_of_its_triple(colour: tuple[int, int, int], strongest: int) -> None:
    red, green, blue = colour
    patch = hue_cell(np.array([red - green, green - blue, blue - red], np.float32))["colour"]
    channels = [int(patch[place : place + 2], 16) for place in (1, 3, 5)]
    assert int(np.argmax(channels)) == strongest
    assert min(channels) < 128 < max(channels)


def test_an_answer_without_colour_is_grey_and_has_no_minus_zero() -> None:
    assert hue_cell(np.array([-0.0, -1e-9, 0.0], np.float32)) == {"text": "+0.00 +0.00 +0.00", "colour": "#808080"}
