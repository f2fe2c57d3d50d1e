"""Streams of providers that hold no timeouts: what is left behind is closed later, and nothing of it is heard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.servers import eventually
from helpers.support import END, Memory
from lee_llm_router import (
    Capabilities,
    ChunkStream,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LLMTimeoutError,
    Provider,
    ProviderConfig,
    StreamChunk,
    register,
)


class GeneratorStream(ChunkStream):
    """The natural way to write one: a generator is pulled, and closed at the end."""

    def __init__(self, chunks: Iterator[StreamChunk], close_raises: bool = False) -> None:
        self._chunks = chunks
        self._close_raises = close_raises
        self.closed = threading.Event()
        self.trouble: BaseException | None = None

    def pull(self, timeout: float) -> StreamChunk | None:
        return next(self._chunks, None)

    def close(self) -> None:
        try:
            self._chunks.close()  # type: ignore[attr-defined]
        except BaseException as error:
            self.trouble = error
            raise
        finally:
            self.closed.set()
        if self._close_raises:
            raise OSError("cannot close")


class StreamProvider(Provider[ProviderConfig]):
    """Opens `streams` in order."""

    streams: list[ChunkStream]
    opened = 0

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise NotImplementedError

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        self.opened += 1
        return self.streams[self.opened - 1]

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return self.stream(request, timeout)


def _router(kind: type[Provider[Any]], **role: Any) -> tuple[LeeLLMRouter, Memory]:
    register("unbounded", kind, replace=True)
    memory = Memory()
    config = {"providers": {"p": {"type": "unbounded"}}, "roles": {"r": {"provider": "p", **role}}}
    return LeeLLMRouter({"llm": config}, trace_store=memory), memory


def _streaming(*streams: ChunkStream, bounded: bool = False, **role: Any) -> tuple[LeeLLMRouter, Memory]:
    members = {"streams": list(streams), "capabilities": Capabilities(bounded=bounded)}
    return _router(type("Streaming", (StreamProvider,), members), **role)


async def _read_async(router: LeeLLMRouter) -> list[StreamChunk]:
    return [chunk async for chunk in router.stream_async("r", "hi")]


def _read(router: LeeLLMRouter, way: str) -> list[StreamChunk]:
    return list(router.stream("r", "hi")) if way == "sync" else asyncio.run(_read_async(router))


WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@WAYS
def test_a_stream_that_hangs_is_a_timeout_and_closed_once_it_no_longer_hangs(way: str) -> None:
    """Closing it while another thread is still in its `pull` would raise, and make the timeout an unknown failure."""
    go_on = threading.Event()

    def chunks() -> Iterator[StreamChunk]:
        yield StreamChunk(text="x")
        go_on.wait(30)
        yield END

    stream = GeneratorStream(chunks())
    router, memory = _streaming(stream, stream={"idle_timeout": 0.05}, retry={"attempts": 1}, timeout=20)
    with pytest.raises(LLMTimeoutError) as raised:
        _read(router, way)
    assert "no further output within 0.05 s" in raised.value.message
    assert memory.records[0].failure_type == "TIMEOUT"
    assert not stream.closed.is_set()
    go_on.set()
    assert stream.closed.wait(30)
    assert eventually(lambda: stream.trouble is None)


@WAYS
@pytest.mark.parametrize("bounded", [True, False])
def test_a_stream_that_cannot_be_closed_has_given_its_answer_all_the_same(way: str, bounded: bool) -> None:
    stream = GeneratorStream(iter((StreamChunk(text="x"), END)), close_raises=True)
    stream._chunks = (chunk for chunk in (StreamChunk(text="x"), END))
    router, memory = _streaming(stream, bounded=bounded)
    assert [chunk.text for chunk in _read(router, way)] == ["x", ""]
    assert [record.outcome for record in memory.records] == ["ok"]
    assert stream.closed.is_set()


@WAYS
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("on_break", ["raise", "restart"])
def test_leaving_a_stream_that_cannot_be_closed_is_quiet(way: str, bounded: bool, on_break: str) -> None:
    """No error reaches the caller, no other attempt is made, and the record says that the caller left."""
    streams = [GeneratorStream((chunk for chunk in (StreamChunk(text="x"), END)), close_raises=True) for _ in range(2)]
    router, memory = _streaming(*streams, bounded=bounded, stream={"on_break": on_break})

    async def leave() -> None:
        stream = router.stream_async("r", "hi")
        await anext(stream)
        await stream.aclose()

    if way == "sync":
        with router.stream("r", "hi") as stream:
            next(stream)
    else:
        asyncio.run(leave())
    assert [record.outcome for record in memory.records] == ["cancelled"]
    assert streams[0].closed.is_set() and not streams[1].closed.is_set()


class HangingCloseStream(GeneratorStream):
    """Its `close` hangs until `go_on` is set."""

    go_on: threading.Event
    let_go: bool | None = None
    """How the hanging ended: by `go_on` (True), or because nobody set that for long."""

    def close(self) -> None:
        self.closed.set()
        self.let_go = self.go_on.wait(30)


@WAYS
def test_a_stream_whose_close_hangs_holds_nobody(way: str) -> None:
    stream = HangingCloseStream(chunk for chunk in (StreamChunk(text="x"), END))
    stream.go_on = threading.Event()
    router, memory = _streaming(stream)
    try:
        assert [chunk.text for chunk in _read(router, way)] == ["x", ""]
        assert memory.records[0].outcome == "ok" and stream.closed.is_set()
    finally:
        stream.go_on.set()
    assert eventually(lambda: stream.let_go is not None)
    assert stream.let_go


class LateProvider(StreamProvider):
    """Opens its stream late, whatever its timeout and a cancellation say."""

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        for _ in range(3):
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return self.stream(request, timeout)


@pytest.mark.parametrize("by", ["timeout", "cancelled"])
def test_an_async_stream_that_opens_after_its_attempt_was_given_up_is_closed(by: str) -> None:
    stream = GeneratorStream(chunk for chunk in (StreamChunk(text="x"), END))
    kind = type("Late", (LateProvider,), {"streams": [stream]})
    router, _ = _router(kind, timeout=0.02 if by == "timeout" else 20, retry={"attempts": 1})

    async def main() -> None:
        reading = asyncio.ensure_future(_read_async(router))
        if by == "cancelled":
            await asyncio.sleep(0.01)
            reading.cancel()
        with pytest.raises(LLMTimeoutError if by == "timeout" else asyncio.CancelledError):
            await reading
        for _ in range(200):
            if stream.closed.is_set():
                return
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert stream.closed.is_set()


class SlowToCloseStream(GeneratorStream):
    """A pull that hangs and can be cancelled; closing it takes a turn of the event loop."""

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        chunk = next(self._chunks)
        await asyncio.sleep(0 if chunk.text else 30)
        return chunk

    async def aclose(self) -> None:
        await asyncio.sleep(0.01)
        self.close()


@pytest.mark.parametrize("by", ["timeout", "cancelled"])
def test_a_hanging_async_stream_is_closed_before_the_event_loop_ends(by: str) -> None:
    stream = SlowToCloseStream(chunk for chunk in (StreamChunk(text="x"), StreamChunk()))
    idle = 0.02 if by == "timeout" else 30
    router, _ = _streaming(stream, stream={"idle_timeout": idle}, retry={"attempts": 1})

    async def main() -> None:
        reading = asyncio.ensure_future(_read_async(router))
        if by == "cancelled":
            await asyncio.sleep(0.02)
            reading.cancel()
        with pytest.raises(LLMTimeoutError if by == "timeout" else asyncio.CancelledError):
            await reading
        assert stream.closed.is_set()

    asyncio.run(main())


def test_where_no_thread_can_be_started_a_stream_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = GeneratorStream(chunk for chunk in (StreamChunk(text="x"), END))
    router, _ = _streaming(stream)

    def none_left(*_: object) -> None:
        raise BlockingIOError

    with router.stream("r", "hi") as reading:
        next(reading)
        monkeypatch.setattr("lee_llm_router.engine.abandoning.start_in_thread", none_left)
    assert stream.closed.is_set()


def test_closing_after_a_cancelled_pull_logs_no_text_of_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Such an error may hold a key, and the standard library would log it whole."""
    go_on = threading.Event()

    def chunks() -> Iterator[StreamChunk]:
        yield StreamChunk(text="x")
        go_on.wait(30)
        yield END

    stream = GeneratorStream(chunks(), close_raises=True)
    router, _ = _streaming(stream, bounded=True)

    async def main() -> None:
        reading = asyncio.ensure_future(_read_async(router))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(main())
    go_on.set()
    assert eventually(lambda: "closing a stream raised OSError" in caplog.text)
    assert "cannot close" not in caplog.text
