"""The OpenAI Codex CLI."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.codex_cli.provider import (
        KEY_VARIABLE,
        SERVICE_KEY_VARIABLE,
        VERSION_TIMEOUT,
        CodexCLIProvider,
    )
    from lee_llm_router.providers.codex_cli.settings import CodexCLIConfig
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.codex_cli.settings",
        "lee_llm_router.providers.codex_cli.provider",
    )

__all__ = [
    "KEY_VARIABLE",
    "SERVICE_KEY_VARIABLE",
    "VERSION_TIMEOUT",
    "CodexCLIConfig",
    "CodexCLIProvider",
]
