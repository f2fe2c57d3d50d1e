"""Reads streamed chat completions: server-sent events, one for each chunk of the answer. Pure.

How this works. `EventParser` splits the bytes into events. An event holds a JSON object (a "chat completion chunk
object" of the OpenAI API reference), the end mark `[DONE]`, or an error. `next` turns one event after the other into a
`StreamChunk`, until bytes are needed again.

A stream is whole only with a finish reason and the end mark: nothing else tells a cut stream from a whole one. So

- an event that is not JSON, or not of the known shape, is an error, never skipped (an empty one is);
- at the end mark `_finish` checks that the answer is one: text, or tool calls that all have a name;
- a finish reason that stands for a failure is raised after the chunk that carries it, whose text is still handed on;
- a body without any event (a web page, say) is kept, up to `_KEPT_BYTES`, for the error to say what it is.

Other servers than OpenAI's number tool calls in ways of their own; `_ToolCalls` sorts that out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.numbers import amount
from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import describe_body, invalid_answer, mapping, string
from lee_llm_router.providers.http.dialects.openai.answers import arguments_text, broken_off, refused, text_of, usage_of
from lee_llm_router.providers.http.dialects.openai.errors import failure_within
from lee_llm_router.providers.http.dialects.sse import Event, EventParser
from lee_llm_router.response import StreamChunk, ToolCallDelta

_END_MARK = b"[DONE]"
_KEPT_BYTES = 4096
"""Bytes kept of a body without events, to say in the error what it is."""


class ChatDecoder:
    """A `Decoder` of chat completion chunks.

    Args:
        reply: Status and headers of the answer.
        limit: Maximum bytes in one event.
        end_mark: Whether `[DONE]` must come. If not, the answer ends with the body, after a finish reason.
    """

    def __init__(self, reply: HTTPReply, limit: int, end_mark: bool) -> None:
        self.done = False
        self._reply = reply
        self._parser = EventParser(limit)
        self._end_mark = end_mark
        self._events: deque[Event] = deque()
        self._without_events: bytes | None = None if "event-stream" in reply.headers.get("content-type", "") else b""
        self._failure: LLMRouterError | None = None
        self._request_bytes = reply.request_bytes
        self._finish_reason: str | None = None
        self._has_text = False
        self._refusal = ""
        self._tools = _ToolCalls()

    def feed(self, data: bytes) -> None:
        """As `Decoder.feed`."""
        events = self._parser.feed(data)
        self._events.extend(events)
        if self._without_events is not None:
            self._without_events = None if events else (self._without_events + data)[:_KEPT_BYTES]
        if not data:
            self._body_ended()

    def next(self) -> StreamChunk | None:
        """As `Decoder.next`."""
        if self._failure is not None:
            raise self._failure
        while self._events and not self.done:
            chunk = self._read_event(self._events.popleft())
            if chunk is not None:
                return chunk
        return None

    def _read_event(self, event: Event) -> StreamChunk | None:
        """Return the chunk in `event`; None for the end mark and for an empty event."""
        data = event.data
        try:
            value = from_json(data)
        except ValueError as error:
            data = data.strip()
            if data == _END_MARK:
                self._finish()
                return None
            text = data.decode("utf-8", "replace")
            if event.event == "error":
                raise failure_within(self._reply, text) from error
            if not data:
                return None
            raise self._invalid_stream(f"holds what is not JSON: {self._reply.quote(text, 100)!r}") from error
        if event.event == "error":
            raise failure_within(self._reply, value.get("error") or value if isinstance(value, dict) else value)
        if not isinstance(value, dict):
            raise self._invalid_stream("holds what is not a JSON object")
        if value.get("error") or value.get("object") == "error":
            raise failure_within(self._reply, value.get("error") or value)
        return self._build_chunk(value, self._first_choice(value.get("choices")))

    def _first_choice(self, choices: Any) -> dict[str, Any]:
        """Return the first choice, which is the answer. Events without one carry only usage and the like."""
        if choices is None:
            return {}
        if not isinstance(choices, list):
            raise self._invalid_stream("holds malformed choices")
        for choice in choices:
            if not isinstance(choice, dict):
                raise self._invalid_stream("holds malformed choices")
            if not choice.get("index"):
                if choice.get("error"):
                    raise failure_within(self._reply, choice["error"])
                return choice
        return {}

    def _build_chunk(self, value: dict[str, Any], choice: dict[str, Any]) -> StreamChunk:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise self._invalid_stream("holds a malformed delta")
        content = delta.get("content")
        if content is None:
            text = ""
        else:
            self._has_text = True
            text = content if isinstance(content, str) else text_of(self._reply, content) or ""
        reasoning = ""
        tools: tuple[ToolCallDelta, ...] = ()
        if len(delta) > 1 or content is None:  # most deltas hold content alone
            reasoning = string(delta.get("reasoning_content")) or string(delta.get("reasoning")) or ""
            if delta.get("tool_calls") is not None:
                tools = self._tool_calls(delta["tool_calls"])
            if delta.get("refusal"):
                self._refusal += string(delta["refusal"]) or ""
        finish_reason = choice.get("finish_reason")
        if finish_reason is not None:
            finish_reason = self._note_finish_reason(finish_reason)
        usage = value.get("usage") or choice.get("usage")  # Moonshot puts it in the choice
        request_bytes, self._request_bytes = self._request_bytes, None
        return StreamChunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            finish_reason=finish_reason,
            usage=usage_of(usage) if usage else None,
            cost_usd=amount(mapping(usage).get("cost")) if usage else None,
            model=string(value.get("model")),
            request_bytes=request_bytes,
            raw=value,
        )

    def _tool_calls(self, calls: Any) -> tuple[ToolCallDelta, ...]:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise self._invalid_stream("holds malformed tool calls")
        return tuple(map(self._tools.delta, calls))

    def _note_finish_reason(self, reason: Any) -> str | None:
        """Return `reason`, and remember what it means for the rest of the stream."""
        if not isinstance(reason, str):
            raise self._invalid_stream("holds a malformed finish reason")
        self._finish_reason = reason or self._finish_reason
        # Raised by the next call of `next`, so that the text of this event is handed on first.
        self._failure = broken_off(self._reply, reason)
        return reason or None

    def _body_ended(self) -> None:
        """Take note of the end of the body; an error unless the answer is whole."""
        if self.done:
            return
        if self._without_events is not None:
            seen = replace(self._reply, body=self._without_events)
            raise invalid_answer(seen, f"no stream of events but {describe_body(seen)}")
        if self._end_mark and self._finish_reason is not None:
            raise self._invalid_stream("ended before its end mark")
        self._finish()

    def _finish(self) -> None:
        """Mark the answer as done.

        Raises:
            LLMRouterError: what came is not a whole answer.
        """
        if self._finish_reason is None:
            raise self._invalid_stream("ended before the answer was finished")
        if self._refusal:
            raise refused(self._reply, self._refusal)
        nameless = self._tools.nameless()
        if nameless is not None:
            raise self._invalid_stream(f"is malformed (tool_calls[{nameless}] names no function)")
        if not self._has_text and not self._tools.calls and self._finish_reason != "length":
            raise self._invalid_stream("ended without text and without tool calls")
        self.done = True

    def _invalid_stream(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


class _ToolCalls:
    """Assigns the pieces of tool calls to their calls.

    The index of a piece says which call it belongs to. Some servers send no index, or the same one for all calls; then
    a piece with a name and another id begins a new call. A new id alone does not: other servers give each piece one.
    """

    def __init__(self) -> None:
        self.calls: dict[int, tuple[str | None, str | None]] = {}
        """Position of a call -> its id and name, as far as they are known."""
        self._positions: dict[int | None, int] = {}

    def delta(self, call: dict[str, Any]) -> ToolCallDelta:
        """Return the piece `call` with its position; id and name only where they are new."""
        function = mapping(call.get("function") or call.get("custom"))
        call_id, name, index = string(call.get("id")), string(function.get("name")), call.get("index")
        arguments = arguments_text(function.get("arguments", function.get("input")))
        index = index if isinstance(index, int) and index >= 0 else None
        position = self._positions.get(index)
        if position is not None and not self._is_another(self.calls[position], call_id, name, index):
            known_id, known_name = self.calls[position]
            self.calls[position] = (known_id, known_name or name)
            return ToolCallDelta(index=position, name=None if known_name else name, arguments=arguments)
        position = max(self.calls, default=-1) + 1 if index is None or index in self.calls else index
        self._positions[index] = position
        self.calls[position] = (call_id, name)
        # Some local servers send no ids; the position is enough to pair call and result.
        return ToolCallDelta(index=position, id=call_id or f"call_{position}", name=name, arguments=arguments)

    def nameless(self) -> int | None:
        """Return the position of the first call without a name; None if all have one."""
        return next((position for position, (_, name) in sorted(self.calls.items()) if name is None), None)

    @staticmethod
    def _is_another(
        known: tuple[str | None, str | None], call_id: str | None, name: str | None, index: int | None
    ) -> bool:
        if name is None or known[1] is None:
            return False
        return index is None if call_id is None else call_id != known[0]
