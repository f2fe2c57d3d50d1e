"""The provider type `gemini`: Google's Gemini API, and Vertex."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect
from lee_llm_router.providers.http.dialects.gemini.generate import GeminiDialect
from lee_llm_router.providers.http.dialects.gemini.media import untakable
from lee_llm_router.providers.http.dialects.gemini.request import unsupported, with_extra
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response import LLMRequest


class GeminiProvider(HTTPProvider[GeminiConfig]):
    """Asks Google's models by its own API."""

    config_model: ClassVar[type[ProviderConfig]] = GeminiConfig
    dialect: ClassVar[Dialect[Any]] = GeminiDialect()

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: GeminiConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what the model cannot take."""
        return unsupported(request, settings)

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: files of other vendors, and parts of unknown types."""
        return untakable(request.messages, self.config.base_url)

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """As `HTTPProvider.add_extra`, where most of what a caller may want to add stands within `generationConfig`."""
        with_extra(body, extra)
