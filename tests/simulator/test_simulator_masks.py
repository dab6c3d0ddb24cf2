"""Masks and head models: their materials, how they fit, and what of the wearer is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.head import EAR, FACE, LONG_HAIR, build_head
from simulator.identity import Expression, Identity
from simulator.instruments import INSTRUMENTS
from simulator.masks import MASKS, Mask, without_hair
from simulator.material import skin_surface

DRAWS = 60


@pytest.fixture(scope="module")
def drawn():
    return [Mask.draw(np.random.default_rng([k, i]), name) for k, name in enumerate(MASKS) for i in range(DRAWS)]


@pytest.fixture(scope="module")
def long_haired():
    return next(p for p in map(Identity.draw, range(100)) if p.hair.style == "long" and p.hair.fringe_cm > 0.0)


def test_every_mask_instrument_is_a_material():
    assert tuple(MASKS) == INSTRUMENTS["mask"]


def test_masks_are_of_many_glosses_and_few_scatter_light(drawn):
    roughness = np.array([mask.finish.repaint.roughness for mask in drawn])
    assert roughness.min() < 0.2 and roughness.max() > 0.8
    red = {name: np.mean([m.finish.scatter_cm[0] for m in drawn if m.instrument == name]) for name in MASKS}
    assert red["mask_silicone"] > 2 * red["mask_latex"] > 2 * max(red["mask_resin"], red["mask_plaster"])
    for mask in drawn:
        assert mask.finish.scatter_cm[0] <= 1.5 * max(mask.finish.scatter_cm[2], 0.0)  # no blood: hardly redder


def test_at_most_one_mask_in_five_shows_a_colour_that_no_skin_has(drawn):
    assert 0.05 < np.mean([mask.finish.repaint.colour is not None for mask in drawn]) < 0.2


def test_some_masks_have_eye_holes_some_are_bald_some_are_head_models(drawn):
    for share in (
        np.mean([mask.eye_hole_depth_cm > 0 for mask in drawn]),
        np.mean([mask.hair == "bald" for mask in drawn]),
        np.mean([mask.stands for mask in drawn]),
    ):
        assert 0.1 < share < 0.5
    assert not any(mask.stands and mask.eye_hole_depth_cm > 0 for mask in drawn)


def test_a_worn_mask_is_larger_than_the_face_under_it_and_the_neck_is_the_wearers(drawn):
    mask = replace(next(m for m in drawn if not m.stands and m.hair == "own"), scale=1.04, offset_cm=(0.0, 0.0, 0.2))
    identity = Identity.draw(3)
    mesh = build_head(identity)
    _, shaped = mask.shaped(identity, mesh)
    head = mesh.part <= EAR
    width = np.ptp(shaped.vertices_cm[head, 0]) / np.ptp(mesh.vertices_cm[head, 0])
    assert width == pytest.approx(1.04, abs=0.001)
    assert np.array_equal(shaped.vertices_cm[~head], mesh.vertices_cm[~head])


def test_living_eyes_lie_behind_the_mask(drawn):
    mask = next(m for m in drawn if m.eye_hole_depth_cm > 0.3 and m.hair == "own")
    identity = Identity.draw(3)
    mesh = build_head(identity)
    plain = replace(mask, eye_hole_depth_cm=0.0)
    sunk = plain.shaped(identity, mesh)[1].vertices_cm[:, 2] - mask.shaped(identity, mesh)[1].vertices_cm[:, 2]
    eyes = np.abs(np.abs(mesh.canonical[:, 0]) - identity.eyes.x) < 0.5 * identity.eyes.half_width
    eyes &= np.abs(mesh.canonical[:, 1] - identity.eyes.y) < 0.3 * identity.eyes.opening
    eyes &= (mesh.part == FACE) & (mesh.canonical[:, 2] > 0)
    assert np.median(sunk[eyes]) == pytest.approx(mask.eye_hole_depth_cm, rel=0.1)
    assert (sunk > 0.01).mean() < 0.1


def test_without_hair_the_scalp_is_bare_and_the_face_keeps_its_expression(long_haired):
    mesh = build_head(long_haired, Expression(smile=0.6, blink=0.8))
    shaven, bald = without_hair(long_haired, mesh)
    expected = build_head(shaven, Expression(smile=0.6, blink=0.8))
    assert LONG_HAIR in mesh.part and LONG_HAIR not in bald.part
    assert bald.hair.max() == 0.0
    assert np.abs(bald.vertices_cm - expected.vertices_cm).max() < 0.05
    assert ((bald.normals * expected.normals).sum(1) > 0.98).mean() > 0.995


def test_a_mask_leaves_living_eyes_and_its_wearers_neck_unpainted(drawn):
    mask = next(m for m in drawn if m.finish.repaint.real_eyes and m.hair == "own")
    identity = Identity.draw(3)
    mesh = build_head(identity)
    surface = skin_surface(identity, mesh.canonical, mesh.part, mesh.hair)
    painted = mask.finish.repaint(surface, mesh.part)
    left = (surface.eye > 0.5) | (mesh.part > 1.5)
    assert np.allclose(painted.albedo[left], surface.albedo[left], atol=1e-6)
    assert np.array_equal(painted.roughness[left], surface.roughness[left])
    skin = (mesh.part == FACE) & (surface.hair < 0.1) & (surface.eye < 0.1)
    assert np.median(painted.roughness[skin]) == pytest.approx(mask.finish.repaint.roughness, rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_mask_carries_the_share_it_was_given_of_a_faces_own_gloss(drawn, share):
    paint = replace(next(m for m in drawn if m.hair == "own").finish.repaint, gloss_detail=share)
    identity = Identity.draw(3)
    mesh = build_head(identity)
    surface = skin_surface(identity, mesh.canonical, mesh.part, mesh.hair)
    skin = (mesh.part == FACE) & (surface.hair < 0.1) & (surface.eye < 0.1) & (surface.specular_scale > 0.1)
    painted = paint(surface, mesh.part)
    own, carried = (np.log(s.specular_scale[skin]) for s in (surface, painted))
    assert carried.std() == pytest.approx(share * own.std(), rel=0.15, abs=1e-4)
    assert np.median(painted.specular_scale[skin]) == pytest.approx(paint.gloss, rel=0.25)
