"""Tracks which workers are alive: each beats in a table of the database, and each watches the others.

No clocks are compared. A worker counts its beats, and a watcher sees whether the count still moves: a worker is dead if
it has not moved for `LOOKS` looks in a row. A watcher that was suspended has not looked, and an unavailable database
has shown nothing, so neither mistakes a living worker for a dead one. A dead worker on the same machine is known at
once: its process is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, delete, insert, select, update

from lee_llm_router._util.data_class import dataclass

BEAT_SECONDS = 2.0
"""Seconds between two beats, and between two looks."""
LOOKS = 6
"""Looks without a beat after which a worker is dead: 12 seconds, in which it misses six beats."""

_RESIGNED = -1
"""Replaces the beats of a worker that has ended."""


@dataclass(slots=True)
class _Seen:
    """A watcher's knowledge of one worker: its beats, and for how many looks they have not moved."""

    beats: int
    still: int = 0


def new_worker_id() -> str:
    """Return an id for a worker in this process: its machine, if that can be determined, and its process."""
    return f"{_machine() or 'unknown'}-{os.getpid()}-{uuid4().hex[:12]}"


@cache
def _machine() -> str | None:
    """Return a name shared by everything that sees this process under the same number; None if it cannot be determined.

    It consists of the kernel's boot and the namespace of process numbers: containers on one machine differ.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        numbers = Path("/proc/self/ns/pid").readlink()
    except (OSError, ValueError):
        return None
    return blake2b(f"{started} {numbers}".encode(), digest_size=6).hexdigest()


def _is_dead(worker_id: str, seen: _Seen) -> bool:
    return seen.beats == _RESIGNED or seen.still >= LOOKS or _is_gone(worker_id)


def _is_gone(worker_id: str) -> bool:
    """Whether the process of a worker on this machine has ended. False if it lives, or cannot be seen from here."""
    machine, _, rest = worker_id.partition("-")
    number = rest.partition("-")[0]
    if machine != _machine() or not number.isdigit():
        return False
    with suppress(PermissionError, OverflowError):
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
    return False


class RollCall:
    """The table of workers, as seen by a worker or an observer.

    Args:
        engine: Connections to the database.
        schema: Its schema there; None in SQLite.
    """

    def __init__(self, engine: Engine, schema: str | None) -> None:
        self._engine = engine
        self._table = Table(
            "batch_workers",
            MetaData(schema=schema),
            Column("worker_id", String(64), primary_key=True),
            Column("beats", BigInteger, nullable=False),
        )
        self._seen: dict[str, _Seen] = {}

    def prepare(self) -> None:
        """Create the table unless it exists; two workers may do so at once."""
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - it is seldom needed

        try:
            self._table.create(self._engine, checkfirst=True)
        except DBAPIError:
            # Either the other one was first, or the same failure shows again here.
            self._table.create(self._engine, checkfirst=True)

    def beat(self, worker_id: str) -> None:
        """Record that `worker_id` is alive."""
        table = self._table
        with self._engine.begin() as connection:
            mine = table.c.worker_id == worker_id
            moved = connection.execute(update(table).where(mine).values(beats=table.c.beats + 1))
            if not moved.rowcount:
                connection.execute(insert(table).values(worker_id=worker_id, beats=1))

    def leave(self, worker_id: str) -> None:
        """Remove `worker_id`: it has ended, or its rows were given back."""
        self._seen.pop(worker_id, None)
        with self._engine.begin() as connection:
            connection.execute(delete(self._table).where(self._table.c.worker_id == worker_id))

    def resign(self, worker_id: str) -> None:
        """Record that `worker_id` has ended, and has left rows for others to take."""
        with self._engine.begin() as connection:
            mine = self._table.c.worker_id == worker_id
            connection.execute(update(self._table).where(mine).values(beats=_RESIGNED))

    def look(self) -> list[str]:
        """Look once, and return the dead workers."""
        with self._engine.connect() as connection:
            found: Any = connection.execute(select(self._table.c.worker_id, self._table.c.beats)).all()
        before, self._seen = self._seen, {}
        for worker_id, beats in found:
            seen = before.get(worker_id)
            is_still = seen is not None and seen.beats == beats
            self._seen[worker_id] = _Seen(beats, seen.still + 1 if seen is not None and is_still else 0)
        return [one for one, seen in self._seen.items() if _is_dead(one, seen)]

    @property
    def alive(self) -> int:
        """The number of workers alive at the last look, as far as known."""
        return sum(1 for one, seen in self._seen.items() if not _is_dead(one, seen))
