"""Layers of light, poses and motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.background import draw_background
from simulator.framing import FACE_CENTRE_CM, Framing
from simulator.head import build_head
from simulator.identity import Identity
from simulator.light import ScreenLight
from simulator.scene import (
    LightLayers,
    Pose,
    View,
    back_project,
    relight,
    render_head,
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


def test_a_frame_is_the_ambient_layer_plus_each_primary_times_its_layer(live):
    """Without noise; the sum is written out here per pixel and primary, from the screen's stated physics."""
    screen = replace(live.lighting.screen, primaries=((0.9, 0.15, 0.0), (0.05, 0.9, 0.04), (0.0, 0.1, 1.1)))
    colour = (0.2, 0.7, 0.4)
    expected = live.layers.ambient.astype(np.float64).copy()
    for primary in range(3):
        shown = screen.black_ratio + (1.0 - screen.black_ratio) * colour[primary]
        for channel in range(3):
            seen = screen.luminance_nits * screen.primaries[channel][primary]
            expected[..., channel] += shown * seen * live.layers.screen[..., channel].astype(np.float64)
    frame = relight(live.layers, screen.radiance(colour))
    assert np.abs(frame - expected).max() < 1e-4 * max(1.0, expected.max())


def test_scattering_keeps_the_lights_sum():
    rng = np.random.default_rng(4)
    mask = np.zeros((96, 96), bool)
    mask[20:80, 15:70] = True
    mask[40:55, 30:36] = False
    for sigma in (0.6, 1.2, 3.3):
        light = rng.uniform(0.0, 1.0, (96, 96, 2)).astype(np.float32) * mask[..., None]
        light[60:, :, 0] = 0.0
        after = scatter(light, mask, (sigma,))[0]
        assert np.allclose(after.sum((0, 1)), light.sum((0, 1)), rtol=0.01), sigma
        assert (after[~mask] == 0.0).all()


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


def test_scattering_keeps_even_light_and_softens_an_edge():
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    even = mask[..., None].astype(np.float32)
    spread = scatter(even * 2.0, mask, (4.0,))[0][..., 0]
    assert np.allclose(spread[mask], 2.0, rtol=0.1) and np.allclose(spread[16:48, 16:48], 2.0, rtol=0.02)
    edge = even.copy()
    edge[:, 32:] *= 0.2
    before, after = (np.diff(image[32, 20:44, 0]) for image in (edge, scatter(edge, mask, (4.0,))[0]))
    assert before.min() < after.min() < 0.0  # softer, and still an edge


def test_poses_carry_points_into_camera_space():
    pose = Pose(rotation(0, 0, np.pi / 2), np.array([1.0, 2.0, -30.0], np.float32))
    assert np.allclose(pose.apply(np.array([[1.0, 0, 0]])), [[1.0, 3.0, -30.0]], atol=1e-5)


def test_backgrounds_have_no_depth_and_answer_the_screen_faintly():
    rng = np.random.default_rng(2)
    background = draw_background(rng, 64, Lighting(Ambient.draw(rng), ScreenLight()))
    assert not background.covered.any() and not background.depth_cm.any()
    assert 0 < background.screen.mean() < 0.01


def test_backgrounds_differ_in_how_they_answer_the_screen_and_hold_things_at_several_distances():
    """Screen over room light, which cancels colour, spans a wide range over backgrounds and differs within one."""
    lighting = Lighting(Ambient.draw(np.random.default_rng(0), "office", 100.0), ScreenLight())
    answers = []
    for seed in range(24):
        layers = draw_background(np.random.default_rng(seed), 64, lighting)
        answers.append(layers.screen.mean(-1) / layers.ambient.mean(-1))
    between = np.array([answer.mean() for answer in answers])
    within = np.array([answer.max() / answer.min() for answer in answers])
    assert between.max() / between.min() > 8.0 and np.median(within) > 1.5


def test_eyes_mirror_the_screen_below_their_middle():
    """A catchlight: the brightest point of each eye lies on the iris, below the pupil's middle, as the screen does."""
    identity = Identity.draw(7)
    framing = Framing(1.2, 30.0, 0.0, 0.0, 0.0, (0.0, 0.0))
    view, pose = framing.view(384), framing.head_pose()
    lighting = Lighting(Ambient.draw(np.random.default_rng(1), "dark_room"), ScreenLight(offset_y_cm=0.5))
    screen = render_head(identity, build_head(identity), pose, view, lighting).screen.mean(-1)
    scale = view.focal_px / 29.0
    for side in (-1.0, 1.0):
        column = round(view.size / 2 + side * identity.eyes.x * scale)
        row = round(view.size / 2 - (identity.eyes.y - FACE_CENTRE_CM[1]) * scale)
        reach = round(0.7 * scale)
        patch = screen[row - reach : row + reach, column - reach : column + reach]
        brightest = np.unravel_index(patch.argmax(), patch.shape)[0]
        assert patch.max() > 2.0 * np.median(screen[screen > 0.0])
        assert reach - 0.15 * scale < brightest < reach + 0.6 * scale
