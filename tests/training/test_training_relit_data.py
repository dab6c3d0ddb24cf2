"""Prepared data sets keep the scenes of training subjects, whole or not at all, and draw from them by seed alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_scenes import (
    ALWAYS,
    SIDE,
    SIZE,
    ambient_at,
    made_up_stage,
)
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset

from sdk_reference.capture import save_capture
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from simulator.stage_file import stage_bytes
from training import data as data_module
from training import relight
from training.augment import NO_AUGMENTATION, AugmentSettings
from training.data import CaptureData, CaptureDataset, join_stores
from training.errors import DatasetInvalid
from training.layer_store import LAYERS_FILE, LAYERS_INDEX, LayerStore, read_layers_index
from training.prepare import prepare_all, prepare_dataset
from training.relight import relit
from training.shard_writing import shard_dataset
from training.splits import split_of
from training.store import AlignedStore


def keep_scenes(folder: Path) -> Path:
    """Put a scene beside every capture of a data set."""
    (folder / "stages").mkdir(exist_ok=True)
    for number, path in enumerate(sorted((folder / "captures").iterdir())):
        (folder / "stages" / f"{path.stem}.npz").write_bytes(stage_bytes(made_up_stage(number)))
    return folder


def prepare(folder: Path) -> AlignedStore:
    return prepare_dataset(folder, detector_factory=KnowingDetector)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relit") / "tiny"
    people = [*subjects_of("train", 3), *subjects_of("val", 2), *subjects_of("test", 1)]
    return keep_scenes(write_tiny_dataset(folder, people))


@pytest.fixture(scope="module")
def prepared(dataset: Path) -> AlignedStore:
    return prepare(dataset)


@pytest.fixture
def copy(dataset: Path, prepared: AlignedStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


def training_set(store: AlignedStore, settings: AugmentSettings = ALWAYS) -> CaptureDataset:
    data = join_stores([store], QualityLimits())
    return CaptureDataset(data.stores, data.usable("train"), PreprocessSettings(input_size=32), settings, seed=1)


def test_only_scenes_of_training_subjects_are_kept(prepared: AlignedStore) -> None:
    kept = LayerStore(prepared.folder)
    assert {split_of(record.subject) for record in prepared.records} == {"train", "val", "test"}
    trained_on = {record.row for record in prepared.records if split_of(record.subject) == "train"}
    assert len(kept) == len(trained_on) == 6
    assert {record.row for record in prepared.records if record.row in kept} == trained_on


def test_a_prepared_scene_is_the_captures_own(prepared: AlignedStore) -> None:
    kept = LayerStore(prepared.folder)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    points = np.stack([columns, rows], axis=-1) * (SIZE / SIDE)
    inner = np.s_[40:-40, 40:-40]
    for record in read_layers_index(prepared.folder):
        found = kept.layers(record.row).ambient[inner]
        errors = [np.abs(found / ambient_at(points, phase)[inner] - 1).mean() for phase in range(12)]
        assert int(np.argmin(errors)) == record.row and errors[record.row] < 0.02


def test_a_data_set_without_scenes_has_no_layers(tmp_path: Path) -> None:
    store = prepare(write_tiny_dataset(tmp_path, subjects_of("train", 1)))
    assert not (store.folder / LAYERS_FILE).exists() and len(LayerStore(store.folder)) == 0
    training_set(store)[3, 0]


def test_captures_whose_scene_is_missing_are_changed_and_not_relit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_scenes(write_tiny_dataset(tmp_path, subjects_of("train", 1)))
    (tmp_path / "stages" / "000000.npz").unlink()
    dataset = training_set(prepare(tmp_path))
    times = counted(monkeypatch)
    dataset[0, 0], dataset[0, 1]
    assert times == [1]


def test_scenes_of_a_set_made_with_the_screen_off_are_not_lit(dataset: Path, tmp_path: Path) -> None:
    """It is the control in which the flash can tell nothing; relighting it would turn the screen on."""
    dark = tmp_path / "dark"
    shutil.copytree(dataset, dark, ignore=shutil.ignore_patterns("prepared-*"))
    record = {"format": "flashproof-dataset", "version": 2, "simulated": True}
    (dark / "dataset.json").write_text(json.dumps({**record, "settings": {"screen_off": True}}))
    assert len(LayerStore(prepare(dark).folder)) == 0
    (dark / "dataset.json").write_text(json.dumps({**record, "settings": {"screen_off": False}}))
    shutil.rmtree(next(dark.glob("prepared-*")))
    assert len(LayerStore(prepare(dark).folder)) == 6


def test_a_preparation_killed_between_layers_and_index_is_completed_to_the_same_content(
    copy: Path, prepared: AlignedStore
) -> None:
    place = copy / prepared.folder.name
    index = (place / "index.jsonl").read_bytes().splitlines(keepends=True)
    layers = (place / LAYERS_INDEX).read_bytes()
    (place / "index.jsonl").write_bytes(b"".join(index[:2]))  # of row 2 only the layers' line was written,
    lines = layers.splitlines(keepends=True)
    (place / LAYERS_INDEX).write_bytes(b"".join(lines[:3]) + lines[3][:40])  # of row 3 a part of it
    array = np.load(place / LAYERS_FILE, mmap_mode="r+")
    array[2:] = 0.0
    array.flush()
    del array
    again = prepare(copy)
    assert again.records == prepared.records
    assert (place / LAYERS_INDEX).read_bytes() == layers
    np.testing.assert_array_equal(np.load(place / LAYERS_FILE), np.load(prepared.folder / LAYERS_FILE))


def test_a_second_preparation_writes_nothing(copy: Path, prepared: AlignedStore) -> None:
    place = copy / prepared.folder.name
    before = (place / LAYERS_INDEX).stat().st_mtime_ns
    prepare(copy)
    assert (place / LAYERS_INDEX).stat().st_mtime_ns == before


def test_captures_added_later_have_their_layers_in_the_same_process(tmp_path: Path) -> None:
    """The store is made anew under the same name: nothing may go on writing into the file that was there."""
    people = subjects_of("train", 2)
    first = prepare(keep_scenes(write_tiny_dataset(tmp_path, people[:1])))
    LayerStore(first.folder).layers(0)
    save_capture(tiny_capture(7, people[1], "live"), tmp_path / "captures" / "000009.zip")
    kept = LayerStore(prepare(keep_scenes(tmp_path)).folder)
    assert len(kept) == 3
    assert all(kept.layers(row).screen.min() > 0.01 for row in range(3))


def good_line(prepared: AlignedStore, **changes: object) -> bytes:
    record = asdict(read_layers_index(prepared.folder)[0])
    return json.dumps({**record, **changes}).encode() + b"\n"


DAMAGES: dict[str, Callable[[AlignedStore], bytes]] = {
    "no object": lambda store: b"3\n",
    "half an object": lambda store: good_line(store)[:40] + b"\n",
    "no text": lambda store: b"\xff\xfe\n",
    "too little": lambda store: b'{"row": 0}\n',
    "too much": lambda store: good_line(store, more=1),
    "no row": lambda store: good_line(store, row="0"),
    "a row below 0": lambda store: good_line(store, row=-1),
    "no scale": lambda store: good_line(store, ambient_scale=float("nan")),
    "another phone": lambda store: good_line(store, phone={"profile": "x"}),
    "no screen": lambda store: good_line(store, screen=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_an_error_that_says_what_to_delete(copy: Path, prepared: AlignedStore, damage: str) -> None:
    place = copy / prepared.folder.name
    (place / LAYERS_INDEX).write_bytes(DAMAGES[damage](prepared))
    with pytest.raises(DatasetInvalid, match=f"delete .*{place.name}"):
        prepare(copy)
    with pytest.raises(DatasetInvalid, match="damaged line"):
        LayerStore(place)


def test_layers_that_are_gone_are_an_error_and_not_darkness(copy: Path, prepared: AlignedStore) -> None:
    (copy / prepared.folder.name / LAYERS_FILE).unlink()
    with pytest.raises(DatasetInvalid, match="delete"):
        prepare(copy)


def test_a_damaged_scene_is_an_error_that_names_it(dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(dataset, broken, ignore=shutil.ignore_patterns("prepared-*"))
    (broken / "stages" / "000001.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DatasetInvalid, match=r"000001\.npz"):
        prepare(broken)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often captures are relit from now on, as a list of one number."""
    times = [0]

    def count(*arguments: Any) -> relight.Relit:
        times[0] += 1
        return relit(*arguments)

    monkeypatch.setattr(data_module, "relit", count)
    return times


