"""Whole captures: determinism, order, truth, and equal treatment of the species."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.capture import CaptureSpec, simulate_capture
from simulator.errors import SimulationError
from simulator.instruments import INSTRUMENTS, SPECIES
from simulator.stage import set_stage

COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
SPEC = CaptureSpec(seed=7, subject=123, species="live", instrument="face", colours_linear=COLOURS, size=96)
LABELS = {
    "subject", "species", "instrument", "detail", "scene", "device", "distance_cm",
    "ambient_lux", "flash_to_ambient", "flash_snr", "skin_tone", "seed",
}  # fmt: skip


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others():
    first, second = simulate_capture(SPEC), simulate_capture(SPEC)
    assert first.frames.tobytes() == second.frames.tobytes()
    assert first.depth_mm.tobytes() == second.depth_mm.tobytes()
    assert first.timestamps_ns == second.timestamps_ns and first.labels == second.labels
    assert first.frames.tobytes() != simulate_capture(replace(SPEC, seed=8)).frames.tobytes()


@pytest.mark.parametrize(("species", "instrument"), [(s, i) for s in SPECIES for i in INSTRUMENTS[s]])
def test_every_instrument_gives_a_whole_capture(species, instrument):
    capture = simulate_capture(replace(SPEC, species=species, instrument=instrument))
    assert capture.frames.shape == (5, 96, 96, 3) and capture.frames.dtype == np.uint8
    assert capture.depth_mm.shape == (96, 96) and capture.depth_mm.dtype == np.uint16
    assert set(capture.labels) == LABELS and capture.labels["species"] == species
    assert capture.labels["subject"] == "sim-000123"
    assert 10 < capture.frames.mean() < 245
    middle = capture.depth_mm[40:56, 40:56]
    assert (abs(middle[middle > 0] / 10.0 - capture.labels["distance_cm"]) < 15).all() and (middle > 0).mean() > 0.9


def test_the_brightest_rank_is_brightest_and_red_light_reddens():
    capture = simulate_capture(replace(SPEC, ambient_lux=20.0))
    means = capture.frames.astype(float).mean((1, 2))
    assert means[0].sum() == means.sum(1).max() and means[4].sum() == means.sum(1).min()
    assert means[1, 0] / means[1, 1] > means[2, 0] / means[2, 1]
    assert means[3, 2] / means[3, 0] > means[1, 2] / means[1, 0]


def test_frames_come_by_rank_whatever_the_order_in_time():
    order = (3, 0, 4, 2, 1)
    capture = simulate_capture(replace(SPEC, time_order=order, ambient_lux=20.0))
    assert tuple(np.argsort(capture.timestamps_ns)) == order
    totals = capture.frames.astype(float).sum((1, 2, 3))
    assert totals[0] == totals.max() and totals[4] == totals.min()


def test_with_the_screen_off_the_colours_do_not_matter():
    off = simulate_capture(replace(SPEC, screen_off=True))
    reversed_colours = simulate_capture(replace(SPEC, screen_off=True, colours_linear=COLOURS[::-1]))
    assert off.frames.tobytes() == reversed_colours.frames.tobytes()


@pytest.mark.parametrize("count", [3, 8])
def test_other_numbers_of_frames_work(count):
    colours = tuple((1 - k / (count - 1),) * 3 for k in range(count))
    assert simulate_capture(replace(SPEC, colours_linear=colours, size=64)).frames.shape[0] == count


def test_the_species_has_no_part_in_phone_room_screen_or_framing():
    live, paper, mask = (
        set_stage(21, 3, species, instrument, size=64)
        for species, instrument in [("live", "face"), ("print", "print_hd"), ("mask", "mask_resin")]
    )
    for other in (paper, mask):
        assert other.phone == live.phone and other.lighting == live.lighting and other.view == live.view


def test_the_given_illuminance_is_used_and_named_by_a_scene_that_has_it():
    labels = simulate_capture(replace(SPEC, ambient_lux=1200.0, size=64)).labels
    assert labels["ambient_lux"] == 1200.0 and labels["scene"] in {"cloudy", "sunlight"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": "ghost"}, "species"),
        ({"instrument": "print_hd"}, "instrument"),
        ({"size": 63}, "size"),
        ({"size": 100_000}, "size"),
        ({"ambient_lux": -5.0}, "ambient_lux"),
        ({"ambient_lux": float("nan")}, "ambient_lux"),
        ({"subject": -1}, "subject"),
        ({"seed": -1}, "seed"),
        ({"colours_linear": COLOURS[:2]}, "number of screen colours"),
        ({"colours_linear": (*COLOURS[:4], (0.0, 0.0))}, "colour of 2"),
        ({"colours_linear": (*COLOURS[:4], (0.0, 1.5, 0.0))}, "screen colour"),
        ({"colours_linear": (*COLOURS[:4], (0.0, float("nan"), 0.0))}, "screen colour"),
        ({"time_order": (0, 1, 2, 3, 3)}, "time order"),
        ({"time_order": (0, 1)}, "time order"),
    ],
)
def test_impossible_specs_are_refused_with_what_was_found_and_expected(change, message):
    with pytest.raises(SimulationError, match=message) as caught:
        replace(SPEC, **change)
    assert "found" in str(caught.value) and "expected" in str(caught.value) and isinstance(caught.value, ValueError)


def test_sharpness_and_brightness_do_not_tell_the_species():
    """A coarse guard against shortcuts: group means over several seeds stay within a factor of one another."""
    sharpness, brightness = {}, {}
    for species in SPECIES:
        instrument = {"live": "face", "print": "print_colour", "replay": "replay_computer", "mask": "mask_silicone"}[
            species
        ]
        stages = [simulate_capture(replace(SPEC, seed=s, subject=s, species=species, instrument=instrument,
                                           screen_off=True, ambient_lux=150.0)).frames[0, 24:72, 24:72].astype(float)
                  for s in range(8)]  # fmt: skip
        sharpness[species] = np.mean([np.abs(np.diff(f, axis=0)).mean() / f.mean() for f in stages])
        brightness[species] = np.mean([f.mean() for f in stages])
    for species in SPECIES[1:]:
        assert 0.6 < sharpness[species] / sharpness["live"] < 1.6, sharpness
        assert 0.75 < brightness[species] / brightness["live"] < 1.35, brightness
