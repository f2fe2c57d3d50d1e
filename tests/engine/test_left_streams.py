"""A stream that is left by `break`, or dropped in any other way, is closed at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import Conversation, Server, eventually
from helpers.stream_servers import HEAD, HEL, LO, ROLE, framed
from helpers.stream_support import router_to
from helpers.support import END, Memory, Pieces, config_for, provider_of, router_for
from lee_llm_router import (
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LocalFileTraceStore,
    Provider,
    ProviderConfig,
    TraceRecord,
    register,
)
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk

DOWN = error_for(FailureType.OVERLOADED, "busy")


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """What happens here, happens without it."""
    gc.collect()
    gc.freeze()  # so that a collection by hand looks at what is new, and takes no time
    gc.disable()
    yield
    gc.enable()


def _by_break(router: LeeLLMRouter) -> None:
    for _ in router.stream("r", "hi"):
        break


def _by_del(router: LeeLLMRouter) -> None:
    stream = router.stream("r", "hi")
    next(stream)
    del stream


def _by_raise(router: LeeLLMRouter) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in router.stream("r", "hi"):
            _ = 1 / 0


def _in_another_thread(router: LeeLLMRouter) -> None:
    held = [router.stream("r", "hi")]
    next(held[0])
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()


async def _by_break_async(router: LeeLLMRouter) -> None:
    async for _ in router.stream_async("r", "hi"):
        break


async def _by_anext(router: LeeLLMRouter) -> None:
    """The iteration alone refers to the stream while it waits."""
    assert (await anext(router.stream_async("r", "hi"))).text


async def _by_thread_async(router: LeeLLMRouter) -> None:
    held = [router.stream_async("r", "hi")]
    await anext(held[0])
    await asyncio.to_thread(held.clear)


WAYS = [_by_break, _by_del, _by_raise, _in_another_thread, _by_break_async, _by_anext, _by_thread_async]


def _leave(way: Callable[[LeeLLMRouter], Any], router: LeeLLMRouter, then: Callable[[], None]) -> None:
    """Leave a stream, and do `then` right after, before an event loop has had a turn."""

    async def main() -> None:
        await way(router)
        then()

    if asyncio.iscoroutinefunction(way):
        asyncio.run(main())
    else:
        way(router)
        then()


@pytest.mark.parametrize("way", WAYS)
def test_it_gives_back_its_place_and_is_traced_at_once(way: Callable[[LeeLLMRouter], Any]) -> None:
    """Also where attempts have failed before, whose errors hold the frames they went through."""
    plays = {"a": [DOWN, Pieces(DOWN), Pieces("one ", "two ", "three", END)]}
    role = {"retry": {"attempts": 3, "backoff": 0}}
    router, memory, _ = router_for(config_for(plays, role, {"a": {"max_concurrency": 1}}))

    def check() -> None:
        assert router.health()["a", "m"].in_flight == 0
        assert [record.outcome for record in memory.records] == ["error", "error", "cancelled"]
        assert memory.records[-1].response_chars == len("one ")
        assert [event.event for event in memory.events][-1] == "call.end"
        assert provider_of(router, "a").streams_closed == 2
        assert "".join(chunk.text for chunk in router.stream("r", "hi")) == "one two three"

    _leave(way, router, check)


@pytest.mark.parametrize("way", WAYS)
def test_it_gives_back_the_probe_of_a_breaker(way: Callable[[LeeLLMRouter], Any]) -> None:
    config = config_for({"a": [DOWN, Pieces("x", "y", END)]}, {"retry": {"attempts": 1, "patience": 0}})
    health = HealthConfig(failures_in_a_row=1, cooldown=5)
    router, _, clock = router_for(config.model_copy(update={"health": health}))
    with pytest.raises(type(DOWN)):
        list(router.stream("r", "hi"))
    clock.advance(5)

    def check() -> None:
        assert router.health()["a", "m"].state == "half_open"
        assert "".join(chunk.text for chunk in router.stream("r", "hi")) == "xy"
        assert router.health()["a", "m"].state == "closed"

    _leave(way, router, check)


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
@pytest.mark.parametrize("way", WAYS)
def test_it_hangs_up_at_once(way: Callable[[LeeLLMRouter], Any], transport: str) -> None:
    hung_up = threading.Event()

    def script(conversation: Conversation) -> None:
        if conversation.receive():
            conversation.send(HEAD + framed(ROLE) + framed(HEL) + framed(LO))
            conversation.receive()
            hung_up.set()

    with Server(script) as server:
        router = router_to(server.url, transport=transport)

        def check() -> None:
            assert hung_up.wait(10), "still connected"

        _leave(way, router, check)
        router.close()


class _OwnStream(ChunkStream):
    closed: int

    def pull(self, timeout: float) -> StreamChunk:
        return StreamChunk(text="x")


class _ClosedByAwaiting(_OwnStream):
    closed = 0

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        type(self).closed += 1


class _ClosedWithout(_OwnStream):
    closed = 0

    def close(self) -> None:
        type(self).closed += 1


class OwnProvider(Provider[ProviderConfig]):
    """Of a user: does not hold its timeouts, so that its streams are read in threads and tasks."""

    kind: type[_OwnStream]

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise NotImplementedError

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return self.kind()


register("own-streams", OwnProvider, replace=True)


@pytest.mark.parametrize("kind", [_ClosedByAwaiting, _ClosedWithout])
def test_the_stream_of_a_provider_is_closed_as_it_knows_how(kind: type[_OwnStream]) -> None:
    """One that can only be closed by awaiting is closed by its event loop, the permit is given back before."""
    OwnProvider.kind, kind.closed = kind, 0
    config = {"providers": {"p": {"type": "own-streams"}}, "roles": {"r": {"provider": "p"}}}
    router = LeeLLMRouter({"llm": config}, trace_store=False)

    async def main() -> None:
        await _by_break_async(router)
        assert router.health()["p", None].in_flight == 0
        for _ in range(1000):
            if kind.closed:
                break
            await asyncio.sleep(0.005)
        assert kind.closed == 1
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_stream_that_outlives_its_loop_is_closed_when_it_is_dropped() -> None:
    """The loop was not asked to close its generators."""
    router, memory, _ = router_for(config_for({"a": [Pieces("x", "y", END)]}))
    held = []

    async def main() -> None:
        held.append(router.stream_async("r", "hi"))
        await anext(held[0])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    assert router.health()["a", "m"].in_flight == 1
    held.clear()
    assert router.health()["a", "m"].in_flight == 0
    assert [record.outcome for record in memory.records] == ["cancelled"]


# What the garbage collector finds


class Ring:
    """Something that only the garbage collector frees, and what it holds."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.itself = self


