"""A connection to an SQLite file that belongs to the process that opened it, and the creation of such a file.

How this works
--------------
SQLite's locks belong to the process, but a copy of a connection in a forked child assumes that it holds them; even
closing it there does harm. So every connection is closed before a fork, its lock is held until the fork is over, and
parent and child reopen it on demand.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import suppress
from pathlib import Path

from lee_llm_router._util.fork_lock import ForkLock

_FORK_SECONDS = 5.0
"""The longest time that a fork waits for work with a connection to end."""


class ProcessConnection:
    """A connection of this process, while it is open. Hold `lock` while using it, `close` included.

    Args:
        reentrant: Whether a signal handler may use it while its thread does.
    """

    def __init__(self, *, reentrant: bool = False) -> None:
        self.lock = ForkLock(reentrant=reentrant, in_child=self._abandon)
        self.db: sqlite3.Connection | None = None
        """The connection; None while it is closed."""
        self.users = 0
        """How many operations currently use it, if counted: otherwise a fork need not check."""
        self._place: tuple[int, int] | None = None
        _connections.add(self)

    def __del__(self) -> None:
        if getattr(self, "db", None) is not None:
            self.close()

    def opened(self, made: sqlite3.Connection, path: Path) -> sqlite3.Connection:
        """Adopt `made`, a new connection to the file at `path`, and return it."""
        self.db, self._place = made, _place_of(path)
        return made

    def has_moved(self, path: Path) -> bool:
        """Return whether the open file is no longer the one at `path`."""
        return self.db is not None and self._place != _place_of(path)

    def close(self) -> None:
        """Close the connection, if there is one."""
        found, self.db = self.db, None
        if found is not None:
            with suppress(sqlite3.Error):
                found.close()

    def _abandon(self) -> None:
        """In a forked child, forget the connection without closing it: it is the parent's."""
        if self.db is not None:
            _of_parents.append(self.db)
        self.db, self.users = None, 0


def make_private(path: Path) -> None:
    """Create an empty file that only its owner can read, unless there is one; SQLite's other files get its mode."""
    if not path.exists():
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def _place_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_connections: weakref.WeakSet[ProcessConnection] = weakref.WeakSet()
_of_parents: list[sqlite3.Connection] = []
"""Connections that were open during a fork all the same; they are never closed here."""
_held: list[ProcessConnection] = []


def _before_fork() -> None:
    for one in list(_connections):
        if one.lock.inner.acquire(timeout=_FORK_SECONDS):
            _held.append(one)
            if not one.users:  # otherwise a signal handler forks in the middle of this thread's own work
                one.close()


def _after_fork() -> None:
    while _held:
        _held.pop().lock.inner.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_held.clear)
