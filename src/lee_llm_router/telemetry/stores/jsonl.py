"""Traces as daily files of JSON lines: the store of every router that is not given another.

How this works
--------------
Writing. A record is one line, appended with one `write` to a descriptor opened with O_APPEND. The kernel keeps such
writes apart, so lines of many threads and processes never mix, and a written line survives the death of the process
(not a power cut). Nothing touches the disk before the first `write`.

The descriptor is checked every `_CHECK_EVERY` seconds and at midnight: if its file was deleted, moved or closed by
someone else, if it is full, or if the day is over, the file that comes next is opened (`day_files` says which). Old
files are deleted only then, so a record costs the same however many files there are. A write that was cut short (a full
disk, a kill) leaves a line without its newline; the next write starts with one, so that only the cut record is lost.

Reading. `last` and `find` never load the history. Files are read in blocks from their end, newest file first, and only
lines that may matter are parsed: `find` skips blocks that do not contain the id. A line holds a cut record and a whole
one behind it where two processes were involved; the whole one is recovered. What is no record, no line of a record's
length or no plain file is passed over and counted: anything may lie in a folder.

Both have to know when they have seen every record of a call, although the records of many calls alternate and a call
may run past midnight. An id is a UUIDv7, which says when its call began: no record of that call is older. `last` stops
at a record written before the earliest of its calls began; `find` starts at the file of that day and goes forward. For
ids that say nothing, or nothing that can be true, a call is taken to last no longer than `_LONGEST_CALL`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.stores.day_files import (
    MEGABYTE,
    SECONDS_A_DAY,
    DayFile,
    day_files,
    day_name,
    full_size,
    hide_from_git,
    open_to_append,
    open_to_read,
    tidy,
)
from lee_llm_router.telemetry.stores.day_scan import calls_backwards, ids_beginning_with, records_after, scan_files
from lee_llm_router.telemetry.stores.line_reader import lines_backwards

if TYPE_CHECKING:
    from lee_llm_router.settings.plugins import PluginSettings
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig

DEFAULT_FOLDER = Path(".lee-llm-router", "traces")
"""The default folder of traces, under the workspace or the current directory."""

DEFAULT_KEEP_DAYS = 30

_LINE_START = b'{"schema":'
_CHECK_EVERY = 0.01
"""Seconds between two checks that the file is still in its place. A check before every write doubles its time: `stat`
makes the kernel renew the file's times at the next write (Linux 6.13 and later, multigrain timestamps)."""
_SLACK = 1.0
"""Seconds that may pass between the end of an attempt and the write of its record."""
_LONGEST_CALL = 3600.0
"""Seconds that a call is taken to last if its id does not say when it began."""
_OLDEST_CALL = 7 * 86_400.0
"""Seconds before an attempt at which its call may have begun, if its id is to be believed."""
_MOST_RECORDS = 2000
"""Records of one call that `last` holds, the newest: twice as many as a call can make attempts."""
_MOST_STARTS = 16
"""Places on a line at which a record is looked for."""


