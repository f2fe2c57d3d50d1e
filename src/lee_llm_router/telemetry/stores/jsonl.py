"""Traces as daily files of JSON lines: the default store of every router.

How this works
--------------
Writing. A record is one line, appended with one `write` to a descriptor opened with O_APPEND. The kernel keeps such
writes separate, so lines of many threads and processes never mix, and a written line survives the death of the process
(but not a power cut). Nothing touches the disk before the first `write`.

The descriptor is checked every `_CHECK_EVERY` seconds and at midnight. The next file is opened (`day_files` says which)
if someone else has deleted, moved or closed the current one, if it is full, or if the day is over. Old files are
deleted only then, so the cost of a record does not depend on the number of files. A write that was cut short (a full
disk, a kill) leaves a line without its newline; the next write starts with one, so that only the cut record is lost.

`day_history` reads the files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
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
    full_size,
    hide_from_git,
    open_to_append,
    tidy,
)

if TYPE_CHECKING:
    from lee_llm_router.settings.plugins import PluginSettings
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig
    from lee_llm_router.telemetry.stores.day_history import DayHistory

DEFAULT_FOLDER = Path(".lee-llm-router", "traces")
"""The default folder of traces, under the workspace or the current directory."""

DEFAULT_KEEP_DAYS = 30

_CHECK_EVERY = 0.01
"""Seconds between two checks that the file is still in its place. A check before every write doubles its time: `stat`
makes the kernel update the file's times at the next write (Linux 6.13 and later, multigrain timestamps)."""


class LocalFileTraceStore:
    """Stores records in ``<trace_dir>/YYYYMMDD.jsonl``, one file for each UTC day with records.

    Files get mode 0600, and a folder that it creates gets mode 0700. Safe to use from many threads and processes at
    once, and after a fork. A folder or file that is deleted or moved while in use is created again; records written in
    the 10 ms before that is noticed may be lost.

    Args:
        trace_dir: The folder. Default: ``.lee-llm-router/traces``. A relative path starts at `workspace`.
        workspace: Default: the current directory.
        keep_days: Opening a file deletes day files older than this many days; 0 keeps all.
        clock: Tells the day.
        max_mb: Maximum total size of all day files, in megabytes (of 1,000,000 bytes); 0 means no limit. The oldest
            files are deleted as a whole; a day's records continue in another file when one reaches an eighth of this.
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
        self._clock = clock
        # Reentrant: a signal handler may close a stream, which writes a record, while this thread holds the lock.
        self._lock = ForkLock(reentrant=True)
        self._fd = -1
        self._identity: os.stat_result | None = None
        self._day = -1
        self._tidied: tuple[int, int, int] | None = None
        """The day on which the folder was last tidied, and the file that was opened then."""
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
        """Return the store for the section `trace` of a configuration; see `open_store`."""
        return cls(trace.trace_folder, keep_days=trace.keep_days, clock=clock, max_mb=trace.max_mb)

    @cached_property
    def _history(self) -> DayHistory:
        from lee_llm_router.telemetry.stores.day_history import DayHistory  # noqa: PLC0415 - most programs only write

        return DayHistory(self.trace_dir)

    @property
    def skipped(self) -> int:
        """Number of unreadable lines that the last read skipped; an unreadable file counts as one."""
        return self._history.skipped

    def __repr__(self) -> str:
        return f"<LocalFileTraceStore {str(self.trace_dir)!r}>"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def write(self, record: TraceRecord) -> None:
        """Write one record. Once this has returned, the record survives the death of the process.

        Raises:
            OSError: the record was not written, or only in part (disk full, no permission). This does not affect later
                records.
        """
        line = record.to_json() + b"\n"
        closes = False
        with self._lock:
            now = self._clock.time()
            # A clock that was set back may also have changed the day.
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
        """Close the file. A later `write`, from a call that was still running, opens it for its one record."""
        with self._lock:
            self._is_closed = True
            self._replace_descriptor(-1)

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the `n` most recently written calls: oldest call first, with the records of a call
        together.

        Raises:
            OSError: the folder cannot be read. A missing one counts as empty.
        """
        return self._history.last(n)

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call in the order they were written; empty if there are none.

        Raises:
            OSError: the folder cannot be read. A missing one counts as empty.
        """
        return self._history.find(request_id)

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield records as mappings; see `TraceScanner.scan`."""
        return self._history.scan(since, until)

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        """Yield calls, newest first; see `TraceScanner.calls`."""
        return self._history.calls(since, until)

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Return ids of calls that begin with `prefix`; see `TraceScanner.ids`."""
        return self._history.ids(prefix, limit)

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        """Return the records written since `position`; see `TraceScanner.poll`."""
        return self._history.poll(position)

    def _ensure_file(self, now: float, size: int) -> None:
        """Open the file for the next `size` bytes, unless the descriptor is valid: its file is not full, deleted, moved
        or closed."""
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
        """Count `size` bytes about to be written, and open the next file if this one is full."""
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
        # An empty file accepts a record of any size.
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
                # Daemonizing closes all descriptors of a process; the number may belong to another file by now.
                if os.path.samestat(os.fstat(old), ours):
                    os.close(old)
