"""Challenges: each nonce is drawn from the system's secure source or handed in by a server, and works exactly once.

The paper shows its colours in one fixed order, so it needs no nonce. Ours decides the plan (`flash_sequencer.nonce`);
a nonce that worked twice would let a recording of the first session answer the second.

The book is a table on disk or in memory (`sdk_reference.durable_table`): `use` is atomic between threads and processes,
and a nonce is known as used, on the disk, before the flash begins. Time only moves on: the
book remembers the latest time that it has seen and judges by that, so that a clock set back never revives a nonce
(one that ran ahead and was set right makes lifetimes longer until it is caught up; each nonce still works once). A
nonce is forgotten a day after it expired. One of ours is then unknown, hence refused; a server must not hand in the
same nonce again later with a new expiry.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from flash_sequencer.errors import PlanError
from flash_sequencer.nonce import MIN_NONCE_BYTES, normalised_nonce
from sdk_reference.durable_table import DurableTable
from sdk_reference.errors import NonceRefused

LIFETIME_S: Final = 120.0
"""Time enough to get into position, not to prepare an answer."""
MAX_LIFETIME_S: Final = 86_400.0
"""A server may not ask for more: a used nonce must be remembered until then."""
FORGET_AFTER_S: Final = 86_400.0
"""After its expiry; covers servers whose clock is hours off."""
AFRESH: Final = "ask for a fresh challenge"

SCHEMA = """
CREATE TABLE IF NOT EXISTS nonces (nonce TEXT PRIMARY KEY, expires_s REAL NOT NULL, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (only INTEGER PRIMARY KEY CHECK (only = 1), latest_s REAL NOT NULL);
"""


class NonceBook:
    """Issues, accepts and uses up nonces. Safe between threads and, with a `path`, between processes.

    Each process opens a book of its own on that path; one inherited by a fork must not be used (SQLite forbids it).

    Raises OutputNotWritable when the book at `path` cannot be opened or written: no book, no challenge.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = time.time,
        *,
        lifetime_s: float = LIFETIME_S,
        source: Callable[[int], bytes] = secrets.token_bytes,
        path: str | Path | None = None,
    ) -> None:
        """`clock_s` tells seconds since 1970 UTC; `source(n)` gives n unpredictable bytes; no `path`: in memory."""
        if not 0 < lifetime_s <= MAX_LIFETIME_S:
            raise ValueError(f"found lifetime_s {lifetime_s!r}; expected above 0 and at most {MAX_LIFETIME_S:g}")
        self._clock_s, self._source, self._lifetime_s = clock_s, source, lifetime_s
        self._table = DurableTable(path, SCHEMA, "book of nonces")

    def issue(self) -> str:
        """Draw a nonce and note it: 32 lower-case hex digits, good for `lifetime_s`."""
        drawn = self._source(MIN_NONCE_BYTES)
        if len(drawn) != MIN_NONCE_BYTES:
            raise _refused(f"{len(drawn)} bytes from the source", f"{MIN_NONCE_BYTES}", "repair the source")
        nonce = drawn.hex()
        with self._transaction() as (database, now_s):
            if _row(database, nonce) is not None:
                raise _refused("the same nonce drawn twice", "a source that never repeats", "do not use this source")
            _insert(database, nonce, now_s + self._lifetime_s)
        return nonce

    def accept(self, nonce: str, expires: float | str | None = None) -> str:
        """Note a nonce that a server drew; returns it in lower case.

        `expires` is ISO 8601 with an offset (`2026-01-31T12:00:00Z`) or seconds since 1970; None: `lifetime_s` from
        now. A nonce that is noted already keeps its first expiry. Raises NonceRefused for one that is malformed, used,
        expired, or would live for more than a day.
        """
        digits = _checked(nonce)
        with self._transaction() as (database, now_s):
            row = _row(database, digits)
            if row is None:
                row = (now_s + self._lifetime_s if expires is None else _seconds(expires), False)
                _check_open(row, now_s)
                _check_horizon(row[0], now_s)
                _insert(database, digits, row[0])
            _check_open(row, now_s)
        return digits

    def use(self, nonce: str) -> str:
        """Use a nonce up and return it in lower case; call it before the first colour is shown.

        Raises NonceRefused for one that is malformed, unknown, used or expired, and says which.
        """
        digits = _checked(nonce)
        with self._transaction() as (database, now_s):
            row = _row(database, digits)
            if row is None:
                raise _refused("an unknown nonce", "one that was issued or accepted here", AFRESH)
            _check_open(row, now_s)
            database.execute("UPDATE nonces SET used = 1 WHERE nonce = ?", (digits,))
        return digits

    def close(self) -> None:
        """Close the book; a book in memory is gone."""
        self._table.close()

    def __len__(self) -> int:
        """Number of nonces that are remembered."""
        with self._table.transaction() as database:
            return int(database.execute("SELECT count(*) FROM nonces").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Gives the time by which to judge; a refusal is raised before anything is written but that time."""
        with self._table.transaction(kept=(NonceRefused,)) as database:
            yield database, self._advance(database)

    def _advance(self, database: sqlite3.Connection) -> float:
        """The latest time ever seen, this moment included; what expired long ago is forgotten."""
        now_s = float(self._clock_s())
        if not math.isfinite(now_s):
            raise _refused(f"a clock that says {now_s}", "seconds since 1970", "repair the clock")
        row = database.execute("SELECT latest_s FROM clock").fetchone()
        now_s = now_s if row is None else max(now_s, row[0])
        database.execute("INSERT OR REPLACE INTO clock VALUES (1, ?)", (now_s,))
        database.execute("DELETE FROM nonces WHERE expires_s < ?", (now_s - FORGET_AFTER_S,))
        return now_s


def _row(database: sqlite3.Connection, nonce: str) -> tuple[float, bool] | None:
    row = database.execute("SELECT expires_s, used FROM nonces WHERE nonce = ?", (nonce,)).fetchone()
    return None if row is None else (float(row[0]), bool(row[1]))


def _insert(database: sqlite3.Connection, nonce: str, expires_s: float) -> None:
    database.execute("INSERT INTO nonces VALUES (?, ?, 0)", (nonce, expires_s))


def _checked(nonce: object) -> str:
    try:
        return normalised_nonce(nonce if isinstance(nonce, str) else repr(nonce))
    except PlanError as error:
        problem = str(error).partition(";")[0]
        expected = "an even number of hex digits, 32 to 128, without 0x or spaces"
        raise _refused(f"a malformed nonce ({problem})", expected, f"copy it whole, or {AFRESH}") from error


def _check_open(row: tuple[float, bool], now_s: float) -> None:
    expires_s, used = row
    if used:
        raise _refused("a used nonce", "one that was never used", AFRESH)
    if not now_s < expires_s:
        raise _refused(f"a nonce that expired {now_s - expires_s:.0f} s ago", "one that is still good", AFRESH)


def _check_horizon(expires_s: float, now_s: float) -> None:
    if not expires_s - now_s <= MAX_LIFETIME_S:
        raise _refused(
            f"a nonce that is good for {expires_s - now_s:.0f} s",
            f"at most {MAX_LIFETIME_S:.0f}",
            "let the server set an earlier expiry, and check the clocks",
        )


def _seconds(expires: float | str) -> float:
    try:
        if isinstance(expires, str):
            moment = datetime.fromisoformat(expires.replace("Z", "+00:00"))  # Python 3.10 reads no Z
            if moment.tzinfo is None:
                raise ValueError("no offset from UTC")
            return moment.timestamp()
        if isinstance(expires, bool) or not math.isfinite(expires):
            raise ValueError("no finite number")
    except (ValueError, TypeError, OverflowError) as error:
        raise _refused(
            f"an expiry of {expires!r:.60}", "ISO 8601 with offset, or seconds", f"mend it ({error})"
        ) from error
    return float(expires)


def _refused(found: str, expected: str, remedy: str) -> NonceRefused:
    return NonceRefused(found=found, expected=expected, remedy=remedy)
