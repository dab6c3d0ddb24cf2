"""Captures from pairs: light adds up, exposure is equalised, faces are laid on each other; and two real pairs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_faces import SKIN, WALL, ScriptedDetector, face, photograph, shifted

from flash_sequencer.colour import srgb8_to_linear
from flash_sequencer.plan import challenge, default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Labels
from sdk_reference.errors import NoFace
from sdk_reference.landmarks import FaceMeshDetector
from sdk_reference.pair import (
    BlendedPair,
    blend_pair,
    capture_from_pair,
    exposure_ratio,
    read_pair,
    relight,
)
from sdk_reference.preprocess import Preprocessed, preprocess
from sdk_reference.quality import QualityLimits, failures, measure_quality
from sdk_reference.response import disagreements, expected_response, measured_response

REAL = Path(__file__).parents[3] / "shared" / "real_flash"
needs_real_photographs = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real photographs are not part of the repository; see their README for the source"
)
PLAN = default_plan()
AMBIENT, FLASH = 0.5, 0.3
WIDTH, HEIGHT, SCALE = 700, 900, 2.0


def portrait(
    flash: float, exposure: float = 1.0, x: float = 100.0, y: float = 200.0, wall_flash: float = 0.0
) -> np.ndarray:
    """A (900,700,3) photograph: a wall, and a face twice the template's size at (x, y) that the flash reaches."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    across = ((columns - x) / SCALE - TEMPLATE.ellipse_centre[0]) / TEMPLATE.ellipse_semi_axes[0]
    down = ((rows - y) / SCALE - TEMPLATE.ellipse_centre[1]) / TEMPLATE.ellipse_semi_axes[1]
    inside = (across**2 + down**2 <= 1)[..., None]
    return photograph(exposure * np.where(inside, SKIN * (AMBIENT + flash), WALL * (AMBIENT + wall_flash)))


def at(x: float = 100.0, y: float = 200.0) -> list:
    return [face(shifted(x, y, SCALE))]


def blended(exposure: float = 1.0, wall_flash: float = 0.0) -> BlendedPair:
    with_flash = portrait(FLASH, exposure, wall_flash=wall_flash)
    return blend_pair(portrait(0.0), with_flash, PLAN, ScriptedDetector([at()]))


def skin_of(frame: np.ndarray) -> np.ndarray:
    """Mean linear colour at the middle of a frame, where the face is."""
    return srgb8_to_linear(frame[236:276, 236:276]).mean(axis=(0, 1))


def test_each_frame_is_ambient_light_plus_the_screens_colour() -> None:
    capture = blended().capture
    assert capture.frames.shape == (5, 512, 512, 3)
    for rank, colour in enumerate(PLAN.colours_linear()):
        np.testing.assert_allclose(skin_of(capture.frames[rank]), SKIN * (AMBIENT + FLASH * colour), atol=0.004)


def test_white_gives_the_flash_photograph_and_black_the_other() -> None:
    rng = np.random.default_rng(0)
    background, flash = rng.random((2, 80, 90, 3), dtype=np.float32)  # differences of both signs
    frames = relight(background, flash, PLAN)
    np.testing.assert_array_equal(frames[0], photograph(flash))
    np.testing.assert_array_equal(frames[-1], photograph(background))
    np.testing.assert_array_equal(frames[1, ..., 0], photograph(flash)[..., 0])  # red
    np.testing.assert_array_equal(frames[1, ..., 1:], photograph(background)[..., 1:])


def test_half_a_screen_gives_half_the_difference_in_linear_light() -> None:
    """sRGB 188 is 0.5029 of full light."""
    plan = default_plan(5, "gentle")
    background, flash = np.full((64, 64, 3), 0.2, np.float32), np.full((64, 64, 3), 0.6, np.float32)
    for rank, colour in enumerate(plan.colours_linear()):
        expected = 0.2 + 0.4 * colour
        np.testing.assert_allclose(srgb8_to_linear(relight(background, flash, plan)[rank])[0, 0], expected, atol=0.004)


@pytest.mark.parametrize("exposure", [1.0, 0.9, 0.7])
def test_a_lowered_exposure_is_measured_and_taken_out(exposure: float) -> None:
    pair = blended(exposure)
    assert pair.exposure_ratio == pytest.approx(exposure, abs=0.01)
    for rank, colour in enumerate(PLAN.colours_linear()):
        expected = exposure * SKIN * (AMBIENT + FLASH * colour)
        np.testing.assert_allclose(skin_of(pair.capture.frames[rank]), expected, atol=0.006)
        np.testing.assert_allclose(
            srgb8_to_linear(pair.capture.frames[rank])[20, 20], exposure * WALL * AMBIENT, atol=0.006
        )


