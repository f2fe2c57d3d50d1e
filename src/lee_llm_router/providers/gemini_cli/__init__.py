"""Google's Gemini CLI."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.gemini_cli.provider import GeminiCLIProvider
    from lee_llm_router.providers.gemini_cli.settings import GeminiCLIConfig
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.gemini_cli.settings",
        "lee_llm_router.providers.gemini_cli.provider",
    )

__all__ = ["GeminiCLIConfig", "GeminiCLIProvider"]
