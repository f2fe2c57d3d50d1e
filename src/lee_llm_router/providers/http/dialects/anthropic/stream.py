"""Reads streamed messages of Anthropic's API: server-sent events that build the message block by block. Pure.

How this works. The first byte that is no blank says what the body is, whatever its label: ``{``, ``[`` or ``<`` begin
JSON or a web page, which is read as a whole at its end. Anything else is a stream of events: `message_start`, then for
each content block `content_block_start`, deltas and `content_block_stop`, then `message_delta` with the stop reason and
the usage, and `message_stop`. A stream is whole only with a stop reason and `message_stop`; an error may come in place
of any event. Events, blocks and deltas of unknown types pass.

The pieces of each block are kept, so that at the end the message is there as an unstreamed one would be: for what has
to go back to the vendor (`details.native`), and for `raw`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from lee_llm_router._util.deferred import Deferred
from lee_llm_router._util.lenient_json import read_odd_json, whole_characters
from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.anthropic.answer import whole_answer
from lee_llm_router.providers.http.dialects.anthropic.errors import failure_within
from lee_llm_router.providers.http.dialects.anthropic.stream_message import DELTA, MessageSoFar
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import decode_json, describe_body, invalid_answer, mapping
from lee_llm_router.providers.http.dialects.openai.event_bodies import (
    BLANK,
    END_MARK,
    events_in,
    ignored_error,
    lines_of,
)
from lee_llm_router.providers.http.dialects.sse import BOM, Event, EventParser
from lee_llm_router.providers.streams import chunk_of
from lee_llm_router.response import LLMResponse, StreamChunk

_WHOLE_BODIES = (b"{", b"[", b"<")
_KEPT = 4096
"""Bytes kept of a body that has said nothing yet."""


class MessageDecoder:
    """A `Decoder` of a streamed message, or of a whole one where the server sends that.

    Args:
        reply: Status and headers of the answer.
        limit: Maximum bytes in one event.
    """

    def __init__(self, reply: HTTPReply, limit: int) -> None:
        self.done = False
        self._reply = reply
        self._parser = EventParser(limit)
        self._events: deque[Event] = deque()
        self._body = bytearray()
        """What has come of a body that is no stream, or of one that says nothing yet."""
        self._head: bytes | None = b""
        """The first bytes while they say nothing; then None."""
        self._is_stream = True
        self._is_silent = True
        """Whether no event has come yet."""
        self._has_ended = False
        self._message = MessageSoFar(reply)
        self._whole_raw: Any = None

    def feed(self, data: bytes) -> None:
        """As `Decoder.feed`."""
        if not data:
            self._has_ended = True
            return
        if self._head is not None:
            data = self._begin(data)
        if not self._is_stream:
            self._body += data
            return
        if self._is_silent:
            self._body += data[: max(0, _KEPT - len(self._body))]
        events = self._parser.feed(data)
        if events:
            self._events.extend(events)
            self._is_silent = False

    def next(self) -> StreamChunk | None:
        """As `Decoder.next`."""
        if self._message.failure is not None:
            raise self._message.failure
        while self._events and not self.done:
            chunk = self._read_event(self._events.popleft())
            if chunk is not None:
                return chunk
        return self._end_body() if self._has_ended and not self.done else None

    def whole_raw(self) -> Any:
        """Return the message as an unstreamed one would be, put together when it is looked at."""
        return self._whole_raw or Deferred(self._message.whole)

    def _begin(self, data: bytes) -> bytes:
        """Return `data` without blanks and a byte order mark before it; find out whether it is a stream."""
        head = (self._head or b"") + data
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        head = head.removeprefix(BOM).lstrip(BLANK)
        self._head = None if head else b""
        self._is_stream = not head.startswith(_WHOLE_BODIES)
        return head

    def _read_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in `event`; None for an empty one."""
        try:
            value = from_json(event.data, allow_inf_nan=False)
        except ValueError:
            return self._read_odd_event(event)
        if type(value) is not dict:
            raise self._no_message(event, value)
        if value.get("type") == DELTA:  # nearly all
            return self._message.add_delta(value)
        return self._read_value(event, value)

    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        message, kind = self._message, value.get("type")
        if kind == "error" or event.event == "error" or value.get("error"):
            raise failure_within(self._reply, value)
        chunk = message.read(kind if type(kind) is str else event.event, value)
        if chunk is None:
            return self._other_chunk(value)
        if message.open_with:
            self._events.extendleft(Event(to_json(start)) for start in reversed(message.open_with))
            message.open_with = []
        self.done = message.done
        return chunk

    def _other_chunk(self, value: dict[str, Any]) -> StreamChunk:
        """Return the chunk for an event of another type: one that says nothing, or a whole message."""
        if not self._message.has_begun:
            if type(value.get("content")) is list:
                return self._whole_chunk(whole_answer(self._reply, value))
            if "choices" in value:
                raise self._broken("holds chat completion chunks, and none of Anthropic's messages")
        return StreamChunk(raw=value)

    def _read_odd_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in an event that is not plain JSON; None for an empty one."""
        data = event.data.strip()
        if data == END_MARK:
            raise self._not_whole("ended before message_stop")
        try:
            value = read_odd_json(data)
        except ValueError:
            value = None
        if event.event == "error" and value is None:
            raise failure_within(self._reply, data.decode("utf-8", "replace"))
        if type(value) is dict:
            self._message.halves = self._message.halves or HalfCharacters()
            clean = whole_characters(value)
            # Only a piece of a text may end in half a character whose other half follows.
            return replace(self._read_value(event, value if _is_piece(value) else clean), raw=clean)
        lines = lines_of(data)
        if len(lines) > 1:  # events with one newline between them, not two
            self._events.extendleft(Event(line) for line in reversed(lines))
        elif data:
            text = data.decode("utf-8", "replace")
            raise self._broken(f"holds what is not JSON: {self._reply.quote(text, 100)!r}")
        return None

    def _no_message(self, event: Event, value: Any) -> LLMRouterError:
        if event.event == "error":
            return failure_within(self._reply, value)
        return self._broken("holds what is not a JSON object")

    def _end_body(self) -> StreamChunk | None:
        """Take note of the end of the body; return what it completes, or raise why the answer is not whole."""
        if not self._is_stream:
            return self._read_whole_body()
        pending = self._parser.unfinished()
        last = [] if pending is None else lines_of(pending.data)
        if last and _ends_answer(last[-1], pending.event if pending else ""):
            self._events.extend(Event(line, pending.event if pending else "") for line in last)
            return self.next()
        if not self._message.has_begun and self._body.strip(BLANK) and not self._body.startswith(b":"):
            seen = replace(self._reply, body=bytes(self._body[:_KEPT]))
            said = ignored_error(self._reply, self._parser.unknown)
            raise said or invalid_answer(seen, f"no stream of messages but {describe_body(seen)}")
        raise self._not_whole("ended before message_stop")

    def _read_whole_body(self) -> StreamChunk | None:
        """Return the answer in a body that is JSON; or read the JSON values and events that it consists of."""
        reply = replace(self._reply, body=bytes(self._body))
        try:
            return self._whole_chunk(whole_answer(reply, decode_json(reply)))
        except InvalidResponseError:
            events = events_in(reply.body)
            if not events:
                raise
            self._is_stream = True
            self._events.extend(events)
            return self.next()

    def _whole_chunk(self, response: LLMResponse) -> StreamChunk:
        self.done = True
        self._whole_raw = response.raw
        chunk = chunk_of(response)
        return replace(chunk, output_in_raw=True) if response.details.parts else chunk

    def _not_whole(self, what: str) -> LLMRouterError:
        """Return the error for a stream that ended too early: what the server says of the cause, else `what`."""
        return ignored_error(self._reply, self._parser.unknown) or self._broken(what)

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


def _is_piece(value: dict[str, Any]) -> bool:
    """Return whether an event holds a piece of a text: of the answer, of thinking, or of the input of a tool."""
    return mapping(value.get("delta")).get("type") in ("text_delta", "thinking_delta", "input_json_delta")


def _ends_answer(data: bytes, event: str) -> bool:
    """Return whether an event that came without its empty line makes the answer whole, or says that there is none."""
    try:
        value = from_json(data)
    except ValueError:
        return False
    return type(value) is dict and ("error" in value or (value.get("type") or event) in ("message_stop", "error"))
