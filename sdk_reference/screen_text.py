"""Words that always fit their box: wrapped, then made smaller, at the very end cut off. Needs pygame, but no window.

The letters are those that come with pygame, so that a screen looks the same on every machine and has its umlauts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pygame

Colour = tuple[int, int, int]

SMALLEST: Final = 9
"""Size below which letters are not legible; what does not fit then is cut off."""

SHRINK: Final = 0.94
FINER: Final = 3
"""Letters are drawn at this multiple and reduced: at their own size, rounding to pixels tears words apart."""

PARAGRAPH_GAP: Final = 0.35  # of a line
ELLIPSIS: Final = "…"


@dataclass(frozen=True)
class Paragraph:
    """One piece of text of a block."""

    text: str
    size: int
    """Largest size of its letters."""
    colour: Colour


@dataclass(frozen=True)
class Line:
    """One line of a set block."""

    text: str
    size: int
    colour: Colour
    top: int
    """Pixels from the top of the block."""


@dataclass(frozen=True)
class SetText:
    """Paragraphs as they are set into a box."""

    lines: tuple[Line, ...]
    width: int
    height: int
    """Of all lines together; at most those of the box."""
    complete: bool
    """Whether nothing was cut off."""


@lru_cache(maxsize=64)
def set_text(paragraphs: tuple[Paragraph, ...], width: int, height: int) -> SetText:
    """Find the largest letters with which `paragraphs` fit into a box of `width` by `height` pixels."""
    scale = 1.0
    while True:
        sizes = [max(SMALLEST, round(paragraph.size * scale)) for paragraph in paragraphs]
        found = _set_at(paragraphs, sizes, width)
        if found.width <= width and found.height <= height:
            return found
        if all(size == SMALLEST for size in sizes):
            return _cut(paragraphs, width, height)
        scale *= SHRINK


@lru_cache(maxsize=64)
def render_text(paragraphs: tuple[Paragraph, ...], width: int, height: int) -> pygame.Surface:
    """Draw the set block, its lines centred, onto a transparent surface of `width` by the block's height."""
    import pygame

    block = set_text(paragraphs, width, height)
    surface = pygame.Surface((width, max(1, block.height)), pygame.SRCALPHA)
    for line in block.lines:
        letters = _Letters(line.size).draw(line.text, line.colour)
        surface.blit(letters, ((width - letters.get_width()) // 2, line.top))
    return surface


def _set_at(paragraphs: Sequence[Paragraph], sizes: Sequence[int], width: int) -> SetText:
    lines: list[Line] = []
    top, widest = 0, 0
    for paragraph, size in zip(paragraphs, sizes, strict=True):
        font = _Letters(size)
        if lines:
            top += round(font.line_height * PARAGRAPH_GAP)
        for text in _balanced(paragraph.text, font, width):
            lines.append(Line(text, size, paragraph.colour, top))
            top += font.line_height
            widest = max(widest, font.width(text))
    return SetText(tuple(lines), widest, top, complete=True)


def _balanced(text: str, font: _Letters, width: int) -> list[str]:
    """Wrap into as few lines as there must be, of about equal length: no word stands alone on the last."""
    best = _wrapped(text, font, width)
    narrower = width
    while len(best) > 1 and narrower > width // 2:
        narrower -= max(1, width // 32)
        tried = _wrapped(text, font, narrower)
        if len(tried) > len(best) or max(font.width(line) for line in tried) > narrower:
            break
        best = tried
    return best


def _wrapped(text: str, font: _Letters, width: int) -> list[str]:
    """Break between words; a word that is too wide stays whole, so that the caller sees it does not fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(paragraphs: Sequence[Paragraph], width: int, height: int) -> SetText:
    """The smallest letters, and as many lines of them as there is room for."""
    font = _Letters(SMALLEST)
    lines: list[Line] = []
    for paragraph in paragraphs:
        for text in _wrapped(paragraph.text, font, width):
            top = len(lines) * font.line_height
            if top + font.line_height <= height:
                lines.append(Line(_shortened(text, font, width), SMALLEST, paragraph.colour, top))
    widest = max((font.width(line.text) for line in lines), default=0)
    return SetText(tuple(lines), widest, len(lines) * font.line_height, complete=False)


def _shortened(text: str, font: _Letters, width: int) -> str:
    while text and font.width(text) > width:
        text = text.rstrip(ELLIPSIS)[:-1]
        text = text + ELLIPSIS if text else ""
    return text


class _Letters:
    """The font that comes with pygame at one size. Not kept, since another's `pygame.quit` would break a kept one."""

    def __init__(self, size: int) -> None:
        import pygame

        if not pygame.font.get_init():
            pygame.font.init()
        self._font = pygame.font.Font(None, size * FINER)
        self.line_height = ceil(self._font.get_linesize() / FINER)

    def width(self, text: str) -> int:
        """Pixels that one line of `text` is wide."""
        return ceil(self._font.size(text)[0] / FINER)

    def draw(self, text: str, colour: Colour) -> pygame.Surface:
        """One line on a transparent surface."""
        import pygame

        fine = self._font.render(text, True, colour)
        return pygame.transform.smoothscale(fine, (self.width(text), ceil(fine.get_height() / FINER)))
