"""Leads a stream of the process nowhere for a while: C++ libraries write past Python, with no switch against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def led_nowhere(descriptor: int) -> Iterator[None]:
    """Lead file descriptor 1 or 2 nowhere; what goes wrong reaches us as an exception. A closed one stays closed."""
    try:
        kept = os.dup(descriptor)
    except OSError:  # the stream is closed: nothing can be heard there
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(nowhere)
        os.close(kept)
