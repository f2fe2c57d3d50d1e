"""The provider type `gemini`: Google's Gemini API, and Vertex.

It learns what a model refuses (`LearningProvider`); `lessons` reads the refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, EmbeddingDialect, HTTPReply
from lee_llm_router.providers.http.dialects.gemini.embeddings import GeminiEmbeddings
from lee_llm_router.providers.http.dialects.gemini.generate import GeminiDialect
from lee_llm_router.providers.http.dialects.gemini.lessons import OPTIONS, refused_in
from lee_llm_router.providers.http.dialects.gemini.media import untakable
from lee_llm_router.providers.http.dialects.gemini.request import unsupported, with_extra
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig, is_vertex
from lee_llm_router.providers.http.learning_provider import LearningProvider
from lee_llm_router.response.types import LLMRequest


class GeminiProvider(LearningProvider[GeminiConfig]):
    """Uses Google's models through its own API."""

    config_model: ClassVar[type[ProviderConfig]] = GeminiConfig
    dialect: ClassVar[Dialect[Any]] = GeminiDialect()
    embedding_dialect: ClassVar[EmbeddingDialect[Any] | None] = GeminiEmbeddings()

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: GeminiConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what the model does not accept."""
        return unsupported(request, settings)

    def batch_api(self) -> str | None:
        """As `HTTPProvider.batch_api`: Vertex has a different one, with files in the cloud."""
        return None if is_vertex(self.config.base_url) else "gemini"

    def models_path(self) -> str | None:
        """As `HTTPProvider.models_path`: Vertex has none."""
        return None if is_vertex(self.config.base_url) else "/models?pageSize=1000"

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: files of other vendors, and parts of unknown types."""
        return untakable(request.messages, self.config.base_url)

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """As `HTTPProvider.add_extra`; most of what a caller may want to add belongs into `generationConfig`."""
        with_extra(body, extra)

    def learns(self, request: LLMRequest, settings: GeminiConfig, reply: HTTPReply) -> bool:
        """As `LearningProvider.learns`: forms and options that the model does not accept."""
        refused = refused_in(reply)
        if refused <= settings.refused:
            return False
        options = refused & OPTIONS
        # Concurrent calls are refused one by one; more may be known by now.
        self.change(request, refused=self.settings_for(request).refused | refused - options)
        if options:
            return self.refuse(request, options)
        again = self.dialect.encode(request, self.settings_for(request), stream=False)
        return again != self.dialect.encode(request, settings, stream=False)
