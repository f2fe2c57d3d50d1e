"""Reads the body of a response as events, in any dialect: the shared part of all decoders. Pure.

How this works. The first byte that is not white space tells what the body is, whatever its content type: ``{``, ``[``
or ``<`` begins JSON or a web page, which is read as a whole at its end. Anything else is a stream, which `EventParser`
splits into events. `next` turns one event after another into a chunk, until it needs more bytes. A dialect fills in:

- `_read_value`: the chunk in an event that holds a JSON object, as nearly all do;
- `_read_damaged`: the same for an object with half a character at the end of a piece;
- `_end_stream`: what the end of the body means, which is an error in most dialects;
- `_completes`: whether an event without its empty line completes the answer, or says that there is none;
- `_read_whole`: the answer in a body that is not a stream;
- `_failure_within`: the error in an event that says it is one.

For all dialects: an event that is not JSON is an error and never skipped, unless it is empty; a single newline may
separate events; a line outside events that names an error is the cause, if the answer stays incomplete.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import read_odd_json
from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.base import Decoder, HTTPReply
from lee_llm_router.providers.http.dialects.event_bodies import (
    BLANK,
    END_MARK,
    events_in,
    ignored_error,
    is_stream,
    lines_of,
)
from lee_llm_router.providers.http.dialects.json_body import describe_body, invalid_answer
from lee_llm_router.providers.http.dialects.sse import BOM, Event, EventParser
from lee_llm_router.providers.streams import AnswerParts, chunk_of
from lee_llm_router.response.types import LLMResponse, StreamChunk

_WHOLE_BODIES = (b"{", b"[", b"<")
_READ = 4096
"""Bytes to look at to describe a body that is no answer."""


class EventReader(ABC):
    """A `Decoder` of a stream of events, or of a whole answer if the server sends one.

    Args:
        reply: Status and headers of the response.
        limit: Maximum bytes in one event.
    """

    keeps_body: ClassVar[bool] = False
    """Whether to keep all bytes: the dialect builds `raw` from them."""
    events_are: ClassVar[str] = "events"
    """The parts of a stream, as errors call them."""

    def __init__(self, reply: HTTPReply, limit: int) -> None:
        self.done = False
        self._reply = reply
        self._parser = EventParser(limit)
        self._events: deque[Event] = deque()
        self._body = bytearray()
        """What came before the first event; everything, if the body is kept or is not a stream."""
        self._head: bytes | None = b""
        """The first bytes while they are undecided; then None."""
        self._is_stream = True
        self._has_ended = False
        self._has_events = False
        self._failure: LLMRouterError | None = None
        """Raised by the next call of `next`, so that the text that came with it is returned first."""
        self._whole_raw: Any = None

    def feed(self, data: bytes) -> None:
        """As `Decoder.feed`."""
        if not data:
            self._has_ended = True
            return
        if not self._has_events:
            self._feed_first(data)
            return
        if self.keeps_body:
            self._body += data
        self._events.extend(self._parser.feed(data))

    def next(self) -> StreamChunk | None:
        """As `Decoder.next`."""
        if self._failure is not None:
            raise self._failure
        while self._events and not self.done:
            chunk = self._read_event(self._events.popleft())
            if chunk is not None:
                return chunk
        return self._end_body() if self._has_ended and not self.done else None

    def whole_raw(self) -> Any:
        """Return the answer in its unstreamed form."""
        return self._whole_raw

    @abstractmethod
    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk | None:
        """Return the chunk in an event that holds an object; None if it says nothing about the answer."""

    @abstractmethod
    def _read_damaged(self, event: Event, value: dict[str, Any]) -> StreamChunk | None:
        """Return the chunk in an event whose object has half characters, each as a lone surrogate."""

    @abstractmethod
    def _end_stream(self) -> StreamChunk | None:
        """Return what the end of the body adds to the answer, or raise why it is incomplete."""

    @abstractmethod
    def _completes(self, event: Event) -> bool:
        """Return whether an event without its empty line completes the answer, or says that there is none."""

    @abstractmethod
    def _read_whole(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in a body that is not a stream.

        Raises:
            InvalidResponseError: it holds none.
        """

    @abstractmethod
    def _failure_within(self, error: Any) -> LLMRouterError:
        """Return the error in an event that says it is one."""

    def _read_end_mark(self) -> StreamChunk | None:
        """Return what `[DONE]` adds to the answer; in a dialect without this mark, it comes too early."""
        return self._end_stream()

    def _has_more_in_raw(self, response: LLMResponse) -> bool:
        """Return whether a whole answer holds output that chunks have no field for."""
        return any(part.get("type") != "text" for part in response.details.parts)

    def _feed_first(self, data: bytes) -> None:
        """Take the next part of a body that has had no event yet, and may have none."""
        if self._head is not None:
            data = self._begin(data)
        if self.keeps_body or not self._is_stream or len(self._body) < _READ:
            self._body += data
        if self._is_stream:
            self._events.extend(self._parser.feed(data))
            self._has_events = bool(self._events)

    def _begin(self, data: bytes) -> bytes:
        """Return `data` without a byte order mark and white space before it; determine whether it is a stream."""
        head = (self._head or b"") + data
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        head = head.removeprefix(BOM).lstrip(BLANK)
        self._head = None if head else b""
        self._is_stream = not head.startswith(_WHOLE_BODIES)
        return head

    def _read_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in `event`; None for the end mark and for an empty event."""
        try:
            value = from_json(event.data, allow_inf_nan=False)
        except ValueError:
            return self._read_odd_event(event)
        if type(value) is not dict or event.event == "error":
            raise self._no_chunk(event, value)
        return self._read_value(event, value)

    def _read_odd_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in an event that is not plain JSON; None for the end mark and for an empty event."""
        data = event.data.strip()
        if data == END_MARK:
            return self._read_end_mark()
        try:
            value = read_odd_json(data)
        except ValueError:
            value = None
        if event.event == "error":
            raise self._failure_within(data.decode("utf-8", "replace") if value is None else value)
        if type(value) is dict:
            return self._read_damaged(event, value)
        lines = lines_of(data)
        if len(lines) > 1:  # events with one newline between them, not two
            self._events.extendleft(Event(line, event.event) for line in reversed(lines))
        elif data:
            text = data.decode("utf-8", "replace")
            raise self._broken(f"holds what is not JSON: {self._reply.quote(text, 100)!r}")
        return None

    def _no_chunk(self, event: Event, value: Any) -> LLMRouterError:
        """Return the error for an event that is not part of an answer: it says that it is an error, or is not an
        object."""
        if event.event == "error":
            return self._failure_within(value)
        return self._broken("holds what is not a JSON object")

    def _end_body(self) -> StreamChunk | None:
        """Note the end of the body; return what it completes, or raise why the answer is incomplete."""
        if not self._is_stream:
            return self._read_whole_body()
        pending = self._parser.unfinished()
        if pending is not None and self._completes(pending):
            self._events.append(pending)
            self._has_events = True
            return self.next()
        if not self._has_events and self._body.lstrip(BLANK) and not self._body.startswith(b":"):
            seen = replace(self._reply, body=bytes(self._body[:_READ]))
            said = ignored_error(self._reply, self._parser.unknown)
            raise said or invalid_answer(seen, f"not a stream of {self.events_are} but {describe_body(seen)}")
        return self._end_stream()

    def _read_whole_body(self) -> StreamChunk | None:
        """Return the answer in a JSON body; or read the JSON values and events in it."""
        reply = replace(self._reply, body=bytes(self._body))
        self._body.clear()
        try:
            response = self._read_whole(reply)
        except InvalidResponseError:
            events = events_in(reply.body)
            if not events:
                raise
            self._is_stream = self._has_events = True
            self._events.extend(events)
            if self.keeps_body:
                self._body += b"".join(b"data: %b\n\n" % event.data for event in events)
            return self.next()
        return self._whole_chunk(response)

    def _whole_chunk(self, response: LLMResponse) -> StreamChunk:
        """Return a whole answer as the only chunk of a completed stream."""
        self.done = True
        self._whole_raw = response.raw
        chunk = chunk_of(response)
        return replace(chunk, output_in_raw=True) if self._has_more_in_raw(response) else chunk

    def _not_whole(self, what: str) -> LLMRouterError:
        """Return the error for a stream that ended too early: the cause that the server names, or else `what`."""
        return ignored_error(self._reply, self._parser.unknown) or self._broken(what)

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


