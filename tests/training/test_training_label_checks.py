"""Labels that contradict, people in two splits, values that are no numbers: each found before hours are spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset

from sdk_reference.capture import save_capture
from sdk_reference.labels import Labels
from sdk_reference.quality import measure_quality
from simulator.instruments import INSTRUMENTS
from training.errors import DatasetInvalid, LabelsContradict, LabelsMissing, SplitLeaks
from training.label_checks import require_labels
from training.leaks import spelling
from training.prepare import prepare_all, prepare_dataset
from training.splits import split_of
from training.store import AlignedStore

TRAIN, TEST = subjects_of("train", 1)[0], subjects_of("test", 1)[0]


def prepare(folder: Path) -> AlignedStore:
    return prepare_dataset(folder, detector_factory=KnowingDetector)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"species": "live", "instrument": "print_hd"}, "species live and an instrument of attack, print_hd"),
        ({"species": "live", "instrument": "magazine"}, "species live and an instrument of attack, magazine"),
        (
            {"species": "mask", "instrument": "replay_tv"},
            "species mask and the instrument replay_tv, which is a replay",
        ),
        ({"species": "mask", "instrument": "face"}, "which is a live"),
        ({"species": "replay", "instrument": "print_of_mine"}, "which is a print"),
        ({"species": "live", "seed": 3}, "simulated false and a simulator's seed, 3"),
    ],
)
def test_labels_that_cannot_all_be_true_are_refused(labels: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelsContradict, match=message):
        require_labels("x.zip", Labels(simulated=False, subject="ann", **labels))


def test_an_attack_without_a_species_names_its_instrument() -> None:
    with pytest.raises(LabelsMissing, match=r"without species \(though its instrument is print_hd\)"):
        require_labels("x.zip", Labels(simulated=False, subject="ann", instrument="print_hd"))


def test_every_simulated_instrument_and_instruments_of_ones_own_are_accepted() -> None:
    for species, names in INSTRUMENTS.items():
        for name in (*names, None):
            require_labels("x", Labels(simulated=True, subject="ann", species=species, instrument=name, seed=1))
    for name in ("print_magazine", "cardboard"):
        require_labels("x", Labels(simulated=False, subject="ann", species="print", instrument=name))


def test_a_recorded_capture_in_a_simulated_data_set_is_refused(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    (tmp_path / "dataset.json").write_text(json.dumps({"format": "flashproof-dataset", "simulated": True}))
    assert len(prepare(tmp_path).records) == 2
    capture = tiny_capture(5, "ann", "live")
    assert capture.labels is not None
    real = replace(capture, labels=replace(capture.labels, simulated=False))
    save_capture(real, tmp_path / "captures" / "000002.zip")
    with pytest.raises(
        LabelsContradict, match=r"000002\.zip with simulated false in a data set that says simulated true"
    ):
        prepare(tmp_path)


def write_two(folder: Path, first: tuple[int, str, str], second: tuple[int, str, str]) -> list[Path]:
    save_capture(tiny_capture(*first), folder / "a" / "one.zip")
    save_capture(tiny_capture(*second), folder / "b" / "two.zip")
    return [folder / "a", folder / "b"]


def test_the_same_photographs_under_two_subjects_of_two_splits_are_a_leak_that_names_both(tmp_path: Path) -> None:
    folders = write_two(tmp_path, (1, TRAIN, "live"), (1, TEST, "live"))
    with pytest.raises(SplitLeaks, match=rf"a/one.zip \({TRAIN}: train\) and b/two.zip \({TEST}: test\)"):
        prepare_all(folders, 1, True, KnowingDetector)


def test_the_same_photographs_of_two_species_contradict(tmp_path: Path) -> None:
    save_capture(tiny_capture(1, TRAIN, "live"), tmp_path / "one.zip")
    capture = tiny_capture(1, TRAIN, "live")
    assert capture.labels is not None
    save_capture(replace(capture, labels=replace(capture.labels, species="mask")), tmp_path / "two.zip")
    with pytest.raises(LabelsContradict, match=r"one.zip \(live\) and .*two.zip \(mask\)"):
        prepare_all([tmp_path], 1, True, KnowingDetector)


def other_spelling(of: str) -> str:
    """A spelling of a name that falls into another split."""
    ways: list[Callable[[str], str]] = [str.upper, str.title, lambda n: n + " ", lambda n: " " + n, lambda n: n + "  "]
    return next(way(of) for way in ways if split_of(way(of)) != split_of(of))


def test_one_person_under_two_spellings_in_two_splits_is_a_leak_that_names_both(tmp_path: Path) -> None:
    folders = write_two(tmp_path, (1, TRAIN, "live"), (2, other_spelling(TRAIN), "live"))
    with pytest.raises(SplitLeaks, match=r"a/one.zip .* and b/two.zip .*two spellings"):
        prepare_all(folders, 1, True, KnowingDetector)


def test_two_spellings_in_one_split_and_copies_in_one_split_are_no_leak(tmp_path: Path) -> None:
    folders = write_two(tmp_path, (1, TRAIN, "live"), (1, subjects_of("train", 2)[1], "live"))
    assert len(prepare_all(folders, 1, True, KnowingDetector)) == 2


def test_a_name_is_compared_without_case_spaces_and_ways_to_write_a_letter() -> None:
    assert spelling("José  Müller") == spelling("jose\u0301 mu\u0308LLER ".replace("\u0301 ", "\u0301"))
    assert spelling("p-11") != spelling("p-1-1")


def test_one_data_set_copied_to_two_folders_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_capture(tiny_capture(1, TRAIN, "live"), tmp_path / name / "one.zip")
    with pytest.raises(DatasetInvalid, match=r"the same captures in .*a.* and .*b"):
        prepare_all([tmp_path / "a", tmp_path / "b"], 1, True, KnowingDetector)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("where", ["quality", "response"])
def test_a_stored_value_that_is_no_number_is_an_error_that_names_it(tmp_path: Path, value: str, where: str) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    store = prepare(tmp_path)
    index = store.folder / "index.jsonl"
    first, *rest = index.read_text().splitlines()
    content = json.loads(first)
    changed = float(value)
    if where == "quality":
        content["quality"]["flash_snr"] = changed
    else:
        content["response"][1][2] = changed
    index.write_text("\n".join([json.dumps(content), *rest]) + "\n")
    with pytest.raises(DatasetInvalid, match=rf"{where}.*of 000000.zip.*delete"):
        prepare_all([tmp_path], 1, True, KnowingDetector)


def test_a_stored_depth_that_is_no_number_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    store = prepare(tmp_path)
    depth = np.load(store.folder / "depth.npy", mmap_mode="r+")
    depth[1, 5, 5] = np.nan
    depth.flush()
    with pytest.raises(DatasetInvalid, match=r"depth label .*000001.zip.*delete"):
        prepare_all([tmp_path], 1, True, KnowingDetector)


def test_a_measured_value_that_is_no_number_stops_the_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    monkeypatch.setattr(
        "training.prepare.measure_quality", lambda *parts: replace(measure_quality(*parts), flash_snr=np.nan)
    )
    with pytest.raises(DatasetInvalid, match=r"000000\.zip.*flash_snr = nan"):
        prepare(tmp_path)


def test_a_store_made_before_frames_were_hashed_is_completed_without_a_detector(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    store = prepare(tmp_path)
    index = store.folder / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    for line in lines:
        del line["frames_sha256"]
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = KnowingDetector.detected
    assert prepare(tmp_path).records == store.records and KnowingDetector.detected == before
