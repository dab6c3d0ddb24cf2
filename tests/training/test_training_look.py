"""`python -m training.look`: statistics against closed forms, sheets, tables, and the whole command, small."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_faces import face, lit_capture

from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE, estimate_affine, map_points
from sdk_reference.errors import CaptureNotFound, InvalidInput, NoFace
from sdk_reference.landmarks import FACE_OVAL, FaceMeshDetector, find_single_face
from simulator.capture import CaptureSpec, simulate_capture
from simulator.instruments import INSTRUMENTS, SPECIES
from training import contact_sheet, look_report
from training import look as command
from training.errors import SettingOutOfRange
from training.look import LookSettings, main, take_look
from training.look_captures import Look, look_at, look_at_capture, real_pairs, recipes
from training.look_pair import AlignedPair, align_pair
from training.look_regions import REGIONS, SIZE, face_mask, region_masks, skin_mask
from training.look_statistics import colour_answers, colour_shift, flash_ratios, measure, tones
from training.look_texture import BANDS, band_contrast, bright_spots, colour_noise, highlights, noise, sharpness

REAL_PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "real_flash"


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Landmarks of a simulated head on the template."""
    colours = tuple((float(r), float(g), float(b)) for r, g, b in default_plan().colours_linear())
    shot = simulate_capture(CaptureSpec(5, 5, "live", "face", colours, ambient_lux=200.0))
    found = find_single_face(FaceMeshDetector().detect(shot.frames[0]), shot.frames[0].shape)
    return map_points(found.points, estimate_affine(found.points))


def flat(level: float | tuple[float, float, float]) -> np.ndarray:
    return np.broadcast_to(np.asarray(level, np.float32), (SIZE, SIZE, 3)).copy()


def pair_of(dark: np.ndarray, lit: np.ndarray, points: np.ndarray) -> AlignedPair:
    return AlignedPair(dark, lit, points, exposure=1.0, background=1.0, face_width_px=150.0, motion=0.0)


def a_look(species: str = "live", ratio: float = 0.5, **statistics: float) -> Look:
    return Look(species, "any", "", {}, {look_report.RATIO: ratio, **statistics}, "", b"", b"x")


# Regions


def test_regions_lie_where_their_names_say(points: np.ndarray) -> None:
    masks = region_masks(points)
    height = {name: float(np.nonzero(mask)[0].mean()) for name, mask in masks.items()}
    order = ["hair", "forehead", "eye sockets", "nose", "upper lip", "chin", "neck"]
    assert [*masks] == [*REGIONS]
    assert sorted(order, key=height.__getitem__) == order
    assert all(mask.sum() > 100 for mask in masks.values())


def test_paired_regions_have_a_part_on_each_side_and_ears_lie_beside_the_face(points: np.ndarray) -> None:
    masks = region_masks(points)
    for name in ("cheeks", "sides", "ears", "eye sockets"):
        halves = masks[name][:, :128].sum(), masks[name][:, 128:].sum()
        assert 0.5 < halves[0] / halves[1] < 2.0
    assert not (masks["ears"] & face_mask(points)).any()
    skin = skin_mask(masks)
    assert (skin & ~face_mask(points)).sum() < 0.08 * skin.sum()  # the chin ends beyond the drawn-in outline


def test_the_face_is_its_outline_drawn_in() -> None:
    landmarks = face().points.astype(np.float64)
    turns = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    landmarks[list(FACE_OVAL)] = np.stack([128 + 60 * np.sin(turns), 130 - 90 * np.cos(turns)], axis=1)
    polygon = len(FACE_OVAL) / 2 * math.sin(2 * math.pi / len(FACE_OVAL)) * 60 * 90
    assert face_mask(landmarks).sum() == pytest.approx(polygon * 0.92**2, rel=0.005)


# Light by region and colour


