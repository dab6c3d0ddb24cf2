"""Prints, replays and masks as things of the physical world."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.attack import (
    FACE_CENTRE_CM,
    FLAT,
    MASK_MATERIALS,
    Sheet,
    draw_mask_finish,
    trace_sheet,
)
from simulator.framing import FACE_WIDTH_CM, Framing
from simulator.scene import Pose, View, rotation
from simulator.stage import set_stage

LUX = 80.0


class FlatPortrait:
    """Just what tracing needs to know of a portrait."""

    centre_px = (50.0, 40.0)
    life_size_cm_per_px = 0.1


@pytest.fixture(scope="module")
def stages():
    return {
        instrument: set_stage(4, 17, species, instrument, size=128, ambient_lux=LUX)
        for species, instrument in [
            ("live", "face"),
            ("print", "print_flat"),
            ("print", "print_holes"),
            ("print", "print_cropped"),
            ("replay", "replay_phone"),
            ("replay", "replay_tablet"),
            ("mask", "mask_rigid"),
        ]
    }


def test_rays_meet_a_tilted_plane_where_geometry_says():
    pose = Pose(rotation(0.3, -0.2, 0.1), np.array([1.0, -2.0, -30.0], np.float32))
    hits = trace_sheet(FLAT, pose, View(32, 40.0), FlatPortrait(), 1.0)
    normal = pose.rotation @ np.array([0, 0, 1.0])
    assert np.abs((hits.points - pose.translation_cm) @ normal).max() < 1e-3
    assert np.allclose(hits.normals, normal, atol=1e-5)
    own = (hits.points - pose.translation_cm) @ pose.rotation
    assert np.allclose(hits.pixels[:, 0], 50.0 + own[:, 0] / 0.1, atol=1e-2)
    assert np.allclose(hits.pixels[:, 1], 40.0 - own[:, 1] / 0.1, atol=1e-2)


@pytest.mark.parametrize("bend", [-1 / 20, 1 / 40])
def test_rays_meet_a_bent_sheet_on_its_parabola(bend):
    pose = Pose(rotation(0.1, 0.1, 0.0), np.array([0.5, 0.0, -30.0], np.float32))
    hits = trace_sheet(Sheet(bend, 0.0), pose, View(32, 60.0), FlatPortrait(), 1.0)
    met = np.isfinite(hits.pixels).all(1)
    own = ((hits.points - pose.translation_cm) @ pose.rotation)[met]
    assert met.mean() > 0.8
    assert np.abs(own[:, 2] - bend * own[:, 0] ** 2).max() < 1e-2
    assert np.allclose(np.linalg.norm(hits.normals, axis=1), 1.0, atol=1e-4)


def test_a_framing_puts_the_face_centre_where_it_says():
    framing = Framing.draw(np.random.default_rng(3))
    centre = framing.head_pose().apply(np.array([FACE_CENTRE_CM]))[0]
    assert np.allclose(centre, [*framing.offset_cm, -framing.distance_cm], atol=1e-4)
    view = framing.view(200)
    assert view.focal_px * FACE_WIDTH_CM / framing.distance_cm == pytest.approx(framing.share * 200)


def test_every_species_shows_a_face_of_about_the_same_size(stages):
    sizes = {name: stage.layers.face.sum() for name, stage in stages.items()}
    for name in ("print_flat", "replay_phone", "replay_tablet", "mask_rigid"):
        assert 0.6 < sizes[name] / sizes["face"] < 1.6, name


def test_a_print_has_no_relief_and_a_face_has(stages):
    def relief_cm(stage):
        depth = stage.layers.depth_cm
        y, x = np.nonzero(stage.layers.face)
        # 1/depth of a plane is linear in the image
        design = np.stack([x, y, np.ones_like(x)], 1).astype(float)
        inverse = 1.0 / depth[y, x]
        fit = design @ np.linalg.lstsq(design, inverse, rcond=None)[0]
        return np.abs(depth[y, x] - 1.0 / fit).max()

    assert relief_cm(stages["replay_tablet"]) < 0.01
    assert relief_cm(stages["print_flat"]) < 1.0  # paper is never quite flat
    assert relief_cm(stages["face"]) > 2.0 and relief_cm(stages["mask_rigid"]) > 2.0


def test_a_replay_shines_of_itself_and_hardly_answers_the_screen(stages):
    def answer(name):
        layers = stages[name].layers
        return np.median(layers.screen[layers.face])

    assert answer("replay_tablet") < 0.3 * answer("face")
    assert answer("print_flat") > 0.3 * answer("face")


def test_through_the_holes_of_a_print_somebody_is_farther_away(stages):
    layers = stages["print_holes"].layers
    whole = stages["print_flat"].layers
    hollow = layers.covered & ~layers.face
    assert layers.face.sum() < whole.face.sum()
    assert layers.depth_cm[hollow].max() > layers.depth_cm[layers.face].max() + 1.0


def test_a_cropped_print_ends_near_the_head(stages):
    cropped, whole = stages["print_cropped"].layers, stages["print_flat"].layers
    corner = np.s_[:20, :20]
    assert (
        whole.covered[corner].mean() > cropped.covered[corner].mean() or cropped.depth_cm.max() > whole.depth_cm.max()
    )


def test_masks_are_opaque_of_many_materials_and_glosses():
    drawn = [draw_mask_finish(np.random.default_rng(seed)) for seed in range(200)]
    assert {name for name, _ in drawn} == set(MASK_MATERIALS)
    assert all(finish.scatter_cm == (0.0, 0.0, 0.0) for _, finish in drawn)
    roughness = np.array([finish.repaint.roughness for _, finish in drawn])
    assert roughness.min() < 0.2 and roughness.max() > 0.7


def test_a_mask_stands_where_the_face_would(stages):
    assert np.array_equal(stages["mask_rigid"].layers.depth_cm, stages["face"].layers.depth_cm)
    assert not np.allclose(stages["mask_rigid"].layers.ambient, stages["face"].layers.ambient)