class LocalFileTraceStore:
    """Keeps records in ``<trace_dir>/YYYYMMDD.jsonl``, one file for each UTC day on which records are written.

    Files get mode 0600. The folder gets mode 0700 if it has to be created. Safe to use from many threads and processes
    at once, and after a fork. A folder or file that is deleted or moved while in use is created again; records written
    in the 10 ms before that is noticed may be lost.

    Args:
        trace_dir: The folder. Default: ``.lee-llm-router/traces``. A relative path starts at `workspace`.
        workspace: Default: the current directory.
        keep_days: Day files older than this many days are deleted whenever a file is opened; 0 keeps all.
        clock: Tells the day.
        max_mb: Megabytes (of 1,000,000 bytes) that all day files may have together; 0 means any number. The oldest
            files are deleted, whole; a day's records go on in a further file when an eighth of this is reached.
    """

    def __init__(
        self,
        trace_dir: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        keep_days: int = DEFAULT_KEEP_DAYS,
        clock: Clock = SYSTEM_CLOCK,
        max_mb: float = 0,
    ) -> None:
        folder = Path(expand_home(Path(workspace or "")), expand_home(Path(trace_dir or DEFAULT_FOLDER)))
        # A later chdir must not move the traces. OSError: the current directory is gone; `write` will raise it.
        with suppress(OSError):
            folder = folder.absolute()
        self.trace_dir = folder
        self.keep_days = keep_days
        self.max_mb = max_mb
        self.skipped = 0
        """Number of unreadable lines that the latest `last` or `find` skipped; a file that cannot be read counts as
        one."""
        self._clock = clock
        # Reentrant: a signal handler may close a stream, which writes a record, while this thread holds the lock.
        self._lock = ForkLock(reentrant=True)
        self._fd = -1
        self._identity: os.stat_result | None = None
        self._day = -1
        self._tidied: tuple[int, int, int] | None = None
        """The day on which the folder was tidied last, and the file that was opened then."""
        self._checked_at = -inf
        self._check_at = -inf
        self._path = ""
        self._max_bytes = max_mb * MEGABYTE or inf
        self._full_size = full_size(self._max_bytes)
        self._is_limited = max_mb > 0
        self._room = inf
        self._ends_in_cut_line = False
        self._is_closed = False

    @classmethod
    def from_settings(cls, settings: PluginSettings, *, trace: TraceConfig, clock: Clock) -> Self:  # noqa: ARG003
        """Return the store that the section `trace` of a configuration describes; see `open_store`."""
        return cls(trace.trace_folder, keep_days=trace.keep_days, clock=clock, max_mb=trace.max_mb)

    def __repr__(self) -> str:
        return f"<LocalFileTraceStore {str(self.trace_dir)!r}>"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def write(self, record: TraceRecord) -> None:
        """Write one record. Once this has returned, the record survives the death of the process.

        Raises:
            OSError: the record was not written, or only in part (disk full, no permission). Later records are not
                affected.
        """
        line = record.to_json() + b"\n"
        closes = False
        with self._lock:
            now = self._clock.time()
            # A clock that was set back may have left the day, too.
            if not self._checked_at <= now < self._check_at:
                self._ensure_file(now, len(line))
                closes = self._is_closed
            if self._is_limited:
                self._make_room(len(line))
            if self._ends_in_cut_line:
                line = b"\n" + line
            try:
                written = os.write(self._fd, line)
                self._ends_in_cut_line = written != len(line)
            finally:
                if closes:
                    self._replace_descriptor(-1)
        if written != len(line):
            raise OSError(errno.EIO, f"only {written} of {len(line)} bytes of a trace record were written", self._path)

    def close(self) -> None:
        """Close the file. A later `write`, of a call that still ran, opens it for its one record."""
        with self._lock:
            self._is_closed = True
            self._replace_descriptor(-1)

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the `n` calls written to last: oldest call first, the records of a call together.

        Raises:
            OSError: the folder cannot be read. A missing one counts as empty.
        """
        self.skipped = 0
        calls: dict[str, list[TraceRecord]] = {}
        earliest = inf
        for record in self._records_backwards(reversed(self._files())):
            if record.request_id not in calls:
                if len(calls) >= n:
                    if _written_at(record) < earliest - _SLACK:
                        break
                    continue
                calls[record.request_id] = []
                earliest = min(earliest, _began_at(record))
            if len(calls[record.request_id]) < _MOST_RECORDS:
                calls[record.request_id].append(record)
        return [record for found in reversed(calls.values()) for record in reversed(found)]

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call in the order they were written; empty if there are none.

        Raises:
            OSError: the folder cannot be read. A missing one counts as empty.
        """
        self.skipped = 0
        days = [list(files) for _, files in groupby(self._files(), key=lambda file: file.day)]
        began = _time_of_id(request_id)
        first = "" if began is None else day_name(int(began // SECONDS_A_DAY))
        # A call may end on a later day than it began, so the days from that of its id on are searched, first to last.
        # The days before it come last, in case a clock was wrong.
        since = [files for files in days if files[0].day >= first]
        before = [files for files in reversed(days) if files[0].day < first]
        needle = request_id.encode(errors="replace")
        found: list[TraceRecord] = []
        for files in since + before:
            here = [r for r in self._records_backwards(reversed(files), needle) if r.request_id == request_id]
            if found and not here:
                break
            found += reversed(here)
        return found

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield records as mappings; see `TraceScanner.scan`."""
        return scan_files(self.trace_dir, since, until)

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """Yield calls, newest first; see `TraceScanner.calls`."""
        return calls_backwards(self.trace_dir, since, until)

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Return ids of calls that begin with `prefix`; see `TraceScanner.ids`."""
        return ids_beginning_with(self.trace_dir, prefix, limit)

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """Return what has been written since `position`; see `TraceScanner.poll`."""
        return records_after(self.trace_dir, position)

    def _ensure_file(self, now: float, size: int) -> None:
        """Open the file for the next `size` bytes, unless the descriptor is one: not full, deleted, moved or closed."""
        self._check_at = -inf
        day = int(now // SECONDS_A_DAY)
        in_place = False
        if day == self._day:
            with suppress(OSError):
                found = os.fstat(self._fd)
                in_place = os.path.samestat(found, os.lstat(self._path))
                self._room = self._full_size - found.st_size
        if in_place:
            self._checked_at, self._check_at = now, min(now + _CHECK_EVERY, (day + 1.0) * SECONDS_A_DAY)
        else:
            self._open(day, size)

    def _make_room(self, size: int) -> None:
        """Count `size` bytes that are about to be written, and open the next file if this one is full."""
        if size > self._room:
            self._open(self._day, size)
        self._room -= size

    def _open(self, day: int, size: int) -> None:
        """Open the file of `day` for the next `size` bytes, and tidy the folder."""
        self.trace_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = str(self.trace_dir)
        fd, path = open_to_append(folder, day, size, self._full_size)
        self._replace_descriptor(fd)
        self._path = path
        self._day = day
        found = os.fstat(fd)
        held = found.st_size
        # An empty file takes a record of any size.
        self._room = self._full_size - held if held else max(self._full_size, size)
        # A process killed in the middle of a line leaves it without its newline.
        self._ends_in_cut_line = held > 0 and os.pread(fd, 1, held - 1) != b"\n"
        opened = (day, found.st_dev, found.st_ino)
        if opened != self._tidied:
            self._tidied = opened
            with suppress(OSError):
                hide_from_git(folder)
                reserved = max(self._full_size, held + size)
                tidy(folder, os.path.basename(path), day, self.keep_days, self._max_bytes - reserved)  # noqa: PTH119

    def _replace_descriptor(self, fd: int) -> None:
        """Write to `fd` from now on (-1: to nothing), and close the old descriptor if it is still ours."""
        old, self._fd = self._fd, fd
        ours, self._identity = self._identity, os.fstat(fd) if fd >= 0 else None
        self._day, self._check_at = -1, -inf
        if ours is not None:
            with suppress(OSError):
                # A daemon closes all descriptors of its process; the number may belong to another file by now.
                if os.path.samestat(os.fstat(old), ours):
                    os.close(old)

    def _files(self) -> list[DayFile]:
        """Return the day files, oldest first. A file in the folder's place counts as an unreadable line."""
        try:
            return day_files(self.trace_dir)
        except NotADirectoryError:
            self.skipped += 1
            return []

    def _records_backwards(self, files: Iterable[DayFile], needle: bytes = b"") -> Iterator[TraceRecord]:
        """Yield the records on lines that contain `needle`, each file from its end."""
        for file in files:
            for line in self._lines_backwards(file, needle):
                record, intact = (None, False) if line is None else _record_on(line)
                self.skipped += not intact
                if record is not None:
                    yield record

    def _lines_backwards(self, file: DayFile, needle: bytes) -> Iterator[bytes | None]:
        """As `lines_backwards`; None stands also for a file that cannot be read. One that is gone has no lines."""
        try:
            fd = open_to_read(self.trace_dir / file.name)
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


def _record_on(line: bytes) -> tuple[TraceRecord | None, bool]:
    """Return the record on `line`, and whether the line holds nothing else.

    A line cut short by a kill or a full disk may have the record of another process right behind it.
    """
    start = 0
    for _ in range(_MOST_STARTS):
        try:
            return TraceRecord.from_json(line[start:]), start == 0
        except ValueError:
            start = line.find(_LINE_START, start + 1)
        if start < 0:
            break
    return None, False


def _time_of_id(request_id: str) -> float | None:
    """Return when a UUIDv7 was made, in seconds since 1970; None for any other id.

    Its first 48 bits are milliseconds since 1970 (RFC 9562, section 5.7).
    """
    digits = request_id.replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{19}", digits):
        return None
    return int(digits[:12], 16) / 1000


def _started_at(record: TraceRecord) -> float:
    """Return when the attempt started, in seconds since 1970; infinity if the record does not say."""
    try:
        time = datetime.fromisoformat(record.started_at)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return inf


def _began_at(record: TraceRecord) -> float:
    """Return the earliest time at which a record of the same call may have been written."""
    began, started = _time_of_id(record.request_id), _started_at(record)
    is_believed = began is not None and (started == inf or abs(started - began) <= _OLDEST_CALL)
    return began if began is not None and is_believed else started - _LONGEST_CALL


def _written_at(record: TraceRecord) -> float:
    """Return about when a record was written: at the end of its attempt."""
    return _started_at(record) + record.elapsed_ms / 1000
