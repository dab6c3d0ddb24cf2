"""The window on a real (virtual) screen: it fills it with the colour, tells what becomes of it, and cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from virtual_screen import screenshot, virtual_screen, virtual_screen_process

from sdk_reference.brightness import FileBrightness
from sdk_reference.display import Display, DisplayState, FlashScreen, GuideScreen, ResultScreen
from sdk_reference.errors import DisplayLost, InvalidInput
from sdk_reference.look_screens import drawn_face, render
from sdk_reference.screen_drawing import without_greeting
from sdk_reference.screen_layout import layout_for
from sdk_reference.window import PygameWindow

with without_greeting():
    import pygame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere windows would open on the real screen")
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
IN_VIEW = DisplayState(closed=False, full=True)
VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
SESSION = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits them ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys, time
from pathlib import Path
from sdk_reference.brightness import FileBrightness
from sdk_reference.display import FlashScreen
from sdk_reference.window import PygameWindow

window = PygameWindow(brightness=FileBrightness(Path(sys.argv[1])))
window.open()
window.show(FlashScreen((255, 0, 0)))
print("open", flush=True)
while True:
    window.show(FlashScreen((0, 0, 255)))
    if window.state().closed:
        window.close()
        sys.exit(7)
    time.sleep(0.02)
"""


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # where Wayland's socket would be found without its variable
    yield
    pygame.display.quit()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with virtual_screen(800, 600) as display:
        yield display


@pytest.fixture
def display(server: str, no_display: None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DISPLAY", server)
    return server


@pytest.fixture
def brightness(tmp_path: Path) -> FileBrightness:
    backend = FileBrightness(tmp_path / "brightness")
    backend.set(40)
    return backend


def window(**options: object) -> PygameWindow:
    return PygameWindow(**{"brightness": None, "language": "en", **options})  # type: ignore[arg-type]


def other_than(picture: np.ndarray, srgb: tuple[int, int, int]) -> np.ndarray:
    return (picture != srgb).any(axis=2)


# ---- what is on the screen


@pytest.mark.parametrize("size", [(800, 600), (320, 240), (1600, 400), (300, 900)])
def test_a_flash_fills_the_screen_from_corner_to_corner(
    size: tuple[int, int], no_display: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_screen(*size) as server:
        monkeypatch.setenv("DISPLAY", server)
        with window() as shown:
            for srgb in ((255, 0, 0), (0, 255, 0), (255, 255, 255), (64, 64, 64)):
                shown.show(FlashScreen(srgb))
                picture = screenshot(server)
                assert picture.shape == (size[1], size[0], 3)
                other = other_than(picture, srgb)
                assert (picture == render(FlashScreen(srgb), size, shown.catalogue)).all()
                box = layout_for(*size).oval.grown(2)
                assert other[box.top : box.bottom, box.left : box.right].sum() == other.sum() > 0
                assert other.mean() < 0.025
                assert not other[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_what_is_drawn_is_what_is_shown(display: str) -> None:
    with window(language="de") as shown:
        for screen in (
            GuideScreen("move_closer", drawn_face(), tone="bad"),
            GuideScreen("hold_still", drawn_face(), tone="good", progress=0.5),
            ResultScreen("live", "verified"),
        ):
            shown.show(screen)
            assert (screenshot(display) == render(screen, (800, 600), shown.catalogue)).all()


def test_the_clock_is_asked_once_and_after_the_picture_is_there(display: str) -> None:
    seen: list[list[int]] = []

    def clock_ns() -> int:
        seen.append(screenshot(display)[0, 0].tolist())
        return 1000 + len(seen)

    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)]
    with window(clock_ns=clock_ns) as shown:
        times = [shown.show(FlashScreen(srgb)) for srgb in colours]
    assert times == [1001, 1002, 1003, 1004, 1005]
    assert seen == [list(srgb) for srgb in colours]


def test_opening_tells_the_screen(display: str) -> None:
    with_protocol: Display = window()
    info = with_protocol.open()
    assert (info.width, info.height, info.screens) == (800, 600, 1)
    assert info.refresh_hz >= 0
    assert info.brightness == "left as it is"
    with_protocol.close()


def test_the_cursor_is_hidden(display: str) -> None:
    with window() as shown:
        shown.show(FlashScreen((255, 255, 255)))
        assert not pygame.mouse.get_visible()


def test_a_plain_window_has_its_size_and_leaves_the_rest(display: str) -> None:
    with window(size=(200, 100)) as shown:
        shown.show(FlashScreen((255, 0, 0)))
        assert shown.state() == IN_VIEW
        red = ~other_than(screenshot(display), (255, 0, 0))
        assert 0.9 * 200 * 100 < red.sum() < 200 * 100


# ---- what becomes of it


def test_a_window_in_full_view_says_so(display: str) -> None:
    with window() as shown:
        assert [shown.state() for _ in range(3)] == [IN_VIEW] * 3


@pytest.mark.parametrize(
    "event",
    [
        pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE),
        pygame.event.Event(pygame.QUIT),
        pygame.event.Event(pygame.WINDOWCLOSE),
    ],
)
def test_closing_is_told_and_stays_told(display: str, event: pygame.Event) -> None:
    with window() as shown:
        pygame.event.post(event)
        assert shown.state().closed
        assert shown.state().closed
    with shown:
        assert not shown.state().closed


