"""The files of a trace folder: their names, which one to append to, and which to delete.

How this works
--------------
A day's records go to ``YYYYMMDD.jsonl``, and to ``YYYYMMDD_0001.jsonl`` and so on if one file is not enough. A file is
never renamed. Each process appends to the file of the day with the highest number, and starts the next number when that
one is full. All processes find the same name independently, so no lock is needed. Deleting is as simple: the second
process finds the file gone.

Only a plain file of this user is appended to: a link, a pipe, a folder or another user's file in its place is left
alone, and the next number is used. A mode that gives others access is tightened first.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import field
from datetime import UTC, date, datetime

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.late_pattern import late_pattern

SECONDS_A_DAY = 86_400
MEGABYTE = 1_000_000
SQLITE_FILE = "traces.sqlite"
"""The name of a SQLite file of traces in such a folder."""

_LAST_DAY = date.max.toordinal() - date(1970, 1, 1).toordinal()
_NAME = late_pattern(r"(\d{8})(?:_(\d{4,9}))?\.jsonl", re.ASCII)
_GITIGNORE = ".gitignore"
_OTHERS = 0o077
"""The mode bits that give others access."""
_FULL_AT = 8
"""A file is full at this fraction of the folder's limit, so that deleting the oldest removes at most this fraction of
the history."""
_IS_SAFE_TO_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Follow no link, and do not wait for a pipe or a device in the file's place."""


@dataclass(frozen=True, slots=True)
class DayFile:
    """One file of a trace folder. Files sort by age."""

    day: str
    """``YYYYMMDD``, in UTC."""
    number: int = 0
    """Counts from 0 within the day."""
    size: int = field(default=0, compare=False)
    """In bytes, when the folder was read."""
    is_plain: bool = field(default=True, compare=False)
    """Whether it is a file, and not a folder, link, pipe or device."""
    inode: int = field(default=0, compare=False)
    """Distinguishes it from another file that had its name before."""

    def __lt__(self, other: DayFile) -> bool:
        return (self.day, self.number) < (other.day, other.number)

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return f"{self.day}_{self.number:04d}.jsonl" if self.number else f"{self.day}.jsonl"


def day_name(day: int) -> str:
    """Return ``YYYYMMDD`` for a day counted from 1970; the last day of the calendar for any later one."""
    return f"{datetime.fromtimestamp(min(max(day, 0), _LAST_DAY) * SECONDS_A_DAY, UTC):%Y%m%d}"


def day_files(folder: str | os.PathLike[str]) -> list[DayFile]:
    """Return everything named like a day file, oldest first; nothing if there is no such folder.

    Raises:
        OSError: the folder cannot be read.
    """
    found: list[DayFile] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            file = DayFile(name[1], int(name[2] or 0)) if name else None
            if file is None or file.name != entry.name:
                continue
            with suppress(FileNotFoundError):  # another process tidies up
                seen = entry.stat(follow_symlinks=False)
                found.append(DayFile(file.day, file.number, seen.st_size, stat.S_ISREG(seen.st_mode), seen.st_ino))
    return sorted(found)


def full_size(max_bytes: float) -> float:
    """Return the size of a full file in a folder with a limit of `max_bytes`."""
    return max_bytes / _FULL_AT


def open_to_append(folder: str, day: int, size: int, full: float) -> tuple[int, str]:
    """Open the file of `day` for appending `size` bytes, and return its descriptor and its path.

    Args:
        folder: The trace folder, which exists.
        day: Counts from 1970.
        size: Bytes to append at once.
        full: The size that a file may reach. An empty file accepts anything.

    Raises:
        OSError: no file can be used.
    """
    name = day_name(day)
    newest = max((file for file in day_files(folder) if file.day == name), default=DayFile(name))
    following = DayFile(name, newest.number + 1)
    if newest.size and newest.size + size > full:
        newest = following
    path = os.path.join(folder, newest.name)  # noqa: PTH118 - the store keeps text, which is quicker to compare
    try:
        return _open_own(path), path
    except OSError:
        if newest is following:
            raise
    path = os.path.join(folder, following.name)  # noqa: PTH118
    return _open_own(path), path


def open_to_read(path: str | os.PathLike[str]) -> int:
    """Open a plain file for reading, without waiting, and return its descriptor.

    Raises:
        OSError: it is something else, or cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | _IS_SAFE_TO_OPEN)
    try:
        _check_plain(os.fstat(fd), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_own(path: str) -> int:
    """Open a plain file of this user for appending, creating it if necessary, and return its descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _IS_SAFE_TO_OPEN, 0o600)
    try:
        found = os.fstat(fd)
        _check_plain(found, path)
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "the file belongs to another user", path)
        if found.st_nlink > 1:
            raise OSError(errno.EMLINK, "the file has another name, so it may be another file", path)
        if found.st_mode & _OTHERS:
            # The owner gets this only from file systems without modes.
            with suppress(PermissionError):
                os.fchmod(fd, stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _check_plain(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", os.fspath(path))


def hide_from_git(folder: str) -> None:
    """Put a ``.gitignore`` into a folder that contains only day files."""
    if all(_NAME.fullmatch(name) for name in os.listdir(folder)):  # noqa: PTH208
        place = os.path.join(folder, _GITIGNORE)  # noqa: PTH118
        with suppress(FileExistsError):
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _IS_SAFE_TO_OPEN, 0o666)
            try:
                os.write(fd, b"*\n")
            finally:
                os.close(fd)


def tidy(folder: str, current: str, day: int, keep_days: int, room: float) -> None:
    """Delete files that are too old, then the oldest until the others fit into `room`.

    Deletes only plain files, and never `current`. Skips files that cannot be deleted.

    Args:
        folder: The trace folder.
        current: Name of the file being appended to.
        day: Today, counted from 1970.
        keep_days: 0 keeps files of any age.
        room: Maximum total size of all files except `current`.
    """
    files = [file for file in day_files(folder) if file.is_plain and file.name != current]
    outdated = _outdated(files, day, keep_days)
    held = sum(file.size for file in files)
    for file in files:
        if file in outdated or held > room:
            held -= file.size
            with suppress(OSError):
                os.unlink(os.path.join(folder, file.name))  # noqa: PTH108, PTH118


def _outdated(files: Iterable[DayFile], day: int, keep_days: int) -> set[DayFile]:
    """Return the files more than `keep_days` older than `day`, as `day_to_count_from` counts."""
    if keep_days <= 0:
        return set()
    days = {file: number for file in files if (number := _day_number(file.day)) is not None}
    newest = max((number for number in days.values() if number < day), default=day)
    today = day_to_count_from(day, newest, keep_days)
    return {file for file, number in days.items() if number < today - keep_days}


def day_to_count_from(day: int, newest: int, keep_days: int) -> int:
    """Return the day from which to count the age of records: `day`, unless the clock may be wrong.

    If `newest`, the last earlier day with records, is itself older than `keep_days`, age counts from that day: one
    record of a wrong clock deletes nothing. A second day of records shows that the clock is right.
    """
    return day if day - newest <= keep_days else newest


def _day_number(name: str) -> int | None:
    """Return the day ``YYYYMMDD``, counted from 1970; None for one that is in no calendar."""
    try:
        return date(int(name[:4]), int(name[4:6]), int(name[6:])).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
