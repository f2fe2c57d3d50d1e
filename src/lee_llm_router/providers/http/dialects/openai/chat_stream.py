"""Chat completions as they come in: server-sent events, one a piece of the answer. Pure.

By the OpenAI API reference, "Chat completion chunk object", with an eye for what other servers do differently. A stream
is whole with a finish reason and its end mark; nothing else tells a cut one from a whole one.
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
_HEAD = 4096
"""Bytes kept of what has no event in it, to say what it is instead."""


class ChatDecoder:
    """A `Decoder` of chat completion chunks.

    Args:
        reply: Status and headers of the answer.
        limit: Bytes one event may have.
        end_mark: Whether `[DONE]` has to come. If not, the end of the body after a finish reason is the end.
    """

    def __init__(self, reply: HTTPReply, limit: int, end_mark: bool) -> None:
        self.done = False
        self._reply = reply
        self._parser = EventParser(limit)
        self._end_mark = end_mark
        self._events: deque[Event] = deque()
        self._head: bytes | None = None if "event-stream" in reply.headers.get("content-type", "") else b""
        self._failure: LLMRouterError | None = None
        self._request_bytes = reply.request_bytes
        self._index = 0
        self._started = False
        self._finish_reason: str | None = None
        self._has_text = False
        self._refusal = ""
        self._tools = _Tools()

    def feed(self, data: bytes) -> None:
        """As `Decoder.feed`."""
        events = self._parser.feed(data)
        self._events.extend(events)
        if self._head is not None:
            self._head = None if events else (self._head + data)[:_HEAD]
        if not data:
            self._ended()

    def next(self) -> StreamChunk | None:
        """As `Decoder.next`."""
        if self._failure is not None:
            raise self._failure
        while self._events and not self.done:
            chunk = self._chunk(self._events.popleft())
            if chunk is not None:
                return chunk
        return None

    def _chunk(self, event: Event) -> StreamChunk | None:
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
            raise self._bad(f"holds what is not JSON: {self._reply.quote(text, 100)!r}") from error
        failed = event.event == "error"
        if isinstance(value, dict):
            if failed or value.get("error") or value.get("object") == "error":
                raise failure_within(self._reply, value.get("error") or value)
        else:
            raise failure_within(self._reply, value) if failed else self._bad("holds what is not a JSON object")
        return self._piece(value, self._choice(value.get("choices")))

    def _choice(self, choices: Any) -> dict[str, Any]:
        """The choice that the answer is made of: the first. Events without one carry only facts about it."""
        if choices is None:
            return {}
        if not isinstance(choices, list):
            raise self._bad("holds malformed choices")
        for choice in choices:
            if not isinstance(choice, dict):
                raise self._bad("holds malformed choices")
            if not choice.get("index"):
                if choice.get("error"):
                    raise failure_within(self._reply, choice["error"])
                return choice
        return {}

    def _piece(self, value: dict[str, Any], choice: dict[str, Any]) -> StreamChunk:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise self._bad("holds a malformed delta")
        content = delta.get("content")
        if content is None:
            text = ""
        else:
            self._has_text = True
            text = content if isinstance(content, str) else text_of(self._reply, content) or ""
        reasoning = ""
        tools: tuple[ToolCallDelta, ...] = ()
        if len(delta) > 1 or content is None:  # most have a content and nothing else
            reasoning = string(delta.get("reasoning_content")) or string(delta.get("reasoning")) or ""
            if delta.get("tool_calls") is not None:
                tools = self._tool_calls(delta["tool_calls"])
            if delta.get("refusal"):
                self._refusal += string(delta["refusal"]) or ""
        finish_reason = choice.get("finish_reason")
        if finish_reason is not None:
            finish_reason = self._finished(finish_reason)
        usage = value.get("usage") or choice.get("usage")  # the latter is Moonshot's
        counted = usage_of(usage) if usage else None
        index = self._index
        if text or reasoning or tools or (self._started and (finish_reason or counted)):
            # As the router numbers what it hands on, which spares it a copy.
            self._started = True
            self._index += 1
        request_bytes, self._request_bytes = self._request_bytes, None
        return StreamChunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            finish_reason=finish_reason,
            usage=counted,
            index=index,
            cost_usd=amount(mapping(usage).get("cost")) if usage else None,
            model=string(value.get("model")),
            request_bytes=request_bytes,
            raw=value,
        )

    def _tool_calls(self, calls: Any) -> tuple[ToolCallDelta, ...]:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise self._bad("holds malformed tool calls")
        return tuple(map(self._tools.delta, calls))

    def _finished(self, reason: Any) -> str | None:
        if not isinstance(reason, str):
            raise self._bad("holds a malformed finish reason")
        self._finish_reason = reason or self._finish_reason
        # What came with the reason is handed on first.
        self._failure = broken_off(self._reply, reason)
        return reason or None

    def _ended(self) -> None:
        """The body has come to its end."""
        if self.done:
            return
        if self._head is not None:
            seen = replace(self._reply, body=self._head)
            raise invalid_answer(seen, f"no stream of events but {describe_body(seen)}")
        if self._end_mark and self._finish_reason is not None:
            raise self._bad("ended before its end mark")
        self._finish()

    def _finish(self) -> None:
        """The end has come.

        Raises:
            LLMRouterError: what came before it is no whole answer.
        """
        if self._finish_reason is None:
            raise self._bad("ended before the answer was finished")
        if self._refusal:
            raise refused(self._reply, self._refusal)
        nameless = self._tools.nameless()
        if nameless is not None:
            raise self._bad(f"is malformed (tool_calls[{nameless}] names no function)")
        if not self._has_text and not self._tools.calls and self._finish_reason != "length":
            raise self._bad("ended without text and without tool calls")
        self.done = True

    def _bad(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the stream {what}", status_code=self._reply.status)


class _Tools:
    """Tells which call of a tool a piece belongs to.

    Its index says so. Some servers send none, or the same one for all calls; then a piece with a name and another id
    begins a new call. (A new id alone does not: others give each piece one.)
    """

    def __init__(self) -> None:
        self.calls: dict[int, tuple[str | None, str | None]] = {}
        """Place of a call -> its id and name, as far as they are known."""
        self._places: dict[int | None, int] = {}

    def delta(self, call: dict[str, Any]) -> ToolCallDelta:
        """The piece `call`, with its place; id and name only where they are new."""
        function = mapping(call.get("function") or call.get("custom"))
        call_id, name, index = string(call.get("id")), string(function.get("name")), call.get("index")
        arguments = arguments_text(function.get("arguments", function.get("input")))
        index = index if isinstance(index, int) and index >= 0 else None
        place = self._places.get(index)
        if place is not None and not self._is_another(self.calls[place], call_id, name, index):
            known_id, known_name = self.calls[place]
            self.calls[place] = (known_id, known_name or name)
            return ToolCallDelta(index=place, name=None if known_name else name, arguments=arguments)
        place = max(self.calls, default=-1) + 1 if index is None or index in self.calls else index
        self._places[index] = place
        self.calls[place] = (call_id, name)
        # Some local servers number no calls; the place will do to pair call and result.
        return ToolCallDelta(index=place, id=call_id or f"call_{place}", name=name, arguments=arguments)

    def nameless(self) -> int | None:
        """The first call that names no function."""
        return next((place for place, (_, name) in sorted(self.calls.items()) if name is None), None)

    @staticmethod
    def _is_another(
        known: tuple[str | None, str | None], call_id: str | None, name: str | None, index: int | None
    ) -> bool:
        if name is None or known[1] is None:
            return False
        return index is None if call_id is None else call_id != known[0]
