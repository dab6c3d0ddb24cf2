"""The tables of an evaluation against counts on fingers: instruments, refusals, groups, protocol, verdicts, goals."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_outcomes import outcome

from training import rate_tables
from training.breakdown import DISTANCE_EDGES_CM, band, breakdowns, tone_group
from training.controls_report import LUX_EDGES
from training.counted import FEWEST, Counted, count
from training.data import person_code
from training.evaluation_goals import evaluation_goals
from training.metrics import Rate
from training.outcomes import Outcome
from training.protocol import protocol


def some() -> list[Outcome]:
    """Six live faces of two scenes, two of them refused, and five attacks, one of them refused."""
    return [
        *(outcome("live", score, scene="office", subject="a") for score in (0.9, 0.8, 0.3)),
        outcome("live", 0.7, "flash_too_weak", scene="sunlight", subject="b"),
        outcome("live", None, "no_face", scene="sunlight", subject="b"),
        outcome("live", 0.95, scene="sunlight", subject="b"),
        outcome("mask", 0.9, instrument="mask_latex", scene="office", subject="a"),
        outcome("mask", 0.1, instrument="mask_resin", scene="office", subject="b"),
        outcome("mask", 0.2, instrument="mask_resin", scene="office", subject="a"),
        outcome("print", 0.6, "moved", instrument="print_hd", scene="sunlight", subject="a"),
        outcome("print", 0.05, instrument="print_hd", scene="sunlight", subject="b"),
    ]


def events(cell: dict[str, Any]) -> tuple[int, int]:
    return cell["events"], cell["trials"]


def test_a_cell_without_captures_has_no_rate_and_one_of_few_says_so() -> None:
    assert Counted(0, 0).to_dict() == {"value": None, "low": None, "high": None, "events": 0, "trials": 0, "few": True}
    assert count([True, False]).to_dict()["value"] == 0.5
    assert Counted(0, FEWEST - 1).few and not Counted(0, FEWEST).few


def test_every_mask_material_stands_by_itself_and_refused_captures_count_for_none() -> None:
    found = rate_tables.instruments(some())
    assert {name: (cell["species"], *events(cell)) for name, cell in found.items()} == {
        "mask_latex": ("mask", 1, 1),
        "mask_resin": ("mask", 0, 2),
        "print_hd": ("print", 0, 1),
    }


def test_refusals_are_counted_by_reason_species_and_scene() -> None:
    found = rate_tables.refusals(some())
    assert events(found["all"]) == (3, 11)
    assert found["by_reason"] == {"flash_too_weak": {"live": 1}, "moved": {"print": 1}, "no_face": {"live": 1}}
    assert {name: events(cell) for name, cell in found["by_species"].items()} == {
        "live": (2, 6),
        "mask": (0, 3),
        "print": (1, 2),
    }
    assert {name: events(cell) for name, cell in found["bona_fide_by_scene"].items()} == {
        "office": (0, 3),
        "sunlight": (2, 3),
    }


def test_without_gates_every_capture_with_a_face_counts() -> None:
    gated, ungated = rate_tables.rates_of(some(), 0.5), rate_tables.rates_without_gates(some(), 0.5)
    assert gated is not None and ungated is not None
    assert gated.counts == {"live": 4, "mask": 3, "print": 1} and ungated.counts == {"live": 5, "mask": 3, "print": 2}
    assert gated.apcer["print"].value == 0.0 and ungated.apcer["print"].value == 0.5
    assert gated.bpcer.value == 1 / 4 and ungated.bpcer.value == 1 / 5


def test_without_a_class_the_rates_are_null_and_the_counts_stand() -> None:
    refused = [outcome("live", 0.9, "moved"), outcome("print", 0.2)]
    assert rate_tables.rates_of(refused, 0.5) is None and rate_tables.at_bpcer(refused) is None
    values = rate_tables.rates_dict(None, refused, 0.5)
    assert set(values) == set(rate_tables.RATE_KEYS)
    assert (values["eer"], values["threshold"], values["refused"]) == (None, 0.5, {"live": 1})
    assert values["counts"] == {"print": 1}


def test_the_worst_species_at_a_bpcer_is_measured_at_the_threshold_of_that_bpcer() -> None:
    live = [outcome("live", score) for score in np.linspace(0.4, 0.9, 100)]
    attacks = [outcome("print", 0.1), outcome("print", 0.6), outcome("mask", 0.402)]
    found = rate_tables.at_bpcer([*live, *attacks, outcome("mask", 0.99, "moved")], 0.01)
    assert found is not None and found["bpcer"]["value"] == 0.01
    assert found["threshold"] == pytest.approx(np.linspace(0.4, 0.9, 100)[1])
    assert found["apcer_max"]["value"] == found["apcer"]["print"]["value"] == 0.5
    assert found["apcer"]["mask"]["value"] == 0.0 and "evaluated split itself" in found["chosen_on"]


def test_verdicts_count_every_capture_once_and_add_up() -> None:
    found = rate_tables.verdicts(some())
    live = found["live"]
    assert [events(live[name]) for name in ("live", "spoof", "retry", "not_live")] == [(3, 6), (1, 6), (2, 6), (3, 6)]
    assert live["reasons"] == {"flash_too_weak": 1, "no_face": 1, "score_below_threshold": 1}
    assert list(found) == ["live", "mask", "print"]


@pytest.mark.parametrize(
    ("lux", "name"),
    [(0.0, "0-10"), (10.0, "0-10"), (10.01, "10-30"), (300.0, "100-300"), (1000.0, "300-1000"), (9e4, "above 1000")],
)
def test_light_falls_into_bands_whose_upper_edge_belongs_to_them(lux: float, name: str) -> None:
    assert band(lux, LUX_EDGES) == name


def test_what_is_not_labelled_is_a_group_of_its_own() -> None:
    assert band(None, DISTANCE_EDGES_CM) == "unknown" and tone_group(outcome()) == "unknown"
    tones = [tone_group(outcome(skin_tone=tone)) for tone in (1, 3.0, 4, 6, 7, 10)]
    assert tones == ["1-3", "1-3", "4-6", "4-6", "7-10", "7-10"] and tone_group(outcome(skin_tone="olive")) == "olive"


def test_groups_come_in_order_and_hold_every_capture_once() -> None:
    captures = [*some(), outcome(ambient_lux=2000.0), outcome(ambient_lux=5.0), outcome(ambient_lux=50.0)]
    found = breakdowns(captures)
    assert [group["group"] for group in found["lux"]] == ["0-10", "30-100", "above 1000", "unknown"]
    assert all(sum(group["captures"] for group in groups) == len(captures) for groups in found.values())
    office, sunlight = found["scene"][:2]
    assert (office["group"], events(office["bpcer"]), events(office["apcer"]["mask"])) == ("office", (1, 3), (1, 3))
    assert (events(sunlight["bona_fide_refused"]), events(sunlight["refused"])) == ((2, 3), (3, 5))
    assert events(sunlight["bpcer"]) == (0, 1) and events(sunlight["apcer"]["print"]) == (0, 1)


def stated(outcomes: list[Outcome], trained_on: dict[str, Any], split: str = "test") -> dict[str, Any]:
    trained = [SimpleNamespace(record=outcome(subject="t", device="old").record)]
    data = SimpleNamespace(
        sha256="same", by_split={"train": trained, "val": [], "test": []}, places=lambda split, label: ["old", "office"]
    )
    return protocol(SimpleNamespace(trained_on=trained_on), data, split, outcomes)  # type: ignore[arg-type]


def test_devices_and_scenes_that_training_lacked_are_called_unseen() -> None:
    captures = [
        outcome(device="old", scene="office"),
        outcome(device="new", scene="office"),
        outcome(device="new", scene="moon"),
    ]
    train, val = {"devices": ["old", "older"], "scenes": ["office"]}, {"devices": ["new", "old"], "scenes": ["office"]}
    found = stated(captures, {"splits": {"train": train, "val": val}})
    assert found["devices"] == {
        "unseen": ["new"],
        "shared": ["old"],
        "only_in_validation": ["new"],
        "training": ["old", "older"],
    }
    assert (found["scenes"]["unseen"], found["scenes"]["only_in_validation"]) == (["moon"], [])
    assert found["certain"] is True
    assert found["captures"] == {"all": 3, "unseen_device": 2, "unseen_scene": 1, "unseen_both": 1}


def test_what_the_first_weights_had_seen_counts_as_seen() -> None:
    splits = {"train": {"devices": ["old"], "scenes": ["office"]}, "val": {"devices": [], "scenes": []}}
    captures = [outcome(device="new", scene="office")]
    first = {"devices": ["new", "old"], "scenes": ["office"]}
    assert stated(captures, {"splits": splits})["devices"]["unseen"] == ["new"]
    found = stated(captures, {"splits": splits, "led_to_by": first})
    assert (found["devices"]["unseen"], found["certain"]) == ([], True)
    assert stated(captures, {"splits": splits, "began_with_unknown": True})["certain"] is False


def test_a_statement_is_certain_only_about_the_data_of_the_training() -> None:
    captures = [outcome(device="old", scene="office")]
    assert stated(captures, {"sha256": "same"})["certain"] is True
    assert stated(captures, {"sha256": "other"})["certain"] is False


@pytest.mark.parametrize("split", ["test", "all"])
@pytest.mark.parametrize(
    ("trained_on", "overlap"),
    [
        ({"led_to_by": {"people": [person_code("t"), person_code("u")]}}, 1),  # by the run's record
        ({"led_to_by": {"people": [person_code("u")]}, "sha256": "same"}, 0),  # which knows better than names
        (
            {"led_to_by": {}, "began_with_unknown": True, "sha256": "same"},
            None,
        ),  # the first weights may have seen anybody
        ({"sha256": "same"}, 1),  # an older run's record, on the data of its training
        ({"sha256": "other"}, None),
        ({}, None),
    ],
)
def test_people_of_the_training_are_told_where_they_are_known(
    trained_on: dict[str, Any], overlap: int | None, split: str
) -> None:
    captures = [outcome(subject="t"), outcome(subject="v"), outcome(subject="v")]
    assert stated(captures, trained_on, split)["subjects"] == {"evaluated": 2, "overlap": overlap}


def test_goals_are_missed_met_or_cannot_be_told() -> None:
    rates = SimpleNamespace(eer=Rate(0.01, 0.0, 0.02), hter=Rate(0.013, 0.01, 0.02))
    eer, hter, worst = evaluation_goals(rates, None, [], screen_off=False)  # type: ignore[arg-type]
    assert (eer.ok, hter.ok, worst.ok, worst.value) == (True, False, None, None)
    assert all(goal.ok is None for goal in evaluation_goals(None, None, [], screen_off=False))


@pytest.mark.parametrize(("live", "ok"), [(0, True), (1, True), (2, False)])
def test_with_the_screen_off_99_of_100_live_people_must_not_be_called_live(live: int, ok: bool) -> None:
    captures = [outcome("live", 0.9)] * live + [outcome("live", 0.9, "flash_too_weak")] * (100 - live)
    (goal,) = evaluation_goals(None, None, [*captures, outcome("print", 0.9)], screen_off=True)
    assert (goal.ok, goal.value) == (ok, 1 - live / 100)


def test_all_tables_are_json() -> None:
    tables = (rate_tables.instruments(some()), rate_tables.refusals(some()), breakdowns(some()))
    assert json.loads(json.dumps(tables, allow_nan=False)) == json.loads(json.dumps(tables))
