"""A store that keeps records in memory and writes them to another store later, in a thread.

How this works
--------------
`write` appends to a deque and returns. A thread, started with the first record, writes what has accumulated. The first
record of a batch wakes it; it waits until there are enough records or the time is over, and takes them all. The types
of the queue and the tokens have methods that a signal handler may interrupt and call again. A forked child begins
empty: pending records and the thread belong to the parent.
"""

from __future__ import annotations

import atexit
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.scrubbing import quoted, text_of_exception
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.telemetry.plugins import STORES
from lee_llm_router.telemetry.records import TraceReader, TraceRecord, TraceStore
from lee_llm_router.telemetry.scanning import TraceScanner, scan_whole, scanner_of
from lee_llm_router.telemetry.stores.failures import TraceStoreError
from lee_llm_router.telemetry.stores.settings import BufferedSettings

if TYPE_CHECKING:
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig


_MOST_AT_ONCE = 500


class BufferedStore:
    """Writes to `store` later, so that a slow one delays no call. A kill loses pending records.

    Args:
        store: Stores the records. It is closed with this store.
        size: Most pending records. Further ones are dropped, and counted in `dropped`.
        flush_records: Number of pending records that are written at once.
        flush_seconds: The longest time that a record waits for others.
    """

    config_model = BufferedSettings

    def __init__(
        self, store: TraceStore, *, size: int = 10_000, flush_records: int = 500, flush_seconds: float = 1.0
    ) -> None:
        self.store = store
        self.dropped = 0
        """How many records were dropped because too many were pending."""
        self.errors = 0
        """How many records the store has failed to write."""
        self._size = size
        self._flush_records = flush_records
        self._flush_seconds = flush_seconds
        self._records: deque[TraceRecord] = deque()
        self._tokens: SimpleQueue[BufferedStore | None] = SimpleQueue()
        """This store, if there is something to write, which keeps it alive until then. None: it is closed."""
        self._is_awake = self._is_hurried = self._has_thread = self._is_writing = self._is_closed = False
        self._scanner: TraceScanner | None = None
        # Reentrant: a signal handler may write a record and close the router while this thread holds the lock.
        self._lock = ForkLock(reentrant=True, in_child=self._forget_parents)
        self._counting = ForkLock(reentrant=True)
        _stores.add(self)

    @classmethod
    def from_settings(cls, settings: BufferedSettings, *, trace: TraceConfig, clock: Clock) -> Self:
        """Return the store for `settings`; the section `trace` applies to the store behind it."""
        return cls(
            STORES.build(settings.store, trace=trace, clock=clock), size=settings.size,
            flush_records=settings.flush_records, flush_seconds=settings.flush_seconds,
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """How many records are pending."""
        return len(self._records)

    @property
    def trace_dir(self) -> Any:
        """The folder of the store behind it, if it has one."""
        return getattr(self.store, "trace_dir", None)

    @property
    def skipped(self) -> int:
        """Number of unreadable records that the last read skipped."""
        return int(getattr(self.store, "skipped", 0))

    def write(self, record: TraceRecord) -> None:
        """Take one record. It is not yet stored when this returns.

        Raises:
            TraceStoreError: too many are pending; this one is dropped.
        """
        if len(self._records) >= self._size:
            with self._counting:
                self.dropped += 1
            raise TraceStoreError(f"{self._size:,} trace records are already waiting: this one is dropped")
        self._records.append(record)
        if self._is_closed:
            self.flush()
        elif not self._is_awake:
            self._is_awake = True
            if self._has_started():
                self._tokens.put(self)
        elif not self._is_hurried and len(self._records) >= self._flush_records:
            self._is_hurried = True
            self._tokens.put(self)

    def flush(self) -> None:
        """Write pending records, and return when they are written."""
        with self._lock:
            if self._is_writing:
                return  # in a signal handler: the interrupted work continues with what is pending
            self._is_writing = True
            try:
                while self._records:
                    self._write_batch([self._records.popleft() for _ in range(min(len(self._records), _MOST_AT_ONCE))])
            finally:
                self._is_writing = False

    def close(self) -> None:
        """Write pending records, end the thread and close the store behind. A later record is written at once."""
        self._is_closed = True
        self._tokens.put(None)
        try:
            self.flush()
        finally:
            close = getattr(self.store, "close", None)
            if close is not None:
                close()

    def last(self, n: int = 1) -> list[TraceRecord]:
        """As `TraceReader.last`; writes pending records first."""
        return self._reader().last(n)

    def find(self, request_id: str) -> list[TraceRecord]:
        """As `TraceReader.find`; writes pending records first."""
        return self._reader().find(request_id)

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """As `TraceScanner.ids`; writes pending records first."""
        return self._reader().ids(prefix, limit)

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """As `TraceScanner.poll`; writes pending records first."""
        return self._reader().poll(position)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `TraceScanner.scan`; writes pending records first."""
        return self._reader().scan(since, until)

    def scan_whole(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `WholeScanner.scan_whole`; what waits is written first."""
        return scan_whole(self._reader(), since, until)

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """As `TraceScanner.calls`; writes pending records first."""
        return self._reader().calls(since, until)

    def _reader(self) -> TraceScanner:
        self.flush()
        if not isinstance(self.store, TraceReader):
            raise TraceStoreError(f"the store behind the buffer cannot be read: {type(self.store).__name__}")
        if self._scanner is None:
            self._scanner = scanner_of(self.store)
        return self._scanner

    def _forget_parents(self) -> None:
        """In a forked child, leave the parent its records and its thread."""
        self._records, self._tokens = deque(), SimpleQueue()
        self._is_awake = self._is_hurried = self._has_thread = self._is_writing = False

    def _has_started(self) -> bool:
        """Start the thread if there is none, and return whether there is one now."""
        if not self._has_thread:
            try:
                start_in_thread(_write_batches, self._tokens, self._flush_seconds)
                self._has_thread = True
            except BlockingIOError:  # no thread can start: the next record tries again
                self._is_awake = False
        return self._has_thread

    def _write_batch(self, records: list[TraceRecord]) -> None:
        write_all = getattr(self.store, "write_all", None)
        if write_all is None:
            for record in records:
                self._guarded(self.store.write, record, 1)
        else:
            self._guarded(write_all, records, len(records))

    def _guarded(self, write: Callable[[Any], object], what: Any, count: int) -> None:
        try:
            write(what)
        except Exception as error:  # noqa: BLE001 - a store may be anybody's
            if not self.errors:
                reason = quoted(text_of_exception(error))
                logger.error("the trace store failed (further failures are only counted): %s", reason)
            self.errors += count


def _write_batches(tokens: SimpleQueue[BufferedStore | None], seconds: float) -> None:
    """Write batch after batch until the store is closed; runs in its own thread."""
    while (store := tokens.get()) is not None:
        with suppress(Empty):
            if store.waiting < store._flush_records and tokens.get(timeout=seconds) is None:
                return
        # Before taking the pending records: any later record wakes this thread again.
        store._is_awake = store._is_hurried = False
        store.flush()
        del store


_stores: weakref.WeakSet[BufferedStore] = weakref.WeakSet()


def _flush_all() -> None:
    for store in list(_stores):
        with suppress(Exception):
            store.flush()


atexit.register(_flush_all)
