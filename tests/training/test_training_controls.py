"""The controls: what each of them can see, whether a planted answer to the light is found and only where it is planted,
areas under curves against independent truth, gates that can fail, and work that survives a kill."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_captures import FACELESS, KnowingDetector, dome
from torchmetrics.functional.classification import binary_auroc
from typer.testing import CliRunner

from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Capture, Labels
from sdk_reference.differential import differential
from sdk_reference.errors import NoFace
from sdk_reference.preprocess import PreprocessSettings, preprocess
from sdk_reference.preprocess import scaled_differences as shipped_differences
from training import controls, controls_data
from training.auc import auc_within_folds
from training.controls_data import CROP_SIZE, CROPS_FILE, INDEX_FILE, Crops, Scene, make_crops, make_pair, to_crop
from training.controls_model import (
    CONTROLS,
    Job,
    Scores,
    TrainingSettings,
    balanced_weights,
    control_inputs,
    cross_validate,
    run_job,
    scaled_differences,
    small_classifier,
    subject_folds,
)
from training.controls_report import (
    BANDS,
    FLASH_GOAL,
    OFF_LIMIT,
    Goal,
    all_met,
    find_cell,
    goals,
    in_range,
    lux_ranges,
    measure,
    scene_counts,
)
from training.controls_tables import fade_figure, markdown
from training.errors import ClassMissing, DatasetInvalid, SettingOutOfRange, SettingsMismatch
from training.synthesis import Recipe, SimulationSettings, recipes

N0 = 5
ATTACKS = ("print", "replay", "mask")
QUICK = TrainingSettings(steps=30, batch=16, folds=2)
LEVELS = np.linspace(0.5, -0.5, N0)  # symmetric, so that reversing the frames is the same as changing the sign


def planted_frames(species: str, lit: bool, rng: np.random.Generator) -> np.ndarray:
    """(N0,3,64,64) linear light: a grey square in noise that becomes brighter with the screen's level when it is live
    and darker when it is not."""
    answer = (0.2 if species == "live" else -0.2) * LEVELS * lit
    grey = rng.uniform(0.15, 0.85) + answer
    return grey[:, None, None, None] + rng.normal(0.0, 0.01, (N0, 3, CROP_SIZE, CROP_SIZE))


def planted_scenes(count: int, subjects: int) -> list[Scene]:
    """Six scenes per subject: three live, one of each attack, in rooms from 2 to 2,000 lux."""
    rng = np.random.default_rng(3)
    pattern = ("live", "print", "live", "replay", "live", "mask")
    rooms = np.exp(rng.uniform(np.log(2), np.log(2000), count))
    return [
        Scene(row, f"s{row // len(pattern) % subjects}", pattern[row % len(pattern)], "any", lux, None, lux < 500)
        for row, lux in enumerate(rooms.tolist())
    ]


def planted_crops(folder: Path, count: int = 72, subjects: int = 12) -> Crops:
    """Crops in which only the order of the levels tells live from attack."""
    rng = np.random.default_rng(4)
    scenes = planted_scenes(count, subjects)
    rows = [[planted_frames(scene.species, lit, rng) for lit in (True, False)] for scene in scenes]
    folder.mkdir(exist_ok=True)
    np.save(folder / CROPS_FILE, np.rint(np.clip(rows, 0, 1) * 65535).astype(np.uint16))
    return Crops(folder, scenes)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Crops, list[Scores]]:
    crops = planted_crops(tmp_path_factory.mktemp("planted"))
    return crops, cross_validate(crops, QUICK)


def overall(crops: Crops, scores: list[Scores], control: str) -> float:
    live = np.array([scene.species == "live" for scene in crops.usable])
    one = next(score for score in scores if score.control == control)
    subjects = np.array([scene.subject for scene in crops.usable])
    rate = auc_within_folds(one.live_logit, live, one.fold, subjects, np.random.default_rng(0), rounds=50)
    assert rate is not None
    return rate.value


def test_a_planted_answer_to_the_light_is_found_by_flash_differences(planted: tuple[Crops, list[Scores]]) -> None:
    assert overall(*planted, "flash") > 0.97


@pytest.mark.parametrize("control", ["screen_off", "shuffled"])
def test_without_the_light_or_its_order_nothing_is_found(planted: tuple[Crops, list[Scores]], control: str) -> None:
    assert abs(overall(*planted, control) - 0.5) < 0.2


def test_a_frame_alone_tells_less_than_the_difference(planted: tuple[Crops, list[Scores]]) -> None:
    assert overall(*planted, "one_frame") < overall(*planted, "flash") - 0.1


def test_a_job_sent_to_a_worker_gives_the_same_scores_and_takes_no_pixels_along(
    planted: tuple[Crops, list[Scores]],
) -> None:
    crops, scores = planted
    sent = pickle.dumps(Job(crops, "flash", 1, QUICK))
    assert len(sent) < 20_000 < crops.array.nbytes
    np.testing.assert_array_equal(run_job(pickle.loads(sent)), scores[0].live_logit[scores[0].fold == 1])


def test_nobody_is_trained_on_and_tested() -> None:
    subjects = [f"s{k % 7}" for k in range(50)]
    folds = subject_folds(subjects, TrainingSettings(folds=3))
    assert all(len({fold for name, fold in zip(subjects, folds, strict=True) if name == who}) == 1 for who in subjects)
    assert set(folds) == {0, 1, 2}


def test_the_classes_and_within_the_attacks_the_species_weigh_alike() -> None:
    species = np.array(["live"] * 5 + ["print"] * 2 + ["mask"] * 3)
    weights = balanced_weights(species).numpy()
    sums = {name: weights[species == name].sum() for name in np.unique(species)}
    assert sums == pytest.approx({"live": 5.0, "print": 2.5, "mask": 2.5})


def test_the_classifier_has_five_convolutions_and_is_small() -> None:
    model = small_classifier(18)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model) == 5
    assert sum(weights.numel() for weights in model.parameters()) < 150_000
    assert model(torch.zeros(2, 18, CROP_SIZE, CROP_SIZE)).shape == (2, 1)


def test_too_few_captures_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClassMissing, match="--count"):
        cross_validate(planted_crops(tmp_path, count=6, subjects=1), QUICK)


# ---- inputs


def dome_capture(rng: np.random.Generator) -> Capture:
    levels = np.array([1.0, 0.6, 0.4, 0.2, 0.0])[:, None, None, None]
    frames = 60 + 120 * levels * dome()[None, :, :, None] + rng.integers(0, 12, (N0, 128, 128, 3))
    return Capture(frames.astype(np.uint8), tuple(range(N0)), default_plan(), Labels(simulated=True))


def test_the_differences_are_those_of_the_shipped_preprocessing() -> None:
    prepared = preprocess(dome_capture(np.random.default_rng(0)), KnowingDetector(), PreprocessSettings(input_size=64))
    ours = scaled_differences(to_crop(prepared).astype(np.float32) / 65535)
    shipped, _ = shipped_differences(prepared.aligned_u8, PreprocessSettings(input_size=64))
    np.testing.assert_allclose(ours.reshape(shipped.shape), shipped, atol=16 / 65535)


def test_shuffling_permutes_the_frames_and_nothing_else(planted: tuple[Crops, list[Scores]]) -> None:
    crops = Crops(planted[0].folder, planted[0].scenes[:40])
    plain, shuffled = (control_inputs(crops, control, seed=0) for control in ("flash", "shuffled"))
    off = control_inputs(crops, "screen_off", seed=0)
    assert plain.shape == shuffled.shape == off.shape == (40, 18, CROP_SIZE, CROP_SIZE)
    assert np.mean([np.array_equal(a, b) for a, b in zip(plain, shuffled, strict=True)]) < 0.2  # 1 of 120 stays
    frames = crops.linear(crops.scenes[0], "flash")
    order = np.random.default_rng([0, 2, 0]).permutation(N0)
    expected = differential(np.ascontiguousarray(frames[order]))
    assert np.corrcoef(expected.ravel(), shuffled[0].ravel().astype(np.float32))[0, 1] > 0.99


@pytest.mark.parametrize(("control", "rank"), [("one_frame", 0), ("darkest_frame", N0 - 1)])
def test_one_frame_is_srgb_coded_and_of_its_rank(planted: tuple[Crops, list[Scores]], control: str, rank: int) -> None:
    crops = Crops(planted[0].folder, planted[0].scenes[:1])
    light = crops.linear(crops.scenes[0], "flash")[rank].astype(np.float64)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(control_inputs(crops, control, seed=0)[0], coded * 2 - 1, atol=2e-3)


# ---- areas and their intervals


def one_fold(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(count, np.int64), np.array([f"s{k}" for k in range(count)])


def test_the_area_is_that_of_torchmetrics_and_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(1)
    live = rng.random(300) < 0.4
    scores = np.round(rng.normal(live * 1.0, 1.0), 1)  # rounded, so that there are ties
    rate = auc_within_folds(scores, live, *one_fold(300), rng)
    wins = stats.mannwhitneyu(scores[live], scores[~live]).statistic / (live.sum() * (~live).sum())
    library = binary_auroc(
        torch.from_numpy((scores - scores.min()) / np.ptp(scores)), torch.from_numpy(live.astype(int))
    )
    assert rate is not None
    assert rate.value == pytest.approx(wins, abs=1e-12)
    assert rate.value == pytest.approx(float(library), abs=1e-6)


def test_scores_of_different_folds_are_not_compared() -> None:
    live = np.array([True, False, True, False])
    scores = np.array([1.0, 0.0, 101.0, 100.0])  # perfect within each fold; across them one pair is wrong
    rate = auc_within_folds(
        scores, live, np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"]), np.random.default_rng(0)
    )
    assert rate is not None and rate.value == 1.0


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = stats.norm.cdf(1.0 / np.sqrt(2.0))  # two normal distributions, one standard deviation apart
    rng = np.random.default_rng(2)
    live = np.arange(120) % 2 == 0
    rounds = 150
    rates = [auc_within_folds(rng.normal(live * 1.0, 1.0), live, *one_fold(120), rng, 200) for _ in range(rounds)]
    held = sum(rate is not None and rate.low <= truth <= rate.high for rate in rates)
    assert held >= stats.binom.ppf(0.001, rounds, 0.93)


def test_captures_of_one_person_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(20), 20)
    live = np.arange(400) % 2 == 0
    scores = rng.normal(0.0, 1.0, 20)[person] * np.where(live, 1, -1) + rng.normal(live * 0.5, 0.3)
    together = auc_within_folds(scores, live, np.zeros(400, np.int64), person.astype(str), rng)
    apart = auc_within_folds(scores, live, *one_fold(400), rng)
    assert together is not None and apart is not None
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
def test_a_perfect_score_on_few_people_is_not_certain(sign: int, value: float) -> None:
    live = np.arange(40) % 2 == 0
    rate = auc_within_folds(sign * live.astype(float), live, *one_fold(40), np.random.default_rng(0))
    assert rate is not None
    bound = 0.025 ** (1 / 20)  # the exact bound for none wrong of twenty
    assert (rate.value, max(rate.low, 1 - rate.high)) == (value, pytest.approx(bound))


def test_without_a_pair_there_is_no_area() -> None:
    live = np.array([True, False])
    assert auc_within_folds(np.zeros(2), live, np.array([0, 1]), np.array(["a", "b"]), np.random.default_rng(0)) is None


# ---- the report


def report_of(planted: tuple[Crops, list[Scores]]) -> dict[str, object]:
    crops, scores = planted
    simulation = {"settings": {}, "simulator_sha256": "", "preprocessing": {}}
    return controls.to_report(crops, simulation, QUICK, measure(crops.usable, scores, 0), {})


@pytest.mark.parametrize(
    ("lux", "band"), [(0.0, "0-10"), (10.0, "0-10"), (10.1, "10-30"), (300.0, "100-300"), (1e5, "above 1000")]
)
def test_every_lux_lies_in_one_band(lux: float, band: str) -> None:
    assert [name for name in BANDS if in_range(np.array([lux]), name)[0]] == [band]
    assert in_range(np.array([lux]), "up to 300")[0] == (lux <= 300)


def ideal_scores(crops: Crops, separating: tuple[str, ...]) -> list[Scores]:
    rng = np.random.default_rng(5)
    live = np.array([scene.species == "live" for scene in crops.usable])
    folds = subject_folds([scene.subject for scene in crops.usable], QUICK)
    return [Scores(name, live * (9.0 * (name in separating)) + rng.normal(size=len(live)), folds) for name in CONTROLS]


def test_all_goals_are_met_when_only_the_flash_separates(tmp_path: Path) -> None:
    crops = Crops(tmp_path, planted_scenes(600, subjects=100))
    found = goals(measure(crops.usable, ideal_scores(crops, ("flash",)), 0))
    assert len(found) == 9
    assert all(goal.ok for goal in found) and all_met(found)


@pytest.mark.parametrize(
    ("separating", "missed"),
    [(("flash", "screen_off"), "screen off"), ((), "flash"), (("flash", "shuffled"), "shuffled")],
)
def test_each_gate_can_fail(tmp_path: Path, separating: tuple[str, ...], missed: str) -> None:
    crops = Crops(tmp_path, planted_scenes(300, subjects=50))
    found = goals(measure(crops.usable, ideal_scores(crops, separating), 0))
    assert {goal.name.split(",")[0] for goal in found if goal.ok is False} == {missed}
    assert not all_met(found)


def test_goals_that_nobody_measured_are_not_met() -> None:
    assert not all_met([Goal("flash", None, None, None, "at least", 0.97, None)])


def test_few_captures_give_no_area_and_no_verdict(tmp_path: Path) -> None:
    crops = Crops(tmp_path, planted_scenes(24, subjects=4))
    cells = measure(crops.usable, ideal_scores(crops, ("flash",)), 0)
    assert find_cell(cells, "flash", "print", "all").auc is None
    assert {goal.ok for goal in goals(cells)} == {None}


def test_the_limits_are_those_of_the_issue() -> None:
    assert (OFF_LIMIT, FLASH_GOAL) == (0.65, {"print": 0.97, "replay": 0.97, "mask": 0.90})


def test_the_tables_call_the_captures_simulated_and_hold_every_range(planted: tuple[Crops, list[Scores]]) -> None:
    report = report_of(planted)
    text = markdown(report)
    assert report["simulated"] is True and "**simulated**" in text
    assert all(text.count(f"| {name} |") == 2 * len(CONTROLS) + 1 for name in lux_ranges())


def test_the_figure_has_a_panel_per_control_and_says_simulated(planted: tuple[Crops, list[Scores]]) -> None:
    crops, scores = planted
    figure = fade_figure(measure(crops.usable, scores, 0), len(crops.usable))
    assert [panel.get_ylabel() != "" for panel in figure.axes] == [True, False, False, False, False]
    assert "simulated" in str(figure.get_suptitle())


def test_scenes_left_out_are_counted_by_reason() -> None:
    scenes = [Scene(k, "s", "live", "face", 5.0, reason, False) for k, reason in enumerate(["flash:no_face", None])]
    row = next(row for row in scene_counts(scenes) if (row["lux"], row["species"]) == ("0-10", "live"))
    assert (row["made"], row["left_out"], row["accepted"]) == (2, {"flash:no_face": 1}, 0)


# ---- making the crops


def tiny_pair(recipe: Recipe, settings: SimulationSettings) -> tuple[Capture, Capture]:
    rng = np.random.default_rng(recipe.seed)
    lit, dark = dome_capture(rng), dome_capture(rng)
    if recipe.index == 1:
        dark.frames[2, 0, 0] = FACELESS
    labels = Labels(simulated=True, subject=f"s{recipe.subject}", species=recipe.species, ambient_lux=40.0)
    return replace(lit, labels=labels), replace(dark, labels=labels)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls_data, "make_pair", tiny_pair)


SIX = SimulationSettings(6, seed=1, mix="balanced")


def test_a_scene_without_a_face_in_either_photograph_is_left_out_and_counted(tiny: None, tmp_path: Path) -> None:
    crops = make_crops(tmp_path / "new", SIX, detector_factory=KnowingDetector)
    assert [scene.left_out for scene in crops.scenes] == [None, "screen_off:no_face", None, None, None, None]
    assert NoFace.code == "no_face"
    assert not crops.array[1].any() and crops.array[0].any()


def test_work_cut_short_goes_on_to_the_same_crops(tiny: None, tmp_path: Path) -> None:
    whole = make_crops(tmp_path / "whole", SIX, detector_factory=KnowingDetector)
    make_crops(tmp_path / "cut", SIX, detector_factory=KnowingDetector)
    lines = (tmp_path / "cut" / INDEX_FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / INDEX_FILE).write_bytes(b"".join(lines[:3]) + lines[3][:10])
    before = KnowingDetector.detected
    again = make_crops(tmp_path / "cut", SIX, detector_factory=KnowingDetector)
    assert KnowingDetector.detected - before == 3 * 2 * N0
    assert again.scenes == whole.scenes
    np.testing.assert_array_equal(again.array, whole.array)


def test_other_settings_are_refused(tiny: None, tmp_path: Path) -> None:
    make_crops(tmp_path, SIX, detector_factory=KnowingDetector)
    with pytest.raises(SettingsMismatch, match="--data"):
        make_crops(tmp_path, replace(SIX, seed=2), detector_factory=KnowingDetector)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DatasetInvalid, match="something else"):
        make_crops(tmp_path, SIX, detector_factory=KnowingDetector)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"folds": 1}, {"steps": 0}, {"batch": 1}])
def test_training_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingOutOfRange):
        TrainingSettings(**wrong)


def test_a_pair_is_one_scene_with_the_screen_and_without() -> None:
    settings = SimulationSettings(6, seed=3, mix="balanced", size=128)
    lit, dark = make_pair(recipes(settings)[0], settings)
    assert lit.timestamps_ns == dark.timestamps_ns and lit.labels is not None and dark.labels is not None
    assert lit.labels.ambient_lux == dark.labels.ambient_lux
    np.testing.assert_allclose(lit.depth_mm, dark.depth_mm)
    assert not np.array_equal(lit.frames, dark.frames)
    assert TEMPLATE.size % CROP_SIZE == 0


# ---- the command


def test_the_command_fails_when_a_goal_is_missed_and_writes_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crops = Crops(tmp_path, planted_scenes(72, subjects=12))
    monkeypatch.setattr(controls, "make_crops", lambda *_: crops)
    for separating, status in ((("flash", "screen_off"), 1), (("flash",), 0)):
        monkeypatch.setattr(controls, "cross_validate", lambda *_, kept=separating: ideal_scores(crops, kept))
        done = CliRunner().invoke(controls.app, ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"])
        assert done.exit_code == status, done.output
        assert ("MISSED" in done.output) == bool(status)
        assert "simulated" in done.output
        report = json.loads((tmp_path / "out" / "controls.json").read_text())
        assert report["ok"] is (status == 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"controls.{e}" for e in ("json", "md", "png")
    ]


def test_an_error_is_one_line_and_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    monkeypatch.setattr("sys.argv", ["controls", "--data", str(tmp_path), "--quiet"])
    with pytest.raises(SystemExit) as ended:
        controls.main()
    assert ended.value.code == DatasetInvalid.exit_status
    assert capsys.readouterr().err.startswith("controls: found ")
