"""A router with a cache, over a provider that counts what it is asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMRequest, LLMResponse, LLMUsage
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.base import Capabilities, Effects, Provider
from lee_llm_router.providers.cache.background import BackgroundStore
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.providers.wrapper import WrapperProvider
from lee_llm_router.response import StreamChunk
from lee_llm_router.testing.fake_clock import FakeClock


class Asked:
    """What the providers of one router were asked, and how they answer."""

    def __init__(self, text: str | None, effects: Effects) -> None:
        self.text = text
        self.effects: Effects = effects
        self.clock = FakeClock()
        self.store = Memory()
        self.fails = False
        self.failing: set[str] = set()
        self.by_provider: Counter[str] = Counter()
        self.pause: Callable[[], object] = lambda: None
        """Called by each attempt before it answers."""

    @property
    def count(self) -> int:
        """How many requests there were."""
        return sum(self.by_provider.values())


class CountingProvider(WrapperProvider):
    """Answers with the number of the request and the question."""

    def __init__(self, inner: Provider[Any], asked: Asked) -> None:
        super().__init__(inner)
        self.asked = asked
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return Capabilities(tools=True, embeddings=True, bounded=True)

    @property
    def effects(self) -> Effects:
        return self.asked.effects

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        with self._lock:
            self.asked.by_provider[self.name] += 1
            number = self.asked.count
        self.asked.pause()
        if self.asked.fails or self.name in self.asked.failing:
            raise ProviderError("broken")
        text = f"{number}: {request.messages[-1]['content']}" if self.asked.text is None else self.asked.text
        usage = LLMUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
        return LLMResponse(text=text, finish_reason="stop", usage=usage, cost_usd=0.5, raw={"a": [1]})

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return await Provider.complete_async(self, request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return _Words(self.complete(request, timeout))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return _Words(await self.complete_async(request, timeout))

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        self.asked.by_provider[self.name] += 1
        return EmbeddingResponse(vectors=tuple((0.1, float(len(text))) for text in request.inputs))

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        return self.embed(request, timeout)


class _Words(ChunkStream):
    def __init__(self, answer: LLMResponse) -> None:
        self._chunks = iter(
            [
                *(StreamChunk(text=letter) for letter in answer.text),
                StreamChunk(finish_reason=answer.finish_reason, usage=answer.usage),
            ]
        )

    def pull(self, timeout: float) -> StreamChunk | None:
        return next(self._chunks, None)


def flushed(router: LeeLLMRouter) -> LeeLLMRouter:
    """Return `router`, once what its caches have to keep is kept."""
    caches = router._assembly._caches
    assert caches is not None
    for cache in caches._caches.values():
        assert isinstance(cache.store, BackgroundStore)
        cache.store.flush()
    return router


@contextmanager
def cached_router(
    cache: Mapping[str, Any] | None = None,
    *,
    text: str | None = None,
    effects: Effects = "none",
    role: Mapping[str, Any] | None = None,
    roles: Mapping[str, Any] | None = None,
    file_wide: bool = False,
    clock: Any = None,
    health: Mapping[str, Any] | None = None,
) -> Iterator[tuple[LeeLLMRouter, Asked]]:
    """Yield a router whose role ``r`` has the cache, and what is asked; `file_wide`: all roles have it."""
    asked = Asked(text, effects)
    section = {"cache": cache or {"type": "memory"}}
    config = {
        "default_role": "r",
        "providers": {name: {"type": "mock", "model": "m"} for name in "pq"},
        "roles": {
            "r": {"provider": "p", "model": "m", **(role or {}), **({} if file_wide else section)},
            **(roles or {}),
        },
        "health": health or {},
        **(section if file_wide else {}),
    }
    router = LeeLLMRouter(
        {"llm": config}, trace_store=asked.store, clock=clock or asked.clock,
        wrap_provider=lambda inner: CountingProvider(inner, asked),
    )  # fmt: skip
    with router:
        yield router, asked
