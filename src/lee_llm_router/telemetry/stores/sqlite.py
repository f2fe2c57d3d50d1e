"""Traces in one SQLite file, for histories that are searched and added up.

How this works
--------------
Writing. A `write` returns when its record is committed, so the record survives the death of the process (but not a
power cut: `synchronous = NORMAL` then keeps the file intact, but may lose the last seconds). Threads share the cost:
each puts its record into a queue, and the one that gets the lock writes the whole queue in one transaction; the others
find theirs done. So a process has one writer at a time, without a thread that would be missing after a fork or at the
end of the interpreter. A `write` waits at most a quarter of a second for other processes; SQLite orders their commits.

If another program holds the file longer than that (a backup, a shell with an open transaction), calls must not wait for
it. Then at most `MOST_LATE` records stay in the queue, and a thread writes them when the file is free. `late` counts
them. `close` and the end of the interpreter wait a while for them; only a kill in that time loses them.

Every `_CHECKPOINT_EVERY` records a thread copies SQLite's write-ahead log (``-wal``) into the file, since that waits
for the disk. Each write deletes a few old records, so that there are never many at once (`sqlite_tidy`).

Reading uses its own connection, and reads in pages, so that no reader holds the log back for long.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Self

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.stores.day_files import SQLITE_FILE
from lee_llm_router.telemetry.stores.failures import StoreLockedError, TraceStoreError
from lee_llm_router.telemetry.stores.jsonl import DEFAULT_FOLDER, DEFAULT_KEEP_DAYS
from lee_llm_router.telemetry.stores.settings import SqliteSettings
from lee_llm_router.telemetry.stores.sqlite_file import TraceDatabase
from lee_llm_router.telemetry.stores.sqlite_reader import SqliteReader
from lee_llm_router.telemetry.stores.sqlite_rows import INSERT, Row, row_of
from lee_llm_router.telemetry.stores.sqlite_tidy import SqliteTidier

if TYPE_CHECKING:
    import sqlite3

    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig

MOST_LATE = 10_000
"""Records that may wait while another program has locked the file."""

_PATIENCE = 0.25
"""Seconds that a `write` waits for another process."""
_CLOSE_PATIENCE = 5.0
"""Seconds that `close` waits for another process, if records are late."""
_LATE_PAUSE = 0.05
_MOST_AT_ONCE = 500
_CHECK_EVERY = 0.01
"""Seconds between two checks that the file is still in its place."""
_CHECKPOINT_EVERY = 1000
_LONG_LOG = 64_000_000
"""Size in bytes of the log from which a checkpoint makes writers wait until the log can start over."""


class _Entry:
    """A record on its way into the file."""

    __slots__ = ("error", "is_done", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.is_done = False
        self.error: TraceStoreError | OSError | None = None


class SqliteTraceStore:
    """Stores records in one SQLite file, for any number of threads and processes, and after a fork.

    The file gets mode 0600, and a folder that it creates gets 0700. The file must be on a local file system.

    Args:
        path: The file. Default: ``.lee-llm-router/traces/traces.sqlite``. A relative path starts at the current
            directory.
        keep_days: Each write deletes a few records written more than this many days ago; 0 keeps all.
        max_mb: Maximum size of all records, in megabytes (of 1,000,000 bytes); 0 means no limit. The oldest are
            deleted.
        clock: Tells the day.
    """

    config_model = SqliteSettings

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        keep_days: int = DEFAULT_KEEP_DAYS,
        max_mb: float = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        file = expand_home(Path(path or DEFAULT_FOLDER / SQLITE_FILE))
        with suppress(OSError):  # the current directory is gone; `write` will report it
            file = file.absolute()
        self.path = file
        self.keep_days = keep_days
        self.max_mb = max_mb
        self._clock = clock
        self._database = TraceDatabase(file, creates=True, patience=_PATIENCE)
        self._tidier = SqliteTidier(keep_days, max_mb)
        self._reader = SqliteReader(TraceDatabase(file, creates=False, patience=_CLOSE_PATIENCE))
        self._queue: deque[_Entry] = deque()
        self._pid = os.getpid()
        self._is_writing = False
        self._is_late = False
        self._is_closed = False
        self._is_copying = False
        self._check_at = 0.0
        self._since_checkpoint = 0
        _stores.add(self)

    @classmethod
    def from_settings(cls, settings: SqliteSettings, *, trace: TraceConfig, clock: Clock) -> Self:
        """Return the store for the section `trace` of a configuration; see `open_store`."""
        path = trace.trace_folder / expand_home(settings.path or SQLITE_FILE)
        return cls(path, keep_days=trace.keep_days, max_mb=trace.max_mb, clock=clock)

    def __repr__(self) -> str:
        return f"<SqliteTraceStore {str(self.path)!r}>"

    @property
    def trace_dir(self) -> Path:
        """The folder of the file."""
        return self.path.parent

    @property
    def late(self) -> int:
        """How many records wait in memory because another program has locked the file."""
        return len(self._queue)

    @property
    def skipped(self) -> int:
        """Number of unreadable records that the last read skipped."""
        return self._reader.skipped

    def write(self, record: TraceRecord) -> None:
        """Write one record. Once this has returned, the record survives the death of the process, unless it is `late`.

        Raises:
            OSError: the record was not written, and will not be; a `TraceStoreError` says why.
        """
        self.write_all((record,))

    def write_all(self, records: Iterable[TraceRecord]) -> None:
        """Write records, in one transaction if they are a few hundred at most; see `write`."""
        now = self._clock.time()
        entries = [_Entry(row_of(record, now)) for record in records]
        self._forget_parents()
        self._queue.extend(entries)
        with self._database.lock:
            if self._is_writing:
                return  # in a signal handler: the interrupted write takes the records along
            if self._is_late:
                self._leave_late(entries)
            elif not all(entry.is_done for entry in entries):
                self._write_queue()
        for entry in entries:
            if entry.error is not None:
                raise entry.error

    def flush(self) -> None:
        """Write the late records.

        Raises:
            TraceStoreError: the file is still locked.
        """
        with self._database.lock:
            self._forget_parents()
            if self._queue and not self._is_writing and not self._drain(_CLOSE_PATIENCE):
                raise StoreLockedError(f"another program has locked the file: {self.late} records wait", str(self.path))

    def close(self) -> None:
        """Write late records and close the file. A later `write`, from a call that was still running, opens it for its
        record.

        Raises:
            TraceStoreError: another program has locked the file; late records are lost.
        """
        self._is_closed = True
        self._reader.close()
        with self._database.lock:
            try:
                self.flush()
            except TraceStoreError as error:
                lost = self.late
                self._queue.clear()
                raise TraceStoreError(f"{error.strerror}; lost at closing: {lost}", str(self.path)) from error
            finally:
                if not self._is_writing:
                    self._database.close()

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the `n` most recently written calls: oldest call first, with the records of a call
        together.

        Raises:
            OSError: the file cannot be read. A missing one counts as empty.
        """
        return self._reader.last(n)

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call in the order they were written; empty if there are none.

        Raises:
            OSError: as `last`.
        """
        return self._reader.find(request_id)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield records as mappings, without the texts of ``capture: full``; see `TraceScanner.scan`."""
        return self._reader.scan(since, until)

    def scan_whole(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield records as mappings, with those texts; see `WholeScanner.scan_whole`."""
        return self._reader.scan_whole(since, until)

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """Yield calls, newest first; see `TraceScanner.calls`."""
        return self._reader.calls(since, until)

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Return ids of calls that begin with `prefix`; see `TraceScanner.ids`."""
        return self._reader.ids(prefix, limit)

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """Return the records written since `position`; see `TraceScanner.poll`."""
        return self._reader.poll(position)

    def _write_queue(self) -> None:
        """Write the queue, or leave it to a thread if the file is locked."""
        if not self._drain(None):
            self._is_late = True
            try:
                start_in_thread(_write_late, self)
            except BlockingIOError:
                self._is_late = False  # the next write tries again

    def _leave_late(self, entries: list[_Entry]) -> None:
        """Leave `entries` to the thread that waits for the file, if there is room."""
        for entry in entries:
            if not entry.is_done and len(self._queue) > MOST_LATE:
                self._queue.remove(entry)
                entry.error = StoreLockedError(
                    f"another program has locked the file, and {MOST_LATE:,} records are already waiting",
                    str(self.path),
                )

    def _drain(self, patience: float | None) -> bool:
        """Write the queue, and return whether that was possible: not if another program has locked the file.

        Args:
            patience: Seconds to wait for the other program; None: as long as a `write` may.
        """
        self._is_writing = True
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_AT_ONCE))]
                try:
                    self._commit([entry.row for entry in batch], patience)
                except StoreLockedError:
                    self._queue.extendleft(reversed(batch))
                    return False
                except OSError as error:
                    for entry in batch:
                        entry.error, entry.is_done = error, True
                except BaseException:
                    self._queue.extendleft(reversed(batch))
                    raise
                else:
                    for entry in batch:
                        entry.is_done = True
        finally:
            self._is_writing = False
            if self._is_closed:
                self._database.close()
        self._is_late = False
        return True

    def _commit(self, rows: list[Row], patience: float | None) -> None:
        """Write rows in one transaction; all of them, or none.

        Raises:
            OSError: none was written.
        """
        now = self._clock.time()
        if not self._check_at - _CHECK_EVERY <= now < self._check_at:
            self._check_at = now + _CHECK_EVERY
            if self._database.has_moved():
                self._database.close()
        with self._database.connection() as connection:
            if patience is not None:
                connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            try:
                self._tidier.make_room(connection, rows)
                _insert(connection, rows)
            finally:
                if patience is not None:
                    connection.execute(f"PRAGMA busy_timeout = {int(self._database.patience * 1000)}")
            self._tidier.tidy(connection, now)
        self._since_checkpoint += len(rows)
        if self._since_checkpoint >= _CHECKPOINT_EVERY and not self._is_copying:
            self._since_checkpoint, self._is_copying = 0, True
            try:
                start_in_thread(_copy_log, weakref.ref(self))
            except BlockingIOError:
                self._is_copying = False

    def _forget_parents(self) -> None:
        """In a forked child, leave the parent what is the parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._queue.clear()
            self._is_writing = self._is_late = self._is_copying = False


def _insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    if len(rows) == 1:
        connection.execute(INSERT, rows[0])
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _write_late(store: SqliteTraceStore) -> None:
    """Write late records as soon as the file is free; runs in its own thread."""
    while True:
        with store._database.lock:
            if store._is_writing or store._drain(0):
                return
        sleep(_LATE_PAUSE)


def _copy_log(found: weakref.ref[SqliteTraceStore]) -> None:
    """Copy the log into the file, except what a reader still needs; runs in its own thread."""
    store = found()
    if store is not None:
        with suppress(OSError):
            store._reader.copy_log(_LONG_LOG)
        store._is_copying = False


_stores: weakref.WeakSet[SqliteTraceStore] = weakref.WeakSet()


def _close_all() -> None:
    for store in list(_stores):
        with suppress(OSError):
            store.close()


atexit.register(_close_all)
