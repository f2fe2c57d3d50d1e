"""Claude Code, Anthropic's CLI."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.claude_cli.provider import ClaudeCLIProvider
    from lee_llm_router.providers.claude_cli.settings import ClaudeCLIConfig
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.claude_cli.settings",
        "lee_llm_router.providers.claude_cli.provider",
    )

__all__ = [
    "ClaudeCLIConfig",
    "ClaudeCLIProvider",
]
