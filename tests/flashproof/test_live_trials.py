"""The three trials of whole sessions, each in small: their counts are right, and they can find fault."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from virtual_session import detector, shipped_checker

from flash_sequencer.plan import challenge
from flashproof import drift_trial, fault_trial, live_trial, replay_trial, trials_page
from flashproof.headless import HeadlessDisplay

FILMED = 0  # the number of a replay trial's session that is judged live


@pytest.fixture(scope="module")
def film() -> replay_trial.Film:
    """A session that was judged live."""
    made = replay_trial.filmed(FILMED, shipped_checker(), detector(), "standard")
    assert made is not None
    return made


def test_a_session_of_the_closed_loop_is_held_against_the_truth() -> None:
    line = live_trial.hold(0, shipped_checker(), detector(), "standard", HeadlessDisplay)
    assert line.kind == "live" and line.safe
    if line.used:
        assert line.used == 5 and line.strangers == 0 and line.lag_error_ms is not None


def test_frames_of_another_step_are_found() -> None:
    """The chosen frames of two steps are exchanged in what the session claims."""
    from virtual_session import Scene

    scene = Scene()
    last = scene.hold().last
    assert last.choice is not None
    truth = {frame.timestamp_ns: frame for frame in scene.webcam.log}
    assert list(live_trial.strangers_among(last, truth, scene.presentation)) == []
    capture = last.choice.capture
    steps = {step.rank: step for step in last.choice.take.presented}
    swapped = tuple(replace(step, rank={0: 1, 1: 0}.get(step.rank, step.rank)) for step in last.choice.take.presented)
    assert len(steps) == 5 and len(capture.timestamps_ns) == 5
    wrong = replace(last, take=replace(last.choice.take, presented=swapped))
    assert list(live_trial.strangers_among(wrong, truth, scene.presentation)) == [0, 1]


def test_the_summary_counts_lines_and_survives_one_cut_short(tmp_path: Path) -> None:
    line = live_trial.Line(0, "live", "face", 50.0, {}, "live", 0.9, [], 1, -2.0, used=5)
    other = replace(line, number=1, kind="print", verdict="retry", reasons=["moved"], lag_error_ms=None, used=0)
    found = live_trial.summary([line, other])
    assert found["simulated"] and found["verdicts"]["live"] == {"live": 1} and found["retry_reasons"] == {"moved": 1}
    assert found["lag_error_ms"]["largest"] == 2.0 and found["frames_used"] == 5
    path = tmp_path / "lines.jsonl"
    path.write_text('{"number": 0', encoding="utf-8")
    assert live_trial.read_lines(path) == []


def test_a_film_passes_under_its_own_plan_and_not_under_others(film: replay_trial.Film) -> None:
    assert replay_trial.answer(film, film.take.plan, shipped_checker()) == "live"
    answers = [replay_trial.answer(film, challenge(bytes([k]) * 16), shipped_checker()) for k in range(4)]
    assert "live" not in answers


def test_a_film_is_judged_in_every_way_under_every_reaction(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drift_trial, "REACTIONS", (0.0, 0.9))
    still, reacting = drift_trial.lines_of(1000, shipped_checker(), detector())
    assert (still.kind, still.reaction, reacting.reaction) == ("live", 0.0, 0.9)
    assert still.true_change < 1.02 < 1.08 < reacting.true_change and not still.clear
    for line in (still, reacting):
        assert set(line.answers) == set(drift_trial.WAYS)
        assert line.answers["true"].gain_error < 1e-6
        assert line.answer("shipped") == line.answers["both" if line.clear else "as_filmed"]
    assert still.answers["as_filmed"].verdict == still.answers["true"].verdict == "live"
    assert reacting.answers["both"].gain_error < reacting.answers["as_filmed"].gain_error
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(asdict(line)) + "\n" for line in (still, reacting)) + "{", encoding="utf-8")
    assert drift_trial.read_lines(path) == [still, reacting]


def test_the_trial_of_drift_counts_by_how_far_exposure_really_moved() -> None:
    right, wrong = (drift_trial.Answer(score, verdict, [], 0.1) for score, verdict in ((0.9, "live"), (0.1, "spoof")))
    moved = {"as_filmed": wrong, "face": wrong, "both": right, "true": right}
    live = drift_trial.Line(0, "live", 9.0, 0.9, true_change=1.3, clear=True, answers=moved)
    attack = replace(live, number=1, kind="print", true_change=1.0, clear=False, answers=dict.fromkeys(moved, wrong))
    found = drift_trial.summary([live, attack, replace(attack, number=3, failed_as="no_face", answers={})])
    assert (found["films"], found["not_judged"]) == (3, {"no_face": 1})
    strata = found["by_true_change_of_exposure"]
    assert [stratum["films"] for stratum in strata.values()] == [2, 1, 0, 1, 0]
    for way in ("as_filmed", "background"):
        assert strata["all"][way]["verdicts"] == {"live": {"spoof": 1}, "print": {"spoof": 1}, "replay": {}, "mask": {}}
    assert strata["all"]["shipped"]["verdicts"]["live"] == {"live": 1}
    assert strata["all"]["shipped"]["auc"]["value"] == 1.0 and strata["all"]["undone"] == 0.5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("unplugged", "camera_lost"),
        ("screen_not_full", "screen_not_full"),
        ("model_failed", "model_failed"),
        ("bundle_removed", "bundle_not_found"),
        ("zip_bundle_removed", "bundle_not_found"),
        ("model_replaced", "bundle_hash_mismatch"),
        ("disk_full", "output_not_writable"),
    ],
)
def test_a_fault_ends_in_a_reason(fault: str, reason: str) -> None:
    trial = fault_trial.Trial(2, 60.0, shipped_checker(), detector())
    verdict, code = trial.hold(fault, 3_500_000_000)
    assert verdict != "live" and code == reason and not trial.display.is_open


def test_a_disk_that_fills_up_after_the_nonce_was_noted_leaves_no_record_and_no_verdict() -> None:
    undisturbed = fault_trial.Trial(2, 60.0, shipped_checker(), detector())
    assert undisturbed.hold()[0] == "live"
    last_flash_ns = undisturbed.display.flashes[-1][0]
    trial = fault_trial.Trial(2, 60.0, shipped_checker(), detector())
    assert trial.hold("disk_full", last_flash_ns) == ("error", "output_not_writable")


def test_the_page_says_what_the_trials_wrote() -> None:
    repository = Path(__file__).resolve().parents[2]
    page = (repository / "docs/protocol.md").read_text(encoding="utf-8")
    assert trials_page.BLOCK.around(trials_page.content(repository / "docs/generated")) in page
