"""The page of an evaluation: whole in one file, numbers the JSON's, simulated called so, hostile names harmless."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_outcomes import outcome
from matplotlib.figure import Figure
from stub_model import pack_stub_bundle
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset

from sdk_reference.capture import Labels, save_capture
from training import figure_panels, figures
from training.breakdown import breakdowns
from training.evaluate import EvaluationResult, evaluate
from training.evaluation_figures import draw_figures, panels_of
from training.evaluation_report import css_width, parts, percent, summary, write_report
from training.machine import Machine

HOSTILE = "<script>alert(1)</script>"
FORMULA = r"$\frac$"  # matplotlib would read it as mathematics, and fail
PICTURES = {
    *("scores", "det", "instruments", "response", "depth", "features"),
    *(f"by_{name}" for name in ("lux", "skin_tone", "device", "scene", "distance_cm")),
    *(f"differences_{name}" for name in ("live", "print", "replay", "mask")),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    folder = tmp_path_factory.mktemp("data")
    write_tiny_dataset(folder, subjects_of("test", 3))
    capture = tiny_capture(40, subjects_of("test", 1)[0], "live")
    named = Labels(simulated=True, subject=subjects_of("test", 1)[0], species="live", scene=HOSTILE, device=FORMULA)
    save_capture(capture.__class__(**{**vars(capture), "labels": named}), folder / "captures" / "hostile.zip")
    bundle = pack_stub_bundle(tmp_path_factory.mktemp("bundle"), slope=40.0, offset=-2.0)
    return evaluate(bundle, [folder], machine=Machine(quiet=True), detector_factory=KnowingDetector)


@pytest.fixture(scope="module")
def written(result: EvaluationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(result, tmp_path_factory.mktemp("report"))


class Tags(HTMLParser):
    """Collects tags, attributes and the text of a page, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_holds_every_picture_and_the_numbers(result: EvaluationResult, written: Path) -> None:
    assert json.loads((written.parent / "evaluation.json").read_text()) == result.to_dict()
    assert {path.stem for path in written.parent.glob("*.png")} == PICTURES
    for path in written.parent.glob("*.png"):
        picture = cv2.imread(str(path))
        assert picture is not None and picture.std() > 5, path.name


def test_the_page_is_whole_and_fetches_nothing(written: Path) -> None:
    tags = Tags(written.read_text())
    assert tags.open == []
    sources = [value for _, name, value in tags.attributes if name in ("src", "href")]
    assert len([source for source in sources if source.startswith("data:image/png;base64,")]) == len(PICTURES)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not any(tag in ("link", "script", "iframe") for tag, _, _ in tags.attributes)
    assert "@import" not in written.read_text() and "url(" not in written.read_text()


def test_links_within_the_page_lead_somewhere(written: Path) -> None:
    tags = Tags(written.read_text())
    anchors = {value for _, name, value in tags.attributes if name == "id"}
    assert {value[1:] for _, name, value in tags.attributes if name == "href"} <= anchors


def test_names_from_labels_cannot_become_markup(written: Path) -> None:
    page = written.read_text()
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_every_section_with_rates_says_simulated(written: Path) -> None:
    page = written.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    without = {"Summary", "What must hold", "Protocol", "How this was measured"}
    assert all("simulated" in heading for heading in headings if heading not in without) and len(headings) == 11
    assert "Every rate on this page is simulated." in page


def test_every_figure_of_simulated_data_says_so(result: EvaluationResult) -> None:
    drawn = dict(draw_figures(result))
    assert set(drawn) == PICTURES
    assert all("SIMULATED" in figure.get_suptitle() for figure in drawn.values())


def test_the_headline_numbers_of_the_page_are_those_of_the_json(result: EvaluationResult, written: Path) -> None:
    text, values = " ".join(Tags(written.read_text()).text), result.to_dict()
    for rate in (values["eer"], values["hter"], values["apcer_max"], values["bpcer"]):
        assert percent(rate["value"]) in text and percent(rate["high"]) in text


def test_the_summary_says_who_was_measured_and_does_not_name_a_worst_of_too_few(result: EvaluationResult) -> None:
    said = " ".join(summary(result.to_dict())).replace("*", "")
    assert "7 simulated captures" in said
    assert "3 simulated people, and whether the model was trained on any of them is not known" in said
    for overlap, words in (
        (0, "people, none of whom the model was trained on"),
        (2, "on 2 of whom the model was trained"),
    ):
        known = copy.deepcopy(result.to_dict())
        known["protocol"]["subjects"]["overlap"] = overlap
        assert words in " ".join(summary(known)).replace("*", "")
    assert "Everything here is simulated" in said and "cannot be told from so few" in said
    assert "most often at" not in said


def test_recorded_data_is_not_called_simulated(result: EvaluationResult) -> None:
    said = " ".join(summary({**result.to_dict(), "simulated": False}))
    assert "recorded captures" in said and "simulated" not in said


def test_captures_shown_are_the_median_and_the_worst_of_each_species(result: EvaluationResult) -> None:
    panels = panels_of(result, result.scored)
    assert [panel.species for panel in panels] == [name for name in figures.SPECIES_COLOURS for _ in range(2)]
    live = sorted(s for s, name in zip(result.scored.scores, result.scored.species, strict=True) if name == "live")
    assert (
        f"{live[0]:.3f}" in panels[1].caption and f"{live[1]:.3f}" in panels[0].caption
    )  # 4 of them: the lower middle


def test_groups_of_few_are_drawn_pale_and_none_is_left_out() -> None:
    captures = [outcome("live", 0.9, scene="big")] * 30 + [outcome("live", 0.1, scene="small"), outcome("mask", 0.1)]
    figure = figures.breakdown_bars(breakdowns(captures)["scene"], "scene", "title")
    axes = figure.axes[1]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "big  (30)",
        "small  (1)",
        "unknown  (1)",
    ]
    assert [bar.get_alpha() for bar in axes.patches] == [1.0, figures.FEW_ALPHA]
    assert [text.get_text() for text in axes.texts] == ["no captures"]


def test_principal_components_are_those_of_a_known_cloud() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(400, 3)) * (3.0, 1.0, 0.1)
    turned = cloud @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    places, shares = figure_panels.principal_components(turned.astype(np.float32))
    assert abs(np.corrcoef(places[:, 0], cloud[:, 0])[0, 1]) > 0.99
    assert shares == pytest.approx(cloud.var(axis=0)[:2] / cloud.var(axis=0).sum(), abs=0.02)


@pytest.mark.parametrize("features", [np.ones((5, 4)), np.ones((1, 1))])
def test_features_without_any_variance_lie_in_one_point(features: np.ndarray) -> None:
    places, shares = figure_panels.principal_components(features.astype(np.float32))
    assert not places.any() and not shares.any()


def test_a_picture_is_shown_as_wide_as_it_was_drawn() -> None:
    figure = Figure(figsize=(4.0, 2.0))
    assert css_width(figures.png_of(figure)) == 400


def test_what_stands_between_asterisks_is_bold() -> None:
    assert parts("a *b* c") == [(False, "a "), (True, "b"), (False, " c")]
