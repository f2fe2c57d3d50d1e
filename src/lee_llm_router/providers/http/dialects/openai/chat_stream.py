"""Reads streamed chat completions: server-sent events, one per chunk of the answer. Pure.

How this works. `EventReader` classifies the body and splits it into events. An event holds a JSON object (a "chat
completion chunk object" of the OpenAI API reference), the end mark `[DONE]`, or an error.

A stream is complete only with a finish reason and the end mark, unless the settings say that one of them is enough:
nothing else distinguishes a truncated stream from a complete one. So

- an event of an unknown shape is an error, never skipped;
- at the end mark `_finish` checks that there is an answer: text or other content, or tool calls that all have names;
- a finish reason that means failure is raised only after its chunk, whose text still reaches the caller;
- an event without its empty line counts only if it completes the answer.

The usual event has a fast path. Rare forms have functions of their own: several choices in one event, a whole answer in
an event, half a character at the end of a piece. The bytes are kept, so that `raw` can be built on access.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from lee_llm_router._util.deferred import Deferred
from lee_llm_router._util.lenient_json import read_json, whole_characters
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.errors import failure_within
from lee_llm_router.providers.http.dialects.event_bodies import END_MARK, ignored_error, lines_of
from lee_llm_router.providers.http.dialects.event_reader import EventReader
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, calls_are_lost, known_word, may_be_empty
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import string
from lee_llm_router.providers.http.dialects.openai.answers import (
    cost_of,
    has_unread_output,
    joined,
    refused,
    usage_in,
    usage_of,
)
from lee_llm_router.providers.http.dialects.openai.deltas import DeltaReader
from lee_llm_router.providers.http.dialects.openai.stream_details import asks_for_logprobs
from lee_llm_router.providers.http.dialects.openai.stream_raw import merged_raw
from lee_llm_router.providers.http.dialects.openai.whole_answer import (
    asks_for_several,
    decode_answer,
    graver,
    streamed_choices,
    whole_answer,
)
from lee_llm_router.providers.http.dialects.sse import Event
from lee_llm_router.response.details import AnswerDetails
from lee_llm_router.response.types import LLMResponse, StreamChunk, make_chunk

_NO_CHOICE: dict[str, Any] = {}


class ChatDecoder(EventReader):
    """A `Decoder` of chat completion chunks, or of a whole answer if the server sends one.

    Args:
        reply: Status and headers of the response.
        limit: Maximum bytes in one event.
        ends_with: What ends a stream. `done`: a finish reason and `[DONE]`; `finish_reason`: the end of the body after
            one; `mark`: `[DONE]` alone.
    """

    keeps_body: ClassVar[bool] = True

    def __init__(self, reply: HTTPReply, limit: int, ends_with: str = "done") -> None:
        super().__init__(reply, limit)
        self._ends_with = ends_with
        self._several = asks_for_several(reply)
        self._wants_logprobs = asks_for_logprobs(reply)
        self._request_bytes = reply.request_bytes
        self._finish_reason = ""
        self._deltas = DeltaReader(reply)
        self._is_usual = False
        """Whether the next event is likely to have only text, so that the fast path is worth trying."""
        self._is_lone_answer = False
        """Whether all that came is one event with a whole message."""
        self._sends_deltas = False
        """Whether a delta has come, so that a message is not a piece: it says again what the deltas have said."""
        self._note: bytes = b""
        """The last event without choices."""
        self._halves: HalfCharacters | None = None
        """Half characters that wait for their other half; None while every character came whole."""

    def whole_raw(self) -> Any:
        """Return the answer in its unstreamed form, built on access."""
        return self._whole_raw or Deferred(partial(merged_raw, self._body, several=self._several))

    def _read_value(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        return (self._read_usual(value) if self._is_usual else None) or self._read_rare(event, value)

    def _read_usual(self, value: dict[str, Any]) -> StreamChunk | None:
        """Return the chunk in an event that has only a delta, as nearly all do; otherwise None."""
        choices = value.get("choices")
        if type(choices) is not list or len(choices) != 1 or "error" in value or value.get("usage") is not None:
            return None
        choice = choices[0]
        if type(choice) is not dict or choice.get("finish_reason") is not None or "error" in choice:
            return None
        delta = choice.get("delta")
        if type(delta) is not dict or not delta:
            return None
        text, model = delta.get("content"), value.get("model")
        model = model if type(model) is str else None
        if len(delta) == 1 and type(text) is str and text:
            self._deltas.texts.append(text)
            return make_chunk(text=text, model=model, raw=value)
        text, reasoning, tools, in_raw = self._deltas.read(delta)
        return make_chunk(
            text=text, reasoning=reasoning, tool_calls=tools, model=model, raw=value, output_in_raw=in_raw
        )

    def _read_rare(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        """Return the chunk in an event of any shape."""
        choices = value.get("choices")
        if not choices or value.get("error"):
            choices = self._odd_choices(event, value, choices)
        if type(choices) is not list:
            raise self._broken("holds malformed choices")
        if len(choices) > 1 or self._several:
            choices = streamed_choices(choices, several=self._several) or [_NO_CHOICE]
            if len(choices) > 1:
                return joined([self._build_chunk(value, choice) for choice in choices])
        return self._build_chunk(value, choices[0])

    def _odd_choices(self, event: Event, value: dict[str, Any], choices: Any) -> Any:
        """Return the choices of an event that may have none; raise if it is an error."""
        if is_error(value, has_choices=bool(choices)):
            raise failure_within(self._reply, value)
        if choices:
            return choices
        self._note = event.data
        return [_NO_CHOICE] if choices is None or choices == [] else choices

    def _build_chunk(self, value: dict[str, Any], choice: dict[str, Any]) -> StreamChunk:
        delta = self._delta_of(choice)
        text, reasoning, tools, in_raw = self._deltas.read(delta)
        if self._wants_logprobs:
            self._deltas.details.add_logprobs(choice)
        finish_reason, details, usage = choice.get("finish_reason"), None, value.get("usage")
        self._deltas.details.add_event(value)
        if usage is None and (finish_reason is not None or choice is _NO_CHOICE):
            usage = usage_in(value, choice)
        if finish_reason is not None:
            finish_reason = self._note_finish_reason(finish_reason)
        if self._finish_reason:
            details = self._news()
        if self._halves is not None:
            text, reasoning, tools = self._halves.join(text, reasoning, tools)
        request_bytes, self._request_bytes = self._request_bytes, None
        # Usual events take the fast path from the second event on.
        self._is_usual = self._halves is None and not (self._several or self._wants_logprobs or self._is_lone_answer)
        model = value.get("model")
        return make_chunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            finish_reason=finish_reason,
            usage=usage_of(usage) if usage else None,
            cost_usd=cost_of(usage) if usage else None,
            model=model if type(model) is str else None,
            request_bytes=request_bytes,
            raw=value,
            details=details,
            output_in_raw=in_raw,
        )

    def _delta_of(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Return the delta in a choice, or the message in its place."""
        if type(choice) is not dict:
            raise self._broken("holds malformed choices")
        if choice.get("error"):
            raise failure_within(self._reply, choice["error"])
        delta = choice.get("delta")
        if not delta:
            delta = self._message_of(choice)
        else:
            self._is_lone_answer, self._sends_deltas = False, True
        if type(delta) is not dict:
            raise self._broken("holds a malformed delta")
        return delta

    def _message_of(self, choice: dict[str, Any]) -> Any:
        """Return what a choice holds instead of a delta: a message, whole or a piece; otherwise nothing."""
        message = choice.get("message")
        if not message:
            return {}
        seen = self._deltas.has_any
        self._is_lone_answer = not seen and choice.get("finish_reason", "") is not None
        return self._deltas.not_said(message) if self._sends_deltas and type(message) is dict else message

    def _news(self) -> AnswerDetails | None:
        """Return the details of the answer so far; None if they have been returned already."""
        deltas = self._deltas
        has_halves = self._halves is not None
        return deltas.details.news(self._finish_reason, deltas.texts, deltas.tools, has_halves=has_halves)

    def _note_finish_reason(self, reason: Any) -> str | None:
        """Return `reason` in OpenAI's words, and remember what it means for the rest of the stream."""
        if not isinstance(reason, str):
            raise self._broken("holds a malformed finish reason")
        # Raised by the next call of `next`, so that the text of this event is returned first.
        self._failure = self._failure or broken_off(self._reply, reason)
        self._finish_reason = graver(self._reply, self._finish_reason, reason)
        return known_word(self._finish_reason, calls_tools=bool(self._deltas.tools.calls)) if reason else None

    def _read_damaged(self, event: Event, value: dict[str, Any]) -> StreamChunk:
        self._halves = self._halves or HalfCharacters()
        self._is_usual = False
        chunk = self._read_rare(event, value)
        clean = whole_characters(value)
        return replace(chunk, raw=clean, model=string(clean.get("model")))

    def _failure_within(self, error: Any) -> LLMRouterError:
        return failure_within(self._reply, error)

    def _completes(self, event: Event) -> bool:
        lines = lines_of(event.data)
        by_reason = self._ends_with == "finish_reason"
        return len(lines) > 1 or ends_answer(lines[0], by_reason=by_reason, reason=self._finish_reason)

    def _end_stream(self) -> StreamChunk | None:
        needs_mark = self._ends_with == "mark" or (self._finish_reason and self._ends_with != "finish_reason")
        if needs_mark and not self._is_lone_answer:
            raise self._not_whole("ended before its end mark")
        return self._finish()

    def _read_end_mark(self) -> StreamChunk | None:
        return self._finish()

    def _read_whole(self, reply: HTTPReply) -> LLMResponse:
        return whole_answer(reply, decode_answer(reply))

    def _has_more_in_raw(self, response: LLMResponse) -> bool:
        return any(has_unread_output(choice.get("message") or {}) for choice in response.raw["choices"])

    def _finish(self) -> StreamChunk | None:
        """Mark the answer as done and return what its end adds, or raise why it is incomplete."""
        if not self._finish_reason and not self._is_lone_answer:
            if self._ends_with != "mark":
                raise self._not_whole("ended before the answer was finished")
            error = ignored_error(self._reply, self._parser.unknown)
            if error is not None:
                raise error
        if self._deltas.refusals:
            raise refused(self._reply, "".join(self._deltas.refusals))
        nameless = self._deltas.tools.nameless()
        if nameless is not None:
            raise self._broken(f"is malformed (tool_calls[{nameless}] names no function)")
        calls = bool(self._deltas.tools.calls)
        reason = known_word(self._finish_reason, calls_tools=calls)
        if not self._deltas.says_something and not calls and reason != "length":
            if not self._deltas.has_content:
                raise self._not_whole("ended without text and without tool calls")
            if calls_are_lost(self._finish_reason):
                raise self._not_whole("ended without the tool calls for which it stopped")
            if not may_be_empty(self._finish_reason):
                said = self._reply.quote(self._finish_reason, 60)
                raise self._not_whole(f"is empty, and ended for an unknown reason ({said})")
        self.done = True
        return self._last_chunk(reason, calls)

    def _last_chunk(self, reason: str | None, calls: bool) -> StreamChunk | None:
        text, reasoning, tools = ("", "", ()) if self._halves is None else self._halves.left()
        tools += self._deltas.tools.missing_arguments(cut=reason == "length")
        end = None if reason else "tool_calls" if calls else "stop"
        details = self._news()
        if not (tools or end or text or reasoning or details):
            return None
        return StreamChunk(text=text, reasoning=reasoning, tool_calls=tools, finish_reason=end, raw={}, details=details)

    def _not_whole(self, what: str) -> LLMRouterError:
        if self._note and not self._deltas.says_something:
            what += f", after {self._reply.quote(self._note.decode('utf-8', 'replace'), 100)!r}"
        return super()._not_whole(what)


def ends_answer(data: bytes, *, by_reason: bool, reason: str) -> bool:
    """Return whether an event without its empty line completes the answer, or says that there is none.

    Args:
        data: Its data.
        by_reason: Whether a finish reason ends the answer, without a mark.
        reason: The earlier finish reason, if any.
    """
    if data.strip() == END_MARK:
        return True
    try:
        value = read_json(data)
    except ValueError:
        return False
    if not isinstance(value, dict):
        return False
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    ends = by_reason and bool(reason or choice.get("finish_reason"))
    return ends or bool(value.get("error") or choice.get("message"))
