"""D against the matrix printed in section 5.1 of the paper, and its properties for every number of frames."""

from __future__ import annotations

import numpy as np
import pytest

from sdk_reference.differential import differential, differential_matrix, differential_rows

PRINTED_FOR_FIVE = [
    [1, -1, 0, 0, 0],
    [1, 0, -1, 0, 0],
    [1, 0, 0, -1, 0],
    [0, 1, 0, 0, -1],
    [0, 0, 1, 0, -1],
    [0, 0, 0, 1, -1],
]


def test_five_frames_give_the_matrix_of_the_paper() -> None:
    matrix = differential_matrix(5)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, PRINTED_FOR_FIVE)


@pytest.mark.parametrize("n0", range(3, 9))
def test_rows_hold_one_plus_one_and_one_minus_one(n0: int) -> None:
    matrix = differential_matrix(n0)
    assert matrix.shape == (2 * (n0 - 2), n0)
    np.testing.assert_array_equal(matrix.sum(axis=1), 0)
    np.testing.assert_array_equal((matrix == 1).sum(axis=1), 1)
    np.testing.assert_array_equal((matrix == -1).sum(axis=1), 1)
    assert len({tuple(row) for row in matrix.tolist()}) == len(matrix)


@pytest.mark.parametrize("n0", range(3, 9))
def test_middle_frames_are_never_subtracted_from_each_other(n0: int) -> None:
    for taken, subtracted in differential_rows(n0):
        assert (taken == 0) != (subtracted == n0 - 1)  # exactly one of the two is an extreme
        assert taken < subtracted


def test_three_frames_give_brightest_minus_middle_and_middle_minus_darkest() -> None:
    np.testing.assert_array_equal(differential_matrix(3), [[1, -1, 0], [0, 1, -1]])


@pytest.mark.parametrize("n0", [2, 1, 0, -1])
def test_fewer_than_three_frames_are_refused(n0: int) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        differential_matrix(n0)


@pytest.mark.parametrize("n0", range(3, 9))
def test_differences_are_the_product_with_the_matrix(n0: int) -> None:
    frames = np.random.default_rng(1).random((n0, 3, 4, 6), dtype=np.float32)
    product = np.einsum("nk,kchw->nchw", differential_matrix(n0).astype(np.float64), frames.astype(np.float64))
    result = differential(frames)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, product, atol=1e-7)


def test_ambient_light_cancels() -> None:
    rng = np.random.default_rng(2)
    flash = rng.random((5, 3, 8, 8), dtype=np.float32) / 2
    ambient = rng.random((3, 8, 8), dtype=np.float32) / 2
    np.testing.assert_allclose(differential(flash + ambient), differential(flash), atol=1e-7)
