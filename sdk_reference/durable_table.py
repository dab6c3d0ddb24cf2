"""A SQLite file for what must not be forgotten: changed wholly or not at all, and on the disk when it says so.

Used nonces and spent attempts are kept so. `synchronous = FULL` means that what was committed is on the disk; SQLite's
locks keep processes apart. Every trouble, a full disk or a damaged file, is OutputNotWritable: who cannot write down
that a challenge is used or an attempt spent must not go on.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sdk_reference.errors import OutputNotWritable

LOCK_WAIT_S: Final = 10.0


class DurableTable:
    """One open database. Safe between threads; a fork must open its own (SQLite forbids sharing)."""

    def __init__(self, path: str | Path | None, schema: str, what: str, *, alone: bool = False) -> None:
        """`path` None: in memory. `what` names it in errors; `alone`: no other process may have it open.

        Raises OutputNotWritable when it cannot be opened or written.
        """
        self._place, self._what = ":memory:" if path is None else str(path), what
        self._lock = threading.Lock()
        with self.troubles_told(what, self._place):
            if path is not None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            wait_s = 0.0 if alone else LOCK_WAIT_S
            self._database = sqlite3.connect(self._place, timeout=wait_s, isolation_level=None, check_same_thread=False)
            try:
                if alone:
                    self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")
            except BaseException:
                self._database.close()
                raise

    @contextmanager
    def transaction(self, *, kept: tuple[type[Exception], ...] = ()) -> Iterator[sqlite3.Connection]:
        """Everything or nothing, alone in the file; what was done before an exception of `kept` stays done."""
        with self._lock, self.troubles_told(self._what, self._place):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                try:
                    yield self._database
                except kept:
                    self._database.execute("COMMIT")
                    raise
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:  # on a full disk SQLite has rolled back by itself
                    self._database.execute("ROLLBACK")

    def close(self) -> None:
        """Close it; one in memory is gone."""
        with self._lock:
            self._database.close()

    @staticmethod
    @contextmanager
    def troubles_told(what: str, place: str | Path) -> Iterator[None]:
        """Turn what SQLite and the operating system complain of into OutputNotWritable."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutputNotWritable(
                found=f"a {what} at {place} that does not open or write ({error})",
                expected="an intact one, or no file yet, on a disk with room",
                remedy="end other sessions that use it, free the disk or choose another place; "
                "a damaged file must be replaced, never repaired by hand",
            ) from error
