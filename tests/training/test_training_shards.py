"""Shards: the same captures as the store they came from, read by anyone, and not one changed byte goes unnoticed."""

from __future__ import annotations

import gc
import io
import json
import mmap
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from lightning.pytorch.callbacks import Callback
from tiny_captures import KnowingDetector, subjects_of, tiny_capture, write_tiny_dataset
from tiny_network import TINY
from typer.testing import CliRunner

from flashproof.commands.shard import shard
from sdk_reference.capture import save_capture
from sdk_reference.errors import InvalidInput
from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from training import shard_writing
from training.augment import AugmentSettings
from training.data import CaptureData, join_stores
from training.errors import DatasetInvalid, LabelsContradict, SettingsMismatch, SplitLeaks
from training.log_table import read_log
from training.machine import Machine
from training.network import PRESETS
from training.prepare import preparation_of, prepare_all
from training.settings import RECIPES
from training.shard_checks import open_shards
from training.shard_writing import ShardedDataset, shard_dataset
from training.shards import ShardStore, hash_of_file
from training.splits import split_of
from training.store import PreparedStore
from training.train import train

SIZE = 4  # captures per shard


def write(data: Path, out: Path, size: int = SIZE) -> ShardedDataset:
    return shard_dataset(data, out, captures_per_shard=size, quiet=True, detector_factory=KnowingDetector)


