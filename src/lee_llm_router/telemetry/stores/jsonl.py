"""Traces as daily files of JSON lines: the store of every router that is not given another.

How this works
--------------
Writing. A record is one line, appended with one `write` to a descriptor opened with O_APPEND. The kernel keeps such
writes apart, so lines of many threads and processes never mix, and a written line survives the death of the process
(not a power cut). Nothing touches the disk before the first `write`.

The descriptor is checked every `_CHECK_EVERY` seconds and at midnight: if its file was deleted, moved or closed by
someone else, or if the day is over, the day's file is opened anew. A write that was cut short (a full disk, a kill)
leaves a line without its newline; the next write starts with one, so that only the cut record is lost.

Reading. `last` and `find` never load the history. Files are read in blocks from their end, newest file first, and only
lines that may matter are parsed: `find` skips blocks that do not contain the id. A line holds a cut record and a whole
one behind it where two processes were involved; the whole one is recovered.

Both have to know when they have seen every record of a call, although the records of many calls alternate and a call
may run past midnight. An id is a UUIDv7, which says when its call began: no record of that call is older. `last` stops
at a record written before the earliest of its calls began; `find` starts at the file of that day and goes forward. For
ids that say nothing, a call is taken to last no longer than `_LONGEST_CALL`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.telemetry.records import TraceRecord

if TYPE_CHECKING:
    from lee_llm_router.settings.plugins import PluginSettings
    from lee_llm_router.telemetry.settings import TraceConfig

DEFAULT_FOLDER = Path(".lee-llm-router", "traces")
"""The default folder of traces, under the workspace or the current directory."""

DEFAULT_KEEP_DAYS = 30

_DAY = 86_400
_BLOCK = 1 << 16
_FILE_NAME = re.compile(r"\d{8}\.jsonl", re.ASCII)
_GITIGNORE = ".gitignore"
_LINE_START = b'{"schema":'
_CHECK_EVERY = 0.01
"""Seconds between two checks that the file is still in its place. A check before every write doubles its time: `stat`
makes the kernel renew the file's times at the next write (Linux 6.13 and later, multigrain timestamps)."""
_SLACK = 1.0
"""Seconds that may pass between the end of an attempt and the write of its record."""
_LONGEST_CALL = 3600.0
"""Seconds that a call is taken to last if its id does not say when it began."""


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
    """

    def __init__(
        self,
        trace_dir: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        keep_days: int = DEFAULT_KEEP_DAYS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        folder = Path(workspace or "", trace_dir or DEFAULT_FOLDER).expanduser()
        # A later chdir must not move the traces. OSError: the current directory is gone; `write` will raise it.
        with suppress(OSError):
            folder = folder.absolute()
        self.trace_dir = folder
        self.keep_days = keep_days
        self.skipped = 0
        """Number of unreadable lines that the latest `last` or `find` skipped."""
        self._clock = clock
        # Reentrant: a signal handler may close a stream, which writes a record, while this thread holds the lock.
        self._lock = ForkLock(reentrant=True)
        self._fd = -1
        self._identity: os.stat_result | None = None
        self._day = -1
        self._checked_at = -inf
        self._check_at = -inf
        self._path = ""
        self._ends_in_cut_line = False

    @classmethod
    def from_settings(cls, settings: PluginSettings, *, trace: TraceConfig, clock: Clock) -> Self:  # noqa: ARG003
        """Return the store that the section `trace` of a configuration describes; see `open_store`."""
        return cls(trace.dir, trace.workspace, trace.keep_days, clock)

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
        with self._lock:
            now = self._clock.time()
            # A clock that was set back may have left the day, too.
            if not self._checked_at <= now < self._check_at:
                self._ensure_file(now)
            if self._ends_in_cut_line:
                line = b"\n" + line
            written = os.write(self._fd, line)
            self._ends_in_cut_line = written != len(line)
        if written != len(line):
            raise OSError(errno.EIO, f"only {written} of {len(line)} bytes of a trace record were written", self._path)

    def close(self) -> None:
        """Close the file. A later `write` opens it again."""
        with self._lock:
            self._replace_descriptor(-1)

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the `n` calls written to last: oldest call first, the records of a call together.

        Raises:
            OSError: a file cannot be read. A missing folder counts as an empty one.
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
            calls[record.request_id].append(record)
        return [record for found in reversed(calls.values()) for record in reversed(found)]

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call in the order they were written; empty if there are none.

        Raises:
            OSError: a file cannot be read. A missing folder counts as an empty one.
        """
        self.skipped = 0
        files = self._files()
        began = _time_of_id(request_id)
        first = "" if began is None else _file_name(int(began // _DAY))
        # A call may end on a later day than it began, so the days from that of its id on are searched, first to last.
        # The days before it come last, in case a clock was wrong.
        since = [path for path in files if path.name >= first]
        before = [path for path in reversed(files) if path.name < first]
        needle = request_id.encode(errors="replace")
        found: list[TraceRecord] = []
        for path in since + before:
            here = [r for r in self._records_backwards([path], needle) if r.request_id == request_id]
            if found and not here:
                break
            found += reversed(here)
        return found

    def _ensure_file(self, now: float) -> None:
        """Open the day's file unless the descriptor is that file: not deleted, moved or closed by someone else."""
        self._check_at = -inf
        day = int(now // _DAY)
        in_place = False
        if day == self._day:
            with suppress(OSError):
                in_place = os.path.samestat(os.fstat(self._fd), os.stat(self._path))  # noqa: PTH116 - a third of the time
        if in_place:
            self._checked_at, self._check_at = now, min(now + _CHECK_EVERY, (day + 1.0) * _DAY)
        else:
            self._open(day)

    def _open(self, day: int) -> None:
        """Open the file of `day` for writing, and tidy the folder."""
        self.trace_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = str(self.trace_dir / _file_name(day))
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._replace_descriptor(fd)
        self._day = day
        size = os.fstat(fd).st_size
        # A process killed in the middle of a line leaves it without its newline.
        self._ends_in_cut_line = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        with suppress(OSError):
            self._tidy(day)

    def _tidy(self, day: int) -> None:
        """Hide the folder from git if it holds nothing but traces, and delete files that are too old."""
        names = {path.name for path in self.trace_dir.iterdir()}
        if all(_FILE_NAME.fullmatch(name) for name in names):
            (self.trace_dir / _GITIGNORE).write_text("*\n")
        if self.keep_days > 0:
            oldest = _file_name(max(0, day - self.keep_days))
            for name in names:
                if _FILE_NAME.fullmatch(name) and name < oldest:
                    (self.trace_dir / name).unlink(missing_ok=True)

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

    def _files(self) -> list[Path]:
        """Return the day files, oldest first."""
        try:
            return sorted(path for path in self.trace_dir.iterdir() if _FILE_NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def _records_backwards(self, files: Iterable[Path], needle: bytes = b"") -> Iterator[TraceRecord]:
        """Yield the records on lines that contain `needle`, each file from its end."""
        for path in files:
            for line in _lines_backwards(path, needle):
                record, intact = _record_on(line)
                self.skipped += not intact
                if record is not None:
                    yield record


def _lines_backwards(path: Path, needle: bytes = b"") -> Iterator[bytes]:
    """Yield the lines of a file that contain `needle` and are not empty, last line first.

    The file is read in blocks from its end. A file that does not exist has no lines.
    """
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        rest: list[bytes] = []
        while end > 0:
            start = max(0, end - _BLOCK)
            block = os.pread(file.fileno(), end - start, start)
            end = start
            first = block.find(b"\n")
            if first >= 0:
                # A block without the needle is not split. Only its last line, which ends in the block read before, may
                # still contain it.
                lines = block[first + 1 :].split(b"\n") if needle in block else [block[block.rfind(b"\n") + 1 :]]
                rest.append(lines.pop())
                lines.append(b"".join(reversed(rest)))
                yield from (line for line in reversed(lines) if line and needle in line)
                rest = []
            rest.append(block[:first] if first >= 0 else block)
        line = b"".join(reversed(rest))
        if line and needle in line:
            yield line


def _record_on(line: bytes) -> tuple[TraceRecord | None, bool]:
    """Return the record on `line`, and whether the line holds nothing else.

    A line cut short by a kill or a full disk may have the record of another process right behind it.
    """
    start = 0
    while start >= 0:
        try:
            return TraceRecord.from_json(line[start:]), start == 0
        except ValueError:
            start = line.find(_LINE_START, start + 1)
    return None, False


def _file_name(day: int) -> str:
    """Return the name of the file of `day`, which counts from 1970."""
    return f"{datetime.fromtimestamp(day * _DAY, UTC):%Y%m%d}.jsonl"


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
    except ValueError:
        return inf
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _began_at(record: TraceRecord) -> float:
    """Return the earliest time at which a record of the same call may have been written."""
    began = _time_of_id(record.request_id)
    return _started_at(record) - _LONGEST_CALL if began is None else began


def _written_at(record: TraceRecord) -> float:
    """Return about when a record was written: at the end of its attempt."""
    return _started_at(record) + record.elapsed_ms / 1000
