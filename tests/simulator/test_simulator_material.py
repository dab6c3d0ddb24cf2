"""The paint on a face: physical ranges, the right thing in the right place, nothing left over from other people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator import texture
from simulator.head import FACE, MOUTH_INSIDE, Expression, Identity, build_head
from simulator.material import Surface, skin_surface

SUBJECTS = tuple(range(10))


def paint(identity: Identity, places: list[tuple[float, float]]) -> Surface:
    """The surface at points (x, y) of the face's front."""
    canonical = np.array([(x, y, 4.0) for x, y in places], np.float32)
    zeros = np.zeros(len(places), np.float32)
    return skin_surface(identity, canonical, zeros, zeros)


def patch(x: float, y: float, half: float) -> list[tuple[float, float]]:
    """A small square of places, to average texture away."""
    steps = np.linspace(-half, half, 9)
    return [(x + dx, y + dy) for dx in steps for dy in steps]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_point_of_every_mesh_has_a_physical_surface(subject: int) -> None:
    identity = Identity.draw(subject)
    mesh = build_head(identity)
    surface = skin_surface(identity, mesh.canonical, mesh.part, mesh.hair)
    count = len(mesh.part)
    assert surface.albedo.shape == (count, 3)
    for name, array in vars(surface).items():
        assert array.dtype == np.float32 and len(array) == count and np.isfinite(array).all(), name
    assert surface.albedo.min() > 0.0 and surface.albedo.max() < 1.0
    assert surface.roughness.min() > 0.0 and surface.roughness.max() <= 1.0
    assert surface.occlusion.min() > 0.0 and surface.occlusion.max() <= 1.0
    assert surface.specular_scale.min() >= 0.0
    assert np.abs(surface.bump).mean() < 3.0
    for share in (surface.eye, surface.hair):
        assert share.min() >= 0.0 and share.max() <= 1.0


def test_the_forehead_has_the_persons_skin_colour() -> None:
    for subject in SUBJECTS:
        identity = Identity.draw(subject)
        bare = replace(identity, skin=replace(identity.skin, wrinkles=0.0, moles=()))
        mean = paint(bare, patch(0.0, 5.9, 0.8)).albedo.mean(0)
        np.testing.assert_allclose(mean, identity.skin.albedo, rtol=0.25)


def test_eyes_have_white_iris_and_pupil() -> None:
    for subject in SUBJECTS:
        eyes = Identity.draw(subject).eyes
        for side in (-1.0, 1.0):
            surface = paint(Identity.draw(subject), [(side * eyes.x, eyes.y + 0.03), (side * (eyes.x + 0.75), eyes.y)])
            pupil, white = surface.albedo.mean(1)
            assert pupil < 0.05 < 0.15 < white
            assert (surface.eye > 0.8).all() and (surface.roughness < 0.2).all()


def test_no_eye_is_painted_on_the_forehead_cheek_or_back_of_the_head() -> None:
    identity = Identity.draw(1)
    assert not paint(identity, [(0.0, 6.0), (4.0, -1.0), (-4.0, -1.0), (0.0, 2.6)]).eye.any()
    behind = np.array([[identity.eyes.x, identity.eyes.y, -10.0]], np.float32)
    assert skin_surface(identity, behind, np.zeros(1, np.float32), np.zeros(1, np.float32)).eye.max() < 1e-3


def test_lips_are_redder_than_skin() -> None:
    for subject in SUBJECTS:
        identity = Identity.draw(subject)
        lip = paint(identity, patch(0.0, identity.mouth.y - 0.5 * identity.mouth.lower, 0.15)).albedo.mean(0)
        assert lip[0] / lip[1] > identity.skin.albedo[0] / identity.skin.albedo[1] * 1.1


