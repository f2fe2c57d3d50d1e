"""Traces as daily files of JSON lines: the store every router has unless it is given another.

One record is one `write` of one line to a descriptor opened for appending, so records of many threads and processes
never mix, and a record that was written survives the death of the process (not a power cut). Nothing touches the disk
before the first `append`. Readers work from the end of the newest file backwards and hold only what they return.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.telemetry.records import TraceRecord

DEFAULT_FOLDER = Path(".lee-llm-router", "traces")
"""Where traces go, under the workspace or the current directory."""

DEFAULT_KEEP_DAYS = 30

_DAY = 86_400
_BLOCK = 1 << 16
_FILE_NAME = re.compile(r"\d{8}\.jsonl", re.ASCII)
_GITIGNORE = ".gitignore"
_LINE_START = b'{"schema":'
_LOOK_EVERY = 0.01
"""Seconds between two looks whether the file is still in its place. Looking each time doubles the price of a write:
asking a file for its times makes the next write renew them (Linux 6.13 and later, multigrain timestamps)."""
_SLACK = 1.0
"""Seconds by which a record may reach the file later than its attempt ended."""
_LONGEST_CALL = 3600.0
"""Seconds for which the attempts of a call are looked for backwards if its id does not say when it began."""


class LocalFileTraceStore:
    """Keeps records in ``<trace_dir>/YYYYMMDD.jsonl``, a file for each UTC day on which they are written.

    Files get mode 0600; the folder, if it has to be made, 0700. Safe to use from many threads and processes at once,
    and after a fork. A folder or file that is deleted or moved away while in use is made anew (within
    10 ms, if many records are written in that time).

    Args:
        trace_dir: The folder. Default: ``.lee-llm-router/traces``. A relative one is taken from `workspace`.
        workspace: Default: the current directory.
        keep_days: Day files older than this many days are deleted whenever a file is opened; 0 keeps all.
        clock: Says which day it is.
    """

    def __init__(
        self,
        trace_dir: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        keep_days: int = DEFAULT_KEEP_DAYS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        folder = Path(workspace or "", trace_dir or DEFAULT_FOLDER).expanduser()
        # A later chdir must not move the traces. OSError: the current directory is gone; append will say so.
        with suppress(OSError):
            folder = folder.absolute()
        self.trace_dir = folder
        self.keep_days = keep_days
        self.skipped = 0
        """Lines that the last `last` or `find` could not read and passed over."""
        self._clock = clock
        # Reentrant: a stream that is garbage collected leaves a trace, and that may happen while this is held.
        self._lock = ForkLock(reentrant=True)
        self._fd = -1
        self._identity: os.stat_result | None = None
        self._day = -1
        self._looked = -inf
        self._sure_until = -inf
        self._path = ""
        self._torn = False

    def __repr__(self) -> str:
        return f"<LocalFileTraceStore {str(self.trace_dir)!r}>"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def append(self, record: TraceRecord) -> None:
        """Write one record. When this returns, the record survives the death of the process.

        Raises:
            OSError: it could not be written, or only a part of it (disk full, no permission). Later records are
                not harmed by it.
        """
        line = record.to_json() + b"\n"
        with self._lock:
            now = self._clock.time()
            if not self._looked <= now < self._sure_until:
                self._look(now)
            if self._torn:
                line = b"\n" + line
            written = os.write(self._fd, line)
            self._torn = written != len(line)
        if written != len(line):
            raise OSError(errno.EIO, f"only {written} of {len(line)} bytes of a trace record were written", self._path)

    def close(self) -> None:
        """Give back the file. A later `append` opens it again."""
        with self._lock:
            self._replace_descriptor(-1)

    def last(self, n: int = 1) -> list[TraceRecord]:
        """The records of the `n` calls that were traced last: oldest call first, the records of a call together.

        Raises:
            OSError: the files cannot be read. A missing folder is an empty one.
        """
        self.skipped = 0
        calls: dict[str, list[TraceRecord]] = {}
        earliest = inf
        for record in self._backwards(reversed(self._files())):
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
        """The records of one call, in order; empty if there are none.

        Raises:
            OSError: the files cannot be read. A missing folder is an empty one.
        """
        self.skipped = 0
        files = self._files()
        began = _time_of_id(request_id)
        first = "" if began is None else _file_name(int(began // _DAY))
        # A call may end on a later day than it began, so the days from its id on are looked at, first to last. The
        # days before come last, for clocks that were wrong.
        since = [path for path in files if path.name >= first]
        before = [path for path in reversed(files) if path.name < first]
        needle = request_id.encode(errors="replace")
        found: list[TraceRecord] = []
        for path in since + before:
            here = [r for r in self._backwards([path], needle) if r.request_id == request_id]
            if found and not here:
                break
            found += reversed(here)
        return found

    def _look(self, now: float) -> None:
        """See to it that the descriptor is the day's file, in its place: not deleted, moved or closed by someone."""
        self._sure_until = -inf
        day = int(now // _DAY)
        in_place = False
        if day == self._day:
            with suppress(OSError):
                in_place = os.path.samestat(os.fstat(self._fd), os.stat(self._path))  # noqa: PTH116 - a third of the time
        if in_place:
            self._looked, self._sure_until = now, min(now + _LOOK_EVERY, (day + 1.0) * _DAY)
        else:
            self._open(day)

    def _open(self, day: int) -> None:
        """Make the file of `day` the one that is written to, and tidy up."""
        self.trace_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = str(self.trace_dir / _file_name(day))
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._replace_descriptor(fd)
        self._day = day
        size = os.fstat(fd).st_size
        # A process killed in the middle of a line leaves it without its newline.
        self._torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        with suppress(OSError):
            self._tidy(day)

    def _tidy(self, day: int) -> None:
        """Hide the folder from git, if it holds nothing but traces, and delete what is too old."""
        names = {path.name for path in self.trace_dir.iterdir()}
        if all(_FILE_NAME.fullmatch(name) for name in names):
            (self.trace_dir / _GITIGNORE).write_text("*\n")
        if self.keep_days > 0:
            oldest = _file_name(max(0, day - self.keep_days))
            for name in names:
                if _FILE_NAME.fullmatch(name) and name < oldest:
                    (self.trace_dir / name).unlink(missing_ok=True)

    def _replace_descriptor(self, fd: int) -> None:
        old, self._fd = self._fd, fd
        ours, self._identity = self._identity, os.fstat(fd) if fd >= 0 else None
        self._day, self._sure_until = -1, -inf
        if ours is not None:
            with suppress(OSError):
                # Whoever closes all descriptors of a process (a daemon does) may have given its number to another.
                if os.path.samestat(os.fstat(old), ours):
                    os.close(old)

    def _files(self) -> list[Path]:
        """The day files, oldest first."""
        try:
            return sorted(path for path in self.trace_dir.iterdir() if _FILE_NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def _backwards(self, files: Iterator[Path] | list[Path], needle: bytes = b"") -> Iterator[TraceRecord]:
        """The records on lines that contain `needle`, each file from its end."""
        for path in files:
            for line in _lines_backwards(path, needle):
                record, whole = _parse(line)
                self.skipped += not whole
                if record is not None:
                    yield record


def _lines_backwards(path: Path, needle: bytes = b"") -> Iterator[bytes]:
    """The lines of a file that contain `needle` and are not empty, last first, read in blocks from its end.

    A file that is gone has none.
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
                # A block without the needle is not taken apart: its last line alone, which began here, may have it.
                lines = block[first + 1 :].split(b"\n") if needle in block else [block[block.rfind(b"\n") + 1 :]]
                rest.append(lines.pop())
                lines.append(b"".join(reversed(rest)))
                yield from (line for line in reversed(lines) if line and needle in line)
                rest = []
            rest.append(block[:first] if first >= 0 else block)
        line = b"".join(reversed(rest))
        if line and needle in line:
            yield line


def _parse(line: bytes) -> tuple[TraceRecord | None, bool]:
    """The record on `line`, and whether nothing else is on it.

    A line cut by a kill or a full disk may have another process's record right behind it.
    """
    start = 0
    while start >= 0:
        try:
            return TraceRecord.from_json(line[start:]), start == 0
        except ValueError:
            start = line.find(_LINE_START, start + 1)
    return None, False


def _file_name(day: int) -> str:
    """The file of a day, given in days since 1970."""
    return f"{datetime.fromtimestamp(day * _DAY, UTC):%Y%m%d}.jsonl"


def _time_of_id(request_id: str) -> float | None:
    """When a UUIDv7 was made (RFC 9562, section 5.7: its first 48 bits are milliseconds since 1970), or None."""
    digits = request_id.replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{19}", digits):
        return None
    return int(digits[:12], 16) / 1000


def _started_at(record: TraceRecord) -> float:
    try:
        time = datetime.fromisoformat(record.started_at)
    except ValueError:
        return inf
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _began_at(record: TraceRecord) -> float:
    """The earliest time at which a record of the same call may have been written."""
    began = _time_of_id(record.request_id)
    return _started_at(record) - _LONGEST_CALL if began is None else began


def _written_at(record: TraceRecord) -> float:
    """About when a record was written: at the end of its attempt."""
    return _started_at(record) + record.elapsed_ms / 1000
