"""Reads the lines of a trace file in blocks, from its end or its beginning. Holds about one line in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lee_llm_router.telemetry.record_json import MAX_LINE

_BLOCK = 1 << 16
_FORWARD_BLOCK = 1 << 18
_SHORT_BLOCK = 1 << 13


def lines_backwards(fd: int, needle: bytes = b"") -> Iterator[bytes | None]:
    """Yield the non-empty lines of a file that contain `needle`, last line first.

    None stands for a line longer than any record, which is not searched.

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
            # Do not split a block without the needle. Only its last line, which ends in the previously read block, may
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
        """Take a part that comes before the others. Keep nothing of a line that has become too long."""
        self._size += len(part)
        if self._size > MAX_LINE:
            self._parts.clear()
        else:
            self._parts.append(part)

    def take(self) -> tuple[bytes, bool]:
        """Return the line, empty if it was too long, and whether it was; start a new one."""
        line, too_long = b"".join(reversed(self._parts)), self._size > MAX_LINE
        self._parts, self._size = [], 0
        return line, too_long


def lines_forward(
    fd: int, start: int = 0, most: int | None = None, needle: bytes = b""
) -> Iterator[tuple[list[bytes], int]]:
    """Yield the complete lines of a file in blocks, each with the position after it.

    Omits an incomplete line. Splits a line longer than any record into several, none of them complete.

    Args:
        fd: The open file. It is left open.
        start: The beginning of a line.
        most: About how many bytes to read; None reads to the end.
        needle: Lines without it may be omitted, except the last of a block.
    """
    rest, read = b"", 0
    while most is None or read < most:
        block = os.pread(fd, _FORWARD_BLOCK, start + len(rest))
        if not block:
            return
        read += len(block)
        whole, newline, tail = (rest + block).rpartition(b"\n")
        if newline:
            start += len(whole) + 1
            rest = tail
            yield whole.split(b"\n") if needle in whole else [whole[whole.rfind(b"\n") + 1 :]], start
        elif len(tail) > MAX_LINE:
            start += len(tail)
            rest = b""
            yield [tail], start
        else:
            rest = tail


def first_line_from(fd: int, start: int) -> tuple[bytes, int]:
    """Return the first line that begins at `start` or later, and its position; an empty line if none ends."""
    place = start
    if start:
        place = start - 1
        while newline := os.pread(fd, _SHORT_BLOCK, place):
            found = newline.find(b"\n")
            if found >= 0:
                place += found + 1
                break
            place += len(newline)
    parts: list[bytes] = []
    while sum(map(len, parts)) <= MAX_LINE and (block := os.pread(fd, _SHORT_BLOCK, place + sum(map(len, parts)))):
        line, newline, _ = block.partition(b"\n")
        parts.append(line)
        if newline:
            return b"".join(parts), place
    return b"", place