def test_nostrils_brows_and_the_mouth_line_are_dark() -> None:
    for subject in SUBJECTS:
        identity = Identity.draw(subject)
        nose, eyes, mouth = identity.nose, identity.eyes, identity.mouth
        skin = np.mean(identity.skin.albedo)
        surface = paint(identity, [(0.56 * nose.wings_cm, nose.base_y - 0.66), (0.5, mouth.y)])
        assert (surface.albedo.mean(1) < 0.6 * skin).all()
        brow = paint(identity, patch(2.4, eyes.brow_y - 0.15 + eyes.brow_arch * np.sin(0.73), 0.08))
        assert brow.hair.mean() > 0.3 and brow.albedo.mean() < skin


def test_teeth_and_darkness_appear_only_in_an_open_mouth() -> None:
    identity = Identity.draw(3)
    inside = {}
    for mouth_open in (0.0, 0.6):
        mesh = build_head(identity, Expression(mouth_open=mouth_open))
        strip = np.abs(mesh.canonical[:, 1] - identity.mouth.y) < 0.031
        strip &= (np.abs(mesh.canonical[:, 0]) < 1.0) & (mesh.canonical[:, 2] > 0.0)
        inside[mouth_open] = set(np.unique(mesh.part[strip]))
    assert inside == {0.0: {FACE}, 0.6: {MOUTH_INSIDE}}
    places = np.array([[0.0, identity.mouth.y + dy, 4.0] for dy in (0.018, -0.02)], np.float32)
    surface = skin_surface(identity, places, np.full(2, MOUTH_INSIDE, np.float32), np.zeros(2, np.float32))
    assert surface.albedo[0].mean() > 3.0 * surface.albedo[1].mean()


def test_a_full_beard_covers_chin_and_jaw_but_not_lips_or_forehead() -> None:
    identity = Identity.draw(1)
    bearded = replace(identity, hair=replace(identity.hair, beard="full", beard_density=0.9))
    chin = paint(bearded, patch(0.5, identity.mouth.y - 3.4, 0.3)).hair.mean()
    lip = paint(bearded, patch(0.0, identity.mouth.y - 0.5 * identity.mouth.lower, 0.1)).hair.mean()
    forehead = paint(bearded, patch(0.0, 6.0, 0.3)).hair.mean()
    assert chin > 0.6 and lip < 0.05 and forehead < 0.05


def test_hair_begins_at_the_hairline() -> None:
    identity = replace(Identity.draw(0), hair=replace(Identity.draw(0).hair, style="short"))
    canonical = np.tile(np.array([[1.0, 9.0, 2.0]], np.float32), (3, 1))
    ramp = np.array([0.0, 0.5, 1.0], np.float32)
    surface = skin_surface(identity, canonical, np.zeros(3, np.float32), ramp)
    assert surface.hair[0] < 0.05 and surface.hair[2] > 0.95
    assert surface.hair[0] <= surface.hair[1] <= surface.hair[2]


def test_cloth_has_its_own_colour_and_no_gloss_of_skin() -> None:
    identity = Identity.draw(0)
    plain = replace(identity, clothes=replace(identity.clothes, albedo=(0.1, 0.2, 0.5), stripes=0.0))
    points = np.array([(x, -22.0, 3.0) for x in np.linspace(-8, 8, 50)], np.float32)
    surface = skin_surface(plain, points, np.full(50, 3.0, np.float32), np.zeros(50, np.float32))
    np.testing.assert_allclose(surface.albedo.mean(0), (0.1, 0.2, 0.5), rtol=0.15)
    assert surface.roughness.min() > 0.8


def test_paint_depends_only_on_person_and_place() -> None:
    identity = Identity.draw(6)
    first = paint(identity, [(1.0, 1.0), (2.0, -3.0)])
    paint(Identity.draw(7), [(0.0, 0.0)])
    again = paint(identity, [(9.0, 9.0), (1.0, 1.0), (2.0, -3.0)])
    np.testing.assert_allclose(first.albedo, again.albedo[1:], rtol=1e-6)


def test_no_points_give_an_empty_surface() -> None:
    empty = np.zeros(0, np.float32)
    assert skin_surface(Identity.draw(0), np.zeros((0, 3), np.float32), empty, empty).albedo.shape == (0, 3)


