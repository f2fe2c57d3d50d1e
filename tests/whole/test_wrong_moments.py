"""Bad moments: a fork with calls in flight, a garbage collection under a lock, an answer that comes too late."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.servers import Conversation, Server, completion, eventually, json_answer
from helpers.support import FakeClock, Pieces, config_for, router_for
from lee_llm_router import (
    ChunkStream,
    LeeLLMRouter,
    LLMConfig,
    LLMRequest,
    LLMResponse,
    LLMTimeoutError,
    Provider,
    ProviderChoice,
    ProviderConfig,
    ProviderError,
    StreamChunk,
    register,
)
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType
from lee_llm_router.health import Health, Permit

GOOD = json_answer(completion("hello"))
forking = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def _in_child(check: Callable[[], object]) -> bool:
    """Whether `check` is true in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _idle(router: LeeLLMRouter) -> bool:
    return all((h.in_flight, h.waiting) == (0, 0) for h in router.health().values())


# A fork


@contextmanager
def _one_call_in_flight_and_one_queued(ends: list[str]) -> Iterator[tuple[LeeLLMRouter, threading.Event]]:
    """At a provider that takes one call at once; the server answers the first when the event is set, others at once."""

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            if server.connections == 1:
                go_on.wait(30)
            conversation.send(GOOD)

    def call() -> None:
        ends.append(router.complete("r", "hi").text)

    go_on = threading.Event()
    with Server(script) as server:
        provider = {"type": "http", "base_url": server.url, "max_concurrency": 1}
        role = {"provider": "p", "model": "m", "deadline": 30}
        router = LeeLLMRouter({"llm": {"providers": {"p": provider}, "roles": {"r": role}}}, trace_store=False)
        threads = [threading.Thread(target=call) for _ in range(2)]
        threads[0].start()
        assert eventually(lambda: len(server.requests) == 1)
        threads[1].start()
        assert eventually(lambda: router.health()["p", "m"].waiting == 1)
        yield router, go_on
        for thread in threads:
            thread.join(30)
        router.close()


@forking
def test_calls_in_flight_in_the_parent_take_no_place_in_its_child() -> None:
    """Its threads are not in the child: nobody would ever give back their permits and places there."""
    ends: list[str] = []
    with _one_call_in_flight_and_one_queued(ends) as (router, go_on):
        assert _in_child(lambda: _idle(router) and router.complete("r", "hi").text == "hello" and _idle(router))
        health = router.health()["p", "m"]
        assert (health.in_flight, health.waiting) == (1, 1)
        go_on.set()
    assert ends == ["hello"] * 2
    assert _idle(router)


@forking
def test_a_stream_that_both_sides_of_a_fork_close_is_counted_once() -> None:
    router, _, _ = router_for(config_for({"a": [Pieces("x", "y")]}))
    stream = router.stream("r", "hi")
    assert next(stream).text == "x"

    def closes() -> bool:
        stream.close()
        return _idle(router)

    assert _in_child(closes)
    assert router.health()["a", "m"].in_flight == 1
    stream.close()
    assert _idle(router)


@forking
def test_what_is_known_of_a_target_outlives_a_fork_and_its_probe_does_not() -> None:
    """The child keeps the breaker and the vendor's word, and may probe itself, though the parent's probe is out."""
    clock = FakeClock()
    health = Health(HealthConfig(failures_in_a_row=1), {"a": ProviderConfig(type="scripted")}, clock, lambda: 1.0)
    key = ("a", "m")

    def settled(failure: FailureType, **how: Any) -> None:
        permit = health.acquire(key)
        assert isinstance(permit, Permit)
        health.release(permit, failure, **how)

    settled(FailureType.OVERLOADED, counts_against_target=True, close_gate_for=5.0)
    assert _in_child(lambda: health.snapshot()[key].state == "open" and health.snapshot()[key].retry_after == 5.0)
    clock.advance(5)
    probe = health.acquire(key)
    assert isinstance(probe, Permit) and probe.probe and probe.leads_gate

    def probes() -> bool:
        own = health.acquire(key)
        return isinstance(own, Permit) and own.probe and own.leads_gate and health.release(own) == "close"

    assert _in_child(probes)
    assert not isinstance(health.acquire(key), Permit), "in the parent it is still out"
    assert health.release(probe) == "close"