def test_flash_ratios_are_those_painted_into_each_region(points: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    painted = {"forehead": 0.3, "nose": 0.9, "cheeks": 0.6, "chin": 1.2, "ears": 0.2, "neck": 0.1}
    dark = rng.uniform(0.1, 0.3, (SIZE, SIZE, 1)).astype(np.float32) * np.float32([1.2, 1.0, 0.7])
    share = np.full((SIZE, SIZE, 1), 0.5, np.float32)
    masks = region_masks(points)
    for name, value in painted.items():
        share[masks[name]] = value
    found = flash_ratios(pair_of(dark, dark * (1 + share), points))
    for name, value in painted.items():
        relative = found[f"flash/ambient, {name} over face"]
        level = dark[masks[name]].mean(axis=1)  # regions of some faces share a few pixels, painted by the later one
        expected = float((share[masks[name]][:, 0] * level).sum() / level.sum())
        assert expected == pytest.approx(value, rel=0.02)
        assert relative * found["flash/ambient, face"] == pytest.approx(expected, rel=1e-4)


def test_a_clipped_or_black_region_gives_no_ratio(points: np.ndarray) -> None:
    assert math.isnan(flash_ratios(pair_of(flat(0.2), flat(1.0), points))["flash/ambient, face"])
    assert math.isnan(flash_ratios(pair_of(flat(0.0), flat(0.5), points))["flash/ambient, face"])


def test_colours_are_ratios_of_channels(points: np.ndarray) -> None:
    dark, added = np.array([0.2, 0.1, 0.05]), np.array([0.3, 0.1, 0.1])
    found = colour_shift(pair_of(flat(tuple(dark)), flat(tuple(dark + added)), points))
    assert found["colour of ambient, red/green"] == pytest.approx(2.0, rel=1e-5)
    assert found["colour of difference, blue/green"] == pytest.approx(1.0, rel=1e-5)
    assert found["colour of difference over ambient, red/green"] == pytest.approx(1.5, rel=1e-5)
    assert found["colour of difference over ambient, blue/green"] == pytest.approx(2.0, rel=1e-5)


def test_exposure_is_equalised_on_the_background() -> None:
    frames = lit_capture(flash=0.2, ambient=0.4, exposures=(0.7, 1, 1, 1, 1)).frames
    found = align_pair(frames[-1], frames[0], face(), face())
    assert found.exposure == pytest.approx(0.7, abs=0.01)
    ratio = flash_ratios(found)["flash/ambient, face"]
    assert ratio == pytest.approx(0.2 / 0.4, abs=0.03)


def test_answers_to_colours_are_theirs_alone_where_light_adds_up_whatever_the_exposure() -> None:
    capture = lit_capture(flash=0.4, ambient=0.3, exposures=(0.8, 0.9, 1.0, 0.95, 1.0))
    found = colour_answers(capture.frames, [face()] * 5)
    for screen in ("red", "green", "blue"):
        for channel in ("red", "green", "blue"):
            expected = 1.0 if screen == channel else 0.0
            assert found[f"answer to {screen}, {channel} over white's"] == pytest.approx(
                expected, abs=0.05
            )  # the wall has 8 bits


# Sharpness, noise, highlights


@pytest.mark.parametrize(("cycles", "band"), [(3.0, 0), (6.0, 1), (12.0, 2), (24.0, 3), (48.0, 4)])
def test_a_grating_has_its_contrast_in_its_own_band(cycles: float, band: int) -> None:
    across = np.arange(SIZE) / (2 * TEMPLATE.ellipse_semi_axes[0])
    grating = 0.3 * (1 + 0.2 * np.sin(2 * np.pi * cycles * across))
    contrast = band_contrast(np.tile(grating, (SIZE, 1)).astype(np.float32))
    assert contrast[band] == pytest.approx(0.2 / math.sqrt(2), rel=0.1)
    assert np.delete(contrast, band).max() < 0.04


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_slope_is_that_of_the_amplitude_spectrum(exponent: float, points: np.ndarray) -> None:
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    amplitude = np.where(radius > 0, np.maximum(radius, 1e-9) ** -exponent, 0.0)
    slopes = []
    for seed in range(4):
        spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))
        pattern = np.fft.ifft2(spectrum * amplitude).real
        picture = flat(0.3) * (1 + 0.1 * (pattern / pattern.std())[..., None]).astype(np.float32)
        slopes.append(sharpness(pair_of(picture, picture, points))["contrast of dark, slope"])
    # A ring's power is the amplitude squared times its area, which grows fourfold per octave.
    assert np.mean(slopes) == pytest.approx(1.0 - exponent, abs=0.12)


def test_a_blurred_picture_loses_contrast_in_the_upper_bands() -> None:
    fine = np.random.default_rng(1).uniform(0.2, 0.4, (SIZE, SIZE)).astype(np.float32)
    soft = cv2.GaussianBlur(fine, (0, 0), 3.0)
    kept = band_contrast(soft) / band_contrast(fine)
    centres = np.sqrt([low * high for low, high in BANDS]) / (2 * TEMPLATE.ellipse_semi_axes[0])
    expected = np.exp(-2 * (np.pi * 3.0 * centres) ** 2)
    assert kept[:3] == pytest.approx(expected[:3], rel=0.15)
    assert kept[4] < 0.05


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_noise_is_the_standard_deviation_per_two_by_two_mean(sigma: float) -> None:
    shading = np.linspace(0.2, 0.4, SIZE)[None, :] + np.random.default_rng(2).normal(0, sigma, (SIZE, SIZE))
    assert noise(shading.astype(np.float32)) == pytest.approx(sigma / 2, rel=0.05)


