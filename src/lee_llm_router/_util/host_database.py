"""A small SQLite file through which the processes of one host share short-lived data.

How this works
--------------
The connection is a `ProcessConnection`: closed before a fork, and reopened on the next use. If the file was deleted or
replaced, the new one is opened.

Writes are not flushed to the disk, which would take milliseconds: killing a process at any moment does not harm the
file, and after a power cut its contents no longer matter.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from lee_llm_router._util.process_connection import ProcessConnection, make_private

_PAUSE = 0.002
_OTHERS = 0o077


class HostDatabaseError(Exception):
    """The file cannot be used."""


class HostDatabase:
    """This process's connection to such a file, opened on first use. Safe to use from any thread.

    Args:
        path: The file; created, for its owner only, if it is missing.
        tables: SQL that creates the tables.
        application_id: Identifies the file in its header; another program's file is not touched.
        patience: Seconds to wait for another process.
    """

    def __init__(self, path: Path, tables: str, *, application_id: int, patience: float) -> None:
        self.path = path
        self._tables = tables
        self._application_id = application_id
        self._patience = patience
        self._own = ProcessConnection()
        self.openings = 0
        """How often the file was opened: what was read earlier may be from another file."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection.

        Raises:
            HostDatabaseError: the file cannot be used.
        """
        with self._own.lock:
            try:
                yield self._opened()
            except (sqlite3.Error, OSError) as error:
                if not isinstance(error, sqlite3.OperationalError):
                    self._own.close()
                raise HostDatabaseError(f"{self.path.name}: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction: all its changes are made, or none.

        Raises:
            HostDatabaseError: the file cannot be used.
        """
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection. The next use opens a new one."""
        with self._own.lock:
            self._own.close()

    def _opened(self) -> sqlite3.Connection:
        own = self._own
        if own.has_moved(self.path):
            own.close()
        if own.db is not None:
            return own.db
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self.path)
        _check(self.path)
        made = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw", uri=True, timeout=self._patience, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            self._prepare(made)
            _let_nobody_else_in(self.path)
        except BaseException:
            made.close()
            raise
        self.openings += 1
        return own.opened(made, self.path)

    def _prepare(self, made: sqlite3.Connection) -> None:
        """Create the tables, unless another process has been faster."""
        made.execute("PRAGMA synchronous = OFF")
        until = monotonic() + self._patience
        while not self._is_ours(made):
            try:
                made.execute("PRAGMA journal_mode = WAL").fetchone()
                self._make_tables(made)
            except sqlite3.OperationalError:
                # Switching to WAL does not wait for others by itself.
                if monotonic() >= until:
                    raise
                sleep(_PAUSE)

    def _make_tables(self, made: sqlite3.Connection) -> None:
        made.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ours(made):
                for statement in filter(str.strip, self._tables.split(";")):
                    made.execute(statement)
                made.execute(f"PRAGMA application_id = {self._application_id}")
            made.execute("COMMIT")
        except BaseException:
            if made.in_transaction:
                made.execute("ROLLBACK")
            raise

    def _is_ours(self, made: sqlite3.Connection) -> bool:
        """Return whether the tables are there; False for an empty file.

        Raises:
            HostDatabaseError: it is another program's database.
        """
        # In this order, since another process may create the tables in between.
        (tables,) = made.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (found,) = made.execute("PRAGMA application_id").fetchone()
        if found != self._application_id and (found or tables):
            raise HostDatabaseError(f"{self.path.name} is the database of another program")
        return bool(tables)


def _check(path: Path) -> None:
    """Check that the path leads to a plain file of this user.

    Raises:
        HostDatabaseError: it leads to anything else.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise HostDatabaseError(f"{path.name} is not a plain file")
    if found.st_uid != os.geteuid():
        raise HostDatabaseError(f"{path.name} belongs to another user")


def _let_nobody_else_in(path: Path) -> None:
    """Remove others' access, once it is known whose file it is: a wrong path may name any file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        with suppress(PermissionError):
            path.chmod(mode & ~_OTHERS)
