"""A streamed message of Anthropic's API in progress: turns each event into a chunk. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lee_llm_router._util.lenient_json import whole_characters
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
)
from lee_llm_router.providers.http.dialects.anthropic.stream_blocks import IMPLIED, BlockSoFar
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import string
from lee_llm_router.response.types import StreamChunk, ToolCallDelta, make_chunk

DELTA = "content_block_delta"
"""The type of nearly all events."""


class MessageSoFar:
    """The message that the events of one stream build.

    Args:
        reply: Status and headers of the response.
    """

    def __init__(self, reply: HTTPReply) -> None:
        self.done = False
        """Whether it has ended and is complete."""
        self.failure: LLMRouterError | None = None
        """Why there is no answer, known since the last chunk."""
        self.halves: HalfCharacters | None = None
        """Half characters that wait for their other half; None while every character came whole."""
        self.open_with: list[dict[str, Any]] = []
        """Initial content of the message, as events still to be read; usually there is none."""
        self._reply = reply
        self._request_bytes = reply.request_bytes
        self._message: dict[str, Any] | None = None
        """Its fields, without the content."""
        self._blocks: list[BlockSoFar] = []
        self._by_index: dict[int, BlockSoFar] = {}
        self._call_ids: set[str] = set()
        self._calls = 0
        self._has_thought = False

    @property
    def has_begun(self) -> bool:
        """Whether any event of a message has arrived."""
        return self._message is not None or bool(self._blocks)

    def read(self, kind: str, value: dict[str, Any]) -> StreamChunk | None:
        """Return the chunk for an event of the type `kind`; None for a type that messages do not have.

        Raises:
            InvalidResponseError: it is malformed, or the message has ended and is incomplete.
        """
        reader = _READERS.get(kind)
        return None if reader is None else reader(self, value)

    def _start_message(self, value: dict[str, Any]) -> StreamChunk:
        message = value.get("message")
        if type(message) is not dict:
            raise self._broken("holds a malformed message_start")
        if self._message is not None:
            raise self._broken("starts a second message within the first")
        self._message = {**message, "content": []}
        content = message.get("content")
        begun = [block for block in content if type(block) is dict] if type(content) is list else []
        self.open_with = [
            {"type": "content_block_start", "index": index, "content_block": block} for index, block in enumerate(begun)
        ]
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

    def add_delta(self, value: dict[str, Any]) -> StreamChunk:
        """Return the chunk for an event that brings a piece of a block."""
        delta, index = value.get("delta"), value.get("index")
        if type(delta) is not dict:
            raise self._broken("holds a malformed delta")
        kind = delta.get("type")
        block = self._by_index.get(index) if type(index) is int else self._blocks[-1] if self._blocks else None
        if kind == "text_delta" and block is not None and block.kind == "text" and self.halves is None:
            text = delta.get("text")
            if type(text) is str:
                block.pieces.append(text)
                return make_chunk(text=text, raw=value)
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
            raise self._broken("holds a piece of text that is not text")
        if block.kind == "text":
            block.pieces.append(text)
            return self._chunk(value, text=text)
        is_first = not block.has_text
        block.pieces.append(text)
        block.has_text = not is_first or bool(text)
        between = BETWEEN_THOUGHTS if text and is_first and self._has_thought else ""
        self._has_thought = self._has_thought or bool(text)
        return self._chunk(value, reasoning=between + text)

    def _add_fragment(self, block: BlockSoFar | None, fragment: Any, value: dict[str, Any]) -> StreamChunk:
        if type(fragment) is not str or block is None:
            raise self._broken("holds malformed arguments of a tool call")
        fragment = block.arguments.take(fragment)
        block.fragments.append(fragment)
        if block.position is None:  # of one of the vendor's own tools
            return StreamChunk(raw=value)
        return self._chunk(value, tools=(ToolCallDelta(index=block.position, arguments=fragment),))

    def _stop_block(self, value: dict[str, Any]) -> StreamChunk:
        index = value.get("index")
        block = self._by_index.get(index) if type(index) is int else None
        given = None if block is None else block.fields.get("input")
        if block is None or block.position is None or block.is_closed or not block.arguments.is_empty or not given:
            return StreamChunk(raw=value)
        # Some servers send the arguments whole, at the start of the call.
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
            # The counts cover the whole message so far, so they replace earlier ones.
            counted = {name: number for name, number in newer.items() if number is not None}
            usage = message["usage"] = {**usage, **counted} if type(usage) is dict else counted
        reason = delta.get("stop_reason")
        if reason is not None and type(reason) is not str:
            raise self._broken("holds a malformed stop reason")
        # Raised by the next call of `next`, so that the usage of this event is returned first.
        self.failure = stopped_short(self._reply, message)
        served = served_model(message)
        return StreamChunk(
            finish_reason=finish_word(reason, calls_tools=self._calls > 0) if reason else None,
            usage=usage_of(usage),
            model=served if served != known else None,
            raw=value,
        )

    def _finish(self, value: dict[str, Any]) -> StreamChunk:
        """Mark the answer as done and return what its end adds, or raise why it is incomplete."""
        message = self._message or {}
        reason = string(message.get("stop_reason"))
        if reason is None:
            raise self._broken("ended before the answer was finished")
        blocks = [block.whole() for block in self._blocks]
        read = read_blocks(self._reply, blocks)
        check_not_lost(self._reply, reason, read)
        self.done = True
        text, reasoning, tools = ("", "", ()) if self.halves is None else self.halves.left()
        tools += self._missing_arguments(cut=finish_word(reason, calls_tools=False) == "length")
        return StreamChunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            raw=value,
            details=details_of(self._reply, message, blocks, read),
        )

    def _missing_arguments(self, *, cut: bool) -> tuple[ToolCallDelta, ...]:
        """Return a piece for each call that came without arguments: those with which it began, or an empty object.

        With `cut`, only for calls that said they have none.
        """
        return tuple(
            ToolCallDelta(index=block.position, arguments=arguments_of(block.fields.get("input")))
            for block in self._blocks
            if block.position is not None and not block.is_closed and not any(map(str.strip, block.fragments))
            if block.arguments.says_none or not cut
        )

    def _chunk(
        self, value: dict[str, Any], *, text: str = "", reasoning: str = "", tools: tuple[ToolCallDelta, ...] = ()
    ) -> StreamChunk:
        if self.halves is not None:
            text, reasoning, tools = self.halves.join(text, reasoning, tools)
        return StreamChunk(text=text, reasoning=reasoning, tool_calls=tools, raw=value)

    def whole(self) -> Any:
        """Return the message as one object; None if it cannot be merged."""
        message = {**(self._message or {}), "content": [block.whole() for block in self._blocks]}
        try:
            return whole_characters(message)
        except (ValueError, RecursionError):
            return None

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


_READERS: dict[str, Callable[[MessageSoFar, dict[str, Any]], StreamChunk]] = {
    "message_start": MessageSoFar._start_message,
    "content_block_start": MessageSoFar._start_block,
    DELTA: MessageSoFar.add_delta,
    "content_block_stop": MessageSoFar._stop_block,
    "message_delta": MessageSoFar._end_message,
    "message_stop": MessageSoFar._finish,
}
