"""Reading many traces: the protocol of stores that can do it well, and a way to read any other store by it.

A store needs only `last` and `find` to be read (`TraceReader`). One with the methods of `TraceScanner` is read without
holding its whole history; `scanner_of` gives every store those methods.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from lee_llm_router.telemetry.calls import TracedCall, calls_from, parsed_time
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceReader, TraceRecord

_POLLED_CALLS = 1000
"""The newest calls of a store without `poll` among which new records are looked for."""


@runtime_checkable
class TraceScanner(TraceReader, Protocol):
    """Reads through a store's history. Times are seconds since 1970; None stands for the beginning or the end."""

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the records whose attempts started in [since, until), in the order they were written.

        A record is a mapping with the fields of `TraceRecord`, as its JSON has them, and not checked yet: this is for
        statistics over very many records. `TraceRecord.from_json` checks.
        """
        ...

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """Yield the calls that began in [since, until), each whole, that written to last first."""
        ...

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Return at most `limit` ids of calls that begin with `prefix`."""
        ...

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """Return the records written since `position`, by any process, and the position behind them.

        Args:
            position: What an earlier `poll` returned. None: nothing is returned but the position of the end.
        """
        ...


def scanner_of(store: TraceReader) -> TraceScanner:
    """Return `store` if it is a `TraceScanner`, else one that reads it by `last` and `find`."""
    return store if isinstance(store, TraceScanner) else _ReaderScanner(store)


class _ReaderScanner:
    """Reads a store by `last` and `find` alone. It holds the whole history while it is read."""

    def __init__(self, store: TraceReader) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def last(self, n: int = 1) -> list[TraceRecord]:
        return self._store.last(n)

    def find(self, request_id: str) -> list[TraceRecord]:
        return self._store.find(request_id)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        for record in self._store.last(sys.maxsize):
            if is_within(record.started_at, since, until):
                yield json_object(record.to_json())

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        for call in reversed(calls_from(self._store.last(sys.maxsize))):
            if is_within(call.records[0].started_at, since, until):
                yield call

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        found = dict.fromkeys(record.request_id for record in self._store.last(sys.maxsize))
        return [name for name in found if name.startswith(prefix)][:limit]

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        calls = calls_from(self._store.last(_POLLED_CALLS))
        seen = {} if position is None else position
        new = [] if position is None else [r for call in calls for r in call.records[seen.get(call.request_id, 0) :]]
        return new, seen | {call.request_id: len(call.records) for call in calls}


def is_within(started_at: str, since: float | None, until: float | None) -> bool:
    """Return whether a moment in ISO 8601 lies in [since, until), in seconds since 1970."""
    if since is None and until is None:
        return True
    time = parsed_time(started_at)
    if time is None:
        return False
    moment = time.timestamp()
    return (since is None or moment >= since) and (until is None or moment < until)
