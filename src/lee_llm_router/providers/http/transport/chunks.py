"""Chunked bodies whose extensions an HTTP library refuses, although RFC 9112, 7.1.1, has recipients take them.

White space may stand around the semicolon of an extension: ``5; a=b``, ``5 ;a=b``. llhttp refuses the first and h11 the
second.
"""

from __future__ import annotations

import re

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_LINE = 16_384


class ChunkReader:
    """Reads the chunks of a body from its first byte on."""

    def __init__(self) -> None:
        self._rest = b""
        """The beginning of a line whose end has not come."""
        self._left = 0
        """Bytes still to come of the present chunk."""
        self._in_trailer = False
        self._after_chunk = False
        """Whether the end of a chunk's line comes next."""
        self.done = False
        self.has_extra = False
        """Whether bytes past the end were received."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts of the body in `data`.

        Raises:
            ValueError: these are no chunks.
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
                raise ValueError("no size of a chunk")
            self._left = int(match[1], 16)
            self._in_trailer = not self._left


def without_extension(size_line: bytes) -> bytes:
    """Return the line with a chunk's size, as it was received, without what follows the size."""
    match = _SIZE_LINE.fullmatch(size_line.rstrip(b"\r\n"))
    # h11 refuses a space there, and lets pass what is no extension.
    return size_line.replace(b";", b" ;", 1) if match is None else match[1] + b"\r\n"
