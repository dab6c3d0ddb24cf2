"""The sheet of people: everybody has a place, and skin tones show."""

from __future__ import annotations

import numpy as np

from simulator.identity import Identity
from training.people_sheet import CAPTION_PX, COLUMNS, PORTRAIT_PX, portrait, sheet


def test_each_subject_has_a_cell_and_the_last_row_is_filled_up() -> None:
    image = sheet([0, 1, 2])
    assert image.shape == (PORTRAIT_PX + CAPTION_PX, COLUMNS * PORTRAIT_PX, 3) and image.dtype == np.uint8
    cells = np.split(image, COLUMNS, axis=1)
    assert all(cell.std() > 10.0 for cell in cells[:3])
    assert all((cell == 255).all() for cell in cells[3:])


def test_deeper_skin_is_darker_at_the_same_exposure() -> None:
    middles = []
    for subject in (3, 9, 18):  # tones 1, 8 and 10
        face = portrait(Identity.draw(subject), 96)
        middles.append(face[50:62, 40:56].mean())
    assert middles == sorted(middles, reverse=True)
