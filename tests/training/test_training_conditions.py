"""Test subjects meet phones and rooms of their own, in every simulated data set that is not told otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from flashproof.commands.simulate import simulate
from simulator.ambient import MAX_LUX, SCENES
from simulator.devices import PROFILES
from simulator.stage import subject_name
from training import synthesis
from training.splits import TEST_DEVICES, TEST_SCENES, own_conditions, split_of
from training.synthesis import MIXES, Recipe, SimulationSettings, make_stage, recipes

COUNT = 600


def split(recipe: Recipe) -> str:
    return split_of(subject_name(recipe.subject))


def test_the_conditions_of_the_test_exist_and_leave_others_to_train_on() -> None:
    assert set(TEST_DEVICES) < set(PROFILES) and set(TEST_SCENES) < set(SCENES)
    assert len(set(TEST_DEVICES)) == len(TEST_DEVICES) == 2 and len(set(TEST_SCENES)) == len(TEST_SCENES) == 2


def test_the_document_names_the_conditions_of_the_test() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in (*TEST_DEVICES, *TEST_SCENES))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", [0, 1, 2, 17, 2**40])
def test_test_subjects_and_they_alone_meet_the_conditions_of_the_test(mix: str, seed: int) -> None:
    made = recipes(SimulationSettings(COUNT, seed=seed, mix=mix))
    assert {split(recipe) for recipe in made} == {"train", "val", "test"}
    for recipe in made:
        tested = split(recipe) == "test"
        assert (recipe.device in TEST_DEVICES) == (recipe.scene in TEST_SCENES) == tested, recipe


def test_every_phone_and_every_room_is_met_by_someone() -> None:
    made = recipes(SimulationSettings(4000, mix="balanced"))
    assert {recipe.device for recipe in made} == set(PROFILES)
    assert {recipe.scene for recipe in made} == set(SCENES)
    for name in ("train", "val"):
        assert {recipe.device for recipe in made if split(recipe) == name} == set(PROFILES) - set(TEST_DEVICES)


def test_conditions_do_not_depend_on_the_species() -> None:
    """Else a phone or a room would tell an attack."""
    made = [recipe for recipe in recipes(SimulationSettings(6000, mix="balanced")) if split(recipe) != "test"]
    for label in ("device", "scene"):
        live = [getattr(recipe, label) for recipe in made if recipe.species == "live"]
        attack = [getattr(recipe, label) for recipe in made if recipe.species != "live"]
        for value in set(live) | set(attack):
            assert live.count(value) / len(live) == pytest.approx(attack.count(value) / len(attack), abs=0.04)


def test_without_conditions_of_their_own_everyone_meets_any() -> None:
    made = recipes(SimulationSettings(COUNT, mix="balanced", unseen_conditions=False))
    for tested in (True, False):
        shown = [recipe for recipe in made if (split(recipe) == "test") == tested]
        assert {recipe.device for recipe in shown} & set(TEST_DEVICES)
        assert {recipe.device for recipe in shown} - set(TEST_DEVICES)
        assert {recipe.scene for recipe in shown} & set(TEST_SCENES)
        assert {recipe.scene for recipe in shown} - set(TEST_SCENES)


@pytest.mark.parametrize("lux", [0.0, 0.5, 3.0, 30.0, 300.0, 3000.0, MAX_LUX])
def test_an_illuminance_that_is_given_leaves_the_conditions_apart(lux: float) -> None:
    for recipe in recipes(SimulationSettings(COUNT, mix="balanced", lux=lux)):
        assert (recipe.device in TEST_DEVICES) == (recipe.scene in TEST_SCENES) == (split(recipe) == "test")


@pytest.mark.parametrize("lux", [2.0, 20.0, 200.0])
def test_an_illuminance_is_met_in_rooms_that_have_it_where_there_are_any(lux: float) -> None:
    for recipe in recipes(SimulationSettings(COUNT, mix="balanced", lux=lux)):
        own = own_conditions(subject_name(recipe.subject), SCENES, TEST_SCENES)
        having = [name for name in own if SCENES[name].lux[0] <= lux <= SCENES[name].lux[1]]
        assert recipe.scene in (having or own)


def test_the_people_and_their_attacks_are_the_same_with_and_without() -> None:
    """Only where they stand and what films them changes."""
    one, other = (recipes(SimulationSettings(200, unseen_conditions=unseen)) for unseen in (True, False))
    keys = ("index", "subject", "species", "instrument", "seed", "nonce")
    assert [[getattr(recipe, key) for key in keys] for recipe in one] == [
        [getattr(recipe, key) for key in keys] for recipe in other
    ]


def test_a_subject_keeps_the_names_that_are_its_own() -> None:
    names = ("a", "b", "c")
    tested, trained = (
        next(subject for subject in map(subject_name, range(1000)) if split_of(subject) == name)
        for name in ("test", "train")
    )
    assert own_conditions(tested, names, ("b",)) == ("b",)
    assert own_conditions(trained, names, ("b",)) == ("a", "c")


def test_a_scene_is_rendered_under_the_conditions_of_its_recipe() -> None:
    settings = SimulationSettings(4, size=128, mix="balanced")
    for recipe in recipes(settings)[:2]:
        labels = make_stage(recipe, settings).labels
        assert (labels["device"], labels["scene"]) == (recipe.device, recipe.scene)


@pytest.mark.parametrize(("options", "unseen"), [([], True), (["--same-conditions"], False)])
def test_the_command_hands_the_choice_on(
    options: list[str], unseen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SimulationSettings] = []

    def write(folder: Path, settings: SimulationSettings, *_: Any) -> synthesis.SimulatedDataset:
        asked.append(settings)
        return synthesis.SimulatedDataset(folder, 3, 3, {"live": 3}, 1)

    monkeypatch.setattr(synthesis, "write_simulated_dataset", write)
    app = typer.Typer()
    app.command()(simulate)
    done = CliRunner().invoke(app, [str(tmp_path / "set"), "--count=3", "--json", *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["captures"] == 3
    assert [settings.unseen_conditions for settings in asked] == [unseen]
