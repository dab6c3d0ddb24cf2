"""A photograph that serves several draws: moved by whole pixels, its label too, and the same from the seed alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_scenes import ALWAYS, made_up_stage
from tiny_captures import KnowingDetector, subjects_of, write_tiny_dataset

from sdk_reference.preprocess import PreprocessSettings
from sdk_reference.quality import QualityLimits
from simulator.stage_file import stage_bytes
from training import data as data_module
from training.augment import NO_AUGMENTATION, AugmentSettings
from training.data import CaptureData, CaptureDataset, PreparedData, join_stores
from training.photographs import PhotographStore, show_again
from training.prepare import prepare_dataset
from training.relight import Relit
from training.sampling import BalancedSampler, Draw

SERVES = 3
SETTINGS = replace(ALWAYS, photograph_serves=SERVES, flip_share=0.5, shift_px=8.0)


def a_photograph(seed: int = 0) -> Relit:
    """Noise in every frame, and a depth label that is a plane, so that its place can be read off it."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(64.0), np.arange(64.0))
    return Relit(
        rng.integers(0, 256, (5, 3, 256, 256), dtype=np.uint8),
        ((across + 2 * down) / 192).astype(np.float32),
        rng.random((6, 3), dtype=np.float32),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Captures of a few people, each with a scene beside it."""
    folder = write_tiny_dataset(
        tmp_path_factory.mktemp("served") / "tiny", [*subjects_of("train", 3), *subjects_of("val", 2)]
    )
    (folder / "stages").mkdir()
    for number, path in enumerate(sorted((folder / "captures").iterdir())):
        (folder / "stages" / f"{path.stem}.npz").write_bytes(stage_bytes(made_up_stage(number)))
    return join_stores([prepare_dataset(folder, detector_factory=KnowingDetector)], QualityLimits())


def training_set(
    data: PreparedData, settings: AugmentSettings = SETTINGS, store: PhotographStore | None = None
) -> CaptureDataset:
    return CaptureDataset(
        data.stores, data.usable("train"), PreprocessSettings(input_size=32), settings, 1, photographs=store
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photographs have been made, as the only item."""
    times, relit = [0], data_module.relit

    def counting(*arguments: object) -> Relit:
        times[0] += 1
        return relit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(data_module, "relit", counting)
    return times


def test_shown_again_a_photograph_is_the_same_pixels_elsewhere() -> None:
    """Mirrored or not, and moved by up to half the crop's shift; each of the ways comes up."""
    photograph, ways = a_photograph(), set()
    for seed in range(80):
        found = show_again(
            photograph, replace(NO_AUGMENTATION, flip_share=0.5, shift_px=4.0), np.random.default_rng(seed)
        )
        inner = found.aligned[:, :, 2:-2, 2:-2]
        matches = {
            (down, right, mirrored)
            for mirrored in (False, True)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(
                inner,
                photograph.aligned[..., :: -1 if mirrored else 1][:, :, 2 - down : 254 - down, 2 - right : 254 - right],
            )
        }
        assert len(matches) == 1
        ways |= matches
        (down, right, mirrored) = matches.pop()
        across = 63 - np.arange(64) if mirrored else np.arange(64)
        plane = (across[None, :] - (-right if mirrored else right) / 4 + 2 * (np.arange(64)[:, None] - down / 4)) / 192
        np.testing.assert_allclose(found.depth[1:-1, 1:-1], plane[1:-1, 1:-1], atol=1e-5)
        assert found.response is photograph.response
        assert found.aligned.dtype == np.uint8 and found.aligned.flags.c_contiguous
    assert len(ways) > 35 and {mirrored for _, _, mirrored in ways} == {False, True}


def test_a_photograph_stays_where_nothing_is_to_change() -> None:
    found = show_again(a_photograph(), NO_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_array_equal(found.aligned, a_photograph().aligned)
    np.testing.assert_array_equal(found.depth, a_photograph().depth)


def test_a_photograph_waits_until_the_next_generation(tmp_path: Path) -> None:
    store, made = PhotographStore(tmp_path / "photographs"), Counter[int]()

    def make(number: int) -> Relit:
        made[number] += 1
        return a_photograph(number)

    for generation in (0, 0, 1, 1, 1, 2):
        found = store.take(7, generation, lambda generation=generation: make(generation))  # type: ignore[misc]
        np.testing.assert_array_equal(found.aligned, a_photograph(generation).aligned)
        np.testing.assert_array_equal(found.depth, a_photograph(generation).depth)
        np.testing.assert_array_equal(found.response, a_photograph(generation).response)
    assert made == {0: 1, 1: 1, 2: 1}
    assert len(list((tmp_path / "photographs").iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "cut short", "a bit turned", "something else"])
def test_a_damaged_photograph_is_made_again(tmp_path: Path, damage: str) -> None:
    store = PhotographStore(tmp_path)
    store.take(0, 0, a_photograph)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    turned = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"empty": b"", "cut short": whole[:-100], "a bit turned": turned, "something else": b"no"}[damage])
    np.testing.assert_array_equal(store.take(0, 0, a_photograph).aligned, a_photograph().aligned)
    assert path.read_bytes() == whole


