"""Relit captures are photographs of the scene that was kept, drawn anew, with nothing forged between their frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from made_up_scenes import (
    ALWAYS,
    IDEAL,
    SIDE,
    SIZE,
    ambient_at,
    flat_depth,
    flat_layers,
    made_up_stage,
    scene_layers,
    screen_at,
)
from textured_faces import about_centre

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import FlashPlan, default_plan
from sdk_reference.align import TEMPLATE, invert, map_points, scale_of
from sdk_reference.preprocess import PreprocessSettings, align_frames, scaled_differences
from sdk_reference.response import expected_response
from simulator import capture as simulator_capture
from simulator.capture import Shot, photograph
from simulator.motion import Motion
from simulator.phone import Phone
from simulator.stage import set_stage
from training import relight, shooting
from training.augment import NO_AUGMENTATION
from training.layer_store import LayerStore, add_layers_line, begin_layers, write_layers
from training.relight import relit, set_up
from training.relit_looks import (
    chroma_factors,
    draw_background,
    draw_blotches,
    draw_contrast,
    shading_factors,
    with_saturation,
)
from training.shooting import draw_misplacements, draw_plan, draw_shooting


@pytest.fixture
def ideal_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw of a phone is the ideal one: no noise, exposure locked, no processing."""
    monkeypatch.setattr(
        Phone, "draw", staticmethod(lambda rng, profile=None, sensor_scale=1.0: replace(IDEAL, sensor_scale=1.0))
    )


@pytest.fixture
def locked_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones are drawn as ever, lenses, tone curves, JPEG and all, but noise-free and with everything locked."""
    drawn: Callable[..., Phone] = Phone.draw
    monkeypatch.setattr("simulator.phone.sensor.add_noise", lambda image, *_: image)
    locked = dict.fromkeys(["exposure_reaction", "exposure_jitter", "balance_reaction", "balance_drift"], 0.0)
    monkeypatch.setattr(
        Phone, "draw", staticmethod(lambda *arguments, **named: replace(drawn(*arguments, **named), **locked))
    )


def test_stored_layers_are_those_of_the_scene_in_the_template(tmp_path: Path) -> None:
    """A formula at the places that the inverse map says; half floats keep a relative 2⁻¹¹, interpolation the rest."""
    stage = made_up_stage()
    for row, affine in enumerate(
        [
            np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
            np.array([[1.9, 0.25, 5.0], [-0.2, 2.1, -3.0]]),
            np.array([[1.2, 0.0, 40.0], [0.0, 1.2, 50.0]]),  # fewer template pixels than the layers have
        ]
    ):
        place = tmp_path / str(row)
        place.mkdir()
        begin_layers(place, 2, [])
        add_layers_line(place, write_layers(place, 1, stage, affine))
        store = LayerStore(place)
        assert len(store) == 1 and 1 in store and 0 not in store
        stored = store.layers(1)
        rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
        points = map_points(np.stack([columns, rows], axis=-1), invert(affine))
        seen = ((points > 2) & (points < SIZE - 2)).all(axis=-1)
        assert seen.mean() > 0.2
        np.testing.assert_allclose(stored.ambient[seen], ambient_at(points)[seen], rtol=6e-3)
        np.testing.assert_allclose(stored.screen[seen], screen_at(points)[seen], rtol=6e-3)
        assert stored.phone.sensor_scale == pytest.approx(max(3.0 / scale_of(affine), 1.0))
        assert replace(stored.phone, sensor_scale=3.0) == stage.phone and stored.light == stage.lighting.screen


def test_a_room_brighter_than_half_floats_reach_is_stored_all_the_same(tmp_path: Path) -> None:
    stage = made_up_stage()
    sunny = replace(stage, layers=replace(stage.layers, ambient=stage.layers.ambient * np.float32(1e5)))
    begin_layers(tmp_path, 1, [])
    for scene in (stage, sunny):
        add_layers_line(tmp_path, write_layers(tmp_path, 0, scene, np.eye(2, 3) * 2.0))
        found = LayerStore(tmp_path).layers(0).ambient
        assert np.isfinite(found).all()
        expected = 1e5 if scene is sunny else 1.0
        assert found.max() == pytest.approx(20.0 * 1.5 * 1.3 * expected, rel=0.02)


class StandingStill:
    """In place of the simulator's random walk."""

    def __init__(self, rng: np.random.Generator, distance_cm: float = 0.0) -> None:
        pass

    def now(self) -> Motion:
        return Motion(np.zeros(3), np.zeros(3))

    speed = now

    def step(self, seconds: float) -> Motion:
        return self.now()


