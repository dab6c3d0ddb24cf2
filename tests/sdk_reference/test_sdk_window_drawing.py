"""Screens on surfaces, without a display: everything fits every shape, and is understood without telling colours."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.palette import SATURATED_HUES
from sdk_reference import look_screens
from sdk_reference.catalogue import Catalogue, languages
from sdk_reference.display import FlashScreen, GuideScreen, ResultScreen, Screen, Tone
from sdk_reference.flash_preview import DEPTH, under_flash
from sdk_reference.look_screens import all_screens, drawn_face, render
from sdk_reference.screen_drawing import (
    BACKGROUND,
    BADGE_SHARE,
    HINT,
    OUTLINE,
    RED,
    TITLE,
    TONES,
    TRACK,
    contrast,
    next_attempt,
    preview_in_oval,
)
from sdk_reference.screen_layout import OVAL_ASPECT, Box, layout_for
from sdk_reference.screen_shapes import SIGNS, sign
from sdk_reference.screen_text import SMALLEST, Paragraph, render_text, set_text

ENGLISH, GERMAN = Catalogue.load("en"), Catalogue.load("de")
SHAPES = ((540, 1170), (1280, 800), (700, 700), (320, 240), (1920, 540), (240, 320), (3840, 600), (400, 2000))


def inside(inner: Box, outer: Box) -> bool:
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def apart(one: Box, other: Box) -> bool:
    beside = one.right <= other.left or other.right <= one.left
    return beside or one.bottom <= other.top or other.bottom <= one.top


# ---- layout


@given(width=st.integers(160, 8000), height=st.integers(160, 5000))
def test_oval_and_words_lie_within_every_screen_and_apart(width: int, height: int) -> None:
    layout, screen = layout_for(width, height), Box(0, 0, width, height)
    assert inside(layout.oval.grown(layout.ring), screen)
    assert inside(layout.words, screen)
    assert apart(layout.oval.grown(layout.ring), layout.words)


@given(width=st.integers(160, 8000), height=st.integers(160, 5000))
def test_the_oval_has_the_shape_of_a_face_and_is_large(width: int, height: int) -> None:
    oval = layout_for(width, height).oval
    assert oval.width == pytest.approx(oval.height * OVAL_ASPECT, abs=1.5)
    assert oval.height > 0.5 * height or oval.width > 0.8 * width


@given(width=st.integers(160, 8000), height=st.integers(160, 5000))
def test_a_result_has_room_for_sign_words_and_footer(width: int, height: int) -> None:
    layout, screen = layout_for(width, height), Box(0, 0, width, height)
    places = layout.result_places()
    assert all(inside(place, screen) for place in places)
    assert all(apart(one, other) for one, other in itertools.combinations(places, 2))


# ---- words


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("shape", SHAPES)
def test_every_text_fits_every_shape_whole_and_legible(language: str, shape: tuple[int, int]) -> None:
    catalogue, layout = Catalogue.load(language), layout_for(*shape)
    _, words, _ = layout.result_places()
    for code in catalogue.messages:
        block = (
            Paragraph(catalogue.title(code), layout.title, TITLE),
            Paragraph(catalogue.hint(code), layout.hint, HINT),
        )
        found = set_text(block, words.width, min(words.height, layout.words.height))
        assert found.complete, code
        assert found.width <= words.width and found.height <= min(words.height, layout.words.height), code
        assert min(line.size for line in found.lines) >= SMALLEST, code


def test_no_word_is_lost_or_changed_by_wrapping() -> None:
    hint = GERMAN.hint("not_verified")
    found = set_text((Paragraph(hint, 40, TITLE),), 300, 400)
    assert len(found.lines) > 2
    assert " ".join(line.text for line in found.lines) == hint


def test_letters_shrink_only_where_they_must() -> None:
    wide = set_text((Paragraph("Hold still", 40, TITLE),), 600, 100)
    narrow = set_text((Paragraph("Hold still", 40, TITLE),), 70, 20)
    assert wide.lines[0].size == 40
    assert len(wide.lines) == 1
    assert narrow.lines[0].size < 40


def test_lines_of_a_text_are_about_equally_long() -> None:
    found = set_text((Paragraph("one two three four five six seven eight nine ten", 30, TITLE),), 330, 400)
    lengths = [len(line.text) for line in found.lines]
    assert len(lengths) > 1
    assert min(lengths) > 0.6 * max(lengths)


@pytest.mark.parametrize("size", [7, 12, 31, 58, 120])
@pytest.mark.parametrize("text", ["Drehen Sie sich vom Fenster weg", "illiiillliii", "ÄÖÜßäöü × 640", "WWWMMMWWW"])
def test_letters_are_as_wide_as_was_measured(text: str, size: int) -> None:
    found = set_text((Paragraph(text, size, TITLE),), 4000, 400)
    assert [line.text for line in found.lines] == [text]
    drawn = render_text((Paragraph(text, size, TITLE),), 4000, 400).get_bounding_rect()
    assert drawn.width <= found.width <= 1.1 * drawn.width + 8
    assert drawn.height <= found.height


@pytest.mark.parametrize(
    "text", ["Donaudampfschifffahrtsgesellschaftskapitän", "a b c d e f g h i j k l m n o p q r s t"]
)
@pytest.mark.parametrize("box", [(30, 12), (8, 8), (1, 1), (40, 12)])
def test_what_cannot_fit_is_cut_off_and_says_so(text: str, box: tuple[int, int]) -> None:
    found = set_text((Paragraph(text, 40, TITLE),), *box)
    assert not found.complete
    assert found.width <= box[0] and found.height <= box[1]
    assert render_text((Paragraph(text, 40, TITLE),), *box).get_width() == box[0]


# ---- the flash


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("srgb", [*SATURATED_HUES[:2], (255, 255, 255), (0, 0, 0), (64, 64, 64)])
def test_a_flash_is_one_colour_but_for_the_thin_grey_oval(shape: tuple[int, int], srgb: tuple[int, int, int]) -> None:
    picture, layout = render(FlashScreen(srgb), shape, ENGLISH), layout_for(*shape)
    other = (picture != srgb).any(axis=2)
    assert 0 < other.mean() < 0.025
    outside = np.ones_like(other)
    frame = layout.oval.grown(layout.outline + 1)
    outside[frame.top : frame.bottom, frame.left : frame.right] = False
    assert not other[outside].any()
    x, y = layout.oval.centre
    assert not other[y - 5 : y + 5, x - 5 : x + 5].any()
    # Smoothing mixes the line with the colour; nothing goes beyond the two.
    lowest, highest = np.minimum(srgb, OUTLINE), np.maximum(srgb, OUTLINE)
    assert (picture[other] >= lowest - 1).all() and (picture[other] <= highest + 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_oval_stays_where_it_was_when_the_flash_begins(shape: tuple[int, int]) -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    guide = render(GuideScreen("flashing", black), shape, ENGLISH)
    flash = render(FlashScreen((0, 0, 0)), shape, ENGLISH)
    oval = layout_for(*shape).oval
    row = oval.centre[1]
    for side in (oval.left, oval.right):
        band = slice(max(0, side - oval.width // 4), side + oval.width // 4)
        guide_line = np.flatnonzero(guide[row, band].max(axis=1) > 100).mean()
        flash_line = np.flatnonzero(flash[row, band].max(axis=1) > 60).mean()
        assert guide_line == pytest.approx(flash_line, abs=2.5)


# ---- guidance


def test_the_preview_is_mirrored() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, :40] = (255, 0, 0)
    picture[:, 40:] = (0, 0, 255)
    shown = preview_in_oval(picture, Box(0, 0, 75, 100))
    assert shown[50, 10, :3].tolist() == [0, 0, 255]
    assert shown[50, 64, :3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1920, 1080), (160, 120), (300, 300)])
def test_the_preview_is_cut_and_not_stretched(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.circle(picture, (width // 2, height // 2), min(size) // 4, (255, 255, 255), -1)
    shown = preview_in_oval(picture, Box(0, 0, 300, 400))[..., 0] > 127
    assert shown.any(axis=0).sum() == pytest.approx(shown.any(axis=1).sum(), rel=0.04)


def test_the_preview_is_seen_in_the_oval_only() -> None:
    layout = layout_for(800, 600)
    white = np.full((48, 64, 3), 255, np.uint8)
    difference = render(GuideScreen("x", white), (800, 600), ENGLISH) != render(GuideScreen("x"), (800, 600), ENGLISH)
    changed = difference.any(axis=2)
    oval = np.zeros(changed.shape, np.uint8)
    box = layout.oval
    cv2.ellipse(oval, box.centre, (box.width // 2 + 1, box.height // 2 + 1), 0, 0, 360, 1, -1)
    assert changed.sum() > 0.9 * oval.sum()
    assert not changed[oval == 0].any()


@pytest.mark.parametrize("size", [(1, 1), (1000, 2), (2, 1000), (0, 0)])
def test_a_preview_of_odd_size_does_no_harm(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    assert render(GuideScreen("place_face", picture), (320, 240), ENGLISH).shape == (240, 320, 3)


def arc(progress: float | None) -> int:
    """Pixels in the tone's colour outside the oval's line."""
    picture, layout = render(GuideScreen("hold_still", progress=progress), (800, 600), ENGLISH), layout_for(800, 600)
    inner = np.zeros(picture.shape[:2], np.uint8)
    box = layout.oval.grown(layout.ring // 2)
    cv2.ellipse(inner, box.centre, (box.width // 2, box.height // 2), 0, 0, 360, 1, -1)
    inner[layout.words.top :] = 1
    return int((np.abs(picture[inner == 0].astype(int) - TONES["neutral"]).sum(axis=1) < 30).sum())


def test_the_arc_grows_with_progress() -> None:
    lengths = [arc(progress) for progress in (None, 0.0, 0.25, 0.5, 1.0)]
    assert lengths[0] == lengths[1] == 0
    assert lengths[3] == pytest.approx(2 * lengths[2], rel=0.1)
    assert lengths[4] == pytest.approx(4 * lengths[2], rel=0.1)


@pytest.mark.parametrize("progress", [float("nan"), -1.0, 7.0, float("inf")])
def test_a_progress_that_cannot_be_does_no_harm(progress: float) -> None:
    assert arc(progress) in (arc(0.0), arc(1.0))


# ---- understood at a glance


def grey(screen: Screen) -> np.ndarray:
    """What someone sees who tells no colours, words left out."""
    layout = layout_for(800, 600)
    picture = cv2.cvtColor(render(screen, (800, 600), ENGLISH), cv2.COLOR_RGB2GRAY)
    return picture[: layout.words.top - 2]


RESULTS = (
    ResultScreen("live", "verified"),
    ResultScreen("spoof", "not_verified"),
    ResultScreen("retry", "moved"),
    ResultScreen("retry", "moved", last=True),
)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(RESULTS, 2)))
def test_results_differ_in_shape(one: ResultScreen, other: ResultScreen) -> None:
    first, second = (grey(screen) > 80 for screen in (one, other))
    assert (first ^ second).sum() > 0.2 * first.sum()


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(sorted(SIGNS), 2)))
def test_signs_differ_at_the_size_of_a_badge(one: str, other: str) -> None:
    first, second = sign(one, 20) > 127, sign(other, 20) > 127
    assert (first ^ second).mean() > 0.04


@pytest.mark.parametrize(("one", "other"), [("good", "bad"), ("good", "neutral"), ("bad", "neutral")])
def test_tones_differ_in_shape(one: Tone, other: Tone) -> None:
    first, second = (grey(GuideScreen("hold_still", tone=tone)) > 80 for tone in (one, other))
    badge = 0.8 * (BADGE_SHARE * layout_for(800, 600).oval.height) ** 2
    assert (first ^ second).sum() > 0.25 * badge


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21.0)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # a well-known near miss


def test_everything_stands_out_from_its_background() -> None:
    assert contrast(TITLE) >= 7 and contrast(HINT) >= 7
    assert contrast(TITLE, TRACK) >= 7
    assert min(contrast(colour) for colour in (*TONES.values(), RED)) >= 4.5


def test_a_guide_screen_gives_little_light_beside_its_preview() -> None:
    picture = render(GuideScreen("hold_still", tone="good", progress=1.0), (1280, 800), ENGLISH)
    assert picture.mean() < 0.15 * 255
    assert picture[0, 0].tolist() == list(BACKGROUND)


@pytest.mark.parametrize(
    ("screen", "text"),
    [
        (ResultScreen("live", "verified"), ""),
        (ResultScreen("live", "verified", last=True), ""),
        (ResultScreen("spoof", "not_verified"), "You can try again"),
        (ResultScreen("spoof", "not_verified", pause_s=12.0), "Try again in 12 s"),
        (ResultScreen("retry", "moved", pause_s=0.2), "Try again in 1 s"),
        (ResultScreen("retry", "moved", pause_s=99.5), "Try again in 1:40 min"),
        (ResultScreen("retry", "moved", pause_s=600.0), "Try again in 10:00 min"),
        (ResultScreen("retry", "moved", pause_s=float("nan")), "You can try again"),
        (ResultScreen("spoof", "not_verified", pause_s=30.0, last=True), "No attempts left"),
    ],
)
def test_a_result_says_what_comes_next(screen: ResultScreen, text: str) -> None:
    assert next_attempt(screen, ENGLISH) == text


def test_the_countdown_is_seen() -> None:
    ten, nine = (render(ResultScreen("retry", "moved", pause_s=s), (800, 600), GERMAN) for s in (10.0, 9.0))
    assert (ten != nine).any()


def test_a_refused_screen_looks_the_same_whatever_gave_it_away() -> None:
    codes = ("not_verified", "score_below_threshold", "response_mismatch")
    pictures = [render(ResultScreen("spoof", code), (640, 480), GERMAN) for code in codes]
    assert all((picture == pictures[0]).all() for picture in pictures)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (40, 30), (64, 1000), (2000, 64), *SHAPES])
def test_every_screen_is_drawn_at_every_shape(shape: tuple[int, int]) -> None:
    for screen in all_screens():
        assert render(screen, shape, GERMAN).shape == (shape[1], shape[0], 3)


def test_words_are_really_drawn_and_in_the_chosen_language() -> None:
    english, german = (render(GuideScreen("hold_still"), (800, 600), c) for c in (ENGLISH, GERMAN))
    words = layout_for(800, 600).words
    region = np.s_[words.top : words.bottom, words.left : words.right]
    assert (np.abs(english[region].astype(int) - TITLE).max(axis=2) < 10).sum() > 200
    assert (english[region] != german[region]).any()


# ---- the sheet


def test_the_sheet_is_a_picture_of_every_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["look_screens", str(path), "--language", "de", "--shape", "320x240"])
    look_screens.main()
    sheet = cv2.imread(str(path))
    assert sheet.shape[0] * sheet.shape[1] > len(all_screens()) * 320 * 240


def test_the_drawn_face_shows_mirroring() -> None:
    face = drawn_face()
    assert (face != face[:, ::-1]).any()


# ---- the preview under the flash


@pytest.mark.parametrize("srgb", [(255, 255, 255), (255, 0, 0), (96, 160, 200), (64, 64, 64)])
@pytest.mark.parametrize("brightness", [0.15, 1.0])
def test_the_preview_takes_the_same_share_of_every_flash(srgb: tuple[int, int, int], brightness: float) -> None:
    face = (drawn_face() * brightness).astype(np.uint8)
    light = srgb8_to_linear(under_flash(face, srgb)).reshape(-1, 3)
    full = srgb8_to_linear(np.array(srgb, np.uint8))
    lit = full > 0
    assert (light <= full + 1e-6).all() and not light[:, ~lit].any()
    np.testing.assert_allclose(light[:, lit].mean(axis=0) / full[lit], 1 - DEPTH / 2, atol=0.05)
    assert light[:, lit].std(axis=0).max() > 0.05 * full.max()  # and yet something is seen


def test_a_picture_without_contrast_dims_the_flash_evenly() -> None:
    flat = under_flash(np.full((8, 8, 3), 120, np.uint8), (200, 0, 100))
    assert (flat == flat[0, 0]).all() and flat[0, 0, 1] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flash_with_a_preview_changes_the_oval_alone(shape: tuple[int, int]) -> None:
    without, with_it = (render(FlashScreen((255, 64, 64), face), shape, ENGLISH) for face in (None, drawn_face()))
    oval = layout_for(*shape).oval
    changed = (without != with_it).any(axis=2)
    assert changed[oval.top : oval.bottom, oval.left : oval.right].mean() > 0.5
    changed[oval.top : oval.bottom, oval.left : oval.right] = False
    assert not changed.any()
