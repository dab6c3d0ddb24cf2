"""D: which frames are subtracted from which (paper, section 5.1).

Only brightest − middle and middle − darkest, never two middle frames: those are close in intensity, so that their
difference is mostly noise. In linear light the ambient term cancels in every row. The general matrix printed in the
paper has a wrong last row; here each row holds one +1 and one −1 and sums to 0, as in the example for five frames.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MIN_N0 = 3  # brightest, one middle, darkest


def differential_rows(n0: int) -> tuple[tuple[int, int], ...]:
    """Return for each of the 2·(n0−2) rows `(rank taken, rank subtracted)`; rank 0 is the brightest screen.

    Raises ValueError when `n0` is below 3.
    """
    if n0 < MIN_N0:
        raise ValueError(
            f"found n0={n0}; expected at least {MIN_N0}: differences need a brightest, a middle, a darkest"
        )
    middle, darkest = range(1, n0 - 1), n0 - 1
    return tuple((0, rank) for rank in middle) + tuple((rank, darkest) for rank in middle)


def differential_matrix(n0: int) -> npt.NDArray[np.float32]:
    """Return D, (2·(n0−2), n0) float32 of −1, 0 and +1; columns are ranks."""
    rows = differential_rows(n0)
    matrix = np.zeros((len(rows), n0), dtype=np.float32)
    for row, (taken, subtracted) in enumerate(rows):
        matrix[row, taken], matrix[row, subtracted] = 1, -1
    return matrix


def differential(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Apply D to frames in rank order: (N0,3,H,W) float32 in 0..1 → (2·(N0−2),3,H,W) float32 in −1..1.

    Subtracts pairs instead of multiplying by a matrix that is mostly zeros; the result is the same to the bit.
    """
    rows = differential_rows(len(frames))
    result = np.empty((len(rows), *frames.shape[1:]), dtype=np.float32)
    for row, (taken, subtracted) in enumerate(rows):
        np.subtract(frames[taken], frames[subtracted], out=result[row])
    return result
