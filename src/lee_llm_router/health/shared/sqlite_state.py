"""The shared state of the processes of one host, in a SQLite file without a server.

How this works
--------------
An exchange is one transaction: its scopes are read, decided by the same rules as for the shared state in memory, and
written back. The time comes from the host's monotonic clock, which all its processes share; a file with future times is
from before the last boot, and is emptied.

Each change of a door gets a number. A process that waits for changes asks SQLite every `POLL` seconds whether others
have written anything at all, which costs microseconds, and if so, for doors with higher numbers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from threading import Event
from time import monotonic

from pydantic import Field

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.host_database import HostDatabase, HostDatabaseError
from lee_llm_router._util.printable import encodable
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.shared.contract import DoorReport, DoorView, Exchange, LimitsReport, LimitsView
from lee_llm_router.health.shared.door_rules import DoorScope
from lee_llm_router.health.shared.limits_rules import LimitsScope
from lee_llm_router.health.shared.settings import StateSettings

APPLICATION_ID = 0x4C4C5253
"""Identifies, in the file's header, the file of a shared state."""
POLL = 0.02
"""Seconds between two checks for changes by others."""
_TABLES = """
CREATE TABLE limits (scope TEXT PRIMARY KEY, data TEXT NOT NULL, touched REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE doors (scope TEXT PRIMARY KEY, data TEXT NOT NULL, touched REAL NOT NULL, change INTEGER NOT NULL);
CREATE INDEX changes ON doors (change);
"""
_SWEEP_EVERY = 1000
"""Exchanges between two searches for scopes that are no longer in use."""
_LIMITS_KEPT = 600.0
"""Seconds after which a limits scope is forgotten: uses count for a minute."""
_DOORS_KEPT = 8 * 86_400.0
"""Seconds after which a door is forgotten: a vendor's wait is a week at most."""


class SqliteSettings(StateSettings):
    """Settings of the shared state of one host."""

    path: str = Field(
        ".lee-llm-router/state.sqlite",
        min_length=1,
        description="The file, on a local disk. A relative path starts at the folder of the configuration file, ~ is"
        " the home folder.",
    )


class SqliteState:
    """Shares between the processes of one host that open one file.

    Args:
        settings: The section `state`.
        now: Tells the time in seconds, by a clock that all processes share.

    Raises:
        ConfigError: the path is not valid.
    """

    config_model = SqliteSettings

    def __init__(self, settings: SqliteSettings, now: Callable[[], float] = monotonic) -> None:
        try:
            path = settings.origin.path(settings.path).absolute()
        except OSError as error:
            raise ConfigError(f"state.path: {error.strerror or error}", sent=False) from None
        if "\0" in settings.path:
            raise ConfigError("state.path: this cannot be a path", sent=False)
        self._namespace = settings.namespace
        self._now = now
        self._database = HostDatabase(path, _TABLES, application_id=APPLICATION_ID, patience=settings.timeout)
        self._exchanges = 0
        self._seen = (0, 0, 0)
        """The last check: the number of the opening, SQLite's version of the file, the number of the last change."""
        self._closed = Event()

    @classmethod
    def from_settings(cls, settings: SqliteSettings, *, clock: Clock) -> SqliteState:  # noqa: ARG003
        """Return the state for a router; it uses the host's clock, not the router's."""
        return cls(settings)

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """Same as `SharedState.exchange`.

        Raises:
            HostDatabaseError: the file cannot be used, or another process has held it for too long.
        """
        if self._closed.is_set():
            raise HostDatabaseError("it is closed")
        with self._database.writing() as connection:
            now = self._now()
            if self._exchanges % _SWEEP_EVERY == 0:
                _sweep(connection, now)
            self._exchanges += 1
            return Exchange(
                [self._take_limits(connection, report, now) for report in limits],
                [self._take_door(connection, report, now) for report in doors],
            )

    def wait_for_changes(self, seconds: float) -> Collection[str] | None:
        """Same as `SharedState.wait_for_changes`.

        Raises:
            HostDatabaseError: the file cannot be used, or this is closed.
        """
        until = monotonic() + seconds
        while not self._closed.is_set():
            found = self._changes()
            left = until - monotonic()
            if found is None or found or left <= 0:
                return found
            self._closed.wait(min(POLL, left))
        raise HostDatabaseError("it is closed")

    def close(self) -> None:
        """See `SharedState.close`."""
        self._closed.set()
        self._database.close()

    def _take_limits(self, connection: sqlite3.Connection, report: LimitsReport, now: float) -> LimitsView:
        name = self._name(report.scope)
        known = connection.execute("SELECT data FROM limits WHERE scope = ?", (name,)).fetchone()
        scope = LimitsScope.from_data(json.loads(known[0])) if known else LimitsScope()
        view = scope.exchange(report, now)
        connection.execute("REPLACE INTO limits VALUES (?, ?, ?)", (name, json.dumps(scope.to_data()), now))
        return view

    def _take_door(self, connection: sqlite3.Connection, report: DoorReport, now: float) -> DoorView:
        name = self._name(report.scope)
        known = connection.execute("SELECT data, change FROM doors WHERE scope = ?", (name,)).fetchone()
        door, change = (DoorScope.from_data(json.loads(known[0])), known[1]) if known else (DoorScope(), 0)
        version = door.version
        view = door.exchange(report, now)
        if view.version != version:
            (change,) = connection.execute("SELECT coalesce(max(change), 0) + 1 FROM doors").fetchone()
        connection.execute("REPLACE INTO doors VALUES (?, ?, ?, ?)", (name, json.dumps(door.to_data()), now, change))
        return view

    def _changes(self) -> Collection[str] | None:
        """Return the doors that have changed since the last check; None if that is unknown."""
        with self._database.reading() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            opening, known, last = self._seen
            if (self._database.openings, version) == (opening, known):
                return ()
            found = connection.execute("SELECT scope, change FROM doors WHERE change > ?", (last,)).fetchall()
            newest = max((change for _, change in found), default=last)
            self._seen = self._database.openings, version, newest
        if opening != self._seen[0]:
            return None
        prefix = self._name("")
        return [name.removeprefix(prefix) for name, _ in found if name.startswith(prefix)]

    def _name(self, scope: str) -> str:
        return encodable(f"{len(self._namespace)}:{self._namespace}:{scope}")


def _sweep(connection: sqlite3.Connection, now: float) -> None:
    """Delete what is no longer in use, and everything if the machine was rebooted since."""
    latest = "SELECT max(coalesce((SELECT max(touched) FROM limits), 0), coalesce((SELECT max(touched) FROM doors), 0))"
    if connection.execute(latest).fetchone()[0] > now:
        connection.execute("DELETE FROM limits")
        connection.execute("DELETE FROM doors")
    connection.execute("DELETE FROM limits WHERE touched < ?", (now - _LIMITS_KEPT,))
    connection.execute("DELETE FROM doors WHERE touched < ?", (now - _DOORS_KEPT,))
