"""Helpers for the tests of the provider `codex_cli`: providers, requests and calls in short form."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.fake_codex import FakeCodex
from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
KEY = "key-value-0123456789"
TOKEN = "token-value-0123456789"
FOREVER = "while True: time.sleep(9)"


def provider(codex: FakeCodex, **settings: Any) -> CodexCLIProvider:
    """Return a provider for a self-hosted server. A setting of None is left out."""
    usual = {"command": str(codex.path), "base_url": "http://127.0.0.1:1/v1", "api_key_env": "LEE_TEST_KEY"}
    given = {name: value for name, value in {**usual, **settings}.items() if value is not None}
    return CodexCLIProvider("codex", CodexCLIConfig(**given))


def service(codex: FakeCodex, **settings: Any) -> CodexCLIProvider:
    """Return a provider for the real service."""
    return provider(codex, **{"base_url": None, "api_key_env": None, **settings})


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def ask(*messages: Any, **settings: Any) -> LLMRequest:
    return LLMRequest(messages=messages or (user("hello"),), **{"model": "m", **settings})


def complete(subject: CodexCLIProvider, request: LLMRequest | None = None, timeout: float = HANG) -> LLMResponse:
    return subject.complete(request or ask(), timeout)


def failure(subject: CodexCLIProvider, request: LLMRequest | None = None, timeout: float = HANG) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, request, timeout)
    return caught.value


def settings_of(call: dict[str, Any]) -> dict[str, str]:
    """Return the `-c` settings of a command line."""
    argv = call["argv"]
    return dict(argv[index + 1].split("=", 1) for index, word in enumerate(argv) if word == "-c")
