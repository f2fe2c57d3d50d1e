"""What servers of the Responses API send: whole responses, and their streams, event by event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from helpers.servers import http

RESPONSES: dict[str, Any] = {"type": "openai_responses", "model": "m"}
"""Settings of a provider in the tests."""
USAGE: dict[str, Any] = {
    "input_tokens": 11, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
    "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 20,
}  # fmt: skip


def part(text: str, **more: Any) -> dict[str, Any]:
    """A piece of a message's content that is text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def message(*content: str | Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A message of the assistant."""
    parts = [part(one) if isinstance(one, str) else dict(one) for one in content]
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": parts, **more
    }  # fmt: skip


def call(name: Any = "f", arguments: Any = '{"a": 1}', call_id: Any = "call_1", **more: Any) -> dict[str, Any]:
    """A call of a function."""
    return {
        "id": f"fc_{call_id}", "type": "function_call", "status": "completed", "call_id": call_id, "name": name,
        "arguments": arguments, **more,
    }  # fmt: skip


def thought(*summary: str, **more: Any) -> dict[str, Any]:
    """An item of reasoning with encrypted content, as OpenAI sends it."""
    texts = [{"type": "summary_text", "text": one} for one in summary]
    return {"id": "rs_1", "type": "reasoning", "summary": texts, "encrypted_content": "gAAA-secret", **more}


def response(*output: Any, **more: Any) -> dict[str, Any]:
    """A whole response."""
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": "served-1", "output": list(output),
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "service_tier": "default", "usage": USAGE, **more,
    }  # fmt: skip


def failed(code: str, text: str = "what it says", **more: Any) -> dict[str, Any]:
    """A response that failed."""
    return response(status="failed", error={"code": code, "message": text}, **more)


def event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event, with its type as its name."""
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


def pieces(text: str, size: int = 3) -> list[str]:
    """`text` in pieces."""
    return [text[place : place + size] for place in range(0, len(text), size)]


def events_of(whole: Mapping[str, Any], *, indexes: bool = True) -> list[dict[str, Any]]:
    """The events in which OpenAI streams a response; without `indexes`, as llama.cpp does."""
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    found: list[dict[str, Any]] = [{"type": f"response.{one}", "response": begun} for one in ("created", "in_progress")]
    for number, item in enumerate(whole["output"]):
        place = {"output_index": number} if indexes else {}
        found.append({"type": "response.output_item.added", "item": _announced(item), **place})
        found += [{**one, "item_id": item.get("id"), **place} for one in _pieces_of(item)]
        found.append({"type": "response.output_item.done", "item": item, **place})
    found.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**one, "sequence_number": number} for number, one in enumerate(found)]


def stream_of(whole: Mapping[str, Any], **options: Any) -> bytes:
    """The body of a streamed response."""
    return b"".join(map(event, events_of(whole, **options)))


def answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """An HTTP answer with a JSON body."""
    fields = {"Content-Type": "application/json", **(headers or {})}
    return http(status, json.dumps(body).encode(), fields)


def _announced(item: Mapping[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"content": [], "arguments": "", "input": "", "summary": []}
    begun = {name: empty.get(name, value) for name, value in item.items()}
    begun.pop("encrypted_content", None)
    begun.pop("result", None)
    return {**begun, "status": "in_progress"}


def _pieces_of(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind = item["type"]
    if kind == "message":
        yield from _content(item["content"] or ())
    elif kind in ("function_call", "custom_tool_call"):
        name, text = ("function_call_arguments", item["arguments"]) if kind == "function_call" else (
            "custom_tool_call_input", item["input"])  # fmt: skip
        yield from ({"type": f"response.{name}.delta", "delta": one, "obfuscation": "x"} for one in pieces(text))
        yield {"type": f"response.{name}.done", name.rpartition("_")[2]: text}
    elif kind == "reasoning":
        for index, one in enumerate(item["summary"]):
            yield {"type": "response.reasoning_summary_part.added", "summary_index": index, "part": {**one, "text": ""}}
            for text in pieces(one["text"]):
                yield {"type": "response.reasoning_summary_text.delta", "summary_index": index, "delta": text}
            yield {"type": "response.reasoning_summary_text.done", "summary_index": index, "text": one["text"]}
            yield {"type": "response.reasoning_summary_part.done", "summary_index": index, "part": one}
        for index, one in enumerate(item.get("content") or ()):
            for text in pieces(one["text"]):
                yield {"type": "response.reasoning_text.delta", "content_index": index, "delta": text}
            yield {"type": "response.reasoning_text.done", "content_index": index, "text": one["text"]}
    elif kind == "image_generation_call":
        yield {"type": "response.image_generation_call.in_progress"}
        yield {
            "type": "response.image_generation_call.partial_image", "partial_image_b64": "AAAA",
            "partial_image_index": 0,
        }  # fmt: skip
        yield {"type": "response.image_generation_call.completed"}


def _content(content: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for index, one in enumerate(content):
        place = {"content_index": index}
        name = "text" if one["type"] == "output_text" else "refusal"
        kind = "output_text" if name == "text" else "refusal"
        yield {"type": "response.content_part.added", "part": {**one, name: ""}, **place}
        more: dict[str, Any] = {"logprobs": []} if name == "text" else {}
        yield from ({"type": f"response.{kind}.delta", "delta": text, **more, **place} for text in pieces(one[name]))
        for number, note in enumerate(one.get("annotations") or ()):
            yield {
                "type": "response.output_text.annotation.added", "annotation": note, "annotation_index": number, **place
            }  # fmt: skip
        yield {"type": f"response.{kind}.done", name: one[name], **more, **place}
        yield {"type": "response.content_part.done", "part": one, **place}
