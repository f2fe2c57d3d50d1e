"""An index on disk of the outcome of each row of a batch, so that ten million rows take no memory.

The ledger is worthless by itself: it can be rebuilt from the output and the errors file. It records how many bytes of
both it covers; `output.py` reads again what a killed process has written after that.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from lee_llm_router.batch.met_keys import MetKeys

WAITING = 0
"""The state of a row that was read, but has no outcome."""
ANSWERED = -1
"""The state of a row whose answer is in the output. The state of a failed row is the offset of its line in the errors
file, plus one."""

_VERSION = 1
_CACHE_KB = 4_000
_UNTOLD = 500
"""Outcomes kept in memory before they are written together: a statement for each costs ten times as much."""
_UNCOMMITTED = 10_000
"""Outcomes after which to commit. A transaction writes each page it has touched, and rows are placed by their hashes:
with 500 per transaction, a row costs 8.7 us instead of 4.8, among 100,000."""
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rows (
        key BLOB PRIMARY KEY, state INTEGER NOT NULL, run INTEGER NOT NULL, times INTEGER NOT NULL,
        place INTEGER, asked BLOB
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class LedgerRow(NamedTuple):
    """The ledger's entry for one row."""

    state: int
    run: int
    """The number of the run that read it last."""
    times: int
    """How many equal rows that run has read so far."""
    asked: bytes | None
    """The hash of its request, if it has an id of its own."""


SeenRow: TypeAlias = tuple[bytes, int, int | None, bytes | None, bool]
"""A row that was read: its key; the number of equal ones so far; its number in the input (None: unchanged); the hash of
its request, if it has an id of its own; and whether it waits for an outcome, whatever earlier runs recorded."""


def key_of_broken(line: int) -> bytes:
    """Return the key of the broken row at `line`. No id has it: an id with this prefix is a different text."""
    return blake2b(b"%d" % line, digest_size=10, person=b"broken").digest()


