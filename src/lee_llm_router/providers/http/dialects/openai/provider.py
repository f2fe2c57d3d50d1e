"""The provider type `http`: OpenAI-compatible chat completions."""

from __future__ import annotations

from typing import Any, ClassVar

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.provider import HTTPProvider


class OpenAIChatProvider(HTTPProvider[OpenAIChatConfig]):
    """Asks one OpenAI-compatible API for chat completions."""

    config_model: ClassVar[type[ProviderConfig]] = OpenAIChatConfig
    dialect: ClassVar[Dialect[Any]] = ChatDialect()
