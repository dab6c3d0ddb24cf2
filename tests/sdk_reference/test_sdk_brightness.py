"""The brightness comes back on every way out: a file plays the screen, and the processes that die really die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from sdk_reference.brightness import (
    BrightnessBackend,
    FileBrightness,
    MonitorBrightness,
    RaisedBrightness,
    backend_at,
    start_watchdog,
)
from sdk_reference.brightness_watchdog import watch
from sdk_reference.errors import InvalidInput

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
SESSION = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits them ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys, time
from pathlib import Path
from sdk_reference.brightness import FileBrightness, RaisedBrightness

with RaisedBrightness(FileBrightness(Path(sys.argv[1]))):
    print("open", flush=True)
    {body}
"""


@pytest.fixture
def screen(tmp_path: Path) -> FileBrightness:
    backend = FileBrightness(tmp_path / "screen")
    backend.set(40)
    return backend


def session(screen: FileBrightness, body: str = "time.sleep(60)") -> subprocess.Popen[str]:
    """A process of its own with a raised screen; returns once it is bright."""
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION.format(body=body), str(screen.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,  # so that a test can send a signal to its whole group, as a terminal does
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def becomes(screen: FileBrightness, percent: int) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if screen.path.read_text() == str(percent):
            return True
        time.sleep(0.02)
    return False


def test_raised_while_open_and_given_back_by_close(screen: FileBrightness) -> None:
    raised = RaisedBrightness(screen)
    assert raised.open() == "raised from 40 to 100 %"
    assert screen.get() == 100
    assert raised.open() == "raised already"
    assert raised.close() == "set back to 40 %"
    assert screen.get() == 40
    assert raised.close() == "nothing to set back"


def test_close_before_open_is_harmless(screen: FileBrightness) -> None:
    assert RaisedBrightness(screen).close() == "nothing to set back"
    assert screen.get() == 40


def test_a_full_screen_is_left_alone(screen: FileBrightness) -> None:
    screen.set(100)
    raised = RaisedBrightness(screen)
    assert raised.open() == "at 100 % already"
    screen.set(70)
    assert raised.close() == "nothing to set back"
    assert screen.get() == 70


def test_an_exception_gives_it_back(screen: FileBrightness) -> None:
    with pytest.raises(RuntimeError), RaisedBrightness(screen):
        assert screen.get() == 100
        raise RuntimeError
    assert screen.get() == 40


def test_what_the_user_changed_meanwhile_stays(screen: FileBrightness) -> None:
    raised = RaisedBrightness(screen)
    raised.open()
    screen.set(65)
    assert raised.close() == "left at 65 %, which was set meanwhile"
    assert screen.get() == 65


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGSEGV"])
def test_a_process_that_dies_leaves_the_screen_as_it_was(screen: FileBrightness, name: str) -> None:
    process = session(screen)
    assert screen.get() == 100
    os.killpg(process.pid, getattr(signal, name))
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert becomes(screen, 40)


def test_a_process_that_ends_without_closing_leaves_the_screen_as_it_was(screen: FileBrightness) -> None:
    process = session(screen, "import os; os._exit(0)")
    process.communicate(timeout=PATIENCE_S)
    assert becomes(screen, 40)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_killed_process_does_not_take_back_what_the_user_changed(screen: FileBrightness) -> None:
    process = session(screen)
    screen.set(65)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert not_within(screen, 40, seconds=1.0)
    assert screen.get() == 65


def not_within(screen: FileBrightness, percent: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if screen.path.read_text() == str(percent):
            return False
        time.sleep(0.02)
    return True


class Rounding(FileBrightness):
    """A backlight of a few levels: 100 reads as 96."""

    def get(self) -> int:
        return super().get() * 96 // 100


def test_a_backlight_that_rounds_is_given_back(screen: FileBrightness) -> None:
    raised = RaisedBrightness(Rounding(screen.path))
    assert raised.open() == "raised from 38 to 96 %"
    assert raised.close() == "set back to 38 %"


def test_the_watchdog_gives_back_the_value_that_was_reached(screen: FileBrightness) -> None:
    screen.set(96)
    answers = StringIO()
    assert watch([screen.address, "40"], StringIO("96\n"), answers) == 0
    assert answers.getvalue() == "ready\n"
    assert screen.get() == 40


def test_a_death_between_raising_and_reading_again_is_given_back(screen: FileBrightness) -> None:
    screen.set(100)
    watch([screen.address, "40"], StringIO(""), StringIO())
    assert screen.get() == 40


def test_the_watchdog_that_was_dismissed_does_nothing(screen: FileBrightness) -> None:
    screen.set(100)
    watch([screen.address, "40"], StringIO("100\ndone"), StringIO())
    assert screen.get() == 100


class Broken:
    """A backend of which one half fails."""

    address = "file:nowhere"

    def __init__(self, fails: str) -> None:
        self.fails = fails

    def get(self) -> int:
        if self.fails == "get":
            raise RuntimeError("no displays detected.\nTraceback of a library")
        return 40

    def set(self, percent: int) -> None:
        if self.fails == "set":
            raise PermissionError("permission denied")


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        (Broken("get"), "not raised: no displays detected"),
        (Broken("set"), "not raised from 40 %: permission denied"),
        (Broken("nothing"), "not raised: it stays at 40 %"),
    ],
)
def test_a_backend_that_fails_is_an_honest_sentence(backend: BrightnessBackend, sentence: str) -> None:
    raised = RaisedBrightness(backend)
    assert raised.open() == sentence
    assert raised.close() == "nothing to set back"


