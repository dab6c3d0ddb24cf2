"""A stand-in for `cv2.VideoCapture`: gives pictures on a clock of its own, and has whatever fault a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

AUTO_EXPOSURE, AUTO_BALANCE, POS_MSEC = 21, 44, 0
SECOND = 1_000_000_000


class WalkingClock:
    """Nanoseconds that move when somebody says so, from any thread."""

    def __init__(self, now_ns: int = 5 * SECOND) -> None:
        self.now = now_ns

    def __call__(self) -> int:
        return self.now


def noise(number: int, width: int = 320, height: int = 240) -> np.ndarray:
    """(height, width, 3) uint8 BGR: picture no. `number`, like no other; blue 40, green 80, red 120 or so."""
    rng = np.random.default_rng(number)
    return (rng.integers(0, 8, (height, width, 3)) + np.array([40, 80, 120])).astype(np.uint8)


class FakeVideo:
    """Frames `picture(n)` every `period_ns` of the clock; after `free` of them only as many as `allow` lets through."""

    def __init__(
        self,
        clock: WalkingClock,
        *,
        picture: Callable[[int], np.ndarray | None] = noise,
        period_ns: int = SECOND // 30,
        free: int = 10,
        opened: bool = True,
        backend: str = "V4L2",
        stamp: Callable[[int, int], float] = lambda number, now: 0.0,
    ) -> None:
        self.clock, self.picture, self.period_ns, self.opened, self.backend = clock, picture, period_ns, opened, backend
        self.stamp = stamp
        self.properties = {AUTO_EXPOSURE: 3.0, AUTO_BALANCE: 1.0}
        self.takes = {AUTO_EXPOSURE, AUTO_BALANCE}
        self.lies = False
        self.number = 0
        self.released = threading.Event()
        self._gate = threading.Semaphore(free)

    def allow(self, frames: int) -> None:
        """Let so many more reads through."""
        for _ in range(frames):
            self._gate.release()

    def isOpened(self) -> bool:
        return self.opened

    def getBackendName(self) -> str:
        return self.backend

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._gate.acquire()
        self.clock.now += self.period_ns
        image = self.picture(self.number)
        self.number += 1
        return image is not None, image

    def get(self, prop: int) -> float:
        if prop == POS_MSEC:
            return self.stamp(self.number, self.clock.now)
        return self.properties.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:
        if prop in self.takes:
            self.properties[prop] = value
        return prop in self.takes or self.lies

    def release(self) -> None:
        self.released.set()
