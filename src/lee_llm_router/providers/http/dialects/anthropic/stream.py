"""Reads streamed messages of Anthropic's API: server-sent events that build the message block by block. Pure.

How this works. `EventReader` classifies the body and splits it into events. The events are `message_start`, then for
each content block `content_block_start`, deltas and `content_block_stop`, then `message_delta` with the stop reason and
the usage, and `message_stop`. A stream is complete only with a stop reason and `message_stop`; an error may come
instead of any event. Events, blocks and deltas of unknown types are ignored.

The pieces of each block are kept, so that at the end the message exists in its unstreamed form: for what has to go back
to the vendor (`details.native`), and for `raw`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic_core import from_json

from lee_llm_router._util.deferred import Deferred
from lee_llm_router._util.lenient_json import whole_characters, written_json
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.anthropic.answer import whole_answer
from lee_llm_router.providers.http.dialects.anthropic.errors import failure_within
from lee_llm_router.providers.http.dialects.anthropic.stream_message import DELTA, MessageSoFar
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.event_bodies import lines_of
from lee_llm_router.providers.http.dialects.event_reader import EventReader
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import decode_json, mapping
from lee_llm_router.providers.http.dialects.sse import Event
from lee_llm_router.response.types import LLMResponse, StreamChunk


class MessageDecoder(EventReader):
    """A `Decoder` of a streamed message, or of a whole one if the server sends that."""

    events_are: ClassVar[str] = "messages"

    def __init__(self, reply: HTTPReply, limit: int) -> None:
        super().__init__(reply, limit)
        self._message = MessageSoFar(reply)

    def whole_raw(self) -> Any:
        """Return the message in its unstreamed form, built on access."""
        return self._whole_raw or Deferred(self._message.whole)

    def _read_event(self, event: Event) -> StreamChunk | None:
        """As `EventReader._read_event`, with a fast path for pieces, which nearly all events are."""
        try:
            value = from_json(event.data, allow_inf_nan=False)
        except ValueError:
            return self._read_odd_event(event)
        if type(value) is dict and value.get("type") == DELTA:
            return self._message.add_delta(value)
        return super()._read_event(event)

    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        message, kind = self._message, value.get("type")
        if kind == "error" or event.event == "error" or value.get("error"):
            raise failure_within(self._reply, value)
        chunk = message.read(kind if type(kind) is str else event.event, value)
        if chunk is None:
            return self._other_chunk(value)
        if message.open_with:
            self._events.extendleft(Event(written_json(start)) for start in reversed(message.open_with))
            message.open_with = []
        self.done, self._failure = message.done, message.failure
        return chunk

    def _other_chunk(self, value: dict[str, Any]) -> StreamChunk:
        """Return the chunk for an event of another type: an empty one, or a whole message."""
        if not self._message.has_begun:
            if type(value.get("content")) is list:
                return self._whole_chunk(whole_answer(self._reply, value))
            if "choices" in value:
                raise self._broken("holds chat completion chunks, and none of Anthropic's messages")
        return StreamChunk(raw=value)

    def _read_damaged(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        self._message.halves = self._message.halves or HalfCharacters()
        clean = whole_characters(value)
        # Only a piece of text may end in half a character whose other half follows.
        return replace(self._read_value(event, value if _is_piece(value) else clean), raw=clean)

    def _failure_within(self, error: Any) -> LLMRouterError:
        return failure_within(self._reply, error)

    def _completes(self, event: Event) -> bool:
        try:
            value = from_json(lines_of(event.data)[-1])
        except ValueError:
            return False
        kind = mapping(value).get("type") or event.event
        return type(value) is dict and ("error" in value or kind in ("message_stop", "error"))

    def _end_stream(self) -> StreamChunk | None:
        raise self._not_whole("ended before message_stop")

    def _read_whole(self, reply: HTTPReply) -> LLMResponse:
        return whole_answer(reply, decode_json(reply))

    def _has_more_in_raw(self, response: LLMResponse) -> bool:
        return bool(response.details.parts)


def _is_piece(value: dict[str, Any]) -> bool:
    """Return whether an event holds a piece of text: of the answer, of thinking, or of a tool's input."""
    return mapping(value.get("delta")).get("type") in ("text_delta", "thinking_delta", "input_json_delta")
