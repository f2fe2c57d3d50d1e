"""What a server of chat completions wants back of its own answers, and puts into the next request. Pure.

Chat completions have no form of their own for thinking. Each server has added fields, and some refuse the next turn of
a tool loop without them: `reasoning_content` of all its answers (DeepSeek, Moonshot), `reasoning_details` (OpenRouter),
`thinking_blocks` (LiteLLM), a signature in each tool call (`extra_content`, Gemini), parts that hold the thinking
(Mistral). A field is told by its name, so that the next server's is kept, too. They go back to the server and model
that gave them, and to no other.
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
"""Fields of messages that hold what the server wants back: never plain words, which are for the reader."""
_IN_LOOPS = "reasoning_content"
_THINKING = ("thinking", "reasoning", "redacted_thinking")


def own_fields(message: Mapping[str, Any], calls: Sequence[Any], *, in_loop: bool) -> dict[str, Any] | None:
    """Return what of an answer's message goes back to its server; None if there is nothing.

    Args:
        message: The message.
        calls: Its tool calls, as the server has them.
        in_loop: Whether it answers results of tools.
    """
    fields = _fields_of_server(message, with_reasoning=bool(calls or in_loop))
    extras = [call_extras(call) for call in calls]
    found = {name: value for name, value in (("message", fields), ("calls", extras if any(extras) else None)) if value}
    return found or None


def _fields_of_server(message: Mapping[str, Any], *, with_reasoning: bool) -> dict[str, Any]:
    """Return the fields of `message` that its server alone understands."""
    fields = {name: value for name, value in message.items() if value and _KEPT.fullmatch(name)}
    if with_reasoning and message.get(_IN_LOOPS):
        fields[_IN_LOOPS] = message[_IN_LOOPS]
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in _THINKING for part in content):
        fields["content"] = content
    return fields


def native_turn(reply: HTTPReply, content: dict[str, Any] | None) -> NativeTurn | None:
    """Return the native turn of an answer that came in `reply`; None if it has nothing that goes back."""
    if content is None:
        return None
    host = reply.settings.facts.host if isinstance(reply.settings, OpenAIChatConfig) else ""
    model = reply.asked.get("model")
    return NativeTurn(
        dialect=DIALECT, origin=native_origin(host, model if isinstance(model, str) else None), content=content
    )


def with_own_fields(changed: dict[str, Any], message: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return `changed`, the `message` as it goes out, with what its server wants back, where it is that server."""
    content = native_content(message, DIALECT, origin)
    if not isinstance(content, Mapping):
        return changed
    fields, extras, calls = content.get("message"), content.get("calls"), changed.get("tool_calls")
    # A store may give back what somebody else wrote there: role, text and calls are those of the message.
    if isinstance(fields, Mapping):
        changed = {**changed, **_fields_of_server(fields, with_reasoning=True)}
    if isinstance(extras, Sequence) and calls and len(extras) == len(calls):
        pairs = zip(calls, extras, strict=True)
        changed["tool_calls"] = [{**call, **call_extras(extra)} for call, extra in pairs]
    return changed
