"""Reads small files that may turn out to be something else."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnfitFileError(OSError):
    """The path does not lead to a plain file of a sensible size. `strerror` says what it is instead."""

    def __init__(self, what: str) -> None:
        super().__init__(0, what)


def read_small_file(path: str | Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a plain file of at most `limit` bytes, and its status.

    Raises:
        OSError: there is none, it cannot be read, or it is an `UnfitFileError`.
        ValueError: the path is invalid.
    """
    data, info = read_head(path, limit + 1)
    if len(data) > limit:
        raise UnfitFileError(f"larger than {limit:,} bytes")
    return data, info


def read_head(path: str | Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the first `limit` bytes of a plain file, and its status.

    Opening anything else could wait for a writer, and reading it could never end.

    Raises:
        OSError: there is none, it cannot be read, or it is an `UnfitFileError`.
        ValueError: the path is invalid.
    """
    # Without blocking: opening a FIFO would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise UnfitFileError("a folder, not a file" if stat.S_ISDIR(info.st_mode) else "not a plain file")
        data = b""
        while len(data) < limit and (part := os.read(descriptor, limit - len(data))):
            data += part
    finally:
        os.close(descriptor)
    return data, info
