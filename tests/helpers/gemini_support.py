"""Helpers for the tests of the provider `gemini_cli`: providers, requests and calls in short form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.fake_gemini import FakeGemini
from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
KEY = "key-value-0123456789"
TOKEN = "token-value-0123456789"


def provider(gemini: FakeGemini, **settings: Any) -> GeminiCLIProvider:
    """Return a provider for a server of one's own. A setting of None is left out."""
    usual = {"command": str(gemini.path), "base_url": "http://127.0.0.1:1", "api_key_env": "LEE_TEST_KEY"}
    given = {name: value for name, value in {**usual, **settings}.items() if value is not None}
    return GeminiCLIProvider("gemini", GeminiCLIConfig(**given))


def service(gemini: FakeGemini, **settings: Any) -> GeminiCLIProvider:
    """Return a provider for the real service."""
    return provider(gemini, **{"base_url": None, "api_key_env": None, **settings})


def ask(*messages: Any, **settings: Any) -> LLMRequest:
    found = tuple({"role": "user", "content": one} if isinstance(one, str) else one for one in messages or ("hello",))
    return LLMRequest(messages=found, **{"model": "gemini-asked", **settings})


def complete(subject: GeminiCLIProvider, *messages: Any, timeout: float = HANG, **settings: Any) -> LLMResponse:
    return subject.complete(ask(*messages, **settings), timeout)


def failure(subject: GeminiCLIProvider, *messages: Any, timeout: float = HANG, **settings: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, *messages, timeout=timeout, **settings)
    return caught.value


def settings_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return the settings.json of a run."""
    found: dict[str, Any] = json.loads(call["home"]["settings.json"])
    return found


def generation_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return what a run asks of the model beside the messages."""
    overrides = settings_of(call).get("modelConfigs", {}).get("overrides", [])
    return {name: value for one in overrides for name, value in one["modelConfig"]["generateContentConfig"].items()}
