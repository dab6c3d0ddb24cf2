"""The window of a live session: full screen on a chosen screen, by pygame (SDL), and the time at which it was shown.

Not in the paper. `show` returns the clock right after the picture was handed to the system. What the system then takes
is not known here: a compositor may add a frame or two, the panel its own delay, and without vertical synchronisation
the upper part of one refresh may still be the old picture. All that is part of the lag, which is estimated from the
captured frames; only its jitter, about one refresh, hurts. Waiting for the refresh instead would stop the camera's
polling and tells no more: a swap returns before the light does.

SDL turns SIGTERM into a wish to close, as Escape is one; Ctrl-C stays a KeyboardInterrupt. When an X server dies, its
library ends the process: no verdict then, and the watchdog gives the brightness back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from sdk_reference.brightness import BrightnessBackend, MonitorBrightness, RaisedBrightness
from sdk_reference.catalogue import Catalogue
from sdk_reference.display import DisplayInfo, DisplayState, Screen
from sdk_reference.errors import DisplayLost, InvalidInput
from sdk_reference.screen_drawing import draw_screen, without_greeting

if TYPE_CHECKING:
    import pygame

HIDDEN_DRIVERS: Final = ("dummy", "offscreen")
"""SDL falls back to these without a display and then flashes into the void."""

TITLE: Final = "Flashproof"
FOCUS_WAIT_MS: Final = 2000
"""How long the system may take to give a new window the focus."""

FULL_SHARE: Final = 0.95
"""Part of its screen that the window must cover: a panel's notch, which some systems keep free, lights nobody."""

UNASKED: Final = "left as it is"
"""What is said of the brightness when nobody asked for more."""


