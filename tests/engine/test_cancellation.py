"""Cancellation: traced, re-raised unchanged, prompt, and nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from helpers.support import Memory, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMRequest, LLMResponse, Provider, ProviderConfig, load_config, register
from lee_llm_router.errors import FailureType, LLMTimeoutError, error_for


class Stuck(Provider[ProviderConfig]):
    """Has only a sync call, and hangs in it until `released`."""

    released = threading.Event()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        Stuck.released.wait(30)
        return LLMResponse(text="late")


class StuckAsync(Stuck):
    """Hangs in its async call, and will not be cancelled."""

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        while not Stuck.released.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue
        return LLMResponse(text="late")


register("stuck", Stuck, replace=True)
register("stuck_async", StuckAsync, replace=True)


@pytest.fixture(autouse=True)
def _release() -> Any:
    Stuck.released.clear()
    yield
    Stuck.released.set()


def _stuck_router(kind: str, timeout: float = 0.05) -> tuple[LeeLLMRouter, Memory]:
    config = load_config(
        {
            "llm": {
                "providers": {"s": {"type": kind}},
                "roles": {"r": {"provider": "s", "timeout": timeout, "retry": {"attempts": 1}}},
            }
        }
    )
    memory = Memory()
    return LeeLLMRouter(config, trace_store=memory), memory


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_an_interrupt_in_an_attempt_is_traced_and_goes_through_unchanged(error: BaseException) -> None:
    router, memory, _ = router_for(config_for({"a": [error], "b": ["no"]}))
    with pytest.raises(type(error)) as caught:
        router.complete("r", "hi")
    assert caught.value is error
    assert [(r.outcome, r.failure_type, r.verdict, r.attempt) for r in memory.records] == [
        ("cancelled", "CANCELLED", "raise", 0)
    ]


def test_an_interrupt_in_a_wait_leaves_a_record_of_its_own() -> None:
    router, memory, clock = router_for(config_for({"a": [error_for(FailureType.PROVIDER_ERROR, "x")]}))

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    clock.sleep = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        router.complete("r", "hi")
    assert [(r.outcome, r.attempt) for r in memory.records] == [("error", 0), ("cancelled", None)]


def test_a_wait_that_overshoots_the_deadline_ends_the_call() -> None:
    """A machine that slept through the deadline gets no further attempt."""
    router, memory, clock = router_for(
        config_for({"a": [error_for(FailureType.PROVIDER_ERROR, "x"), "no"]}, role={"deadline": 10})
    )
    clock.sleep = lambda seconds: clock.advance(60)  # type: ignore[method-assign]
    with pytest.raises(LLMTimeoutError, match="deadline of 10 s") as caught:
        router.complete("r", "hi")
    assert [r.failure_type for r in memory.records] == ["PROVIDER_ERROR", "TIMEOUT"]
    assert caught.value.cause is not None and "PROVIDER_ERROR" in repr(caught.value.cause)


@pytest.mark.parametrize("kind", ["stuck", "stuck_async"])
def test_a_cancelled_task_ends_at_once_and_is_traced(kind: str) -> None:
    """Even where the provider's call cannot be cancelled itself."""
    router, memory = _stuck_router(kind, timeout=20)

    async def main() -> None:
        task = asyncio.create_task(router.complete_async("r", "hi"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert [r.outcome for r in memory.records] == ["cancelled"]
        Stuck.released.set()
        await asyncio.sleep(0.05)

    asyncio.run(main())


class Delegating(Provider[ProviderConfig]):
    """Hands its calls on in plain functions, which run before the first `await`."""

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="ok")

    def complete_async(self, request: LLMRequest, timeout: float) -> Any:
        place.set("inside")
        if request.metadata.get("cancelled"):
            raise asyncio.CancelledError
        return super().complete_async(request, timeout)

    def stream_async(self, request: LLMRequest, timeout: float) -> Any:
        place.set("inside")
        if request.metadata.get("cancelled"):
            raise asyncio.CancelledError
        return super().stream_async(request, timeout)


place: ContextVar[str] = ContextVar("place", default="outside")
register("delegating", Delegating, replace=True)


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_does_before_it_is_awaited_is_part_of_its_attempt(stream: bool) -> None:
    """The caller's context stays as it is, and nobody but the caller cancels the call."""
    router, memory = _stuck_router("delegating", timeout=5)

    async def ask(**metadata: Any) -> None:
        if not stream:
            await router.complete_async("r", "hi", metadata=metadata)
            return
        async for _ in router.stream_async("r", "hi", metadata=metadata):
            pass

    async def main() -> None:
        await ask()
        assert place.get() == "outside"
        with pytest.raises(LLMTimeoutError):
            await ask(cancelled=True)

    asyncio.run(main())
    assert [record.outcome for record in memory.records] == ["ok", "error"]


@pytest.mark.parametrize("kind", ["stuck", "stuck_async"])
def test_a_hanging_provider_is_left_behind_at_its_timeout(kind: str) -> None:
    """TIMEOUT in sync and async, though the provider never comes back in time."""
    router, memory = _stuck_router(kind)
    with pytest.raises(LLMTimeoutError):
        router.complete("r", "hi")

    async def main() -> None:
        with pytest.raises(LLMTimeoutError):
            await asyncio.wait_for(router.complete_async("r", "hi"), 5)
        Stuck.released.set()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert [r.failure_type for r in memory.records] == ["TIMEOUT", "TIMEOUT"]


class SyncOnly(Provider[ProviderConfig]):
    """Has only a sync call; says in which thread it ran."""

    action: Callable[[], str] = staticmethod(lambda: threading.current_thread().name)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text=SyncOnly.action())


register("sync_only", SyncOnly, replace=True)


def test_a_provider_with_only_a_sync_call_serves_async_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and errors come through; StopIteration too, which asyncio would choke on."""
    router, memory = _stuck_router("sync_only", timeout=20)

    async def main() -> str:
        return (await router.complete_async("r", "hi")).text

    assert "MainThread" not in asyncio.run(main())

    def stop() -> str:
        raise StopIteration

    monkeypatch.setattr(SyncOnly, "action", staticmethod(stop))
    with pytest.raises(Exception, match="StopIteration"):
        asyncio.run(main())

    def refuse() -> str:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(SyncOnly, "action", staticmethod(refuse))
    with pytest.raises(Exception, match="nobody there"):
        asyncio.run(main())
    assert [r.failure_type for r in memory.records] == [None, "UNKNOWN", "PROVIDER_ERROR"]


def test_a_thread_that_ends_after_its_loop_disturbs_nobody() -> None:
    router, _ = _stuck_router("stuck")

    async def main() -> None:
        with pytest.raises(LLMTimeoutError):
            await router.complete_async("r", "hi")

    asyncio.run(main())
    Stuck.released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lee-llm-router"):
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize("use_async", [False, True])
def test_a_stop_iteration_from_a_provider_is_a_failure_like_any_other(use_async: bool) -> None:
    """It must not pass for the end of the engine's generator."""
    router, memory, _ = router_for(config_for({"a": [StopIteration("odd")], "b": ["yes"]}))
    response = asyncio.run(router.complete_async("r", "hi")) if use_async else router.complete("r", "hi")
    assert response.text == "yes"
    assert [r.failure_type for r in memory.records] == ["UNKNOWN", None]