def opened(folder: Path) -> PreparedStore:
    return prepare_all([folder], 1, True, KnowingDetector)[0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "tiny"
    people = [*subjects_of("train", 7), *subjects_of("val", 4), *subjects_of("test", 2)]
    write_tiny_dataset(folder, people)
    save_capture(tiny_capture(500, people[0], "live", faceless=True), folder / "captures" / "000004a.zip")
    return folder


@pytest.fixture(scope="module")
def shards(dataset: Path) -> Path:
    write(dataset, dataset.parent / "out")
    return dataset.parent / "out"


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def test_shards_hold_what_the_store_holds(dataset: Path, shards: Path) -> None:
    store, sharded = opened(dataset), opened(shards)
    assert isinstance(sharded, ShardStore)
    assert sharded.records == store.records
    assert (sharded.sha256, sharded.n0, sharded.refused) == (store.sha256, store.n0, store.refused)
    assert sharded.describe() == store.describe()
    for record in store.usable:
        np.testing.assert_array_equal(sharded.aligned_row(record.row), store.aligned_row(record.row))
        np.testing.assert_array_equal(sharded.depth_row(record.row), store.depth_row(record.row))
    assert join_stores([sharded], QualityLimits()).to_dict() == join_stores([store], QualityLimits()).to_dict()


def test_every_shard_holds_one_split_and_no_more_than_its_number(shards: Path) -> None:
    index = json.loads((shards / "shards.json").read_text())
    assert [entry["file"] for entry in index["shards"]] == [
        *(f"train-{number:06d}.tar" for number in range(4)),
        *(f"val-{number:06d}.tar" for number in range(2)),
        "test-000000.tar",
    ]
    for entry in index["shards"]:
        with tarfile.open(shards / entry["file"]) as archive:
            records = [json.load(archive.extractfile(m)) for m in archive if m.name.endswith(".json")]  # type: ignore[arg-type]
        assert len(records) == entry["captures"] <= SIZE
        assert {split_of(record["labels"]["subject"]) for record in records} == {entry["split"]}
        assert entry["sha256"] == hash_of_file(shards / entry["file"])
        assert entry["bytes"] == (shards / entry["file"]).stat().st_size


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves closing to the collector
def test_the_webdataset_library_reads_them_without_our_code(dataset: Path, shards: Path) -> None:
    import webdataset

    store = opened(dataset)
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    read = 0
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        record = sample["json"]
        assert sample["__key__"] == f"{record['row']:06d}"
        assert sample["aligned.npy"].dtype == np.uint8 and sample["depth.npy"].dtype == np.float16
        np.testing.assert_array_equal(sample["aligned.npy"], store.aligned_row(record["row"]))
        np.testing.assert_array_equal(sample["depth.npy"], store.depth_row(record["row"]))
        assert record["labels"] == store.records[record["row"]].labels
        read += 1
    gc.collect()
    assert read == len(store.usable) == 26


def test_a_sharded_store_may_be_sent_to_a_worker_and_opens_its_files_there(shards: Path) -> None:
    store = opened(shards)
    row = store.usable[3].row
    before = np.array(store.aligned_row(row))
    sent = pickle.dumps(store)
    assert len(sent) < before.nbytes / 10  # records and places, no pixels
    np.testing.assert_array_equal(pickle.loads(sent).aligned_row(row), before)


def test_reading_maps_shards_only_when_one_of_their_captures_is_read(shards: Path) -> None:
    store = opened(shards)
    assert isinstance(store, ShardStore)
    maps = pickle.loads(pickle.dumps(store))
    assert maps._maps == {}
    maps.aligned_row(maps.usable[0].row)
    assert len(maps._maps) == 1 and isinstance(maps._maps.popitem()[1], mmap.mmap)


def test_the_same_data_give_the_same_bytes(dataset: Path, shards: Path, tmp_path: Path) -> None:
    write(dataset, tmp_path / "again")
    files = sorted(path.name for path in shards.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == files
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (shards / name).read_bytes()


class Killed(Exception):
    """Stands for a kill: nothing of ours catches it."""


def test_a_killed_writing_goes_on_where_it_stopped(
    dataset: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, added = shard_writing._add_capture, []

    def add_until_killed(*parts: Any) -> None:
        added.append(parts)
        if len(added) == 2 * SIZE + 2:  # in the middle of the third shard
            raise Killed
        add(*parts)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(shard_writing, "_add_capture", add_until_killed)
        with pytest.raises(Killed):
            write(dataset, out)
    (out / ".train-000002.tar.123.part").write_bytes(b"left by a harder kill")
    with pytest.raises(DatasetInvalid, match="not all written"):
        opened(out)
    assert write(dataset, out).written == 5  # of seven
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in shards.iterdir()
    }


def test_writing_again_mends_a_damaged_shard_and_only_that(dataset: Path, shards: Path, copy: Path) -> None:
    assert write(dataset, copy).written == 0
    content = bytearray((copy / "val-000001.tar").read_bytes())
    content[5000] ^= 1
    (copy / "val-000001.tar").write_bytes(content)
    assert write(dataset, copy).written == 1
    assert (copy / "val-000001.tar").read_bytes() == (shards / "val-000001.tar").read_bytes()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchange(path: Path) -> None:
    shutil.copy(path.with_name("train-000000.tar"), path)


@pytest.mark.parametrize("harm", [cut, flip, exchange, Path.unlink])
def test_a_shard_cut_short_or_changed_is_an_error_that_names_it(copy: Path, harm: Callable[[Path], object]) -> None:
    harm(copy / "train-000002.tar")
    with pytest.raises(DatasetInvalid, match=r"train-000002\.tar"):
        opened(copy)


def test_changed_refused_records_are_an_error_too(copy: Path) -> None:
    flip(copy / "refused.jsonl")
    with pytest.raises(DatasetInvalid, match=r"refused\.jsonl"):
        opened(copy)


def test_training_on_a_damaged_shard_ends_before_it_begins(copy: Path, tmp_path: Path) -> None:
    cut(copy / "val-000000.tar")
    with pytest.raises(DatasetInvalid, match=r"val-000000\.tar"):
        run_training(tmp_path / "run", copy)
    assert not (tmp_path / "run").exists()


def rewrite(folder: Path, file: str, change: Callable[[dict[str, bytes]], None], **entry: Any) -> None:
    """Change the members of a shard and make the index fit, as a careless program would."""
    with tarfile.open(folder / file) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(folder / file, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    index = json.loads((folder / "shards.json").read_text())
    for said in index["shards"]:
        if said["file"] == file:
            said.update(bytes=(folder / file).stat().st_size, sha256=hash_of_file(folder / file), **entry)
    (folder / "shards.json").write_text(json.dumps(index))


def change_record(suffix: str, **values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith(suffix))
        record = json.loads(members[name])
        for key, value in values.items():
            record[key] = {**record[key], **value} if isinstance(value, dict) else value
        members[name] = json.dumps(record).encode()

    return change


def change_array(suffix: str, values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        stream = io.BytesIO()
        np.save(stream, values, allow_pickle=True)
        members[next(name for name in members if name.endswith(suffix))] = stream.getvalue()

    return change


def drop(suffix: str) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.pop(next(name for name in members if name.endswith(suffix))) and None


NAN_DEPTH = np.full((64, 64), np.nan, np.float16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_record(".json", quality={"flash_snr": float("nan")}), "flash_snr = nan"),
        (change_record(".json", response=[[float("inf")] * 3] * 6), "response"),
        (change_record(".json", labels={"species": "alien"}), "alien"),
        (change_record(".json", split="train"), "split"),
        (change_record(".json", row=4), "row 4"),
        (change_array(".depth.npy", NAN_DEPTH), "depth label with NaN"),
        (change_array(".depth.npy", np.zeros((64, 64), np.float32)), "float32"),
        (change_array(".aligned.npy", np.zeros((5, 3, 256, 255), np.uint8)), "255"),
        (change_array(".aligned.npy", np.array([{}], object)), "aligned.npy"),
        (lambda members: members.update({next(iter(members)): b"no array"}), "aligned.npy"),
        (drop(".depth.npy"), "depth.npy and json"),
        (drop(".json"), "depth.npy and json"),
        (lambda members: members.clear(), "0 captures"),
    ],
)
def test_a_badly_written_capture_is_an_error_that_names_its_shard_or_itself(
    copy: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    rewrite(copy, "test-000000.tar", change)
    with pytest.raises(DatasetInvalid, match=message) as raised:
        opened(copy)
    assert "test-000000.tar" in str(raised.value) or ".zip" in str(raised.value)


def test_contradicting_labels_in_a_shard_are_an_error_that_names_the_capture(copy: Path) -> None:
    rewrite(copy, "test-000000.tar", change_record(".json", labels={"species": "live", "instrument": "mask_latex"}))
    with pytest.raises(LabelsContradict, match=r"\.zip with species live"):
        opened(copy)


def test_a_subject_that_the_shards_own_split_puts_elsewhere_is_a_leak(copy: Path) -> None:
    rewrite(copy, "test-000000.tar", lambda members: None, split="train")
    with pytest.raises(SplitLeaks, match=r"test-000000\.tar.*the test split"):
        opened(copy)


def test_a_subject_in_shards_of_two_splits_is_a_leak_that_names_both_captures(copy: Path) -> None:
    person = subjects_of("train", 1)[0]
    rewrite(copy, "test-000000.tar", change_record(".json", labels={"subject": person}))
    with pytest.raises(SplitLeaks, match=rf"\.zip in train-.*\.zip in test-000000\.tar, both of {person}"):
        opened(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"format": "tar"}, "format 'tar'"),
        ({"surplus": 1}, "surplus"),
        ({"captures": 3}, "27 captures"),
        ({"data_sha256": "00"}, "data_sha256"),
        ({"shards": [{"file": "../x.tar", "split": "val", "captures": 1, "bytes": 1, "sha256": ""}]}, "x.tar"),
        ({"shards": 3}, "index"),
        ({"shards": []}, "1 captures"),
        ({"preparation": {"version": 0}}, "another version and template"),
    ],
)
def test_a_changed_index_is_an_error(copy: Path, values: dict[str, Any], message: str) -> None:
    index = json.loads((copy / "shards.json").read_text())
    (copy / "shards.json").write_text(json.dumps({**index, **values}))
    with pytest.raises(DatasetInvalid, match=message):
        opened(copy)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"format": NaN}'])
