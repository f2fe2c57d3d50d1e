"""What servers of Anthropic's Messages API send: messages, and the events of a streamed one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MODEL = "claude-sonnet-5"
USAGE = {"input_tokens": 7, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": 9}
THOUGHT = {"type": "thinking", "thinking": "Let me see. It rains.", "signature": "c2lnbmF0dXJlLTE="}
REDACTED = {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}
TEXT = {"type": "text", "text": "Hello there."}
CALL = {"type": "tool_use", "id": "toolu_01A", "name": "get_weather", "input": {"city": "Köln", "days": 2}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {"type": "web_search_result", "url": "https://rain.test", "title": "Rain", "encrypted_content": "ZW5j",
         "page_age": None},
    ],
}  # fmt: skip
CITED = {
    "type": "web_search_result_location", "url": "https://rain.test", "title": "Rain", "cited_text": "It rains.",
    "encrypted_index": "aW5k",
}  # fmt: skip


def message(*blocks: Mapping[str, Any], stop_reason: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    """A whole message, as the API sends it unstreamed."""
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [dict(block) for block in blocks],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": dict(USAGE),
        **fields,
    }


def error(kind: str, text: str, code: str | None = None) -> dict[str, Any]:
    """An error, as the API sends it."""
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": kind, "message": text, **details}, "request_id": "req_01"}


def events_of(whole: Mapping[str, Any], *, size: int = 4) -> list[dict[str, Any]]:
    """The events by which the API streams the message `whole`, its texts in pieces of `size` characters."""
    usage = whole.get("usage") or {}
    start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        begun = {**block, **{name: type(block[name])() for name in ("text", "thinking", "input") if name in block}}
        if "signature" in block:
            begun["signature"] = ""
        if block.get("citations") is not None:
            begun["citations"] = []
        found.append({"type": "content_block_start", "index": index, "content_block": begun})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(block, size)]
        found.append({"type": "content_block_stop", "index": index})
    found.append({
        "type": "message_delta",
        "delta": {name: whole.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")},
        "usage": {"output_tokens": usage.get("output_tokens")} | {
            name: part for name, part in usage.items() if name not in ("input_tokens", "service_tier")
        },
    })  # fmt: skip
    return [*found, {"type": "message_stop"}]


def _deltas(block: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    for cited in block.get("citations") or ():
        yield {"type": "citations_delta", "citation": cited}
    if "text" in block:
        yield from ({"type": "text_delta", "text": piece} for piece in _pieces(block["text"], size))
    if "thinking" in block:
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], size))
        yield {"type": "signature_delta", "signature": block["signature"]}
    if block.get("input"):
        text = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ["", *_pieces(text, size)])


def _pieces(text: str, size: int) -> Sequence[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def sse(*events: Any) -> bytes:
    """The body of a stream of `events`: mappings, or bytes that go out as they are."""
    return b"".join(map(sse_event, events))


def sse_event(value: Any) -> bytes:
    """One event, with its name."""
    if isinstance(value, bytes):
        return value
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def streamed(whole: Mapping[str, Any], *, size: int = 4) -> bytes:
    """The body by which the API streams the message `whole`."""
    return sse(*events_of(whole, size=size))
