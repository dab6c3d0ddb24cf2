"""The one clock of a live session: what stamps the screen also stamps the camera, and it never goes back.

Everything in a session takes it as a parameter, so that a test can let hours pass in a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


class SessionClock(Protocol):
    """Time, and waiting for it."""

    def now_ns(self) -> int:
        """The time, ns; never less than it was before."""

    def wait_until(self, t_ns: int) -> None:
        """Return when it is `t_ns`, at once when that has passed."""


class SteadyClock:
    """The system's monotonic clock."""

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` takes seconds."""
        self._clock_ns, self._sleep = clock_ns, sleep
        self._latest_ns = clock_ns()

    def now_ns(self) -> int:
        """The time, ns; a clock that goes back stands still instead."""
        self._latest_ns = max(self._latest_ns, self._clock_ns())
        return self._latest_ns

    def wait_until(self, t_ns: int) -> None:
        """Sleep until then."""
        left_ns = t_ns - self.now_ns()
        if left_ns > 0:
            self._sleep(left_ns / NS_PER_S)


class VirtualClock:
    """A clock that moves only when somebody waits: a session of a minute takes no time on it. For trials and tests."""

    def __init__(self, start_ns: int = NS_PER_S) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time, ns."""
        return self._now_ns

    def wait_until(self, t_ns: int) -> None:
        """Let it be then."""
        self._now_ns = max(self._now_ns, t_ns)
