"""Helpers for the tests of the provider `codex_cli`: providers, requests and calls in short form."""

from __future__ import annotations

from typing import Any

from helpers.agent_calls import agent_settings
from helpers.fake_codex import FakeCodex
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider


def provider(codex: FakeCodex, **settings: Any) -> CodexCLIProvider:
    """Return a provider for a server of one's own. A setting of None is left out."""
    return CodexCLIProvider("codex", CodexCLIConfig(**agent_settings(codex, "http://127.0.0.1:1/v1", settings)))


def service(codex: FakeCodex, **settings: Any) -> CodexCLIProvider:
    """Return a provider for the real service."""
    return provider(codex, **{"base_url": None, "api_key_env": None, **settings})


def settings_of(call: dict[str, Any]) -> dict[str, str]:
    """Return the `-c` settings of a command line."""
    argv = call["argv"]
    return dict(argv[index + 1].split("=", 1) for index, word in enumerate(argv) if word == "-c")