# A garbage collection


class _Ring:
    """Something only the garbage collector frees."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.itself = self


def _ends(call: Callable[[], object]) -> bool:
    """Whether `call` comes to an end, rather than hang for ever."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


@pytest.fixture
def collect_by_hand() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collect_by_hand")
def test_a_dropped_stream_may_be_collected_while_health_is_being_written() -> None:
    """Its end gives back a permit: no deadlock in the thread that holds the lock, and nothing miscounted."""
    collected: list[int] = []

    def random() -> float:
        collected.append(gc.collect())
        return 0.5

    plays: dict[str, list[Any]] = {"a": [Pieces("x", "y"), ProviderError("down")]}
    config = config_for(plays, {"retry": {"attempts": 1, "patience": 0}})
    router, memory, _ = router_for(
        LLMConfig.model_validate(config.model_copy(update={"health": HealthConfig(failures_in_a_row=1)})), random=random
    )
    stream = router.stream("r", "hi")
    next(stream)
    _Ring(stream)
    del stream

    def call() -> None:
        with pytest.raises(ProviderError):
            router.complete("r", "hi")

    assert _ends(call)
    assert any(collected) and eventually(lambda: _idle(router))
    assert eventually(lambda: len(memory.records) == 2)
    assert sorted(record.outcome for record in memory.records) == ["cancelled", "error"]
    assert router.health()["a", "m"].state == "open"


class CollectingProvider(Provider[ProviderConfig]):
    """Collects garbage as it is built: the pool holds its lock then."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        gc.collect()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="x", finish_reason="stop")

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return _Endless()


class _Endless(ChunkStream):
    closed = 0

    def pull(self, timeout: float) -> StreamChunk:
        return StreamChunk(text="x")

    def close(self) -> None:
        type(self).closed += 1


@pytest.mark.usefixtures("collect_by_hand")
def test_a_dropped_stream_may_be_collected_while_a_provider_is_being_built() -> None:
    """Its end gives back a provider with settings of its own, to the pool that builds another one."""

    class Varied:
        made = 0

        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            self.made += 1
            return ProviderChoice("p", provider_overrides={"model": f"m{self.made}"})

    register("collecting", CollectingProvider, replace=True)
    config = {"providers": {"p": {"type": "collecting"}}, "roles": {"r": {"provider": "p"}}}
    router = LeeLLMRouter({"llm": config}, policy=Varied(), trace_store=False)
    stream = router.stream("r", "hi")
    next(stream)
    closed = _Endless.closed
    _Ring(stream)
    del stream
    texts: list[str] = []
    assert _ends(lambda: texts.append(router.complete("r", "hi").text))
    assert texts == ["x"] and eventually(lambda: _Endless.closed == closed + 1)
    assert eventually(lambda: _idle(router))


# An answer


class LateProvider(Provider[ProviderConfig]):
    """Does not mind its timeout: its stream opens when `open_now` is set."""

    open_now = threading.Event()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise NotImplementedError

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        self.open_now.wait(30)
        return _Endless()


def test_a_stream_that_opens_after_its_attempt_was_given_up_is_closed() -> None:
    register("late", LateProvider, replace=True)
    role = {"provider": "p", "timeout": 0.05, "retry": {"attempts": 1}}
    router = LeeLLMRouter({"llm": {"providers": {"p": {"type": "late"}}, "roles": {"r": role}}}, trace_store=False)
    closed = _Endless.closed
    with pytest.raises(LLMTimeoutError):
        next(router.stream("r", "hi"))
    LateProvider.open_now.set()
    assert eventually(lambda: _Endless.closed == closed + 1)
