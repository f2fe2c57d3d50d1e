"""Which provider types exist, and their aliases. See `PluginRegistry`."""

from __future__ import annotations

from typing import Any

from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.vendors import hint_for_type, vendor_aliases
from lee_llm_router.settings.plugins import PluginRegistry


def _problem(loaded: object) -> str | None:
    return None if isinstance(loaded, type) and issubclass(loaded, Provider) else "not a Provider class"


PROVIDERS: PluginRegistry[Provider[Any]] = PluginRegistry(
    "provider type",
    "lee_llm_router.providers",
    {
        "mock": "lee_llm_router.providers.mock:MockProvider",
        "http": "lee_llm_router.providers.http.dialects.openai.provider:OpenAIChatProvider",
        "openai_responses": "lee_llm_router.providers.http.dialects.openai_responses.provider:OpenAIResponsesProvider",
        "anthropic": "lee_llm_router.providers.http.dialects.anthropic.provider:AnthropicProvider",
        "gemini": "lee_llm_router.providers.http.dialects.gemini.provider:GeminiProvider",
        "codex_cli": "lee_llm_router.providers.codex_cli:CodexCLIProvider",
        "gemini_cli": "lee_llm_router.providers.gemini_cli:GeminiCLIProvider",
        "claude_cli": "lee_llm_router.providers.claude_cli:ClaudeCLIProvider",
        "command": "lee_llm_router.providers.command:CommandProvider",
        "llama_cpp": "lee_llm_router.providers.llama_cpp:LlamaCppProvider",
    },
    aliases=vendor_aliases,
    problem=_problem,
    hint=hint_for_type,
)

ENTRY_POINT_GROUP = PROVIDERS.group
BUILTIN_TYPES = PROVIDERS.built_in_types
register = PROVIDERS.register
register_alias = PROVIDERS.register_alias
resolve = PROVIDERS.resolve
get = PROVIDERS.get
available = PROVIDERS.available


def __getattr__(name: str) -> tuple[str, ...]:
    # Computed on demand, since it reads the table of vendors.
    if name == "BUILTIN_NAMES":
        return PROVIDERS.built_in_names
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