def test_a_relit_capture_has_the_differences_of_a_photographed_one(
    tmp_path: Path, ideal_phone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One scene, one plan, both ways: rendered, moved by nothing, photographed and aligned; or aligned, then relit.

    The two meter other surroundings, which the capture's gain takes out; what is left is rounding, to bytes and to half
    floats, and that one photographs before, the other after interpolating.
    """
    monkeypatch.setattr(simulator_capture, "MotionWalk", StandingStill)
    monkeypatch.setattr(shooting, "draw_plan", lambda rng: default_plan())
    stage = replace(set_stage(4, 5, "live", "face", 256, ambient_lux=60.0), phone=IDEAL, eyes_shut=None)
    plan, affine = default_plan(), about_centre(3.0, -8.0, degrees=4.0, scale=1.2)
    colours = tuple(tuple(map(float, colour)) for colour in plan.colours_linear())
    taken = photograph(stage, Shot(1, colours, time_order=plan.time_order()))  # type: ignore[arg-type]
    settings = PreprocessSettings()
    expected, _ = scaled_differences(align_frames(taken.frames, np.stack([affine] * 5)), settings)
    begin_layers(tmp_path, 1, [])
    add_layers_line(tmp_path, write_layers(tmp_path, 0, stage, affine))
    anew = relit(LayerStore(tmp_path).layers(0), flat_depth(), NO_AUGMENTATION, np.random.default_rng(0))
    found, _ = scaled_differences(anew.aligned, settings)
    face = TEMPLATE.face_region(settings.input_size)
    assert np.abs(expected[:, :, face]).mean() == pytest.approx(0.25, abs=0.02)  # a strong signal: the gain is reached
    assert np.abs(found - expected)[:, :, face].mean() < 0.01
    assert np.corrcoef(found[:, :, face].ravel(), expected[:, :, face].ravel())[0, 1] > 0.995
    np.testing.assert_allclose(anew.response, expected_response(plan), atol=1e-6)


def test_a_relit_frame_is_room_light_plus_screen_light(ideal_phone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked out by hand: linear light of each rank over that of rank 0, whatever the exposure."""
    plan = default_plan()
    monkeypatch.setattr(shooting, "draw_plan", lambda rng: plan)
    anew = relit(flat_layers(20.0, 0.05), flat_depth(), NO_AUGMENTATION, np.random.default_rng(0))
    shown = 0.001 + 0.999 * plan.colours_linear()  # an LCD's black is a thousandth
    light = 20.0 + 0.05 * 500.0 * shown
    encoded = anew.aligned[:, :, 100, 100] / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear / linear[0], light / light[0], atol=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_with_the_screen_dark_nothing_differs_between_frames(seed: int, locked_phone: None) -> None:
    """No noise, no drift, no misplacement: any phone, any crop, any plan gives five times the same bytes."""
    settings = replace(ALWAYS, relit_registration_px=0.0)
    dark = replace(scene_layers(), screen=np.zeros((SIDE, SIDE, 3), np.float32))
    frames = relit(dark, flat_depth(), settings, np.random.default_rng(seed)).aligned
    assert frames[0].std() > 5  # it does show something
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])
    lit = relit(scene_layers(), flat_depth(), settings, np.random.default_rng(seed)).aligned
    assert not np.array_equal(lit[0], lit[4])


def test_a_draw_follows_from_its_generator_alone() -> None:
    def drawn(seed: int) -> tuple[bytes, bytes, bytes]:
        made = relit(scene_layers(), flat_depth(), ALWAYS, np.random.default_rng(seed))
        return made.aligned.tobytes(), made.depth.tobytes(), made.response.tobytes()

    first = drawn(7)
    np.random.default_rng(2).normal(size=9)
    assert drawn(7) == first
    assert len({drawn(seed)[0] for seed in range(7, 12)}) == 5


def test_shapes_and_types_are_those_of_a_capture() -> None:
    made = relit(scene_layers(), flat_depth(), ALWAYS, np.random.default_rng(0))
    assert made.aligned.shape == (5, 3, SIDE, SIDE) and made.aligned.dtype == np.uint8
    assert made.aligned.flags.c_contiguous
    assert made.depth.shape == (64, 64) and made.depth.dtype == np.float32
    assert made.response.shape == (6, 3) and made.response.dtype == np.float32


