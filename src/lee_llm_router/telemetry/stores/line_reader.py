"""Reads the lines of a trace file from its end, in blocks, and holds no more of it than one line."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lee_llm_router.telemetry.record_json import MAX_LINE

_BLOCK = 1 << 16


def lines_backwards(fd: int, needle: bytes = b"") -> Iterator[bytes | None]:
    """Yield the lines of a file that contain `needle` and are not empty, last line first.

    None stands for a line longer than any record; it is not looked into.

    Args:
        fd: The open file. It is left open.
        needle: What a line must contain; empty for all lines.
    """
    end = os.fstat(fd).st_size
    rest = _Rest()
    while end > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(fd, end - start, start)
        end = start
        first = block.find(b"\n")
        if first >= 0:
            # A block without the needle is not split. Only its last line, which ends in the block read before, may
            # still contain it.
            lines = block[first + 1 :].split(b"\n") if needle in block else [block[block.rfind(b"\n") + 1 :]]
            rest.put_before(lines.pop())
            line, too_long = rest.take()
            lines.append(line)
            if too_long:
                yield None
            yield from (line for line in reversed(lines) if line and needle in line)
            block = block[:first]
        rest.put_before(block)
    line, too_long = rest.take()
    if too_long:
        yield None
    if line and needle in line:
        yield line


class _Rest:
    """The end of a line whose beginning has not been read yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def put_before(self, part: bytes) -> None:
        """Take a part that stands before the others. Nothing is kept of a line that has become too long."""
        self._size += len(part)
        if self._size > MAX_LINE:
            self._parts.clear()
        else:
            self._parts.append(part)

    def take(self) -> tuple[bytes, bool]:
        """Return the line, empty if it was too long, and whether it was; and begin a new one."""
        line, too_long = b"".join(reversed(self._parts)), self._size > MAX_LINE
        self._parts, self._size = [], 0
        return line, too_long
