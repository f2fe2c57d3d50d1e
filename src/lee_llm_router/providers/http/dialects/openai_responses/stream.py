"""Reads streamed responses: server-sent events, each with a type. Pure.

How this works. `EventReader` classifies the body and splits it into events. An event holds a JSON object whose `type`
says what it is about; without a `type`, the name of the event does.

- Pieces of text, of reasoning and of calls become chunks as they arrive (`ItemsSoFar` knows which item they belong to).
- `response.completed`, `.incomplete` and `.failed` carry the whole response in its unstreamed form. The same function
  reads it, and raises if it is none. The last chunk has what did not come in pieces.
- `error` is an error, flat or nested. Events of an unknown type are ignored.

Nothing else ends a stream: one that breaks off earlier is incomplete, whatever has arrived. `[DONE]`, which this API
does not send, is ignored after the end, and too early before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import read_odd_json, whole_characters
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.event_bodies import lines_of
from lee_llm_router.providers.http.dialects.event_reader import EventReader
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.providers.http.dialects.openai.whole_answer import decode_answer
from lee_llm_router.providers.http.dialects.openai_responses.errors import failure_within
from lee_llm_router.providers.http.dialects.openai_responses.items_so_far import ItemsSoFar
from lee_llm_router.providers.http.dialects.openai_responses.native_turn import CALLS, kind_of
from lee_llm_router.providers.http.dialects.openai_responses.whole_answer import (
    COMPLETED,
    FAILED,
    INCOMPLETE,
    unwrapped,
    whole_answer,
)
from lee_llm_router.providers.http.dialects.sse import Event
from lee_llm_router.providers.streams import chunk_of
from lee_llm_router.response.types import LLMResponse, StreamChunk, ToolCallDelta, make_chunk

_ENDS = {"response.completed": COMPLETED, "response.incomplete": INCOMPLETE, "response.failed": "failed"}
_BEGINS = frozenset({"response.created", "response.in_progress", "response.queued"})
_PREFIX = "response."
_ENDED = FAILED | {COMPLETED, INCOMPLETE}


class ResponsesDecoder(EventReader):
    """A `Decoder` of the events of a response, or of a whole one if the server sends that."""

    def __init__(self, reply: HTTPReply, limit: int) -> None:
        super().__init__(reply, limit)
        self._items = ItemsSoFar()
        self._texts = self._items.texts
        self._begun: Mapping[str, Any] = {}
        """The response as announced."""
        self._first: tuple[int | None, str | None] | None = (reply.request_bytes, None)
        """What the first chunk reports: the size of the request, and the model."""
        self._halves: HalfCharacters | None = None
        """Half characters that wait for their other half; None while every character came whole."""

    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk | None:
        kind = value.get("type")
        if kind == "response.output_text.delta":  # nearly all
            delta = value.get("delta")
            if type(delta) is not str:
                raise self._broken("holds a malformed piece of text")
            item = self._items.item_of(value, "message")
            if not item.is_commentary:
                if self._halves is not None or self._first is not None:
                    item.pieces.append(delta)
                    return self._chunk(value, text=delta)
                item.pieces.append(delta)
                self._texts.append(delta)
                return make_chunk(text=delta, raw=value)
            return self._chunk(value, reasoning=self._items.thought(item, "text", 0, delta))
        if type(kind) is not str or not kind:
            kind = event.event
        read = _READERS.get(kind)
        if read is not None:
            return read(self, kind, value)
        response = value.get("response")
        if kind in _ENDS or (
            string(mapping(response).get("status")) in _ENDED and kind.startswith(_PREFIX) and kind not in _BEGINS
        ):
            return self._finish(event, value, _ENDS.get(kind))
        return self._read_other(event, kind, value)

    def _read_other(self, event: Event, kind: str, value: dict[str, Any]) -> StreamChunk | None:
        """Return the chunk in an event that has no reader; raise if it is an error."""
        if kind == "error" or event.event == "error":
            raise failure_within(self._reply, value)
        if not kind.startswith(_PREFIX):
            if is_error(value, has_choices=False):
                raise failure_within(self._reply, value)
            if isinstance(value.get("output"), list):  # a whole response in an event
                return self._finish(event, {"response": value}, None)
            return None
        if kind in _BEGINS:
            self._begun = mapping(value.get("response")) or self._begun
            if self._first is not None:
                self._first = (self._first[0], string(self._begun.get("model")) or self._first[1])
            return None
        if kind.endswith(".delta") and "reasoning" in kind:
            return self._read_thought(kind, value)
        # Pieces of a picture, a sound, a program: chunks have no field for them.
        in_raw = kind.endswith((".delta", ".partial_image", ".annotation.added"))
        return self._chunk(value, in_raw=True) if in_raw else None

    def _read_thought(self, event: str, value: dict[str, Any]) -> StreamChunk | None:
        delta = value.get("delta")
        if type(delta) is dict:  # the form of early versions
            delta = delta.get("text")
        kind = "summary" if "summary" in event else "content"
        index = value.get("content_index" if kind == "content" else "summary_index")
        if type(delta) is not str:
            raise self._broken("holds a malformed piece of reasoning")
        return self._chunk(
            value, reasoning=self._items.thought(self._items.item_of(value, "reasoning"), kind, index, delta)
        )

    def _read_refusal(self, event: str, value: dict[str, Any]) -> StreamChunk | None:  # noqa: ARG002 - as the others
        item = self._items.item_of(value, "message")
        item.thought = "refusal"
        item.pieces.append(string(value.get("delta")) or "")
        return None

    def _read_arguments(self, event: str, value: dict[str, Any]) -> StreamChunk | None:
        delta = value.get("delta")
        if type(delta) is not str:
            raise self._broken("holds a malformed piece of a tool call")
        kind = "function_call" if "function_call" in event else "custom_tool_call"
        return self._chunk(value, tools=(self._items.call(self._items.item_of(value, kind), delta),))

    def _read_part_again(self, event: str, value: dict[str, Any]) -> None:
        """Take note of a part of an item that is whole; nearly always its pieces have come, and it says nothing new."""
        kind, field, place = _PARTS_AGAIN[event]
        if type(value.get(field)) is str:
            number = value.get(place)
            self._items.item_of(value, kind).said[number if isinstance(number, (int, str)) else None] = value[field]

    def _read_item(self, event: str, value: dict[str, Any]) -> StreamChunk | None:
        if type(value.get("item")) is not dict:
            raise self._broken("holds a malformed item")
        is_done = event == "response.output_item.done"
        item, is_new = self._items.announce(value, is_done=is_done)
        if is_done:
            item.done = value["item"]
        if is_new and item.kind in CALLS:
            return self._chunk(value, tools=(self._items.begin_call(item),))
        known = item.kind in ("message", "reasoning") or item.kind in CALLS
        return None if known or item.done is None else self._chunk(value, in_raw=True)

    def _chunk(
        self,
        value: dict[str, Any],
        *,
        text: str = "",
        reasoning: str = "",
        tools: tuple[ToolCallDelta, ...] = (),
        in_raw: bool = False,
    ) -> StreamChunk | None:
        if self._halves is not None:
            text, reasoning, tools = self._halves.join(text, reasoning, tools)
        if text:
            self._texts.append(text)
        if reasoning:
            self._items.reasoning.append(reasoning)
        if not (text or reasoning or tools or in_raw):
            return None
        size, model = self._first or (None, None)
        self._first = None
        return StreamChunk(
            text=text, reasoning=reasoning, tool_calls=tools, raw=value, output_in_raw=in_raw, request_bytes=size,
            model=model,
        )  # fmt: skip

    def _finish(self, event: Event, value: dict[str, Any], state: str | None) -> StreamChunk:
        """Return what the end of the answer adds to it; raise if the answer is incomplete."""
        value = whole_characters(value) if self._halves is not None else value
        given = mapping(value.get("response"))
        answer = {**self._begun, "status": state, **given} if self._begun.keys() - given.keys() else dict(given)
        if value.get("usage") and not answer.get("usage"):
            answer["usage"] = value["usage"]
        if "error" not in given and value.get("error"):
            answer["error"] = value["error"]
        answer["output"] = self._whole_output(given.get("output"))
        whole = whole_answer(replace(self._reply, body=event.data), answer, state)
        self._whole_raw = answer
        self.done = True
        return self._last_chunk(value, whole)

    def _whole_output(self, output: Any) -> Any:
        """Return the items of the answer: the server's, with the reasoning in its complete form."""
        if not isinstance(output, list) or not output:
            return self._items.output()
        done = {
            item.done["id"]: item.done
            for item in self._items.items
            if item.kind == "reasoning" and item.done is not None and isinstance(item.done.get("id"), str)
        }
        if not done:
            return output
        ids = [one.get("id") if isinstance(one, dict) else None for one in output]
        return [done.get(name, one) if isinstance(name, str) else one for name, one in zip(ids, output, strict=True)]

    def _last_chunk(self, value: dict[str, Any], whole: LLMResponse) -> StreamChunk:
        rest = self._items.rest_of(whole)
        if rest is None:
            rest = ("", "", ()) if self._halves is None else self._halves.left()
        text, reasoning, tools = rest
        named = {tool.index for tool in tools if tool.name}
        if any(one.name is None and place not in named for place, one in enumerate(self._items.calls)):
            raise self._broken("is malformed (a call names no function)")
        calls = bool(self._items.calls) and whole.finish_reason == "stop"
        size, _ = self._first or (None, None)
        return replace(
            chunk_of(whole), text=text, reasoning=reasoning, tool_calls=tools, raw=value, request_bytes=size,
            finish_reason="tool_calls" if calls else whole.finish_reason,
            output_in_raw=any(part.get("type") != "text" for part in whole.details.parts),
        )  # fmt: skip

    def _read_damaged(self, event: Event, value: dict[str, Any]) -> StreamChunk | None:
        self._halves = self._halves or HalfCharacters()
        chunk = self._read_value(event, value)
        return None if chunk is None else replace(chunk, raw=whole_characters(value))

    def _failure_within(self, error: Any) -> LLMRouterError:
        return failure_within(self._reply, error)

    def _completes(self, event: Event) -> bool:
        last = lines_of(event.data)[-1]
        try:
            value = mapping(read_odd_json(last) if b"\\u" in last else from_json(last))
        except ValueError:
            return False
        kind = kind_of(value) or event.event
        return kind in _ENDS or kind == "error" or string(mapping(value.get("response")).get("status")) in _ENDED

    def _end_stream(self) -> StreamChunk | None:
        raise self._not_whole("ended before the answer was finished")

    def _read_end_mark(self) -> StreamChunk | None:
        raise self._not_whole("ended with an end mark but without a complete response")

    def _read_whole(self, reply: HTTPReply) -> LLMResponse:
        return whole_answer(reply, unwrapped(decode_answer(reply)))


_PARTS_AGAIN = {
    "response.output_text.done": ("message", "text", "content_index"),
    "response.function_call_arguments.done": ("function_call", "arguments", "item_id"),
    "response.custom_tool_call_input.done": ("custom_tool_call", "input", "item_id"),
}
"""Events that say a part again: the kind of its item, the field that has it, and the one that tells parts apart."""
_READERS: dict[str, Callable[[ResponsesDecoder, str, dict[str, Any]], StreamChunk | None]] = {
    "response.refusal.delta": ResponsesDecoder._read_refusal,
    "response.function_call_arguments.delta": ResponsesDecoder._read_arguments,
    "response.custom_tool_call_input.delta": ResponsesDecoder._read_arguments,
    **dict.fromkeys(_PARTS_AGAIN, ResponsesDecoder._read_part_again),
    "response.output_item.added": ResponsesDecoder._read_item,
    "response.output_item.done": ResponsesDecoder._read_item,
}
"""The reader for each type of event."""
