"""Cast shadows against closed forms: a sheet that hides a known part of the screen, a pole under a far light."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.light import ScreenLight
from simulator.shadow import direction_visibility, screen_visibility

SIZE, FOCAL_PX = 128, 150.0
SCREEN = ScreenLight()
TOWARDS_CAMERA = np.broadcast_to(np.array([0.0, 0.0, 1.0], np.float32), (SIZE, SIZE, 3))


def plane(normal: np.ndarray, distance_cm: float) -> np.ndarray:
    """Depth (SIZE, SIZE) of the plane through (0, 0, −distance)."""
    at = (np.arange(SIZE) + 0.5 - SIZE / 2) / FOCAL_PX
    rays = np.stack([*np.meshgrid(at, -at), -np.ones((SIZE, SIZE))], -1)
    return (-distance_cm * normal[2] / (rays @ normal)).astype(np.float32)


@pytest.mark.parametrize("tilt", [(0.0, 0.0, 1.0), (0.3, -0.2, 0.9), (-0.4, 0.6, 0.7)])
def test_a_plane_alone_throws_no_shadow_on_itself(tilt):
    normal = np.asarray(tilt) / np.linalg.norm(tilt)
    depth = plane(normal, 30.0)
    normals = np.broadcast_to(normal.astype(np.float32), (SIZE, SIZE, 3))
    assert screen_visibility(depth, normals, FOCAL_PX, SCREEN).min() > 0.99
    assert direction_visibility(depth, FOCAL_PX, (0.0, 0.6, 0.8)).min() > 0.99


def test_nothing_is_in_shadow_where_nothing_is():
    empty = np.zeros((SIZE, SIZE), np.float32)
    assert (screen_visibility(empty, TOWARDS_CAMERA, FOCAL_PX, SCREEN) == 1.0).all()
    assert (direction_visibility(empty, FOCAL_PX, (0.0, 0.6, 0.8)) == 1.0).all()


def test_a_sheet_hides_the_part_of_the_screen_that_lies_behind_it():
    """Sheet 20 cm away over the image's lower half, wall 30 cm away: similar triangles say how much is hidden.

    The ray from height Y on the wall over the sheet's edge at height e meets the screen's plane at (30·e − 20·Y)/10;
    the wall sees what is above. The image shows it just above its middle.
    """
    depth = np.full((SIZE, SIZE), 30.0, np.float32)
    sheet = np.zeros_like(depth)
    edge_row = SIZE // 2 + 2
    sheet[edge_row:] = 20.0
    seen = screen_visibility(depth, TOWARDS_CAMERA, FOCAL_PX, SCREEN, in_front_cm=sheet)
    edge_cm = -(edge_row - SIZE / 2) / FOCAL_PX * 20.0
    for row in (SIZE // 2 - 30, SIZE // 2 - 20, SIZE // 2 - 12, SIZE // 2 - 4):
        height_cm = -(row + 0.5 - SIZE / 2) / FOCAL_PX * 30.0
        lowest = (30.0 * edge_cm - 20.0 * height_cm) / 10.0
        y = -SCREEN.offset_y_cm - (np.arange(400) + 0.5) / 400 * SCREEN.height_cm
        weight = 1.0 / ((y - height_cm) ** 2 + 900.0) ** 2
        expected = weight[y > lowest].sum() / weight.sum()
        assert seen[row, SIZE // 2] == pytest.approx(expected, abs=0.08), row


def test_a_nearer_sheet_that_is_not_in_the_way_changes_nothing():
    depth = np.full((SIZE, SIZE), 30.0, np.float32)
    sheet = np.zeros_like(depth)
    sheet[:20] = 20.0  # above, and the screen is below
    seen = screen_visibility(depth, TOWARDS_CAMERA, FOCAL_PX, SCREEN, in_front_cm=sheet)
    assert seen[60:, SIZE // 2].min() > 0.99


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_poles_shadow_falls_away_from_a_far_light_and_is_as_long_as_the_light_is_low(side):
    """A block 2 cm high before a wall, light at 45°: its shadow reaches 2 cm beyond it, on the far side only."""
    depth = np.full((SIZE, SIZE), 30.0, np.float32)
    left, right = SIZE // 2 - 6, SIZE // 2 + 5  # the cells at which shadows are sought hold both edges
    depth[40:90, left:right] = 28.0
    lit = direction_visibility(depth, FOCAL_PX, (side * np.sqrt(0.5), 0.0, np.sqrt(0.5)))[64]
    px_per_cm = FOCAL_PX / 30.0
    edges_cm = (np.array([left, right]) - SIZE / 2) * 28.0 / FOCAL_PX  # of the block's face
    tip_px = SIZE / 2 + px_per_cm * (edges_cm[0] - 2.0 if side > 0 else edges_cm[1] + 2.0)
    shadow = np.flatnonzero(lit < 0.5)
    if side > 0:
        assert shadow.max() < left and shadow.min() == pytest.approx(tip_px, abs=3.0)
    else:
        assert shadow.min() >= right and shadow.max() == pytest.approx(tip_px, abs=3.0)


def test_shadows_of_the_screen_have_soft_edges():
    depth = np.full((SIZE, SIZE), 30.0, np.float32)
    sheet = np.zeros_like(depth)
    sheet[SIZE // 2 + 2 :] = 20.0
    column = screen_visibility(depth, TOWARDS_CAMERA, FOCAL_PX, SCREEN, in_front_cm=sheet)[: SIZE // 2, SIZE // 2]
    assert column.max() > 0.95 and column.min() < 0.2
    assert np.abs(np.diff(column)).max() < 0.12
