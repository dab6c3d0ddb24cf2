"""Augmentation changes captures, never the differences between their frames beyond what a camera itself does."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flash_sequencer.colour import linear_to_srgb, srgb_to_linear
from training.augment import (
    NO_AUGMENTATION,
    AugmentSettings,
    add_noise,
    augment,
    draw_crop,
    draw_exposure_table,
    draw_registration,
    place_depth,
)
from training.errors import SettingOutOfRange

SIDE = 256
ALL = AugmentSettings()


def picture(seed: int = 0) -> np.ndarray:
    """(3, SIDE, SIDE) uint8, smooth."""
    coarse = np.random.default_rng(seed).uniform(30, 220, (12, 12, 3)).astype(np.float32)
    return (
        cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    )


def still_capture() -> np.ndarray:
    """Five times the same frame: every difference is zero."""
    return np.stack([picture()] * 5)


def flat_depth() -> np.ndarray:
    return np.full((64, 64), 0.5, np.float32)


def test_no_augmentation_changes_nothing() -> None:
    capture, depth = still_capture(), np.random.default_rng(0).random((64, 64), dtype=np.float32)
    changed, label = augment(capture, depth, NO_AUGMENTATION, np.random.default_rng(1))
    np.testing.assert_array_equal(changed, capture)
    np.testing.assert_allclose(label, depth, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_per_capture_leaves_equal_frames_equal(seed: int) -> None:
    settings = replace(ALL, registration_px=0.0, noise_levels=0.0)
    changed, _ = augment(still_capture(), flat_depth(), settings, np.random.default_rng(seed))
    assert not np.array_equal(changed[0], still_capture()[0])
    for frame in changed[1:]:
        np.testing.assert_array_equal(frame, changed[0])


def test_shape_type_and_layout_stay() -> None:
    changed, label = augment(still_capture(), flat_depth(), ALL, np.random.default_rng(0))
    assert changed.shape == (5, 3, SIDE, SIDE) and changed.dtype == np.uint8 and changed.flags.c_contiguous
    assert label.shape == (64, 64) and label.dtype == np.float32


def test_the_same_draw_gives_the_same_capture() -> None:
    one, _ = augment(still_capture(), flat_depth(), ALL, np.random.default_rng(5))
    two, _ = augment(still_capture(), flat_depth(), ALL, np.random.default_rng(5))
    np.testing.assert_array_equal(one, two)


def test_a_mirrored_capture_is_the_mirror_image_with_its_depth() -> None:
    settings = replace(NO_AUGMENTATION, flip_share=1.0)
    capture = np.stack([picture(seed) for seed in range(5)])
    depth = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    mirrored, label = augment(capture, depth, settings, np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored, capture[..., ::-1])
    np.testing.assert_allclose(label, depth[:, ::-1], atol=1e-5)


def test_half_of_all_captures_are_mirrored() -> None:
    rng = np.random.default_rng(0)
    flips = [draw_crop(ALL, rng, SIDE)[0, 0] < 0 for _ in range(1000)]
    assert 440 < sum(flips) < 560


def test_depth_moves_with_the_face() -> None:
    """A bright disc in the frames and in the label must stay in one place, whatever the crop."""
    across, down = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    disc = (np.hypot(across - 150, down - 90) < 24).astype(np.float32)
    label = disc.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    settings = replace(ALL, rotation_deg=20.0, scale=0.2, shift_px=20.0)
    for seed in range(10):
        crop = draw_crop(settings, np.random.default_rng(seed), SIDE)
        moved = cv2.warpAffine(disc, crop, (SIDE, SIDE)).reshape(64, 4, 64, 4).mean(axis=(1, 3))
        assert np.abs(place_depth(label, crop, SIDE) - moved).mean() < 0.005
        assert np.abs(label - moved).mean() > 0.01  # the disc did move


def test_exposure_and_cast_are_gains_in_linear_light() -> None:
    table = draw_exposure_table(replace(NO_AUGMENTATION, exposure_stops=1.0, cast=0.2), np.random.default_rng(3))
    levels = np.arange(256)
    for channel in range(3):
        before, after = srgb_to_linear(levels / 255.0), srgb_to_linear(table[0, :, channel] / 255.0)
        inside = (levels > 60) & (table[0, :, channel] < 250)
        gain = np.median(after[inside] / before[inside])
        expected = np.rint(linear_to_srgb(np.clip(before * gain, 0, 1)) * 255)
        assert np.abs(table[0, :, channel] - expected).max() <= 1
    assert len({int(table[0, 100, channel]) for channel in range(3)}) > 1


def test_registration_errors_stay_below_their_bound_and_differ_between_frames() -> None:
    shifts = draw_registration(replace(ALL, registration_px=0.35), np.random.default_rng(0), 4000)
    assert np.abs(shifts).max() <= 0.7 + 1e-9
    assert shifts.std() == pytest.approx(0.35 * 0.9594, rel=0.03)  # a normal clipped at ±2 σ: E x² = 0.9205 σ²
    assert np.abs(shifts.mean(axis=0)).max() < 0.02


def test_noise_has_the_stated_strength_and_is_independent_between_frames() -> None:
    grey = np.full((5, SIDE, SIDE, 3), 128, np.uint8)
    noise = add_noise(grey, 3.0, np.random.default_rng(0)).astype(np.float64) - 128.0
    assert noise.std() == pytest.approx(np.sqrt(3.0**2 + 1 / 12), rel=0.01)  # rounding adds a twelfth
    assert abs(noise.mean()) < 0.02
    correlations = np.corrcoef(noise.reshape(5, -1)) - np.eye(5)
    assert np.abs(correlations).max() < 0.01


def test_noise_saturates_instead_of_wrapping() -> None:
    for level in (0, 255):
        noisy = add_noise(np.full((5, 64, 64, 3), level, np.uint8), 4.0, np.random.default_rng(0))
        assert np.abs(noisy.astype(int) - level).max() < 30


def test_noise_is_all_that_two_equal_frames_can_differ_by_when_they_are_registered() -> None:
    settings = replace(ALL, registration_px=0.0, noise_levels=1.0)
    changed, _ = augment(still_capture(), flat_depth(), settings, np.random.default_rng(0))
    assert np.abs(changed[0].astype(int) - changed[4].astype(int)).max() <= 2 * 6  # six standard deviations each


@pytest.mark.parametrize(
    "wrong", [{"flip_share": 1.5}, {"cast": -0.1}, {"scale": float("nan")}, {"noise_levels": 1e9}, {"shift_px": -1.0}]
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(wrong))):
        AugmentSettings(**wrong)
