"""Sheets against closed forms: where rays meet them, how long they are, what light falls on them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from simulator.ambient import Ambient, Lighting
from simulator.light import ScreenLight, screen_diffuse, screen_specular
from simulator.scene import Pose, View, rotation
from simulator.sheet import FLAT, Sheet, light_sheet, trace_sheet

TILTED = Pose(rotation(0.3, -0.2, 0.1), np.array([1.0, -2.0, -30.0], np.float32))
BENT = Pose(rotation(0.1, 0.1, 0.0), np.array([0.5, 0.0, -30.0], np.float32))


def test_rays_meet_a_tilted_plane_where_geometry_says():
    hits = trace_sheet(FLAT, TILTED, View(32, 40.0))
    normal = TILTED.rotation @ np.array([0, 0, 1.0])
    assert np.abs((hits.points - TILTED.translation_cm) @ normal).max() < 1e-3
    assert np.allclose(hits.normals, normal, atol=1e-5)
    own = (hits.points - TILTED.translation_cm) @ TILTED.rotation
    assert np.allclose(hits.along_cm, own[:, :2], atol=1e-2)


@pytest.mark.parametrize("slope", [0.8, 0.02, -0.3])
def test_rays_meet_a_bent_sheet_on_its_arch(slope):
    hits = trace_sheet(Sheet(slope, 7.0), BENT, View(32, 60.0))
    assert hits.met.mean() > 0.9
    own = ((hits.points - BENT.translation_cm) @ BENT.rotation)[hits.met]
    assert np.abs(own[:, 2] + slope * (np.hypot(own[:, 0], 7.0) - 7.0)).max() < 1e-3
    assert np.allclose(np.linalg.norm(hits.normals, axis=1), 1.0, atol=1e-4)
    assert ((hits.normals * hits.points).sum(1)[hits.met] < 0).mean() > 0.95  # towards the camera


def test_a_sheet_bends_with_the_radius_it_names():
    sheet = Sheet(0.5, 6.0)
    own = sheet.place(np.array([[0.0, 0.0], [0.1, 0.0]]))
    sag = own[0, 2] - own[1, 2]
    assert own[1, 0] ** 2 / (2 * sag) == pytest.approx(sheet.radius_cm, rel=0.01)


@pytest.mark.parametrize("direction", [0.0, 0.7])
def test_places_are_measured_along_the_paper(direction):
    sheet = Sheet(0.8, 9.0, direction)
    axis = np.array([np.cos(direction), np.sin(direction)])
    place = sheet.place(12.0 * axis[None])[0]
    x = float(place[:2] @ axis)
    length, _ = quad(lambda u: np.sqrt(1 + (0.8 * u / np.hypot(u, 9.0)) ** 2), 0.0, x)
    assert length == pytest.approx(12.0, abs=1e-3)


def test_placing_and_tracing_are_inverse():
    sheet, view = Sheet(0.6, 8.0, 0.4), View(32, 60.0)
    hits = trace_sheet(sheet, BENT, view)
    again = BENT.apply(sheet.place(hits.along_cm[hits.met]))
    assert np.abs(again - hits.points[hits.met]).max() < 5e-3


def test_a_covering_sheet_leaves_no_ray_out():
    pose, view = Pose(rotation(0.4, 0.2, 0.0), np.array([0.0, 0.0, -24.0], np.float32)), View(32, 24.0)
    steep = Sheet(1.5, 6.0)
    assert not trace_sheet(steep, pose, view).met.all()
    assert trace_sheet(steep.covering(pose, view), pose, view).met.all()
    assert Sheet(-0.3, 6.0).covering(pose, view) == Sheet(-0.3, 6.0)


@pytest.mark.parametrize("roughness", [0.12, 0.5])
def test_light_from_a_coarse_grid_is_the_light_of_every_pixel(roughness):
    view, sheet = View(192, 300.0), Sheet(0.5, 8.0)
    lighting = Lighting(Ambient.draw(np.random.default_rng(0), lux=50.0), ScreenLight())
    light = light_sheet(sheet, BENT, view, roughness, 0.04, lighting)
    hits = trace_sheet(sheet, BENT, view)
    rough = np.full(len(hits.points), roughness, np.float32)
    diffuse = screen_diffuse(hits.points, hits.normals, lighting.screen)
    assert np.allclose(light.screen.ravel(), diffuse, rtol=0.02, atol=1e-4)
    specular = screen_specular(hits.points, hits.normals, rough, 0.04, lighting.screen)
    error = np.abs(light.screen_gloss.ravel() - specular)
    assert error.mean() < 0.02 * max(specular.max(), 1e-3)
