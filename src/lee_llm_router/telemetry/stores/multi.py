"""A store that writes to several others, and reads from the first readable one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.scrubbing import text_of_exception
from lee_llm_router.telemetry.plugins import STORES
from lee_llm_router.telemetry.records import TraceReader, TraceRecord, TraceStore
from lee_llm_router.telemetry.scanning import TraceScanner, scan_whole, scanner_of
from lee_llm_router.telemetry.stores.failures import TraceStoreError
from lee_llm_router.telemetry.stores.settings import MultiSettings

if TYPE_CHECKING:
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig

T = TypeVar("T")


class MultiStore:
    """Writes each record to all of `stores`: a failure of one does not affect the others.

    Reads come from the first readable store; if that raises an OSError, from the next one.

    Args:
        stores: At least one. They are closed with this store.
    """

    config_model = MultiSettings

    def __init__(self, stores: Sequence[TraceStore]) -> None:
        if not stores:
            raise ValueError("at least one store is wanted")
        self.stores = tuple(stores)
        self.errors = 0
        """How often a store has failed to write a record."""
        self._readers = tuple(scanner_of(store) for store in stores if isinstance(store, TraceReader))
        self._read = 0
        """The index of the reader used last."""

    @classmethod
    def from_settings(cls, settings: MultiSettings, *, trace: TraceConfig, clock: Clock) -> Self:
        """Return the store for `settings`; the section `trace` applies to each of its stores."""
        stores: list[TraceStore] = []
        try:
            stores.extend(STORES.build(one, trace=trace, clock=clock) for one in settings.stores)
        except BaseException:
            for store in stores:
                _close(store)
            raise
        return cls(stores)

    @property
    def trace_dir(self) -> Any:
        """The folder of the first store with one."""
        return next((place for store in self.stores if (place := getattr(store, "trace_dir", None))), None)

    @property
    def skipped(self) -> int:
        """Number of unreadable records that the last read skipped."""
        return int(getattr(self._readers[self._read], "skipped", 0)) if self._readers else 0

    def write(self, record: TraceRecord) -> None:
        """Write one record to every store.

        Raises:
            TraceStoreError: some have failed; the others have written it.
        """
        self._each("write", lambda store: store.write(record))

    def close(self) -> None:
        """Close every store that has a `close`.

        Raises:
            TraceStoreError: some failed to close; the others are closed.
        """
        self._each("close", _close)

    def last(self, n: int = 1) -> list[TraceRecord]:
        """As `TraceReader.last`."""
        return self._first(lambda reader: reader.last(n))

    def find(self, request_id: str) -> list[TraceRecord]:
        """As `TraceReader.find`."""
        return self._first(lambda reader: reader.find(request_id))

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """As `TraceScanner.ids`."""
        return self._first(lambda reader: reader.ids(prefix, limit))

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """As `TraceScanner.poll`. Stays at the store where it began: positions are valid for one store only."""
        if position is None:
            position = self._first(lambda reader: (self._read, reader.poll()[1]))
            return [], position
        which, inner = position
        found, following = self._readers[which].poll(inner)
        return found, (which, following)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `TraceScanner.scan`."""
        return self._stream(lambda reader: reader.scan(since, until))

    def scan_whole(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `WholeScanner.scan_whole`."""
        return self._stream(lambda reader: scan_whole(reader, since, until))

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """As `TraceScanner.calls`."""
        return self._stream(lambda reader: reader.calls(since, until))

    def _each(self, what: str, do: Callable[[TraceStore], None]) -> None:
        failed = []
        for store in self.stores:
            try:
                do(store)
            except Exception as error:  # noqa: BLE001 - a store may be anybody's
                failed.append(f"{type(store).__name__}: {text_of_exception(error)}")
        if failed:
            self.errors += len(failed)
            raise TraceStoreError(f"{what} failed in {len(failed)} of {len(self.stores)} stores: {'; '.join(failed)}")

    def _first(self, read: Callable[[TraceScanner], T]) -> T:
        """Return the result of `read` for the first readable store.

        Raises:
            OSError: none is readable; this is the first one's error.
        """
        failed: OSError | None = None
        for number, reader in enumerate(self._readers):
            self._read = number
            try:
                return read(reader)
            except OSError as error:
                failed = failed or error
        raise failed or TraceStoreError("none of the stores can be read: they have no `last` and `find`")

    def _stream(self, read: Callable[[TraceScanner], Iterator[T]]) -> Iterator[T]:
        """As `_first`, for results that come piece by piece; the first piece tells whether a store is readable."""

        def begun(reader: TraceScanner) -> tuple[list[T], Iterator[T]]:
            pieces = iter(read(reader))
            first = []
            with suppress(StopIteration):
                first.append(next(pieces))
            return first, pieces

        first, rest = self._first(begun)
        yield from first
        yield from rest


def _close(store: TraceStore) -> None:
    close = getattr(store, "close", None)
    if close is not None:
        close()
