"""The z-buffer against closed forms: a slanted plane, a sphere, two crossing planes, and meshes it must survive."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.errors import SimulationError
from simulator.raster import NEAR_CM, rasterise

SIZE, FOCAL_PX = 64, 80.0
CENTRE_PX = (31.0, 33.0)


def pixel_rays() -> tuple[np.ndarray, np.ndarray]:
    """x/depth and y/depth at every pixel's centre, each (SIZE, SIZE) float64."""
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    return (column + 0.5 - CENTRE_PX[0]) / FOCAL_PX, -(row + 0.5 - CENTRE_PX[1]) / FOCAL_PX


def quad(corners: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def draw(vertices: np.ndarray, triangles: np.ndarray, attributes: np.ndarray | None = None):
    values = vertices if attributes is None else attributes
    return rasterise(vertices, triangles, np.asarray(values, np.float32), FOCAL_PX, CENTRE_PX, SIZE, SIZE)


def slanted_plane() -> tuple[np.ndarray, np.ndarray]:
    """z = −20 + 0.5 x + 0.25 y, far larger than the image."""
    return quad([(x, y, -20 + 0.5 * x + 0.25 * y) for x, y in ((-14, -14), (14, -14), (14, 14), (-14, 14))])


def test_a_slanted_plane_has_the_depth_of_its_equation() -> None:
    raster = draw(*slanted_plane())
    ray_x, ray_y = pixel_rays()
    expected = 20.0 / (1.0 + 0.5 * ray_x + 0.25 * ray_y)
    inside = raster.mask
    assert inside.mean() > 0.9
    np.testing.assert_allclose(raster.depth_cm[inside], expected[inside], rtol=2e-5)


def test_attributes_are_linear_on_the_surface_not_in_the_image() -> None:
    raster = draw(*slanted_plane())
    ray_x, ray_y = pixel_rays()
    inside, depth = raster.mask, raster.depth_cm
    np.testing.assert_allclose(raster.attributes[inside][:, 0], (ray_x * depth)[inside], atol=2e-4)
    np.testing.assert_allclose(raster.attributes[inside][:, 1], (ray_y * depth)[inside], atol=2e-4)
    np.testing.assert_allclose(raster.attributes[inside][:, 2], -depth[inside], atol=2e-4)


def test_a_sphere_has_the_depth_of_its_equation() -> None:
    radius, distance = 5.0, 30.0
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 181), np.linspace(0, 2 * np.pi, 361), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    vertices = (unit.reshape(-1, 3) * radius + (0.0, 0.0, -distance)).astype(np.float32)
    first = (np.arange(180)[:, None] * 361 + np.arange(360)).ravel()
    triangles = np.concatenate(
        [np.stack([first, first + 1, first + 361], 1), np.stack([first + 1, first + 362, first + 361], 1)]
    )
    raster = draw(vertices, triangles)
    ray_x, ray_y = pixel_rays()
    squared = ray_x**2 + ray_y**2 + 1.0
    root = distance**2 - squared * (distance**2 - radius**2)
    expected = (distance - np.sqrt(np.maximum(root, 0.0))) / squared
    well_inside = root > 4.0
    assert raster.mask[well_inside].all()
    assert not raster.mask[root < -4.0].any()
    np.testing.assert_allclose(raster.depth_cm[well_inside], expected[well_inside], atol=4e-3)


@pytest.mark.parametrize("near_first", [True, False])
def test_the_nearer_surface_hides_the_farther_whatever_the_order(near_first: bool) -> None:
    near, far = quad([(-2, -2, -10), (2, -2, -10), (2, 2, -10), (-2, 2, -10)]), slanted_plane()
    parts = [(near, 1.0), (far, 2.0)] if near_first else [(far, 2.0), (near, 1.0)]
    vertices = np.concatenate([part[0][0] for part in parts])
    triangles = np.concatenate([parts[0][0][1], parts[1][0][1] + 4])
    labels = np.repeat([[parts[0][1]], [parts[1][1]]], 4, axis=0)
    raster = draw(vertices, triangles, labels)
    ray_x, ray_y = pixel_rays()
    covered = (np.abs(ray_x) < 0.199) & (np.abs(ray_y) < 0.199)
    np.testing.assert_allclose(raster.depth_cm[covered], 10.0, rtol=1e-5)
    np.testing.assert_allclose(raster.attributes[covered][:, 0], 1.0, rtol=1e-5)
    beside = raster.mask & ((np.abs(ray_x) > 0.201) | (np.abs(ray_y) > 0.201))
    np.testing.assert_allclose(raster.attributes[beside][:, 0], 2.0, rtol=1e-5)