def test_an_unreadable_index_is_an_error(copy: Path, content: bytes) -> None:
    (copy / "shards.json").write_bytes(content)
    with pytest.raises(DatasetInvalid, match=r"shards\.json"):
        opened(copy)


def test_shards_of_other_data_are_not_overwritten(dataset: Path, copy: Path, tmp_path: Path) -> None:
    other = write_tiny_dataset(tmp_path / "other", subjects_of("train", 1))
    with pytest.raises(SettingsMismatch, match="data_sha256"):
        write(other, copy)
    with pytest.raises(SettingsMismatch, match="captures_per_shard"):
        write(dataset, copy, size=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(DatasetInvalid, match="something else"):
        write(dataset, tmp_path / "mine")
    with pytest.raises(DatasetInvalid, match="shards already"):
        write(copy, tmp_path / "again")


def test_a_data_set_and_its_shards_together_are_refused(dataset: Path, shards: Path) -> None:
    with pytest.raises(DatasetInvalid, match="the same captures"):
        prepare_all([dataset, shards], 1, True, KnowingDetector)


def test_opening_reports_its_progress(shards: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_shards(shards, preparation_of(KnowingDetector), lambda done, total: seen.append((done, total)))
    assert seen == [(number, 7) for number in range(1, 8)]


class KillAt(Callback):
    """Ends the process' work in the middle of an epoch."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 0):
            raise Killed


def run_training(out: Path, data: Path, *callbacks: Callback) -> Any:
    settings = replace(RECIPES["mobile"], epochs=2, batch_size=4, seed=4)
    machine = Machine(quiet=True, accelerator="cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(PRESETS, "mobile", TINY)
        return train(out, [data], settings, machine, detector_factory=KnowingDetector, callbacks=callbacks)


def curve(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_log(folder)]


def test_training_on_shards_is_training_on_the_folder_and_a_kill_may_change_over(
    dataset: Path, shards: Path, tmp_path: Path
) -> None:
    whole = run_training(tmp_path / "folder", dataset)
    sharded = run_training(tmp_path / "sharded", shards)
    assert curve(tmp_path / "sharded") == curve(tmp_path / "folder")
    assert sharded["weights"] == whole["weights"]
    with pytest.raises(Killed):
        run_training(tmp_path / "moved", dataset, KillAt())
    run_training(tmp_path / "moved", shards)  # begun at home, taken up again where only the shards are
    assert curve(tmp_path / "moved") == curve(tmp_path / "folder")


def test_loader_workers_read_shards_to_the_same_batches(shards: Path) -> None:
    data = join_stores([opened(shards)], QualityLimits())

    def inputs(workers: int) -> np.ndarray:
        loaders = CaptureData(
            data, PreprocessSettings(input_size=32), AugmentSettings(), batch_size=7, seed=3, loader_workers=workers
        )
        return next(iter(loaders.train_dataloader()))["input"].numpy()

    np.testing.assert_array_equal(inputs(1), inputs(0))


def test_the_command_prints_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detect = KnowingDetector.detect
    monkeypatch.setattr(
        "sdk_reference.landmarks.FaceMeshDetector.detect", lambda self, frame: detect(KnowingDetector(), frame)
    )
    app = typer.Typer()
    app.command()(shard)
    data = write_tiny_dataset(tmp_path / "data", [*subjects_of("train", 2), *subjects_of("val", 1)])
    arguments = [str(data), "--out", str(tmp_path / "out"), "--workers", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["captures"], result["shards"], result["written"]) == (6, 2, 2)
    assert result["splits"] == {"train": 4, "val": 2, "test": 0} and result["refused"]["refused"] == 0
    again = CliRunner().invoke(app, arguments)
    assert "6 captures (4 train, 2 val, 0 test) in 2 shards" in again.stdout and "0 new" in again.stdout
    wrong = CliRunner().invoke(app, [*arguments, "--captures-per-shard", "0"])
    assert isinstance(wrong.exception, InvalidInput)
