"""The provider type `gemini`: Google's Gemini API, and Vertex.

What a model refuses with 400 is remembered (`lessons`): it is asked otherwise from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, EmbeddingDialect, HTTPReply
from lee_llm_router.providers.http.dialects.gemini.embeddings import GeminiEmbeddings
from lee_llm_router.providers.http.dialects.gemini.generate import GeminiDialect
from lee_llm_router.providers.http.dialects.gemini.lessons import OPTIONS, refused_in
from lee_llm_router.providers.http.dialects.gemini.media import untakable
from lee_llm_router.providers.http.dialects.gemini.request import model_of, unsupported, with_extra
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response import LLMRequest


class GeminiProvider(HTTPProvider[GeminiConfig]):
    """Asks Google's models by its own API."""

    config_model: ClassVar[type[ProviderConfig]] = GeminiConfig
    dialect: ClassVar[Dialect[Any]] = GeminiDialect()
    embedding_dialect: ClassVar[EmbeddingDialect[Any] | None] = GeminiEmbeddings()

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: GeminiConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what the model cannot take."""
        return unsupported(request, settings)

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`: what the model has refused with 400."""
        refused = self.config.traits_of(request.model or self.config.model or "").refused & OPTIONS
        return {option: "the model has refused it" for option in refused if request.asks_for(option)}

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: files of other vendors, and parts of unknown types."""
        return untakable(request.messages, self.config.base_url)

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """As `HTTPProvider.add_extra`, where most of what a caller may want to add stands within `generationConfig`."""
        with_extra(body, extra)

    def failure(self, request: LLMRequest, settings: GeminiConfig, reply: HTTPReply) -> LLMRouterError:
        """Return the error for `reply`. Where that refuses a form or an option, it is not sent from now on."""
        error = super().failure(request, settings, reply)
        if error.failure_type is not FailureType.INVALID_REQUEST:
            return error
        refused, model = refused_in(reply), model_of(request, settings)
        if refused <= settings.traits_of(model).refused:
            return error
        before = self.dialect.encode(request, settings, stream=False)
        settings.learn(model, refused)
        if refused & OPTIONS:  # the caller's own: without leave to drop it the attempt ends
            error.ask_again = request.drop_unsupported
        else:
            error.ask_again = self.dialect.encode(request, settings, stream=False) != before
        return error
