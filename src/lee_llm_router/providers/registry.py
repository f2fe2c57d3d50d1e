"""Which provider types exist, and under which other names. See `PluginRegistry`."""

from __future__ import annotations

from typing import Any

from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.known_servers import hint_for_type, known_server
from lee_llm_router.settings.plugins import PluginRegistry


def _problem(loaded: object) -> str | None:
    return None if isinstance(loaded, type) and issubclass(loaded, Provider) else "not a Provider class"


def _hint(name: str, near: str | None) -> str:
    # A known vendor's name says more than that it is close to one of ours: `openai` is not `openai_http` misspelt.
    return hint_for_type(name) if near is None or known_server(name) is not None else ""


PROVIDERS: PluginRegistry[Provider[Any]] = PluginRegistry(
    "provider type",
    "lee_llm_router.providers",
    {
        "mock": "lee_llm_router.providers.mock:MockProvider",
        "http": "lee_llm_router.providers.http.dialects.openai.provider:OpenAIChatProvider",
        "codex_cli": "lee_llm_router.providers.codex_cli:CodexCLIProvider",
        "gemini_cli": "lee_llm_router.providers.gemini_cli:GeminiCLIProvider",
    },
    aliases={
        "openai_http": ("http", {
            "api": "openai-chat", "base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY",
        }),
        "openrouter_http": ("http", {
            "api": "openai-chat", "base_url": "https://openrouter.ai/api/v1", "api_key_env": "OPENROUTER_API_KEY",
        }),
    },
    problem=_problem,
    hint=_hint,
)  # fmt: skip

ENTRY_POINT_GROUP = PROVIDERS.group
BUILTIN_TYPES = PROVIDERS.built_in_types
BUILTIN_NAMES = PROVIDERS.built_in_names
register = PROVIDERS.register
register_alias = PROVIDERS.register_alias
resolve = PROVIDERS.resolve
get = PROVIDERS.get
available = PROVIDERS.available
