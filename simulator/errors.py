"""The simulator's one error, raised when somebody asks for a scene that cannot exist.

It belongs to no section of the paper. It is a ValueError, so that callers who know nothing about the simulator still
catch it as what it is: a bad argument.
"""

from __future__ import annotations

import math
from functools import partial


class SimulationError(ValueError):
    """An argument the simulator cannot honour; the message says what was found, expected and what to do."""

    def __init__(self, *, found: str, expected: str, remedy: str) -> None:
        self.found = found
        """What was given."""
        self.expected = expected
        """What would have been accepted."""
        self.remedy = remedy
        """What the caller can do about it."""
        super().__init__(f"found {found}; expected {expected}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Arrive whole from a worker process: the arguments have no positions."""
        return partial(SimulationError, found=self.found, expected=self.expected, remedy=self.remedy), ()


def require_between(name: str, value: float, low: float, high: float, remedy: str) -> float:
    """Return `value` as a float, or raise SimulationError unless it is finite and within [low, high]."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise SimulationError(found=f"{name} {value!r}", expected=f"a number from {low:g} to {high:g}", remedy=remedy)
    return number


def require_one_of(name: str, value: str, choices: tuple[str, ...], remedy: str) -> str:
    """Return `value`, or raise SimulationError unless it is one of `choices`."""
    if value not in choices:
        raise SimulationError(found=f"{name} {value!r}", expected="one of " + ", ".join(choices), remedy=remedy)
    return value
