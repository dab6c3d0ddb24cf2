"""The stages between lens and file, against closed forms and against really photographing with more pixels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from simulator import sensor
from simulator.phone import Phone

BARE = replace(
    Phone.draw(np.random.default_rng(1), "sim-midrange-oled"),
    blur_px=0.8,
    defocus_px=1.0,
    vignetting=0.0,
    denoise=0.0,
    chroma_sigma_px=0.0,
    chroma_noise=1.0,
    sharpen=0.0,
    jpeg_quality=sensor.UNCOMPRESSED,
)
ELECTRONS = 3000.0


def grey(level: float, size: int = 192) -> np.ndarray:
    return np.full((size, size, 3), level, np.float32)


def on_sensor(phone: Phone, scene: np.ndarray, *, noise: bool = True) -> np.ndarray:
    """A linear frame (H, W, 3) of a scene that is already exposed."""
    image = phone._expose(scene, 1.0, (0.0, 0.0))
    if noise:
        rng = np.random.default_rng(3)
        image = sensor.add_noise(image, ELECTRONS, phone.read_electrons, phone.sensor_scale, phone.chroma_noise, rng)
    return phone._process(image, ELECTRONS)


def averaged(image: np.ndarray, factor: int) -> np.ndarray:
    side = image.shape[0] // factor
    return image.reshape(side, factor, side, factor, 3).mean((1, 3))


def transfer(image: np.ndarray) -> np.ndarray:
    """Modulus of the transfer function along x, from the picture of a vertical edge: its derivative's spectrum."""
    spectrum = np.abs(np.fft.rfft(np.diff(image[image.shape[0] // 2, :, 1].astype(np.float64))))
    return spectrum / spectrum[0]


def edge(size: int) -> np.ndarray:
    image = grey(0.1, size)
    image[:, size // 2 :] = 0.5
    return image


@pytest.mark.parametrize("sigma_px", [0.3, 0.5, 0.8, 1.7])
def test_blur_has_the_transfer_function_of_a_gaussian(sigma_px):
    measured = transfer(sensor.blur(edge(128), sigma_px))
    frequencies = np.arange(len(measured)) / 127
    assert np.allclose(measured, np.exp(-2 * (np.pi * sigma_px * frequencies) ** 2), atol=0.025)


def test_variance_grows_linearly_with_signal_as_in_a_photon_transfer_curve():
    levels = np.linspace(0.05, 0.8, 6)
    variances = [
        sensor.add_noise(grey(level), ELECTRONS, 6.0, 1.0, 1.0, np.random.default_rng(k)).var()
        for k, level in enumerate(levels)
    ]
    slope, offset = np.polyfit(levels, variances, 1)
    assert slope == pytest.approx(1 / ELECTRONS, rel=0.02)
    assert offset == pytest.approx((6.0 / ELECTRONS) ** 2, rel=0.35)
    assert np.corrcoef(levels, variances)[0, 1] > 0.9999


def test_noise_is_normal():
    noise = sensor.add_noise(grey(0.3, 512), ELECTRONS, 4.0, 1.0, 1.0, np.random.default_rng(0)) - 0.3
    z = (noise / noise.std()).ravel()
    assert abs(z.mean()) < 0.005 and abs((z**3).mean()) < 0.01 and (z**4).mean() == pytest.approx(3.0, abs=0.06)
    for limit, share in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)):  # two-sided tails of the normal law
        assert (np.abs(z) > limit).mean() == pytest.approx(share, rel=0.1)


def test_noise_is_independent_between_pixels_channels_and_frames():
    rng = np.random.default_rng(0)
    first, second = (sensor.add_noise(grey(0.3), ELECTRONS, 4.0, 1.0, 1.0, rng) - 0.3 for _ in range(2))

    def correlation(a, b):
        return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    assert correlation(first, second) < 0.012
    assert correlation(first[..., 0], first[..., 1]) < 0.02
    assert correlation(first[1:], first[:-1]) < 0.012 and correlation(first[:, 1:], first[:, :-1]) < 0.012
    assert (first - second).var() == pytest.approx(2 * first.var(), rel=0.02)


def test_colour_correction_widens_only_the_coloured_part_of_the_noise():
    plain, wide = (
        sensor.add_noise(grey(0.3), ELECTRONS, 4.0, 1.0, chroma, np.random.default_rng(5)) for chroma in (1.0, 1.7)
    )
    assert np.allclose(plain.mean(-1), wide.mean(-1), atol=1e-5)
    ratio = (wide[..., 0] - wide[..., 1]).std() / (plain[..., 0] - plain[..., 1]).std()
    assert ratio == pytest.approx(1.7, rel=1e-3)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_scaled_down_sensor_has_the_noise_of_averaged_pixels(factor):
    big = averaged(on_sensor(BARE, grey(0.2, 128 * factor)), factor)
    small = on_sensor(replace(BARE, sensor_scale=float(factor)), grey(0.2, 128))
    assert small.var() == pytest.approx(big.var(), rel=0.05)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_scaled_down_sensor_is_as_sharp_as_averaged_pixels(factor):
    big = transfer(averaged(on_sensor(BARE, edge(128 * factor), noise=False), factor))
    small = transfer(on_sensor(replace(BARE, sensor_scale=float(factor)), edge(128), noise=False))
    below = slice(0, int(0.35 * 127))  # beyond, averaging aliases
    assert np.allclose(small[below], big[below], rtol=0.1)


@pytest.mark.parametrize("factor", [2, 3])
def test_filters_of_a_scaled_down_sensor_leave_as_much_noise_as_filters_before_averaging(factor):
    phone = replace(BARE, denoise=3.0, sharpen=0.6)
    big = averaged(on_sensor(phone, grey(0.2, 128 * factor)), factor)
    small = on_sensor(replace(phone, sensor_scale=float(factor)), grey(0.2, 128))
    assert (small @ sensor.LUMINANCE).std() == pytest.approx((big @ sensor.LUMINANCE).std(), rel=0.1)


@pytest.mark.parametrize("path", [(0.5, 0.0), (3.0, 0.0), (1.3, -2.1), (0.0, 7.0)])
def test_a_smear_is_a_line_with_the_covariance_of_an_even_line(path):
    kernel = sensor.line_kernel(path).astype(np.float64)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(offsets, offsets)
    covariance = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    assert (kernel * x).sum() == pytest.approx(0.0, abs=1e-5)
    assert np.allclose(covariance, np.outer(path, path) / 12, rtol=0.01, atol=1e-4)


def test_a_long_smear_spreads_a_dot_over_its_length():
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1.0
    row = sensor.smear(dot, (9.0, 0.0))[20, :, 0]
    assert (row > 0.5 / 9).sum() == 9


def test_denoising_takes_noise_and_leaves_a_strong_edge():
    noisy = edge(128)[..., 0] + np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32) * 0.01
    clean = sensor.denoise(noisy, (0.0, 1e-4), 4.0, 1.0)
    assert clean[:, 8:56].std() < 0.4 * noisy[:, 8:56].std()
    step = clean.mean(0)
    assert step[64] - step[63] > 0.9 * 0.4


def test_denoising_of_a_clean_image_changes_nothing():
    scene = np.random.default_rng(2).uniform(0.1, 0.6, (64, 64)).astype(np.float32)
    assert np.allclose(sensor.denoise(scene, (1e-12, 1e-12), 4.0, 1.0), scene, atol=1e-4)


def test_sharpening_keeps_the_mean_and_steepens_edges():
    soft = cv2.GaussianBlur(edge(128)[..., 0], (0, 0), 1.0)
    sharp = sensor.sharpen(soft, 0.8, 1.0)
    assert sharp.mean() == pytest.approx(soft.mean(), abs=1e-3)
    assert np.diff(sharp[64]).max() > 1.2 * np.diff(soft[64]).max()
    assert sharp.max() <= soft.max() * (1 + sensor.OVERSHOOT)


def test_another_brightness_leaves_the_colour_differences():
    rng = np.random.default_rng(3)
    image, luma = rng.random((8, 9, 3), np.float32), rng.random((8, 9), np.float32)
    changed = sensor.with_luminance(image, luma)
    assert np.allclose(changed @ sensor.LUMINANCE, luma, atol=1e-6)
    assert np.allclose(np.diff(changed, axis=-1), np.diff(image, axis=-1), atol=1e-6)


def test_vignetting_darkens_the_corners_by_its_share():
    shade = sensor.vignette(200, 200, 0.25)
    assert shade[100, 100, 0] == pytest.approx(1.0, abs=1e-3) and shade[0, 0, 0] == pytest.approx(0.75, abs=5e-3)


def test_compression_errs_less_with_quality_and_not_at_all_without():
    rng = np.random.default_rng(4)
    image = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3)).astype(np.uint8), (0, 0), 1.2)
    errors = [
        float(((sensor.compress(image, quality).astype(float) - image) ** 2).mean()) for quality in (60, 75, 85, 92, 98)
    ]
    assert all(worse > better for worse, better in pairwise(errors)), errors
    assert np.array_equal(sensor.compress(image, sensor.UNCOMPRESSED), image)


def test_compression_keeps_red_red():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert sensor.compress(red, 90)[16, 16].tolist() == pytest.approx([200, 0, 0], abs=8)
