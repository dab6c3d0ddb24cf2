"""A screen that exists only in memory: Xvfb on a free display number, for tests that really open a window."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest


@contextmanager
def virtual_screen(width: int = 800, height: int = 600) -> Iterator[str]:
    """Yield the DISPLAY of a new screen, e.g. `:99`; the test is skipped where Xvfb is not installed."""
    with virtual_screen_process(width, height) as (display, _):
        yield display


@contextmanager
def virtual_screen_process(width: int, height: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same with the server's process, for tests that kill it."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("Xvfb is not installed; on Debian: apt-get install xvfb")
    number_from, number_to = os.pipe()
    options = ("-displayfd", str(number_to), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp")
    server = subprocess.Popen(
        [program, *options, "-noreset"],  # else it starts anew, and refuses everybody meanwhile, after its last client
        pass_fds=(number_to,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(number_to)
    try:
        with os.fdopen(number_from) as pipe:  # the number comes once the server answers; nothing when it failed
            number = pipe.readline().strip()
        assert number, f"Xvfb ended with status {server.wait()}"
        yield f":{number}", server
    finally:
        server.terminate()
        server.wait()


def screenshot(display: str) -> np.ndarray:
    """(H,W,3) uint8 RGB: what the server of `display` shows, asked from outside the program that drew it."""
    from PIL import ImageGrab

    return np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))
