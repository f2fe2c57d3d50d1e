"""Helpers for the tests of the provider `gemini_cli`: providers, requests and calls in short form."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from helpers import agent_calls
from helpers.agent_calls import agent_settings
from helpers.fake_gemini import FakeGemini
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider


def provider(gemini: FakeGemini, **settings: Any) -> GeminiCLIProvider:
    """Return a provider for a server of one's own. A setting of None is left out."""
    return GeminiCLIProvider("gemini", GeminiCLIConfig(**agent_settings(gemini, "http://127.0.0.1:1", settings)))


def service(gemini: FakeGemini, **settings: Any) -> GeminiCLIProvider:
    """Return a provider for the real service."""
    return provider(gemini, **{"base_url": None, "api_key_env": None, **settings})


ask = partial(agent_calls.ask, model="gemini-asked")
complete = partial(agent_calls.complete, model="gemini-asked")
failure = partial(agent_calls.failure, model="gemini-asked")


def settings_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return the settings.json of a run."""
    found: dict[str, Any] = json.loads(call["home"]["settings.json"])
    return found


def generation_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return what a run asks of the model beside the messages."""
    overrides = settings_of(call).get("modelConfigs", {}).get("overrides", [])
    return {name: value for one in overrides for name, value in one["modelConfig"]["generateContentConfig"].items()}
