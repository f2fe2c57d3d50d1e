"""The same answer in the wire formats of other vendors: whole, and as a stream of as many pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from speed.wire import TEXT, packets, whole_answer

_ID = "C5fW0v1y2ZkQ3xS4tR5uV6wX7yZ8"


@dataclass(frozen=True, slots=True)
class WireFormat:
    """How a vendor answers."""

    type: str
    """The provider type that speaks it."""
    model: str
    sign: bytes
    """What the path of its requests holds, and no other's."""
    whole: Callable[[], dict[str, Any]]
    events: Callable[[int], Iterator[dict[str, Any]]]
    """Of a stream with so many pieces of text."""
    names_events: bool = True
    """Whether each event's `type` stands in a line of its own, too."""

    def answer(self) -> bytes:
        """One whole HTTP answer."""
        return whole_answer(self.whole())

    def streamed(self, pieces: int) -> bytes:
        """One whole streamed HTTP answer."""
        return packets(b"".join(map(self._event, self.events(pieces))))

    def _event(self, event: dict[str, Any]) -> bytes:
        name = f"event: {event['type']}\n" if self.names_events else ""
        return f"{name}data: {json.dumps(event)}\n\n".encode()


def _words(pieces: int) -> list[str]:
    return [f" word{place % 100}" for place in range(pieces)]


def _message(text: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": f"msg_{_ID}", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _response(text: str | None, status: str = "completed") -> dict[str, Any]:
    usage = {
        "input_tokens": 39, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 27,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 66,
    }  # fmt: skip
    return {
        "id": f"resp_{_ID}", "object": "response", "created_at": 1_760_000_000, "status": status, "error": None,
        "incomplete_details": None, "model": "gpt-5.4", "output": [] if text is None else [_message(text)],
        "parallel_tool_calls": True, "reasoning": {"effort": None, "summary": None}, "service_tier": "default",
        "store": False, "temperature": 0.2, "tools": [], "top_p": 1.0, "usage": None if text is None else usage,
    }  # fmt: skip


def _response_events(pieces: int) -> Iterator[dict[str, Any]]:
    words, text = _words(pieces), "".join(_words(pieces))
    place = {"item_id": f"msg_{_ID}", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    started = _response(None, "in_progress")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": _message("", "in_progress") | {"content": []},
        },
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part | {"text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": _message(text)},
        {"type": "response.completed", "response": _response(text)},
    ]
    for number, event in enumerate(events):
        yield event | {"sequence_number": number}


def _claude(content: list[dict[str, Any]], stop: str | None, tokens: int) -> dict[str, Any]:
    usage = {
        "input_tokens": 39, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": tokens,
        "service_tier": "standard",
    }  # fmt: skip
    return {
        "id": f"msg_{_ID}", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "content": content,
        "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _claude_events(pieces: int) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": _claude([], None, 1)}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for word in _words(pieces):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 27},
    }
    yield {"type": "message_stop"}


def _gemini(text: str, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    candidate |= {"finishReason": reason} if reason else {}
    usage = {"promptTokenCount": 39, "candidatesTokenCount": 27, "totalTokenCount": 66}
    return {
        "candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": _ID,
    }  # fmt: skip


def _gemini_events(pieces: int) -> Iterator[dict[str, Any]]:
    *words, last = _words(pieces)
    yield from map(_gemini, words)
    yield _gemini(last, "STOP")


FORMATS = {
    "responses": WireFormat(
        "openai_responses", "gpt-5.4", b"/responses ", lambda: _response(TEXT), _response_events
    ),
    "anthropic": WireFormat(
        "anthropic", "claude-sonnet-4-5", b"/messages ",
        lambda: _claude([{"type": "text", "text": TEXT}], "end_turn", 27), _claude_events,
    ),
    "gemini": WireFormat(
        "gemini", "gemini-2.5-flash", b"enerateContent", lambda: _gemini(TEXT, "STOP"), _gemini_events,
        names_events=False,
    ),
}  # fmt: skip
"""By the name of the subject's option."""
