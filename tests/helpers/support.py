"""What several test files share: a clock that only moves when told, a provider that plays a script, recorders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig
from lee_llm_router.providers.streams import ChunkStream, SingleChunkStream
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, StreamChunk
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.testing import Recorder, fake_clock

EPOCH = 1_800_000_000.0


class FakeClock(fake_clock.FakeClock):
    """The public one, not at 0 at first, so that nothing passes because a moment is missing."""

    def __init__(self) -> None:
        super().__init__(now=1000.0)


class Took:
    """An outcome that comes after `seconds` on the clock."""

    def __init__(self, seconds: float, outcome: Any) -> None:
        self.seconds = seconds
        self.outcome = outcome


class Pieces:
    """An outcome that is streamed: texts, chunks, `Took`s of them, exceptions to raise; then the end."""

    def __init__(self, *items: Any) -> None:
        self.items = items


END = StreamChunk(finish_reason="stop")


class _PiecesStream(ChunkStream):
    def __init__(self, pieces: Pieces, provider: ScriptedProvider) -> None:
        self._items = iter(pieces.items)
        self._provider = provider

    def pull(self, timeout: float) -> StreamChunk | None:
        self._provider.pulls.append(round(timeout, 6))
        item = next(self._items, None)
        if isinstance(item, Took):
            self._provider.clock.advance(min(item.seconds, timeout))  # type: ignore[attr-defined]
            if item.seconds > timeout:
                raise TimeoutError
            item = item.outcome
        if isinstance(item, BaseException):
            raise item
        return StreamChunk(text=item) if isinstance(item, str) else item

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        await asyncio.sleep(0)
        return self.pull(timeout)

    def close(self) -> None:
        self._provider.streams_closed += 1


class ScriptedConfig(ProviderConfig):
    outcomes: tuple[Any, ...] = ()
    does: str = "none"
    tools: bool = True
    parts: bool = True
    secret: str = ""


class ScriptedProvider(Provider[ScriptedConfig]):
    """Plays `outcomes` in order, the last one for ever: a text, an LLMResponse, or an exception to raise."""

    config_model = ScriptedConfig

    def __init__(self, name: str, config: ScriptedConfig, clock: Any) -> None:
        super().__init__(name, config, clock)
        self.calls: list[LLMRequest] = []
        self.timeouts: list[float] = []
        self.closed = 0
        self.pulls: list[float] = []
        self.streams_closed = 0

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return Capabilities(tools=self.config.tools, content_parts=self.config.parts, bounded=True)

    @property
    def effects(self) -> Effects:
        return self.config.does  # type: ignore[return-value]

    def secrets(self) -> Sequence[str]:
        return [self.config.secret] if self.config.secret else []

    def close(self) -> None:
        self.closed += 1

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        outcomes = self.config.outcomes or ["ok"]
        outcome = outcomes[min(len(self.calls), len(outcomes) - 1)]
        self.calls.append(request)
        self.timeouts.append(timeout)
        if isinstance(outcome, Took):
            self.clock.advance(min(outcome.seconds, timeout))  # type: ignore[attr-defined]
            if outcome.seconds > timeout:
                raise TimeoutError
            outcome = outcome.outcome
        if isinstance(outcome, BaseException):
            outcome.__context__ = outcome.__traceback__ = None
            raise outcome
        if isinstance(outcome, str):
            usage = LLMUsage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
            return LLMResponse(text=outcome, finish_reason="stop", usage=usage, model=request.model)
        return outcome  # type: ignore[no-any-return]

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        outcome: Any = self.complete(request, timeout)
        return _PiecesStream(outcome, self) if isinstance(outcome, Pieces) else SingleChunkStream(outcome)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        await asyncio.sleep(0)
        return self.stream(request, timeout)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        await asyncio.sleep(0)
        return self.complete(request, timeout)


registry.register("scripted", ScriptedProvider, replace=True)


Memory = Recorder
"""A trace store and an event sink that keep what they are given."""


def config_for(
    outcomes: Mapping[str, Sequence[Any]],
    role: Mapping[str, Any] | None = None,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
) -> LLMConfig:
    """A configuration with one role, `r`, whose chain is the keys of `outcomes`, all scripted."""
    names = list(outcomes)
    chain = {"provider": names[0], "model": "m", "fallback_providers": [{"provider": n} for n in names[1:]]}
    return load_config(
        {
            "llm": {
                "providers": {
                    name: {"type": "scripted", "outcomes": list(plays), **(providers or {}).get(name, {})}
                    for name, plays in outcomes.items()
                },
                "roles": {"r": {**chain, **(role or {})}},
                "trace": {"enabled": False},
            }
        }
    )


def router_for(config: LLMConfig, **options: Any) -> tuple[LeeLLMRouter, Memory, FakeClock]:
    """A router on a fake clock, with everything it tells kept in memory and jitter always half its bound."""
    memory, clock = Memory(), FakeClock()
    defaults: dict[str, Any] = {"trace_store": memory, "event_sink": memory, "clock": clock, "random": lambda: 0.0}
    return LeeLLMRouter(config, **{**defaults, **options}), memory, clock


def provider_of(router: LeeLLMRouter, name: str) -> ScriptedProvider:
    """The scripted provider `name` inside `router`, to look at what it was asked."""
    provider = router._parts.pool.open(name, {})
    assert isinstance(provider, ScriptedProvider)
    return provider