def test_colour_noise_leaves_out_what_all_channels_share(points: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    texture = flat(0.3) * rng.normal(1.0, 0.1, (SIZE, SIZE, 1)).astype(np.float32)
    face_region = face_mask(points)
    assert colour_noise(texture, face_region) < 1e-4
    grainy = flat(0.3) + rng.normal(0, 0.03, (SIZE, SIZE, 3)).astype(np.float32)
    assert colour_noise(grainy, face_region) == pytest.approx(0.1 * math.sqrt(2) / 2, rel=0.06)


def test_the_share_of_highlights_is_that_of_small_spots_and_not_of_shading(points: np.ndarray) -> None:
    slope = np.tile(np.linspace(0.1, 0.3, SIZE, dtype=np.float32)[:, None], (1, SIZE))
    assert bright_spots(slope)[40:220, 60:200].max() < 0.02
    added = np.full((SIZE, SIZE), 0.2, np.float32)
    y, x = (round(value) for value in points[4][::-1])  # the tip of the nose
    rows, columns = np.mgrid[:SIZE, :SIZE]
    added += 0.4 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 3.0**2)).astype(np.float32)
    skin = skin_mask(region_masks(points))
    expected = float((added - 0.2)[skin].sum() / added[skin].sum())
    dark = flat(0.2)
    found = highlights(pair_of(dark, dark + added[..., None], points))["highlight share of difference"]
    assert found == pytest.approx(expected, rel=0.15)


def test_every_statistic_of_a_pair_without_light_is_left_out_or_finite(points: np.ndarray) -> None:
    found = measure(pair_of(flat(0.0), flat(0.0), points))
    assert not any(math.isinf(value) for value in found.values())
    assert math.isnan(found["noise of dark, over its mean"])


def test_texture_is_measured_where_it_is(points: np.ndarray) -> None:
    masks = region_masks(points)
    grain = np.random.default_rng(4).normal(0, 0.03, (SIZE, SIZE, 1)).astype(np.float32)
    picture = flat(0.3) + np.where(masks["cheeks"][..., None], grain, 0).astype(np.float32)
    found = tones(pair_of(flat(0.2), picture, points))
    assert found["texture of cheeks, lit"] == pytest.approx(0.1 / 2, rel=0.2)  # per 2×2 mean; the border has less
    assert found["texture of forehead, lit"] < 1e-6


def test_tones_are_relative_to_skin_in_each_photograph(points: np.ndarray) -> None:
    masks = region_masks(points)
    dark, lit = flat(0.2), flat(0.4)
    lit[masks["lips"]] = (0.4, 0.1, 0.1)
    dark[masks["eyes"]] = 0.02
    found = tones(pair_of(dark, lit, points))
    assert found["tone of lips over skin, lit"] == pytest.approx(0.2126 + 0.7874 / 4, rel=1e-4)
    assert found["tone of eyes over skin, dark"] == pytest.approx(0.1, rel=1e-4)
    assert found["tone of eyes over skin, lit"] == pytest.approx(1.0, rel=1e-4)
    assert found["redness of lips over skin"] == pytest.approx(4.0, rel=1e-4)


def test_the_background_is_compared_even_where_it_cannot_tell_the_exposure() -> None:
    frames = lit_capture(flash=0.2, ambient=0.4, exposures=(1.3, 1, 1, 1, 1)).frames
    found = align_pair(frames[-1], frames[0], face(), face())
    assert math.isnan(found.exposure)
    assert found.background == pytest.approx(1.3, abs=0.02)


# What is looked at


def test_species_stand_in_the_same_rooms_and_instruments_take_turns() -> None:
    drawn = recipes(5, seed=1, size=256)
    assert len(drawn) == 5 * len(SPECIES)
    for k in range(5):
        same = [recipe for recipe in drawn if recipe.index == k]
        assert len({(recipe.seed, recipe.subject) for recipe in same}) == 1
        assert [recipe.species for recipe in same] == list(SPECIES)
    prints = [recipe.instrument for recipe in drawn if recipe.species == "print"]
    assert len(set(prints)) == min(5, len(INSTRUMENTS["print"]))
    assert drawn != recipes(5, seed=2, size=256)


