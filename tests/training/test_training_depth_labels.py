"""Depth labels against worked geometry: a plane, a step and a ball."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_captures import SCALE, face_points

from sdk_reference.align import TEMPLATE
from sdk_reference.landmarks import Face
from training.depth_labels import (
    EYE_DISTANCE_MM,
    FACE_DEPTH_RANGE_MM,
    LEFT_EYE,
    RIGHT_EYE,
    area_average,
    label_from_depth_map,
    label_from_mesh,
    live_label,
    spoof_label,
)

SIDE = TEMPLATE.size
SAME = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
HALF_SIZE = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # frame of 128 pixels → template


def test_an_attack_is_flat_at_one_half() -> None:
    np.testing.assert_array_equal(spoof_label(), np.full((64, 64), 0.5, np.float32))
    assert spoof_label(32).shape == (32, 32)


def test_a_plane_facing_the_camera_is_all_nearest() -> None:
    label = label_from_depth_map(np.full((SIDE, SIDE), 400, np.uint16), SAME)
    np.testing.assert_array_equal(label, np.ones((64, 64), np.float32))


def test_depth_falls_linearly_from_one_at_the_nearest_point_to_zero_at_the_range() -> None:
    """Rows recede by 1 mm each from 300 mm on; the face begins some rows down."""
    ramp = np.repeat(np.arange(300, 300 + SIDE, dtype=np.uint16)[:, None], SIDE, axis=1)
    label = label_from_depth_map(ramp, SAME)
    assert label is not None
    rows = np.flatnonzero(TEMPLATE.face_region(SIDE).any(axis=1))
    nearest = np.quantile(ramp[TEMPLATE.face_region(SIDE)], 0.002)
    assert nearest == pytest.approx(300 + rows[0], abs=4)
    expected = np.clip(1 - (ramp - nearest) / FACE_DEPTH_RANGE_MM, 0, 1).reshape(64, 4, 64, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(label, expected, atol=1e-5)
    assert label[-1].max() == 0.0


def test_background_and_what_lies_far_behind_are_zero() -> None:
    depth = np.where(TEMPLATE.face_region(SIDE), 400, 0).astype(np.uint16)
    far = np.where(TEMPLATE.face_region(SIDE), 400, 2000).astype(np.uint16)
    for map_mm in (depth, far):
        label = label_from_depth_map(map_mm, SAME)
        assert label is not None
        assert label[0].max() == 0.0 and label[:, 0].max() == 0.0
        assert label[32, 32] == 1.0


def test_one_stray_pixel_does_not_count_as_the_nose() -> None:
    depth = np.full((SIDE, SIDE), 400, np.uint16)
    depth[128, 128] = 10
    label = label_from_depth_map(depth, SAME)
    assert label is not None and label[10, 10] == 1.0


def test_the_label_is_placed_as_the_frame_is_aligned() -> None:
    """A frame of half the template's size: each of its pixels covers 2×2 of the template exactly."""
    depth = np.full((SIDE // 2, SIDE // 2), 400, np.uint16)
    depth[:, 64:] = 460  # half the range behind
    label = label_from_depth_map(depth, HALF_SIZE)
    assert label is not None
    np.testing.assert_allclose(label[:, :32], 1.0)
    np.testing.assert_allclose(label[:, 32:], 0.5, atol=1e-6)


def test_an_empty_depth_map_gives_way_to_the_mesh() -> None:
    face = Face(face_points(), np.zeros(468, np.float32))
    assert label_from_depth_map(np.zeros((128, 128), np.uint16), HALF_SIZE) is None
    label = live_label(np.zeros((128, 128), np.uint16), face, HALF_SIZE)
    np.testing.assert_array_equal(label, label_from_mesh(face, HALF_SIZE))
    assert label.max() == pytest.approx(1.0)


def test_a_mesh_is_measured_by_the_distance_of_the_eyes() -> None:
    """A mesh that recedes to the right by one pixel per pixel: 45 degrees whatever the scale."""
    points = face_points()
    eyes = points[list(LEFT_EYE)].mean(axis=0) - points[list(RIGHT_EYE)].mean(axis=0)
    mm_per_px = EYE_DISTANCE_MM / np.hypot(*eyes)
    label = label_from_mesh(Face(points, points[:, 0].copy()), HALF_SIZE)
    row = label[32, 20:44]
    per_label_pixel = 4 * SCALE * mm_per_px / FACE_DEPTH_RANGE_MM
    np.testing.assert_allclose(np.diff(row), -per_label_pixel, atol=2e-3)
    assert label[0, 0] == 0.0  # outside the mesh


def test_area_average_is_the_mean_of_blocks() -> None:
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(area_average(values, 2), [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(area_average(values, 4), values)


@pytest.mark.parametrize(("shape", "size"), [((4, 4), 3), ((4, 2), 2), ((4, 4), 0), ((2, 2), 4)])
def test_sizes_that_do_not_divide_are_refused(shape: tuple[int, int], size: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        area_average(np.zeros(shape, np.float32), size)
