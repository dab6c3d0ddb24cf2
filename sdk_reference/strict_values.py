"""Checks for values that come out of a file written by who knows whom: JSON with no liberties, integers, exact keys.

Whatever fails becomes CaptureMalformed, with the offending value shortened into the message.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sdk_reference.errors import CaptureMalformed

MAX_SHOWN = 200  # characters of a bad value in a message
REMEDY = "write captures with sdk_reference.capture.save_capture or by the format in its documentation"


def strict_json(data: bytes, name: str) -> Any:
    """Parse UTF-8 JSON; keys that occur twice, NaN and infinities are refused. Raises CaptureMalformed."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        malformed(f"{name} that is not JSON ({short(error)})", "JSON in UTF-8", error)


def is_int(value: object, largest: int) -> bool:
    """Whether `value` is an integer (not a truth value) from 0 to `largest`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def exact_object(value: object, keys: set[str], where: str) -> dict[str, Any]:
    """Return `value` when it is an object of exactly these keys; raises CaptureMalformed."""
    if not isinstance(value, dict) or set(value) != keys:
        found = sorted(value) if isinstance(value, dict) else value
        malformed(f"{where} with {short(found)}", f"exactly the keys {', '.join(sorted(keys))}")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("one key twice in an object")
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def short(value: object) -> str:
    """Return the first characters of a value's representation, of an error's message."""
    return f"{value!r}"[:MAX_SHOWN] if not isinstance(value, Exception) else f"{value}"[:MAX_SHOWN]


def malformed(found: str, expected: str, cause: BaseException | None = None) -> NoReturn:
    """Raise CaptureMalformed."""
    raise CaptureMalformed(found=found, expected=expected, remedy=REMEDY) from cause
