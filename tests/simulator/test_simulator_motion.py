"""Head and hand in motion, against kinematics."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.motion import TREMOR_CM, TREMOR_HZ, Motion, MotionWalk, Tremor, image_speed_px, motion_map, move
from simulator.scene import LightLayers, View


def plane_layers(size: int = 96, depth_cm: float = 30.0) -> LightLayers:
    """A frontal plane with a bright dot in the middle."""
    ambient = np.zeros((size, size, 3), np.float32)
    ambient[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2] = 1.0
    everywhere = np.ones((size, size), bool)
    return LightLayers(ambient, ambient, everywhere, np.full((size, size), depth_cm, np.float32), everywhere)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0]
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def test_a_shift_of_one_centimetre_moves_the_image_by_focal_over_depth():
    view, layers = View(96, 120.0), plane_layers()
    source = motion_map(layers, Motion(np.zeros(3), np.array([1.0, -0.5, 0.0])), np.array([0, 0, -30.0]), view, 96)
    assert centroid(move(layers.ambient, source)) - centroid(layers.ambient) == pytest.approx([4.0, 2.0], abs=0.05)


def test_no_motion_changes_nothing():
    view, layers = View(96, 120.0), plane_layers()
    source = motion_map(layers, Motion(np.zeros(3), np.zeros(3)), np.array([0, 0, -30.0]), view, 96)
    assert np.allclose(move(layers.ambient, source), layers.ambient, atol=1e-3)


def test_the_image_moves_as_fast_as_the_projection_of_the_moving_middle():
    middle, rate, view, dt = np.array([2.0, -3.0, -28.0]), np.array([1.1, 0.7, -2.0]), View(300, 400.0), 1e-4

    def pixel(point):
        return 200 / 300 * view.focal_px * np.array([point[0], -point[1]]) / -point[2]

    expected = (pixel(middle + rate * dt) - pixel(middle - rate * dt)) / (2 * dt)
    assert image_speed_px(Motion(np.zeros(3), rate), middle, view, 200) == pytest.approx(expected, rel=1e-5)


def test_the_tremor_is_small_and_between_six_and_twelve_hertz():
    tremor, seconds = Tremor(np.random.default_rng(5)), np.arange(0, 20, 0.005)
    path = np.array([tremor.place_cm(t) for t in seconds])
    spread = path[:, :2].std(0)
    assert (0.6 * TREMOR_CM[0] < spread).all() and (spread < 1.6 * TREMOR_CM[1]).all() and not path[:, 2].any()
    power = np.abs(np.fft.rfft(path[:, 0])) ** 2
    frequencies = np.fft.rfftfreq(len(seconds), 0.005)
    inside = (frequencies > TREMOR_HZ[0] - 0.2) & (frequencies < TREMOR_HZ[1] + 0.2)
    assert power[inside].sum() > 0.98 * power[1:].sum()


def test_the_speed_is_the_rate_of_the_place():
    walk = MotionWalk(np.random.default_rng(8))
    walk.step(0.2)
    speed, before = walk.speed().shift_cm, walk.now().shift_cm
    tremor = walk._tremor
    numeric = (tremor.place_cm(0.2001) - tremor.place_cm(0.1999)) / 0.0002
    assert tremor.speed_cm(0.2) == pytest.approx(numeric, abs=1e-3)
    gone = walk.step(1e-4).shift_cm - before
    assert np.sign(gone[2]) == np.sign(speed[2])


def test_what_is_farther_moves_alike_in_the_image():
    """A small replay held near and a large print far away must not tell themselves by their motion."""
    paths = []
    for scale in (0.4, 1.0, 2.5):
        walk = MotionWalk(np.random.default_rng(3), 30.0 * scale)
        middle, view = np.array([0.5, 1.0, -30.0]) * scale, View(256, 300.0)
        motion = walk.step(0.3)
        place = middle + motion.shift_cm
        paths.append([*(view.focal_px * place[:2] / -place[2]), *image_speed_px(walk.speed(), middle, view, 256)])
    assert np.allclose(paths[0], paths[1], rtol=1e-5) and np.allclose(paths[2], paths[1], rtol=1e-5)


def test_motion_stays_small_over_a_minute_and_is_of_its_seed():
    shifts = []
    for seed in (3, 3, 4):
        walk = MotionWalk(np.random.default_rng(seed))
        shifts.append(np.array([walk.step(1 / 30).shift_cm for _ in range(1800)]))
    assert 0.01 < np.abs(shifts[0]).mean() < 2.0 and np.abs(shifts[0]).max() < 6.0
    assert np.array_equal(shifts[0], shifts[1]) and not np.array_equal(shifts[0], shifts[2])


def test_people_differ_in_how_still_they_hold():
    def path_px(seed):
        walk = MotionWalk(np.random.default_rng(seed))
        return float(np.abs(walk.step(0.25).shift_cm[:2]).max()) * 10.0  # 10 px per cm, about a frame of 256

    moved = np.array([path_px(seed) for seed in range(200)])
    assert 0.3 < np.median(moved) < 2.0 and np.quantile(moved, 0.98) > 3 * np.median(moved) and moved.max() < 12
