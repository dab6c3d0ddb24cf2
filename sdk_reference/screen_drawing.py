"""Draws a screen of a live session onto a pygame surface of any size; needs no window, so that pictures can be tested.

Dark and calm around the oval, since everything bright lights the face; the flash itself is one colour over everything,
with a thin grey line where the oval was and the preview in shades of the colour. Colours are those of a text on a dark
page: `contrast` says how well each is seen (WCAG 2.2, 1.4.3 and 1.4.11).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt

from flash_sequencer.colour import relative_luminance, srgb_to_linear
from sdk_reference.catalogue import Catalogue
from sdk_reference.display import FlashScreen, GuideScreen, ResultScreen, Screen, Tone
from sdk_reference.flash_preview import under_flash
from sdk_reference.screen_layout import Box, ScreenLayout, layout_for
from sdk_reference.screen_shapes import Rgba, oval_line, oval_mask, painted, sign
from sdk_reference.screen_text import Colour, Paragraph, render_text

if TYPE_CHECKING:
    import pygame

BACKGROUND: Final[Colour] = (17, 21, 28)
TITLE: Final[Colour] = (243, 245, 248)
HINT: Final[Colour] = (178, 188, 201)
TRACK: Final[Colour] = (52, 60, 72)
"""Of the part of the progress that is still to come: decoration, beside an arc that is seen well."""

TONES: Final[Mapping[Tone, Colour]] = {"neutral": (148, 163, 184), "good": (74, 222, 128), "bad": (251, 176, 84)}
OUTLINE: Final[Colour] = (128, 128, 128)
"""Of the oval while the screen flashes: grey whatever the colour, so that it adds the same to every step."""

GOOD: Final[Colour] = TONES["good"]
AMBER: Final[Colour] = TONES["bad"]
RED: Final[Colour] = (248, 129, 124)
BADGES: Final[Mapping[Tone, str]] = {"good": "check", "bad": "warning"}
SIGNS_OF_MESSAGES: Final = {"warning_flash": "warning", "starting": "dots", "matching": "dots", "deciding": "dots"}
"""What stands in an oval without a preview."""

BADGE_SHARE: Final = 0.11  # of the oval's height
PLATE_PADDING: Final = 0.32  # around the footer, of its letters
PROGRESS_STEPS: Final = 100
LONG_PAUSE_S: Final = 100
"""From here on a pause is told in minutes and seconds."""


@contextmanager
def without_greeting() -> Iterator[None]:
    """Import pygame within this: it greets on the standard output otherwise, which `--json` needs for itself."""
    name = "PYGAME_HIDE_SUPPORT_PROMPT"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def draw_screen(surface: pygame.Surface, screen: Screen, catalogue: Catalogue) -> None:
    """Draw `screen` over the whole of `surface`, with the words of `catalogue`."""
    with without_greeting():
        import pygame  # noqa: F401  (so that everything below imports it silently)
    layout = layout_for(*surface.get_size())
    if isinstance(screen, FlashScreen):
        _flash(surface, screen, layout)
        return
    surface.fill(BACKGROUND)
    if isinstance(screen, GuideScreen):
        _guide(surface, screen, layout, catalogue)
    else:
        _result(surface, screen, layout, catalogue)


def contrast(colour: Colour, behind: Colour = BACKGROUND) -> float:
    """WCAG's contrast ratio of two sRGB colours 0..255, 1 … 21."""
    pair = srgb_to_linear(np.array([colour, behind]) / 255.0)
    darker, lighter = sorted(float(value) for value in relative_luminance(pair))
    return (lighter + 0.05) / (darker + 0.05)


def _flash(surface: pygame.Surface, screen: FlashScreen, layout: ScreenLayout) -> None:
    surface.fill(screen.srgb)
    if screen.preview is not None and screen.preview.size:
        picture = preview_in_oval(screen.preview, layout.oval)
        picture[..., :3] = under_flash(picture[..., :3], screen.srgb)
        _blit(surface, picture, layout.oval)
    _ring(surface, layout, OUTLINE, layout.outline)


