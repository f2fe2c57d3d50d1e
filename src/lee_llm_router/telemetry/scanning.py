"""Reading many traces: the protocol of stores that do it efficiently, and an adapter for all others.

To be readable, a store only needs `last` and `find` (`TraceReader`). A store with the methods of `TraceScanner` can be
read without holding its whole history in memory; `scanner_of` gives every store those methods.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from lee_llm_router.telemetry.calls import TracedCall, calls_from, parsed_time
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceReader, TraceRecord

_POLLED_CALLS = 1000
"""For a store without `poll`: how many of the newest calls to search for new records."""


@runtime_checkable
class TraceScanner(TraceReader, Protocol):
    """Reads through a store's history. Times are seconds since 1970; None means the beginning or the end."""

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the records whose attempts started in [since, until), in the order they were written.

        A record is a mapping with the fields of `TraceRecord` in their JSON form, unchecked: this is for statistics
        over very many records. `TraceRecord.from_json` checks.
        """
        ...

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """Yield the calls that began in [since, until), each complete, the most recently written first."""
        ...

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Return at most `limit` ids of calls that begin with `prefix`, in order."""
        ...

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """Return the records written since `position`, by any process, and the position after them.

        Args:
            position: The result of an earlier `poll`. None: return only the position of the end.
        """
        ...


@runtime_checkable
class WholeScanner(Protocol):
    """Keeps the texts of ``capture: full`` apart, and leaves them out of `scan`; a scanner without this does not."""

    def scan_whole(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `TraceScanner.scan`, with those texts."""
        ...


def scan_whole(
    scanner: TraceScanner, since: float | None = None, until: float | None = None
) -> Iterator[Mapping[str, Any]]:
    """Return what `scanner` scans, with the texts of ``capture: full``."""
    return scanner.scan_whole(since, until) if isinstance(scanner, WholeScanner) else scanner.scan(since, until)


def scanner_of(store: TraceReader) -> TraceScanner:
    """Return `store` if it is a `TraceScanner`, otherwise one that reads it with `last` and `find`."""
    return store if isinstance(store, TraceScanner) else _ReaderScanner(store)


class _ReaderScanner:
    """Reads a store with only `last` and `find`. Holds the whole history in memory meanwhile."""

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
        return sorted(name for name in found if name.startswith(prefix))[:limit]

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        calls = calls_from(self._store.last(_POLLED_CALLS))
        seen = {} if position is None else position
        new = [] if position is None else [r for call in calls for r in call.records[seen.get(call.request_id, 0) :]]
        return new, seen | {call.request_id: len(call.records) for call in calls}


class TimeWindow:
    """The times from `since` up to `until`, in seconds since 1970; None means the beginning or the end.

    It can tell from the text of a line that its record is outside, at a tenth of the cost of parsing.
    """

    def __init__(self, since: float | None = None, until: float | None = None) -> None:
        self.since = since
        self.until = until
        self.is_open = since is None and until is None
        """Whether there is neither a beginning nor an end."""
        self._low = b"" if since is None else _in_text(since, -1)
        self._high = b"~" if until is None else _in_text(until, 1) or b"~"
        self._last_id = None if until is None else _first_digits_of_id(until + 1)

    def includes(self, started_at: str) -> bool:
        """Return whether a time in ISO 8601 is inside."""
        return is_within(started_at, self.since, self.until)

    def is_over(self, moment: float) -> bool:
        """Return whether `moment` is before it."""
        return self.since is not None and moment < self.since

    def excludes_line(self, line: bytes) -> bool:
        """Return whether the record on `line` certainly started outside. False means nothing."""
        return not self.is_open and (moment := _moment_on(line)) != b"" and not self._low <= moment < self._high

    def excludes_call(self, line: bytes) -> bool:
        """Return whether the record on `line` is of a call that began after it, by its id too. False means nothing."""
        if self._last_id is None or (moment := _moment_on(line)) < self._high or not moment:
            return False
        digits = line[_ID_AT : _ID_AT + 13]
        return line[_ID_AT + 14 : _ID_AT + 15] == b"7" and digits > self._last_id


EVER = TimeWindow()
"""All time."""

_LINE_START = b'{"schema":1,"request_id":"'
_ID_AT = len(_LINE_START)
_STARTED = b'"started_at":"'


def _moment_on(line: bytes) -> bytes:
    """Return when the record on a line from this library started, without the Z; nothing for any other line."""
    at = line.find(_STARTED) + len(_STARTED)
    # Within a text the quotation marks would be escaped.
    return line[at : at + 26] if line[at + 26 : at + 28] == b'Z"' and line.startswith(_LINE_START) else b""


def _in_text(moment: float, shift: int) -> bytes:
    """Return `moment`, shifted by this many microseconds, in the form of a line; nothing if it is outside the
    calendar."""
    try:
        return datetime.fromtimestamp(moment + shift / 1e6, UTC).isoformat(timespec="microseconds")[:26].encode()
    except (ValueError, OverflowError, OSError):
        return b""


def _first_digits_of_id(moment: float) -> bytes | None:
    """Return how a UUIDv7 of `moment` begins; None if there can be none."""
    if not 0 <= moment < 2**48 / 1000:
        return None
    digits = f"{int(moment * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}".encode()


def is_within(started_at: str, since: float | None, until: float | None) -> bool:
    """Return whether a time in ISO 8601 is in [since, until), in seconds since 1970."""
    if since is None and until is None:
        return True
    time = parsed_time(started_at)
    if time is None:
        return False
    moment = time.timestamp()
    return (since is None or moment >= since) and (until is None or moment < until)
