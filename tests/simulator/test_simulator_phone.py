"""The phone's camera: exposure, noise, blur, tone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.devices import PROFILES, draw_screen
from simulator.errors import SimulationError
from simulator.light import WHITE_TOLERANCE
from simulator.phone import (
    BASE_ISO_RADIANCE,
    LONGEST_EXPOSURE_S,
    NEARLY_LOCKED,
    STEP_S,
    ExposureControl,
    Phone,
)
from simulator.sensor import UNCOMPRESSED

PLAIN = replace(
    Phone.draw(np.random.default_rng(1)),
    blur_px=0.4,
    defocus_px=0.0,
    denoise=0.0,
    chroma_sigma_px=0.0,
    chroma_noise=1.0,
    vignetting=0.0,
    gamma=1.0,
    shadows=0.0,
    longest_exposure_s=LONGEST_EXPOSURE_S,
    balance_reaction=0.0,
    jpeg_quality=UNCOMPRESSED,
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


def test_noise_grows_with_gain():
    spread = []
    for gain in (1 / 200, 1 / 20, 1 / 2):
        image = PLAIN.photograph(flat(0.3 / gain, 128), gain, ONES, np.random.default_rng(5))
        spread.append(image.astype(float).std())
    assert spread[0] < spread[1] < spread[2]


def test_a_locked_exposure_keeps_the_identical_gain_whatever_the_light():
    control = ExposureControl(PLAIN, flat(20.0), np.random.default_rng(2))
    before, balance = control.gain, control.balance.copy()
    for level in (60.0, 5.0, 200.0):
        control.photograph(flat(level))
    assert control.gain == before and np.array_equal(control.balance, balance)


@pytest.mark.parametrize("reaction", [0.05, 0.5, 0.9])
def test_exposure_goes_its_share_of_the_way_per_step_in_the_logarithm(reaction):
    control = ExposureControl(replace(PLAIN, exposure_reaction=reaction), flat(20.0), np.random.default_rng(2))
    before = control.gain
    control.photograph(flat(40.0), elapsed_s=STEP_S)
    assert control.gain / before == pytest.approx(0.5**reaction, rel=1e-3)


def test_reactions_depend_on_the_time_and_not_on_how_often_somebody_looks():
    phone = replace(PLAIN, exposure_reaction=0.4, balance_reaction=0.2)
    gains = []
    for looks in (1, 6):
        control = ExposureControl(phone, flat(20.0), np.random.default_rng(2))
        for _ in range(looks):
            control.photograph(flat(40.0) * np.float32([1.0, 0.6, 0.5]), elapsed_s=STEP_S / looks)
        gains.append([control.gain, *control.balance])
    assert np.allclose(*gains, rtol=1e-5)


def test_strong_reactions_to_a_flash_like_those_of_real_pairs_are_in_the_range():
    """Real pairs: the camera lowered its exposure to 0.69 and 0.82 when the screen lit up a face at indoor light."""
    falls = []
    for seed in range(300):
        phone = replace(Phone.draw(np.random.default_rng(seed)), exposure_jitter=0.0)
        control = ExposureControl(phone, flat(40.0), np.random.default_rng(seed))
        before = control.gain
        control.photograph(flat(60.0))
        falls.append(control.gain / before)
    still = 1.5**-NEARLY_LOCKED - 1e-6
    assert 0.42 < np.mean(np.array(falls) >= still) < 0.62
    assert min(falls) < 0.74 and np.quantile(falls, 0.1) < 0.86


def test_a_dark_scene_is_exposed_longer_up_to_the_longest_time():
    phone = replace(PLAIN, longest_exposure_s=1 / 40)
    times = [phone.exposure_s(1.0 / full_scale) for full_scale in (800.0, 160.0, 20.0, 2.0)]
    assert times == pytest.approx([LONGEST_EXPOSURE_S * BASE_ISO_RADIANCE / 800, 1 / 60, 1 / 40, 1 / 40])


def test_the_smear_is_speed_times_exposure_time():
    dot = flat(0.0, 96)
    dot[46:50, 46:50] = 60.0
    images = []
    for speed in (0.0, 360.0):
        control = ExposureControl(PLAIN, flat(16.0), np.random.default_rng(2))
        control.phone = replace(PLAIN, full_well_electrons=1e9)
        image = control.photograph(dot, speed_px=(speed, 0.0)).astype(float) / 255
        linear = np.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)[..., 1].sum(0)
        x = np.arange(96) - (np.arange(96) * linear).sum() / linear.sum()
        images.append((linear * x * x).sum() / linear.sum())
    path_px = 360.0 * PLAIN.exposure_s(PLAIN.meter(flat(16.0)))
    assert images[1] - images[0] == pytest.approx(path_px**2 / 12, rel=0.08) and path_px > 5


def test_a_given_exposure_time_is_used_for_the_smear():
    dot = flat(1.0, 96)
    dot[46:50, 46:50] = 60.0
    peaks = []
    for exposure_s in (0.001, 0.03):
        control = ExposureControl(PLAIN, flat(16.0), np.random.default_rng(2))
        peaks.append(control.photograph(dot, speed_px=(400.0, 0.0), exposure_s=exposure_s)[46:50].max())
    assert peaks[1] < 0.85 * peaks[0]


def test_white_balance_drifts_only_where_the_phone_drifts():
    for drift, changed in ((0.0, False), (0.01, True)):
        control = ExposureControl(replace(PLAIN, balance_drift=drift), flat(20.0), np.random.default_rng(2))
        control.photograph(flat(20.0))
        assert bool(np.any(control.balance != 1.0)) == changed


def test_automatic_white_balance_fights_a_coloured_flash_but_not_wholly():
    control = ExposureControl(replace(PLAIN, balance_reaction=0.3), flat(20.0), np.random.default_rng(2))
    reddish = flat(20.0) * np.float32([1.5, 1.0, 1.0])
    for _ in range(40):
        control.photograph(reddish)
    assert control.balance[1] == pytest.approx(1.0) and 1 / 1.5 < control.balance[0] < 0.85
    for _ in range(40):
        control.photograph(flat(20.0) * np.float32([30.0, 1.0, 1.0]))
    assert control.balance[0] > 0.5


def test_the_same_numbers_give_the_same_photograph():
    phone = Phone.draw(np.random.default_rng(9))
    scene = np.random.default_rng(1).uniform(1.0, 90.0, (64, 64, 3)).astype(np.float32)
    first, same, other = (
        ExposureControl(phone, scene, np.random.default_rng(seed)).photograph(scene, speed_px=(30.0, 9.0))
        for seed in (4, 4, 5)
    )
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_light_outside_the_sensors_gamut_does_no_harm():
    scene = flat(20.0)
    scene[..., 1] = -1.0
    image = PLAIN.photograph(scene, BRIGHT_GAIN, ONES, np.random.default_rng(0))
    assert image[..., 1].max() < 40 and image[..., 0].min() > 50


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


def test_there_are_at_least_four_profiles_and_an_unknown_one_is_refused():
    assert len(PROFILES) >= 4
    with pytest.raises(SimulationError, match="toaster"):
        Phone.draw(np.random.default_rng(0), "toaster")
    with pytest.raises(SimulationError, match="toaster"):
        draw_screen(np.random.default_rng(0), "toaster")


@pytest.mark.parametrize("name", list(PROFILES))
def test_the_device_settles_camera_and_screen(name):
    ranges = PROFILES[name]
    for seed in range(20):
        phone, screen = Phone.draw(np.random.default_rng(seed), name), draw_screen(np.random.default_rng(seed), name)
        assert phone.profile == name
        assert ranges.camera.read_electrons[0] <= phone.read_electrons <= ranges.camera.read_electrons[1]
        assert ranges.screen.luminance_nits[0] <= screen.luminance_nits <= ranges.screen.luminance_nits[1]
        assert (screen.black_ratio == 0.0) == name.endswith("oled")


def test_screens_of_one_kind_differ_in_white_and_show_no_negative_light():
    screen = PROFILES["sim-budget-lcd"].screen
    drawn = np.array([screen.draw(np.random.default_rng(seed)).primaries for seed in range(300)])
    assert drawn.min() >= 0.0 and np.allclose(np.median(drawn.sum(2), 0), 1.0, atol=0.02)
    assert np.allclose(drawn.sum(2).std(0), WHITE_TOLERANCE, atol=0.015)
