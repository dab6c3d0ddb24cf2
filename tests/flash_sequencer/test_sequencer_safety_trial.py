"""The trial of many plans and presentations, small; the full one is `python -m flash_sequencer.safety_trial`."""

from __future__ import annotations

import pytest

from flash_sequencer import safety_trial
from flash_sequencer.safety_trial import main, trial


def test_random_plans_and_presentations_of_both_profiles_are_safe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plans", "150", "--sequences", "60"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["what", "profile", "tried", "unsafe"]
    assert [row.split()[:4] for row in rows] == [
        ["planned", "standard", "150", "0"],
        ["presented", "standard", "60", "0"],
        ["planned", "gentle", "150", "0"],
        ["presented", "gentle", "60", "0"],
    ]


def test_the_trial_reaches_what_it_is_to_judge() -> None:
    rows = {(row.what, row.profile): row for row in trial(150, 60, seed=2)}
    assert rows["planned", "standard"].most_general == 2
    assert rows["presented", "standard"].most_general >= 1.5
    assert rows["planned", "standard"].most_red > 0
    assert rows["presented", "gentle"].most_red == 0
    assert rows["presented", "standard"].shortest_step_ms >= 300
    assert rows["presented", "gentle"].shortest_step_ms >= 600


def test_an_unsafe_presentation_is_counted_and_ends_in_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    flicker = [((0, 0, 0), 125), ((255, 255, 255), 125)] * 10
    monkeypatch.setattr(safety_trial, "_presented", lambda rng, profile: flicker)
    assert [row.unsafe for row in trial(1, 3, seed=1)] == [0, 3, 0, 3]
    assert main(["--plans", "1", "--sequences", "1"]) == 1
