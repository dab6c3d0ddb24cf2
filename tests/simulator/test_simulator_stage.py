"""Stages: photographed again and again, blinking, and kept on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.capture import CaptureSpec, Shot, photograph, simulate_capture
from simulator.errors import SimulationError
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.scene import relight
from simulator.sensor import UNCOMPRESSED
from simulator.stage import Blink, set_stage
from simulator.stage_file import load_stage, stage_bytes
from simulator.streams import stream

COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
SIZE = 96
BLINKING_SEED = next(seed for seed in range(1000) if Blink.draw(stream(seed, "blink")))


@pytest.fixture(scope="module")
def stage():
    return set_stage(BLINKING_SEED, 5, "live", "face", size=SIZE, ambient_lux=50.0)


def test_a_stage_photographed_as_the_capture_says_gives_the_captures_bytes(stage):
    spec = CaptureSpec(BLINKING_SEED, 5, "live", "face", COLOURS, size=SIZE, ambient_lux=50.0)
    assert photograph(stage, spec.shot).frames.tobytes() == simulate_capture(spec).frames.tobytes()


def test_another_shot_of_the_same_stage_moves_and_lights_otherwise(stage):
    first = photograph(stage, Shot(1, COLOURS))
    assert photograph(stage, Shot(2, COLOURS)).frames.tobytes() != first.frames.tobytes()
    assert photograph(stage, Shot(1, COLOURS[::-1])).frames[4].mean() > first.frames[4].mean()


def test_without_noise_a_frame_is_the_ambient_layer_plus_each_primary_times_its_layer(stage):
    """Worked out by hand, pixel by pixel, not by `relight`."""
    screen, colour = stage.lighting.screen, (0.2, 0.7, 0.4)
    radiance = screen.radiance(colour)
    lit = stage.layers.ambient.astype(np.float64) + stage.layers.screen.astype(np.float64) * radiance[None, None, :]
    frame = relight(stage.layers, radiance)
    assert np.abs(frame - lit).max() <= 1e-4 * lit.max()


@pytest.mark.parametrize("species", SPECIES)
def test_every_species_blinks_with_the_same_seed_at_the_same_moment(species):
    shown = set_stage(BLINKING_SEED, 5, species, INSTRUMENTS[species][0], size=SIZE)
    assert shown.eyes_shut is not None
    assert shown.blink_at == Blink.draw(stream(BLINKING_SEED, "blink")).at
    changed = np.abs(shown.eyes_shut.ambient - shown.layers.ambient).max(-1) > 0.02 * shown.layers.ambient.max()
    assert 0.0005 < changed.mean() < 0.15


def test_about_one_capture_in_eight_blinks():
    share = np.mean([Blink.draw(stream(seed, "blink")) is not None for seed in range(2000)])
    assert abs(share - Blink.SHARE) < 0.03


def test_one_moment_alone_of_the_capture_has_the_blink(stage):
    shut = [k for k in range(5) if stage.layers_at(k / 5, (k + 1) / 5) is stage.eyes_shut]
    assert shut == [int(stage.blink_at * 5)]


def test_a_stage_comes_back_from_disk_and_photographs_alike(stage, tmp_path):
    """Without compression, whose rounding can turn a hair's breadth into several steps."""
    stage = replace(stage, phone=replace(stage.phone, jpeg_quality=UNCOMPRESSED))
    (tmp_path / "one.npz").write_bytes(stage_bytes(stage))
    again = load_stage(tmp_path / "one.npz")
    assert again.phone == stage.phone and again.lighting == stage.lighting
    measured = "flash_to_ambient"  # on the layers, so it feels their rounding to half floats
    assert again.labels[measured] == pytest.approx(stage.labels[measured], rel=1e-3)
    assert {**again.labels, measured: None} == {**stage.labels, measured: None}
    assert (again.layers.face == stage.layers.face).all() and (again.layers.covered == stage.layers.covered).all()
    first, second = photograph(stage, Shot(3, COLOURS)).frames, photograph(again, Shot(3, COLOURS)).frames
    difference = np.abs(first.astype(int) - second.astype(int))
    assert difference.max() <= 3 and difference.mean() < 0.05


def test_daylight_fits_into_half_floats(tmp_path):
    bright = set_stage(3, 5, "live", "face", size=64, ambient_lux=100_000.0)
    (tmp_path / "one.npz").write_bytes(stage_bytes(bright))
    again = load_stage(tmp_path / "one.npz").layers.ambient
    assert np.isfinite(again).all()
    assert again.max() == pytest.approx(bright.layers.ambient.max(), rel=1e-3)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "other"])
def test_a_damaged_stage_file_is_an_error_that_says_what_to_do(stage, tmp_path, damage):
    path = tmp_path / "one.npz"
    content = stage_bytes(stage)
    path.write_bytes({"empty": b"", "text": b"hello", "cut": content[: len(content) // 2], "other": b""}[damage])
    if damage == "other":
        np.savez(path, head=np.frombuffer(b'{"format": "x", "version": 1}', np.uint8))
    with pytest.raises(SimulationError, match="expected a flashproof-stage"):
        load_stage(path)


@pytest.mark.parametrize("wrong", [{"distance_cm": 2.0}, {"distance_cm": float("inf")}, {"distance_cm": 500.0}])
def test_a_distance_out_of_reach_is_refused(wrong):
    with pytest.raises(SimulationError, match="distance_cm"):
        replace(CaptureSpec(0, 0, "live", "face", COLOURS), **wrong)


def test_the_given_distance_is_the_labels():
    spec = CaptureSpec(0, 0, "live", "face", COLOURS, size=64, distance_cm=31.0)
    assert simulate_capture(spec).labels["distance_cm"] == 31.0


def test_the_flash_fades_as_the_room_brightens():
    snr = [simulate_capture(CaptureSpec(4, 0, "live", "face", COLOURS, size=64, ambient_lux=lux)).labels["flash_snr"]
           for lux in (10.0, 300.0, 3000.0)]  # fmt: skip
    assert snr[0] > snr[1] > snr[2] > 0
