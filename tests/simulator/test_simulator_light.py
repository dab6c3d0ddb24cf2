"""The simulator's lights against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.ambient import SCENES, Ambient, light_colour
from simulator.devices import draw_screen
from simulator.errors import SimulationError
from simulator.light import PANELS, ScreenLight, primaries_seen, screen_diffuse, screen_specular

SCREEN = ScreenLight(offset_x_cm=0.4)


def screen_points(across: int, down: int) -> tuple[np.ndarray, float]:
    """A dense grid of points on SCREEN and the area of each."""
    x = SCREEN.offset_x_cm + ((np.arange(across) + 0.5) / across - 0.5) * SCREEN.width_cm
    y = -SCREEN.offset_y_cm - (np.arange(down) + 0.5) / down * SCREEN.height_cm
    grid = np.stack([*np.meshgrid(x, y), np.zeros((down, across))], -1).reshape(-1, 3)
    return grid, SCREEN.width_cm * SCREEN.height_cm / len(grid)


def brute_force_irradiance(point: np.ndarray, normal: np.ndarray) -> float:
    grid, area = screen_points(400, 800)
    to_light = grid - point
    distance2 = (to_light**2).sum(1)
    direction = to_light / np.sqrt(distance2)[:, None]
    return float((area * direction[:, 2] * np.maximum(direction @ normal, 0.0) / distance2).sum() / np.pi)


def brute_force_gloss(point: np.ndarray, normal: np.ndarray, roughness: float, f0: float) -> float:
    """Cook and Torrance's integral with GGX and the separable Smith term, over a dense grid."""
    grid, area = screen_points(500, 1000)
    to_light = grid - point
    distance2 = (to_light**2).sum(1)
    light = to_light / np.sqrt(distance2)[:, None]
    view = -point / np.linalg.norm(point)
    half = light + view
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    nl, nv, nh, vh = np.maximum(light @ normal, 1e-9), normal @ view, half @ normal, half @ view
    a2 = roughness**4
    lobe = a2 / (np.pi * (nh**2 * (a2 - 1) + 1) ** 2)
    smith = [2 * c / (c + np.sqrt(a2 + (1 - a2) * c**2)) for c in (nl, nv)]
    fresnel = f0 + (1 - f0) * (1 - vh) ** 5
    brdf = lobe * smith[0] * smith[1] * fresnel / (4 * nl * nv)
    return float((area * light[:, 2] * nl * brdf / distance2)[light @ normal > 0].sum())


def unit(*vector: float) -> np.ndarray:
    return np.asarray(vector, np.float64) / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("point", "normal"),
    [
        ((0.0, 0.0, -30.0), unit(0, 0, 1)),
        ((4.0, -6.0, -26.0), unit(0.3, -0.5, 1)),
        ((-5.0, 8.0, -28.0), unit(-0.8, 0.9, 0.5)),
        ((0.0, -7.0, -24.0), unit(0, 1.0, 0.12)),  # the horizon cuts the screen
        ((2.0, -8.0, -25.0), unit(1.0, 0.1, 0.02)),
    ],
)
def test_screen_irradiance_equals_brute_force_summation(point, normal):
    expected = brute_force_irradiance(np.asarray(point), normal)
    got = screen_diffuse(np.asarray([point]), normal[None], SCREEN)[0]
    assert got == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_a_far_small_screen_follows_the_inverse_square_law():
    screen = ScreenLight(width_cm=0.2, height_cm=0.2, offset_y_cm=-0.1)
    near, far = (screen_diffuse([[0, 0, -z]], [[0, 0, 1]], screen)[0] for z in (30.0, 60.0))
    assert near == pytest.approx(0.04 / 900 / np.pi, rel=1e-4)
    assert near / far == pytest.approx(4.0, rel=1e-3)


def test_a_surface_that_faces_away_gets_no_screen_light():
    assert screen_diffuse([[0, 0, -30]], [[0, 0, -1]], SCREEN)[0] == 0.0
    assert screen_specular([[0, 0, -30]], [[0, 0, -1]], [0.4], 0.04, SCREEN)[0] == 0.0


@pytest.mark.parametrize("roughness", [0.25, 0.35, 0.5, 0.8])
@pytest.mark.parametrize("normal", [unit(0, -0.12, 1), unit(0.1, -0.3, 1), unit(0, 0.1, 1)])
def test_rough_highlights_match_the_dense_integral(roughness, normal):
    point = np.array([0.5, 1.0, -28.0])
    expected = brute_force_gloss(point, normal, roughness, 0.04)
    got = screen_specular([point], [normal], [roughness], 0.04, SCREEN)[0]
    assert got == pytest.approx(expected, rel=0.02, abs=1e-5)


