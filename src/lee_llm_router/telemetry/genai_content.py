"""Prompts and answers in the form of OpenTelemetry's GenAI conventions: messages made of parts.

The input is what a record holds with ``capture: full``, so it has no keys and is limited in size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lee_llm_router.response.types import message_parts, message_tool_calls, message_tool_result
from lee_llm_router.telemetry.genai_conventions import INPUT_MESSAGES, OUTPUT_MESSAGES, TOOL_DEFINITIONS

_FINISH_REASONS = {"tool_calls": "tool_call", None: "error"}
_MODALITIES = {"image_url": "image", "input_audio": "audio", "file": "document"}


def content_of(fields: Mapping[str, Any], finish_reason: str | None) -> dict[str, list[Any]]:
    """Return the prompt and the answer in `fields`, each under the conventions' name, without missing ones.

    Args:
        fields: `messages`, `tools`, `text`, `reasoning` and `tool_calls`, as a record has them.
        finish_reason: Why the answer ended.
    """
    found: dict[str, list[Any]] = {}
    messages = fields.get("messages")
    if messages:
        found[INPUT_MESSAGES] = [_input_message(message) for message in messages]
    parts = list(_answer_parts(fields))
    if parts:
        reason = _FINISH_REASONS.get(finish_reason, finish_reason)
        found[OUTPUT_MESSAGES] = [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    if fields.get("tools"):
        found[TOOL_DEFINITIONS] = [_tool(tool) for tool in fields["tools"]]
    return found


def as_json(value: Any) -> str:
    """Return a value of `content_of` as text for a span."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _input_message(message: Mapping[str, Any]) -> dict[str, Any]:
    result = message_tool_result(message)
    if result is not None:
        parts: list[Any] = [{"type": "tool_call_response", "id": result.call_id or None, "response": result.text}]
    else:
        parts = [_part(part) for part in message_parts(message)]
        parts += [_call(call.id, call.name, call.arguments) for call in message_tool_calls(message)]
    shown = {"role": str(message.get("role") or ""), "parts": parts}
    name = message.get("name")
    return {**shown, "name": name} if isinstance(name, str) else shown


def _answer_parts(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if fields.get("reasoning"):
        yield {"type": "reasoning", "content": fields["reasoning"]}
    if fields.get("text"):
        yield {"type": "text", "content": fields["text"]}
    for call in fields.get("tool_calls") or ():
        yield _call(call.get("id"), call.get("name"), call.get("arguments"))


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": "text", "content": str(part.get("text") or "")}
    held = part.get(kind)
    held = held if isinstance(held, Mapping) else {}
    modality = _MODALITIES.get(kind)
    if modality is None:
        return {"type": kind}
    data = held.get("url") or held.get("data") or held.get("file_data")
    if isinstance(data, str):
        return _medium(data, modality, held)
    return {"type": "file", "modality": modality, "file_id": str(held.get("file_id") or "")}


def _medium(data: str, modality: str, held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part for a URL, a data URL or plain base64."""
    if data.startswith("data:"):
        head, _, body = data.partition(",")
        kind = head.removeprefix("data:").partition(";")[0]
        return {"type": "blob", "modality": modality, "mime_type": kind or None, "content": body}
    if "://" in data[:12]:
        return {"type": "uri", "modality": modality, "uri": data}
    form = held.get("format")
    kind = f"{modality}/{form}" if isinstance(form, str) else ""
    return {"type": "blob", "modality": modality, "mime_type": kind or None, "content": data}


def _call(identity: Any, name: Any, arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):  # otherwise it stays as the model wrote it
            arguments = json.loads(arguments)
    return {"type": "tool_call", "id": identity or None, "name": str(name or ""), "arguments": arguments}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the conventions require of a tool by default: its type and its name."""
    function: Any = tool.get("function")
    names: Sequence[Any] = (function.get("name") if isinstance(function, Mapping) else None, tool.get("name"))
    return {"type": str(tool.get("type") or "function"), "name": str(next((n for n in names if n), ""))}
