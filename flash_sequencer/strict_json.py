"""Reads JSON that came from elsewhere: no repeated, missing or unknown keys, no NaN, bounded length, one error."""

from __future__ import annotations

import json
import math
from collections.abc import Set
from typing import Any

from flash_sequencer.errors import PlanError

MAX_CHARACTERS = 65_536  # a plan has about 1,000


def parsed_json(text: str) -> object:
    """Parse JSON text; PlanError when it is too long, no JSON, repeats a key or holds NaN or Infinity."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise PlanError(f"found no text or over {MAX_CHARACTERS} characters; expected a plan's JSON; check the source")
    try:
        content: object = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"found text that is no JSON ({error}); expected a plan; write it with to_json()") from error
    return content


def checked_object(content: object, keys: Set[str], what: str) -> dict[str, Any]:
    """Return `content` when it is an object with exactly these keys."""
    if not isinstance(content, dict):
        raise PlanError(f"found {type(content).__name__} where a {what} was expected; expected an object")
    if set(content) != keys:
        missing, unknown = sorted(keys - set(content)), sorted(map(str, set(content) - keys))
        raise PlanError(f"found a {what} with missing keys {missing} and unknown keys {unknown}; expected neither")
    return content


def check_derived(found: object, expected: float, what: str, tolerance: float) -> None:
    """Refuse a stated value that does not follow from the rest."""
    number = type(found) in (int, float) and math.isfinite(found)  # type: ignore[arg-type]
    if not number or abs(found - expected) > tolerance:  # type: ignore[operator]
        raise PlanError(f"found {what}={found!r}; expected {expected}, which follows from the rest; do not edit it")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise PlanError("found a repeated key; expected each key once; two readers could see two different plans")
    return content


def _refused(constant: str) -> object:
    raise PlanError(f"found {constant}; expected finite numbers")
