"""The camera that sees the flash, walked through time by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.camera import NS_PER_MS, SimulatedCamera, SimulatedClock, simulated_camera
from simulator.errors import SimulationError
from simulator.instruments import SPECIES
from simulator.stage import set_stage

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@pytest.fixture(scope="module")
def stage():
    return set_stage(2, 9, "live", "face", size=64, ambient_lux=10.0)


def camera_on(stage, screen, clock=None, **settings):
    clock = clock or SimulatedClock(5_000_000_000)
    camera = SimulatedCamera(stage, screen, clock, size=64, rng=np.random.default_rng(0), **settings)
    camera.open()
    return camera


def test_frames_come_at_the_frame_rate_and_move_the_clock(stage):
    clock = SimulatedClock(1_000)
    camera = camera_on(stage, lambda _: WHITE, clock, frame_rate_hz=25.0, exposure_ms=10.0)
    stamps = [camera.read().timestamp_ns for _ in range(4)]
    assert np.diff(stamps).tolist() == [40 * NS_PER_MS] * 3
    assert clock.now_ns() == stamps[-1] + 10 * NS_PER_MS


def test_a_reader_who_sleeps_misses_frames_but_not_the_beat(stage):
    clock = SimulatedClock()
    camera = camera_on(stage, lambda _: WHITE, clock, frame_rate_hz=20.0)
    first = camera.read().timestamp_ns
    clock.advance(333 * NS_PER_MS)
    assert (camera.read().timestamp_ns - first) % (50 * NS_PER_MS) == 0


@pytest.mark.parametrize(
    ("switch_ms", "white_share"),
    [(-1.0, 1.0), (5.0, 0.75), (10.0, 0.5), (15.0, 0.25), (21.0, 0.0)],
)
def test_an_exposure_across_a_change_mixes_both_colours(stage, switch_ms, white_share):
    """The screen turns white `switch_ms` after the exposure starts, as seen after the latency of 45 ms."""
    start = 1_000 * NS_PER_MS
    switch = start + round((switch_ms - 45.0) * NS_PER_MS)
    camera = camera_on(stage, lambda t: WHITE if t >= switch else BLACK, exposure_ms=20.0, latency_ms=45.0)
    assert camera.screen_light(start) == pytest.approx([white_share] * 3, abs=0.04)


def test_white_screens_make_brighter_images_than_black_ones(stage):
    images = [camera_on(stage, lambda _, c=c: c).read().image for c in (WHITE, BLACK)]
    assert images[0].shape == (64, 64, 3) and images[0].dtype == np.uint8
    assert images[0].mean() > images[1].mean() + 5


def locked(stage, **changes):
    """The stage before a phone without noise, drift or compression."""
    quiet = {"full_well_electrons": 1e9, "exposure_reaction": 0.0, "exposure_jitter": 0.0, "balance_reaction": 0.0,
             "balance_drift": 0.0, "denoise": 0.0, "chroma_sigma_px": 0.0, "jpeg_quality": 100}  # fmt: skip
    return replace(stage, phone=replace(stage.phone, **(quiet | changes)))


def test_exposure_follows_the_screen_from_frame_to_frame_unless_locked(stage):
    for reaction in (0.0, 0.6):
        camera = camera_on(locked(stage, exposure_reaction=reaction, metering_level=0.3), lambda _: WHITE)
        means = [camera.read().image.mean() for _ in range(12)]
        assert (means[-1] < means[0] - 4) == (reaction > 0), means


def test_a_long_exposure_smears_what_moves(stage, monkeypatch):
    monkeypatch.setattr("simulator.camera.image_speed_px", lambda *_: (150.0, 0.0))
    detail = []
    for exposure_ms in (1.0, 33.0):
        image = camera_on(locked(stage), lambda _: WHITE, exposure_ms=exposure_ms).read().image.astype(float)
        detail.append(np.abs(np.diff(image, axis=1)).mean())
    assert detail[1] < 0.8 * detail[0]


def test_the_factory_gives_the_same_person_for_the_same_seed():
    images = [_first_image("live", 3), _first_image("live", 3), _first_image("live", 4)]
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


@pytest.mark.parametrize("kind", SPECIES)
def test_the_factory_knows_every_species(kind):
    assert _first_image(kind, 1).std() > 5


def _first_image(kind: str, seed: int) -> np.ndarray:
    camera = simulated_camera(kind, seed, lambda _: WHITE, SimulatedClock(), size=64)
    camera.open()
    return camera.read().image


def test_reading_a_closed_camera_is_an_error(stage):
    camera = camera_on(stage, lambda _: WHITE)
    camera.close()
    with pytest.raises(SimulationError, match="open"):
        camera.read()


@pytest.mark.parametrize(
    "settings",
    [
        {"frame_rate_hz": 0.0},
        {"exposure_ms": -1.0},
        {"exposure_ms": 50.0},
        {"latency_ms": float("nan")},
    ],
)
def test_impossible_settings_are_refused(stage, settings):
    with pytest.raises(SimulationError):
        camera_on(stage, lambda _: WHITE, **settings)


def test_a_screen_that_shows_no_colour_is_an_error(stage):
    with pytest.raises(SimulationError, match="screen"):
        camera_on(stage, lambda _: (0, 300, 0)).read()


def test_time_does_not_go_back():
    with pytest.raises(SimulationError, match="forward"):
        SimulatedClock().advance(-1)


def test_an_unknown_kind_is_refused():
    with pytest.raises(SimulationError, match="kind"):
        simulated_camera("ghost", 0, lambda _: WHITE, SimulatedClock())
