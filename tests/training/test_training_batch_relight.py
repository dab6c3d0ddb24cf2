"""Relighting in batches must be relighting: the same draws give the same pictures as on a processor, below a level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made_up_scenes import ALWAYS, IDEAL, SIDE, flat_layers, scene_layers
from torch.utils.data import default_collate

from sdk_reference.preprocess import PreprocessSettings, aligned_to_input
from simulator import sensor
from simulator.phone import Phone
from training import shooting
from training.augment import NO_AUGMENTATION, WIDE, AugmentSettings
from training.batch_camera import LARGEST_REACH, blur, compress, gaussian_taps
from training.batch_relight import collate_sheets, develop_batch, develop_ready, frames_of, sheet_of, to_input
from training.layer_store import AlignedLayers, StoredLayers
from training.relight import Relit, relit
from training.shooting import draw_shooting

PLAIN = replace(NO_AUGMENTATION, relit_share=1.0)
EDGE = 12  # pixels at which the two repeat or mirror the picture's edge
SEEDS = range(24)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """No noise, and a camera that wanders by itself in nothing: what is left follows from what both draw alike."""
    draw = Phone.draw

    def drawn(*arguments: Any) -> Phone:
        return replace(draw(*arguments), exposure_jitter=0.0, balance_drift=0.0)

    monkeypatch.setattr(shooting.Phone, "draw", staticmethod(drawn))
    monkeypatch.setattr(sensor, "add_noise", lambda exposed, *_: exposed)


def textured() -> AlignedLayers:
    """The made-up scene with fine detail, for filters to work on, as half floats hold it."""
    grain = np.exp(np.random.default_rng(0).normal(size=(SIDE, SIDE, 1)) * 0.15).astype(np.float32)
    layers = scene_layers(replace(IDEAL, sensor_scale=1.7))
    return replace(layers, ambient=half(layers.ambient * grain), screen=half(layers.screen * grain))


def half(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float16).astype(np.float32)


def stored(layers: AlignedLayers) -> StoredLayers:
    planes = np.concatenate([layers.ambient, layers.screen, layers.covered[..., None]], axis=-1)
    return StoredLayers(planes.transpose(2, 0, 1).astype(np.float16), 1.0, layers.phone, layers.light)


def sheet(layers: AlignedLayers, settings: AugmentSettings, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return sheet_of(stored(layers), draw_shooting(layers.phone, settings, rng), rng)


def on_a_processor(layers: AlignedLayers, settings: AugmentSettings, seed: int) -> Relit:
    return relit(layers, np.full((64, 64), 0.5, np.float32), settings, np.random.default_rng(seed))


def test_a_batch_shows_what_processors_photograph(steady: None) -> None:
    """All stages and looks, compressed and not, blended and not; automatic exposure and white balance at work."""
    layers = textured()
    sheets = [sheet(layers, WIDE, seed) for seed in SEEDS]
    frames = frames_of(default_collate(sheets), noise=False).numpy()
    plain = [each["phone"]["jpeg_quality"] == sensor.UNCOMPRESSED for each in sheets]
    assert {bool(each["blended"]) for each in sheets} == {True, False} == set(plain)
    assert any(each["phone"]["exposure_reaction"] > 0.1 and not each["blended"] for each in sheets)
    for seed, uncompressed, found in zip(SEEDS, plain, frames, strict=True):
        expected = on_a_processor(layers, WIDE, seed).aligned.astype(np.float64)
        off = np.abs(expected - found)[..., EDGE:-EDGE, EDGE:-EDGE]
        assert off.mean() < (0.15 if uncompressed else 1.3), seed
        assert np.quantile(off, 0.999) <= (2.0 if uncompressed else 10.0), seed


def test_the_input_is_the_phone_sides() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 3, SIDE, SIDE), dtype=np.uint8)
    frames[1] = 90 + frames[1] // 60  # so little light that the gain's limit holds
    for settings in (PreprocessSettings(), PreprocessSettings(input_size=256, transfer="encoded", gain="none")):
        found = to_input(torch.from_numpy(frames.astype(np.float32)), settings).numpy()
        for one, expected in zip(found, frames, strict=True):
            np.testing.assert_allclose(one, aligned_to_input(expected, settings), atol=2e-6)


def test_taps_are_the_simulators() -> None:
    for sigma in (0.3, 0.55, 0.8, 1.2, 1.7, 2.4):
        expected = sensor.gaussian_taps(sigma)
        reach = len(expected) // 2
        found = gaussian_taps(torch.tensor([[sigma]]))[0, 0].numpy()
        np.testing.assert_allclose(found[LARGEST_REACH - reach : LARGEST_REACH + reach + 1], expected, atol=1e-6)


def test_no_phone_blurs_farther_than_taps_reach() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        phone = Phone.draw(rng, sensor_scale=1.0)
        lens = sensor.frame_sigma_px(float(np.hypot(phone.blur_px, phone.defocus_px / 2)), 1.0)
        for sigma in (lens, phone.chroma_sigma_px, sensor.SHARPEN_SIGMA_PX):
            assert len(sensor.gaussian_taps(round(sigma, 3))) // 2 <= LARGEST_REACH + 2  # taps of less than 0.002


def test_noise_is_as_strong_as_the_simulators() -> None:
    """A flat scene through 30 phones: the spread over pixels, mean over frames, in differences of two frames."""
    settings = PLAIN
    layers = flat_layers(2.0, 0.01, replace(IDEAL, sensor_scale=1.5))
    sheets = [sheet(layers, settings, seed) for seed in range(30)]
    frames = frames_of(default_collate(sheets)).numpy()
    expected = np.stack([on_a_processor(layers, settings, seed).aligned for seed in range(30)]).astype(np.float64)
    spreads = [
        (several[:, 0] - several[:, 1])[..., 40:-40, 40:-40].std(axis=(2, 3)).ravel() for several in (frames, expected)
    ]
    assert spreads[1].max() > 2.0  # there is noise to speak of
    assert np.corrcoef(*np.log(spreads))[0, 1] > 0.97
    assert np.median(spreads[0] / spreads[1]) == pytest.approx(1.0, abs=0.06)


def test_noise_follows_from_the_batchs_seed() -> None:
    batch = default_collate([sheet(textured(), WIDE, seed) for seed in range(2)])
    one, same = frames_of(batch), frames_of(batch)
    other = frames_of({**batch, "noise_seed": batch["noise_seed"] + 1})
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("quality", [80, 93, 98])
def test_compression_loses_what_jpeg_loses(quality: int) -> None:
    picture = on_a_processor(textured(), ALWAYS, 3).aligned[0]
    levels = torch.from_numpy(picture.astype(np.float32))[None, None]
    found = compress(levels, torch.tensor([float(quality)]))[0, 0].numpy()
    expected = sensor.compress(np.ascontiguousarray(picture.transpose(1, 2, 0)), quality).transpose(2, 0, 1)
    lost, lost_by_jpeg = (np.abs(each.astype(np.float64) - picture).mean() for each in (found, expected))
    assert lost == pytest.approx(lost_by_jpeg, rel=0.05) and lost_by_jpeg > 0.5
    assert np.abs(found - expected).mean() < 1.2
    assert torch.equal(compress(levels, torch.tensor([float(sensor.UNCOMPRESSED)])), levels)


def test_batches_keep_their_order_and_lose_their_sheets(steady: None) -> None:
    settings, layers = PreprocessSettings(input_size=32), textured()
    sheets = [sheet(layers, ALWAYS, seed) for seed in range(3)]
    ready = torch.full((6, 3, 32, 32), 7.0)
    items = [
        {"sheet": sheets[0], "live": 0},
        {"input": ready, "live": 1},
        {"sheet": sheets[1], "live": 2},
        {"sheet": sheets[2], "live": 3},
    ]
    batch = develop_ready(collate_sheets(items), settings)
    assert set(batch) == {"input", "live"} and batch["live"].tolist() == [0, 1, 2, 3]
    assert torch.equal(batch["input"][1], ready)
    developed = batch["input"][[0, 2, 3]]
    for each, seed in zip(developed, range(3), strict=True):
        expected = aligned_to_input(on_a_processor(layers, ALWAYS, seed).aligned, settings)
        assert np.corrcoef(each.numpy().ravel(), expected.ravel())[0, 1] > 0.98  # the batch has noise, the other none


def test_a_batch_without_sheets_is_left_alone() -> None:
    items = [{"input": torch.zeros(6, 3, 8, 8), "live": k} for k in range(2)]
    batch = collate_sheets(items)
    assert develop_ready(batch, PreprocessSettings(input_size=8)) is batch


def test_a_silent_scene_stays_silent(steady: None) -> None:
    """No light of the screen comes back, the exposure is locked: all differences are zero."""
    locked = replace(IDEAL, sensor_scale=1.5)
    layers = replace(flat_layers(20.0, 0.0, locked), screen=np.zeros((SIDE, SIDE, 3), np.float32))
    sheets = [sheet(layers, PLAIN, seed) for seed in range(40)]
    steady_ones = [each for each in sheets if each["phone"]["exposure_reaction"] == 0.0]
    batch = default_collate([each for each in steady_ones if each["phone"]["balance_reaction"] == 0.0])
    assert len(batch["order"]) > 5
    assert develop_batch(batch, PreprocessSettings(input_size=32), noise=False).abs().max() == 0.0


def test_a_blur_repeats_the_edges_of_the_picture() -> None:
    """An edge that wrapped round, or went to black, would light one side of a face with the other's light."""
    ramp = torch.linspace(0.0, 1.0, 64).expand(1, 1, 1, 64, 64).contiguous()
    sigma = torch.tensor([1.5])
    taps = gaussian_taps(sigma[:, None])[0, 0]
    reach = len(taps) // 2
    row = np.convolve(np.pad(ramp[0, 0, 0, 0].numpy(), reach, mode="edge"), taps.numpy(), mode="valid")
    for picture, found in ((ramp, blur(ramp, sigma)), (ramp.mT, blur(ramp.mT, sigma).mT)):
        assert picture.shape == found.shape
        np.testing.assert_allclose(found[0, 0, 0].numpy(), np.broadcast_to(row, (64, 64)), atol=1e-5)
