"""Hedged calls that are cancelled or short of something, and providers that will not end: nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.hedged_calls import (
    FORMS,
    Ask,
    assert_nothing_is_held,
    complete,
    hedged_router,
    stream,
    told,
)
from lee_llm_router import (
    EmbeddingRequest,
    EmbeddingResponse,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    Provider,
    ProviderConfig,
    register,
)
from lee_llm_router.providers.base import Capabilities
from lee_llm_router.providers.embeddings import EmbeddedBatch
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk
from lee_llm_router.testing import After, Pieces


def test_a_cancelled_task_ends_both_attempts_and_both_are_traced() -> None:
    router = hedged_router({"a": After(50, "a"), "b": After(50, "b")})

    async def main() -> None:
        task = asyncio.create_task(router.complete_async("r", "hi"))
        while len(router.requests("b")) < 1:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):  # a cancelled task ends when it is its turn
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted((r.provider, r.outcome, r.failure_type, r.verdict) for r in router.recorder.records) == [
        ("a", "cancelled", "CANCELLED", "raise"), ("b", "cancelled", "CANCELLED", "raise"),
    ]  # fmt: skip
    assert_nothing_is_held(router)


@pytest.mark.parametrize("form", [complete, stream], ids=["complete", "stream"])
def test_an_interrupt_while_both_run_ends_both_and_both_are_traced(form: Ask) -> None:
    router = hedged_router({"a": After(50, "a"), "b": After(50, "b")})
    wait = router.clock.wait

    def interrupted(woken: Any, seconds: float) -> None:
        if router.requests("b"):
            raise KeyboardInterrupt
        wait(woken, seconds)

    router.clock.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        form(router)
    assert sorted((r.provider, r.outcome, r.verdict) for r in router.recorder.records) == [
        ("a", "cancelled", "raise"), ("b", "cancelled", "raise"),
    ]  # fmt: skip
    assert_nothing_is_held(router)


def test_a_stream_that_is_left_early_gives_all_back() -> None:
    router = hedged_router({"a": After(50, "a"), "b": Pieces("one ", "two ", "three")})
    stream = router.stream("r", "hi")
    assert next(stream).text == "one "
    stream.close()
    assert told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "cancelled", "raise", True)]
    assert_nothing_is_held(router)


def test_a_closed_router_lets_the_attempt_under_way_answer() -> None:
    """As in a call without a hedge; but nobody else is asked."""
    router = hedged_router({"a": After(4, "slow"), "b": "never"})
    wait = router.clock.wait

    def closing(woken: Any, seconds: float) -> None:
        router.close()
        wait(woken, seconds)

    router.clock.wait = closing  # type: ignore[method-assign]
    assert complete(router).text == "slow"
    assert not router.requests("b")


@pytest.mark.parametrize("form", [complete, stream], ids=["complete", "stream"])
def test_where_no_thread_can_be_started_a_call_is_not_hedged(form: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine short of threads answers as it would without a hedge."""
    router = hedged_router({"a": After(9, "slow"), "b": "never"})
    monkeypatch.setattr(threading.Thread, "start", _no_thread)
    assert form(router).text == "slow"
    assert told(router) == [(0, "a", "ok", "return", False)]
    assert_nothing_is_held(router)


def test_a_hedge_for_which_there_is_no_thread_costs_the_first_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    router = hedged_router({"a": After(9, "slow"), "b": "never"})
    wait = router.clock.wait

    def short_of_threads(woken: Any, seconds: float) -> None:
        wait(woken, seconds)
        monkeypatch.setattr(threading.Thread, "start", _no_thread)

    router.clock.wait = short_of_threads  # type: ignore[method-assign]
    assert complete(router).text == "slow"
    assert told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    assert_nothing_is_held(router)


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Stuck(Provider[ProviderConfig]):
    """Hangs until `released`, and keeps no timeout: it has to be left behind."""

    released = threading.Event()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        Stuck.released.wait(30)
        return LLMResponse(text="late")

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        while not Stuck.released.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return LLMResponse(text="late")


register("stuck_beside", Stuck, replace=True)


def test_a_provider_that_cannot_be_ended_is_left_behind() -> None:
    """The call does not wait for it, and what it brings after all is thrown away."""
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": "stuck_beside"}, "b": {"type": "mock", "response_text": "quick"}}
    router = LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, trace_store=False)

    async def main() -> None:
        assert (await router.complete_async("r", "hi")).text == "quick"
        async with router.stream_async("r", "hi") as stream:
            assert "".join([chunk.text async for chunk in stream]) == "quick"
        Stuck.released.set()

    assert router.complete("r", "hi").text == "quick"
    with router.stream("r", "hi") as stream:
        assert "".join(chunk.text for chunk in stream) == "quick"
    asyncio.run(main())
    assert {health.in_flight for health in router.health().values()} == {0}
    router.close()


def test_a_hedge_gets_its_permit_from_a_shared_state(tmp_path: Path) -> None:
    """The state answers within milliseconds, and the target is asked then: there is another look for it."""
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": "stuck_beside"}, "b": {"type": "mock", "response_text": "quick", "rpm": 600}}
    state = {"type": "sqlite", "path": str(tmp_path / "state.db"), "patience": 1}
    config = {"llm": {"state": state, "providers": providers, "roles": {"r": role}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        assert router.complete("r", "hi").text == "quick"
        Stuck.released.set()


class Embedder(Stuck):
    """Embeds; the one named `a` hangs."""

    capabilities = Capabilities(embeddings=True)

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        if self.name == "a":
            Stuck.released.wait(30)
        request.done.append(EmbeddedBatch(vectors=tuple((1.0, 2.0) for _ in request.inputs)))
        return request.response()


register("embedder", Embedder, replace=True)


def test_embeddings_are_hedged_too() -> None:
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    config = {"llm": {"providers": {name: {"type": "embedder"} for name in "ab"}, "roles": {"r": role}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        assert router.embed("r", ["one", "two"]).provider == "b"
        Stuck.released.set()


class Opened(ChunkStream):
    """A stream that comes too late, and counts whether it was closed."""

    closed = threading.Event()

    def pull(self, timeout: float) -> StreamChunk | None:
        return StreamChunk(text="late")

    def close(self) -> None:
        Opened.closed.set()


class LateStream(Stuck):
    """Opens a stream only once nobody wants it any more."""

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        Stuck.released.wait(30)
        return Opened()

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        await Stuck.complete_async(self, request, timeout)
        return Opened()


class BoundedLateStream(LateStream):
    """As above; it says that it keeps its timeout."""

    capabilities = Capabilities(bounded=True)


register("late_stream", LateStream, replace=True)
register("bounded_late_stream", BoundedLateStream, replace=True)


@pytest.mark.parametrize("kind", ["late_stream", "bounded_late_stream"])
@pytest.mark.parametrize("form", ["stream", "stream_async"])
def test_a_stream_that_opens_after_it_has_lost_is_closed(form: str, kind: str) -> None:
    Stuck.released.clear()
    Opened.closed.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": kind}, "b": {"type": "mock", "response_text": "quick"}}
    router = LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, trace_store=False)

    async def main() -> None:
        async with router.stream_async("r", "hi") as stream:
            assert "".join([chunk.text async for chunk in stream]) == "quick"
        Stuck.released.set()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if Opened.closed.is_set():
                break

    if form == "stream":
        assert FORMS[form](router).text == "quick"  # type: ignore[arg-type]
        Stuck.released.set()
    else:
        asyncio.run(main())
    assert Opened.closed.wait(5)
    router.close()
