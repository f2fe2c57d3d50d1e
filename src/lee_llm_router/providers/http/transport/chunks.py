"""Chunked bodies whose extensions an HTTP library refuses, although RFC 9112, 7.1.1, tells recipients to accept them.

White space may surround the semicolon of an extension: ``5; a=b``, ``5 ;a=b``. llhttp refuses the first and h11 the
second.
"""

from __future__ import annotations

import re

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_LINE = 16_384


class ChunkReader:
    """Reads the chunks of a body from its first byte."""

    def __init__(self) -> None:
        self._rest = b""
        """The start of a line whose end has not arrived."""
        self._left = 0
        """Bytes still missing from the current chunk."""
        self._in_trailer = False
        self._after_chunk = False
        """Whether a chunk's line ending comes next."""
        self.done = False
        self.has_extra = False
        """Whether bytes past the end were received."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts of the body in `data`.

        Raises:
            ValueError: the data is not chunked.
        """
        data, at = self._rest + data, 0
        parts: list[bytes] = []
        while not self.done and at < len(data):
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                self._after_chunk = True
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > _MAX_LINE:
                    raise ValueError("a line without an end")
                break
            self._take_line(data[at:end].removesuffix(b"\r"))
            at = end + 1
        self._rest = data[at:]
        self.has_extra = self.done and bool(self._rest)
        return parts

    def _take_line(self, line: bytes) -> None:
        if self._after_chunk:
            if line:
                raise ValueError("a chunk longer than it says")
            self._after_chunk = False
        elif self._in_trailer:
            self.done = not line
        else:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ValueError("a chunk without a size")
            self._left = int(match[1], 16)
            self._in_trailer = not self._left


def without_extension(size_line: bytes) -> bytes:
    """Return the line with a chunk's size as received, without anything after the size."""
    match = _SIZE_LINE.fullmatch(size_line.rstrip(b"\r\n"))
    # h11 refuses a space there, and ignores what is no extension.
    return size_line.replace(b";", b" ;", 1) if match is None else match[1] + b"\r\n"
