"""Reads the bodies of answers: events, one JSON object, or a list of them. Pure.

How this works. The first byte that is not white space tells what a body is, whatever its content type: ``<`` begins a
web page, ``{`` and ``[`` JSON, and anything else a stream of events. Gateways stream one JSON list, object by object; a
whole answer is one object. So there is one decoder, which passes every object to an `AnswerReader`. The end of the body
ends the answer, but only after a finish reason.

Lines outside events may hold an error: Google's servers send one as plain JSON. It is the cause if the answer stays
incomplete.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.deferred import Deferred
from lee_llm_router._util.lenient_json import read_json, read_odd_json, whole_characters
from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.answer import AnswerReader
from lee_llm_router.providers.http.dialects.gemini.errors import failure_within
from lee_llm_router.providers.http.dialects.gemini.json_stream import JSONObjects
from lee_llm_router.providers.http.dialects.gemini.stream_raw import merged_raw
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import decode_json, describe_body, invalid_answer
from lee_llm_router.providers.http.dialects.sse import BOM, Event, EventParser
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response.types import StreamChunk

_BLANK = b" \t\r\n"
_END_MARK = b"[DONE]"
_KEPT = 4096


class GeminiDecoder:
    """A `Decoder` of Gemini's answers, streamed or whole.

    Args:
        reply: Status and headers of the response.
        limit: Maximum bytes in one event.
    """

    def __init__(self, reply: HTTPReply, limit: int) -> None:
        self.done = False
        self._reply = reply
        self._reader = AnswerReader(reply)
        self._limit = limit
        self._parser: EventParser | None = None
        self._objects: JSONObjects | None = None
        self._events: deque[Event] = deque()
        self._head: bytes | None = b""
        """The first bytes while they are undecided; then None."""
        self._start = bytearray()
        """The first bytes, to describe a body that is no answer."""
        self._page: bytearray | None = None
        """A web page."""
        self._has_ended = False
        self._is_one_object = False
        """Whether the body begins as an object, and may be one whole answer."""
        self._value: dict[str, Any] | None = None
        """The first object."""
        self._bodies: list[bytes] = []
        """All objects, unchanged."""
        self._halves: HalfCharacters | None = None
        """Half characters that wait for their other half; None while every character came whole."""

    def feed(self, data: bytes) -> None:
        """As `Decoder.feed`."""
        if not data:
            self._has_ended = True
            return
        if len(self._start) < _KEPT:
            self._start += data[:_KEPT]
        if self._head is not None:
            data = self._begin(data)
        if self._parser is not None:
            self._events.extend(self._parser.feed(data))
        elif self._objects is not None:
            self._events.extend(map(Event, self._objects.feed(data)))
        elif self._page is not None and len(self._page) < self._limit:
            self._page += data

    def next(self) -> StreamChunk | None:
        """As `Decoder.next`."""
        while self._events and not (self._is_one_object and self._waits()):
            chunk = self._read_event(self._events.popleft())
            if chunk is not None:
                return chunk
        return self._end_body() if self._has_ended and not self.done else None

    def _waits(self) -> bool:
        """Return whether to hold back the body's first object until it is clear whether it is the whole answer."""
        return not self._bodies and len(self._events) == 1

    def whole_raw(self) -> Any:
        """Return the answer in its unstreamed form, built on access."""
        return Deferred(partial(merged_raw, self._bodies)) if len(self._bodies) != 1 else self._value

    def _begin(self, data: bytes) -> bytes:
        """Return `data` without a byte order mark and white space before it; determine what the body is."""
        head = (self._head or b"") + data
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        head = head.removeprefix(BOM).lstrip(_BLANK)
        if not head:
            self._head = b""
            return b""
        self._head = None
        if head[:1] == b"<":
            self._page = bytearray()
        elif head[:1] in (b"{", b"["):
            self._objects = JSONObjects(self._limit)
            self._is_one_object = head[:1] == b"{"
        else:
            self._parser = EventParser(self._limit)
        return head

    def _read_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in `event`; None for an end mark and for an empty event."""
        try:
            value = from_json(event.data, allow_inf_nan=False)
        except ValueError:
            return self._read_odd_event(event)
        if type(value) is not dict or event.event == "error":
            return self._read_value(event, value)
        reader = self._reader
        chunk = (reader.read_usual(value) if reader.is_usual else None) or reader.read(value)
        self._bodies.append(event.data)
        if self._value is None:
            self._value = value
        return chunk if self._halves is None else self._joined(chunk)

    def _read_value(self, event: Event, value: Any) -> StreamChunk:
        if event.event == "error":
            raise failure_within(self._reply, value)
        if type(value) is list and len(value) == 1:
            value = value[0]
        if type(value) is not dict:
            raise self._broken("holds what is not a JSON object")
        chunk = self._reader.read(value)
        self._value = self._value or value
        self._bodies.append(event.data)
        return chunk if self._halves is None else self._joined(chunk)

    def _joined(self, chunk: StreamChunk) -> StreamChunk:
        """Return a chunk with whole characters, each with the half that waited for it."""
        assert self._halves is not None  # noqa: S101 - asked for only then
        text, reasoning, tools = self._halves.join(chunk.text, chunk.reasoning, chunk.tool_calls)
        return replace(chunk, text=text, reasoning=reasoning, tool_calls=tools)

    def _read_odd_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in an event that is not plain JSON; None for an end mark and for an empty event."""
        data = event.data.strip()
        if not data or data == _END_MARK:
            return None
        try:
            value = read_odd_json(data)
        except ValueError:
            value = None
        if value is not None:
            self._halves = self._halves or HalfCharacters()
            self._reader.has_halves = True
            chunk, clean = self._read_value(event, value), whole_characters(value)
            if len(self._bodies) == 1:
                self._value = clean
            return replace(chunk, raw=clean, model=whole_characters(chunk.model))
        if event.event == "error":
            raise failure_within(self._reply, data.decode("utf-8", "replace"))
        objects = JSONObjects(self._limit)
        found = objects.feed(data)
        if len(found) < 2 or objects.is_within or objects.rest not in (b"", _END_MARK):
            text = data.decode("utf-8", "replace")
            raise self._broken(f"holds what is not JSON: {self._reply.quote(text, 100)!r}")
        # A single newline between events, not two.
        self._events.extendleft(Event(one) for one in reversed(found))
        return None

    def _end_body(self) -> StreamChunk | None:
        """Note the end of the body; return what it completes, or raise why the answer is incomplete."""
        if self._parser is not None:
            pending = self._parser.unfinished()
            if pending is not None and _is_whole(pending.data):
                self._events.append(pending)
                return self.next()
        first = self._read_event(self._events.popleft()) if self._events else None
        try:
            last = self._finished()
        except LLMRouterError as error:
            if first is not None:
                parts = AnswerParts()
                parts.add(first)
                error.response = error.response or parts.response(self.whole_raw())
            raise
        self.done = True
        return last if first is None else _one_chunk(first, last)

    def _finished(self) -> StreamChunk:
        """Return the last chunk of a complete answer, or raise why it is incomplete."""
        if self._parser is None or not self._bodies:
            self._check_body()
        if not self._reader.has_ended:
            error = self._unread_error()
            if error is not None:
                raise error
        last = self._reader.finish()
        if self._halves is not None:
            text, reasoning, tools = self._halves.left()
            last = replace(last, text=text, reasoning=reasoning, tool_calls=tools)
        return last

    def _check_body(self) -> None:
        """Raise if the body is no answer, or if anything else follows the answer."""
        seen = replace(self._reply, body=bytes(self._page if self._page is not None else self._start))
        objects = self._objects
        if objects is not None:
            if objects.is_within or (not self._bodies and not objects.rest):
                raise invalid_answer(seen, f"not complete JSON but {describe_body(seen)}")
            if objects.rest and not objects.rest.strip().startswith((b"data:", _END_MARK)):
                raise invalid_answer(seen, f"not JSON but {describe_body(seen)}")
        elif not self._bodies:
            error = self._unread_error()
            if error is not None:
                raise error
            if self._parser is None:
                decode_json(seen)
            only_notes = seen.body.lstrip().startswith((b":", b"data:", b"event:", b"id:", b"retry:"))
            if seen.body.strip() and not only_notes:
                raise invalid_answer(seen, f"not a stream of events but {describe_body(seen)}")

    def _unread_error(self) -> LLMRouterError | None:
        """Return the error in lines outside events; None if there is none."""
        if self._parser is None or not self._parser.unknown:
            return None
        objects = JSONObjects(self._limit)
        lines = b"\n".join(self._parser.unknown)
        at = lines.find(b"{")
        for data in objects.feed(lines[at:]) if at >= 0 else ():
            try:
                value = read_json(data)
            except ValueError:
                continue
            if value.get("error"):
                return failure_within(self._reply, value)
        return None

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


def _one_chunk(first: StreamChunk, last: StreamChunk) -> StreamChunk:
    """Return a whole answer as one chunk."""
    return replace(
        first,
        text=first.text + last.text,
        reasoning=first.reasoning + last.reasoning,
        tool_calls=first.tool_calls + last.tool_calls,
        finish_reason=last.finish_reason,
        usage=last.usage,
        details=last.details,
    )


def _is_whole(data: bytes) -> bool:
    """Return whether an event without its empty line is complete."""
    try:
        return data.strip() == _END_MARK or isinstance(read_json(data), (dict, list))
    except ValueError:
        objects = JSONObjects(len(data) + 1)
        return len(objects.feed(data)) > 1 and not objects.is_within and not objects.rest
