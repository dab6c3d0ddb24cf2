"""A screen without a window, for trials and tests: it presents late or never, and remembers what it showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from flash_sequencer.palette import Srgb
from sdk_reference.display import DisplayInfo, DisplayState, FlashScreen, Screen
from sdk_reference.errors import DisplayLost
from sdk_reference.session_clock import VirtualClock


@dataclass
class HeadlessDisplay:
    """Presents a screen up to `jitter_ns` after it was asked to."""

    clock: VirtualClock
    jitter_ns: int = 0
    seed: int = 0
    shown: list[tuple[int, Screen]] = field(default_factory=list)
    is_open: bool = False
    brightness: float = 0.4
    """Raised while the window is open."""
    state_of: Callable[[int], DisplayState] = lambda now_ns: DisplayState()
    """What becomes of the window, by time."""
    lost_after_ns: int | None = None

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    @property
    def flashes(self) -> list[tuple[int, Srgb]]:
        """When each flash colour appeared, ns, in time order; the same colour with a newer preview is no new flash."""
        found: list[tuple[int, Srgb]] = []
        before: Screen | None = None
        for at_ns, screen in self.shown:
            same = isinstance(before, FlashScreen) and isinstance(screen, FlashScreen) and before.srgb == screen.srgb
            if isinstance(screen, FlashScreen) and not same:
                found.append((at_ns, screen.srgb))
            before = screen
        return found

    def open(self) -> DisplayInfo:
        self.is_open, self.brightness = True, 1.0
        return DisplayInfo(1080, 2340, 60.0, 1, "raised from 40 to 100 %")

    def show(self, screen: Screen) -> int:
        if self.lost_after_ns is not None and self.clock.now_ns() >= self.lost_after_ns:
            raise DisplayLost(found="a window that is gone", expected="one", remedy="start again")
        late_ns = int(self._rng.uniform(0, self.jitter_ns)) if self.jitter_ns else 0
        self.clock.wait_until(self.clock.now_ns() + late_ns)
        self.shown.append((self.clock.now_ns(), screen))
        return self.clock.now_ns()

    def state(self) -> DisplayState:
        return self.state_of(self.clock.now_ns())

    def close(self) -> None:
        self.is_open, self.brightness = False, 0.4
