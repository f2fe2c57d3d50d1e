"""Deletes old records of the SQLite store: a few with each write, so that no call waits long."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import inf

from lee_llm_router.telemetry.stores.day_files import MEGABYTE, SECONDS_A_DAY, day_to_count_from
from lee_llm_router.telemetry.stores.sqlite_rows import Row

_MOST_AT_ONCE = 200
"""Records to delete with one write, if they are too old."""
_MEASURE_EVERY = 64
"""Records between two checks of the file's size."""
_OVERHEAD = 400
"""Bytes that a row takes besides its texts: its other columns, and its index entries."""
_OUTDATED = "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE started_at < ? LIMIT ?)"


class SqliteTidier:
    """Enforces `keep_days` and `max_mb` in one process; several may do so at once."""

    def __init__(self, keep_days: int, max_mb: float) -> None:
        self._keep_days = keep_days
        self._max_bytes = max_mb * MEGABYTE
        self._day = -1
        self._cutoff: float | None = None
        """Records older than this are deleted; None when all of them are gone."""
        self._room = 0.0
        """Bytes that may be written before the next check of the size."""

    def tidy(self, connection: sqlite3.Connection, now: float) -> None:
        """Delete some of the records that are too old at `now`. Skip what cannot be deleted."""
        if self._keep_days <= 0:
            return
        try:
            day = int(now // SECONDS_A_DAY)
            if day != self._day:
                self._day = day
                self._cutoff = _cutoff(connection, day, self._keep_days)
            if self._cutoff is not None:
                gone = connection.execute(_OUTDATED, (self._cutoff, _MOST_AT_ONCE)).rowcount
                if gone < _MOST_AT_ONCE:
                    self._cutoff = None
        except sqlite3.Error:
            self._day = -1  # the next write tries again

    def make_room(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Delete the oldest records until `rows` fit into the limit with an eighth of it to spare.

        Raises:
            sqlite3.Error: they cannot be deleted.
        """
        if not self._max_bytes:
            return
        size = sum(_OVERHEAD + len(row[-2]) + len(row[-1] or "") for row in rows)
        if size <= self._room:
            self._room -= size
            return
        if _used(connection) + size > self._max_bytes:
            target = max(0.0, self._max_bytes * 7 / 8 - size)
            while (used := _used(connection)) > target and _delete_oldest(connection, 1 - target / used):
                pass
        connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page
        self._room = min((self._max_bytes - _used(connection) - size) / 2, self._max_bytes / _MEASURE_EVERY)


def _cutoff(connection: sqlite3.Connection, day: int, keep_days: int) -> float:
    """Return the time before which records are too old; see `day_to_count_from`."""
    midnight = day * SECONDS_A_DAY
    (newest,) = connection.execute(
        "SELECT max(started_at) FROM records WHERE started_at > ? AND started_at < ?", (-inf, midnight)
    ).fetchone()
    before = day if newest is None else int(newest // SECONDS_A_DAY)
    return float((day_to_count_from(day, before, keep_days) - keep_days) * SECONDS_A_DAY)


def _delete_oldest(connection: sqlite3.Connection, share: float) -> bool:
    """Delete roughly this share of all records, the oldest, and return whether there were any."""
    low, top = connection.execute("SELECT min(seq), max(seq) FROM records").fetchone()
    if low is None:
        return False
    connection.execute("DELETE FROM records WHERE seq <= ?", (low + int((top - low) * share),))
    return True


def _used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
