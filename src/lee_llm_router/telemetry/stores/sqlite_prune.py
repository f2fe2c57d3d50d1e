"""Deletes old records of a SQLite trace file on request: few at once, so that writers can continue."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lee_llm_router.telemetry.stores.prune_plan import PrunePlan
from lee_llm_router.telemetry.stores.sqlite_file import TraceDatabase

_PATIENCE = 10.0
"""Seconds to wait for another program that has locked the file."""
_MOST_AT_ONCE = 5000
_GOING = "(started_at < ? OR seq <= ?) AND seq <= ?"
_COUNT = f"SELECT count(*), min(started_at), max(started_at) FROM records WHERE {_GOING}"  # noqa: S608 - a constant
_DELETE = f"DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE {_GOING} LIMIT ?)"  # noqa: S608
_NEVER = -1.0


class SqlitePruner:
    """Deletes records of one file.

    Args:
        path: The file. A missing one is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = TraceDatabase(path, creates=False, patience=_PATIENCE)

    def plan(self, before: float | None = None, keep_bytes: float | None = None) -> PrunePlan:
        """As `TracePruner.plan`. Sizes are approximate; by size, all except the newest record may go."""
        try:
            with self._database.lock, self._database.connection() as connection:
                return self._planned(connection, before, keep_bytes)
        except FileNotFoundError:
            return PrunePlan(place=self._path, unit="records", gone=0, gone_bytes=0, kept=0, kept_bytes=0)
        finally:
            self._database.close()

    def carry_out(self, plan: PrunePlan) -> int:
        """As `TracePruner.carry_out`. Records written meanwhile stay."""
        deleted = 0
        try:
            with self._database.lock:
                while True:
                    with self._database.connection() as connection:
                        gone = connection.execute(_DELETE, (*plan.what, _MOST_AT_ONCE)).rowcount
                    deleted += gone
                    if gone < _MOST_AT_ONCE:
                        break
                with self._database.connection() as connection, suppress(sqlite3.OperationalError):
                    # `execute` takes one step, which frees one page: this statement has a step for each page.
                    connection.executescript("PRAGMA incremental_vacuum")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except FileNotFoundError:
            return deleted
        finally:
            self._database.close()
        return deleted

    def _planned(self, connection: sqlite3.Connection, before: float | None, keep_bytes: float | None) -> PrunePlan:
        count, low, top = connection.execute("SELECT count(*), min(seq), max(seq) FROM records").fetchone()
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        used, cut = (pages - free) * size if count else 0, -1
        if keep_bytes is not None and used > keep_bytes:
            cut = min(low + int((top - low) * (1 - keep_bytes / used)), top - 1)
        what = (_NEVER if before is None else before, cut, top or 0)
        gone, first, last = connection.execute(_COUNT, what).fetchone()
        gone_bytes = round(used * gone / count) if count else 0
        return PrunePlan(
            place=self._path, unit="records", gone=gone, gone_bytes=gone_bytes, kept=count - gone,
            kept_bytes=used - gone_bytes, first=_moment(first), last=_moment(last), what=what,
        )  # fmt: skip


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    with suppress(ValueError, OverflowError, OSError):
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return "?"