def _guide(surface: pygame.Surface, screen: GuideScreen, layout: ScreenLayout, catalogue: Catalogue) -> None:
    if screen.preview is not None and screen.preview.size:
        _blit(surface, preview_in_oval(screen.preview, layout.oval), layout.oval)
    elif screen.message in SIGNS_OF_MESSAGES:
        name = SIGNS_OF_MESSAGES[screen.message]
        _sign(surface, name, layout.oval, 0.5, AMBER if name == "warning" else TONES["neutral"])
    tone = TONES[screen.tone]
    _ring(surface, layout, tone, max(2, layout.ring // (3 if screen.tone == "neutral" else 2)))
    if screen.progress is not None:
        _progress(surface, layout, screen.progress, tone)
    if screen.tone in BADGES:
        _badge(surface, layout, BADGES[screen.tone], tone)
    _words(surface, layout, layout.words, catalogue, screen.message)


def _result(surface: pygame.Surface, screen: ResultScreen, layout: ScreenLayout, catalogue: Catalogue) -> None:
    if screen.verdict == "live":
        name, colour = "check", GOOD
    elif screen.verdict == "spoof":
        name, colour = "cross", RED
    else:
        name, colour = ("warning" if screen.last else "again"), AMBER
    place, words, footer = layout.result_places()
    _sign(surface, name, place, 0.8, colour)
    _words(surface, layout, words, catalogue, screen.message)
    what_next = next_attempt(screen, catalogue)
    if what_next and what_next != catalogue.title(screen.message):
        _footer(surface, layout, footer, what_next)


def next_attempt(screen: ResultScreen, catalogue: Catalogue) -> str:
    """What is said about another attempt: none left, when, or at once; nothing after a live verdict."""
    if screen.verdict == "live":
        return ""
    if screen.last:
        return catalogue.title("no_attempt_left")
    if not screen.pause_s > 0:
        return catalogue.title("try_again")
    seconds = ceil(screen.pause_s)
    told = f"{seconds} s" if seconds < LONG_PAUSE_S else f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{catalogue.title('try_again_in')} {told}"


def preview_in_oval(preview: npt.NDArray[np.uint8], oval: Box) -> Rgba:
    """Return the middle of a (H,W,3) RGB picture, mirrored, as large as the oval and cut out by it; not stretched."""
    height, width = preview.shape[:2]
    scale = max(oval.width / width, oval.height / height)
    cut_width = min(width, max(1, round(oval.width / scale)))
    cut_height = min(height, max(1, round(oval.height / scale)))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = preview[top : top + cut_height, left : left + cut_width][:, ::-1]
    quality = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.empty((oval.height, oval.width, 4), np.uint8)
    picture[..., :3] = cv2.resize(np.ascontiguousarray(cut), (oval.width, oval.height), interpolation=quality)
    picture[..., 3] = oval_mask(oval.width, oval.height)
    return picture


def _ring(surface: pygame.Surface, layout: ScreenLayout, colour: Colour, thickness: int) -> None:
    """The line of the oval."""
    box = layout.oval.grown(layout.ring)
    surface.blit(_line(box.width, box.height, layout.ring, thickness, 1.0, colour), (box.left, box.top))


def _progress(surface: pygame.Surface, layout: ScreenLayout, progress: float, colour: Colour) -> None:
    """An arc around the oval that closes clockwise."""
    box = layout.oval.grown(layout.ring)
    thickness = max(1, layout.ring // 3)
    part = round(min(1.0, max(0.0, progress)) * PROGRESS_STEPS) / PROGRESS_STEPS  # in this order NaN is 0
    for share, shade in ((1.0, TRACK), (part, colour)):
        if share > 0:
            line = _line(box.width, box.height, (thickness + 1) // 2, thickness, share, shade)
            surface.blit(line, (box.left, box.top))


@lru_cache(maxsize=12)
def _line(width: int, height: int, inset: int, thickness: int, part: float, colour: Colour) -> pygame.Surface:
    """A line of the oval, ready to be put on a screen: a flash must not wait for it to be drawn."""
    import pygame

    picture = painted(oval_line(width, height, inset, thickness, part), colour)
    line = pygame.image.frombytes(picture.tobytes(), (width, height), "RGBA")
    line.set_alpha(255, pygame.RLEACCEL)  # nearly all of it is transparent
    return line


def _badge(surface: pygame.Surface, layout: ScreenLayout, name: str, colour: Colour) -> None:
    """A small sign on the lower edge of the oval: the tone for those who do not see its colour."""
    room = 3 * layout.ring if layout.beside else layout.words.top - layout.oval.bottom
    size = max(10, min(round(layout.oval.height * BADGE_SHARE), round(room * 1.3)))  # clear of the words
    x = layout.oval.centre[0]
    box = Box(x - size // 2, layout.oval.bottom - size // 2, size, size)
    behind = box.grown(max(2, size // 4))
    _blit(surface, painted(oval_mask(behind.width, behind.height), BACKGROUND), behind)
    _blit(surface, painted(sign(name, size), colour), box)


def _sign(surface: pygame.Surface, name: str, within: Box, share: float, colour: Colour) -> None:
    size = max(8, round(min(within.width, within.height) * share))
    x, y = within.centre
    _blit(surface, painted(sign(name, size), colour), Box(x - size // 2, y - size // 2, size, size))


def _words(surface: pygame.Surface, layout: ScreenLayout, box: Box, catalogue: Catalogue, code: str) -> None:
    title = Paragraph(catalogue.title(code), layout.title, TITLE)
    hint = Paragraph(catalogue.hint(code), layout.hint, HINT)
    letters = render_text((title, hint), max(1, box.width), max(1, box.height))
    spare = (box.height - letters.get_height()) // 2 if layout.beside else 0
    surface.blit(letters, (box.left, box.top + spare))


def _footer(surface: pygame.Surface, layout: ScreenLayout, box: Box, text: str) -> None:
    """What comes next, on a plate of its own."""
    import pygame

    padding = max(2, round(layout.hint * PLATE_PADDING))
    inner = box.grown(-2 * padding)
    width, height = max(1, inner.width), max(1, box.height - 2 * padding)
    letters = render_text((Paragraph(text, layout.hint, TITLE),), width, height)
    bounds = letters.get_bounding_rect()
    top = box.top + (0 if layout.beside else box.height - letters.get_height() - 2 * padding)
    plate = pygame.Rect(inner.left + bounds.left, top, bounds.width, letters.get_height() + 2 * padding)
    pygame.draw.rect(surface, TRACK, plate.inflate(4 * padding, 0), border_radius=plate.height // 2)
    surface.blit(letters, (inner.left, top + padding))


def _blit(surface: pygame.Surface, picture: Rgba, box: Box) -> None:
    import pygame

    size = (picture.shape[1], picture.shape[0])
    surface.blit(pygame.image.frombuffer(np.ascontiguousarray(picture).data, size, "RGBA"), (box.left, box.top))
