"""Prints, replays and masks as things of the physical world, and what one image must not tell about them."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.ambient import Ambient, Lighting
from simulator.attack import Artefact, present
from simulator.framing import FACE_CENTRE_CM, FACE_WIDTH_CM, Framing
from simulator.head import build_head
from simulator.identity import Expression, Identity
from simulator.instruments import INSTRUMENTS
from simulator.light import ScreenLight
from simulator.scene import relight
from simulator.stage import set_stage

LUX = 80.0
SIZE = 128
ATTACKS = [(species, name) for species, names in INSTRUMENTS.items() for name in names if species != "live"]


@pytest.fixture(scope="module")
def stages():
    shown = [("live", "face"), *ATTACKS]
    return {name: set_stage(4, 17, species, name, size=SIZE, ambient_lux=LUX) for species, name in shown}


def show(species: str, instrument: str, *, seed: int = 4, blink: float = 0.0, cues: bool = False) -> Artefact:
    """One artefact before a fixed light, in a framing that leaves much around the face."""
    identity = Identity.draw(17)
    framing = Framing(share=0.42, distance_cm=30.0, yaw=0.2, pitch=-0.1, roll=0.05, offset_cm=(1.0, 0.5))
    lighting = Lighting(Ambient.draw(np.random.default_rng(1), lux=LUX), ScreenLight())
    mesh = build_head(identity, Expression(blink=blink))
    return present(seed, species, instrument, identity, mesh, framing, framing.view(SIZE), lighting, cues=cues)


def test_a_framing_puts_the_face_centre_where_it_says():
    framing = Framing.draw(np.random.default_rng(3))
    centre = framing.head_pose().apply(np.array([FACE_CENTRE_CM]))[0]
    assert np.allclose(centre, [*framing.offset_cm, -framing.distance_cm], atol=1e-4)
    view = framing.view(200)
    assert view.focal_px * FACE_WIDTH_CM / framing.distance_cm == pytest.approx(framing.share * 200)


def test_every_species_shows_a_face_of_about_the_same_size(stages):
    sizes = {name: stage.layers.face.sum() for name, stage in stages.items()}
    for name in sizes:
        assert 0.6 < sizes[name] / sizes["face"] < 1.6, name


@pytest.mark.parametrize(("species", "instrument"), ATTACKS)
def test_the_same_seed_gives_the_same_bytes(species, instrument):
    first, second = show(species, instrument), show(species, instrument)
    assert first.layers.ambient.tobytes() == second.layers.ambient.tobytes()
    assert first.layers.screen.tobytes() == second.layers.screen.tobytes()
    assert first.detail == second.detail


@pytest.mark.parametrize(("species", "instrument"), ATTACKS)
def test_with_the_eyes_shut_only_the_eyes_change(species, instrument):
    opened, shut = show(species, instrument), show(species, instrument, blink=0.9)
    changed = np.abs(shut.layers.ambient - opened.layers.ambient).max(-1) > 0.01 * opened.layers.ambient.max()
    rows, _ = np.nonzero(opened.layers.face)
    below_the_nose = np.arange(SIZE) > np.percentile(rows, 65)
    assert changed.mean() < 0.1
    assert changed[below_the_nose].mean() < 0.01
    assert opened.detail == shut.detail and opened.scale == shut.scale


@pytest.mark.parametrize("instrument", ["print_colour", "print_gray", "print_hd", *INSTRUMENTS["replay"]])
@pytest.mark.parametrize("seed", range(4))
def test_without_cues_a_sheet_fills_the_image(instrument, seed):
    assert show(instrument.split("_")[0], instrument, seed=seed).layers.covered.all()


def test_a_flat_print_has_no_relief_and_a_face_and_a_mask_have(stages):
    def relief_cm(stage):
        depth = stage.layers.depth_cm
        y, x = np.nonzero(stage.layers.face)
        # 1/depth of a plane is linear in the image
        design = np.stack([x, y, np.ones_like(x)], 1).astype(float)
        inverse = 1.0 / depth[y, x]
        fit = design @ np.linalg.lstsq(design, inverse, rcond=None)[0]
        return np.abs(depth[y, x] - 1.0 / fit).max()

    for name in INSTRUMENTS["replay"]:
        assert relief_cm(stages[name]) < 0.01
    for name in ("face", *INSTRUMENTS["mask"]):
        assert relief_cm(stages[name]) > 2.0, name


def test_a_replay_shines_of_itself_and_hardly_answers_the_screen(stages):
    def answer(name):
        layers = stages[name].layers
        return np.median(layers.screen[layers.face])

    for name in INSTRUMENTS["replay"]:
        assert answer(name) < 0.3 * answer("face")
    assert answer("print_colour") > 0.3 * answer("face")


def test_a_larger_display_stands_farther_away_and_the_flash_on_it_fades(stages):
    near, far = stages["replay_phone"], stages["replay_tv"]
    ratio = far.distance_cm / near.distance_cm
    assert ratio > 2.0
    fading = np.median(near.layers.screen) / np.median(far.layers.screen)
    assert fading > ratio  # towards its square, as far as a phone is small against its distance


def test_a_gray_print_has_no_colour_but_the_lights_and_the_papers():
    gray = show("print", "print_gray").layers
    colour = show("print", "print_colour").layers

    def spread(layers):
        ratio = layers.ambient[..., 0] / layers.ambient[..., 2]
        return np.log(ratio[layers.face]).std()

    assert spread(gray) < 0.1 * spread(colour)


def test_through_the_holes_of_a_print_somebody_is_farther_away(stages):
    layers, whole = stages["print_holes"].layers, stages["print_colour"].layers
    hollow = whole.face & ~layers.face & layers.covered
    assert hollow.sum() > 50
    assert layers.face.sum() < whole.face.sum()
    assert np.median(layers.depth_cm[hollow]) > np.median(layers.depth_cm[layers.face]) + 1.0


def test_around_a_cropped_print_there_is_the_room_or_its_holder(stages):
    cropped, whole = stages["print_cropped"].layers, stages["print_colour"].layers
    differs = np.abs(cropped.ambient - whole.ambient).max(-1) > 0.01 * whole.ambient.max()
    assert differs[:20, :30].mean() > 0.5
    assert differs[cropped.face].mean() < 0.05 or cropped.face.sum() > 0.9 * whole.face.sum()


def test_a_mask_stands_about_where_the_face_would(stages):
    face = stages["face"].layers
    for name in INSTRUMENTS["mask"]:
        layers = stages[name].layers
        both = face.face & layers.face
        assert abs(np.median(layers.depth_cm[both] - face.depth_cm[both])) < 1.0, name
        assert not np.allclose(layers.ambient, face.ambient)


@pytest.mark.parametrize("species", ["print", "replay"])
def test_one_image_of_a_picture_is_as_sharp_and_as_contrasty_as_one_of_a_face(species):
    """Medians over a few people, the screen off: what a picture of a picture loses first is fine contrast."""

    def fine_contrast(kind: str, instrument: str, seed: int) -> float:
        stage = set_stage(seed, 31 * seed, kind, instrument, size=SIZE)
        gray = relight(stage.layers, np.zeros(3)).mean(-1)
        inner = stage.layers.face & (np.roll(stage.layers.face, 8, 0)) & np.roll(stage.layers.face, -8, 0)
        step = np.abs(np.diff(gray, axis=1, append=gray[:, -1:]))
        return float(np.percentile(step[inner], 95) / gray[inner].mean())

    live = np.median([fine_contrast("live", "face", seed) for seed in range(6)])
    attack = np.median([fine_contrast(species, INSTRUMENTS[species][0], seed) for seed in range(6)])
    assert 0.75 < attack / live < 1.33


@pytest.mark.parametrize(("species", "instrument"), [("print", "print_hd"), ("replay", "replay_computer")])
def test_cues_show_only_when_asked_for(species, instrument):
    plain, told = show(species, instrument), show(species, instrument, cues=True)
    assert plain.layers.covered.all()
    assert not told.layers.covered.all()  # a border or bezel, and the room beyond

    def fine(layers):
        inner = layers.covered & told.layers.covered
        gray = layers.ambient.mean(-1)
        step = gray - (np.roll(gray, 1, 1) + np.roll(gray, -1, 1)) / 2
        return np.abs(step[inner]).mean() / gray[inner].mean()

    assert fine(told.layers) > 1.1 * fine(plain.layers)
