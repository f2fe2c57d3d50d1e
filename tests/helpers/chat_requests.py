"""What is sent of a conversation to a server of chat completions."""

from __future__ import annotations

import json
from typing import Any

from helpers.strict_openai_chat import check
from lee_llm_router import LLMRequest
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig


def settings(base_url: str = "https://llm.example.com/v1", **given: Any) -> OpenAIChatConfig:
    return OpenAIChatConfig(type="http", base_url=base_url, **given)


def sent(*messages: Any, config: OpenAIChatConfig | None = None, strict: bool = True, **options: Any) -> list[Any]:
    """The messages as they go out; the strict server takes them."""
    request = LLMRequest(messages=tuple(messages), model="m", **options)
    body = json.loads(json.dumps(ChatDialect().encode(request, config or settings(), stream=False)))
    if strict:
        assert check(body, "/v1/chat/completions", {}) is None
    found: list[Any] = body["messages"]
    return found
