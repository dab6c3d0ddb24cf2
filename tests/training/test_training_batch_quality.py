"""The gates of a batch must be the phone's own, capture by capture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flash_sequencer.colour import relative_luminance, srgb8_to_linear
from sdk_reference import quality
from sdk_reference.quality import QualityLimits
from training.batch_quality import clipped_fraction, flash_strength, judgeable

CAPTURES = 6


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """(M, 5, 3, 256, 256) uint8: flashes from none to strong, under more or less noise; the last is overexposed."""
    rng = np.random.default_rng(3)
    base = rng.uniform(20, 120, (CAPTURES, 1, 3, 64, 64)).repeat(4, axis=3).repeat(4, axis=4)
    flash = np.linspace(0, 90, CAPTURES)[:, None, None, None, None] * np.linspace(1, 0, 5)[None, :, None, None, None]
    taken = (
        base
        + flash
        + rng.normal(size=(CAPTURES, 5, 3, 256, 256)) * np.array([9, 2, 9, 1, 4, 2]).reshape(-1, 1, 1, 1, 1)
    )
    taken[-1, 0] += 120
    return np.clip(np.rint(taken), 0, 255).astype(np.uint8)


def luminance(picture: np.ndarray) -> np.ndarray:
    return relative_luminance(np.moveaxis(srgb8_to_linear(picture), 0, -1)).astype(np.float32)


def test_flash_and_clipping_are_measured_as_on_a_phone(frames: np.ndarray) -> None:
    levels = torch.from_numpy(frames).float()
    snr, to_ambient = flash_strength(levels)
    for place, capture in enumerate(frames):
        expected = quality.flash_strength(luminance(capture[0]), luminance(capture[-1]))
        assert (float(snr[place]), float(to_ambient[place])) == pytest.approx(expected, rel=2e-3, abs=2e-3)
        assert float(clipped_fraction(levels)[place]) == pytest.approx(quality.clipped_fraction(capture[0]), abs=1e-6)
    assert snr[0] < 0.1 and snr.max() > 3
    assert clipped_fraction(levels)[-1] > 0.2


def test_each_limit_can_send_a_capture_away(frames: np.ndarray) -> None:
    levels = torch.from_numpy(frames).float()
    snr, to_ambient = flash_strength(levels)
    lax = QualityLimits(min_flash_snr=0.0, min_flash_to_ambient=0.0, max_clipped_fraction=1.0)
    good = [place for place in range(CAPTURES) if snr[place] > 0]
    assert judgeable(levels, lax)[good].all()
    by_snr = judgeable(levels, QualityLimits(min_flash_snr=3.0, min_flash_to_ambient=0.0, max_clipped_fraction=1.0))
    assert by_snr.tolist() == (snr >= 3.0).tolist() and 0 < by_snr.sum() < CAPTURES
    middle = float(to_ambient.median())
    by_ratio = judgeable(levels, replace(lax, min_flash_to_ambient=middle))
    assert by_ratio.tolist() == (to_ambient >= middle).tolist()
    assert sum(place in good and not by_ratio[place] for place in range(CAPTURES)) > 0, "some that nothing else refuses"
    clipped = judgeable(levels, QualityLimits(min_flash_snr=0.0, min_flash_to_ambient=0.0, max_clipped_fraction=0.1))
    assert not clipped[-1] and clipped[3]