def test_the_response_belongs_to_the_plan_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[FlashPlan] = []

    def remember(rng: np.random.Generator) -> FlashPlan:
        plans.append(draw_plan(rng))
        return plans[-1]

    monkeypatch.setattr(shooting, "draw_plan", remember)
    for seed in range(6):
        made = relit(flat_layers(), flat_depth(), ALWAYS, np.random.default_rng(seed))
        np.testing.assert_allclose(made.response, expected_response(plans[-1]), atol=1e-6)
    assert len({plan.nonce for plan in plans}) > 3


def test_a_quarter_of_the_plans_is_the_default_plan() -> None:
    rng = np.random.default_rng(0)
    plans = [draw_plan(rng) for _ in range(400)]
    assert 0.18 < np.mean([plan.nonce is None for plan in plans]) < 0.32
    assert len({plan.nonce for plan in plans}) > 250


def test_frames_show_the_colours_of_the_plan(ideal_phone: None) -> None:
    """The hue of each difference of a relit capture is the plan's, whichever was drawn."""
    for seed in range(5):
        made = relit(flat_layers(), flat_depth(), replace(NO_AUGMENTATION), np.random.default_rng(seed))
        settings = PreprocessSettings(input_size=32)
        means = scaled_differences(made.aligned, settings)[0].mean(axis=(2, 3))
        seen = means[:, [0, 1, 2]] - means[:, [1, 2, 0]]
        for row, expected in zip(seen, made.response, strict=True):
            if np.linalg.norm(expected) > 0.2:
                assert row @ expected / np.linalg.norm(row) / np.linalg.norm(expected) > 0.95


def test_a_mirrored_draw_is_the_mirror_image_with_its_depth(ideal_phone: None) -> None:
    depth = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    plain, mirrored = (
        relit(scene_layers(), depth, replace(NO_AUGMENTATION, flip_share=share), np.random.default_rng(3))
        for share in (0.0, 1.0)
    )
    assert np.abs(mirrored.aligned[..., ::-1].astype(int) - plain.aligned).max() <= 1
    np.testing.assert_allclose(mirrored.depth, depth[:, ::-1], atol=1e-5)
    assert np.abs(mirrored.aligned.astype(int) - plain.aligned).max() > 10


@pytest.mark.parametrize("seed", range(6))
def test_the_depth_label_moves_with_the_crop(seed: int, ideal_phone: None) -> None:
    """A bright disc in the scene and in the label stays in one place."""
    across, down = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    disc = (np.hypot(across - 150, down - 90) < 24).astype(np.float32)
    label = disc.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    layers = replace(flat_layers(1.0, 0.0), ambient=np.repeat(1.0 + 50.0 * disc[..., None], 3, axis=2))
    settings = replace(NO_AUGMENTATION, flip_share=0.5, rotation_deg=20.0, scale=0.2, shift_px=20.0)
    made = relit(layers, label, settings, np.random.default_rng(seed))
    bright = made.aligned[0, 1] > made.aligned[0, 1].max() / 2
    shown = cv2.moments(bright.astype(np.float32))
    told = cv2.moments(made.depth)
    for axis in ("m10", "m01"):  # pixel centres: a label pixel u is in the middle of frame pixels 4u … 4u + 3
        assert (told[axis] / told["m00"]) * 4 + 1.5 == pytest.approx(shown[axis] / shown["m00"], abs=0.5)


def test_misplacements_have_the_stated_size_and_none_of_zero() -> None:
    rng = np.random.default_rng(0)
    shifts = np.array([draw_misplacements(0.5, 5, rng) for _ in range(600)])  # (600, 5, 2, 3)
    middle = np.full(2, (SIDE - 1) / 2)
    moved = np.array([[map_points(middle, one) - middle for one in capture] for capture in shifts])
    assert np.median(np.abs(moved)) == pytest.approx(0.6745 * 0.5, rel=0.1)  # a normal's median; wildness has median 1
    for one in draw_misplacements(0.0, 5, rng):
        np.testing.assert_array_equal(one, np.eye(2, 3))


def test_wild_captures_are_wild_in_all_their_frames() -> None:
    """Registration fails capture by capture: sizes within a capture go together."""
    rng = np.random.default_rng(0)
    sizes = np.log([[np.linalg.norm(one[:, 2]) for one in draw_misplacements(0.5, 5, rng)] for _ in range(500)])
    assert np.corrcoef(sizes[:, :2].mean(axis=1), sizes[:, 2:].mean(axis=1))[0, 1] > 0.2


