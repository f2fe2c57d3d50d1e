"""A SQLite trace file: creates, checks, migrates and opens it, and translates its failures.

How this works
--------------
The connection is a `ProcessConnection`: closed before a fork, and reopened on demand.

Once the file exists, it is never opened by other means: closing any descriptor of a file drops all locks that the
process has on it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import NoReturn
from urllib.parse import quote

from lee_llm_router._util.process_connection import ProcessConnection, make_private
from lee_llm_router.telemetry.stores.day_files import hide_from_git
from lee_llm_router.telemetry.stores.failures import StoreLockedError, TraceStoreError

APPLICATION_ID = 0x4C4C5254
"""Identifies the file as one of traces, in its header."""

MIGRATIONS = (
    """
    CREATE TABLE store (id TEXT NOT NULL);
    INSERT INTO store VALUES (lower(hex(randomblob(16))));
    CREATE TABLE records (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL,
        started_at REAL NOT NULL,
        attempt INTEGER,
        role TEXT,
        provider TEXT,
        model TEXT,
        outcome TEXT,
        failure_type TEXT,
        elapsed_ms REAL,
        first_token_ms REAL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cost_usd REAL,
        record TEXT NOT NULL,
        captured TEXT
    );
    CREATE INDEX records_of_call ON records (request_id);
    CREATE INDEX records_by_time ON records (started_at);
    """,
)
"""The step from each version of the tables to the next; the first makes a new file. `user_version` counts them.

`seq` counts the records in the order in which any process committed them, and is never reused. `started_at` is in
seconds since 1970. `record` is the record's JSON without the texts of ``capture: full``; the JSON with them, if there
are any, is in `captured`.
"""

_OTHERS = 0o077
_OPEN_SECONDS = 5.0
"""The longest wait for another process that creates or migrates the file."""
_PAUSE = 0.005
_LONGEST_LOG = 20_000
"""Pages of the log at which a write copies it into the file itself, since no thread has."""
_MESSAGES = {
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: move it away, or repair it with `sqlite3 FILE .recover`",
    sqlite3.SQLITE_FULL: "there is no space left for traces",
    sqlite3.SQLITE_READONLY: "the file or its folder cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
}
_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


class TraceDatabase:
    """One connection of this process to a trace file. Use it while holding `lock`.

    Args:
        path: The file.
        creates: Whether to create it if it is missing.
        patience: Seconds to wait for another process's lock.
    """

    def __init__(self, path: Path, *, creates: bool, patience: float) -> None:
        self.path = path
        self.patience = patience
        # Reentrant: a signal handler may close a stream, which writes a record, while this thread holds the lock.
        self._own = ProcessConnection(reentrant=True)
        self.lock = self._own.lock
        self.store_id = ""
        """Identifies the open file: another one in its place has another id."""
        self._creates = creates

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._own.db is not None

    @property
    def users(self) -> int:
        """How many operations currently use the connection: more than one only within a signal handler."""
        return self._own.users

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, opened if necessary; errors of SQLite inside it become a `TraceStoreError`.

        Raises:
            FileNotFoundError: there is no file, and none should be created.
            TraceStoreError: the file cannot be used.
        """
        self._own.users += 1
        try:
            yield self._own.db or self._open()
        except sqlite3.Error as error:
            self.fail(error)
        finally:
            self._own.users -= 1

    def has_moved(self) -> bool:
        """Return whether the open file is no longer the one at its path."""
        return self._own.has_moved(self.path)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._own.close()

    def fail(self, error: sqlite3.Error) -> NoReturn:
        """Raise the store's form of `error`.

        Raises:
            TraceStoreError: always.
        """
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _LOCKED:
            raise StoreLockedError("another program has locked the file", str(self.path), errno.EAGAIN) from error
        reason = _MESSAGES.get(code, f"SQLite says: {error}")
        raise TraceStoreError(reason, str(self.path), _NUMBERS.get(code, errno.EIO)) from error

    def _open(self) -> sqlite3.Connection:
        if "\0" in str(self.path):
            raise TraceStoreError("this cannot be a path", str(self.path), errno.EINVAL)
        if self._creates:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(self.path)
        _check_place(self.path, is_written=self._creates)
        mode = f"file:{quote(str(self.path))}?mode=rw"
        made = sqlite3.connect(mode, uri=True, timeout=self.patience, isolation_level=None, check_same_thread=False)
        try:
            made.text_factory = bytes
            self._prepare(made)
            if self._creates:
                _let_nobody_else_in(self.path)
        except BaseException:
            made.close()
            raise
        return self._own.opened(made, self.path)

    def _prepare(self, made: sqlite3.Connection) -> None:
        """Check whose file it is, and migrate its tables; several processes may do so at once."""
        waited = 0.0
        while True:
            try:
                if _version_of_one_moment(made, str(self.path)) < len(MIGRATIONS):
                    _migrate(made, str(self.path))
                made.execute("PRAGMA synchronous = NORMAL")
                made.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG}")
                self.store_id = _id_in(made)
            except sqlite3.OperationalError as error:
                # Switching to WAL does not wait for others by itself.
                if (error.sqlite_errorcode & 0xFF) not in _LOCKED or waited >= min(self.patience, _OPEN_SECONDS):
                    raise
                sleep(_PAUSE)
                waited += _PAUSE
            else:
                return