def read_body(
    reply: HTTPReply, read: Callable[[HTTPReply], LLMResponse], decoder: Callable[[HTTPReply, int], Decoder]
) -> LLMResponse:
    """Return the answer in the body of a 200: JSON, or a stream from a server that streams unasked.

    The content of the body decides, not its content type.

    Args:
        reply: The server's response.
        read: Reads it as one answer.
        decoder: Makes a decoder to read it as a stream; the number limits an event.

    Raises:
        LLMRouterError: it holds no complete answer; its `response` is the incomplete one.
    """
    if not is_stream(reply):
        try:
            return read(reply)
        except InvalidResponseError:
            if not events_in(reply.body):
                raise
    try:
        return answer_of(decoder(reply, len(reply.body) + 1), reply.body)
    except InvalidResponseError as error:
        if type(error) is InvalidResponseError:
            error.args = (f"the answer is a stream, and {error.message}",)
        raise


def answer_of(decoder: Decoder, body: bytes) -> LLMResponse:
    """Return the answer that `decoder` reads in a whole body.

    Raises:
        LLMRouterError: there is none; its `response` is the incomplete one.
    """
    parts, give = AnswerParts(), getattr(decoder, "whole_raw", lambda: None)
    try:
        for data in (body, b""):
            if data or not decoder.done:
                decoder.feed(data)
            while (chunk := decoder.next()) is not None:
                parts.add(chunk)
    except LLMRouterError as error:
        if parts.texts:
            error.response = error.response or parts.response(give())
        raise
    return parts.response(give())
