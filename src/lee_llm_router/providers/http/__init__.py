"""APIs over HTTP: their base class, and the built-in dialects."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.http.dialects.base import Decoder, Dialect, HTTPReply
    from lee_llm_router.providers.http.dialects.openai.provider import OpenAIChatProvider
    from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
    from lee_llm_router.providers.http.headers import HeaderText
    from lee_llm_router.providers.http.provider import HTTPProvider
    from lee_llm_router.providers.http.settings import DEFAULT_MAX_RESPONSE_BYTES, HTTPConfig
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.http.settings",
        "lee_llm_router.providers.http.headers",
        "lee_llm_router.providers.http.dialects.base",
        "lee_llm_router.providers.http.provider",
        "lee_llm_router.providers.http.dialects.openai.settings",
        "lee_llm_router.providers.http.dialects.openai.provider",
    )

__all__ = [
    "DEFAULT_MAX_RESPONSE_BYTES",
    "Decoder",
    "Dialect",
    "HTTPConfig",
    "HTTPProvider",
    "HTTPReply",
    "HeaderText",
    "OpenAIChatConfig",
    "OpenAIChatProvider",
]
