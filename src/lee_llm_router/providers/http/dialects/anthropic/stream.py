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
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from lee_llm_router._util.deferred import Deferred
from lee_llm_router._util.lenient_json import read_odd_json, whole_characters
from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.anthropic.answer import (
    BETWEEN_THOUGHTS,
    arguments_of,
    check_not_lost,
    details_of,
    finish_word,
    own_id,
    read_blocks,
    served_model,
    stopped_short,
    usage_of,
    whole_answer,
)
from lee_llm_router.providers.http.dialects.anthropic.errors import failure_within
from lee_llm_router.providers.http.dialects.anthropic.stream_blocks import IMPLIED, BlockSoFar
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import decode_json, describe_body, invalid_answer, string
from lee_llm_router.providers.http.dialects.openai.event_bodies import BLANK, END_MARK, ignored_error, lines_of
from lee_llm_router.providers.http.dialects.sse import BOM, Event, EventParser
from lee_llm_router.providers.streams import chunk_of
from lee_llm_router.response import StreamChunk, ToolCallDelta

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
        self._has_ended = False
        self._failure: LLMRouterError | None = None
        self._request_bytes = reply.request_bytes
        self._message: dict[str, Any] | None = None
        """The message so far, without its content."""
        self._blocks: list[BlockSoFar] = []
        self._by_index: dict[int, BlockSoFar] = {}
        self._call_ids: set[str] = set()
        self._calls = 0
        self._has_thought = False
        self._halves: HalfCharacters | None = None
        """What waits for its other half; None while every character came whole."""
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
        if self._message is None and len(self._body) < _KEPT:
            self._body += data[:_KEPT]
        events = self._parser.feed(data)
        if events:
            self._events.extend(events)

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
        """Return the message as an unstreamed one would be, put together when it is looked at."""
        return self._whole_raw or Deferred(self._whole_message)

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
        return self._read_value(event, value)

    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        kind = value.get("type")
        if kind == "content_block_delta":
            return self._add_delta(value)
        if kind == "error" or event.event == "error" or value.get("error"):
            raise failure_within(self._reply, value)
        reader = _READERS.get(kind if type(kind) is str else event.event)
        if reader is not None:
            return reader(self, value)
        if self._message is None and "choices" in value:
            raise self._broken("holds chat completion chunks, and none of Anthropic's messages")
        return StreamChunk(raw=value)

    def _start_message(self, value: dict[str, Any]) -> StreamChunk:
        message = value.get("message")
        if type(message) is not dict:
            raise self._broken("holds a malformed message_start")
        if self._message is not None:
            raise self._broken("begins a second message within the first")
        self._message = {**message, "content": []}
        content = message.get("content")
        begun = [block for block in content if type(block) is dict] if type(content) is list else []
        for index, block in reversed(list(enumerate(begun))):  # empty, but for servers of few events
            start = {"type": "content_block_start", "index": index, "content_block": block}
            self._events.appendleft(Event(to_json(start)))
        request_bytes, self._request_bytes = self._request_bytes, None
        return StreamChunk(
            model=string(message.get("model")),
            usage=usage_of(message.get("usage")),
            request_bytes=request_bytes,
            raw=value,
        )

    def _start_block(self, value: dict[str, Any]) -> StreamChunk:
        fields = value.get("content_block")
        if type(fields) is not dict:
            raise self._broken("holds a malformed content_block_start")
        block = self._new_block(value.get("index"), fields)
        if block.kind in ("text", "thinking"):
            text = fields.get(block.kind)
            if not text:
                return StreamChunk(raw=value)
            return self._add_text(block, text, value)
        if block.kind != "tool_use":
            return StreamChunk(raw=value, output_in_raw=block.kind != "redacted_thinking")
        name = string(fields.get("name"))
        if name is None:
            raise self._broken(f"is malformed (content[{len(self._blocks) - 1}] names no tool)")
        block.position = self._calls
        self._calls += 1
        call_id = own_id(string(fields.get("id")), block.position, self._call_ids)
        return StreamChunk(tool_calls=(ToolCallDelta(index=block.position, id=call_id, name=name),), raw=value)

    def _new_block(self, index: Any, fields: dict[str, Any]) -> BlockSoFar:
        block = BlockSoFar(fields)
        self._blocks.append(block)
        self._by_index[index if type(index) is int else len(self._blocks) - 1] = block
        return block

    def _add_delta(self, value: dict[str, Any]) -> StreamChunk:
        delta, index = value.get("delta"), value.get("index")
        if type(delta) is not dict:
            raise self._broken("holds a malformed delta")
        kind = delta.get("type")
        block = self._by_index.get(index) if type(index) is int else self._blocks[-1] if self._blocks else None
        if kind == "text_delta" and block is not None and block.kind == "text" and self._halves is None:
            text = delta.get("text")
            if type(text) is str:  # nearly all
                block.pieces.append(text)
                return StreamChunk(text=text, raw=value)
        return self._add_other_delta(block, kind, delta, value)

    def _add_other_delta(
        self, block: BlockSoFar | None, kind: Any, delta: dict[str, Any], value: dict[str, Any]
    ) -> StreamChunk:
        if kind == "input_json_delta":
            return self._add_fragment(block, delta.get("partial_json"), value)
        wanted = IMPLIED.get(kind) if type(kind) is str else None
        if wanted is None:
            return StreamChunk(raw=value, output_in_raw=True)
        if block is None or block.kind != wanted:
            block = self._new_block(value.get("index"), {"type": wanted})
        if kind == "citations_delta":
            block.citations.append(delta.get("citation"))
        elif kind == "signature_delta":
            block.signature = string(delta.get("signature")) or block.signature
        else:
            return self._add_text(block, delta.get(wanted), value)
        return StreamChunk(raw=value)

    def _add_text(self, block: BlockSoFar, text: Any, value: dict[str, Any]) -> StreamChunk:
        if type(text) is not str:
            raise self._broken("holds a piece of text that is none")
        if block.kind == "text":
            block.pieces.append(text)
            return self._chunk(value, text=text)
        is_first = not any(block.pieces)
        block.pieces.append(text)
        between = BETWEEN_THOUGHTS if text and is_first and self._has_thought else ""
        self._has_thought = self._has_thought or bool(text)
        return self._chunk(value, reasoning=between + text)

    def _add_fragment(self, block: BlockSoFar | None, fragment: Any, value: dict[str, Any]) -> StreamChunk:
        if type(fragment) is not str or block is None:
            raise self._broken("holds malformed arguments of a tool call")
        block.fragments.append(fragment)
        if block.position is None:  # of a tool of the vendor's own
            return StreamChunk(raw=value)
        return self._chunk(value, tools=(ToolCallDelta(index=block.position, arguments=fragment),))

    def _stop_block(self, value: dict[str, Any]) -> StreamChunk:
        index = value.get("index")
        block = self._by_index.get(index) if type(index) is int else None
        given = None if block is None else block.fields.get("input")
        if block is None or block.position is None or block.is_closed or any(block.fragments) or not given:
            return StreamChunk(raw=value)
        # Some servers send the arguments whole, where the call begins.
        block.is_closed = True
        return self._chunk(value, tools=(ToolCallDelta(index=block.position, arguments=arguments_of(given)),))

    def _end_message(self, value: dict[str, Any]) -> StreamChunk:
        delta = value.get("delta")
        if type(delta) is not dict:
            raise self._broken("holds a malformed message_delta")
        if self._message is None:
            self._message = {}
        message = self._message
        known = message.get("model")
        for name, part in {**value, **delta}.items():
            if part is not None and name not in ("type", "delta", "usage"):
                message[name] = part
        usage, newer = message.get("usage"), value.get("usage")
        if type(newer) is dict:
            # The counts are those of the whole message so far: they replace what was there.
            counted = {name: number for name, number in newer.items() if number is not None}
            usage = message["usage"] = {**usage, **counted} if type(usage) is dict else counted
        reason = delta.get("stop_reason")
        if reason is not None and type(reason) is not str:
            raise self._broken("holds a malformed stop reason")
        # Raised by the next call of `next`, so that the usage of this event is handed on first.
        self._failure = stopped_short(self._reply, message)
        served = served_model(message)
        return StreamChunk(
            finish_reason=finish_word(reason, calls_tools=self._calls > 0) if reason else None,
            usage=usage_of(usage),
            model=served if served != known else None,
            raw=value,
        )

    def _finish(self, value: dict[str, Any]) -> StreamChunk:
        """Mark the answer as done and return what its end adds to it, or raise why it is not whole."""
        message = self._message or {}
        reason = string(message.get("stop_reason"))
        if reason is None:
            raise self._not_whole("ended before the answer was finished")
        blocks = [block.whole() for block in self._blocks]
        read = read_blocks(self._reply, blocks)
        check_not_lost(self._reply, reason, read)
        self.done = True
        text, reasoning, tools = ("", "", ()) if self._halves is None else self._halves.left()
        if finish_word(reason, calls_tools=False) != "length":
            tools += self._missing_arguments()
        return StreamChunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            raw=value,
            details=details_of(self._reply, message, blocks, read),
        )

    def _missing_arguments(self) -> tuple[ToolCallDelta, ...]:
        """Return a piece for each call that came without arguments: those with which it began, or an empty object."""
        return tuple(
            ToolCallDelta(index=block.position, arguments=arguments_of(block.fields.get("input")))
            for block in self._blocks
            if block.position is not None and not block.is_closed and not any(map(str.strip, block.fragments))
        )

    def _chunk(
        self, value: dict[str, Any], *, text: str = "", reasoning: str = "", tools: tuple[ToolCallDelta, ...] = ()
    ) -> StreamChunk:
        if self._halves is not None:
            text, reasoning, tools = self._halves.join(text, reasoning, tools)
        return StreamChunk(text=text, reasoning=reasoning, tool_calls=tools, raw=value)

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
            self._halves = self._halves or HalfCharacters()
            chunk = self._read_value(event, value)
            clean = whole_characters(value)
            return replace(
                chunk, raw=clean, model=None if chunk.model is None else string(whole_characters(chunk.model))
            )
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
        if self._message is None and not self._blocks and self._body.strip(BLANK) and not self._body.startswith(b":"):
            seen = replace(self._reply, body=bytes(self._body[:_KEPT]))
            said = ignored_error(self._reply, self._parser.unknown)
            raise said or invalid_answer(seen, f"no stream of messages but {describe_body(seen)}")
        raise self._not_whole("ended before message_stop")

    def _read_whole_body(self) -> StreamChunk:
        """Return the answer in a body that is JSON."""
        reply = replace(self._reply, body=bytes(self._body))
        response = whole_answer(reply, decode_json(reply))
        self.done = True
        self._whole_raw = response.raw
        chunk = chunk_of(response)
        return replace(chunk, output_in_raw=True) if response.details.parts else chunk

    def _whole_message(self) -> Any:
        """Return the message as one object; None if it cannot be put together."""
        message = {**(self._message or {}), "content": [block.whole() for block in self._blocks]}
        try:
            return whole_characters(message)
        except (ValueError, RecursionError):
            return None

    def _not_whole(self, what: str) -> LLMRouterError:
        """Return the error for a stream that ended too early: what the server says of the cause, else `what`."""
        return ignored_error(self._reply, self._parser.unknown) or self._broken(what)

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


_READERS: dict[str, Callable[[MessageDecoder, dict[str, Any]], StreamChunk]] = {
    "message_start": MessageDecoder._start_message,
    "content_block_start": MessageDecoder._start_block,
    "content_block_delta": MessageDecoder._add_delta,
    "content_block_stop": MessageDecoder._stop_block,
    "message_delta": MessageDecoder._end_message,
    "message_stop": MessageDecoder._finish,
}


def _ends_answer(data: bytes, event: str) -> bool:
    """Return whether an event that came without its empty line makes the answer whole, or says that there is none."""
    try:
        value = from_json(data)
    except ValueError:
        return False
    return type(value) is dict and ("error" in value or (value.get("type") or event) in ("message_stop", "error"))
