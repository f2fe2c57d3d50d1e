"""A file of lines that is only appended to: a line is there as a whole, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

_BLOCK = 1 << 20
_TAIL = 256
"""Bytes at the end of a file by which it is known again."""


class LineFile:
    """An open file of lines.

    Args:
        path: The file; made if there is none.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise OSError(0, "it is no regular file")

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self._descriptor).st_size

    def append(self, line: bytes) -> int:
        """Write `line`, and return the byte where it begins.

        Raises:
            OSError: it cannot be written; then nothing of it is in the file.
        """
        self.write(line)
        return self.size - len(line)

    def write(self, line: bytes) -> None:
        """Same as `append`, where nobody asks for the place: a system call less."""
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
        """Return where the last line begins that has no newline, not before byte `start`, and what there is of it."""
        end = at = self.size
        rest = b""
        while at > start and b"\n" not in rest:
            before = max(start, at - _BLOCK)
            rest = self.read(before, at - before) + rest
            at = before
        rest = rest.rpartition(b"\n")[2]
        return end - len(rest), rest

    def cut(self, at: int) -> None:
        """Remove what stands from byte `at` on."""
        os.ftruncate(self._descriptor, at)

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield each whole line from byte `start` on, with the byte where it begins, and without its newline."""
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
        """Return what the file can be known by up to byte `end`: a hash of the bytes before it."""
        start = max(0, end - _TAIL)
        return blake2b(os.pread(self._descriptor, end - start, start), digest_size=10).digest()

    def temporary(self) -> Path:
        """Return where another content of it is written first: beside the file, also where the path is a link."""
        real = Path(os.path.realpath(self.path))
        return real.with_name(f"{real.name}.new")

    def replaced(self, content: Iterable[bytes]) -> LineFile:
        """Put a file with `content` in its place, and return that. This one stays open, and nobody finds it.

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
