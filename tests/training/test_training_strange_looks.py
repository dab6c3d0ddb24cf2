"""Scenes with other looks: each condition changes what it says and nothing else, and the table counts the errors."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from virtual_session import detector

from sdk_reference.preprocess import PreprocessSettings
from simulator.stage import Stage, subject_name
from training import strange_looks
from training.splits import TEST_DEVICES, split_of
from training.strange_looks import CONDITIONS, Scored, scenes, scores, table


@pytest.fixture(scope="module")
def stage() -> Stage:
    return next(scenes(8))[2]


def test_scenes_are_those_of_validation_people_and_phones() -> None:
    found = list(scenes(8))
    assert [species for _, species, _ in found].count("live") == 8 and len(found) == 16
    assert sum(species == "mask" for _, species, _ in found) == 4
    assert {split_of(subject_name(scene.subject)) for _, _, scene in found} == {"val"}
    assert not {scene.phone.profile for _, _, scene in found} & set(TEST_DEVICES)


def test_conditions_change_what_they_say(stage: Stage) -> None:
    rng = np.random.default_rng(0)
    made = {name: change(stage, rng) for name, (change, _) in CONDITIONS.items()}
    assert made["as simulated"] is stage
    assert made["colours saturated by 2"].phone == replace(stage.phone, saturation=2.0)
    yellow = made["room tinted yellow"].layers
    np.testing.assert_allclose(yellow.ambient, stage.layers.ambient * np.array([1.25, 1.0, 0.75]), rtol=1e-5)
    assert yellow.screen is stage.layers.screen
    blotched = made["blotched surfaces"].layers
    lit = stage.layers.screen > 1e-6
    np.testing.assert_allclose(
        (blotched.screen / np.maximum(stage.layers.screen, 1e-9))[lit],
        (blotched.ambient / np.maximum(stage.layers.ambient, 1e-9))[lit],
        rtol=1e-3,
    )
    assert np.abs(blotched.screen - stage.layers.screen).max() > 0


def test_every_condition_goes_the_phones_way(stage: Stage) -> None:
    seen: list[np.ndarray] = []

    def scorer(inputs: np.ndarray) -> list[Any]:
        seen.append(inputs)
        return [SimpleNamespace(score=0.5)]

    model: Any = SimpleNamespace(n0=5, preprocess=PreprocessSettings(), scorer=scorer)
    found = list(scores(model, stage, 1, "live", detector()))
    assert [one.condition for one in found] == list(CONDITIONS)
    assert len(seen) == sum(one.score is not None for one in found) == len(CONDITIONS)
    assert len({inputs.tobytes() for inputs in seen}) == len(CONDITIONS)


def test_the_table_counts_both_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strange_looks, "CONDITIONS", {"plain": None})
    found = [Scored("plain", "live", score) for score in (0.9, 0.8, 0.2, None)]
    found += [Scored("plain", species, score) for species in ("print", "replay", "mask") for score in (0.1, 0.7)]
    row: dict[str, Any] = table(found, 0.5)["plain"]
    assert row["median live score"] == 0.8
    assert row["live refused"].value == pytest.approx(1 / 3)
    assert [row[f"{species} accepted"].value for species in ("print", "replay", "mask")] == [0.5, 0.5, 0.5]
    empty: dict[str, Any] = table([Scored("plain", "live", None), Scored("plain", "mask", 0.7)], 0.5)["plain"]
    assert (empty["median live score"], empty["live refused"], empty["print accepted"]) == (None, None, None)
    assert empty["mask accepted"].value == 1.0
