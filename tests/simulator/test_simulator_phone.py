"""The phone's camera: exposure, noise, blur, tone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import SimulationError
from simulator.phone import PROFILES, ExposureControl, Phone

PLAIN = replace(
    Phone.draw(np.random.default_rng(1)),
    blur_px=0.4,
    denoise=0.0,
    sharpen=0.0,
    crosstalk=0.0,
    white_balance=(1.0, 1.0, 1.0),
    saturation=1.0,
    contrast=0.0,
    exposure_reaction=0.0,
    exposure_jitter=0.0,
    balance_drift=0.0,
)
ONES = np.ones(3)
BRIGHT_GAIN = 1 / 200  # full scale at 200 cd/m²: base gain, nothing lost


def flat(level: float, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), level, np.float32)


def test_a_plain_camera_encodes_mid_grey_as_srgb_does():
    image = PLAIN.photograph(flat(0.2140 * 200), BRIGHT_GAIN, ONES, np.random.default_rng(0), noise=False)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - 127.5).max() <= 1  # IEC 61966-2-1: 0.2140 linear is 0.5 encoded


def test_metering_brings_the_middle_to_the_exposure_target():
    gain = PLAIN.meter(flat(37.0))
    assert gain * 37.0 == pytest.approx(PLAIN.exposure_target, rel=1e-3)


def test_a_very_dark_scene_stays_dark():
    assert PLAIN.meter(flat(1e-4)) * 1e-4 < 0.01


def test_shot_noise_has_the_variance_of_its_electrons():
    phone = replace(PLAIN, blur_px=0.4)
    electrons = phone.electrons_at_full_scale(BRIGHT_GAIN)
    exposed = phone._add_noise(flat(0.3, 256), electrons, np.random.default_rng(3))
    assert exposed.mean() == pytest.approx(0.3, abs=2e-4)
    assert exposed.var() == pytest.approx((0.3 * electrons + phone.read_electrons**2) / electrons**2, rel=0.02)


def test_noise_grows_with_gain():
    spread = []
    for gain in (1 / 200, 1 / 20, 1 / 2):
        image = PLAIN.photograph(flat(0.3 / gain, 128), gain, ONES, np.random.default_rng(5))
        spread.append(image.astype(float).std())
    assert spread[0] < spread[1] < spread[2]


def test_a_locked_exposure_ignores_the_screen_and_an_automatic_one_follows_it():
    for reaction, changed in ((0.0, False), (0.2, True)):
        control = ExposureControl(replace(PLAIN, exposure_reaction=reaction), flat(20.0), np.random.default_rng(2))
        before = control.gain
        control.photograph(flat(60.0))
        assert (control.gain < before * 0.99) == changed


def test_white_balance_drifts_only_where_the_phone_drifts():
    for drift, changed in ((0.0, False), (0.01, True)):
        control = ExposureControl(replace(PLAIN, balance_drift=drift), flat(20.0), np.random.default_rng(2))
        control.photograph(flat(20.0))
        assert bool(np.any(control.balance != 1.0)) == changed


def test_overexposure_clips_at_white():
    assert PLAIN.photograph(flat(5000.0), BRIGHT_GAIN, ONES, np.random.default_rng(0)).min() == 255


def test_lens_blur_spreads_an_edge():
    edge = flat(10.0)
    edge[:, 32:] = 100.0
    sharp, soft = (
        replace(PLAIN, blur_px=blur).photograph(edge, BRIGHT_GAIN, ONES, np.random.default_rng(0), noise=False)
        for blur in (1.2, 8.0)
    )
    assert np.abs(np.diff(sharp[32, :, 0].astype(int))).max() > np.abs(np.diff(soft[32, :, 0].astype(int))).max()


def test_there_are_four_profiles_and_an_unknown_one_is_refused():
    assert len(PROFILES) >= 4
    with pytest.raises(SimulationError, match="toaster"):
        Phone.draw(np.random.default_rng(0), "toaster")
