"""coremltools without its chatter: missing libraries of macOS, untested versions, progress bars.

What it says there is true and known: it predicts on macOS only, and its authors have not tried this torch. The gates
judge the result. Loaded on first use, since it takes seconds and brings torchao along.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import Any, Final

from sdk_reference.errors import BackendMissing
from sdk_reference.runtime import first_line

LOGGERS: Final = ("coremltools", "torchao", "torch.utils._pytree")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools and what it loads; errors still raise."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LOGGERS:
            stack.enter_context(_only_errors(logging.getLogger(name)))
        stack.enter_context(redirect_stderr(io.StringIO()))  # the progress bars
        yield


@contextmanager
def _only_errors(logger: logging.Logger) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def load_coremltools() -> Any:
    """The module coremltools; raises BackendMissing."""
    try:
        with quiet():
            import coremltools
            import coremltools.optimize.coreml  # not imported by coremltools itself
    except ImportError as error:
        raise BackendMissing(
            found=f"coremltools that does not load ({first_line(error)})",
            expected="the coremltools package",
            remedy="install it with: pip install 'flashproof[export]'",
        ) from error
    return coremltools
