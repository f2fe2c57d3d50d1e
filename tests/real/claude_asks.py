"""Requests for the real claude, and providers that run it."""

from __future__ import annotations

from typing import Any

from lee_llm_router import LLMRequest
from lee_llm_router.providers.claude_cli import ClaudeCLIConfig, ClaudeCLIProvider
from real import agent_asks

KEY = "sk-ant-real-test-key-0123456789abcdef"
MODEL = "claude-sonnet-4-5"


def provider(claude: str, base_url: str | None = None, **settings: Any) -> ClaudeCLIProvider:
    if base_url is not None:
        settings = {"api_key_env": "LEE_TEST_KEY", "base_url": base_url, **settings}
    return ClaudeCLIProvider("claude", ClaudeCLIConfig(command=claude, **settings))


def ask(text: str = "hello", *system: str, **settings: Any) -> LLMRequest:
    return agent_asks.ask(text, *system, **{"model": MODEL, **settings})
