"""Reads the history of a trace folder: the last calls, one call, all of them, new records.

How this works
--------------
Nothing loads the whole history. Files are read in blocks, and only lines that may matter are parsed: `find` and `ids`
skip blocks that do not contain the id, and `scan` skips lines of other times. If one process was killed in the middle
of a line, that line may hold a cut record and another process's whole one after it; the whole one is recovered.
Anything may be in a folder: anything that is not a record, not a line of plausible length or not a plain file is
skipped and counted.

`calls` reads from the end of the newest file. It has to know when it has seen every record of a call, although the
records of many calls are interleaved and a call may run past midnight. An id is a UUIDv7, which contains the start time
of its call: no record of that call is older. So a call is complete when a record written before it began appears.
`last` takes the first of these calls. `find` and `ids` start at the files of the day in the id and go forward. For ids
without a plausible time, a call is assumed to last at most an hour.

`poll` remembers how far each file was read, and which file that was. An incomplete line is read next time.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from math import inf
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic_core import from_json

from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import EVER, TimeWindow
from lee_llm_router.telemetry.stores.day_files import SECONDS_A_DAY, DayFile, day_files, day_name, open_to_read
from lee_llm_router.telemetry.stores.line_reader import first_line_from, lines_backwards, lines_forward
from lee_llm_router.telemetry.stores.record_times import (
    OLDEST_CALL,
    SLACK,
    began_at,
    started_at,
    time_of_id,
    times_of_prefix,
)

T = TypeVar("T")
Position: TypeAlias = dict[str, tuple[int, int]]
"""For each file its inode, and how many of its bytes were read."""

_LINE_START = b'{"schema":'
_MOST_RECORDS = 2000
"""Most records to hold of one call, the newest: twice as many as a call can make attempts."""
_MOST_STARTS = 16
"""Places on a line to look for a record."""
_MOST_POLLED = 16_000_000
"""Bytes of a file that one `poll` reads; more than any line has."""
_REMEMBERED = 10_000
"""Complete calls whose ids are kept: a stray record of one is not taken for another call."""


_NEAR = 1 << 16
"""Distance in bytes that is simply read."""
_LOOSE = 60.0
"""Seconds by which the clocks of processes may differ."""
_LONG_AFTER = 3600.0
"""Seconds in which to look for the records of a call."""


class _OpenCall:
    """A call that may have older records; its newest record comes first."""

    __slots__ = ("began", "records")

    def __init__(self, began: float) -> None:
        self.began = began
        self.records: list[TraceRecord] = []


class DayHistory:
    """The history in one folder.

    Args:
        folder: The trace folder. It need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.skipped = 0
        """Number of unreadable lines that the last read skipped; an unreadable file counts as one."""
        self._folder = folder

    def last(self, n: int = 1) -> list[TraceRecord]:
        """As `LocalFileTraceStore.last`."""
        newest = list(self._calls_backwards(EVER, n))
        return [record for call in reversed(newest) for record in call.records]

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """As `TraceScanner.calls`."""
        return self._calls_backwards(TimeWindow(since, until), inf)

    def find(self, request_id: str) -> list[TraceRecord]:
        """As `LocalFileTraceStore.find`."""
        self.skipped = 0
        began = time_of_id(request_id)
        needle = request_id.encode(errors="replace")
        found: list[TraceRecord] = []
        if began is not None:
            found = [r for r in self._records_near(began, began, needle) if r.request_id == request_id]
            if found and found[-1].verdict in ("return", "raise"):
                return found
            found, self.skipped = [], 0
        for files in self._days_from(-inf if began is None else began):
            here = [r for r in self._records_backwards(reversed(files), needle) if r.request_id == request_id]
            if found and not here:
                break
            found += reversed(here)
        return found

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """As `TraceScanner.ids`."""
        self.skipped = 0
        times = times_of_prefix(prefix)
        needle = b'"request_id":"' + prefix.encode(errors="replace")
        near = iter(()) if times is None else self._records_near(*times, needle)
        everywhere = (r for files in self._days_from(-inf) for r in self._records_backwards(reversed(files), needle))
        found: dict[str, None] = {}
        for records in (near, everywhere):
            for record in records:
                if len(found) >= limit:
                    break
                if record.request_id.startswith(prefix):
                    found[record.request_id] = None
            if found:
                break
        return sorted(found)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """As `TraceScanner.scan`."""
        self.skipped = 0
        window = TimeWindow(since, until)
        is_open = window.is_open
        for file in self._files():
            if not self._may_hold(file, window):
                continue
            for line in self._lines_forward(file):
                if not line or (not is_open and window.excludes_line(line)):
                    continue
                try:  # a million lines spend their time here
                    record: Any = from_json(line)
                except ValueError:
                    record = None
                if record.__class__ is not dict or record.get("request_id").__class__ is not str:
                    record = self._read(line, _mapping)
                if record is not None and (is_open or window.includes(str(record.get("started_at")))):
                    yield record

    def poll(self, position: Position | None = None) -> tuple[list[TraceRecord], Position]:
        """As `TraceScanner.poll`."""
        self.skipped = 0
        files = self._files()
        if position is None:
            return [], {file.name: (file.inode, file.size) for file in files}
        found: list[TraceRecord] = []
        following: Position = {}
        for file in files:
            inode, seen = position.get(file.name, (file.inode, 0))
            if inode != file.inode or seen > file.size:
                seen = 0  # another file has this name now, or it was emptied
            if seen < file.size and file.is_plain:
                seen = self._read_on(file, seen, found)
            following[file.name] = (file.inode, seen)
        return found, following

    def _read_on(self, file: DayFile, start: int, found: list[TraceRecord]) -> int:
        """Add the records after `start` to `found`, and return the position after the last of them."""
        with suppress(OSError):
            fd = open_to_read(self._folder / file.name)
            try:
                for lines, behind in lines_forward(fd, start, _MOST_POLLED):
                    records = (self._read(line, TraceRecord.from_json) for line in lines if line)
                    found += (record for record in records if record is not None)
                    start = behind
            finally:
                os.close(fd)
        return start

    def _calls_backwards(self, window: TimeWindow, most: float) -> Iterator[TracedCall]:
        """Yield up to this many of the calls that began in `window`, the most recently written first."""
        self.skipped = 0
        open_calls: OrderedDict[str, _OpenCall] = OrderedDict()
        closed: OrderedDict[str, None] = OrderedDict()
        seen = 0
        files = (file for file in reversed(self._files()) if self._may_hold(file, window))
        for record in self._records_backwards(files, window=window):
            name, started = record.request_id, started_at(record)
            written = started + record.elapsed_ms / 1000
            while open_calls and (head := next(iter(open_calls.values()))).began > written + SLACK:
                done = open_calls.popitem(last=False)[0]
                closed[done] = None
                yield from _whole(head, window)
            if window.is_over(written + SLACK) or (seen >= most and not open_calls):
                break
            call = open_calls.get(name)
            if call is None:
                if seen >= most or name in closed:
                    continue
                call = open_calls[name] = _OpenCall(began_at(record, started))
                seen += 1
            if len(call.records) < _MOST_RECORDS:
                call.records.append(record)
            if len(closed) > _REMEMBERED:
                closed.popitem(last=False)
        for call in open_calls.values():
            yield from _whole(call, window)

    def _may_hold(self, file: DayFile, window: TimeWindow) -> bool:
        """Return whether a file may hold records of calls in `window`, judged by its first and last record.

        Its name would be enough if every clock were right.
        """
        if window.until is not None:
            first = next((line for line in self._lines_forward(file) if line), b"")
            if _written_at(first, -inf) > window.until + OLDEST_CALL:
                return False
        if window.since is not None:
            last = next(self._lines_backwards(file, b""), b"")
            return _written_at(last, inf) >= window.since - SLACK
        return True

    def _records_near(self, first: float, last: float, needle: bytes) -> Iterator[TraceRecord]:
        """Yield the records on lines with `needle`, from a minute before `first` to an hour after `last`.

        The place is found by bisection, as if records were in the order of their times, which nearly holds. Records
        missed this way may be elsewhere.
        """
        low, high = _day_of(first - _LOOSE), _day_of(last + _LONG_AFTER)
        for file in self._files():
            if not low <= file.day <= high or not file.is_plain:
                continue
            with suppress(OSError):
                fd = open_to_read(self._folder / file.name)
                try:
                    for lines, _ in lines_forward(fd, _place_of(fd, file.size, first - _LOOSE), needle=needle):
                        for line in lines:
                            if needle in line and (record := self._read(line, TraceRecord.from_json)) is not None:
                                yield record
                        if lines and _written_at(lines[-1], -inf) > last + _LONG_AFTER:
                            return
                finally:
                    os.close(fd)

    def _days_from(self, began: float) -> Iterator[list[DayFile]]:
        """Yield the files of each day: from the day of `began` on, first to last, then those before it, last to first.

        A call may end on a later day than it began. The days before it come last, in case a clock was wrong.
        """
        first = _day_of(began)
        days = [list(files) for _, files in groupby(self._files(), key=lambda file: file.day)]
        yield from (files for files in days if files[0].day >= first)
        yield from (files for files in reversed(days) if files[0].day < first)

    def _files(self) -> list[DayFile]:
        """Return the day files, oldest first. A file in the folder's place counts as an unreadable line."""
        try:
            return day_files(self._folder)
        except NotADirectoryError:
            self.skipped += 1
            return []

    def _records_backwards(
        self, files: Iterable[DayFile], needle: bytes = b"", window: TimeWindow = EVER
    ) -> Iterator[TraceRecord]:
        """Yield the records on lines with `needle`, each file from its end, except for calls that began too late."""
        for file in files:
            for line in self._lines_backwards(file, needle):
                if line is None:
                    self.skipped += 1
                elif not window.excludes_call(line) and (record := self._read(line, TraceRecord.from_json)) is not None:
                    yield record

    def _lines_backwards(self, file: DayFile, needle: bytes) -> Iterator[bytes | None]:
        """As `lines_backwards`; None also means an unreadable file. A missing one has no lines."""
        try:
            fd = open_to_read(self._folder / file.name)
        except FileNotFoundError:
            return
        except OSError:
            yield None
            return
        try:
            yield from lines_backwards(fd, needle)
        except OSError:
            yield None
        finally:
            os.close(fd)

    def _lines_forward(self, file: DayFile) -> Iterator[bytes]:
        """Yield the lines of a file; an unreadable one counts as an unreadable line."""
        try:
            fd = open_to_read(self._folder / file.name)
        except FileNotFoundError:
            return
        except OSError:
            self.skipped += 1
            return
        behind = 0
        try:
            for lines, behind in lines_forward(fd):  # noqa: B007 - needed after the loop
                yield from lines
            yield os.pread(fd, file.size - behind, behind) if behind < file.size else b""
        except OSError:
            self.skipped += 1
        finally:
            os.close(fd)

    def _read(self, line: bytes, read: Callable[[bytes], T]) -> T | None:
        """Return the result of `read` for `line`; count a line without a record, or with anything besides it.

        After a line cut short by a kill or a full disk, another process's record may follow directly.
        """
        try:
            return read(line)
        except ValueError:
            self.skipped += 1
        start = line.find(_LINE_START, 1)
        for _ in range(_MOST_STARTS - 1):
            if start < 0:
                break
            with suppress(ValueError):
                return read(line[start:])
            start = line.find(_LINE_START, start + 1)
        return None


