"""Streams and attempts that are walked away from: each is closed once, in time, and by whoever may close it."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from helpers.support import END, FakeClock, Pieces, config_for, router_for
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.engine import abandoning, streaming
from lee_llm_router.engine.abandoning import AbandonableStream, close_unawaited
from lee_llm_router.engine.runners import (
    BegunStream,
    EndedRunner,
    FirstChunks,
    SpentStream,
    TaskRunner,
    wait_for_one,
    wait_for_one_async,
)
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk


class Held(ChunkStream):
    """Hangs in `pull` until it is let go, and counts how often it is closed."""

    def __init__(self) -> None:
        self.may, self.is_in = threading.Event(), threading.Event()
        self.closed = 0
        self.is_closed = threading.Event()

    def pull(self, timeout: float) -> StreamChunk | None:
        self.is_in.set()
        assert self.may.wait(20)
        return None

    def close(self) -> None:
        self.closed += 1
        self.is_closed.set()


class Awaited(Held):
    """Can be closed only by awaiting, and is not ended by being cancelled."""

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        self.is_in.set()
        while not self.may.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue
        return None

    close = ChunkStream.close

    async def aclose(self) -> None:
        self.closed += 1
        self.is_closed.set()


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.may.set()


async def _tick(ready: Any) -> None:
    """Wait until `ready()`."""
    for _ in range(20_000):
        if ready():
            return
        await asyncio.sleep(0.001)
    raise AssertionError


def test_an_answer_is_whole_also_without_the_vendors_own_form_of_it() -> None:
    class Broken(Held):
        def whole_raw(self) -> Any:
            raise ValueError("of somebody else's")

    assert AbandonableStream(Broken()).whole_raw() is None


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_stream_whose_pull_will_not_end_is_closed_after_it(
    is_cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the call that waits for that is cancelled once more."""
    monkeypatch.setattr(abandoning, "_PULL_END_SECONDS", 20.0 if is_cancelled else 0.001)
    inner = Awaited()

    async def main() -> None:
        stream = AbandonableStream(inner)
        with pytest.raises(TimeoutError):
            await stream.pull_async(0.001)
        closing = asyncio.ensure_future(stream.aclose())
        if is_cancelled:
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
        else:
            await closing
        assert not inner.closed
        inner.may.set()
        await _tick(lambda: inner.closed)

    asyncio.run(main())
    assert inner.closed == 1


def test_a_stream_that_is_dropped_in_the_middle_of_a_pull_is_closed_after_it() -> None:
    inner = Awaited()

    async def main() -> None:
        stream = AbandonableStream(inner)
        pull = asyncio.ensure_future(stream.pull_async(20.0))
        await _tick(inner.is_in.is_set)
        close_unawaited(stream, asyncio.get_running_loop())
        await asyncio.sleep(0)
        assert not inner.closed
        inner.may.set()
        await pull
        await _tick(lambda: inner.closed)

    asyncio.run(main())
    assert inner.closed == 1


def test_a_stream_that_only_its_loop_can_close_is_closed_there() -> None:
    streams = [Awaited(), Awaited()]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        close_unawaited(streams[0], loop)
        close_unawaited(AbandonableStream(streams[1]), loop)
        assert not any(stream.closed for stream in streams)
        await _tick(lambda: all(stream.closed for stream in streams))

    asyncio.run(main())
    assert [stream.closed for stream in streams] == [1, 1]


def test_a_thread_that_is_still_in_a_pull_has_it_closed_behind_it(held: Held) -> None:
    held._pulling = start_in_thread(held.pull, 20.0)
    assert held.is_in.wait(20)
    loop = asyncio.new_event_loop()
    close_unawaited(held, loop)
    assert not held.is_closed.is_set()
    held.may.set()
    assert held.is_closed.wait(20)
    close_unawaited(free := Held(), loop)
    loop.close()
    assert [free.closed, held.closed] == [1, 1]


def test_where_no_thread_can_be_started_a_stream_is_closed_all_the_same(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Future[None]:
        raise BlockingIOError("no more threads")

    monkeypatch.setattr(abandoning, "start_in_thread", none)
    loop = asyncio.new_event_loop()
    close_unawaited(AbandonableStream(held), loop)
    loop.close()
    AbandonableStream(other := Held()).close()
    assert held.closed == other.closed == 1


# Attempts beside each other


def test_a_stream_that_was_read_to_its_end_is_not_asked_again(held: Held) -> None:
    chunks = FirstChunks()
    chunks.add(StreamChunk())
    begun = [chunks.has_begun]
    chunks.add(None)
    assert [*begun, chunks.has_begun] == [False, True]
    read = chunks.of(held)
    assert read.has_ended and len(read.chunks) == 1
    spent = SpentStream(held)
    assert spent.pull(1.0) is asyncio.run(spent.pull_async(1.0)) is None
    assert spent.whole_raw() is None
    spent.close()
    asyncio.run(spent.aclose())
    assert held.closed == 2


def test_an_attempt_that_has_ended_wakes_at_once_and_closes_what_is_not_wanted(held: Held) -> None:
    runner = EndedRunner(BegunStream(held, [], False))
    wait_for_one([runner, EndedRunner("other")], 20.0, FakeClock())
    runner.end()
    assert held.closed == 1 and EndedRunner(7).outcome() == 7
    EndedRunner(7).end()
    with pytest.raises(ValueError, match="broken"):
        EndedRunner(None, ValueError("broken")).outcome()


def test_a_task_is_ended_from_another_thread_and_its_stream_closed(held: Held) -> None:
    async def work(seconds: float) -> BegunStream:
        with suppress(asyncio.CancelledError):  # an answer that has come all the same
            await asyncio.sleep(seconds)
        return BegunStream(held, [], False)

    async def main() -> TaskRunner:
        clock = FakeClock()
        slow, quick = TaskRunner(work(20), clock), TaskRunner(work(0), clock)
        await wait_for_one_async([slow, quick], 20.0, clock)
        await asyncio.sleep(0)
        await asyncio.to_thread(slow.end)
        await _tick(lambda: held.closed)
        return quick

    quick = asyncio.run(main())
    quick.end()  # its loop is closed, and with it what ran there


# The end of the program


def test_streams_that_are_open_at_the_end_of_the_program_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    open_streams = streaming._OpenStreams()
    monkeypatch.setattr(streaming, "_open_streams", open_streams)
    router, memory, _ = router_for(config_for({"a": [Pieces("x", "y", END)]}))
    streams = [router.stream("r", "hi"), router.stream("r", "hi")]

    def is_being_read() -> None:
        raise ValueError("generator already executing")

    monkeypatch.setattr(streams[0], "close", is_being_read)
    assert [next(stream).text for stream in streams] == ["x", "x"]
    atexit.unregister(open_streams._close_all)
    open_streams._close_all()
    assert [record.outcome for record in memory.records] == ["cancelled"]
    monkeypatch.undo()
    streams[0].close()
