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
    import pygame.freetype

Colour = tuple[int, int, int]

SMALLEST: Final = 7
"""Size below which letters are not legible; what does not fit then is cut off."""

SHRINK: Final = 0.94
MEASURED_AT: Final = 256
LAST_LETTER: Final = 0x24F  # of Latin scripts; what comes after counts as a whole em
SLACK: Final = 2  # pixels that hinting may add to a line
FINER: Final = 3
"""Letters are drawn at this multiple and reduced: at their own size, rounding to pixels tears words apart."""

PARAGRAPH_GAP: Final = 0.3  # of a line
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


@dataclass(frozen=True)
class _Letters:
    """The font that comes with pygame at one size, measured without drawing: letters only stand side by side.

    By `pygame.freetype`, without the font's kerning: that is broken ("st ill"), and `pygame.font` always applies it.
    """

    size: int

    @property
    def line_height(self) -> int:
        return ceil(self.size * _line_height())

    def width(self, text: str) -> int:
        """Pixels that one line of `text` is wide, at most."""
        advances = _advances()
        return ceil(self.size * sum(advances.get(letter, 1.0) for letter in text)) + SLACK

    def draw(self, text: str, colour: Colour) -> pygame.Surface:
        """One line on a transparent surface."""
        import pygame

        font = _font(self.size * FINER)
        font.pad = True  # all lines as high as the font, whatever letters they have
        fine, _ = font.render(text, colour)
        return pygame.transform.smoothscale(fine, (fine.get_width() // FINER, fine.get_height() // FINER))


@lru_cache(maxsize=1)
def _advances() -> dict[str, float]:
    """How far each letter moves the next one on, of the font's size."""
    letters = "".join(map(chr, range(ord(" "), LAST_LETTER + 1))) + ELLIPSIS
    metrics = _font(MEASURED_AT).get_metrics(letters)
    return {
        letter: metric[4] / MEASURED_AT for letter, metric in zip(letters, metrics, strict=True) if metric is not None
    }


@lru_cache(maxsize=1)
def _line_height() -> float:
    """Height of a line, of the font's size."""
    return _font(MEASURED_AT).get_sized_height(MEASURED_AT) / MEASURED_AT


def _font(size: int) -> pygame.freetype.Font:
    """Not kept, since another's `pygame.quit` would break a kept one."""
    import pygame.freetype

    if not pygame.freetype.get_init():
        pygame.freetype.init()
    return pygame.freetype.Font(None, size)
