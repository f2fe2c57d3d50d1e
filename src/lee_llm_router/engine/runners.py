"""Concurrent attempts, each in its own thread or task, until they end or are ended.

Ending an attempt blocks nobody. A task is cancelled. In a thread, the attempt's wait is interrupted
(`_util/interruption.py`): over HTTP its connection is closed at once. An attempt that cannot be interrupted is left
behind: a late result is discarded, and a stream is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Protocol

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.interruption import Interruption
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.engine.abandoning import close_unawaited
from lee_llm_router.providers.streams import ChunkStream, close_quietly
from lee_llm_router.response.types import StreamChunk

runs_beside: ContextVar[bool] = ContextVar("lee_llm_router_runs_beside", default=False)
"""Whether the running code is a concurrent attempt of a call that waits for it; for test clocks."""
_MOST_HELD = 1000
"""The most chunks without output that are held of a stream; a stream with more counts as begun."""


@dataclass(slots=True)
class BegunStream:
    """A stream that was read to its first output, or to its end if it had none."""

    stream: ChunkStream
    """Bounded, whatever its provider does."""
    chunks: Sequence[StreamChunk]
    """The chunks read."""
    has_ended: bool
    """Whether they are the whole stream."""


class FirstChunks:
    """The chunks of a stream up to its first output, or to its end."""

    def __init__(self) -> None:
        self._chunks: list[StreamChunk] = []
        self._has_ended = False
        self.has_begun = False
        """Whether there was output, or the end."""

    def add(self, chunk: StreamChunk | None) -> None:
        """Add the next chunk; None is the end."""
        if chunk is None:
            self._has_ended = self.has_begun = True
            return
        self._chunks.append(chunk)
        # The assembler refuses invalid chunks.
        self.has_begun = len(self._chunks) >= _MOST_HELD or not isinstance(chunk, StreamChunk) or chunk.is_output

    def of(self, stream: ChunkStream) -> BegunStream:
        """Return the chunks with their `stream`."""
        return BegunStream(stream, self._chunks, self._has_ended)


class SpentStream(ChunkStream):
    """A stream that has reported its end and must not be pulled again."""

    def __init__(self, inner: ChunkStream) -> None:
        self._inner = inner

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - nothing to wait for
        """Return None."""
        return None

    async def pull_async(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - as above
        """Return None."""
        return None

    def whole_raw(self) -> Any:
        """See `ChunkStream.whole_raw`."""
        return self._inner.whole_raw()

    def close(self) -> None:
        """See `ChunkStream.close`."""
        self._inner.close()

    async def aclose(self) -> None:
        """See `ChunkStream.aclose`."""
        await self._inner.aclose()


class Runner(Protocol):
    """One running attempt."""

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        ...

    def outcome(self) -> Any:
        """Return its result, once it has ended, or raise its exception."""
        ...

    def end(self) -> None:
        """End it at once, without waiting. Its result is discarded. May be called from any thread."""
        ...

    def wake(self, waiter: Future[None]) -> None:
        """Set `waiter` when it has ended."""
        ...


class EndedRunner:
    """An attempt that was made where nothing could run concurrently, or that could not be started.

    Args:
        answer: Its result.
        error: Its exception, if there was one.
    """

    ended = True

    def __init__(self, answer: Any, error: Exception | None = None) -> None:
        self._answer = answer
        self._error = error

    def outcome(self) -> Any:
        """See `Runner.outcome`."""
        if self._error is not None:
            raise self._error
        return self._answer

    def end(self) -> None:
        """See `Runner.end`."""
        if isinstance(self._answer, BegunStream):
            close_quietly(self._answer.stream)

    def wake(self, waiter: Future[None]) -> None:
        """See `Runner.wake`."""
        _set(waiter)


class ThreadRunner:
    """Runs `work` in its own thread, in a copy of the caller's context.

    Raises:
        BlockingIOError: no thread can be started.
    """

    def __init__(self, work: Callable[[], Any], clock: Clock) -> None:
        self._interruption = Interruption()
        release = _hold(clock)
        try:
            self._future = start_in_thread(self._interruption.run, partial(_beside, work))
        except BaseException:
            release()
            raise
        self._future.add_done_callback(lambda _: release())

    @property
    def ended(self) -> bool:
        """See `Runner.ended`."""
        return self._future.done()

    def outcome(self) -> Any:
        """See `Runner.outcome`."""
        return self._future.result()

    def end(self) -> None:
        """See `Runner.end`."""
        self._interruption.interrupt()
        self._future.add_done_callback(_close_stream)

    def wake(self, waiter: Future[None]) -> None:
        """See `Runner.wake`."""
        self._future.add_done_callback(lambda _: _set(waiter))


class TaskRunner:
    """Runs `work` in its own task on the running event loop."""

    def __init__(self, work: Coroutine[Any, Any, Any], clock: Clock) -> None:
        release = _hold(clock)
        self._loop = asyncio.get_running_loop()
        context = copy_context()
        context.run(runs_beside.set, True)
        self._task = self._loop.create_task(work, context=context)
        self._task.add_done_callback(lambda _: release())

    @property
    def ended(self) -> bool:
        """See `Runner.ended`."""
        return self._task.done()

    def outcome(self) -> Any:
        """See `Runner.outcome`."""
        return self._task.result()

    def end(self) -> None:
        """See `Runner.end`."""
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            with suppress(RuntimeError):  # the loop is closed, and with it everything that ran on it
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._task.cancel()
        self._task.add_done_callback(lambda task: _close_stream(task, self._loop))

    def wake(self, waiter: Future[None]) -> None:
        """See `Runner.wake`."""
        self._task.add_done_callback(lambda _: _set(waiter))


def wait_for_one(runners: Sequence[Runner], seconds: float, clock: Clock) -> None:
    """Block the calling thread until one of `runners` has ended, for at most `seconds`."""
    clock.wait(_waiter_of(runners), seconds)


async def wait_for_one_async(runners: Sequence[Runner], seconds: float, clock: Clock) -> None:
    """Same as `wait_for_one`, for the running task."""
    await clock.wait_async(_waiter_of(runners), seconds)


def _waiter_of(runners: Sequence[Runner]) -> Future[None]:
    waiter: Future[None] = Future()
    for runner in runners:
        runner.wake(waiter)
    return waiter


def _set(waiter: Future[None]) -> None:
    with suppress(InvalidStateError):  # another one has ended, too
        waiter.set_result(None)


def _close_stream(ended: Future[Any] | asyncio.Future[Any], loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Close the stream returned by ended work. Its errors are deliberately ignored."""
    if ended.cancelled() or ended.exception() is not None:
        return
    begun = ended.result()
    if isinstance(begun, BegunStream):
        if loop is None:
            close_quietly(begun.stream)
        else:
            close_unawaited(begun.stream, loop)


def _hold(clock: Clock) -> Callable[[], object]:
    """Tell a test clock that concurrent work begins; return the function that tells it that the work has ended."""
    hold = getattr(clock, "hold", None)
    if hold is None:
        return _nothing
    hold()
    release: Callable[[], object] = clock.release  # type: ignore[attr-defined]
    return release


def _beside(work: Callable[[], Any]) -> Any:
    runs_beside.set(True)
    return work()


def _nothing() -> None:
    return