def test_a_mirror_shows_the_screen_at_fresnel_reflectance_and_nothing_beside_it():
    to_screen, beside = unit(0, -7.85, 30.0), unit(0, 7.85, 30.0)
    point = np.array([0.4, 0.0, -30.0])
    view = -point / np.linalg.norm(point)
    normals = np.stack([(to_screen + view) / np.linalg.norm(to_screen + view), (beside + view)])
    normals[1] /= np.linalg.norm(normals[1])
    got = screen_specular(np.stack([point, point]), normals, [0.05, 0.05], 0.04, SCREEN)
    assert got[0] == pytest.approx(0.04, rel=0.02)
    assert got[1] == pytest.approx(0.0, abs=1e-4)


def test_a_highlight_on_a_smooth_plane_has_no_dot_grid():
    """Along a line across the reflected screen, radiance rises once and falls once."""
    x = np.linspace(-8, 8, 400)
    points = np.stack([x, np.full(400, -4.0), np.full(400, -30.0)], 1)
    for roughness in (0.05, 0.15, 0.2, 0.3):
        line = screen_specular(points, np.tile([0.0, 0.0, 1.0], (400, 1)), np.full(400, roughness), 0.04, SCREEN)
        changes = np.diff(np.sign(np.diff(line)[np.abs(np.diff(line)) > 1e-3 * line.max()]))
        assert (changes != 0).sum() <= 1, roughness


@pytest.mark.parametrize("scene", list(SCENES))
def test_named_scenes_stay_inside_their_illuminance(scene):
    drawn = [Ambient.draw(np.random.default_rng(k), scene).lux for k in range(30)]
    assert SCENES[scene].lux[0] <= min(drawn) and max(drawn) <= SCENES[scene].lux[1]


def test_most_scenes_lie_between_3_and_1000_lux():
    lux = np.array([Ambient.draw(np.random.default_rng(k)).lux for k in range(400)])
    assert ((lux >= 3) & (lux <= 1000)).mean() > 0.85 and lux.max() > 1000


def test_room_light_scales_with_lux():
    normals = np.array([[0, 0, 1], [0.6, 0, 0.8]], np.float32)
    dim, bright = (Ambient.draw(np.random.default_rng(4), "office", lux) for lux in (100.0, 300.0))
    ones = np.ones(2, np.float32)
    assert np.allclose(bright.diffuse(normals, ones), 3.0 * dim.diffuse(normals, ones), rtol=1e-5)


def test_incandescent_light_is_redder_and_daylight_is_neutral():
    assert np.allclose(light_colour(6500.0), 1.0)
    warm = light_colour(2700.0)
    assert warm[0] > 1.0 > warm[2]


@pytest.mark.parametrize("lux", [-1.0, float("nan"), float("inf"), 1e6])
def test_impossible_illuminance_is_refused(lux):
    with pytest.raises(SimulationError, match="ambient_lux"):
        Ambient.draw(np.random.default_rng(0), lux=lux)


def test_an_unknown_scene_is_refused():
    with pytest.raises(SimulationError, match="moon"):
        Ambient.draw(np.random.default_rng(0), "moon")


def test_an_srgb_panel_seen_by_a_p3_camera_has_the_published_matrix():
    published = [[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]]  # W3C CSS Color 4
    assert np.allclose(primaries_seen(PANELS["srgb"]), published, atol=3e-4)
    assert np.allclose(primaries_seen(PANELS["p3"]), np.eye(3), atol=1e-9)


def test_screens_differ_in_their_primaries_and_none_shines_less_than_nothing():
    drawn = np.array([draw_screen(np.random.default_rng(k)).primaries for k in range(60)])
    assert drawn.min() >= 0.0 and drawn.std(0).max() > 0.03
    assert np.abs(drawn.sum(2) - 1.0).max() < 0.3  # white stays roughly white


def test_a_screens_radiance_is_the_sum_of_its_primaries():
    screen = draw_screen(np.random.default_rng(5))
    black = screen.radiance(np.zeros(3))
    parts = [screen.radiance(np.eye(3)[p]) - black for p in range(3)]
    mixed = screen.radiance([0.3, 0.6, 0.9])
    assert np.allclose(mixed, black + 0.3 * parts[0] + 0.6 * parts[1] + 0.9 * parts[2], rtol=1e-5)


@pytest.mark.parametrize("roughness", [0.05, 0.1, 0.2])
def test_the_highlight_of_glass_and_eyes_matches_the_dense_integral_near_its_centre(roughness):
    point = np.array([0.4, 0.0, -30.0])
    to_screen, view = unit(0, -7.85, 30.0), -point / np.linalg.norm(point)
    normal = unit(*(to_screen + view))
    got = screen_specular([point], [normal], [roughness], 0.04, SCREEN)[0]
    assert got == pytest.approx(brute_force_gloss(point, normal, roughness, 0.04), rel=0.03)
