"""Simulated data sets: the mix, reproducibility, resuming and refusals. The simulator itself is stood in for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sdk_reference.capture import load_capture
from sdk_reference.errors import OutputNotWritable
from simulator.capture import Shot, SimulatedCapture
from simulator.stage import subject_name
from simulator.stage_file import load_stage
from training import synthesis
from training.errors import DatasetInvalid, SettingOutOfRange, SettingsMismatch
from training.splits import TEST_DEVICES, TEST_SCENES, split_of
from training.synthesis import SimulationSettings, photograph_stage, recipes, stage_path, write_simulated_dataset

SIZE = 128


def cheap_stage(seed: int, subject: int, species: str, instrument: str, size: int, **_: object) -> SimpleNamespace:
    labels = {"subject": f"sim-{subject:06d}", "species": species, "instrument": instrument, "seed": seed}
    return SimpleNamespace(size=size, labels=labels)


def cheap_photograph(stage: SimpleNamespace, shot: Shot) -> SimulatedCapture:
    rng = np.random.default_rng([shot.seed, int(stage.labels["subject"][4:])])
    order = shot.time_order or tuple(range(shot.n0))
    return SimulatedCapture(
        frames=rng.integers(0, 256, (shot.n0, stage.size, stage.size, 3), dtype=np.uint8),
        timestamps_ns=tuple(1_000 + order.index(rank) for rank in range(shot.n0)),
        depth_mm=rng.integers(0, 900, (stage.size, stage.size), dtype=np.uint16),
        labels=dict(stage.labels),
    )


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "set_stage", cheap_stage)
    monkeypatch.setattr(synthesis, "photograph", cheap_photograph)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "captures").iterdir()}


@pytest.mark.parametrize(
    ("mix", "count", "expected"),
    [
        ("paper", 12660, {"live": 6620, "print": 2120, "replay": 2120, "mask": 1800}),  # the paper's own numbers
        ("paper", 633, {"live": 331, "print": 106, "replay": 106, "mask": 90}),
        ("balanced", 600, {"live": 300, "print": 100, "replay": 100, "mask": 100}),
        ("balanced", 4, {"live": 2, "print": 1, "replay": 1, "mask": 0}),  # 2, 2/3 each: the first of equal remainders
        ("paper", 1, {"live": 1, "print": 0, "replay": 0, "mask": 0}),
    ],
)
def test_each_mix_has_its_shares(mix: str, count: int, expected: dict[str, int]) -> None:
    settings = SimulationSettings(count, mix=mix)
    assert settings.species_counts() == expected
    assert Counter(recipe.species for recipe in recipes(settings)) == Counter(expected)


@pytest.mark.parametrize("mix", ["paper", "balanced"])
def test_every_subject_is_shown_live_and_as_an_attack(mix: str) -> None:
    shown = defaultdict(set)
    for recipe in recipes(SimulationSettings(600, mix=mix, seed=5)):
        shown[recipe.subject].add("live" if recipe.species == "live" else "attack")
    assert len(shown) == {"paper": 24, "balanced": 50}[mix]
    assert all(kinds == {"live", "attack"} for kinds in shown.values())


@pytest.mark.parametrize(
    ("mix", "count", "subjects"),
    [("balanced", 1, 1), ("balanced", 10, 5), ("balanced", 100, 24), ("balanced", 600, 50), ("paper", 12660, 320)],
)
def test_subjects_grow_with_the_count_and_the_papers_set_has_the_papers(mix: str, count: int, subjects: int) -> None:
    assert SimulationSettings(count, mix=mix).subjects == subjects


def test_three_quarters_of_the_plans_are_challenges_and_all_of_them_differ() -> None:
    drawn = recipes(SimulationSettings(2000, seed=1))
    nonces = [recipe.nonce for recipe in drawn if recipe.nonce is not None]
    assert 0.70 < len(nonces) / len(drawn) < 0.80
    assert len(set(nonces)) == len(nonces)
    assert len({recipe.seed for recipe in drawn}) > 1990


def test_another_seed_gives_other_people_and_captures() -> None:
    one, two = recipes(SimulationSettings(48, seed=1)), recipes(SimulationSettings(48, seed=2))
    assert not {recipe.seed for recipe in one} & {recipe.seed for recipe in two}
    assert len({recipe.subject for recipe in one} & {recipe.subject for recipe in two}) <= 2


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_set_of_one_split_has_people_of_it_alone_and_their_conditions(split: str) -> None:
    settings = SimulationSettings(400, seed=7, split=split)
    made = recipes(settings)
    assert {split_of(subject_name(one.subject)) for one in made} == {split}
    assert len({one.subject for one in made}) == settings.subjects == 24
    assert {one.device in TEST_DEVICES for one in made} == {split == "test"}
    assert {one.scene in TEST_SCENES for one in made} == {split == "test"}
    everybody = {one.subject for one in recipes(SimulationSettings(400, seed=7))}
    assert everybody != {one.subject for one in made}
    assert settings.to_dict()["split"] == split and "split" not in SimulationSettings(400).to_dict()
    with pytest.raises(SettingOutOfRange, match="split"):
        SimulationSettings(400, split="some")


def test_a_capture_carries_its_plan_labels_and_depth(cheap: None, tmp_path: Path) -> None:
    settings = SimulationSettings(6, seed=3, size=SIZE)
    done = write_simulated_dataset(tmp_path / "set", settings)
    assert (done.captures, done.made) == (6, 6)
    for recipe in recipes(settings):
        capture = load_capture(tmp_path / "set" / "captures" / f"{recipe.index:06d}.zip")
        assert capture.labels is not None and capture.labels.simulated
        assert (capture.labels.species, capture.labels.instrument) == (recipe.species, recipe.instrument)
        assert capture.plan.nonce == recipe.nonce
        assert capture.depth_mm is not None and capture.frames.shape == (5, SIZE, SIZE, 3)


def test_an_interrupted_set_is_completed_to_the_same_bytes(cheap: None, tmp_path: Path) -> None:
    settings = SimulationSettings(8, size=SIZE)
    write_simulated_dataset(tmp_path / "whole", settings)
    write_simulated_dataset(tmp_path / "broken", settings)
    captures = tmp_path / "broken" / "captures"
    (captures / "000002.zip").unlink()
    half = (captures / "000005.zip").read_bytes()
    (captures / "000005.zip").write_bytes(half[: len(half) // 2])  # a power cut
    untouched = (captures / "000001.zip").stat().st_mtime_ns
    done = write_simulated_dataset(tmp_path / "broken", settings)
    assert (done.captures, done.made) == (8, 2)
    assert hashes(tmp_path / "broken") == hashes(tmp_path / "whole")
    assert (captures / "000001.zip").stat().st_mtime_ns == untouched


def test_what_a_killed_worker_left_half_written_is_cleared_away(cheap: None, tmp_path: Path) -> None:
    settings = SimulationSettings(2, size=SIZE)
    write_simulated_dataset(tmp_path, settings)
    (tmp_path / "captures" / ".000001.zip.k3x9.partial").write_bytes(b"half")
    write_simulated_dataset(tmp_path, settings)
    assert sorted(path.name for path in (tmp_path / "captures").iterdir()) == ["000000.zip", "000001.zip"]


def test_progress_counts_what_was_there_before(cheap: None, tmp_path: Path) -> None:
    settings = SimulationSettings(4, size=SIZE)
    write_simulated_dataset(tmp_path, settings)
    (tmp_path / "captures" / "000003.zip").unlink()
    seen: list[tuple[int, int]] = []
    write_simulated_dataset(tmp_path, settings, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 4), (4, 4)]


@pytest.mark.parametrize("other", [{"seed": 1}, {"count": 5}, {"mix": "balanced"}, {"size": 256}, {"screen_off": True}])
def test_a_folder_of_other_settings_is_refused(cheap: None, tmp_path: Path, other: dict[str, object]) -> None:
    settings = {"count": 2, "size": SIZE}
    write_simulated_dataset(tmp_path, SimulationSettings(**settings))  # type: ignore[arg-type]
    with pytest.raises(SettingsMismatch, match=next(iter(other))):
        write_simulated_dataset(tmp_path, SimulationSettings(**{**settings, **other}))  # type: ignore[arg-type]


def test_a_folder_of_another_simulator_is_refused(cheap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_simulated_dataset(tmp_path, SimulationSettings(1, size=SIZE))
    monkeypatch.setattr(synthesis, "simulator_hash", lambda: "0" * 64)
    with pytest.raises(SettingsMismatch, match="simulator_sha256"):
        write_simulated_dataset(tmp_path, SimulationSettings(1, size=SIZE))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("holiday.jpg", b"x"),
        ("dataset.json", b"{"),
        ("dataset.json", b'{"format": "other"}'),
        ("dataset.json", b"\xff"),
    ],
)
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetInvalid):
        write_simulated_dataset(tmp_path, SimulationSettings(1, size=SIZE))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == content


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises((DatasetInvalid, OutputNotWritable)):
        write_simulated_dataset(tmp_path / "out", SimulationSettings(1, size=SIZE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -3},
        {"count": 10**9},
        {"seed": -1},
        {"seed": 2**64},
        {"size": 16},
        {"size": 100_000},
        {"mix": "half"},
        {"count": float("nan")},
        {"lux": -1.0},
        {"lux": float("nan")},
        {"lux": 1e6},
        {"distance_cm": 1.0},
        {"distance_cm": 1e3},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(wrong))):
        SimulationSettings(**{"count": 1, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, -1, 10_000])
def test_a_senseless_number_of_workers_is_refused_before_anything_is_written(tmp_path: Path, workers: int) -> None:
    with pytest.raises(SettingOutOfRange, match="workers"):
        write_simulated_dataset(tmp_path / "set", SimulationSettings(1), workers)
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_an_error_and_leaves_no_half_capture(
    cheap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = SimulationSettings(2, size=SIZE)
    write_simulated_dataset(tmp_path, settings)
    (tmp_path / "captures" / "000001.zip").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OutputNotWritable, match="No space left"):
            write_simulated_dataset(tmp_path, settings)
    assert [path.name for path in (tmp_path / "captures").iterdir()] == ["000000.zip"]
    assert write_simulated_dataset(tmp_path, settings).made == 1


def test_the_record_says_that_the_data_are_simulated(cheap: None, tmp_path: Path) -> None:
    write_simulated_dataset(tmp_path, SimulationSettings(1, seed=9, size=SIZE))
    record = json.loads((tmp_path / "dataset.json").read_text())
    assert record["simulated"] is True
    assert record["settings"] == {
        "count": 1,
        "seed": 9,
        "mix": "paper",
        "size": SIZE,
        "screen_off": False,
        "cues": False,
        "layers": False,
        "lux": None,
        "distance_cm": None,
        "unseen_conditions": True,
    }


def test_real_captures_are_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    settings = SimulationSettings(3, seed=11, size=SIZE)
    write_simulated_dataset(tmp_path / "one", settings, workers=1)
    write_simulated_dataset(tmp_path / "two", settings, workers=2)
    assert len(hashes(tmp_path / "one")) == 3
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_kept_scenes_photographed_again_give_the_capture(tmp_path: Path) -> None:
    settings = SimulationSettings(1, seed=11, size=SIZE, layers=True)
    write_simulated_dataset(tmp_path, settings)
    stage = load_stage(stage_path(tmp_path, 0))
    recipe = recipes(settings)[0]
    again = photograph_stage(stage, recipe.plan(), recipe.seed)
    first = load_capture(tmp_path / "captures" / "000000.zip")
    assert np.abs(first.frames.astype(int) - again.frames).mean() < 0.2
    assert first.labels is not None and again.labels is not None
    measured = ("flash_to_ambient", "flash_snr")  # on the layers, so they feel their rounding to half floats
    for name in measured:
        assert getattr(again.labels, name) == pytest.approx(getattr(first.labels, name), rel=1e-3)
    assert replace(again.labels, **dict.fromkeys(measured)) == replace(first.labels, **dict.fromkeys(measured))


def test_a_set_killed_at_any_moment_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    settings = SimulationSettings(6, seed=12, size=SIZE)
    command = [sys.executable, "-m", "flashproof", "simulate", str(tmp_path / "killed"), "--count=6", "--seed=12"]
    killed = subprocess.Popen([*command, f"--size={SIZE}", "--workers=2", "--json"], start_new_session=True)
    deadline = time.monotonic() + 60.0
    while not list((tmp_path / "killed").glob("captures/*.zip")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    left = len(hashes(tmp_path / "killed"))
    assert left >= 1
    assert write_simulated_dataset(tmp_path / "killed", settings).made == 6 - left
    write_simulated_dataset(tmp_path / "whole", settings)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
