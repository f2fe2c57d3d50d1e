"""Answers cached in one SQLite file, for any number of processes on one host.

How this works
--------------
Readers do not wait for writers in other processes (WAL). Writers take turns; one that would wait longer than
`_BUSY_SECONDS` drops its answer. The limit counts the pages in use: the oldest answers go first, and their pages are
reused.

The file is only a cache. If it is damaged, or belongs to another program, this process does without it, logs one
warning, and writes nothing to it. Connections are closed before a fork (`ProcessConnection`), and reopened on demand.
One connection reads and one writes, so that readers do not wait for writers within a process either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.log import logger
from lee_llm_router._util.process_connection import ProcessConnection, make_private
from lee_llm_router.providers.cache.contract import AnswerStore, KeptValue

ResultT = TypeVar("ResultT")

APPLICATION_ID = 0x4C4C5243
"""Identifies the file as one of cached answers, in its header."""
VERSION = 1
_BUSY_SECONDS = 0.02
_PAGE = 4096
_LARGEST_SHARE = 4
"""A value larger than this fraction of the room is dropped: it would evict too many others."""
_DROPPED_AT_ONCE = 20
"""If there is no room left, one in this many answers is deleted, the oldest first."""
_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, until REAL NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (until);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteStore(AnswerStore):
    """Keeps values in the file `path`, which is created on first use.

    Args:
        path: The file.
        max_bytes: Maximum total size of its pages. The log next to it (``-wal``) adds up to 4 MB.
        clock: Tells when a value has expired.
    """

    def __init__(self, path: str, max_bytes: int, clock: Clock) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._max_pages = max(16, max_bytes // _PAGE)
        self._clock = clock
        self._reader = ProcessConnection()
        self._writer = ProcessConnection()
        self._is_off = False
        self._was_full = False

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `AnswerStore.find`."""

        def find(db: sqlite3.Connection) -> list[bytes | None]:
            now = self._clock.time()
            return [_found(db, key, now) for key in keys]

        return self._done(self._reader, find, [None] * len(keys))

    def keep(self, values: Sequence[KeptValue]) -> None:
        """As `AnswerStore.keep`, in one transaction."""
        now = self._clock.time()
        rows = [
            (one.key, now + one.seconds, one.value)
            for one in values
            if len(one.value) * _LARGEST_SHARE <= self._max_bytes
        ]

        def keep(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany("INSERT OR REPLACE INTO answers (key, until, value) VALUES (?, ?, ?)", rows)
                self._make_room(db)
            except BaseException:
                if db.in_transaction:  # an error may have ended it
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

        self._done(self._writer, keep, None)

    def clear(self) -> int:
        """As `AnswerStore.clear`; returns the room to the file system."""

        def clear(db: sqlite3.Connection) -> int:
            count = db.execute("DELETE FROM answers").rowcount
            db.execute("PRAGMA incremental_vacuum").fetchall()
            return count

        return self._done(self._writer, clear, 0)

    def close(self) -> None:
        """As `AnswerStore.close`."""
        for connection in (self._reader, self._writer):
            with connection.lock:
                connection.close()

    def _make_room(self, db: sqlite3.Connection) -> None:
        """Delete answers until the pages in use are within the limit: expired ones, then the oldest."""
        if self._pages(db) <= self._max_pages:
            return
        db.execute("DELETE FROM answers WHERE until <= ?", (self._clock.time(),))
        while self._pages(db) > self._max_pages:
            count = db.execute("SELECT count(*) FROM answers").fetchone()[0]
            if not count:
                break
            some = 1 + count // _DROPPED_AT_ONCE
            db.execute("DELETE FROM answers WHERE seq IN (SELECT seq FROM answers ORDER BY seq LIMIT ?)", (some,))
        db.execute("PRAGMA incremental_vacuum(64)").fetchall()

    def _pages(self, db: sqlite3.Connection) -> int:
        used: int = db.execute("PRAGMA page_count").fetchone()[0]
        free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
        return used - free

    def _done(
        self, connection: ProcessConnection, work: Callable[[sqlite3.Connection], ResultT], otherwise: ResultT
    ) -> ResultT:
        """Return the result of `work`; `otherwise` if the file cannot be used, or not now."""
        if self._is_off:
            return otherwise
        try:
            with connection.lock:
                return work(connection.db or connection.opened(self._opened(), self._path))
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                self._warn_once("has no space on its disk: new answers are not kept")
            elif code not in _BUSY:
                self._turn_off(error)
        except (OSError, ValueError) as error:
            self._turn_off(error)
        return otherwise

    def _warn_once(self, what: str) -> None:
        was_full, self._was_full = self._was_full, True
        if not was_full:
            logger.warning("the cache of answers %s %s", self._path, what)

    def _turn_off(self, error: Exception) -> None:
        was_off, self._is_off = self._is_off, True
        self.close()
        if not was_off:
            reason = getattr(error, "strerror", None) or str(error)
            logger.warning("the cache of answers %s cannot be used and is off: %s", self._path, reason)

    def _opened(self) -> sqlite3.Connection:
        _make(self._path)
        db = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            # In this order, since another process may create the tables in between.
            is_empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            mark = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if (mark, version) != (APPLICATION_ID, VERSION):
                if not is_empty:
                    raise ValueError("it is a file of another program, or of another version")
                db.executescript(_SCHEMA)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_size_limit = 4000000")
        except BaseException:
            db.close()
            raise
        return db


def _found(db: sqlite3.Connection, key: bytes, now: float) -> bytes | None:
    row = db.execute("SELECT value FROM answers WHERE key = ? AND until > ?", (key, now)).fetchone()
    value = None if row is None else row[0]
    return value if isinstance(value, bytes) else None


def _make(path: Path) -> None:
    """Create the file, for its owner only; hide a folder created for it from git."""
    folder = path.parent
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    make_private(path)
