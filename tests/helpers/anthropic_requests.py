"""Requests in the dialect of Anthropic's messages, each held to what the vendor checks."""

from __future__ import annotations

import json
from typing import Any

from helpers.strict_anthropic import check
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.provider import AnthropicProvider
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.response import LLMRequest

DIALECT = MessagesDialect()
NEWER, OLDER = "claude-sonnet-5", "claude-sonnet-4-5"
USER = {"role": "user", "content": "hi"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7 " + bytes(8)


def settings(**fields: Any) -> AnthropicConfig:
    return AnthropicConfig.model_validate({"type": "anthropic", "model": NEWER, **fields})


def encoded(config: AnthropicConfig | None = None, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request, which the vendor's own checks let pass."""
    config = config or settings()
    request = LLMRequest(**{"messages": (USER,), **fields})
    assert not AnthropicProvider.unsupported(request, config)
    body = DIALECT.encode(request, config, stream=stream)
    decoded: dict[str, Any] = json.loads(encode_json(body))
    if config.platform == "messages":
        assert check(decoded, "/v1/messages", {"signed": {}}) is None
    return decoded


def told(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return encoded(messages=messages, **fields)


def unsupported(config: AnthropicConfig | None = None, **fields: Any) -> set[str]:
    request = LLMRequest(**{"messages": (USER,), **fields})
    return set(AnthropicProvider.unsupported(request, config or settings()))


def call(call_id: str = "toolu_1", name: str = "f", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def result(call_id: str = "toolu_1", content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def blocks_of(body: dict[str, Any]) -> dict[str, Any]:
    """A body whose texts are blocks in every place: a string is short for one."""

    def blocks(content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    return {**body, "messages": [{**one, "content": blocks(one["content"])} for one in body["messages"]]}
