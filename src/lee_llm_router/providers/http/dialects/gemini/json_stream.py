"""Splits a stream of bytes into its JSON objects: one, several, or those of one list. Pure."""

from __future__ import annotations

import re

from lee_llm_router.errors import InvalidResponseError

_KEPT = 4096
_OUTSIDE = re.compile(rb"[^\s,\[\]]")
_MARKS = re.compile(rb'["{}]')
_IN_TEXT = re.compile(rb'["\\]')


class JSONObjects:
    """Takes bytes as they arrive, and returns complete objects. Reads each byte once.

    It skips what is between objects: commas, and the brackets of a list.

    Args:
        limit: Maximum bytes in one object.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        """The pieces of the incomplete object."""
        self._size = 0
        self._depth = 0
        self._in_text = self._escaped = False
        self.rest = b""
        """The beginning of what is found instead of an object; nothing is read after it."""

    @property
    def is_within(self) -> bool:
        """Whether an object has begun and is incomplete."""
        return self._depth > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the objects that end in `data`.

        Raises:
            InvalidResponseError: an object is longer than the limit.
        """
        found: list[bytes] = []
        position = 0
        while position < len(data) and not self.rest:
            if self._depth == 0:
                start = _OUTSIDE.search(data, position)
                if start is None:
                    break
                position = start.start()
                if data[position : position + 1] != b"{":
                    self.rest = data[position : position + _KEPT]
                    break
            end = self._end(data, position)
            self._pieces.append(data[position:end])
            self._size += end - position
            if self._size > self._limit:
                raise InvalidResponseError(f"an event of the stream is longer than {self._limit} bytes", final=True)
            position = end
            if self._depth == 0:
                found.append(b"".join(self._pieces))
                self._pieces.clear()
                self._size = 0
        return found

    def _end(self, data: bytes, position: int) -> int:
        """Return where the object ends in `data`, or the end of `data`; remember the state in between."""
        if self._escaped:
            self._escaped = False
            position += 1
        while mark := (_IN_TEXT if self._in_text else _MARKS).search(data, position):
            position = mark.end()
            sign = mark[0]
            if sign == b'"':
                self._in_text = not self._in_text
            elif sign == b"\\":
                self._escaped = position == len(data)
                position += 1
            else:
                self._depth += 1 if sign == b"{" else -1
                if self._depth == 0:
                    return position
        return len(data)