def test_the_rooms_light_changes_within_its_stops(ideal_phone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lit: list[float] = []
    monkeypatch.setattr(
        relight, "_photograph", lambda scene, plan, *_: lit.append(float(scene.ambient[0, 0, 0])) or SimpleNamespace()
    )
    settings = replace(NO_AUGMENTATION, ambient_stops=0.7)
    for seed in range(200):
        relit(flat_layers(20.0), flat_depth(), settings, np.random.default_rng(seed))
    stops = np.log2(np.array(lit) / 20.0)
    assert np.abs(stops).max() <= 0.7 + 1e-6 and stops.std() == pytest.approx(0.7 / np.sqrt(3), rel=0.1)


SCENE = flat_layers(20.0, 0.05)
ONE_LOOK = {"relit_saturation": 2.0, "room_tint": 0.2, "blotches": 0.2}


def test_blotches_shade_and_tint_places_alike_in_every_frame(ideal_phone: None) -> None:
    blotched = relit(SCENE, flat_depth(), replace(NO_AUGMENTATION, blotches=0.2), np.random.default_rng(3)).aligned
    linear = srgb8_to_linear(blotched)
    pattern = linear / linear.mean(axis=(2, 3), keepdims=True)
    assert pattern[0].std() > 0.03
    np.testing.assert_allclose(pattern[1:], np.broadcast_to(pattern[:1], pattern[1:].shape), rtol=0.15)
    ratios = pattern[0, 0] / pattern[0, 2]
    assert ratios.std() > 0.01  # hue changes from place to place, too


def test_the_room_is_tinted_and_the_screen_is_not(ideal_phone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shooting, "draw_plan", lambda rng: default_plan())
    monkeypatch.setattr(shooting, "draw_room_tint", lambda *_: np.array([1.5, 1.0, 0.5], np.float32))
    linear = srgb8_to_linear(relit(SCENE, flat_depth(), NO_AUGMENTATION, np.random.default_rng(3)).aligned)
    dark = linear[-1].mean(axis=(1, 2))
    lit = (linear[0] - linear[-1]).mean(axis=(1, 2))
    np.testing.assert_allclose(dark / dark[1], [1.5, 1.0, 0.5], rtol=0.05)
    np.testing.assert_allclose(lit / lit[1], 1.0, rtol=0.05)


@pytest.mark.parametrize("looks", [{name: value} for name, value in ONE_LOOK.items()])
def test_each_look_changes_the_picture(looks: dict[str, float], ideal_phone: None) -> None:
    made = [
        relit(scene_layers(), flat_depth(), replace(NO_AUGMENTATION, **looks), np.random.default_rng(seed)).aligned
        for seed in range(3)
    ]
    plain = [
        relit(scene_layers(), flat_depth(), NO_AUGMENTATION, np.random.default_rng(seed)).aligned for seed in range(3)
    ]
    assert all((one != other).any() for one, other in zip(made, plain, strict=True))


def test_saturation_stays_the_phones_own_when_nothing_is_asked() -> None:
    phone = replace(IDEAL, saturation=1.1)
    rng = np.random.default_rng(0)
    assert with_saturation(phone, 0.0, rng) is phone
    drawn = [with_saturation(phone, 2.0, rng).saturation for _ in range(200)]
    assert 0.8 <= min(drawn) < 0.9 and 1.9 < max(drawn) <= 2.0


def test_a_blended_capture_is_a_mixture_of_two_photographs(ideal_phone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked out by hand for a flat scene: room plus screen times the colour's linear value, channel by channel."""
    plan = default_plan()
    monkeypatch.setattr(shooting, "draw_plan", lambda rng: plan)
    settings = replace(NO_AUGMENTATION, blended_share=1.0)
    linear = srgb8_to_linear(relit(SCENE, flat_depth(), settings, np.random.default_rng(0)).aligned)[:, :, 100, 100]
    off, white = 20.0 + 0.05 * 500.0 * 0.001, 20.0 + 0.05 * 500.0
    expected = off + plan.colours_linear() * (white - off)
    np.testing.assert_allclose(linear / linear[0], expected / expected[0], atol=0.02)


def test_blended_captures_are_as_frequent_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    blended: list[int] = []
    blend = relight._blend

    def counted(*given: Any) -> Any:
        blended.append(1)
        return blend(*given)

    monkeypatch.setattr(relight, "_blend", counted)
    settings, rng = replace(NO_AUGMENTATION, blended_share=0.3), np.random.default_rng(1)
    for _ in range(100):
        relit(SCENE, flat_depth(), settings, rng)
    assert 20 <= len(blended) <= 40


OTHER = replace(NO_AUGMENTATION, background_share=1.0)


def test_another_background_leaves_the_person_alone(ideal_phone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shooting, "draw_plan", lambda rng: default_plan())
    shots = [draw_shooting(SCENE.phone, OTHER, np.random.default_rng(seed)) for seed in range(60)]
    for shot in shots:
        scene, before = set_up(SCENE, shot), set_up(SCENE, replace(shot, background=None))
        person = SCENE.covered == 1.0
        for found, expected in ((scene.ambient, before.ambient), (scene.screen, before.screen)):
            np.testing.assert_array_equal(found[person], expected[person])
            assert np.abs(found[~person] / expected[~person] - 1.0).max() > 0.01
    answers = np.array([set_up(SCENE, shot).screen[2, 2].mean() / SCENE.screen[2, 2].mean() for shot in shots])
    assert 0.05 < np.mean(answers == 0.0) < 0.4  # some are too far away to answer the screen
    assert answers.max() > 1.5 and np.percentile(answers[answers > 0], 10) < 0.5


def test_a_background_is_drawn_as_often_as_asked_and_not_at_all_for_nothing() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_background(0.3, rng) is not None for _ in range(400)]
    assert 0.22 < np.mean(drawn) < 0.38
    before = rng.bit_generator.state
    assert draw_background(0.0, rng) is None and draw_blotches(0.0, rng) is None
    assert rng.bit_generator.state == before


def test_chroma_contrast_changes_how_far_colours_differ_and_not_what_they_are(ideal_phone: None) -> None:
    """A scene of two halves, one redder: their log ratio grows by the factor, their mean and the background stay."""
    ratio = np.where(np.arange(SIDE)[None, :, None] < SIDE / 2, [1.3, 1.0, 1.0], [1.0, 1.0, 1.0])
    screen = np.broadcast_to(0.05 * ratio, (SIDE, SIDE, 3)).astype(np.float32)
    found = screen * chroma_factors(screen, SCENE.covered, 1.5)
    left, right = (np.log(found[128, column]) - np.log(found[128, column]).mean() for column in (100, 156))
    before = np.log([1.3, 1.0, 1.0]) - np.log([1.3, 1.0, 1.0]).mean()
    np.testing.assert_allclose(left - right, 1.5 * before, atol=1e-5)
    np.testing.assert_allclose((left + right) / 2, before / 2, atol=0.01)
    np.testing.assert_array_equal(found[2, 2], screen[2, 2])
    np.testing.assert_array_equal(chroma_factors(screen, SCENE.covered, 1.0), 1.0)


def test_a_contrast_is_drawn_within_its_bounds_and_not_at_all_for_nothing() -> None:
    rng = np.random.default_rng(0)
    drawn = np.log([draw_contrast(0.45, rng) for _ in range(400)])
    assert np.abs(drawn).max() <= 0.45 and drawn.std() == pytest.approx(0.45 / np.sqrt(3), rel=0.1)
    before = rng.bit_generator.state
    assert draw_contrast(0.0, rng) == 1.0 and rng.bit_generator.state == before


def test_shading_contrast_steepens_the_screens_fall_off_and_leaves_detail_and_room(ideal_phone: None) -> None:
    """Light that falls off exponentially downwards: its slope in log light grows by the factor; fine detail stays."""
    rows = np.arange(SIDE, dtype=np.float32)[:, None, None]
    fall_off = np.exp(-rows / SIDE) * np.ones((SIDE, SIDE, 3), np.float32)
    detail = 1.0 + 0.2 * (rows % 2)
    screen = (0.05 * fall_off * detail).astype(np.float32)
    covered = np.ones((SIDE, SIDE), np.float32)
    factors = shading_factors(screen, covered, 1.5)
    slope = np.polyfit(np.arange(80, 176), np.log((fall_off * factors)[80:176, 128, 0]), 1)[0]
    assert slope == pytest.approx(-1.5 / SIDE, rel=0.03)
    assert np.abs(factors[1:] / factors[:-1] - 1.0).max() < 0.01
    shot = draw_shooting(SCENE.phone, replace(NO_AUGMENTATION, shading_contrast=0.4), np.random.default_rng(0))
    assert shot.shading != 1.0
    np.testing.assert_array_equal(set_up(SCENE, shot).ambient, SCENE.ambient)
    np.testing.assert_array_equal(shading_factors(screen, covered, 1.0), 1.0)
