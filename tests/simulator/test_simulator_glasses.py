"""Glasses: who wears them, where they sit, and lenses that mirror the screen without hiding the eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.framing import Framing
from simulator.glasses import NOSE_HALF_WIDTH_CM, fit, frame_tubes, with_lenses
from simulator.head import GLASSES, HeadMesh, build_head
from simulator.identity import FRAME_STYLES, Identity
from simulator.light import ScreenLight
from simulator.material import skin_surface
from simulator.scene import LightLayers, render_head

MANY = range(600)
WEARERS = [subject for subject in range(60) if Identity.draw(subject).glasses is not None][:8]
FRAMING = Framing(0.6, 32.0, 0.0, 0.0, 0.0, (0.0, 0.0))
DARK = Ambient("dark_room", 0.0, (1.0, 1.0, 1.0), (1.0,) + (0.0,) * 8, (0.0, 0.0, 1.0), 0.0, 1.0)
SIZE = 192


def wearing(subject: int, **changes: object) -> Identity:
    identity = Identity.draw(subject)
    assert identity.glasses is not None
    return replace(identity, glasses=replace(identity.glasses, **changes))


def render(identity: Identity, mesh: HeadMesh, lighting: Lighting) -> tuple[LightLayers, LightLayers]:
    """The layers without and with lenses."""
    pose, view = FRAMING.head_pose(), FRAMING.view(SIZE)
    bare = render_head(identity, replace(mesh, lenses=None), pose, view, lighting)
    return bare, with_lenses(bare, mesh.lenses, pose, view, lighting)


def test_three_people_in_ten_wear_glasses_of_every_style() -> None:
    glasses = [Identity.draw(subject).glasses for subject in MANY]
    worn = [one for one in glasses if one is not None]
    assert 0.25 < len(worn) / len(glasses) < 0.35
    assert {one.style for one in worn} == set(FRAME_STYLES)


def test_only_those_who_wear_glasses_have_a_frame_and_lenses() -> None:
    for subject in range(12):
        identity = Identity.draw(subject)
        mesh = build_head(identity)
        assert (identity.glasses is not None) == bool((mesh.part == GLASSES).any()) == (mesh.lenses is not None)


def test_nobody_without_glasses_can_be_fitted() -> None:
    bare = replace(Identity.draw(WEARERS[0]), glasses=None)
    with pytest.raises(ValueError, match="wears no glasses"):
        fit(bare, np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))


@pytest.mark.parametrize("subject", WEARERS)
def test_lenses_stand_before_the_eyes_and_clear_of_the_face(subject: int) -> None:
    identity = Identity.draw(subject)
    mesh = build_head(identity)
    assert mesh.lenses is not None
    lens = mesh.lenses.vertices_cm[np.abs(mesh.lenses.vertices_cm[:, 0]) > NOSE_HALF_WIDTH_CM + 0.2]
    face = mesh.vertices_cm[(mesh.part < 0.5) & (mesh.canonical[:, 2] > 0.0)]
    for x, y, z in lens[::29]:
        behind = face[np.hypot(face[:, 0] - x, face[:, 1] - y) < 0.12, 2]
        assert behind.size == 0 or 0.05 < z - behind.max() < 4.0
    for side in (-1.0, 1.0):
        outline = mesh.lenses.vertices_cm[mesh.lenses.vertices_cm[:, 0] * side > 0.0]
        assert outline[:, 0].min() < side * identity.eyes.x < outline[:, 0].max()
        assert outline[:, 1].min() < identity.eyes.y < outline[:, 1].max()


def test_tubes_of_the_frame_face_outward() -> None:
    for subject in WEARERS[:4]:
        identity = Identity.draw(subject)
        mesh = build_head(identity)
        frame = mesh.vertices_cm[mesh.part == GLASSES], mesh.normals[mesh.part == GLASSES]
        start = 0
        bare = build_head(replace(identity, glasses=None))
        head = bare.part < 0.5
        rows = int(head.sum()) // 191
        fitting = fit(
            identity, bare.canonical[head].reshape(rows, 191, 3), bare.vertices_cm[head].reshape(rows, 191, 3)
        )
        for tube in frame_tubes(identity, fitting):
            count = tube.shape[0] * tube.shape[1]
            outward = tube - tube[:, :-1].mean(1, keepdims=True)
            normals = frame[1][start : start + count].reshape(tube.shape)
            assert ((outward * normals).sum(-1) > 0.0).mean() > 0.97
            start += count
        assert start == len(frame[0])


def test_the_frame_has_its_own_colour() -> None:
    identity = wearing(WEARERS[0], albedo=(0.1, 0.5, 0.2), roughness=0.3)
    mesh = build_head(identity)
    at = mesh.part == GLASSES
    surface = skin_surface(identity, mesh.canonical[at], mesh.part[at], mesh.hair[at])
    np.testing.assert_allclose(surface.albedo, np.broadcast_to((0.1, 0.5, 0.2), surface.albedo.shape), rtol=1e-5)
    assert not surface.hair.any() and not surface.eye.any()


def test_a_lens_dims_what_is_behind_it_by_what_two_surfaces_reflect() -> None:
    identity = wearing(WEARERS[0], coating_f0=0.042)
    bare, worn = render(identity, build_head(identity), Lighting(replace(DARK, lux=100.0), ScreenLight()))
    changed = (worn.screen != bare.screen).any(-1) & (bare.screen.min(-1) > 1e-4)
    share = (worn.screen / np.maximum(bare.screen, 1e-9))[changed].min()
    assert share == pytest.approx((1.0 - 0.042) ** 2, abs=2e-3)  # where neither surface mirrors the screen
    assert 0.01 < changed.mean() < 0.2
    np.testing.assert_array_equal(worn.depth_cm, bare.depth_cm)
    np.testing.assert_array_equal(worn.face, bare.face)


def test_the_screens_mirror_image_on_a_lens_is_white_and_small_on_curved_lenses() -> None:
    areas = []
    for radius_cm in (8.0, 16.0):
        identity = wearing(WEARERS[0], base_radius_cm=radius_cm, coating_f0=0.042)
        bare, worn = render(identity, build_head(identity), Lighting(DARK, ScreenLight()))
        added = worn.screen - bare.screen * (1.0 - 0.042) ** 2
        mirrored = added.max(-1) > 0.02
        areas.append(int(mirrored.sum()))
        assert np.ptp(added[mirrored], axis=1).max() < 1e-5  # dielectrics mirror all colours alike
        assert added.max() < 3 * 0.042  # two surfaces, and a little more than at normal incidence
    assert 0 < areas[0] < areas[1]


def test_no_lenses_change_nothing() -> None:
    identity = replace(Identity.draw(WEARERS[0]), glasses=None)
    bare, same = render(identity, build_head(identity), Lighting(DARK, ScreenLight()))
    assert bare is same