@pytest.mark.parametrize("sheet", [texture.blotches, texture.grain, texture.relief, texture.strands])
def test_noise_sheets_are_normalised_and_repeat_without_a_seam(sheet) -> None:
    tile = sheet()
    assert tile.mean() == pytest.approx(0.0, abs=1e-3) and tile.std() == pytest.approx(1.0, abs=1e-3)
    inner = np.abs(np.diff(tile, axis=1)).mean()
    assert np.abs(tile[:, 0] - tile[:, -1]).mean() < 1.5 * inner
    u, v = np.array([0.31, 1.31, -0.69]), np.array([0.77, -0.23, 3.77])
    np.testing.assert_allclose(texture.sample(tile, u, v), texture.sample(tile, u, v)[0], atol=2e-2)


def test_sampling_a_sheet_at_its_own_pixels_gives_them_back() -> None:
    tile = texture.grain()
    at = np.array([(3, 5), (511, 0), (200, 310)])
    values = texture.sample(tile, at[:, 1] / texture.SHEET_SIZE, at[:, 0] / texture.SHEET_SIZE)
    np.testing.assert_allclose(values, tile[at[:, 0], at[:, 1]], atol=1e-5)


def test_a_shaven_beard_darkens_the_jaw_and_neither_lips_nor_forehead_nor_cheekbones() -> None:
    identity = Identity.draw(1)
    smooth, shaven = (
        replace(identity, hair=replace(identity.hair, beard="none", shadow=share, beard_albedo=(0.01, 0.008, 0.007)))
        for share in (0.0, 0.4)
    )
    mouth = identity.mouth

    def left(x: float, y: float, half: float) -> float:
        before, after = (paint(person, patch(x, y, half)).albedo.mean() for person in (smooth, shaven))
        return float(after / before)

    assert 0.4 < left(0.5, mouth.y - 3.4, 0.3) < 0.8
    assert left(0.0, 6.0, 0.3) > 0.98 and left(3.5, 0.5, 0.3) > 0.98
    assert left(0.0, mouth.y - 0.4 * mouth.lower, 0.1) > 0.98
    assert not paint(shaven, patch(0.5, mouth.y - 3.4, 0.3)).hair.any()  # masks that repaint skin repaint it, too


def test_skin_around_the_mouth_is_darker_and_yellower_by_its_own_number() -> None:
    identity = replace(Identity.draw(1), hair=replace(Identity.draw(1).hair, beard="none", shadow=0.0))
    even, dark = (replace(identity, skin=replace(identity.skin, perioral=share)) for share in (0.0, 1.0))
    chin, forehead = patch(0.0, identity.mouth.y - 3.2, 0.4), patch(0.0, 6.0, 0.4)
    factor = paint(dark, chin).albedo.mean(0) / paint(even, chin).albedo.mean(0)
    assert 0.85 < factor[0] < 0.98 and factor[0] > factor[1] > factor[2] > 0.6
    assert np.allclose(paint(dark, forehead).albedo, paint(even, forehead).albedo, rtol=1e-3)


def test_gloss_lies_where_a_persons_oil_is() -> None:
    identity = Identity.draw(1)
    nose, cheek = patch(0.0, identity.nose.base_y + 1.0, 0.2), patch(3.9, 0.3, 0.3)
    plain, middle, sides = (
        replace(identity, skin=replace(identity.skin, oil_at=where))
        for where in ((0.0, 0.0, 0.0), (1.5, 0.0, 0.0), (0.0, 0.9, 0.0))
    )

    def gain(person: Identity, place: list[tuple[float, float]]) -> float:
        return float(paint(person, place).specular_scale.mean() / paint(plain, place).specular_scale.mean())

    assert gain(middle, nose) > 1.4 and gain(middle, cheek) == pytest.approx(1.0, abs=0.1)
    assert gain(sides, cheek) > 1.4 and gain(sides, nose) == pytest.approx(1.0, abs=0.1)
