"""The count of a person's attempts on disk, so that starting the app again forgives nothing.

One row in a SQLite file (`sdk_reference.durable_table`) with a hash over it. Nothing is tolerated: a file that is
empty, cut short, damaged or of another kind is an error, never a fresh count. The hash tells damage, not intent:
whoever may write the file can also take it away, so it belongs where the person who is checked cannot.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdk_reference.durable_table import DurableTable
from sdk_reference.errors import OutputNotWritable

WHAT: Final = "count of attempts"
TABLE: Final = (
    "CREATE TABLE attempts (only INTEGER PRIMARY KEY CHECK (only = 1), used INTEGER NOT NULL, number INTEGER NOT NULL,"
    " paused_at_s REAL NOT NULL, sha256 TEXT NOT NULL);"
)
ROW: Final = "INSERT OR REPLACE INTO attempts VALUES (1, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Spent:
    """What was spent so far."""

    used: int = 0
    """Quarters of an attempt; one that runs counts in full."""
    number: int = 0
    """Attempts begun."""
    paused_at_s: float = 0.0
    """When the pause began, seconds since 1970 UTC."""

    @property
    def sha256(self) -> str:
        """Hash over the values, as the row carries it."""
        return hashlib.sha256(f"{self.used} {self.number} {self.paused_at_s!r}".encode()).hexdigest()

    @property
    def row(self) -> tuple[int, int, float, str]:
        """As it lies in the table."""
        return self.used, self.number, self.paused_at_s, self.sha256


class AttemptsFile:
    """An open file; a second one on the same path is refused until this is closed, for both would count from one."""

    def __init__(self, path: str | Path, clock_s: Callable[[], float]) -> None:
        """`clock_s` tells seconds since 1970 UTC. Raises OutputNotWritable: no file, no attempt."""
        self._path, self._clock_s = Path(path), clock_s
        # In a file that was there nothing is created: one that is empty has no count, and none is made up for it.
        self._table = self._made() if self._is_new() else DurableTable(self._path, "", WHAT, alone=True)

    def read(self) -> Spent:
        """What is kept. Raises OutputNotWritable when it is damaged."""
        with self._table.transaction() as database:
            rows = database.execute("SELECT used, number, paused_at_s, sha256 FROM attempts").fetchall()
        spent = Spent(*rows[0][:3]) if len(rows) == 1 else None
        if spent is None or spent.row != rows[0] or not _possible(spent):
            raise OutputNotWritable(
                found=f"a {WHAT} at {self._path} that does not agree with itself",
                expected="the one that was written, or no file yet",
                remedy="find out what damaged it; whoever answers for the checks may remove it, which forgives all",
            )
        return spent

    def write(self, used: int, number: int) -> None:
        """Keep these, and that the pause begins now. Raises OutputNotWritable; then nothing was changed."""
        with self._table.transaction() as database:
            database.execute(ROW, Spent(used, number, self.now_s()).row)

    def now_s(self) -> float:
        """Seconds since 1970. Raises OutputNotWritable for a clock that tells none."""
        now_s = float(self._clock_s())
        if not math.isfinite(now_s):
            raise OutputNotWritable(found=f"a clock that says {now_s}", expected="seconds", remedy="repair the clock")
        return now_s

    def close(self) -> None:
        """Let others open it."""
        self._table.close()

    def _is_new(self) -> bool:
        """Claim the file where there is none; of several processes one succeeds."""
        with DurableTable.troubles_told(WHAT, self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._path.open("xb").close()
            except FileExistsError:
                return False
        return True

    def _made(self) -> DurableTable:
        try:
            table = DurableTable(self._path, TABLE, WHAT, alone=True)
            with table.transaction() as database:
                database.execute(ROW, Spent().row)
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        return table


def _possible(spent: Spent) -> bool:
    whole = all(type(value) is int and value >= 0 for value in (spent.used, spent.number))
    return whole and type(spent.paused_at_s) is float and math.isfinite(spent.paused_at_s)
