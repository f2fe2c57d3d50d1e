"""A file of lines that is only appended to: a line is there completely, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

_BLOCK = 1 << 20
_TAIL = 256
"""Bytes at the end of a file by which it is recognized."""


class LineFile:
    """An open file of lines.

    Args:
        path: The file; created if missing.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise OSError(0, "it is not a regular file")

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self._descriptor).st_size

    def append(self, line: bytes) -> int:
        """Write `line`, and return its offset.

        Raises:
            OSError: it cannot be written; then nothing of it is in the file.
        """
        self.write(line)
        return self.size - len(line)

    def write(self, line: bytes) -> None:
        """Same as `append`, without returning the offset: one system call less."""
        written = os.write(self._descriptor, line)
        if written == len(line):
            return
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size - written)
            raise

    def unended(self, start: int = 0) -> tuple[int, bytes]:
        """Return the offset and the content of a last line without a newline, from byte `start` on."""
        end = at = self.size
        rest = b""
        while at > start and b"\n" not in rest:
            before = max(start, at - _BLOCK)
            rest = self.read(before, at - before) + rest
            at = before
        rest = rest.rpartition(b"\n")[2]
        return end - len(rest), rest

    def cut(self, at: int) -> None:
        """Remove everything from byte `at` on."""
        os.ftruncate(self._descriptor, at)

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield each complete line from byte `start` on, with its offset, and without its newline."""
        at, rest = start, b""
        while block := os.pread(self._descriptor, _BLOCK, at + len(rest)):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield at, line
                at += len(line) + 1

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on."""
        return os.pread(self._descriptor, length, start)

    def mark(self, end: int) -> bytes:
        """Return a fingerprint of the file up to byte `end`: a hash of the bytes before it."""
        start = max(0, end - _TAIL)
        return blake2b(os.pread(self._descriptor, end - start, start), digest_size=10).digest()

    def temporary(self) -> Path:
        """Return the path for new content before it replaces the file: next to the file, even if the path is a link."""
        real = Path(os.path.realpath(self.path))
        return real.with_name(f"{real.name}.new")

    def replaced(self, content: Iterable[bytes]) -> LineFile:
        """Replace the file by one with `content`, and return that. This one stays open, but has no path any more.

        Raises:
            OSError: it cannot be written; then nothing has changed.
        """
        temporary = self.temporary()
        mode = os.fstat(self._descriptor).st_mode & 0o777
        try:
            with temporary.open("wb", buffering=_BLOCK) as file:
                os.fchmod(file.fileno(), mode)
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            new = LineFile(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        temporary.replace(os.path.realpath(self.path))
        new.path = self.path
        return new

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)