def test_nothing_is_raised_without_a_watchdog(screen: FileBrightness) -> None:
    def missing(_: object) -> subprocess.Popen[str]:
        raise FileNotFoundError("no interpreter")

    sentence = RaisedBrightness(screen, watchdog=missing).open()
    assert sentence == "not raised from 40 %: nothing would set it back after a crash (no interpreter)"
    assert screen.get() == 40


def test_a_watchdog_that_does_not_start_is_noticed() -> None:
    with pytest.raises(OSError, match="did not start"):
        start_watchdog(("nonsense", "40"))


def test_a_watchdog_that_died_does_not_stop_us_from_giving_back(screen: FileBrightness) -> None:
    dogs: list[subprocess.Popen[str]] = []

    def remembered(arguments: object) -> subprocess.Popen[str]:
        dogs.append(start_watchdog(arguments))  # type: ignore[arg-type]
        return dogs[-1]

    raised = RaisedBrightness(screen, watchdog=remembered)
    raised.open()
    dogs[0].kill()
    dogs[0].wait()
    assert raised.close() == "set back to 40 %"
    assert screen.get() == 40


def test_no_process_stays_behind(screen: FileBrightness) -> None:
    dogs: list[subprocess.Popen[str]] = []
    raised = RaisedBrightness(screen, watchdog=lambda given: dogs.append(start_watchdog(given)) or dogs[0])
    raised.open()
    raised.close()
    assert dogs[0].returncode == 0


def test_an_address_names_the_same_backend_in_another_process(screen: FileBrightness) -> None:
    assert backend_at(screen.address) == screen
    assert backend_at("monitor:1") == MonitorBrightness(1)


@pytest.mark.parametrize("address", ["", "monitor", "monitor:", "monitor:-1", "monitor:x", "file:", "i2c:1"])
def test_an_unknown_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="monitor:NUMBER or file:PATH"):
        backend_at(address)


def test_a_screen_of_this_machine_that_tells_nothing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screen_brightness_control.get_brightness", lambda display: [None])
    assert RaisedBrightness(MonitorBrightness()).open() == "not raised: the screen does not tell its brightness"


def test_the_library_is_asked_for_the_screen_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("screen_brightness_control.get_brightness", lambda display: [37])
    monkeypatch.setattr(
        "screen_brightness_control.set_brightness", lambda percent, display: asked.append((percent, display))
    )
    backend = MonitorBrightness(2)
    assert backend.get() == 37
    backend.set(80)
    assert asked == [(80, 2)]
