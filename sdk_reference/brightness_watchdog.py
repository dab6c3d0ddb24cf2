"""`python -m sdk_reference.brightness_watchdog monitor:0 40`: gives the brightness back when its parent dies.

Waits for the end of its standard input. The other end of that pipe is held by the session alone, so it breaks however
the session ends, SIGKILL included. Its lines are the value that was reached by raising, then `done` when nothing is
left to do.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from sdk_reference.brightness import ALL_WELL, READY, backend_at, give_back


def watch(arguments: Sequence[str], told: TextIO, answers: TextIO) -> int:
    """Answer `ready`, wait for the end of `told`, then give back; `arguments` are the backend's address and before."""
    backend, before = backend_at(arguments[0]), int(arguments[1])
    print(READY, file=answers, flush=True)
    lines = told.read().split()
    if ALL_WELL not in lines:
        give_back(backend, before, int(lines[0]) if lines else None)
    return 0


def main() -> int:
    """Watch, deaf to what ends other processes of a terminal: it leaves when the session does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return watch(sys.argv[1:], sys.stdin, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
