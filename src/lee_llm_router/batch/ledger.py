"""An index on disk of how each row of a batch has ended, so that ten million rows take no memory.

The ledger is worth nothing by itself: it can be made again from the output and the errors file. It says up to which
byte of both it has been told; what was written behind that, by a process that was killed, `output.py` reads again.
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
"""The state of a row that was read, and has no outcome."""
ANSWERED = -1
"""The state of a row whose answer is in the output. One that has failed has the place of its line in the errors file,
plus one, for a state."""

_VERSION = 1
_CACHE_KB = 4_000
_UNTOLD = 500
"""Outcomes that are kept in memory until they are written together: a statement for each costs ten times as much."""
_UNCOMMITTED = 10_000
"""Outcomes after which they are committed. A transaction writes each page that it has touched, and rows lie where their
hashes say: with 500 in each, a row costs 8.7 us instead of 4.8, among 100,000."""
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rows (
        key BLOB PRIMARY KEY, state INTEGER NOT NULL, run INTEGER NOT NULL, times INTEGER NOT NULL,
        place INTEGER, asked BLOB
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class LedgerRow(NamedTuple):
    """What the ledger knows of one row."""

    state: int
    run: int
    """The number of the run that has read it last."""
    times: int
    """How many equal rows that run has read so far."""
    asked: bytes | None
    """The hash of what it asks, where it has an id of its own."""


SeenRow: TypeAlias = tuple[bytes, int, int | None, bytes | None, bool]
"""A row that was read: its key; how many equal ones there were so far; its number in the input (None: as it was); the
hash of what it asks, where it has an id of its own; and whether it waits for an outcome, whatever earlier runs made of
it."""


def key_of_broken(line: int) -> bytes:
    """Return the key of the broken row at `line`. No id has it: one that begins so is another text."""
    return blake2b(b"%d" % line, digest_size=10, person=b"broken").digest()


class BatchLedger:
    """The ledger of one output. It belongs to whoever holds the output's lock.

    Its statements are given bytes as a `bytearray`: any other type, `bytes` too, `sqlite3` asks to adapt itself, which
    takes 1 us a value.

    Args:
        path: Its file; made if there is none, and made anew if it is damaged.
        before_telling: Called before outcomes are written to disk; returns facts that are written with them.

    Raises:
        OSError, sqlite3.Error: it can be neither opened nor made.
    """

    def __init__(self, path: Path, before_telling: Callable[[], dict[str, Any]]) -> None:
        self._before_telling = before_telling
        self._untold: dict[bytes, tuple[bytearray, int, int, int, int | None, bytearray | None]] = {}
        """Rows that have ended, as the table has them; those that it has already with their states alone."""
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
        """Say that rows are going to be looked up. Where it holds none yet, only those are that may have come before:
        a look into it is 2 us a row, of 0.4."""
        self._write_states()
        if self._db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None:
            self._met = MetKeys()

    def _opened(self) -> sqlite3.Connection:
        # Whoever uses it waits for whoever did before: the intake, or a thread that puts the output in order.
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            # A power cut may damage it; then it is made again. The death of the process does not.
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
        """Return what is known of rows, by their keys; at most a few hundred at once."""
        if self._met is not None:
            keys = self._met.maybe_met(keys)
        if not keys:
            return {}
        self._write_states()
        marks = ",".join("?" * len(keys))
        found = self._db.execute(
            f"SELECT key, state, run, times, asked FROM rows WHERE key IN ({marks})",  # noqa: S608 - marks alone
            [bytearray(key) for key in keys],
        )
        return {key: LedgerRow(*rest) for key, *rest in found}

    def see(self, rows: Iterable[SeenRow]) -> None:
        """Keep what was read of rows in this run."""
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
        """Return the number in the input that a row has in this run; -1 for one that this run has not read."""
        row = self._db.execute("SELECT place FROM rows WHERE key = ? AND run = ?", (key, self.run)).fetchone()
        return -1 if row is None or row[0] is None else int(row[0])

    def was_read(self, key: bytes) -> bool:
        """Whether this run has read the row."""
        return self.place(key) >= 0

    def end(self, key: bytes, state: int, seen: SeenRow | None = None) -> None:
        """Keep how a row has ended. It is on disk when `tell` returns.

        Args:
            key: The row's.
            state: How it has ended.
            seen: What was read of it; None if that was kept before, or is not known.
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
        """Same as `tell`, if many rows have ended since. All that the files hold must have come to `end` by now."""
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
        """Forget all rows, to be told of them again."""
        self._untold.clear()
        self._ended.clear()
        self._db.execute("DELETE FROM rows")

    def forget_failures(self) -> None:
        """Forget which rows have failed, to be told of them again."""
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
        """Close it, without writing what it was not told to write."""
        with suppress(sqlite3.Error):
            self._db.rollback()
        self._db.close()
