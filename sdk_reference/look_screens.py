"""`python -m sdk_reference.look_screens OUT.png --language de`: a sheet of all screens of a session in several shapes.

For those who change a text, a colour or the layout: look before a customer does. The pictures are drawn by the same
code as the window's; the preview is a drawn face, whose mole shows that the window mirrors.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt

from sdk_reference.atomic_files import write_atomically
from sdk_reference.catalogue import Catalogue
from sdk_reference.display import FlashScreen, GuideScreen, ResultScreen, Screen
from sdk_reference.images import encode_frame
from sdk_reference.screen_drawing import draw_screen, without_greeting

if TYPE_CHECKING:
    import pygame

SHAPES: Final = ((540, 1170), (1280, 800), (700, 700), (320, 240), (1920, 540))
TILE_HEIGHT: Final = 360
"""Larger screens are reduced to this height; smaller ones keep their size."""

GAP: Final = 12
SHEET: Final = (70, 74, 82)
MAX_ROW: Final = 2700
"""Pixels after which a shape's screens go on in a new row."""


def all_screens() -> list[Screen]:
    """One of each kind that a session can show, and those with the longest words."""
    face = drawn_face()
    return [
        GuideScreen("starting", progress=0.4),
        GuideScreen("warning_flash"),
        GuideScreen("place_face", face),
        GuideScreen("move_closer", face, tone="bad"),
        GuideScreen("hold_still", face, tone="good", progress=0.65),
        GuideScreen("flash_too_weak", face, tone="bad"),
        FlashScreen((255, 255, 255), face),
        FlashScreen((255, 0, 0), face),
        FlashScreen((0, 0, 0), face),
        GuideScreen("deciding", progress=0.9),
        ResultScreen("live", "verified"),
        ResultScreen("spoof", "not_verified", pause_s=12.0),
        ResultScreen("retry", "step_missed"),
        ResultScreen("retry", "face_left", pause_s=125.0),
        ResultScreen("retry", "flash_too_weak", last=True),
        ResultScreen("retry", "attempts_used_up", last=True),
        ResultScreen("retry", "camera_lost"),
    ]


def drawn_face(width: int = 640, height: int = 480) -> npt.NDArray[np.uint8]:
    """(height,width,3) uint8 RGB: a plain face before a wall, with a mole on the picture's left cheek."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.linspace((150, 160, 170), (80, 88, 100), width)[None].astype(np.uint8)
    x, y, unit = width // 2, height // 2, height / 100.0

    def spot(dx: float, dy: float, across: float, down: float, colour: tuple[int, int, int]) -> None:
        centre, axes = (round(x + dx * unit), round(y + dy * unit)), (round(across * unit), round(down * unit))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    spot(0, 58, 44, 26, (58, 72, 104))
    spot(0, -6, 28, 38, (64, 48, 40))
    spot(0, 2, 25, 34, (214, 168, 140))
    for side in (-1, 1):
        spot(10 * side, -4, 4.6, 2.6, (250, 250, 250))
        spot(10 * side, -4, 2.2, 2.4, (60, 44, 36))
    spot(0, 7, 3, 6, (196, 148, 120))
    spot(0, 20, 8, 2.4, (168, 92, 88))
    spot(-14, 12, 1.6, 1.6, (84, 52, 44))
    return picture


def render(screen: Screen, size: tuple[int, int], catalogue: Catalogue) -> npt.NDArray[np.uint8]:
    """Draw one screen of `size` (width, height); returns (height,width,3) uint8 RGB."""
    with without_greeting():
        import pygame
    surface = pygame.Surface(size)
    draw_screen(surface, screen, catalogue)
    return pixels(surface)


def pixels(surface: pygame.Surface) -> npt.NDArray[np.uint8]:
    """Return what is on a surface as (H,W,3) uint8 RGB."""
    import pygame

    width, height = surface.get_size()
    data = pygame.image.tobytes(surface, "RGB")
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def contact_sheet(catalogue: Catalogue, shapes: tuple[tuple[int, int], ...] = SHAPES) -> npt.NDArray[np.uint8]:
    """Every screen in every shape, (H,W,3) uint8 RGB, row by row."""
    rows = [row for shape in shapes for row in _rows(shape, catalogue)]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_padded(row, width) for row in rows])


def _rows(shape: tuple[int, int], catalogue: Catalogue) -> Iterator[npt.NDArray[np.uint8]]:
    tiles = [_tile(render(screen, shape, catalogue)) for screen in all_screens()]
    per_row = max(1, MAX_ROW // tiles[0].shape[1])
    for first in range(0, len(tiles), per_row):
        yield np.concatenate(tiles[first : first + per_row], axis=1)


def _tile(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = min(1.0, TILE_HEIGHT / height)
    if scale < 1:
        size = (round(width * scale), TILE_HEIGHT)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.asarray(cv2.copyMakeBorder(picture, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=SHEET), np.uint8)


def _padded(row: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    missing = width - row.shape[1]
    return np.asarray(cv2.copyMakeBorder(row, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=SHEET), np.uint8)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description="Every screen of a session on one picture.")
    parser.add_argument("out", type=Path, help="a PNG file to write")
    parser.add_argument("--language", help="of the words; by default the locale's")
    parser.add_argument("--shape", help="only this shape, e.g. 1280x800")
    given = parser.parse_args()
    shapes: tuple[tuple[int, int], ...] = SHAPES
    if given.shape:
        width, height = (int(side) for side in given.shape.split("x"))
        shapes = ((width, height),)
    write_atomically(given.out, encode_frame(contact_sheet(Catalogue.load(given.language), shapes)))
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