class PygameWindow:
    """A `sdk_reference.display.Display` on a screen of this machine; one at a time in a process, as SDL has it.

    `screen` counts from 0. `size` (width, height) opens a plain window instead of filling the screen: for development
    and tests, since it lights no face. `brightness` is the screen's own by default, None leaves it as it is; a plain or
    hidden window leaves it too unless a backend is given. `allow_hidden` accepts a driver of SDL that shows nothing.
    Raises InvalidInput for a language, screen or size that cannot be.
    """

    def __init__(
        self,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        screen: int = 0,
        size: tuple[int, int] | None = None,
        language: str | None = None,
        brightness: BrightnessBackend | Literal["screen"] | None = "screen",
        allow_hidden: bool = False,
    ) -> None:
        check_choice(screen, size)
        if brightness == "screen":
            brightness = None if size or allow_hidden else MonitorBrightness(screen)
        self._clock_ns = clock_ns
        self._screen = screen
        self._size = size
        self.catalogue = Catalogue.load(language)
        """The words it shows."""
        self._allow_hidden = allow_hidden
        self._brightness = RaisedBrightness(brightness) if brightness else None
        self._surface: pygame.Surface | None = None
        self._origin = (0, 0)
        self._closed = False
        self._started = False

    @property
    def raises_brightness(self) -> bool:
        """Whether it will try to."""
        return self._brightness is not None

    def open(self) -> DisplayInfo:
        """Open the window, then raise the brightness. Raises DisplayLost with what SDL said and what to do."""
        if self._started:
            lost("a window that is open already", expected="one `open`", remedy="close it first")
        with without_greeting():
            import pygame
        self._started = True
        try:
            return self._open()
        except pygame.error as error:
            self.close()
            lost(f"no window ({error})", cause=error)
        except BaseException:
            self.close()
            raise

    def show(self, screen: Screen) -> int:
        """Draw `screen`, hand it to the system and return the clock right after; raises DisplayLost."""
        import pygame

        surface = self._opened()
        try:
            draw_screen(surface, screen, self.catalogue)
            pygame.display.flip()
        except pygame.error as error:
            lost(f"a window that cannot be drawn ({error})", cause=error)
        return self._clock_ns()

    def state(self) -> DisplayState:
        """Take the window's events: whether it was ever closed, and whether it was in full view since the last call."""
        import pygame

        self._opened()
        try:
            events = pygame.event.get()
            self._closed = self._closed or any(map(closes, events))
            undisturbed = not any(self._disturbs(event) for event in events)
            return DisplayState(closed=self._closed, full=undisturbed and self._in_view())
        except pygame.error as error:
            lost(f"a window that does not answer ({error})", cause=error)

    def close(self) -> None:
        """Give the brightness back, close the window; harmless when called again or before `open`."""
        try:
            if self._brightness is not None:
                self._brightness.close()
        finally:
            if self._started:
                import pygame

                pygame.display.quit()
            self._surface, self._started = None, False

    def __enter__(self) -> PygameWindow:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> DisplayInfo:
        import pygame

        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in HIDDEN_DRIVERS and not self._allow_hidden:
            lost(f"no screen: SDL offers only its driver `{driver}`, which shows nothing")
        screens = pygame.display.get_num_displays()
        if self._screen >= screens:
            remedy = "choose one of these, or connect the other and start again"
            lost(f"no screen {self._screen}", expected=f"0 to {screens - 1}", remedy=remedy)
        pygame.display.set_caption(TITLE)
        pygame.display.set_allow_screensaver(False)
        width, height = self._size or pygame.display.get_desktop_sizes()[self._screen]
        flags = 0 if self._size else pygame.FULLSCREEN
        self._surface = pygame.display.set_mode((width, height), flags, display=self._screen)
        self._closed = False
        pygame.mouse.set_visible(False)
        self._await_focus()
        # SDL knows where screens lie and pygame does not tell; a single one lies at the origin.
        self._origin = (0, 0) if screens == 1 else pygame.display.get_window_position()
        brightness = self._brightness.open() if self._brightness else UNASKED
        refresh_hz = float(pygame.display.get_desktop_refresh_rates()[self._screen])
        return DisplayInfo(*self._surface.get_size(), refresh_hz, screens, brightness)

    def _await_focus(self) -> None:
        """Take the events of opening; a window that gets no focus is not refused here, `state` will tell."""
        import pygame

        end_ms = pygame.time.get_ticks() + FOCUS_WAIT_MS
        while not pygame.key.get_focused() and pygame.time.get_ticks() < end_ms:
            event = pygame.event.wait(end_ms - pygame.time.get_ticks())
            self._closed = self._closed or closes(event)
        self._closed = self._closed or any(map(closes, pygame.event.get()))

    def _in_view(self) -> bool:
        """Whether the window is shown, has the focus and lies where it shall."""
        import pygame

        if not (pygame.display.get_active() and pygame.key.get_focused()):
            return False
        return self._covers(pygame.display.get_window_position(), pygame.display.get_window_size())

    def _covers(self, position: tuple[int, int], size: tuple[int, int]) -> bool:
        """Whether a window there covers its screen; a plain one need only keep its size."""
        import pygame

        screens = pygame.display.get_desktop_sizes()
        if self._size or self._screen >= len(screens):
            return size == self._size
        area = 1
        for start, origin, length, whole in zip(position, self._origin, size, screens[self._screen], strict=True):
            left, right = max(start - origin, 0), min(start - origin + length, whole)
            area *= max(0, right - left)
        width, height = screens[self._screen]
        return area >= FULL_SHARE * width * height

    def _disturbs(self, event: pygame.Event) -> bool:
        """Whether an event means that the window was not in full view for a while, even if it is again."""
        import pygame

        if event.type == pygame.WINDOWMOVED:
            return not self._covers((event.x, event.y), pygame.display.get_window_size())
        if event.type == pygame.WINDOWSIZECHANGED:
            return not self._covers(pygame.display.get_window_position(), (event.x, event.y))
        return event.type in (pygame.WINDOWFOCUSLOST, pygame.WINDOWMINIMIZED, pygame.WINDOWHIDDEN)

    def _opened(self) -> pygame.Surface:
        if self._surface is None:
            lost("a window that is not open", expected="`open` first", remedy="open it")
        return self._surface


def closes(event: pygame.Event) -> bool:
    """Whether the person wants to stop: Escape, or the window's or the system's way to close it."""
    import pygame

    escape = event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
    return escape or event.type in (pygame.QUIT, pygame.WINDOWCLOSE)


def check_choice(screen: int, size: tuple[int, int] | None) -> None:
    """Raise InvalidInput for a screen or a size that no machine has."""
    if screen < 0:
        raise InvalidInput(found=f"screen {screen}", expected="0 or more", remedy="the first screen is 0")
    if size is not None and min(size) < 1:
        raise InvalidInput(found=f"a window of {size}", expected="width and height from 1 on", remedy="choose a size")


def lost(
    found: str,
    *,
    expected: str = "a screen of this machine",
    remedy: str = "run this at the machine's own desktop, its screen connected (DISPLAY or WAYLAND_DISPLAY on Linux)",
    cause: BaseException | None = None,
) -> NoReturn:
    """Raise DisplayLost."""
    raise DisplayLost(found=found, expected=expected, remedy=remedy) from cause
