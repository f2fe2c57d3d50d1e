"""The database of a durable batch: checks its address, creates its tables, and translates its errors into ours.

DBOS keeps its tables in a schema of its own, so that an application's own workflows in the same database stay separate.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.scrubbing import MAX_TEXT, scrub
from lee_llm_router.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

NEEDS_EXTRA = 'the engine dbos needs an extra: pip install "lee-llm-router[batch]"'
SCHEMA = "lee_llm_router"
"""The schema of all tables in Postgres; SQLite has no schemas."""
SQLITE_SERVES = sys.version_info < (3, 12) or sqlite3.sqlite_version_info >= (3, 42)
"""Whether DBOS can use the SQLite of this Python: from 3.12 on it assumes that `unixepoch` supports 'subsec'.

That came with SQLite 3.42 (sqlite.org/releaselog/3_42_0.html)."""
_OWN_TABLE = "dbos_migrations"
"""The table that DBOS creates first. A SQLite file with other tables but not this one belongs to another program."""
_BUSY_SECONDS = 30
"""Seconds that a writer waits for another one in SQLite, as in DBOS itself."""
_CONNECT_SECONDS = 10
"""Seconds that Postgres has to accept a connection, as in DBOS itself."""


def need_dbos() -> None:
    """Check that DBOS is installed.

    Raises:
        ConfigError: it is not; the message names the extra.
    """
    if find_spec("dbos") is None:
        raise ConfigError(NEEDS_EXTRA, sent=False)


class BatchDatabase:
    """The database at an address: ``postgresql://user@host/name``, or ``sqlite:///rows.db``.

    Args:
        address: A URL. It is never logged, since it may contain a password.

    Raises:
        ConfigError: the address is neither of the two, the extra is missing, or this Python's SQLite is too old for it.
    """

    def __init__(self, address: str) -> None:
        need_dbos()
        self._url = _checked(address)
        self.is_sqlite = self._url.drivername.startswith("sqlite")
        if self.is_sqlite and not SQLITE_SERVES:
            raise ConfigError(
                f"DBOS needs SQLite 3.42 with this Python, which has {sqlite3.sqlite_version}: use postgresql://, or"
                " Python 3.11",
                sent=False,
            )
        self._engine: Engine | None = None

    @property
    def address(self) -> str:
        """The complete address with its password: only for DBOS."""
        return self._url.render_as_string(hide_password=False)

    @property
    def shown(self) -> str:
        """The address in a form that may be shown: without password and options."""
        kind = "sqlite" if self.is_sqlite else "postgresql"
        return self._url.set(drivername=kind, query={}).render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        """Our own connections to the database, in addition to those of DBOS."""
        if self._engine is None:
            from sqlalchemy import create_engine  # noqa: PLC0415 - the extra

            if self.is_sqlite:
                self._engine = create_engine(self._url, connect_args={"timeout": _BUSY_SECONDS})
            else:
                self._engine = create_engine(
                    self._url,
                    pool_pre_ping=True,
                    pool_size=2,
                    max_overflow=2,
                    connect_args={"connect_timeout": _CONNECT_SECONDS},
                )
        return self._engine

    def prepare(self) -> None:
        """Create the database and the tables of DBOS, unless they exist.

        Raises:
            ConfigError: the SQLite file cannot be created, or belongs to another program.
            UnavailableError: the database cannot be reached, or refuses.
        """
        from dbos import DBOS  # noqa: PLC0415 - the extra

        from lee_llm_router.batch.durable.quiet import quiet_logs  # noqa: PLC0415 - the extra

        if self.is_sqlite:
            self._make_file()
        quiet_logs()
        with self.failures_named():
            DBOS.migrate(self.address, schema=SCHEMA)

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def failures_named(self) -> Iterator[None]:
        """Raise database errors as errors of ours, without the statement and its values.

        Raises:
            UnavailableError: something went wrong.
        """
        from dbos import error as of_dbos  # noqa: PLC0415 - the extra
        from psycopg import Error as PostgresError  # noqa: PLC0415 - the extra
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError  # noqa: PLC0415 - the extra

        try:
            yield
        except (SQLAlchemyError, of_dbos.DBOSException, PostgresError, sqlite3.Error, OSError) as error:
            # The text of SQLAlchemy's own error contains the values of the statement: prompts.
            cause: Any = error.orig if isinstance(error, DBAPIError) else error
            raise UnavailableError(f"the database {self.shown}: {self._scrubbed(cause)}", sent=False) from None

    def _scrubbed(self, cause: object) -> str:
        """Return the driver's message on one line, without the password."""
        text = " ".join(str(cause).split()) or type(cause).__name__
        return scrub(text, [self._url.password] if self._url.password else [])[:MAX_TEXT]

    def _make_file(self) -> None:
        """Create the file for its owner only, since it will contain prompts, and allow reads during writes."""
        name = self._url.database
        try:
            os.close(os.open(str(name), os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(str(name), timeout=_BUSY_SECONDS)
            try:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                if tables and _OWN_TABLE not in tables:
                    raise ConfigError(
                        f"the database {self.shown} belongs to another program: name a separate file", sent=False
                    )
                connection.execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"the database {self.shown} cannot be used: {why}", sent=False) from error


def _checked(address: str) -> URL:
    """Return the address in the form that DBOS takes."""
    from sqlalchemy import make_url  # noqa: PLC0415 - the extra
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - the extra

    expected = "a database is given as postgresql://user@host/name or sqlite:///file.db"
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        # Do not show it: it may contain a password in an unrecognizable form.
        raise ConfigError(f"this is not the address of a database: {expected}", sent=False) from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        if not url.database:
            raise ConfigError(f"the address names no database: {expected}", sent=False)
        if "@" in (url.host or "") or "@" in url.database:
            raise ConfigError("in a password, @ is written as %40, / as %2F and : as %3A", sent=False)
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise ConfigError(f"{kind} is not a supported kind of database: {expected}", sent=False)
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"workers share a file, but this names none: {expected}", sent=False)
    return url.set(drivername="sqlite", database=str(Path(url.database).absolute()))
