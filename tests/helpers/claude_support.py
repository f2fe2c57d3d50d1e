"""Helpers for the tests of the provider `claude_cli`: providers, requests and calls in short form."""

from __future__ import annotations

import json
from time import time
from typing import Any

from helpers.agent_calls import TOKEN, agent_settings
from helpers.fake_claude import FakeClaude
from lee_llm_router.providers.claude_cli import ClaudeCLIConfig, ClaudeCLIProvider


def login(token: str = TOKEN, ends_in: float = 86_400, refresh: str = "refresh-token-0123456789") -> str:
    """Return the content of a login file."""
    oauth = {
        "accessToken": token, "refreshToken": refresh, "expiresAt": int((time() + ends_in) * 1000),
        "scopes": ["user:inference"], "subscriptionType": "pro",
    }  # fmt: skip
    return json.dumps({"claudeAiOauth": oauth})


def provider(claude: FakeClaude, **settings: Any) -> ClaudeCLIProvider:
    """Return a provider for a server of one's own. A setting of None is left out."""
    return ClaudeCLIProvider("claude", ClaudeCLIConfig(**agent_settings(claude, "http://127.0.0.1:1/v1", settings)))


def service(claude: FakeClaude, **settings: Any) -> ClaudeCLIProvider:
    """Return a provider for the real service."""
    return provider(claude, **{"base_url": None, "api_key_env": None, **settings})
