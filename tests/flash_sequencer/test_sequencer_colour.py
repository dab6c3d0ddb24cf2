"""Colour arithmetic against values from the standards and against OpenCV-free hand calculation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sequencer.colour import linear_to_srgb, relative_luminance, srgb8_to_linear, srgb_to_linear


@pytest.mark.parametrize(
    ("encoded", "linear"),
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (0.04, 0.04 / 12.92),
        (128 / 255, 0.215861),  # widely published value of mid grey
        (119 / 255, 0.184475),  # #777777, the grey of WCAG's contrast examples
    ],
)
def test_decoding_gives_published_values(encoded: float, linear: float) -> None:
    assert srgb_to_linear(encoded) == pytest.approx(linear, abs=1e-6)


@given(st.floats(0, 1))
def test_encoding_undoes_decoding(encoded: float) -> None:
    # The standard's two rounded break points leave a gap of 1e-7 between the branches.
    assert linear_to_srgb(srgb_to_linear(encoded)) == pytest.approx(encoded, abs=2e-6)


def test_the_table_holds_all_256_levels() -> None:
    levels = np.arange(256, dtype=np.uint8)
    table = srgb8_to_linear(levels)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, srgb_to_linear(levels / 255), atol=1e-7)
    assert (np.diff(table) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16])
def test_the_table_refuses_other_types(dtype: type[np.generic]) -> None:
    with pytest.raises(TypeError, match="expected uint8"):
        srgb8_to_linear(np.zeros(3, dtype=dtype))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rgb", "luminance"),
    [((1, 1, 1), 1.0), ((1, 0, 0), 0.2126), ((0, 1, 0), 0.7152), ((0, 0, 1), 0.0722), ((0.5, 0.5, 0), 0.4639)],
)
def test_luminance_weighs_as_rec_709_says(rgb: tuple[float, ...], luminance: float) -> None:
    assert relative_luminance(rgb) == pytest.approx(luminance)


def test_luminance_keeps_leading_axes_and_float32() -> None:
    assert relative_luminance(np.ones((4, 5, 3), dtype=np.float32)).shape == (4, 5)
    assert relative_luminance(np.ones((2, 3), dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("shape", [(), (4,), (3, 4)])
def test_luminance_refuses_arrays_that_hold_no_rgb(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        relative_luminance(np.zeros(shape))
