"""Reads the records of the SQLite store, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Any

from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import is_within
from lee_llm_router.telemetry.stores.sqlite_file import TraceDatabase
from lee_llm_router.telemetry.stores.sqlite_rows import plain_text, record_of

_PAGE = 2000
_WHOLE_PAGE = 200
"""Records with captured texts, which may be long, that are read at once."""
_CALLS = 250
"""Calls to read at once."""
_LONG_AFTER = 3600.0
"""Seconds after its start at which a call is assumed to have ended, for ordering calls."""
_LAST_CHARACTER = "\U0010ffff"
_LAST_OF_CALLS = """
    SELECT seq, request_id FROM records AS one
    WHERE seq BETWEEN ? AND ? AND NOT EXISTS (
        SELECT 1 FROM records WHERE request_id = one.request_id AND seq > one.seq AND seq <= ?
    )
    ORDER BY seq DESC LIMIT ?
"""


class SqliteReader:
    """Reads one file. Several threads may use it, even while others write.

    Args:
        database: A connection that creates no file.
    """

    def __init__(self, database: TraceDatabase) -> None:
        self.skipped = 0
        """Number of unreadable records that the last read skipped."""
        self._database = database

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        with self._database.lock:
            if not self._database.users:
                self._database.close()

    def last(self, n: int = 1) -> list[TraceRecord]:
        """As `TraceReader.last`."""
        newest = list(islice(self.calls(), max(0, n)))
        return [record for call in reversed(newest) for record in call.records]

    def find(self, request_id: str) -> list[TraceRecord]:
        """As `TraceReader.find`."""
        self.skipped = 0
        if plain_text(request_id) != request_id:
            return []
        rows = self._rows("SELECT record, captured FROM records WHERE request_id = ? ORDER BY seq", (request_id,))
        return [record for row in rows if (record := self._read(row)) is not None]

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `TraceScanner.scan`."""
        return self._scan("record", _PAGE, since, until)

    def scan_whole(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `WholeScanner.scan_whole`."""
        return self._scan("coalesce(captured, record)", _WHOLE_PAGE, since, until)

    def _scan(self, what: str, size: int, since: float | None, until: float | None) -> Iterator[Mapping[str, Any]]:
        """Yield what the expression `what` says of each record, `size` of them at a time."""
        self.skipped = 0
        begin, end = -inf if since is None else since, inf if until is None else until
        low, top = self._range(begin, end)
        while low <= top:
            page = self._rows(
                f"SELECT seq, {what} FROM records"  # noqa: S608 - one of two expressions
                " WHERE seq BETWEEN ? AND ? AND started_at >= ? AND started_at < ? ORDER BY seq LIMIT ?",
                (low, top, begin, end, size),
            )
            for _, line in page:
                try:
                    record = json_object(line)
                except ValueError:
                    self.skipped += 1
                    continue
                yield record
            if len(page) < size:
                return
            low = page[-1][0] + 1

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """As `TraceScanner.calls`. Does not see what is written meanwhile."""
        self.skipped = 0
        _, top = self._range(-inf, inf)
        low, last = self._range(-inf if since is None else since, inf if until is None else until + _LONG_AFTER)
        following, count = min(last, top), 20
        while following >= low:
            page = self._rows(_LAST_OF_CALLS, (low, following, min(last, top), count))
            for call in self._whole([name for _, name in page], top):
                if is_within(call.records[0].started_at, since, until):
                    yield call
            if len(page) < count:
                return
            following, count = page[-1][0] - 1, _CALLS

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """As `TraceScanner.ids`, sorted by id."""
        if plain_text(prefix) != prefix:
            return []
        rows = self._rows(
            "SELECT DISTINCT request_id FROM records WHERE request_id >= ? AND request_id < ?"
            " ORDER BY request_id LIMIT ?",
            (prefix, prefix + _LAST_CHARACTER, max(0, limit)),
        )
        return [text for (name,) in rows if (text := _text(name)) is not None]

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """As `TraceScanner.poll`."""
        if position is None:
            rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
            return [], (self._database.store_id, rows[0][0] if rows else 0)
        self.skipped = 0
        found: list[TraceRecord] = []
        name, seen = position
        while True:
            page = self._rows(
                "SELECT record, captured, seq FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (seen, _PAGE)
            )
            if name != self._database.store_id:
                if not self._database.is_open:
                    return found, (name, seen)
                name, seen = self._database.store_id, 0  # another file is there now
                continue
            found += (record for row in page if (record := self._read(row)) is not None)
            if not page:
                return found, (name, seen)
            seen = page[-1][2]
            if len(page) < _PAGE:
                return found, (name, seen)

    def copy_log(self, long_log: int) -> None:
        """Copy the log into the file; if the log is longer than `long_log` bytes, make others wait until it starts
        over.

        Raises:
            OSError: it cannot be copied.
        """
        with suppress(FileNotFoundError):
            mode = (
                "RESTART"
                if self._database.path.with_name(f"{self._database.path.name}-wal").stat().st_size > long_log
                else "PASSIVE"
            )
            self._rows(f"PRAGMA wal_checkpoint({mode})")

    def _range(self, begin: float, end: float) -> tuple[int, int]:
        """Return the numbers of the first and the last record that started in [begin, end); (1, 0) if there are
        none."""
        if (begin, end) == (-inf, inf):
            rows = self._rows("SELECT (SELECT min(seq) FROM records), (SELECT max(seq) FROM records)")
        else:
            rows = self._rows(
                "SELECT min(seq), max(seq) FROM records WHERE started_at >= ? AND started_at < ?", (begin, end)
            )
        return (rows[0][0], rows[0][1]) if rows and rows[0][0] is not None else (1, 0)

    def _whole(self, names: Sequence[bytes], top: int) -> Iterator[TracedCall]:
        """Yield the calls with the ids `names`, in that order, with all their records up to number `top`."""
        known = [text for name in names if (text := _text(name)) is not None]
        self.skipped += len(names) - len(known)
        marks = ", ".join("?" * len(known))
        rows = self._rows(
            "SELECT record, captured, request_id FROM records"  # noqa: S608 - only question marks are put in
            f" WHERE request_id IN ({marks}) AND seq <= ? ORDER BY seq",
            (*known, top),
        )
        found: dict[bytes, list[TraceRecord]] = {name: [] for name in names}
        for row in rows:
            record = self._read(row)
            if record is not None and row[2] in found:
                found[row[2]].append(record)
        for records in found.values():
            if records:
                yield TracedCall(tuple(records))

    def _read(self, row: Sequence[Any]) -> TraceRecord | None:
        record = record_of(row)
        self.skipped += record is None
        return record

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the result of `statement`; nothing if there is no file.

        Raises:
            OSError: the file cannot be read.
        """
        with self._database.lock:
            if self._database.has_moved() and not self._database.users:
                self._database.close()
            try:
                with self._database.connection() as connection:
                    return connection.execute(statement, values).fetchall()
            except FileNotFoundError:
                return []


def _text(name: bytes) -> str | None:
    """Return the id of a call in a row; None if it is not one: another program has written to the file."""
    try:
        return name.decode()
    except (UnicodeDecodeError, AttributeError):
        return None
