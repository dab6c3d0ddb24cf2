"""From a capture to the model's input: hand-worked values at every step, and the exact arithmetic redone in float64."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from synthetic_faces import SKIN, ScriptedDetector, face, lit_capture, lit_scene, photograph, shifted

from flash_sequencer.colour import srgb_to_linear
from flash_sequencer.plan import default_plan
from sdk_reference.align import TEMPLATE
from sdk_reference.capture import Capture
from sdk_reference.differential import differential_matrix
from sdk_reference.errors import FaceTooSmall, NoFace, SeveralFaces
from sdk_reference.preprocess import (
    GAIN_LIMIT,
    PreprocessSettings,
    aligned_to_input,
    preprocess,
    scaled_differences,
)

SETTINGS = PreprocessSettings()
RNG = np.random.default_rng(0)
RANDOM = RNG.integers(0, 256, (5, 3, 256, 256), dtype=np.uint8)
MIN_CALLS_PER_SECOND = 60


def reference_input(aligned: np.ndarray, size: int, transfer: str, gain: float) -> np.ndarray:
    """The definition in float64, with means of blocks and the matrix product instead of tables and pairs."""
    encoded = aligned.astype(np.float64) / 255
    light = srgb_to_linear(encoded) if transfer == "linear" else encoded
    block = 256 // size
    small = light.reshape(len(light), 3, size, block, size, block).mean(axis=(3, 5))
    return np.clip(gain * np.einsum("nk,kchw->nchw", differential_matrix(len(light)).astype(float), small), -1, 1)


@pytest.mark.parametrize("n0", [3, 5, 8])
@pytest.mark.parametrize("size", [256, 128, 64])
@pytest.mark.parametrize("transfer", ["linear", "encoded"])
def test_the_input_is_the_definition(n0: int, size: int, transfer: Any) -> None:
    aligned = RNG.integers(0, 256, (n0, 3, 256, 256), dtype=np.uint8)
    settings = PreprocessSettings(input_size=size, transfer=transfer, gain="none")
    result = aligned_to_input(aligned, settings)
    assert result.shape == (2 * (n0 - 2), 3, size, size)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reference_input(aligned, size, transfer, 1.0), atol=2e-6)


def test_sizes_that_do_not_divide_the_template_average_areas() -> None:
    """96 of 256: each output pixel covers 2⅔ pixels; the total light stays the same."""
    settings = PreprocessSettings(input_size=96, gain="none")
    result = aligned_to_input(RANDOM, settings)
    full = reference_input(RANDOM, 256, "linear", 1.0)
    assert result.shape == (6, 3, 96, 96)
    np.testing.assert_allclose(result.mean(axis=(2, 3)), full.mean(axis=(2, 3)), atol=1e-5)
    first = full[0, 0, :3, :3]
    weights = np.array([1, 1, 2 / 3])
    assert result[0, 0, 0, 0] == pytest.approx(weights @ first @ weights / (8 / 3) ** 2, abs=1e-5)


def test_the_gain_brings_the_mean_difference_on_the_face_to_its_target() -> None:
    aligned = (RANDOM // 3 + 90).astype(np.uint8)
    result, gain = scaled_differences(aligned, SETTINGS)
    on_face = np.abs(result[:, :, TEMPLATE.face_region(128)])
    assert 1 < gain < GAIN_LIMIT
    assert on_face.mean() == pytest.approx(0.25, abs=1e-3)
    np.testing.assert_allclose(result, reference_input(aligned, 128, "linear", gain), atol=2e-5)


def test_the_gain_does_not_look_outside_the_face() -> None:
    loud = np.full((5, 3, 256, 256), 100, np.uint8)
    loud[0, :, TEMPLATE.face_region()] = 140
    outside = ~TEMPLATE.face_region(grow=1.1)
    expected = scaled_differences(loud, SETTINGS)[1]
    loud[0, :, outside] = 255
    assert scaled_differences(loud, SETTINGS)[1] == pytest.approx(expected)


def test_the_gain_follows_the_light_in_reverse() -> None:
    """Half the screen light, the same ambient light: twice the gain, the same input."""
    strong = preprocess(lit_capture(flash=0.6), ScriptedDetector())
    weak = preprocess(lit_capture(flash=0.3), ScriptedDetector())
    assert weak.gain == pytest.approx(2 * strong.gain, rel=0.03)
    np.testing.assert_allclose(weak.model_input.mean(axis=(2, 3)), strong.model_input.mean(axis=(2, 3)), atol=0.01)


def test_noise_alone_stays_quiet() -> None:
    """With the screen off, the limit of the gain holds camera noise well below the level of a signal."""
    prepared = preprocess(lit_capture(flash=0.0, noise=0.004), ScriptedDetector())
    on_face = np.abs(prepared.model_input[:, :, TEMPLATE.face_region(128)])
    assert prepared.gain == GAIN_LIMIT
    assert on_face.mean() < SETTINGS.gain_target / 4


def test_identical_frames_give_zero() -> None:
    result, gain = scaled_differences(np.repeat(RANDOM[:1], 5, axis=0), SETTINGS)
    assert not result.any()
    assert gain == GAIN_LIMIT


def test_black_against_white_is_clipped() -> None:
    aligned = np.zeros((5, 3, 256, 256), np.uint8)
    aligned[0, :, 40:44] = 255  # a thin line: a small mean, so a large gain
    result = aligned_to_input(aligned, SETTINGS)
    assert result.max() == 1
    assert result.min() == 0


def test_ambient_light_cancels_in_linear_light_only() -> None:
    dark, bright = (
        np.stack([photograph(lit_scene(0.3 * colour, ambient)) for colour in default_plan().colours_linear()])
        for ambient in (0.1, 0.8)
    )
    skin = np.s_[:, :, 60, 64]
    for transfer, is_equal in (("linear", True), ("encoded", False)):
        settings = PreprocessSettings(gain="none", transfer=transfer)  # type: ignore[arg-type]
        first, second = (aligned_to_input(np.moveaxis(a, -1, 1).copy(), settings)[skin] for a in (dark, bright))
        assert np.allclose(first, second, atol=0.006) is is_equal


@pytest.mark.parametrize(
    "aligned",
    [RANDOM[:2], RANDOM[:, :2], RANDOM[:, :, :128], RANDOM.astype(np.float32), RANDOM[0]],
)
def test_other_shapes_are_refused(aligned: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        aligned_to_input(aligned, SETTINGS)


def test_the_input_is_left_as_it_was_and_the_result_repeats() -> None:
    before = RANDOM.copy()
    first, second = aligned_to_input(RANDOM, SETTINGS), aligned_to_input(RANDOM, SETTINGS)
    np.testing.assert_array_equal(RANDOM, before)
    np.testing.assert_array_equal(first, second)


def test_it_is_fast_enough_for_training() -> None:
    aligned_to_input(RANDOM, SETTINGS)  # fills the tables
    times = []
    for _ in range(20):
        start = time.perf_counter()
        aligned_to_input(RANDOM, SETTINGS)
        times.append(time.perf_counter() - start)
    assert 1 / np.median(times) > MIN_CALLS_PER_SECOND


def test_a_whole_capture_has_the_values_of_its_physics() -> None:
    """Skin of known albedo under known light: row white − red holds no red, and albedo · flash in green and blue."""
    prepared = preprocess(lit_capture(flash=0.5, ambient=0.4), ScriptedDetector())
    assert prepared.aligned_u8.shape == (5, 3, 256, 256)
    assert prepared.affines.shape == (5, 2, 3)
    assert len(prepared.faces) == 5
    inner = TEMPLATE.face_region(grow=0.9)
    measured = prepared.differential[:, :, inner].mean(axis=2)
    colours = default_plan().colours_linear()
    expected = differential_matrix(5) @ (SKIN * 0.5 * colours)
    np.testing.assert_allclose(measured, expected, atol=0.003)
    background = ~TEMPLATE.face_region(grow=1.1)
    assert np.abs(prepared.differential[:, :, background]).max() < 1e-6


def test_stages_hold_together() -> None:
    prepared = preprocess(lit_capture(), ScriptedDetector())
    np.testing.assert_allclose(prepared.aligned, prepared.aligned_u8 / 255, atol=1e-6)
    np.testing.assert_allclose(prepared.linear, srgb_to_linear(prepared.aligned_u8 / 255), atol=1e-6)
    np.testing.assert_array_equal(prepared.model_input, aligned_to_input(prepared.aligned_u8, prepared.settings))


def test_each_frame_is_aligned_by_its_own_landmarks() -> None:
    """The head moves 7 pixels per frame; after alignment every frame shows it at the same place."""
    still = lit_capture()
    frames = np.stack([np.roll(frame, 7 * rank, axis=1) for rank, frame in enumerate(still.frames)])
    moved = Capture(frames, still.timestamps_ns, still.plan)
    detector = ScriptedDetector([[face(shifted(7.0 * rank, 0))] for rank in range(5)])
    inside = np.s_[:, :, 30:230, 60:200]
    np.testing.assert_allclose(
        preprocess(moved, detector).differential[inside],
        preprocess(still, ScriptedDetector()).differential[inside],
        atol=0.01,
    )
    assert detector.calls == 5


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([[face()], []], NoFace),
        ([[face()], [face(shifted(0, 0, 0.5)), face(shifted(128, 128, 0.45))]], SeveralFaces),
        ([[face()], [face(shifted(0, 0, 0.3))]], FaceTooSmall),
    ],
)
def test_one_bad_frame_fails_the_capture(answers: list, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        preprocess(lit_capture(), ScriptedDetector(answers))


@pytest.mark.parametrize(
    "change",
    [
        {"aligned_size": 512},
        {"input_size": 0},
        {"input_size": 130},
        {"input_size": 512},
        {"input_size": 128.0},
        {"transfer": "gamma"},
        {"gain": "auto"},
        {"registration": "features"},
        {"gain_target": 0.0},
        {"gain_target": float("nan")},
        {"gain_limit": float("inf")},
        {"gain_limit": -1.0},
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PreprocessSettings(**change)


def test_settings_round_trip_through_json() -> None:
    settings = PreprocessSettings(input_size=64, transfer="encoded", gain="none")
    assert PreprocessSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("values", [{}, SETTINGS.to_dict() | {"mean": 0.5}])
def test_settings_with_missing_or_unknown_fields_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly"):
        PreprocessSettings.from_dict(values)
