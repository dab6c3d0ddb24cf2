"""The camera's gain, found in made-up means of a face and a wall whose gain is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from flash_sequencer.drift import estimate_drift, exposure_change
from flash_sequencer.errors import MatchingError
from flash_sequencer.plan import challenge
from flash_sequencer.player import DARK_SURROUND, PresentedStep
from flash_sequencer.screen_light import ScreenLight

MS = 1_000_000
LAG_NS, EXPOSURE_NS = 50 * MS, 20 * MS
STEPS = tuple(
    PresentedStep(step.rank, step.srgb, start * MS, end * MS)
    for step, (start, end) in zip(
        challenge(bytes(16)).steps, pairwise([1000 + 300 * at for at in range(6)]), strict=True
    )
)
STAMPS = [(900 + 33 * at) * MS for at in range(50)]
LIGHT = ScreenLight(STEPS, DARK_SURROUND)
SEEN_S = LIGHT.seconds(STAMPS) - LAG_NS / 1e9
MIX = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])  # a camera leaks between channels
SKIN, WALL = np.array([0.12, 0.08, 0.06]), np.array([0.02, 0.03, 0.03])
STEADY = np.ones((50, 3))


def means(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Face and wall, (F,3) each; the screen lights both."""
    light = LIGHT.mean(SEEN_S, EXPOSURE_NS / 1e9) @ MIX
    grain = np.random.default_rng(0).normal(1, 1e-3, (2, 50, 3))
    return gains * (0.05 + SKIN * light) * grain[0], gains * (0.1 + WALL * light) * grain[1]


def estimated(*regions: np.ndarray, stamps: list[int] = STAMPS) -> np.ndarray:
    return estimate_drift(STEPS, stamps, regions, lag_ns=LAG_NS, exposure_ns=EXPOSURE_NS)


def following(share: float, memory_s: float) -> np.ndarray:
    """Gains of an exposure that gives way to the flash, blue somewhat less."""
    metered = LIGHT.metered(SEEN_S, memory_s)
    return np.exp(-share * metered[:, None] * np.array([1.0, 1.0, 0.9]))


def worst(found: np.ndarray, true: np.ndarray) -> float:
    wrong = np.log(found / true)
    return float(np.abs(wrong - wrong.mean(axis=0)).max())


@pytest.mark.parametrize("memory_s", [0.15, 0.4, 1.0])
def test_a_gain_that_follows_the_flash_is_found(memory_s: float) -> None:
    gains = following(0.8, memory_s)
    found = estimated(*means(gains))
    assert found.shape == (50, 3) and (found[0] == 1).all()
    assert exposure_change(gains) > 1.3
    assert worst(found, gains) < 0.08
    assert worst(estimated(means(gains)[0]), gains) < 0.12  # the face alone


def test_most_of_a_slow_change_of_balance_is_found() -> None:
    gains = np.exp(np.linspace(0, 1, 50)[:, None] * np.array([0.2, 0.0, -0.2]))
    assert worst(STEADY, gains) > 0.09
    assert worst(estimated(*means(gains)), gains) < 0.05


def test_a_wall_that_the_screen_lights_is_no_drift() -> None:
    face, wall = means(STEADY)
    assert exposure_change(wall) > 1.2  # what the wall alone would say
    assert exposure_change(estimated(face, wall)) < 1.02


def test_a_black_frame_says_nothing() -> None:
    gains = following(0.8, 0.4)
    face, wall = means(gains)
    face[20] = 0.0
    assert worst(estimated(face, wall), gains) < 0.08


def test_with_too_few_frames_no_drift_is_claimed() -> None:
    face, wall = (region[:10] for region in means(following(0.8, 0.4)))
    assert (estimated(face, wall, stamps=STAMPS[:10]) == 1).all()


@pytest.mark.parametrize("region", [np.ones((49, 3)), np.full((50, 3), np.nan), -np.ones((50, 3))])
def test_senseless_means_are_refused(region: np.ndarray) -> None:
    with pytest.raises(MatchingError, match=r"expected \(50, 3\) linear values"):
        estimated(region)


def test_the_change_of_exposure_is_that_of_the_channels_geometric_mean() -> None:
    assert exposure_change(np.array([[1, 1, 1], [0.5, 0.6, 0.7]])) == pytest.approx(1 / np.cbrt(0.5 * 0.6 * 0.7))
    assert exposure_change(np.array([[2.0, 0.5, 1.0], [1.0, 1.0, 1.0]])) == pytest.approx(1.0)