def _make(path: Path) -> None:
    """Create an empty file that only its owner can read, unless there is one; hide its folder from git."""
    if path.exists():
        return
    with suppress(OSError):
        hide_from_git(str(path.parent))
    make_private(path)


def _check_place(path: Path, *, is_written: bool) -> None:
    """Check that a plain file is there; one that `is_written` must be this user's.

    Raises:
        OSError: it is anything else.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise TraceStoreError("not a plain file", str(path), errno.EINVAL)
    if not is_written:
        return
    if found.st_uid != os.geteuid():
        raise TraceStoreError("the file belongs to another user", str(path), errno.EPERM)
    if found.st_nlink > 1:
        raise TraceStoreError("the file has another name, so it may be another file", str(path), errno.EMLINK)


def _let_nobody_else_in(path: Path) -> None:
    """Remove others' access, once it is known whose file it is: a wrong path may name any file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        with suppress(PermissionError):
            path.chmod(mode & ~_OTHERS)


def _version_of_one_moment(made: sqlite3.Connection, path: str) -> int:
    """Return the result of `_checked_version`, read in one transaction: another process may create the tables between
    two reads."""
    made.execute("BEGIN")
    try:
        return _checked_version(made, path)
    finally:
        if made.in_transaction:
            made.execute("ROLLBACK")


def _checked_version(made: sqlite3.Connection, path: str) -> int:
    """Return the version of the tables; 0 for an empty file.

    Raises:
        TraceStoreError: it is another program's database, or from a newer version.
    """
    (application,), (version,) = (
        made.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        (tables,) = made.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or version or tables:
            raise TraceStoreError("the database of another program", path, errno.EINVAL)
        return 0
    if version > len(MIGRATIONS):
        raise TraceStoreError(
            f"written by a newer version of this library (tables of version {version}; this one knows"
            f" {len(MIGRATIONS)}): upgrade it", path, errno.EINVAL,
        )  # fmt: skip
    return int(version)


def _id_in(made: sqlite3.Connection) -> str:
    """Return the id of the file; empty if somebody has removed it, which leaves the records readable."""
    found = made.execute("SELECT id FROM store").fetchone()
    return found[0].decode(errors="replace") if found else ""


def _migrate(made: sqlite3.Connection, path: str) -> None:
    """Create the tables, or migrate them, in one transaction."""
    made.execute("PRAGMA auto_vacuum = INCREMENTAL")  # affects only an empty file
    made.execute("PRAGMA journal_mode = WAL").fetchone()
    made.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for step in MIGRATIONS[_checked_version(made, path) :]:
            for statement in filter(str.strip, step.split(";")):
                made.execute(statement)
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        made.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        made.execute("COMMIT")
    except BaseException:
        if made.in_transaction:
            made.execute("ROLLBACK")
        raise