def test_two_crossing_planes_meet_where_their_depths_are_equal() -> None:
    left = quad([(-9, -9, -20 - 4.5), (9, -9, -20 + 4.5), (9, 9, -20 + 4.5), (-9, 9, -20 - 4.5)])
    right = quad([(-9, -9, -20 + 4.5), (9, -9, -20 - 4.5), (9, 9, -20 - 4.5), (-9, 9, -20 + 4.5)])
    labels = np.repeat([[1.0], [2.0]], 4, axis=0)
    raster = draw(np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1] + 4]), labels)
    ray_x, _ = pixel_rays()
    np.testing.assert_allclose(
        raster.attributes[raster.mask][:, 0], np.where(ray_x > 0, 1.0, 2.0)[raster.mask], rtol=1e-5
    )


def test_image_y_points_down_and_pixel_centres_lie_at_one_half() -> None:
    # A triangle around the ray through the centre of pixel (row 3, column 50), a third of a pixel wide.
    x, y = (50.5 - CENTRE_PX[0]) / FOCAL_PX * 10, -(3.5 - CENTRE_PX[1]) / FOCAL_PX * 10
    step = 0.3 * 10 / FOCAL_PX
    vertices = np.array([(x - step, y - step, -10), (x + step, y - step, -10), (x, y + step, -10)], np.float32)
    assert [tuple(place) for place in np.argwhere(draw(vertices, np.array([[0, 1, 2]])).mask)] == [(3, 50)]


def test_neighbouring_triangles_leave_no_gap() -> None:
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.linspace(-12, 12, 40), np.linspace(-12, 12, 40)), -1).reshape(-1, 2)
    vertices = np.concatenate([grid, -20 + rng.normal(size=(1600, 1)) * 0.2], 1).astype(np.float32)
    first = (np.arange(39)[:, None] * 40 + np.arange(39)).ravel()
    triangles = np.concatenate(
        [np.stack([first, first + 1, first + 40], 1), np.stack([first + 1, first + 41, first + 40], 1)]
    )
    assert draw(vertices, triangles).mask.all()


@pytest.mark.parametrize(
    "bad_vertex",
    [
        (0.0, 0.0, 5.0),
        (0.0, 0.0, -NEAR_CM / 2),
        (0.0, 0.0, 0.0),
        (np.nan, 0.0, -9.0),
        (np.inf, 0.0, -9.0),
        (0.0, 1.0, np.nan),
    ],
)
def test_triangles_behind_the_near_plane_or_not_finite_are_left_out(bad_vertex: tuple[float, float, float]) -> None:
    good = [(-2.0, -2.0, -10.0), (2.0, -2.0, -10.0), (0.0, 2.0, -10.0)]
    vertices = np.array([*good, bad_vertex], np.float32)
    raster = draw(vertices, np.array([[0, 1, 2], [0, 1, 3]]), np.ones((4, 1)))
    alone = draw(vertices[:3], np.array([[0, 1, 2]]), np.ones((3, 1)))
    assert alone.mask.any()
    np.testing.assert_array_equal(raster.mask, alone.mask)
    np.testing.assert_array_equal(raster.depth_cm, alone.depth_cm)


def test_what_lies_outside_the_image_or_has_no_area_draws_nothing() -> None:
    outside = np.array([(900, 900, -5), (901, 900, -5), (900, 901, -5)], np.float32)
    flat = np.array([(-1, 0, -10), (0, 0, -10), (1, 0, -10)], np.float32)
    for vertices in (outside, flat):
        raster = draw(vertices, np.array([[0, 1, 2]]))
        assert not raster.mask.any() and not raster.depth_cm.any() and not raster.attributes.any()


def test_an_empty_mesh_gives_an_empty_image_of_the_asked_size() -> None:
    raster = rasterise(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros((0, 2)), 50.0, (4.0, 3.0), 6, 8)
    assert raster.mask.shape == (6, 8) and raster.attributes.shape == (6, 8, 2) and not raster.mask.any()
    assert (raster.mask.dtype, raster.depth_cm.dtype, raster.attributes.dtype) == (bool, np.float32, np.float32)


@pytest.mark.parametrize("index", [-1, 3, 10**6])
def test_an_index_beyond_the_vertices_is_refused(index: int) -> None:
    with pytest.raises(SimulationError, match="every index"):
        draw(np.zeros((3, 3), np.float32), np.array([[0, 1, index]]))


def test_attributes_that_do_not_match_the_vertices_are_refused() -> None:
    with pytest.raises(SimulationError, match="one attribute row per vertex"):
        draw(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), np.zeros((2, 1)))
