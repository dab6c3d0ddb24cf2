"""Layers of light, poses and motion."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.background import draw_background
from simulator.light import ScreenLight
from simulator.scene import (
    LightLayers,
    Motion,
    MotionWalk,
    Pose,
    View,
    back_project,
    motion_map,
    move,
    relight,
    rotation,
)
from simulator.shading import scatter
from simulator.stage import set_stage


@pytest.fixture(scope="module")
def live():
    return set_stage(11, 5, "live", "face", size=96, ambient_lux=100.0)


def plane_layers(size: int = 96, depth_cm: float = 30.0) -> LightLayers:
    """A frontal plane with a bright dot in the middle."""
    ambient = np.zeros((size, size, 3), np.float32)
    ambient[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2] = 1.0
    everywhere = np.ones((size, size), bool)
    return LightLayers(ambient, ambient, everywhere, np.full((size, size), depth_cm, np.float32), everywhere)


def centroid(image: np.ndarray) -> tuple[float, float]:
    weight = image[..., 0]
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    return float((x * weight).sum() / weight.sum()), float((y * weight).sum() / weight.sum())


def test_a_frame_is_ambient_plus_the_weighted_screen(live):
    colour = np.array([0.2, 0.7, 0.4], np.float32)
    radiance = live.lighting.screen.radiance(colour)
    frame = relight(live.layers, radiance)
    by_primary = sum(
        relight(live.layers, np.eye(3)[c] * radiance[c]) - relight(live.layers, np.zeros(3)) for c in range(3)
    )
    assert np.allclose(frame, live.layers.ambient + by_primary, atol=1e-4)
    assert np.allclose(relight(live.layers, np.zeros(3)), live.layers.ambient, atol=0)


def test_the_difference_of_two_screens_holds_no_room_light():
    dim, bright = (set_stage(11, 5, "live", "face", size=64, ambient_lux=lux) for lux in (20.0, 800.0))
    white = dim.lighting.screen.radiance(np.ones(3))
    differences = [relight(stage.layers, white) - relight(stage.layers, np.zeros(3)) for stage in (dim, bright)]
    on_head = dim.layers.covered
    assert np.allclose(differences[0][on_head], differences[1][on_head], atol=1e-3)


def test_layers_are_finite_and_not_negative(live):
    for layer in (live.layers.ambient, live.layers.screen):
        assert np.isfinite(layer).all() and layer.min() >= 0.0 and layer.dtype == np.float32


def test_the_screen_lights_the_chin_side_more_than_the_brow(live):
    """The screen is below the camera: surfaces that look down are brighter in the difference."""
    face, screen = live.layers.face, live.layers.screen.mean(-1) / (live.layers.ambient.mean(-1) + 1e-6)
    rows = np.nonzero(face.any(1))[0]
    upper, lower = np.array_split(rows, 2)
    assert screen[lower][face[lower]].mean() > screen[upper][face[upper]].mean()


def test_flash_to_ambient_is_plausible_indoors_and_falls_with_lux():
    ratios = [
        set_stage(seed, seed, "live", "face", size=64, ambient_lux=lux).labels["flash_to_ambient"]
        for lux in (30.0, 150.0, 1000.0)
        for seed in (1, 2, 3)
    ]
    at_30, at_150, at_1000 = np.reshape(ratios, (3, 3)).mean(1)
    assert 0.4 < at_30 < 2.5 and 0.08 < at_150 < 0.7 and at_1000 < 0.1


@pytest.mark.parametrize("angles", [(0.3, -0.2, 0.1), (0.0, 0.0, 0.0), (-1.0, 0.5, 2.0)])
def test_rotations_are_orthonormal(angles):
    turn = rotation(*angles)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-6) and np.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)


def test_yaw_turns_the_face_to_the_image_right():
    assert (rotation(0.4, 0, 0) @ np.array([0, 0, 1.0]))[0] > 0


def test_back_projection_inverts_the_pinhole():
    view = View(64, 100.0)
    points = back_project(np.full((64, 64), 30.0, np.float32), view)
    u = view.centre_px[0] + view.focal_px * points[..., 0] / -points[..., 2]
    assert np.allclose(u[5], np.arange(64) + 0.5, atol=1e-4)


def test_a_shift_of_one_centimetre_moves_the_image_by_focal_over_depth():
    view, layers = View(96, 120.0), plane_layers()
    source = motion_map(layers, Motion(np.zeros(3), np.array([1.0, -0.5, 0.0])), np.array([0, 0, -30.0]), view, 96)
    before, after = centroid(layers.ambient), centroid(move(layers.ambient, source))
    assert after[0] - before[0] == pytest.approx(4.0, abs=0.05)
    assert after[1] - before[1] == pytest.approx(2.0, abs=0.05)  # y is up in space, down in the image


def test_no_motion_changes_nothing_but_the_resolution():
    view, layers = View(96, 120.0), plane_layers()
    source = motion_map(layers, Motion(np.zeros(3), np.zeros(3)), np.array([0, 0, -30.0]), view, 96)
    assert np.allclose(move(layers.ambient, source), layers.ambient, atol=1e-3)


def test_motion_stays_small_over_a_minute():
    walk = MotionWalk(np.random.default_rng(3))
    shifts = np.array([walk.step(1 / 30).shift_cm for _ in range(1800)])
    assert 0.01 < np.abs(shifts).mean() < 2.0 and np.abs(shifts).max() < 6.0


def test_scattering_keeps_even_light_and_softens_an_edge():
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    even = mask[..., None] * np.float32(2.0)
    spread = scatter(even, mask, 4.0)
    assert np.allclose(spread[mask], 2.0, rtol=0.04) and (spread[~mask] == 0).all()  # 4 % in the corners
    assert np.allclose(spread[20:44, 20:44], 2.0, rtol=0.005)
    assert spread.sum() == pytest.approx(even.sum(), rel=1e-3)
    edge = even.copy()
    edge[:, 32:] *= np.float32(0.2)
    softened = np.diff(scatter(edge, mask, 4.0)[32, 20:44, 0])
    assert np.abs(softened).max() > 0.05  # still an edge …
    assert softened.min() > np.diff(edge[32, 20:44, 0]).min()  # … but softer


def test_poses_carry_points_into_camera_space():
    pose = Pose(rotation(0, 0, np.pi / 2), np.array([1.0, 2.0, -30.0], np.float32))
    assert np.allclose(pose.apply(np.array([[1.0, 0, 0]])), [[1.0, 3.0, -30.0]], atol=1e-5)


def test_backgrounds_have_no_depth_and_answer_the_screen_faintly():
    rng = np.random.default_rng(2)
    background = draw_background(rng, 64, Lighting(Ambient.draw(rng), ScreenLight()))
    assert not background.covered.any() and not background.depth_cm.any()
    assert 0 < background.screen.mean() < 0.01
