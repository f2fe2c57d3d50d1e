"""APIs over HTTP."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.http.provider import DEFAULT_MAX_RESPONSE_BYTES, HeaderText, HTTPConfig, HTTPProvider
else:
    __getattr__ = loaded_when_asked(__name__, "lee_llm_router.providers.http.provider")

__all__ = [
    "DEFAULT_MAX_RESPONSE_BYTES",
    "HTTPConfig",
    "HTTPProvider",
    "HeaderText",
]