def test_another_key_closes_nothing(display: str) -> None:
    with window() as shown:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
        assert shown.state() == IN_VIEW


@pytest.mark.parametrize(
    "event",
    [
        pygame.event.Event(pygame.WINDOWFOCUSLOST),
        pygame.event.Event(pygame.WINDOWMINIMIZED),
        pygame.event.Event(pygame.WINDOWHIDDEN),
        pygame.event.Event(pygame.WINDOWMOVED, x=100, y=0),
        pygame.event.Event(pygame.WINDOWMOVED, x=0, y=-100),
        pygame.event.Event(pygame.WINDOWSIZECHANGED, x=400, y=600),
    ],
)
def test_a_moment_out_of_view_is_told_even_when_it_has_passed(display: str, event: pygame.Event) -> None:
    with window() as shown:
        pygame.event.post(event)
        assert not shown.state().full
        assert shown.state().full


@pytest.mark.parametrize(
    "event",
    [
        pygame.event.Event(pygame.WINDOWMOVED, x=0, y=0),
        pygame.event.Event(pygame.WINDOWMOVED, x=0, y=20),
        pygame.event.Event(pygame.WINDOWSIZECHANGED, x=800, y=580),
        pygame.event.Event(pygame.WINDOWENTER),
    ],
)
def test_a_strip_of_a_few_pixels_is_no_matter(display: str, event: pygame.Event) -> None:
    with window() as shown:
        pygame.event.post(event)
        assert shown.state() == IN_VIEW


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("display.get_desktop_sizes", [(1024, 768)]),
        ("display.get_desktop_sizes", []),
        ("display.get_window_position", (100, 0)),
        ("display.get_window_position", (-800, 0)),
        ("display.get_window_size", (800, 560)),
        ("display.get_window_size", (1, 1)),
        ("display.get_active", False),
        ("key.get_focused", False),
    ],
)
def test_a_window_that_does_not_cover_its_screen_says_so(
    display: str, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    with window() as shown:
        monkeypatch.setattr(
            pygame.display if name.startswith("display") else pygame.key, name.split(".")[1], lambda: value
        )
        assert not shown.state().full
        monkeypatch.undo()


def test_another_program_that_takes_the_focus_is_noticed(display: str) -> None:
    other = "from sdk_reference.window import PygameWindow as W; import sys; W(size=(90, 90)).open(); print('open'); "
    with window() as shown:
        assert shown.state().full
        process = started(other + "sys.stdout.flush(); input()", stdin=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        assert within_patience(lambda: not shown.state().full)
        process.communicate("\n", timeout=PATIENCE_S)


# ---- what cannot be opened


def test_without_a_display_nothing_is_shown_into_the_void(no_display: None) -> None:
    with pytest.raises(DisplayLost, match=r"offscreen|dummy") as caught:
        window().open()
    assert "DISPLAY" in caught.value.remedy


@pytest.mark.parametrize("driver", ["dummy", "offscreen"])
def test_a_hidden_driver_is_refused_unless_asked_for(
    no_display: None, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    with pytest.raises(DisplayLost, match=driver):
        window().open()
    with window(allow_hidden=True, size=(320, 240)) as shown:
        shown.show(FlashScreen((255, 0, 0)))
        assert not shown.state().closed


@pytest.mark.parametrize(("driver", "display"), [("x11", ":9999"), ("nonsense", ":0")])
def test_what_sdl_says_is_passed_on(
    no_display: None, monkeypatch: pytest.MonkeyPatch, driver: str, display: str
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(DisplayLost, match=rf"{driver} not available"):
        window().open()


def test_a_screen_that_is_not_there_is_named_with_those_that_are(display: str) -> None:
    with pytest.raises(DisplayLost, match="found no screen 1; expected 0 to 0"):
        window(screen=1).open()


def test_the_chosen_one_of_two_screens_is_filled(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    real = pygame.display.set_mode

    def set_mode(size: tuple[int, int], flags: int = 0, *, display: int = 0) -> pygame.Surface:
        asked.append((size, flags, display))
        return real(size, flags)

    monkeypatch.setattr(pygame.display, "get_num_displays", lambda: 2)
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(640, 480), (800, 600)])
    monkeypatch.setattr(pygame.display, "get_desktop_refresh_rates", lambda: [60, 75])
    monkeypatch.setattr(pygame.display, "set_mode", set_mode)
    with window(screen=1) as shown:
        assert asked == [((800, 600), pygame.FULLSCREEN, 1)]
        assert shown.state() == IN_VIEW
    info = shown.open()
    shown.close()
    assert (info.screens, info.refresh_hz) == (2, 75.0)


@pytest.mark.parametrize("options", [{"screen": -1}, {"size": (0, 10)}, {"size": (10, -1)}, {"language": "xx"}])
def test_a_choice_that_cannot_be_is_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        window(**options)


def test_nothing_is_shown_before_it_is_open_or_after_it_was_closed(display: str) -> None:
    shown = window()
    for _ in range(2):
        with pytest.raises(DisplayLost, match="not open"):
            shown.show(FlashScreen((0, 0, 0)))
        with pytest.raises(DisplayLost, match="not open"):
            shown.state()
        shown.open()
        with pytest.raises(DisplayLost, match="open already"):
            shown.open()
        shown.close()


def test_a_window_that_was_taken_away_is_lost(display: str) -> None:
    shown = window()
    shown.open()
    pygame.display.quit()
    with pytest.raises(DisplayLost):
        shown.show(FlashScreen((0, 0, 0)))
    with pytest.raises(DisplayLost):
        shown.state()
    shown.close()


def test_closing_is_harmless_at_any_time(display: str) -> None:
    shown = window()
    shown.close()
    shown.open()
    shown.close()
    shown.close()
    assert not pygame.display.get_init()


def test_closing_what_was_never_open_leaves_the_windows_of_others(display: str) -> None:
    pygame.display.init()
    window().close()
    assert pygame.display.get_init()


# ---- brightness


def test_the_brightness_is_raised_while_the_window_is_open(display: str, brightness: FileBrightness) -> None:
    shown = window(brightness=brightness)
    assert shown.open().brightness == "raised from 40 to 100 %"
    assert brightness.get() == 100
    shown.close()
    assert brightness.get() == 40


def test_an_exception_closes_the_window_and_gives_the_brightness_back(display: str, brightness: FileBrightness) -> None:
    with pytest.raises(RuntimeError), window(brightness=brightness):
        raise RuntimeError
    assert brightness.get() == 40
    assert not pygame.display.get_init()


def test_a_window_that_cannot_be_opened_touches_no_brightness(no_display: None, brightness: FileBrightness) -> None:
    with pytest.raises(DisplayLost):
        window(brightness=brightness).open()
    assert brightness.get() == 40


def test_an_error_after_raising_gives_the_brightness_back(
    display: str, brightness: FileBrightness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> list[int]:
        assert brightness.get() == 100
        raise pygame.error("no rates")

    monkeypatch.setattr(pygame.display, "get_desktop_refresh_rates", fails)
    with pytest.raises(DisplayLost, match="no rates"):
        window(brightness=brightness).open()
    assert brightness.get() == 40
    assert not pygame.display.get_init()


def test_by_default_only_a_window_that_lights_a_face_asks_for_brightness() -> None:
    assert PygameWindow(language="en").raises_brightness
    assert not PygameWindow(language="en", size=(100, 100)).raises_brightness
    assert not PygameWindow(language="en", allow_hidden=True).raises_brightness
    assert not PygameWindow(language="en", brightness=None).raises_brightness


# ---- processes that die


def started(program: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        **options,
    )


def within_patience(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def running_session(brightness: FileBrightness) -> subprocess.Popen[str]:
    process = started(SESSION, str(brightness.path))
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    assert brightness.get() == 100
    return process


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_session_that_is_killed_leaves_neither_window_nor_brightness(
    display: str, brightness: FileBrightness, name: str
) -> None:
    process = running_session(brightness)
    assert screenshot(display).any()
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert within_patience(lambda: brightness.path.read_text() == "40")
    assert within_patience(lambda: not screenshot(display).any())


def test_a_screen_that_is_unplugged_ends_the_process_and_gives_the_brightness_back(
    no_display: None, brightness: FileBrightness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_screen_process(400, 300) as (name, server):
        monkeypatch.setenv("DISPLAY", name)
        process = running_session(brightness)
        server.terminate()  # it cleans up behind itself; its clients lose it all the same
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode not in (0, 7)
        assert within_patience(lambda: brightness.path.read_text() == "40")


# ---- manners


def test_pygame_greets_nobody_and_is_loaded_late(display: str) -> None:
    program = (
        "import os; from sdk_reference.window import PygameWindow; import sys\n"
        "assert 'pygame' not in sys.modules\n"
        "with PygameWindow(brightness=None) as window: window.state()\n"
        "assert 'pygame' in sys.modules and 'PYGAME_HIDE_SUPPORT_PROMPT' not in os.environ"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYGAME_HIDE_SUPPORT_PROMPT"}
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, env=clean)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_greeting_that_was_hidden_before_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "yes")
    with without_greeting():
        assert os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] == "1"
    assert os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] == "yes"