def test_a_capture_without_a_face_is_shown_and_counted_but_not_measured() -> None:
    class Blind:
        def detect(self, frame: np.ndarray) -> list:
            return []

    recipe = recipes(1, 0, 128)[0]
    colours = tuple((float(r), float(g), float(b)) for r, g, b in default_plan().colours_linear())
    shot = simulate_capture(CaptureSpec(recipe.seed, recipe.subject, "live", "face", colours, size=128))
    seen = look_at_capture(shot, recipe, Blind())
    assert (seen.refused, seen.statistics, seen.panel) == (NoFace.code, {}, b"")
    assert contact_sheet.decoded(seen.strip).shape == (contact_sheet.THUMB, 7 * contact_sheet.THUMB, 3)
    assert NoFace.code in seen.title


def test_real_pairs_are_named_by_the_end_of_their_folder(tmp_path: Path) -> None:
    for name in ("a_live", "b_spoof", "c_mask", "d_other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "background.jpg").touch()
        (tmp_path / name / "flash.jpg").touch()
    (tmp_path / "e_live").mkdir()  # holds no photographs
    assert {n: s for n, (s, _) in real_pairs(tmp_path).items()} == {
        "a_live": "live",
        "b_spoof": "print",
        "c_mask": "mask",
    }


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_real_pairs_is_refused_before_anything_is_simulated(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptureNotFound, match="no pair"):
        take_look(tmp_path / "out", LookSettings(count=1), real=tmp_path / folder)
    assert not (tmp_path / "out").exists()


# Tables


def test_a_real_value_beyond_the_middle_90_percent_differs() -> None:
    simulated = [a_look(sharp=float(k)) for k in range(101)]
    inside, outside = (look_report.compare_one("sharp", value, simulated) for value in (90.0, 96.0))
    assert inside is not None and outside is not None
    assert (inside.low, inside.median, inside.high) == (5.0, 50.0, 95.0)
    assert (inside.differs, outside.differs) == (False, True)
    assert inside.percentile == pytest.approx(100 * 90.5 / 101, abs=0.1)
    assert outside.spreads == pytest.approx(46 / 90 * 3.29, abs=0.01)


def test_real_pairs_are_compared_with_their_own_species_in_like_light() -> None:
    near = [a_look(ratio=0.5, sharp=1.0 + k / 100) for k in range(12)]
    far = [a_look(ratio=20.0, sharp=9.0) for _ in range(12)]
    prints = [a_look("print", ratio=0.5, sharp=5.0) for _ in range(12)]
    real = a_look(ratio=0.6, sharp=1.05)
    found = {c.statistic: c for c in look_report.compare(real, [*near, *far, *prints])}
    assert (found["sharp"].count, found["sharp"].high < 2) == (12, True)
    assert found[look_report.RATIO].count == 24
    assert [look.species for look in look_report.nearest(real, [*prints, *far, *near], 3)] == ["live"] * 3


def test_with_few_captures_in_like_light_all_are_compared() -> None:
    captures = [a_look(ratio=20.0, sharp=9.0) for _ in range(12)]
    assert len(look_report.comparable(a_look(ratio=0.5), captures)) == 12


def test_what_cannot_be_told_is_left_out_of_every_table() -> None:
    looks = [a_look(sharp=math.nan), a_look(sharp=2.0), replace(a_look(), statistics={}, refused="no_face")]
    assert look_report.summarise(looks)["sharp"]["live"].count == 1
    assert look_report.compare_one("sharp", math.nan, looks) is None
    assert look_report.compare_one("sharp", 1.0, looks) is None  # one capture makes no range
    assert look_report.compare_one("unknown", 1.0, looks) is None
    json.dumps(look_report.to_json({}, looks, {"p": a_look(sharp=math.nan)}), allow_nan=False)


def test_the_markdown_lists_what_differs_farthest_first() -> None:
    simulated = [a_look(sharp=float(k), grainy=float(k)) for k in range(21)]
    text = look_report.to_markdown(simulated, {"p_live": a_look(sharp=40.0, grainy=80.0)})
    section = text.split("## What still differs: p_live (live)")[1]
    assert "2 of 3 statistics" in section
    assert section.index("grainy") < section.index("sharp")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows[:4]} == {7}  # statistic, one real pair, four species


# Sheets


def test_a_sheet_stacks_a_title_columns_and_labelled_rows() -> None:
    row = np.zeros((50, 300, 3), np.uint8)
    drawn = contact_sheet.sheet("title", ["a", "b"], [("one", row), ("two", row)])
    assert drawn.shape == (4 * contact_sheet.LINE_HEIGHT + 100, 300, 3)
    assert drawn[: contact_sheet.LINE_HEIGHT].max() > 200