@pytest.mark.parametrize(("share", "lowest", "highest"), [(0.0, 0, 0), (0.5, 8, 22), (1.0, 30, 30)])
def test_as_many_draws_are_relit_as_the_share_says(
    prepared: AlignedStore, share: float, lowest: int, highest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = counted(monkeypatch)
    dataset = training_set(prepared, replace(NO_AUGMENTATION, relit_share=share))
    for number in range(5):
        for position in range(6):
            dataset[number, position]
    assert lowest <= times[0] <= highest


def test_nothing_is_relit_where_nothing_is_augmented(prepared: AlignedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    times = counted(monkeypatch)
    dataset = training_set(prepared)
    for position, example in enumerate(dataset.examples):
        item = dataset[data_module.NO_AUGMENTATION_DRAW, position]
        np.testing.assert_allclose(item["response"], example.record.response, atol=1e-6)
    assert times == [0]


def test_a_relit_draw_follows_from_seed_number_and_position_alone(prepared: AlignedStore) -> None:
    one, other = training_set(prepared), training_set(prepared)
    for draw in [(0, 1), (4, 1), (4, 2)]:
        np.testing.assert_array_equal(one[draw]["input"], other[draw]["input"])
        other[9, 3]  # what is drawn in between does not matter
    assert not np.array_equal(one[0, 1]["input"], one[4, 1]["input"])
    assert not np.array_equal(one[4, 1]["response"], one[5, 1]["response"]) or not np.array_equal(
        one[4, 1]["response"], one[6, 1]["response"]
    )


def test_loader_workers_relight_to_the_same_batches(prepared: AlignedStore) -> None:
    data = join_stores([prepared], QualityLimits())

    def batches(workers: int) -> list[dict[str, np.ndarray]]:
        loaders = CaptureData(
            data, PreprocessSettings(input_size=32), ALWAYS, batch_size=3, seed=3, loader_workers=workers
        )
        return [{name: np.asarray(value) for name, value in batch.items()} for batch in loaders.train_dataloader()]

    alone = batches(0)
    assert len(alone) == 2
    for one, other in zip(alone, batches(2), strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_batches_photographed_on_the_device_have_the_same_labels_and_about_the_same_input(
    prepared: AlignedStore,
) -> None:
    """Half of the draws relit: places, depths and responses are those of the processors' way, inputs but for noise."""
    data, settings = join_stores([prepared], QualityLimits()), replace(NO_AUGMENTATION, relit_share=0.5)

    def batches(in_batches: bool) -> list[dict[str, Any]]:
        loaders = CaptureData(
            data, PreprocessSettings(input_size=32), settings, batch_size=6, seed=3, in_batches=in_batches
        )
        found = []
        for epoch in range(4):
            order = loaders.train_dataloader()
            order.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            found += [loaders.on_after_batch_transfer(batch, 0) for batch in order]
        return found

    undeveloped = 0
    for one, other in zip(batches(False), batches(True), strict=True):
        assert set(one) == set(other)
        for name in ("depth", "response", "live", "species"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-6)
        for expected, found in zip(one["input"], other["input"], strict=True):
            if not np.array_equal(expected, found):
                undeveloped += 1
                assert np.corrcoef(expected.numpy().ravel(), found.numpy().ravel())[0, 1] > 0.9
    assert 4 <= undeveloped <= 20  # of 24


def test_shards_have_no_layers_and_are_changed_as_ever(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    shard_dataset(dataset, out, captures_per_shard=4, quiet=True, detector_factory=KnowingDetector)
    (store,) = prepare_all([out], 1, True, KnowingDetector)
    data = join_stores([store], QualityLimits())
    examples = CaptureDataset(data.stores, data.usable("train"), PreprocessSettings(input_size=32), ALWAYS, seed=1)
    assert [len(layers) for layers in examples.layers] == [0]
    for position, example in enumerate(examples.examples):
        item = examples[3, position]
        assert item["input"].shape == (6, 3, 32, 32)
        np.testing.assert_allclose(item["response"], example.record.response, atol=1e-6)
