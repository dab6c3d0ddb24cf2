"""Each precision has limits for every output, and the worst capture alone decides."""

from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

from export.converted import Converted, Precision
from export.parity import NO_MATCH
from export.precision_gates import LIMITS, limit_gates, precision_gates
from sdk_reference.manifest import OUTPUT_NAMES


def outputs():
    return {
        "score": np.array([0.4], np.float32),
        "type": np.array([0.2, 0.3, 0.5], np.float32),
        "depth": np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8),
        "flash_response": np.array([[1, -1, 0], [0, 1, -1]], np.float32),
    }


def moved(name, amount, whole=True):
    """The outputs with one of them changed by `amount`: in all its values, or in its first alone."""
    values = outputs()
    places = ... if whole else (0,) * values[name].ndim
    values[name][places] += np.float32(amount)
    return values


def artifact(precision):
    return Converted("models/x.onnx", "onnx", precision, {"models/x.onnx": b""}, "any")


def missed(precision, found, references=None):
    references = references or [outputs()] * len(found)
    return {gate.name for gate in precision_gates(artifact(precision), references, found) if not gate.ok}


def test_every_precision_that_a_converter_can_name_has_limits():
    assert set(LIMITS) == set(get_args(Precision))
    assert set(OUTPUT_NAMES) < {field.name for field in fields(LIMITS["fp32"])}


@pytest.mark.parametrize("precision", LIMITS)
def test_equal_outputs_pass(precision):
    assert missed(precision, [outputs(), outputs()]) == set()


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("name", OUTPUT_NAMES)
def test_an_output_passes_just_inside_its_limit_and_is_named_just_outside(precision, name):
    limit = getattr(LIMITS[precision], name)
    kind = "mean" if name == "depth" and LIMITS[precision].depth_by_mean else "largest"
    gate = f"{name}: {kind} difference"
    assert gate not in missed(precision, [moved(name, limit * 0.9)])
    assert missed(precision, [moved(name, limit * 1.1)]) - {f"{name}: smallest signal to noise, dB"} == {gate}


def test_one_bad_capture_among_many_good_ones_is_enough():
    good = [outputs()] * 20
    assert missed("int8_static", [*good, moved("score", 0.02)]) == {"score: largest difference"}


def test_one_pixel_out_of_place_counts_in_fp16_and_hardly_in_int8():
    found = [moved("depth", 0.02, whole=False)]
    assert "depth: largest difference" in missed("fp16", found)
    assert missed("int8_static", found) == set()


def test_noise_below_the_largest_difference_is_still_held_to_the_signal_to_noise_ratio():
    quiet = {**outputs(), "depth": np.full((1, 8, 8), 1e-3, np.float32)}
    found = [{**quiet, "depth": quiet["depth"] * np.float32(1.01)}]
    assert missed("fp16", found, [quiet]) == {"depth: smallest signal to noise, dB"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", OUTPUT_NAMES)
def test_what_is_no_number_never_passes(name, value):
    gates = precision_gates(artifact("int8_static"), [outputs()], [moved(name, value)])
    assert [gate.value for gate in gates if not gate.ok] == [NO_MATCH]


def test_nothing_to_compare_is_an_error_and_not_a_pass():
    for references, found in (([], []), ([outputs()], [])):
        with pytest.raises(ValueError, match="expected one each"):
            limit_gates(LIMITS["fp32"], references, found)
