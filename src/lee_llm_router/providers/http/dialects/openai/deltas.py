"""Reads the deltas of one streamed chat completion: text, reasoning, tool calls, refusals. Pure."""

from __future__ import annotations

from typing import Any

from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import string
from lee_llm_router.providers.http.dialects.openai.answer_details import transcript_of
from lee_llm_router.providers.http.dialects.openai.answers import (
    REASONING_FIELDS,
    USUAL_FIELDS,
    has_content,
    has_unread_output,
    reasoning_of,
    says_more,
    text_of,
    usual_content,
)
from lee_llm_router.providers.http.dialects.openai.stream_details import StreamDetails
from lee_llm_router.providers.http.dialects.openai.tool_calls import ToolCallSorter, calls_in
from lee_llm_router.response.types import ToolCallDelta


class DeltaReader:
    """The contents of one answer's deltas so far.

    Args:
        reply: Status and headers of the response.
    """

    __slots__ = (
        "_has_named_reasoning", "_has_tool_calls", "_length", "_measured", "_reply", "_says_other", "details",
        "has_content", "refusals", "texts", "tools",
    )  # fmt: skip

    def __init__(self, reply: HTTPReply) -> None:
        self.tools = ToolCallSorter()
        self.details = StreamDetails(reply)
        self.refusals: list[str] = []
        self.has_content = False
        """Whether any content has come, even an empty text."""
        self.texts: list[str] = []
        """The non-empty pieces of the text."""
        self._reply = reply
        self._says_other = False
        """Whether content other than text has come."""
        self._has_named_reasoning = False
        self._has_tool_calls = False
        self._measured = self._length = 0
        """How many texts have been measured, and their characters together."""

    @property
    def says_something(self) -> bool:
        """Whether content other than an empty text has come."""
        return bool(self.texts) or self._says_other

    @property
    def has_any(self) -> bool:
        """Whether any part of an answer has come."""
        return bool(self.texts) or self.has_content or self._has_named_reasoning or bool(self.tools.calls)

    def read(self, delta: dict[str, Any]) -> tuple[str, str, tuple[ToolCallDelta, ...], bool]:
        """Return text, reasoning and tool calls of a delta, and whether it has output without a field of its own."""
        content = delta.get("content")
        text, reasoning, in_raw = "", "", False
        tools: tuple[ToolCallDelta, ...] = ()
        if type(content) is str:
            text = content
            self.has_content = True
        if len(delta) > 1 or (delta and type(content) is not str):  # most hold only content
            if type(content) is not str and content is not None:
                content = usual_content(content)
                delta = {**delta, "content": content}
                text = text_of(self._reply, content) or ""
            reasoning, tools, in_raw = self._read_more(delta)
            if in_raw and not text:
                text = transcript_of(delta)
        if type(content) is list:
            self.details.add_content(content, len(self.texts), has_text=bool(text))
        if text:
            self.texts.append(text)
        return text, reasoning, tools, in_raw

    def not_said(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return `message`, the whole answer at the end of its deltas, without what they have brought."""
        more = dict(message)
        if self.texts:
            more["content"] = self._unsaid(text_of(self._reply, usual_content(message.get("content"))) or "")
        if self._has_named_reasoning:
            more = {name: part for name, part in more.items() if name not in REASONING_FIELDS}
        if self.tools.calls:
            more = {name: part for name, part in more.items() if name not in ("tool_calls", "function_call")}
        return more

    def _unsaid(self, text: str) -> str:
        """Return what `text`, the whole answer, has beyond the texts of the deltas.

        They are joined only if it is longer: a server may send a message with each event, and the time must stay in
        proportion to what it sends.
        """
        self._length += sum(map(len, self.texts[self._measured :]))
        self._measured = len(self.texts)
        if len(text) <= self._length:
            return ""
        said = "".join(self.texts)
        return text[len(said) :] if text.startswith(said) else ""

    def _read_more(self, delta: dict[str, Any]) -> tuple[str, tuple[ToolCallDelta, ...], bool]:
        """Return the reasoning and the tool calls in a delta, and whether it has output without a field of its own."""
        named = delta.get("reasoning_content")
        reasoning = named if type(named) is str else ""
        if reasoning:
            self.details.reasoning.append(reasoning)
        is_odd = type(delta.get("content")) is list or not delta.keys() <= USUAL_FIELDS
        if is_odd and not reasoning:
            reasoning = reasoning_of(delta, details=not self._has_named_reasoning)
        if reasoning and not (is_odd and delta.get("reasoning_details")):
            self._has_named_reasoning = True
        tools: tuple[ToolCallDelta, ...] = ()
        if delta.get("tool_calls") is not None:
            self._has_tool_calls = True
            tools = self._sorted_calls(delta["tool_calls"])
        elif delta.get("function_call") and not self._has_tool_calls:
            tools = self._sorted_calls(calls_in(delta))
        if delta.get("refusal"):
            self.refusals.append(string(delta["refusal"]) or "")
        if not is_odd:
            return reasoning, tools, False
        self.details.add_delta(delta)
        in_raw = has_unread_output(delta)
        if in_raw or type(delta.get("content")) is list:
            self.has_content = self.has_content or has_content(delta)
            self._says_other = self._says_other or says_more(delta)
        return reasoning, tools, in_raw

    def _sorted_calls(self, calls: Any) -> tuple[ToolCallDelta, ...]:
        pieces = self.tools.deltas(calls)
        if pieces is None:
            raise InvalidResponseError("the stream holds malformed tool calls", status_code=self._reply.status)
        return pieces
