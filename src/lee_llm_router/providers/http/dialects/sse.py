"""Splits a stream of bytes, in pieces of any size, into server-sent events. Pure.

It follows the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end with CR, LF or
CRLF; a byte order mark at the very start is dropped; an event ends with an empty line, and one without it is dropped.
There are two differences. Data stays bytes: the standard replaces invalid UTF-8 by U+FFFD, which would hide that an
answer is damaged. And callers can read what the standard ignores, an event without its empty line and lines of other
fields: some servers say there why there is no answer.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from lee_llm_router.errors import InvalidResponseError

ACCEPT = "text/event-stream, application/json"
"""The `Accept` header of a request for a stream; a server that cannot stream may send JSON."""

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which may precede any body."""
_MAX_RETRY_DIGITS = 15
_KEPT_LINES = 32
_KEPT_OF_LINE = 4096


class Event(NamedTuple):
    """One event."""

    data: bytes
    """The event's data lines, joined by newlines."""
    event: str = "message"
    """The event's type."""
    id: str = ""
    """The last id that the stream has set."""


_new = tuple.__new__
"""Makes an `Event` from a tuple, in two thirds of the time."""


class EventParser:
    """Takes a stream's bytes as they arrive, and returns complete events.

    Lines are split as bytes. In UTF-8 the bytes of a line end or a colon are never part of another character, so a
    split character does no harm.

    Args:
        limit: Maximum bytes in one event, including its comments.
    """

    __slots__ = (
        "_after_cr", "_data", "_event", "_id", "_limit", "_size", "_start", "_tail", "_too_long", "retry", "unknown",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.retry: int | None = None
        """Milliseconds to wait before reconnecting, if the stream has set that."""
        self.unknown: deque[bytes] = deque(maxlen=_KEPT_LINES)
        """The last lines that are not fields, each cut to 4096 bytes."""
        self._limit = limit
        self._start: bytes | None = b""
        self._after_cr = False
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._event = ""
        self._id = ""
        self._size = 0
        self._too_long = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that end in `data`.

        Raises:
            InvalidResponseError: an event is longer than the limit. Earlier events are returned first, so the next call
                may raise the error.
        """
        if self._start is not None:
            data = self._without_bom(data)
        elif self._is_one_event(data):
            return [_new(Event, (data[6:-2], "message", self._id))]
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        events: list[Event] = []
        if data and not self._too_long:
            if b"\r" in data:
                self._after_cr = data.endswith(b"\r")
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, rest = data.split(b"\n")
            if lines and self._tail:
                self._size -= sum(map(len, self._tail))
                lines[0] = b"".join((*self._tail, lines[0]))
                self._tail.clear()
            self._take(lines, events)
            if rest:
                self._tail.append(rest)
                self._count(rest)
        if self._too_long and not events:
            raise InvalidResponseError(f"an event of the stream is longer than {self._limit} bytes", final=True)
        return events

    def unfinished(self) -> Event | None:
        """Return the event that lacks its empty line; None if there is none. For the end of the body."""
        tail = b"".join(self._tail)
        self._tail.clear()
        self._size -= len(tail)
        if tail and not self._too_long:
            self._take([tail], [])
        if not self._data or self._too_long:
            return None
        data = b"\n".join(self._data)
        self._data.clear()
        return Event(data, self._event or "message", self._id)

    def _is_one_event(self, data: bytes) -> bool:
        """Return whether `data` is one event of one line, with nothing left over before it."""
        size = len(data)
        return (
            data[:6] == b"data: "
            and data.find(b"\n") == size - 2
            and data[-1] == 10
            and not (self._size or self._after_cr or self._tail)
            and size - 2 <= self._limit
            and b"\r" not in data
        )

    def _without_bom(self, data: bytes) -> bytes:
        """Return `data` without a byte order mark; nothing while its first one or two bytes may begin one."""
        data = (self._start or b"") + data
        if len(data) < len(BOM) and BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(BOM)

    def _take(self, lines: list[bytes], events: list[Event]) -> None:
        position, end = 0, len(lines)
        while position < end:
            line = lines[position]
            position += 1
            is_alone = not self._size and position < end and not lines[position] and len(line) <= self._limit
            if is_alone and line.startswith(b"data: "):  # nearly every event is one line, followed by an empty one
                position += 1
                events.append(_new(Event, (line[6:], "message", self._id)))
            elif line[:7] == b"event: " and self._is_named_event(lines, position):
                name = line[7:].decode("utf-8", "replace") or "message"
                events.append(_new(Event, (lines[position][6:], name, self._id)))
                position += 2
            elif not line:
                self._size = 0
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(Event(data, self._event or "message", self._id))
                    self._data.clear()
                self._event = ""
            else:
                self._count(line)
                if self._too_long:
                    return
                if line.startswith(b"data: "):
                    self._data.append(line[6:])
                else:
                    self._field(line)

    def _is_named_event(self, lines: list[bytes], position: int) -> bool:
        """Return whether one line of data and an end follow the event name before `position`."""
        return (
            not self._size
            and position + 1 < len(lines)
            and not lines[position + 1]
            and lines[position][:6] == b"data: "
            and len(lines[position - 1]) + len(lines[position]) <= self._limit
        )

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self.retry = int(value)
        elif name and name != b"id":
            self.unknown.append(line[:_KEPT_OF_LINE])

    def _count(self, part: bytes) -> None:
        self._size += len(part)
        self._too_long = self._size > self._limit
