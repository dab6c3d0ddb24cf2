"""Where things stand on a screen of any shape: an oval for the face and a box for the words. Numbers only, no window.

Not in the paper. The oval has the shape of the alignment template's ellipse and the same place on every screen of one
session, so that nobody moves when the flash begins. Words stand below it, beside it where a screen is very wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdk_reference.align import TEMPLATE

OVAL_ASPECT: Final = TEMPLATE.ellipse_semi_axes[0] / TEMPLATE.ellipse_semi_axes[1]  # width over height
WIDE: Final = 2.0
"""Screens at least this many times as wide as high have their words beside the oval."""

WORDS_SHARE: Final = 0.345
"""Part of the height that belongs to the words below the oval."""

MARGIN_SHARE: Final = 0.045  # of the shorter side
TITLE_SHARE: Final = 0.072  # of the shorter side
HINT_SHARE: Final = 0.66  # of the title's
RING_SHARE: Final = 0.022  # of the shorter side: room around the oval for the arc of progress
LINE_LETTERS: Final = 20  # widest box for words, in sizes of the title: longer lines are hard to read
LIFT_SHARE: Final = 0.2  # of the oval's height, on result screens
FOOTER_LETTERS: Final = 1.9  # height of the footer in sizes of the hint
FOOTER_GAP: Final = 0.44  # of the hint's letters, above the footer
SMALLEST_SIDE: Final = 16


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; the point (0,0) is the screen's top left corner."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def centre(self) -> tuple[int, int]:
        return self.left + self.width // 2, self.top + self.height // 2

    def grown(self, by: int) -> Box:
        """The same box with `by` pixels more on every side."""
        return Box(self.left - by, self.top - by, self.width + 2 * by, self.height + 2 * by)


@dataclass(frozen=True)
class ScreenLayout:
    """The places of one size of screen."""

    oval: Box
    """Bounds of the ellipse for the face."""
    words: Box
    """For title and hint."""
    ring: int
    """Pixels around the oval that are kept free for its line and the arc of progress."""
    outline: int
    """Width of the line that stays while the screen flashes."""
    title: int
    """Largest size of the title's letters; they shrink where a text would not fit."""
    hint: int
    """The same for the hint."""
    beside: bool
    """Whether the words stand beside the oval, centred on it, and not below."""

    def result_places(self) -> tuple[Box, Box, Box]:
        """Boxes of a result: its sign, title and hint, and a footer for what comes next.

        A sign needs less room than a face; the words move up by what is left.
        """
        lift = 0 if self.beside else round(self.oval.height * LIFT_SHARE)
        footer, gap = round(self.hint * FOOTER_LETTERS), round(self.hint * FOOTER_GAP)
        oval, box = self.oval, self.words
        sign = Box(oval.left, oval.top, oval.width, oval.height - lift)
        words = Box(box.left, box.top - lift, box.width, max(1, box.height + lift - footer - gap))
        return sign, words, Box(box.left, words.bottom + gap, box.width, footer)


def layout_for(width: int, height: int) -> ScreenLayout:
    """Lay out a screen of `width` by `height` pixels; smaller ones than 16×16 are treated as that."""
    width, height = max(width, SMALLEST_SIDE), max(height, SMALLEST_SIDE)
    unit = min(width, height)
    margin, ring = max(2, round(unit * MARGIN_SHARE)), max(2, round(unit * RING_SHARE))
    title = max(9, round(unit * TITLE_SHARE))
    beside = width >= WIDE * height
    oval, words = (_beside if beside else _below)(width, height, margin, ring, title)
    return ScreenLayout(oval, words, ring, max(1, round(unit / 400)), title, max(8, round(title * HINT_SHARE)), beside)


def _below(width: int, height: int, margin: int, ring: int, title: int) -> tuple[Box, Box]:
    share = round(height * WORDS_SHARE)
    oval = _oval_within(Box(0, 0, width, height - share).grown(-margin - ring))
    text_width = min(width - 2 * margin, title * LINE_LETTERS)
    # Close to the oval, so that one glance takes in both; what is left below stays empty.
    top = min(oval.bottom + ring + margin, height - share)
    return oval, Box((width - text_width) // 2, top, text_width, share - margin)


def _beside(width: int, height: int, margin: int, ring: int, title: int) -> tuple[Box, Box]:
    oval = _oval_within(Box(0, 0, width, height).grown(-margin - ring))
    gap = 2 * margin + ring
    text_width = min(width - oval.width - 2 * ring - gap - 2 * margin, title * LINE_LETTERS * 2 // 3)
    left = (width - oval.width - gap - text_width) // 2
    words = Box(left + oval.width + gap, margin, text_width, height - 2 * margin)
    return Box(left, oval.top, oval.width, oval.height), words


def _oval_within(room: Box) -> Box:
    """The largest oval in the middle of `room`."""
    height = max(4, min(room.height, round(room.width / OVAL_ASPECT)))
    width = max(3, round(height * OVAL_ASPECT))
    x, y = room.centre
    return Box(x - width // 2, y - height // 2, width, height)
