"""Raises the brightness of the screen for a flash, where the platform allows, and gives it back on every way out.

Not in the paper. A normal end, an exception and Ctrl-C give it back through `close`. SIGTERM, SIGKILL and a crash of
the interpreter leave no chance for that, so a watchdog (`sdk_reference.brightness_watchdog`) runs in a process and a
session of its own and waits for the end of its standard input, which comes however we die. Nothing is raised before the
watchdog has said that it is ready. What remains: a power cut, and killing the watchdog as well.

A value that the user changed meanwhile is his choice and stays: only what we set is taken back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sdk_reference.errors import InvalidInput

FULL: Final = 100
TOLERANCE: Final = 1
"""Percent: backlights with a few levels round, so that a value read again may differ by one."""

READY: Final = "ready"
"""What the watchdog says once it watches."""

ALL_WELL: Final = "done"
"""What it is told when there is nothing left to do."""

WATCHDOG_LEAVES_S: Final = 5.0
MAX_REASON: Final = 120  # characters of what a library said


class BrightnessBackend(Protocol):
    """One screen whose brightness can be read and set; anything may raise."""

    @property
    def address(self) -> str:
        """What `backend_at` makes the same backend of in another process."""

    def get(self) -> int:
        """Brightness in percent, 0..100."""

    def set(self, percent: int) -> None:
        """Set it."""


@dataclass(frozen=True)
class MonitorBrightness:
    """A screen of this machine, by its number among those whose brightness can be set.

    That number need not be the window's number of the same screen; with two screens the other one may be raised, and is
    given back all the same.
    """

    number: int = 0

    @property
    def address(self) -> str:
        return f"monitor:{self.number}"

    def get(self) -> int:
        import screen_brightness_control

        value = screen_brightness_control.get_brightness(display=self.number)[0]
        if value is None:
            raise OSError("the screen does not tell its brightness")
        return int(value)

    def set(self, percent: int) -> None:
        import screen_brightness_control

        screen_brightness_control.set_brightness(percent, display=self.number)


@dataclass(frozen=True)
class FileBrightness:
    """A file that holds the percentage as text: for tests, and for kiosks whose own service sets the backlight."""

    path: Path

    @property
    def address(self) -> str:
        return f"file:{self.path.absolute()}"

    def get(self) -> int:
        return int(self.path.read_text())

    def set(self, percent: int) -> None:
        self.path.write_text(str(percent))


def backend_at(address: str) -> BrightnessBackend:
    """Make the backend of an address such as `monitor:0` or `file:/run/brightness`. Raises InvalidInput."""
    kind, _, place = address.partition(":")
    if kind == "monitor" and place.isdecimal():
        return MonitorBrightness(int(place))
    if kind == "file" and place:
        return FileBrightness(Path(place))
    raise InvalidInput(
        found=f"brightness backend {address!r}", expected="monitor:NUMBER or file:PATH", remedy="use one of these"
    )


def give_back(backend: BrightnessBackend, before: int, raised: int | None) -> str:
    """Set `before` again unless the user has changed `raised` meanwhile; returns what became of it, in words.

    Where the present value cannot be read, or `raised` is not known, it is set: better too dim than left bright.
    """
    try:
        now = backend.get()
    except Exception:
        now = None
    if now is not None and raised is not None and abs(now - raised) > TOLERANCE:
        return f"left at {now} %, which was set meanwhile"
    try:
        backend.set(before)
    except Exception as error:
        return f"could not be set back to {before} %: {_reason(error)}"
    return f"set back to {before} %"


class RaisedBrightness:
    """Full brightness from `open` to `close`; neither ever raises, both say in words what became of it."""

    def __init__(
        self, backend: BrightnessBackend, watchdog: Callable[[Sequence[str]], subprocess.Popen[str]] | None = None
    ) -> None:
        self._backend = backend
        self._start = watchdog or start_watchdog
        self._watchdog: subprocess.Popen[str] | None = None
        self._before = FULL
        self._raised: int | None = None

    def open(self) -> str:
        """Raise to 100 %; when open already, says so."""
        if self._watchdog is not None:
            return "raised already"
        try:
            self._before = self._backend.get()
        except Exception as error:
            return f"not raised: {_reason(error)}"
        if self._before >= FULL:
            return f"at {self._before} % already"
        return self._raise()

    def close(self) -> str:
        """Give back what `open` changed; harmless when called again or before `open`."""
        if self._watchdog is None:
            return "nothing to set back"
        # In this order: a death in between leaves the watchdog to give it back a second time, which changes nothing.
        outcome = give_back(self._backend, self._before, self._raised)
        self._dismiss()
        return outcome

    def __enter__(self) -> RaisedBrightness:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise(self) -> str:
        try:
            self._watchdog = self._start((self._backend.address, str(self._before)))
        except Exception as error:
            return f"not raised from {self._before} %: nothing would set it back after a crash ({_reason(error)})"
        try:
            self._raised = None
            self._backend.set(FULL)
            self._raised = reached = self._backend.get()  # a backend may round: what is read is what we set
            self._tell(str(reached))
        except Exception as error:
            self.close()
            return f"not raised from {self._before} %: {_reason(error)}"
        if reached <= self._before + TOLERANCE:
            self.close()
            return f"not raised: it stays at {reached} %"
        return f"raised from {self._before} to {reached} %"

    def _tell(self, line: str) -> None:
        assert self._watchdog is not None and self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{line}\n")
        self._watchdog.stdin.flush()

    def _dismiss(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is None:
            return
        try:
            watchdog.communicate(ALL_WELL, timeout=WATCHDOG_LEAVES_S)
        except (OSError, ValueError, subprocess.TimeoutExpired):  # it is gone, or stuck with nothing left to do
            watchdog.kill()
            watchdog.communicate()


def start_watchdog(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start `python -m sdk_reference.brightness_watchdog`; returns when it watches. Raises OSError."""
    package = Path(__file__).resolve().parent
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", f"{package.name}.brightness_watchdog", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C and the terminal's hang-up reach a whole group of processes: not this one
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != READY:
        process.kill()
        process.communicate()
        raise OSError("the watchdog did not start")
    return process


def _reason(error: Exception) -> str:
    """The first line of what a library said, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:MAX_REASON].rstrip(".")
