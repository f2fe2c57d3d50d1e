"""Hooks and providers that break where nobody expects it: no foreign error comes out, and the call goes on."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from helpers.support import Memory, config_for, provider_of, router_for
from lee_llm_router import (
    Capabilities,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    Provider,
    ProviderConfig,
    ProviderError,
    UnavailableError,
    register,
)


@pytest.mark.parametrize(
    "given", [None, 7, [], "", "text", ["text"], [7], [{"role": "user"}], [{"role": "?", "content": "x"}], object()]
)
def test_what_a_compression_hook_gives_back_is_checked(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is no list of messages is counted and logged; the messages go out as they were. A text is one message."""
    router, memory, _ = router_for(config_for({"a": ["ok"]}), compression=lambda messages: given)
    assert router.complete("r", "hi").text == "ok"
    sent = provider_of(router, "a").calls[0].messages
    if given == "text":
        assert (sent, router.telemetry_errors) == (({"role": "user", "content": "text"},), 0)
    else:
        assert (sent, router.telemetry_errors) == (({"role": "user", "content": "hi"},), 1)
        assert "compression failed" in caplog.text
    assert [record.outcome for record in memory.records] == ["ok"]


class BrokenProvider(Provider[ProviderConfig]):
    """Breaks wherever it is looked at, as `where` says."""

    where = ""

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        if self.where == "effects":
            raise ProviderError("failed")
        return LLMResponse(text="broken", finish_reason="stop")

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        if self.where == "capabilities":
            raise KeyError("capabilities")
        return Capabilities()

    @property
    def effects(self) -> Any:
        if self.where == "effects":
            raise KeyError("effects")
        return "none"


def _broken_router(where: str) -> tuple[LeeLLMRouter, Memory]:
    register("broken", type("Broken", (BrokenProvider,), {"where": where}), replace=True)
    memory = Memory()
    providers = {"p": {"type": "broken"}, "q": {"type": "mock", "response_text": "ok"}}
    config = {"providers": providers, "roles": {"r": {"provider": "p", "fallback_providers": ["q"]}}}
    return LeeLLMRouter({"llm": config}, trace_store=memory), memory


@pytest.mark.parametrize("where", ["capabilities", "effects"])
def test_a_provider_that_breaks_when_looked_at_is_skipped(where: str) -> None:
    router, memory = _broken_router(where)
    assert router.complete("r", "hi").text == "ok"
    assert [record.outcome for record in memory.records] == ["skipped", "ok"]
    assert "is broken: KeyError" in str(memory.records[0].error)


class SyncOnlyProvider(Provider[ProviderConfig]):
    """A provider whose `complete` is no plain function."""

    complete = Mock(return_value=LLMResponse(text="ok", finish_reason="stop"))


class PartialProvider(Provider[ProviderConfig]):
    complete = staticmethod(partial(lambda request, timeout: LLMResponse(text="ok", finish_reason="stop")))


@pytest.mark.parametrize("kind", [SyncOnlyProvider, PartialProvider])
def test_a_callable_without_a_name_can_be_a_provider(kind: type[Provider[Any]]) -> None:
    register("nameless", kind, replace=True)
    config = {"providers": {"p": {"type": "nameless"}}, "roles": {"r": {"provider": "p"}}}
    with LeeLLMRouter({"llm": config}, trace_store=False) as router:
        assert router.complete("r", "hi").text == "ok"
        assert asyncio.run(router.complete_async("r", "hi")).text == "ok"


def test_a_machine_without_threads_left_is_a_provider_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that holds no timeout needs a thread; without one the call goes on to the next target."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    router, memory = _broken_router("")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert router.complete("r", "hi").text == "ok"
    assert memory.records[0].failure_type == "PROVIDER_ERROR"
    assert "no thread can be started" in str(memory.records[0].error)


# Closing