class Strict(Memory):
    """A store and a sink with a lock that is not reentrant, and a collection while it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def write(self, record: TraceRecord) -> None:
        with self.lock:
            gc.collect()
            super().write(record)

    def emit(self, event: Any) -> None:
        with self.lock:
            gc.collect()
            super().emit(event)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_nobody_is_told_anything_inside_a_collection(way: str) -> None:
    """It may have interrupted a listener, here with its lock held, or the code of a user who holds that lock."""
    plays = {"a": [Pieces("x", "y", END)]}
    memory = Strict()
    router, *_ = router_for(config_for(plays), trace_store=memory, event_sink=memory)

    async def leave_async() -> None:
        Ring(stream := router.stream_async("r", "hi"))
        await anext(stream)

    def leave() -> None:
        if way == "async":
            asyncio.run(leave_async())
        else:
            Ring(stream := router.stream("r", "hi"))
            next(stream)

    def work() -> None:
        for _ in range(10):
            leave()
            list(router.stream("r", "hi"))
            leave()
            with memory.lock:
                gc.collect()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "deadlock"
    assert eventually(lambda: len(memory.records) == 30)
    assert eventually(lambda: router.health()["a", "m"].in_flight == 0)
    outcomes = [record.outcome for record in memory.records]
    assert (outcomes.count("ok"), outcomes.count("cancelled")) == (10, 20)
    assert eventually(lambda: [event.event for event in memory.events].count("call.end") == 30)
    assert not any(thread.name.startswith("Dummy") for thread in threading.enumerate())


def test_a_call_that_waits_gets_the_place_of_a_stream_that_was_collected() -> None:
    """Though nobody makes another call, which might have finished what the collector began."""
    config = config_for({"a": [Pieces("x", "y", END)]}, {"deadline": 60}, {"a": {"max_concurrency": 1}})
    router = LeeLLMRouter(config, trace_store=False)
    Ring(stream := router.stream("r", "hi"))
    next(stream)
    del stream
    waiter = threading.Thread(target=lambda: list(router.stream("r", "hi")), daemon=True)
    waiter.start()
    assert eventually(lambda: router.health()["a", "m"].waiting == 1)
    gc.collect()
    waiter.join(20)
    assert not waiter.is_alive()


# The end of the program

ENDING = """
import asyncio, gc, logging, sys, threading
from lee_llm_router import LeeLLMRouter

gc.disable()
logging.getLogger("asyncio").setLevel(logging.ERROR)  # it reports steps that a busy machine takes long for
router = LeeLLMRouter({"llm": {
    "providers": {"p": {"type": "mock", "response_text": "one two three"}},
    "roles": {"r": {"provider": "p", "model": "m"}},
    "trace": {"dir": sys.argv[1]},
}})

async def begin():
    stream = router.stream_async("r", "hi")
    await anext(stream)
    return stream

WAY
"""
ENDS = {
    "held": "held = router.stream('r', 'hi'); next(held)",
    "in a cycle": "held = [router.stream('r', 'hi')]; next(held[0]); held.append(held); del held",
    "left with an exit code": "held = router.stream('r', 'hi'); next(held); sys.exit(0)",
    "after its loop": "held = asyncio.run(begin())",
    "beside its loop": "loop = asyncio.new_event_loop(); held = loop.run_until_complete(begin()); loop.close()",
    "in a daemon thread": """
ready = threading.Event()
def work():
    stream = router.stream("r", "hi")
    next(stream)
    ready.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
ready.wait()""",
    "opened while the program ends": """
import atexit
def last_words():
    global held
    held = router.stream("r", "hi")
    next(held)
atexit.register(last_words)""",
    "opened while the program ends, async": """
import atexit
def last_words():
    global held
    held = asyncio.run(begin())
atexit.register(last_words)""",
    "behind a generator": """
def words():
    for chunk in router.stream("r", "hi"):
        yield chunk.text
held = words()
next(held)""",
    "closed by the end of its router first": """
import atexit
atexit.register(router.close)
held = router.stream("r", "hi")
next(held)""",
    "interrupted": """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
held = router.stream("r", "hi")
next(held)
os.kill(os.getpid(), signal.SIGTERM)""",
}


@pytest.mark.parametrize("way", ENDS)
def test_a_stream_open_at_the_end_of_the_program_leaves_its_record_and_no_noise(way: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDING.replace("WAY", ENDS[way]), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    (record,) = LocalFileTraceStore(trace_dir=tmp_path).last(1)
    assert (record.outcome, record.response_chars) == ("cancelled", len("one "))
