"""Preparing data sets, splits, batches: what is refused, what is kept, and that nothing depends on how it was done."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset

from flash_sequencer.plan import challenge, default_plan
from sdk_reference.capture import load_capture, save_capture
from sdk_reference.errors import OutputNotWritable
from sdk_reference.preprocess import PreprocessSettings, aligned_to_input, preprocess
from sdk_reference.quality import QualityLimits
from sdk_reference.response import expected_response
from training import store as store_module
from training.augment import NO_AUGMENTATION, AugmentSettings
from training.data import CaptureData, CaptureDataset, join_stores
from training.errors import ClassMissing, DatasetInvalid, LabelsMissing
from training.prepare import PREPARATION_VERSION, prepare_all, prepare_dataset
from training.sampling import BalancedSampler
from training.splits import require_disjoint, split_of
from training.store import AlignedStore


def prepare(folder: Path) -> AlignedStore:
    return prepare_dataset(folder, detector_factory=KnowingDetector)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    people = [*subjects_of("train", 4), *subjects_of("val", 2), *subjects_of("test", 2)]
    return write_tiny_dataset(folder, people)


@pytest.fixture(scope="module")
def prepared(dataset: Path) -> AlignedStore:
    return prepare(dataset)


def test_a_row_holds_what_the_phone_side_aligns(dataset: Path, prepared: AlignedStore) -> None:
    assert prepared.aligned.shape == (16, 5, 3, 256, 256) and prepared.aligned.dtype == np.uint8
    for record in prepared.records[:3]:
        capture = load_capture(dataset / "captures" / record.name)
        aligned = preprocess(capture, KnowingDetector()).aligned_u8
        np.testing.assert_array_equal(prepared.aligned[record.row], aligned)
        np.testing.assert_allclose(record.response, expected_response(capture.plan), atol=1e-6)


def test_depth_rows_are_shapes_for_live_faces_and_flat_for_attacks(prepared: AlignedStore) -> None:
    for record in prepared.records:
        label = np.asarray(prepared.depth[record.row], np.float32)
        if record.species == "live":
            assert label.max() > 0.95 and label.min() == 0.0
        else:
            np.testing.assert_array_equal(label, 0.5)


def test_a_second_preparation_detects_nothing_anew(dataset: Path, prepared: AlignedStore) -> None:
    before = KnowingDetector.detected
    again = prepare(dataset)
    assert KnowingDetector.detected == before
    assert again.records == prepared.records and again.sha256 == prepared.sha256


def test_a_killed_preparation_goes_on_where_it_stopped(dataset: Path, prepared: AlignedStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    place = copy / prepared.folder.name
    lines = (place / "index.jsonl").read_bytes().splitlines(keepends=True)
    (place / "index.jsonl").write_bytes(b"".join(lines[:10]) + lines[10][:25])  # killed while writing a line
    before = KnowingDetector.detected
    again = prepare(copy)
    assert KnowingDetector.detected - before == 6 * 5  # captures × frames
    assert again.records == prepared.records
    np.testing.assert_array_equal(again.aligned, prepared.aligned)


def test_an_exchanged_capture_is_prepared_again(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    first = prepare(tmp_path)
    save_capture(tiny_capture(99, "someone", "mask", plan=challenge("ab" * 16)), tmp_path / "captures" / "000001.zip")
    second = prepare(tmp_path)
    assert second.records[0] == first.records[0]
    assert second.records[1].species == "mask" and second.sha256 != first.sha256


def test_another_preparation_makes_another_store(
    dataset: Path, prepared: AlignedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.prepare.PREPARATION_VERSION", PREPARATION_VERSION + 1)
    other = prepare(dataset)
    assert other.folder != prepared.folder


def test_added_captures_are_prepared_too(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    prepare(tmp_path)
    save_capture(tiny_capture(7, "late", "live"), tmp_path / "captures" / "000000a.zip")  # sorts between the others
    store = prepare(tmp_path)
    assert [record.name for record in store.records] == ["000000.zip", "000000a.zip", "000001.zip"]
    assert all(store.aligned[record.row].any() for record in store.records)


def test_folders_of_captures_are_read_like_zips(tmp_path: Path) -> None:
    save_capture(tiny_capture(0, "a", "live"), tmp_path / "one")
    save_capture(tiny_capture(1, "b", "print"), tmp_path / "two.zip")
    assert [record.species for record in prepare(tmp_path).records] == ["live", "print"]


def test_captures_without_a_face_are_kept_apart_with_the_reason(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    save_capture(tiny_capture(5, "c", "live", faceless=True), tmp_path / "captures" / "000009.zip")
    store = prepare(tmp_path)
    assert store.refused == Counter({"no_face": 1})
    assert len(store.usable) == 2
    data = join_stores([store], QualityLimits())
    assert data.to_dict()["refused"] == {"no_face": 1}


def test_captures_beyond_a_quality_limit_are_refused_with_the_reason(prepared: AlignedStore) -> None:
    strict = join_stores([prepared], QualityLimits(min_flash_to_ambient=1e6))
    assert strict.usable("train") == ()
    assert {code for _, _, code in strict.refused_captures()} == {"flash_too_weak"}
    lenient = join_stores([prepared], QualityLimits())
    assert len(lenient.usable("train")) == 8 and not list(lenient.refused_captures())


@pytest.mark.parametrize(("subject", "species", "missing"), [(None, "live", "subject"), ("a", None, "species")])
def test_missing_labels_are_an_error_before_any_face_is_sought(
    tmp_path: Path, subject: str | None, species: str | None, missing: str
) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    save_capture(tiny_capture(1, subject, species), tmp_path / "captures" / "000009.zip")
    before = KnowingDetector.detected
    with pytest.raises(LabelsMissing, match=f"000009.zip without {missing}"):
        prepare(tmp_path)
    assert KnowingDetector.detected == before


def test_captures_of_different_numbers_of_frames_are_refused(tmp_path: Path) -> None:
    save_capture(tiny_capture(0, "a", "live"), tmp_path / "five.zip")
    save_capture(tiny_capture(1, "a", "print", plan=default_plan(4)), tmp_path / "four.zip")
    with pytest.raises(DatasetInvalid, match=r"5 frames in five.* and 4 in four"):
        prepare(tmp_path)


def test_data_sets_of_different_numbers_of_frames_are_refused_together(tmp_path: Path) -> None:
    save_capture(tiny_capture(0, "a", "live"), tmp_path / "x" / "five.zip")
    save_capture(tiny_capture(1, "a", "print", plan=default_plan(4)), tmp_path / "y" / "four.zip")
    with pytest.raises(DatasetInvalid, match="frames"):
        prepare_all([tmp_path / "x", tmp_path / "y"], 1, True, KnowingDetector)


def test_a_data_set_named_twice_is_refused(dataset: Path) -> None:
    with pytest.raises(DatasetInvalid, match="twice"):
        prepare_all([dataset, dataset / "captures" / ".."], 1, True, KnowingDetector)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x00" * 100])
def test_a_damaged_capture_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    (tmp_path / "captures" / "000005.zip").write_bytes(content)
    with pytest.raises(DatasetInvalid, match="000005"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "{}",
        '{"labels": 3, "plan": {}}',
        '{"labels": {"simulated": true, "species": "alien"}, "plan": null}',
        "\0",
    ],
)
def test_a_capture_with_a_strange_index_is_an_error_that_names_it(tmp_path: Path, index: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "capture.json").write_text(index)
    with pytest.raises(DatasetInvalid, match="odd"):
        prepare(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_a_folder_without_captures_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetInvalid, match="no captures"):
        prepare(tmp_path / name)


def test_too_small_a_disk_is_an_error_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    monkeypatch.setattr(store_module, "SPARE_BYTES", 2**60)
    with pytest.raises(OutputNotWritable, match="GB free"):
        prepare(tmp_path)


def test_a_damaged_index_is_an_error_that_says_what_to_delete(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, subjects_of("train", 1))
    place = prepare(tmp_path).folder
    whole = (place / "index.jsonl").read_bytes()
    for damaged in (b'{"row": 0}\n', whole + whole.splitlines(keepends=True)[0]):  # one line twice, as by two writers
        (place / "index.jsonl").write_bytes(damaged)
        with pytest.raises(DatasetInvalid, match="delete"):
            prepare(tmp_path)


def test_two_that_prepare_one_data_set_take_turns(tmp_path: Path) -> None:
    """Each would do all the work and write every line; here the second finds it done."""
    write_tiny_dataset(tmp_path, subjects_of("train", 2))
    asked = []

    class Slow(KnowingDetector):
        def detect(self, frame: np.ndarray) -> list[Any]:
            asked.append(frame.shape)
            time.sleep(0.01)
            return super().detect(frame)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: prepare_dataset(tmp_path, detector_factory=Slow), range(2))
    assert one.records == other.records and len(asked) == 5 * len(one.records)
    assert len((one.folder / "index.jsonl").read_bytes().splitlines()) == len(one.records)


def test_splits_follow_the_subject_alone_in_the_stated_shares() -> None:
    counts = Counter(split_of(f"sim-{number:06d}") for number in range(4000))
    assert counts["train"] / 4000 == pytest.approx(0.70, abs=0.03)
    assert counts["val"] / 4000 == pytest.approx(0.15, abs=0.02)
    assert counts["test"] / 4000 == pytest.approx(0.15, abs=0.02)
    assert split_of("sim-000001") == split_of("sim-000001")


def test_no_subject_is_in_two_splits(prepared: AlignedStore) -> None:
    data = join_stores([prepared, prepared], QualityLimits())
    people = {split: {e.record.subject for e in examples} for split, examples in data.by_split.items()}
    assert not people["train"] & people["val"] and not people["train"] & people["test"]
    assert not people["val"] & people["test"] and all(people.values())


def test_a_shared_subject_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="ann"):
        require_disjoint({"train": ["ann", "bob"], "test": ["ann"]})


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (("live", "print"), (), "no live and no attack capture in the val split"),
        (("live",), ("live", "print"), "no attack capture in the train split"),
        (("print",), ("live", "print"), "no live capture in the train split"),
        (("live", "mask"), ("mask",), "no live capture in the val split"),
    ],
)
def test_a_missing_class_is_an_error(tmp_path: Path, train: tuple[str], val: tuple[str], message: str) -> None:
    for split, kinds in (("train", train), ("val", val)):
        for kind in kinds:
            person = subjects_of(split, 1)[0]
            save_capture(tiny_capture(1, person, kind), tmp_path / f"{split}-{kind}.zip")
    data = join_stores([prepare(tmp_path)], QualityLimits())
    with pytest.raises(ClassMissing, match=message):
        CaptureData(data, PreprocessSettings(input_size=32), NO_AUGMENTATION, batch_size=4, seed=0)


def test_an_example_is_the_phone_sides_input_when_nothing_is_augmented(prepared: AlignedStore) -> None:
    data = join_stores([prepared], QualityLimits())
    settings = PreprocessSettings(input_size=64)
    dataset = CaptureDataset(data.stores, data.usable("train"), settings, NO_AUGMENTATION, seed=0)
    for position, example in enumerate(dataset.examples):
        item = dataset[17, position]
        aligned = np.array(prepared.aligned[example.record.row])
        np.testing.assert_array_equal(item["input"].numpy(), aligned_to_input(aligned, settings))
        assert item["input"].shape == (6, 3, 64, 64)
        assert item["depth"].shape == (16, 16)
        assert (item["live"], item["species"]) == {"live": (1, -1), "print": (0, 0), "replay": (0, 1), "mask": (0, 2)}[
            example.record.species
        ]


def test_augmentation_follows_from_seed_and_draw_alone(prepared: AlignedStore) -> None:
    data = join_stores([prepared], QualityLimits())

    def item(seed: int, draw: int) -> np.ndarray:
        settings = PreprocessSettings(input_size=32)
        dataset = CaptureDataset(data.stores, data.usable("train"), settings, AugmentSettings(), seed)
        return dataset[draw, 1]["input"].numpy()

    np.testing.assert_array_equal(item(3, 5), item(3, 5))
    assert not np.array_equal(item(3, 5), item(3, 6))
    assert not np.array_equal(item(3, 5), item(4, 5))


@pytest.mark.parametrize(
    ("species", "expected"),
    [
        (
            ["live"] * 50 + ["print"] * 20 + ["replay"] * 20 + ["mask"] * 10,
            {"live": 50, "print": 17, "replay": 17, "mask": 16},
        ),
        (["live"] * 3 + ["mask"] * 9, {"live": 6, "mask": 6}),
        (["live"] * 9 + ["print", "replay"], {"live": 6, "print": 2, "replay": 3}),
        (["print"] * 4 + ["mask"] * 2, {"print": 3, "mask": 3}),
    ],
)
def test_classes_and_species_are_drawn_equally_often(species: list[str], expected: dict[str, int]) -> None:
    sampler = BalancedSampler(species, seed=1)
    drawn = [position for _, position, _ in sampler]
    counts = Counter(species[position] for position in drawn)
    assert len(drawn) == len(sampler) == len(species)
    assert {name: abs(counts[name] - number) for name, number in expected.items()} == pytest.approx(
        dict.fromkeys(expected, 0), abs=1
    )
    for name in expected:  # nothing comes twice before all came once
        times = Counter(position for position in drawn if species[position] == name)
        assert max(times.values()) - min(times.get(k, 0) for k in range(len(species)) if species[k] == name) <= 1


def test_an_epoch_too_short_for_every_species_leaves_one_out() -> None:
    """Two attacks for three species, masks twice as often as the others: somebody gets none, and nothing breaks."""
    species = ["live", "print", "replay", "mask"]
    sampler = BalancedSampler(species, seed=0, weights={"mask": 2.0})
    assert sampler.quotas() == {"live": 2, "mask": 1, "print": 1, "replay": 0}
    assert Counter(species[position] for _, position, _ in sampler) == {"live": 2, "mask": 1, "print": 1}


def test_every_epoch_has_its_own_order_and_its_own_draws() -> None:
    sampler = BalancedSampler(["live", "print"] * 8, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert [draw.number for draw in first] == list(range(16))
    assert [draw.number for draw in second] == list(range(16, 32))
    assert [draw.position for draw in first] != [draw.position for draw in second]
    again = BalancedSampler(["live", "print"] * 8, seed=1)
    again.set_epoch(1)
    assert list(again) == second


def test_the_record_of_the_data_counts_everything(prepared: AlignedStore) -> None:
    record = join_stores([prepared], QualityLimits()).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert (record["captures"], record["subjects"], record["simulated"]) == (16, 8, True)
    assert {split: part["captures"] for split, part in record["splits"].items()} == {"train": 8, "val": 4, "test": 4}
    assert record["splits"]["train"]["species"]["live"] == 4
