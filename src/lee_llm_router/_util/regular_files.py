"""Reads files that others may have put in place: never blocks, and never reads more than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Opening a FIFO waits for a writer, and a device may never end. So the file is opened without waiting, and then its
    kind is checked.

    Args:
        path: The file.
        limit: The largest allowed size in bytes.
        follow: Whether to follow links.

    Raises:
        OSError: it cannot be read, is not a regular file (EINVAL), or is larger (EFBIG).
    """
    descriptor = open_regular_file(path, follow=follow)
    try:
        data = bytearray()
        while len(data) <= limit and (piece := os.read(descriptor, limit + 1 - len(data))):
            data += piece
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
    return bytes(data)


def open_regular_file(path: Path, *, follow: bool = True) -> int:
    """Return a descriptor from which the regular file at `path` is read.

    Args:
        path: The file.
        follow: Whether a link is followed.

    Raises:
        OSError: it cannot be read, or is no regular file (EINVAL).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
