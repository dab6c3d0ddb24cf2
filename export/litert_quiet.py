"""Silence for LiteRT's tools, which talk on both streams, from Python and from C++."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from sdk_reference.silence import led_nowhere


@contextmanager
def without_chatter() -> Iterator[None]:
    """Silence progress, remarks and warnings of the tools: what goes wrong is an exception, and the gates judge.

    C++ writes past Python's streams, so for a moment the process's own output and error streams lead nowhere.
    """
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with ExitStack() as stack:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for descriptor in (1, 2):
                stack.enter_context(led_nowhere(descriptor))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
            yield
    finally:
        logging.disable(before)
