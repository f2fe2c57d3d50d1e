"""Providers around providers: what a wrapper leaves alone is the inner provider's, and the pool puts it around each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from helpers.support import FakeClock, Pieces, ScriptedConfig, ScriptedProvider
from lee_llm_router.errors import RateLimitError
from lee_llm_router.providers.base import ChunkStream, Provider
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.providers.wrapper import WrapperProvider
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk

REQUEST = LLMRequest(messages=({"role": "user", "content": "hi"},))
OTHER = LLMRequest(messages=({"role": "user", "content": "ho"},))


class Recording(WrapperProvider):
    """Keeps every request, whichever way it is asked."""

    def __init__(self, inner: Provider[Any]) -> None:
        super().__init__(inner)
        self.asked: list[LLMRequest] = []

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        self.asked.append(request)
        return super().complete(request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        self.asked.append(request)
        return super().stream(request, timeout)


class Caching(WrapperProvider):
    """Asks the same thing once."""

    def __init__(self, inner: Provider[Any]) -> None:
        super().__init__(inner)
        self.known: dict[str, LLMResponse] = {}

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        key = repr(request)
        if key not in self.known:
            self.known[key] = super().complete(request, timeout)
        return self.known[key]

    complete_async = Provider.complete_async
    stream = Provider.stream
    stream_async = Provider.stream_async


def _inner(*outcomes: Any, **settings: Any) -> ScriptedProvider:
    return ScriptedProvider("p", ScriptedConfig(type="scripted", outcomes=outcomes, **settings), FakeClock())


def _read(stream: ChunkStream) -> list[StreamChunk]:
    chunks = []
    while (chunk := stream.pull(1.0)) is not None:
        chunks.append(chunk)
    stream.close()
    return chunks


def test_what_a_wrapper_leaves_alone_is_the_inner_providers() -> None:
    """All that the engine, the pool and the doctor ask of a provider."""

    class Checked(ScriptedProvider):
        def check(self) -> Any:
            return [("ok", "fine")]

        async def aclose(self) -> None:
            self.closed += 10

    pieces = Pieces("b", "c")
    config = ScriptedConfig(type="scripted", outcomes=("a", pieces), does="workspace", tools=False, secret="s")
    inner = Checked("p", config, FakeClock())
    wrapper = WrapperProvider(inner)
    assert (wrapper.name, wrapper.config, wrapper.clock) == (inner.name, inner.config, inner.clock)
    assert (wrapper.effects, wrapper.capabilities) == ("workspace", inner.capabilities)
    assert (list(wrapper.secrets()), list(wrapper.check())) == (["s"], [("ok", "fine")])
    assert wrapper.complete(REQUEST, 1.5).text == "a"
    assert [chunk.text for chunk in _read(wrapper.stream(REQUEST, 2.5))] == ["b", "c"]

    async def main() -> None:
        assert [chunk.text for chunk in _read(await wrapper.stream_async(REQUEST, 3.5))] == ["b", "c"]
        answer: object = await wrapper.complete_async(REQUEST, 4.5)
        assert answer is pieces
        await wrapper.aclose()

    asyncio.run(main())
    wrapper.close()
    assert inner.timeouts == [1.5, 2.5, 3.5, 4.5]
    assert inner.closed == 11
    assert repr(wrapper) == "<WrapperProvider 'p'>"


def test_every_method_of_the_contract_is_passed_on() -> None:
    """A method that `Provider` gains later is not forgotten here."""
    contract = {name for name in vars(Provider) if not name.startswith("_")} - {
        "config_model",
        "capabilities",
        "inexpressible",
    }
    assert contract <= vars(WrapperProvider).keys()


def test_a_wrapper_can_record() -> None:
    recording = Recording(_inner("a", Pieces("b"), RateLimitError("slow down")))
    assert recording.complete(REQUEST, 1.0).text == "a"
    assert [chunk.text for chunk in _read(recording.stream(OTHER, 1.0))] == ["b"]
    with pytest.raises(RateLimitError):
        recording.complete(REQUEST, 1.0)
    assert recording.asked == [REQUEST, OTHER, REQUEST]


def test_a_wrapper_can_cache() -> None:
    """The answer is the same in every way of asking; a failure is not kept."""
    inner = _inner(RateLimitError("slow down"), "a", "b")
    caching = Caching(inner)
    with pytest.raises(RateLimitError):
        caching.complete(REQUEST, 1.0)
    assert [caching.complete(REQUEST, 1.0).text for _ in range(3)] == ["a"] * 3
    assert asyncio.run(caching.complete_async(REQUEST, 1.0)).text == "a"
    assert [chunk.text for chunk in _read(caching.stream(REQUEST, 1.0))] == ["a"]
    assert caching.complete(OTHER, 1.0).text == "b"
    assert len(inner.calls) == 3


def test_the_pool_wraps_each_provider_it_builds_once() -> None:
    """Variants with other settings too. A wrapper is closed as any provider is, and may be put around some alone."""
    configs = {name: ScriptedConfig(type="scripted", outcomes=(name,)) for name in ("a", "b")}
    wrapped: list[Recording] = []

    def wrap(provider: Provider[Any]) -> Provider[Any]:
        if provider.name == "b":
            return provider
        wrapped.append(Recording(provider))
        return wrapped[-1]

    pool = ProviderPool(configs, FakeClock(), wrap)
    assert pool.open("a", {}) is pool.open("a", {}) is wrapped[0]
    assert isinstance(pool.open("b", {}), ScriptedProvider)
    variant = pool.open("a", {"secret": "x"})
    assert variant is wrapped[1] and list(variant.secrets()) == ["x"]
    pool.close()
    assert [getattr(wrapper.inner, "closed") for wrapper in wrapped] == [1, 1]  # noqa: B009 - a scripted one counts