class ClosingProvider(Provider[ProviderConfig]):
    """Takes part in `closed` when it is closed, and raises then if its model is `raises`."""

    closed: list[str]
    built: list[str]

    def __init__(self, name: str, config: ProviderConfig, *rest: Any) -> None:
        super().__init__(name, config, *rest)
        self.built.append(name)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="ok", finish_reason="stop")

    def close(self) -> None:
        self.closed.append(self.name)
        if self.config.model == "raises":
            raise OSError("sk-secret-in-an-error-1234567890")


class ClosableMemory(Memory):
    closes = 0

    def close(self) -> None:
        self.closes += 1


def _closing_router(**options: Any) -> tuple[LeeLLMRouter, type[ClosingProvider], ClosableMemory]:
    kind = type("Closing", (ClosingProvider,), {"closed": [], "built": []})
    register("closing", kind, replace=True)
    providers = {name: {"type": "closing", "model": "raises" if name == "a" else "m"} for name in "abc"}
    roles = {name: {"provider": name} for name in "abc"}
    memory = ClosableMemory()
    config = {"providers": providers, "roles": roles, "default_role": "a"}
    return LeeLLMRouter({"llm": config}, trace_store=memory, **options), kind, memory


@pytest.mark.parametrize("way", ["close", "aclose"])
def test_a_provider_that_cannot_be_closed_keeps_nothing_else_open(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither other providers nor the trace store; it is logged, without the words of its error."""
    router, kind, memory = _closing_router()
    for role in "abc":
        router.complete(role, "hi")
    if way == "close":
        router.close()
    else:
        asyncio.run(router.aclose())
    assert sorted(kind.closed) == ["a", "b", "c"] and memory.closes == 1
    assert "closing provider 'a' raised OSError" in caplog.text and "sk-secret" not in caplog.text


def test_a_dropped_variant_that_cannot_be_closed_breaks_no_call() -> None:
    from lee_llm_router import LLMConfig, ProviderChoice

    class Varied:
        made = 0

        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            self.made += 1
            return ProviderChoice("a", provider_overrides={"model": "raises", "rpm": self.made})

    router, kind, _ = _closing_router(policy=Varied())
    for _ in range(20):
        assert router.complete("a", "hi").text == "ok"
    assert kind.closed


def test_a_call_under_way_when_the_router_closes_builds_and_asks_nobody_any_more() -> None:
    """Nobody would ever close what it built; it ends in a typed, traced error."""
    outcomes: dict[str, list[Any]] = {"a": [ProviderError("x")], "b": ["ok"]}
    config = config_for(outcomes, {"retry": {"attempts": 1}})
    router, memory, _ = router_for(config)
    first = provider_of(router, "a")
    complete = first.complete

    def closes(request: LLMRequest, timeout: float) -> LLMResponse:
        router.close()
        return complete(request, timeout)

    first.complete = closes  # type: ignore[method-assign]
    with pytest.raises(LLMRouterError) as raised:
        router.complete("r", "hi")
    assert [(record.provider, record.outcome) for record in memory.records] == [("a", "error"), ("b", "skipped")]
    assert "the router is closed" in str(raised.value)


def test_a_retry_after_the_router_closed_asks_no_closed_provider() -> None:
    router, memory, clock = router_for(config_for({"a": [ProviderError("x"), "ok"]}))
    asked = provider_of(router, "a")
    sleep = clock.sleep

    def close_and_sleep(seconds: float) -> None:
        router.close()
        sleep(seconds)

    clock.sleep = close_and_sleep  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="closed during the call"):
        router.complete("r", "hi")
    assert len(asked.calls) == 1 and memory.records[-1].attempt is None


def test_a_store_or_sink_of_another_shape_is_counted_and_breaks_no_call() -> None:
    """A store written for another library may have `append` in place of `write`."""
    store, sink = Mock(spec=["append"]), Mock(spec=["send"])
    router, _, _ = router_for(config_for({"a": ["ok"]}), trace_store=store, event_sink=[sink])
    assert router.complete("r", "hi").text == "ok"
    assert router.telemetry_errors > 1
