"""Quality measured on scenes of known light, noise and motion; limits that bite on the right side."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from synthetic_faces import SKIN, ScriptedDetector, face, lit_capture, shifted

from flash_sequencer.colour import relative_luminance
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Capture
from sdk_reference.preprocess import PreprocessSettings, preprocess
from sdk_reference.quality import Quality, QualityLimits, background_region, failures, measure_quality

GOOD = Quality(
    flash_snr=20.0, flash_to_ambient=0.5, motion_px=2.0, clipped_fraction=0.0, face_width_px=150.0, exposure_drift=0.0
)
LIMITS = QualityLimits()
EXACT = PreprocessSettings(registration="none")
"""Landmarks here are where they should be; a correction would resample the frames, which smooths their noise."""


def measured(capture: Capture, detector: ScriptedDetector | None = None) -> Quality:
    return measure_quality(preprocess(capture, detector or ScriptedDetector(), EXACT), capture)


@pytest.mark.parametrize(("flash", "ambient"), [(0.5, 0.4), (0.1, 0.9), (0.8, 0.1)])
def test_flash_to_ambient_is_the_ratio_of_the_lights(flash: float, ambient: float) -> None:
    assert measured(lit_capture(flash, ambient)).flash_to_ambient == pytest.approx(flash / ambient, rel=0.07)  # 8 bits


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.04])
def test_snr_is_signal_over_noise(noise: float) -> None:
    """Luminance of white noise: σ·√Σw²; two frames: √2 of it; 2×2 means: half of it."""
    quality = measured(lit_capture(0.5, 0.8, noise=noise))
    signal = 0.5 * float(relative_luminance(SKIN))
    luminance_noise = noise * np.sqrt(0.2126**2 + 0.7152**2 + 0.0722**2)
    assert quality.flash_snr == pytest.approx(signal / (luminance_noise * np.sqrt(2) / 2), rel=0.15)


def test_without_screen_light_there_is_no_signal() -> None:
    quality = measured(lit_capture(flash=0.0, noise=0.01))
    assert abs(quality.flash_snr) < 0.5
    assert abs(quality.flash_to_ambient) < 0.01
    assert [failure.code for failure in failures(quality, LIMITS)] == ["flash_too_weak"]


def test_a_dark_room_gives_finite_values() -> None:
    quality = measured(lit_capture(flash=0.5, ambient=0.0))
    assert all(np.isfinite(value) for value in asdict(quality).values())
    assert failures(quality, LIMITS) == []


@pytest.mark.parametrize("shift", [0.0, 5.0, 30.0])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_motion_is_in_template_pixels(shift: float, scale: float) -> None:
    capture = lit_capture()
    large = Capture(np.repeat(np.repeat(capture.frames, 3, 1), 3, 2), capture.timestamps_ns, capture.plan)
    places = [0.0, 0.0, shift * scale, 0.0, 0.0]
    detector = ScriptedDetector([[face(shifted(100 + x, 50, scale))] for x in places])
    assert measured(large, detector).motion_px == pytest.approx(shift, abs=1e-3)


def test_motion_hardly_depends_on_registration() -> None:
    """It is measured on landmarks; only the map to template pixels is the corrected one."""
    capture = lit_capture()
    detector = ScriptedDetector([[face(shifted(x, 0))] for x in (0.0, 0.0, 2.0, 0.0, 0.0)])
    quality = measure_quality(preprocess(capture, detector), capture)
    assert quality.motion_px == pytest.approx(2.0, rel=0.01)


def test_clipping_counts_pixels_of_the_face_in_the_brightest_frame() -> None:
    capture = lit_capture(flash=0.2, ambient=0.3)
    frames = capture.frames.copy()
    frames[0, :, :128, 0] = 255  # the left half, red only
    frames[1] = 255  # another rank does not count
    quality = measured(Capture(frames, capture.timestamps_ns, capture.plan))
    assert quality.clipped_fraction == pytest.approx(0.5, abs=0.01)
    assert "overexposed" in [failure.code for failure in failures(quality, LIMITS)]


def test_face_width_is_that_of_the_narrowest_face() -> None:
    detector = ScriptedDetector([[face(shifted(0, 0, scale))] for scale in (1, 0.9, 0.8, 0.9, 1)])
    assert measured(lit_capture(), detector).face_width_px == pytest.approx(
        0.8 * 2 * TEMPLATE.ellipse_semi_axes[0], abs=0.1
    )


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.2])
def test_exposure_drift_is_read_from_the_background(factor: float) -> None:
    quality = measured(lit_capture(exposures=(factor, 1, 1, 1, 1)))
    assert quality.exposure_drift == pytest.approx(factor - 1, abs=0.02)


def test_no_drift_is_claimed_without_a_background() -> None:
    assert measured(lit_capture(ambient=0.0)).exposure_drift == 0.0


def test_the_background_lies_beside_the_face_and_above_the_shoulders() -> None:
    region = background_region()
    assert region[20, 5] and region[120, 250]
    assert not region[130, 128] and not region[20, 128] and not region[200, 5]


def test_a_good_capture_misses_no_limit() -> None:
    assert failures(GOOD, LIMITS) == []
    assert failures(measured(lit_capture(noise=0.005)), LIMITS) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"flash_snr": 2.9}, "flash_too_weak"),
        ({"flash_to_ambient": 0.029}, "flash_too_weak"),
        ({"flash_to_ambient": -0.5}, "flash_too_weak"),
        ({"motion_px": 24.1}, "moved"),
        ({"clipped_fraction": 0.26}, "overexposed"),
        ({"face_width_px": 63.9}, "face_too_small"),
        ({"exposure_drift": -0.61}, "light_changed"),
    ],
)
def test_each_missed_limit_is_named(change: dict[str, float], code: str) -> None:
    (failure,) = failures(replace(GOOD, **change), LIMITS)
    assert failure.code == code


@pytest.mark.parametrize("drift", [-0.6, 0.0, 5.0])
def test_a_background_that_gets_brighter_is_lit_by_the_screen_and_misses_no_limit(drift: float) -> None:
    assert failures(replace(GOOD, exposure_drift=drift), LIMITS) == []


@pytest.mark.parametrize("name", list(asdict(GOOD)))
def test_what_is_not_a_number_misses_its_limit(name: str) -> None:
    assert len(failures(replace(GOOD, **{name: float("nan")}), LIMITS)) == 1


def test_values_at_the_limit_pass() -> None:
    at_limit = replace(
        GOOD, flash_snr=3.0, flash_to_ambient=0.03, motion_px=24.0, clipped_fraction=0.25, face_width_px=64.0
    )
    assert failures(at_limit, LIMITS) == []


def test_all_missed_limits_are_told_at_once() -> None:
    bad = replace(GOOD, flash_snr=0.0, motion_px=99.0, clipped_fraction=1.0)
    assert {failure.code for failure in failures(bad, LIMITS)} == {"flash_too_weak", "moved", "overexposed"}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_limits_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="min_flash_snr"):
        QualityLimits(min_flash_snr=value)
