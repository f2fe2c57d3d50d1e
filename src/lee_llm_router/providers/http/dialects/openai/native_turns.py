"""What a server of chat completions wants back from its own answers, put into the next request. Pure.

Chat completions define no form for thinking. Each server has added fields, and some refuse the next turn of a tool loop
without them: `reasoning_content` of all its answers (DeepSeek, Moonshot), `reasoning_details` (OpenRouter),
`thinking_blocks` (LiteLLM), a signature in each tool call (`extra_content`, Gemini), parts with the thinking (Mistral).
Fields are recognized by their names, so that those of future servers are kept too. They go back only to the server and
model that made them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.tool_calls import call_extras
from lee_llm_router.response.details import NativeTurn, native_content, native_origin

DIALECT = "openai_chat"
"""The dialect's name in `NativeTurn`."""

_KEPT = re.compile(
    r"(?:reasoning|thinking|thought)_?(?:details|blocks|items|opaque|signature|encrypted|id)"
    r"|\w*signature|extra_content|provider_specific_fields|encrypted_\w+"
)
"""Message fields that the server wants back. Never plain words, which are for the reader."""
_IN_LOOPS = "reasoning_content"
_THINKING = ("thinking", "reasoning", "redacted_thinking")


def own_fields(message: Mapping[str, Any], calls: Sequence[Any], *, in_loop: bool) -> dict[str, Any] | None:
    """Return the parts of an answer's message that go back to its server; None if there are none.

    Args:
        message: The message.
        calls: Its tool calls, as the server wrote them.
        in_loop: Whether it responds to tool results.
    """
    fields = _fields_of_server(message, with_reasoning=bool(calls or in_loop))
    extras = [call_extras(call) for call in calls]
    found = {name: value for name, value in (("message", fields), ("calls", extras if any(extras) else None)) if value}
    return found or None


def _fields_of_server(message: Mapping[str, Any], *, with_reasoning: bool) -> dict[str, Any]:
    """Return the fields of `message` that only its server understands."""
    fields = {name: value for name, value in message.items() if value and _KEPT.fullmatch(name)}
    if with_reasoning and message.get(_IN_LOOPS):
        fields[_IN_LOOPS] = message[_IN_LOOPS]
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in _THINKING for part in content):
        fields["content"] = content
    return fields


def native_turn(reply: HTTPReply, content: dict[str, Any] | None) -> NativeTurn | None:
    """Return the native turn of the answer in `reply`; None if nothing of it goes back."""
    if content is None:
        return None
    host = reply.settings.facts.host if isinstance(reply.settings, OpenAIChatConfig) else ""
    model = reply.asked.get("model")
    return NativeTurn(
        dialect=DIALECT, origin=native_origin(host, model if isinstance(model, str) else None), content=content
    )


def with_own_fields(changed: dict[str, Any], message: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return `changed`, the outgoing form of `message`, with the fields that its server wants back, if it goes to that
    server."""
    content = native_content(message, DIALECT, origin)
    if not isinstance(content, Mapping):
        return changed
    fields, extras, calls = content.get("message"), content.get("calls"), changed.get("tool_calls")
    # A store may contain anything here: role, text and calls must stay those of the message.
    if isinstance(fields, Mapping):
        changed = {**changed, **_fields_of_server(fields, with_reasoning=True)}
    if isinstance(extras, Sequence) and calls and len(extras) == len(calls):
        pairs = zip(calls, extras, strict=True)
        changed["tool_calls"] = [{**call, **call_extras(extra)} for call, extra in pairs]
    return changed