def test_long_labels_are_shrunk_into_the_width() -> None:
    line = contact_sheet.text_line(200, ["a label far too long for so narrow a sheet, and then some"])
    assert line.shape == (contact_sheet.LINE_HEIGHT, 200, 3)
    assert (line[:, 198:] == contact_sheet.PAPER).all()


def test_depth_is_drawn_near_red_far_blue_nothing_black() -> None:
    depth = np.zeros((4, 200), np.uint16)
    depth[1:] = np.linspace(300, 500, 200)
    shown = contact_sheet.shown_depth(depth).astype(int)
    assert (shown[0] == 0).all()
    assert shown[1, 5, 0] > shown[1, 5, 2] and shown[1, 140, 2] > shown[1, 140, 0]
    assert (contact_sheet.shown_depth(np.zeros((3, 3), np.uint16)) == 0).all()


def test_differences_are_shown_at_one_brightness_whatever_the_exposure(points: np.ndarray) -> None:
    bright = pair_of(flat(0.2), flat(0.4), points)
    dim = pair_of(flat(0.02), flat(0.04), points)
    assert np.abs(contact_sheet.shown_difference(bright).astype(int) - contact_sheet.shown_difference(dim)).max() <= 1


# The command


def test_the_command_writes_sheets_and_tables_of_a_few_captures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "look"
    assert main(["--out", str(out), "--count", "1", "--seed", "3"]) == 0
    assert "4 simulated captures" in capsys.readouterr().out
    report = json.loads((out / "look.json").read_text())
    assert report["captures"] == dict.fromkeys(SPECIES, 1)
    assert report["settings"] == {"count": 1, "per": 4, "seed": 3, "size": 256}
    captures = json.loads((out / "captures.json").read_text())
    assert [entry["labels"]["species"] for entry in captures] == list(SPECIES)
    assert len({entry["labels"]["scene"] for entry in captures}) == 1  # the same room for all species
    sheets = sorted(path.name for path in (out / "sheets").iterdir())
    assert "live-face.jpg" in sheets and f"scene-{captures[0]['labels']['scene']}.jpg" in sheets
    assert len(sheets) == len(SPECIES) + 1
    assert (out / "look.md").read_text().count("simulated live") == 1
    assert not (out / "real").exists()
    (out / "sheets" / "scene-of-an-earlier-look.jpg").touch()
    again = take_look(out, LookSettings(count=1, seed=3))  # over the earlier look, with the same values
    assert [look_report.finite(x.statistics) for x in again.simulated] == [entry["statistics"] for entry in captures]
    assert sorted(path.name for path in (out / "sheets").iterdir()) == sheets


@pytest.mark.parametrize(
    "options", [["--count", "0"], ["--per", "0"], ["--seed", "-1"], ["--size", "64"], ["--workers", "-1"]]
)
def test_settings_out_of_range_are_one_clear_line(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), *options]) == SettingOutOfRange.exit_status
    error = capsys.readouterr().err
    assert error.startswith("look: found ") and error.count("\n") == 1


def test_a_command_line_that_makes_no_sense_is_not_taken_for_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-such-option"]) == 64
    assert "--help" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InvalidInput, match=r"thesis\.txt"):
        take_look(tmp_path, LookSettings(count=1))
    with pytest.raises(InvalidInput):
        take_look(tmp_path / "thesis.txt", LookSettings(count=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_real_pairs_stand_above_simulated_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL_PHOTOGRAPHS.is_dir():
        pytest.skip("the real photographs lie outside the repository, in ../shared/real_flash")
    few = [look_at(recipe) for recipe in recipes(2, 0, 256) if recipe.species in ("live", "print")]
    monkeypatch.setattr(command, "simulated_looks", lambda *arguments: few)
    result = take_look(tmp_path / "look", LookSettings(count=2), real=REAL_PHOTOGRAPHS)
    for name, pair in result.real.items():
        written = (tmp_path / "look" / "real" / f"{name}.jpg").read_bytes()
        rows = 1 + sum(x.species == pair.species for x in few)
        expected = contact_sheet.LINE_HEIGHT * (2 + rows) + contact_sheet.PANEL_SIDE * rows
        assert contact_sheet.decoded(written).shape[0] == expected
    ratio = {pair.species: pair.statistics[look_report.RATIO] for pair in result.real.values()}
    assert ratio["print"] < 0.6 * ratio["live"]  # what the shared notes report of these pairs