def test_a_background_that_the_screen_lit_does_not_pass_for_a_raised_exposure() -> None:
    assert blended(wall_flash=0.2).exposure_ratio is None


REGION = np.ones((100, 100), bool)
LIGHT = np.full((100, 100, 3), 0.4, np.float32)


@pytest.mark.parametrize(
    ("background", "flash"),
    [
        (LIGHT * 0, LIGHT),  # nothing to compare with
        (LIGHT * 0 + 1, LIGHT * 0 + 1),  # clipped
        (LIGHT, LIGHT * 0.3),  # no camera lowers its exposure that far
        (LIGHT, LIGHT * 1.2),
    ],
)
def test_a_background_that_does_not_tell_gives_no_ratio(background: np.ndarray, flash: np.ndarray) -> None:
    assert exposure_ratio(background, flash, REGION) is None


def test_clipped_and_foreign_pixels_do_not_disturb_the_ratio() -> None:
    background, flash = LIGHT.copy(), LIGHT * np.float32(0.8)
    flash[:30] = 1.0  # a lamp
    flash[40:60] = 0.7  # something that moved
    assert exposure_ratio(background, flash, REGION) == pytest.approx(0.8, abs=1e-5)
    face_only = np.zeros_like(REGION)
    assert exposure_ratio(background, flash, face_only) is None


def test_the_head_may_move_between_the_photographs() -> None:
    still, moved = portrait(0.0), portrait(FLASH, x=140, y=170)
    pair = blend_pair(still, moved, PLAN, ScriptedDetector([at(), at(140, 170)]))
    difference = srgb8_to_linear(pair.capture.frames[0]) - srgb8_to_linear(pair.capture.frames[-1])
    inner = cv2.erode((difference[..., 1] > 0.05).astype(np.uint8), np.ones((3, 3)))
    assert np.mean(inner == inner[:, ::-1]) > 0.98  # the face is in the middle of the crop, whole
    np.testing.assert_allclose(difference[inner.astype(bool)].mean(axis=0), SKIN * FLASH, atol=0.004)
    assert np.abs(difference[:40]).max() < 0.01


def test_labels_times_and_plan_are_those_of_a_real_capture() -> None:
    plan = challenge(bytes(range(16)))
    capture = capture_from_pair(portrait(0.0), portrait(FLASH), plan, ScriptedDetector([at()]))
    assert capture.labels == Labels(simulated=False)
    assert capture.plan is plan
    first, second = plan.steps[0], plan.steps[1]
    assert capture.timestamps_ns[first.rank] == first.duration_ms * 500_000
    assert capture.timestamps_ns[second.rank] == first.duration_ms * 1_000_000 + second.duration_ms * 500_000


def test_small_and_odd_photographs_are_taken() -> None:
    small = [cv2.resize(portrait(flash), (233, 301)) for flash in (0.0, FLASH)]
    detector = ScriptedDetector([[face(shifted(100 / 3, 200 / 3, SCALE / 3))]])
    assert capture_from_pair(small[0], small[1], PLAN, detector).frames.shape == (5, 512, 512, 3)


def test_a_photograph_without_a_face_is_a_user_failure() -> None:
    with pytest.raises(NoFace):
        capture_from_pair(portrait(0.0), portrait(FLASH), PLAN, ScriptedDetector([at(), []]))


def real(name: str) -> tuple[BlendedPair, Preprocessed]:
    detector = FaceMeshDetector()
    background, flash = read_pair(REAL / name / "background.jpg", REAL / name / "flash.jpg")
    pair = blend_pair(background, flash, PLAN, detector)
    return pair, preprocess(pair.capture, detector)


def relief(prepared: Preprocessed) -> float:
    """How much more screen light returns from the face than from beside it, at the same height, over the face's."""
    light = (prepared.linear[0] - prepared.linear[-1]).mean(axis=0)
    rows = slice(60, 130)  # brows to cheeks: beside them is background, or the paper of a print
    face_light = light[rows][TEMPLATE.face_region()[rows]].mean()
    beside = light[rows][~TEMPLATE.face_region(grow=1.35)[rows]].mean()
    return float((face_light - beside) / face_light)


@needs_real_photographs
def test_a_real_face_stands_out_from_its_background_and_a_print_does_not() -> None:
    (live_pair, live), (print_pair, spoof) = real("specdiff_1_live"), real("specdiff_1_spoof")
    assert live_pair.exposure_ratio is not None and print_pair.exposure_ratio is not None
    assert relief(live) > 0.8
    assert relief(spoof) < 0.5
    for pair, prepared in ((live_pair, live), (print_pair, spoof)):
        quality = measure_quality(prepared, pair.capture)
        assert failures(quality, QualityLimits()) == []
        assert not disagreements(measured_response(prepared), expected_response(PLAN)).any()
