"""Helpers for the tests of the provider `claude_cli`: providers, requests and calls in short form."""

from __future__ import annotations

import json
from time import time
from typing import Any

import pytest

from helpers.fake_claude import FakeClaude
from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.claude_cli import ClaudeCLIConfig, ClaudeCLIProvider

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
KEY = "key-value-0123456789"
TOKEN = "token-value-0123456789"
FOREVER = "while True: time.sleep(9)"


def login(token: str = TOKEN, ends_in: float = 86_400, refresh: str = "refresh-token-0123456789") -> str:
    """Return the content of a login file."""
    oauth = {
        "accessToken": token, "refreshToken": refresh, "expiresAt": int((time() + ends_in) * 1000),
        "scopes": ["user:inference"], "subscriptionType": "pro",
    }  # fmt: skip
    return json.dumps({"claudeAiOauth": oauth})


def provider(claude: FakeClaude, **settings: Any) -> ClaudeCLIProvider:
    """Return a provider for another server. A setting of None is left out."""
    usual = {"command": str(claude.path), "base_url": "http://127.0.0.1:1/v1", "api_key_env": "LEE_TEST_KEY"}
    given = {name: value for name, value in {**usual, **settings}.items() if value is not None}
    return ClaudeCLIProvider("claude", ClaudeCLIConfig(**given))


def service(claude: FakeClaude, **settings: Any) -> ClaudeCLIProvider:
    """Return a provider for the real service."""
    return provider(claude, **{"base_url": None, "api_key_env": None, **settings})


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def ask(*messages: Any, **settings: Any) -> LLMRequest:
    return LLMRequest(messages=messages or (user("hello"),), **{"model": "m", **settings})


def complete(subject: ClaudeCLIProvider, request: LLMRequest | None = None, timeout: float = HANG) -> LLMResponse:
    return subject.complete(request or ask(), timeout)


def failure(subject: ClaudeCLIProvider, request: LLMRequest | None = None, timeout: float = HANG) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, request, timeout)
    return caught.value
