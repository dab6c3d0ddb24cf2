"""Frames divided by the camera's gain, in linear light and without clipping anything."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_faces import lit_scene, photograph

from flash_sequencer.colour import srgb8_to_linear
from sdk_reference.compensation import CLEAR_CHANGE, LARGEST_CHANGE, compensated, factors_against, is_clear

GAINS = np.array([[1.0, 1.0, 1.1], [0.5, 0.55, 0.6], [0.7, 0.7, 0.7]])


def test_frames_of_one_scene_at_different_gains_become_alike() -> None:
    scene = lit_scene(np.full(3, 0.4), 0.4)
    frames = np.stack([photograph(scene * gain) for gain in GAINS])
    steady = srgb8_to_linear(compensated(frames, factors_against(GAINS)))
    np.testing.assert_allclose(steady[0], scene * 0.5, atol=0.006)  # half a step of a byte, twice
    np.testing.assert_allclose(steady[1:], np.broadcast_to(steady[0], steady[1:].shape), atol=0.008)


def test_the_darkest_stays_and_nothing_gets_brighter() -> None:
    factors = factors_against(GAINS)
    assert factors[1, 0] == 1.0 and factors.max() == 1.0 and factors.min() > 0
    every = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (3, 256, 1, 3))
    steady = compensated(every, factors)
    assert (steady <= every).all() and (steady[1, ..., 0] == every[1, ..., 0]).all()


def test_what_was_clipped_stays_clipped() -> None:
    frames = np.full((3, 4, 5, 3), 255, np.uint8)
    frames[:, 0, 0] = 200
    steady = compensated(frames, factors_against(GAINS))
    assert (steady[:, 1:] == 255).all() and (steady[0, 0, 0] < 160).all()
    assert steady.shape == frames.shape and steady.dtype == np.uint8


@pytest.mark.parametrize(
    ("change", "clear"),
    [
        (1.0, False),
        (CLEAR_CHANGE - 0.01, False),
        (CLEAR_CHANGE + 0.01, True),
        (3.9, True),
        (LARGEST_CHANGE + 0.1, False),
    ],
)
def test_only_a_clear_drift_is_undone(change: float, clear: bool) -> None:
    assert is_clear(np.array([[1.0] * 3, [change] * 3])) is clear
