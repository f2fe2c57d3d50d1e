"""A provider around another provider, for concerns of any provider: caching, recording or cost limits.

Subclass `WrapperProvider` and override what should change; the rest goes to the inner provider. Pass the class to
`ProviderPool` as `wrap`, or a function that wraps some providers and returns the others unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response.types import LLMRequest, LLMResponse

if TYPE_CHECKING:
    from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse


class WrapperProvider(Provider[ProviderConfig]):
    """Passes everything on to `inner`, with its name, settings and clock.

    A wrapper that gives or changes answers overrides four methods: `complete`, `stream`, and the async form of each.

    Args:
        inner: The provider that does the work; this one closes it.
    """

    def __init__(self, inner: Provider[Any]) -> None:
        super().__init__(inner.name, inner.config, inner.clock)
        self.inner = inner

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """What the inner provider can do."""
        return self.inner.capabilities

    @property
    def effects(self) -> Effects:
        """What an attempt of the inner provider may change."""
        return self.inner.effects

    def with_settings(self, config: ProviderConfig) -> WrapperProvider:
        """Return the same wrapper around the inner provider with the other settings."""
        other = copy(self)
        other.inner = self.inner.with_settings(config)
        other.config = other.inner.config
        return other

    def unsupported(self, request: LLMRequest, settings: ProviderConfig) -> Mapping[str, str]:  # type: ignore[override]
        """As `Provider.unsupported`, of the inner provider."""
        return self.inner.unsupported(request, settings)

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`, of the inner provider."""
        return self.inner.untakable(request)

    def settings_for(self, request: LLMRequest) -> Any:
        """As `Provider.settings_for`, of the inner provider."""
        return self.inner.settings_for(request)

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`, of the inner provider."""
        return self.inner.refused_before(request)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `Provider.complete`."""
        return self.inner.complete(request, timeout)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `Provider.complete_async`."""
        return await self.inner.complete_async(request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `Provider.stream`."""
        return self.inner.stream(request, timeout)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `Provider.stream_async`."""
        return await self.inner.stream_async(request, timeout)

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `Provider.embed`."""
        return self.inner.embed(request, timeout)

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `Provider.embed_async`."""
        return await self.inner.embed_async(request, timeout)

    def secrets(self) -> Iterable[str]:
        """As `Provider.secrets`."""
        return self.inner.secrets()

    def close(self) -> None:
        """As `Provider.close`."""
        self.inner.close()

    async def aclose(self) -> None:
        """As `Provider.aclose`."""
        await self.inner.aclose()

    def check(self) -> Iterable[tuple[Literal["ok", "warning", "error"], str]]:
        """As `Provider.check`."""
        return self.inner.check()
