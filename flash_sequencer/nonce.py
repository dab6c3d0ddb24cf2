"""From a nonce to choices: an unbiased draw from a SHA-256 stream, defined on bytes so that any language can repeat it.

Block i of the stream is SHA-256(context, ASCII ‖ 0x00 ‖ nonce ‖ i as four bytes, big-endian), i from 0; the blocks are
read byte by byte. A number below n is the next byte b with b < 256 − (256 mod n), taken mod n; other bytes are skipped,
so that no number is likelier than another. Not in the paper, which shows its colours in one fixed order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from flash_sequencer.errors import PlanError

MIN_NONCE_BYTES = 16
MAX_NONCE_BYTES = 64
_HEX = re.compile(r"[0-9a-fA-F]*")
_BYTE_VALUES = 256

T = TypeVar("T")


def normalised_nonce(nonce: bytes | str) -> str:
    """Return the nonce as lower-case hex. `nonce`: 16 to 64 bytes, or their hex digits without prefix or spaces."""
    expected = f"expected {MIN_NONCE_BYTES} to {MAX_NONCE_BYTES} bytes or their hex digits; draw a fresh random one"
    if isinstance(nonce, bytes):
        digits = nonce.hex()
    elif isinstance(nonce, str):
        digits = nonce.lower()
    else:
        raise PlanError(f"found a nonce of type {type(nonce).__name__}; {expected}")
    if _HEX.fullmatch(digits) is None:
        raise PlanError(f"found characters other than hex digits in the nonce; {expected}")
    if len(digits) % 2 or not MIN_NONCE_BYTES <= len(digits) // 2 <= MAX_NONCE_BYTES:
        raise PlanError(f"found a nonce of {len(digits)} hex digits; {expected}")
    return digits


class DrawStream:
    """Draws numbers and arrangements from one nonce; `context` keeps different uses of a nonce apart."""

    def __init__(self, nonce: bytes, context: str) -> None:
        self._bytes = _stream(context.encode("ascii") + b"\x00" + nonce)

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` − 1 (`limit` from 1 to 256), each equally likely."""
        if not 1 <= limit <= _BYTE_VALUES:
            raise ValueError(f"found limit {limit}; expected 1 to {_BYTE_VALUES}")
        usable = _BYTE_VALUES - _BYTE_VALUES % limit
        return next(value for value in self._bytes if value < usable) % limit

    def arrangement(self, items: Sequence[T], count: int) -> tuple[T, ...]:
        """`count` of `items` in an order, each arrangement equally likely (the first `count` swaps of Fisher–Yates)."""
        pool = list(items)
        for position in range(count):
            chosen = position + self.below(len(pool) - position)
            pool[position], pool[chosen] = pool[chosen], pool[position]
        return tuple(pool[:count])


def _stream(prefix: bytes) -> Iterator[int]:
    counter = 0
    while True:
        yield from hashlib.sha256(prefix + counter.to_bytes(4, "big")).digest()
        counter += 1