def _whole(call: _OpenCall, window: TimeWindow) -> Iterator[TracedCall]:
    records = tuple(reversed(call.records))
    if window.is_open or window.includes(records[0].started_at):
        yield TracedCall(records)


def _place_of(fd: int, size: int, moment: float) -> int:
    """Return where the records written at `moment` or later begin, if they are in that order."""
    low, high = 0, size
    while high - low > _NEAR:
        middle = (low + high) // 2
        line, place = first_line_from(fd, middle)
        if place >= high or _written_at(line, inf) >= moment:
            high = middle
        else:
            low = place
    return low


def _written_at(line: bytes | None, unknown: float) -> float:
    """Return roughly when the record on `line` was written: at the end of its attempt."""
    try:
        record = TraceRecord.from_json(line or b"")
    except ValueError:
        return unknown
    started = started_at(record)
    return unknown if started == inf else started + record.elapsed_ms / 1000


def _mapping(line: bytes) -> dict[str, Any]:
    """Return the record on `line` as a mapping.

    Raises:
        ValueError: there is none.
    """
    record = json_object(line)
    if not isinstance(record.get("request_id"), str):
        raise ValueError("not a trace record: it has no id")
    return record


def _day_of(moment: float) -> str:
    """Return ``YYYYMMDD`` of a time, which may be outside of any calendar."""
    if moment == inf:
        return "99999999"
    return day_name(int(moment // SECONDS_A_DAY)) if moment > 0 else ""