class BatchLedger:
    """The ledger of one output. It belongs to the holder of the output's lock.

    It passes bytes to its statements as a `bytearray`: `sqlite3` asks any other type, even `bytes`, to adapt itself,
    which takes 1 us per value.

    Args:
        path: Its file; created if missing, and rebuilt if damaged.
        before_telling: Called before outcomes are written to disk; returns facts that are written with them.

    Raises:
        OSError, sqlite3.Error: it can be neither opened nor created.
    """

    def __init__(self, path: Path, before_telling: Callable[[], dict[str, Any]]) -> None:
        self._before_telling = before_telling
        self._untold: dict[bytes, tuple[bytearray, int, int, int, int | None, bytearray | None]] = {}
        """Rows that have ended, as in the table; those that it already contains, only with their states."""
        self._ended: dict[bytes, int] = {}
        self._uncommitted = 0
        self._met: MetKeys | None = None
        self.path = path
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._empty()
            self._db = self._opened()
        self.run: int = (self.fact("run") or 0) + 1
        """The number of this run; from 1."""
        self.set_facts({"run": self.run})

    def expect_rows(self) -> None:
        """Prepare for lookups of rows. If it holds none yet, only rows that may have come before are looked up: a
        lookup takes 2 us per row, instead of 0.4."""
        self._write_states()
        if self._db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None:
            self._met = MetKeys()

    def _opened(self) -> sqlite3.Connection:
        # Its users never overlap: the intake, then a thread that puts the output in order.
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            # A power failure may damage it; then it is rebuilt. A killed process does not damage it.
            db.execute("PRAGMA synchronous=OFF")
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version")
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_VERSION}")
            db.execute("BEGIN")
            db.execute("SELECT value FROM facts WHERE name = 'run'").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _empty(self) -> None:
        with suppress(FileNotFoundError):
            os.truncate(self.path, 0)
            self.path.with_name(f"{self.path.name}-journal").unlink()

    def fact(self, name: str) -> Any:
        """Return the value kept under `name`; None if there is none."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_facts(self, facts: dict[str, Any]) -> None:
        """Keep values by name."""
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def known(self, keys: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return the entries of rows, by their keys; a few hundred at most at once."""
        if self._met is not None:
            keys = self._met.maybe_met(keys)
        if not keys:
            return {}
        self._write_states()
        marks = ",".join("?" * len(keys))
        found = self._db.execute(
            f"SELECT key, state, run, times, asked FROM rows WHERE key IN ({marks})",  # noqa: S608 - only placeholders
            [bytearray(key) for key in keys],
        )
        return {key: LedgerRow(*rest) for key, *rest in found}

    def see(self, rows: Iterable[SeenRow]) -> None:
        """Record the rows that were read in this run."""
        self._db.executemany(
            "INSERT INTO rows VALUES (?, 0, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET run = excluded.run,"
            " times = excluded.times, place = coalesce(excluded.place, place), asked = coalesce(excluded.asked, asked),"
            " state = CASE WHEN ? THEN 0 ELSE state END",
            [
                (bytearray(key), self.run, times, place, None if asked is None else bytearray(asked), waits)
                for key, times, place, asked, waits in rows
            ],
        )

    def state(self, key: bytes) -> int:
        """Return the state of a row."""
        untold = self._untold.get(key)
        if untold is not None:
            return untold[1]
        if key in self._ended:
            return self._ended[key]
        row = self._db.execute("SELECT state FROM rows WHERE key = ?", (key,)).fetchone()
        return WAITING if row is None else int(row[0])

    def place(self, key: bytes) -> int:
        """Return the number in the input that a row has in this run; -1 if this run has not read it."""
        row = self._db.execute("SELECT place FROM rows WHERE key = ? AND run = ?", (key, self.run)).fetchone()
        return -1 if row is None or row[0] is None else int(row[0])

    def was_read(self, key: bytes) -> bool:
        """Whether this run has read the row."""
        return self.place(key) >= 0

    def end(self, key: bytes, state: int, seen: SeenRow | None = None) -> None:
        """Record the outcome of a row. It is on disk when `tell` returns.

        Args:
            key: The row's key.
            state: Its final state.
            seen: The row as it was read; None if that was recorded before, or is unknown.
        """
        if seen is None:
            self._ended[key] = state
        else:
            _, times, place, asked, _ = seen
            blob = None if asked is None else bytearray(asked)
            self._untold[key] = (bytearray(key), state, self.run, times, place, blob)
        if len(self._untold) + len(self._ended) >= _UNTOLD:
            self._write_states()

    def tell_if_many(self) -> None:
        """Same as `tell`, if many rows have ended since. Everything in the files must have gone to `end` before."""
        if self._uncommitted >= _UNCOMMITTED:
            self.tell()

    def _write_states(self) -> None:
        self._uncommitted += len(self._untold) + len(self._ended)
        if self._untold:
            self._db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", self._untold.values())
            self._untold.clear()
        if self._ended:
            self._db.executemany(
                "INSERT INTO rows VALUES (?, ?, 0, 0, NULL, NULL)"
                " ON CONFLICT (key) DO UPDATE SET state = excluded.state",
                [(bytearray(key), state) for key, state in self._ended.items()],
            )
            self._ended.clear()

    def tell(self) -> None:
        """Write everything to disk."""
        self._write_states()
        self.set_facts(self._before_telling())
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")
        self._uncommitted = 0

    def forget_rows(self) -> None:
        """Forget all rows, to record them again."""
        self._untold.clear()
        self._ended.clear()
        self._db.execute("DELETE FROM rows")

    def forget_failures(self) -> None:
        """Forget which rows have failed, to record them again."""
        self._write_states()
        self._db.execute("UPDATE rows SET state = 0 WHERE state > 0")

    def in_order(self, lines: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
        """Return ``(start, length)`` of `lines` by their places; each is ``(place, start, length)``.

        They are sorted on disk.
        """
        db = self._db
        db.execute("DROP TABLE IF EXISTS lines")
        db.execute("CREATE TABLE lines (place, start, length, PRIMARY KEY (place, start)) WITHOUT ROWID")
        db.executemany("INSERT INTO lines VALUES (?, ?, ?)", lines)
        found = db.execute("SELECT start, length FROM lines ORDER BY place, start")
        try:
            yield from found
        finally:
            found.close()
            db.execute("DROP TABLE lines")

    def close(self) -> None:
        """Close it, without writing anything further."""
        with suppress(sqlite3.Error):
            self._db.rollback()
        self._db.close()
