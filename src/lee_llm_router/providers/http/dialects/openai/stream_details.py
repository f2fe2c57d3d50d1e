"""Collects the details of a streamed answer from the few events that have any. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lee_llm_router._util.lenient_json import whole_characters
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.openai.answer_details import details_of, logprobs_of
from lee_llm_router.providers.http.dialects.openai.answers import REASONING_FIELDS, USUAL_FIELDS
from lee_llm_router.providers.http.dialects.openai.stream_raw import finished_value, join_fields
from lee_llm_router.providers.http.dialects.openai.tool_calls import ToolCallSorter
from lee_llm_router.response.details import AnswerDetails, TokenLogprob

_NAMED = ("id", "service_tier", "citations", "search_results")
"""Fields next to the choices that are read; the last value counts."""
_PUT_TOGETHER = USUAL_FIELDS | set(REASONING_FIELDS)
"""Fields of deltas that are merged chunk by chunk."""

_IN_PIECES = ("text", "thinking", "reasoning")


def asks_for_logprobs(reply: HTTPReply) -> bool:
    """Return whether the request asked for probabilities, so that each event may have some."""
    return bool(reply.asked.get("logprobs") or reply.asked.get("top_logprobs"))


class StreamDetails:
    """The details of one streamed answer so far.

    Args:
        reply: Status and headers of the response.
    """

    def __init__(self, reply: HTTPReply) -> None:
        self.reasoning: list[str] = []
        """The pieces of `reasoning_content`."""
        self._reply = reply
        self._answer: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._contents: list[tuple[int, int, list[Any]]] = []
        """Content in parts: the number of text pieces before it, and in it."""
        self._logprobs: list[TokenLogprob] = []
        self._given: AnswerDetails | None = None
        self._is_new = True
        self._seen: tuple[str, int, int, int] | None = None

    def add_event(self, value: Mapping[str, Any]) -> None:
        """Take the fields next to the choices of an event."""
        for name in _NAMED:
            found = value.get(name)
            if found and self._answer.get(name) != found:
                self._answer[name] = found
                self._is_new = True

    def add_delta(self, delta: Mapping[str, Any]) -> None:
        """Take a delta that holds more than text, calls and reasoning."""
        self._is_new = True
        join_fields(self._message, {name: part for name, part in delta.items() if name not in _PUT_TOGETHER})

    def add_content(self, parts: list[Any], place: int, *, has_text: bool) -> None:
        """Take the content of a delta that is a list of parts.

        Args:
            parts: The parts.
            place: The number of text pieces before it.
            has_text: Whether the next text piece comes from these parts.
        """
        self._is_new = True
        self._contents.append((place, place + has_text, parts))

    def add_logprobs(self, choice: Mapping[str, Any]) -> None:
        """Take the probabilities in a choice."""
        self._logprobs += logprobs_of(choice)
        self._is_new = True

    def news(self, reason: str, texts: list[str], tools: ToolCallSorter, *, has_halves: bool) -> AnswerDetails | None:
        """Return the current details; None if they have been returned already.

        Args:
            reason: The vendor's own finish reason.
            texts: The pieces of the text.
            tools: The calls of the answer.
            has_halves: Whether any characters were split.
        """
        seen = (reason, len(texts), len(self.reasoning), len(tools.calls))
        if seen == self._seen and not self._is_new:
            return None
        self._seen, self._is_new = seen, False
        message = finished_value(self._message) if self._message else {}
        if message or self._contents:
            message["content"] = self._content(texts)
        calls = [tools.extras.get(position, {}) for position in sorted(tools.calls)]
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if has_halves:
            message, calls = whole_characters(message), whole_characters(calls)
        found = details_of(self._reply, self._answer, message, reason=reason, logprobs=self._logprobs, calls=calls)
        if found == self._given:
            return None
        self._given = found
        return found

    def _content(self, texts: list[str]) -> Any:
        """Return the content in its unstreamed form: text, or parts in order."""
        if not self._contents:
            return "".join(texts)
        parts: list[Any] = []
        done = 0
        for start, end, own in self._contents:
            parts += _text_part(texts[done:start])
            parts += own
            done = end
        return _fewer([*parts, *_text_part(texts[done:])])


def _text_part(texts: list[str]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "".join(texts)}] if texts else []


def _fewer(parts: list[Any]) -> list[Any]:
    """Return `parts`, with adjacent pieces of one text or one thought joined."""
    found: list[Any] = []
    for part in parts:
        joined = _joined(found[-1], part) if found else None
        if joined is None:
            found.append(part)
        else:
            found[-1] = joined
    return found


def _joined(known: Any, part: Any) -> dict[str, Any] | None:
    """Return two adjacent parts as one, if they are pieces of the same part."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _IN_PIECES or not isinstance(known, dict) or not known.keys() == part.keys() == {"type", kind}:
        return None
    before, after = known[kind], part[kind]
    if known["type"] != kind or type(before) is not type(after) or type(after) not in (str, list):
        return None
    return {"type": kind, kind: before + after if isinstance(after, str) else _fewer(before + after)}