def test_a_full_disk_is_no_end_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    store = PhotographStore(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    for _ in range(2):
        with pytest.warns(UserWarning, match="No space left"):
            np.testing.assert_array_equal(store.take(0, 0, a_photograph).aligned, a_photograph().aligned)
    assert not list(tmp_path.iterdir())


def test_so_many_draws_share_a_photograph(data: PreparedData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times = counted(monkeypatch)
    examples = training_set(data, store=PhotographStore(tmp_path))
    inputs = [examples[Draw(number, 2, number)]["input"].numpy() for number in range(2 * SERVES)]
    assert times == [2]
    assert len({item.tobytes() for item in inputs}) == 2 * SERVES  # each is shown in another way
    fixed = replace(SETTINGS, flip_share=0.0, shift_px=0.0)
    shown = [training_set(data, fixed)[Draw(number, 2, number)] for number in range(2 * SERVES)]
    for number, item in enumerate(shown):
        same = [np.array_equal(item["input"], other["input"]) for other in shown]
        assert same == [number // SERVES == other // SERVES for other in range(2 * SERVES)]


def test_draws_are_the_same_with_and_without_the_folder_and_after_an_interruption(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draws = [Draw(10 + turn, position, turn) for turn in range(5) for position in (0, 3)]
    kept, without = training_set(data, store=PhotographStore(tmp_path / "a")), training_set(data)
    late = training_set(data, store=PhotographStore(tmp_path / "b"))  # begins at the fifth draw
    for place, draw in enumerate(draws):
        one, other = kept[draw], without[draw]
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)
            if place >= 4:
                np.testing.assert_array_equal(value, late[draw][name], err_msg=name)


def test_captures_that_are_not_relit_are_changed_draw_by_draw(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photograph's whole life is decided at once; the share holds over captures and generations."""
    times = counted(monkeypatch)
    examples = training_set(data, replace(SETTINGS, relit_share=0.5))
    relit_before = []
    for generation in range(6):
        for position in range(6):
            relit = set()
            for shown in range(SERVES):
                times[0] = 0
                examples[Draw(0, position, generation * SERVES + shown)]
                relit.add(times[0])
            assert len(relit) == 1
            relit_before.append(relit.pop())
    assert 8 <= sum(relit_before) <= 28  # of 36


def test_turns_count_how_often_a_capture_was_drawn() -> None:
    species = ["live"] * 5 + ["mask"] * 2 + ["print"] * 6
    sampler, seen = BalancedSampler(species, seed=2, weights={"mask": 2.0}), Counter[int]()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        for draw in sampler:
            assert draw.turn == seen[draw.position]
            seen[draw.position] += 1
    sampler.set_epoch(2)  # taken up again there
    assert [draw.turn for draw in sampler] != [0] * len(species)
    assert min(seen.values()) >= 1


def test_loader_workers_share_the_folder(data: PreparedData, tmp_path: Path) -> None:
    def batches(workers: int, folder: str) -> list[dict[str, np.ndarray]]:
        loaders = CaptureData(
            data,
            PreprocessSettings(input_size=32),
            SETTINGS,
            batch_size=3,
            seed=3,
            loader_workers=workers,
            photographs=PhotographStore(tmp_path / folder),
        )
        order, found = loaders.train_dataloader(), []
        for epoch in range(4):
            order.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            found += [{name: np.asarray(value) for name, value in batch.items()} for batch in order]
        return found

    for one, other in zip(batches(0, "alone"), batches(2, "shared"), strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert not [path for folder in ("alone", "shared") for path in (tmp_path / folder).glob(".*")]
