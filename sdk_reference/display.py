"""What a live session asks of a screen, whichever window shows it: a picture to show, and when it was really seen.

A screen is described by what it means, not by how it looks: a flash colour, guidance with a preview, a result. The
window decides on layout and language; a test needs no window at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from flash_sequencer.palette import Srgb

Tone = Literal["neutral", "good", "bad"]


@dataclass(frozen=True, eq=False)
class GuideScreen:
    """Guidance before and after the flash: an oval to fill, a preview of the camera in it, one sentence."""

    message: str
    """Code of a message of the catalogue (`sdk_reference.catalogue`), e.g. `move_closer`."""
    preview: npt.NDArray[np.uint8] | None = None
    """(H,W,3) uint8 RGB, upright, not mirrored; the window mirrors it as people expect of a mirror. None: black."""
    tone: Tone = "neutral"
    """Of the oval: `good` when the face is as it should be."""
    progress: float | None = None
    """0..1 of a state that takes its time, or None."""


@dataclass(frozen=True, eq=False)
class FlashScreen:
    """One colour over the whole screen, with the outline of the oval; nothing else that could light the face."""

    srgb: Srgb
    preview: npt.NDArray[np.uint8] | None = None
    """(H,W,3) uint8 RGB, as in GuideScreen; drawn in shades of the colour (`sdk_reference.flash_preview`), or not."""


@dataclass(frozen=True, eq=False)
class ResultScreen:
    """The verdict, for the person who was filmed."""

    verdict: Literal["live", "spoof", "retry"]
    message: str
    """Code of a message of the catalogue: what happened and what to do."""
    pause_s: float = 0.0
    """How long to wait before the next attempt; 0 = at once."""
    last: bool = False
    """Whether no attempt is left."""


Screen = GuideScreen | FlashScreen | ResultScreen


@dataclass(frozen=True)
class DisplayState:
    """What became of the window since it was last asked."""

    closed: bool = False
    """The person closed it or pressed Escape."""
    full: bool = True
    """Whether it still covers its screen and has the focus; a flash in a corner lights nobody."""


@dataclass(frozen=True)
class DisplayInfo:
    """What is known of an open screen."""

    width: int
    """Pixels."""
    height: int
    refresh_hz: float
    """Pictures a second; 0 where the platform does not tell."""
    screens: int
    """How many screens there are; the flash fills one."""
    brightness: str
    """What became of the brightness, in words: `raised from 40 to 100 %` or why it could not be."""


class Display(Protocol):
    """A window that fills a screen."""

    def open(self) -> DisplayInfo:
        """Open, raise the brightness where the platform allows. Raises DisplayLost."""

    def show(self, screen: Screen) -> int:
        """Draw and present; returns when it was on the screen, ns of the session's clock. Raises DisplayLost."""

    def state(self) -> DisplayState:
        """Take the window's events; cheap, called often."""

    def close(self) -> None:
        """Close, restore the brightness; harmless when called again or before `open`."""
