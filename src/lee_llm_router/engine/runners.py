"""Attempts that run beside each other, each in a thread or a task of its own, until they have ended or are ended.

To end an attempt keeps nobody waiting. A task is cancelled. In a thread, what the attempt waits for is interrupted
(`_util/interruption.py`): over HTTP its connection is closed at once. An attempt that cannot be interrupted is left
behind. What comes of it after all is thrown away, and a stream is closed.
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
"""Whether what runs here is an attempt beside the call that waits for it; for clocks of tests."""
_MOST_HELD = 1000
"""Chunks without output that are kept of a stream: one with more has begun to answer, in its way."""


@dataclass(slots=True)
class BegunStream:
    """A stream that was read to its first output, or to its end if it had none."""

    stream: ChunkStream
    """Bounded, whatever its provider does."""
    chunks: Sequence[StreamChunk]
    """What was read."""
    has_ended: bool
    """Whether that is all of it."""


class FirstChunks:
    """The chunks of a stream up to its first output, or to its end."""

    def __init__(self) -> None:
        self._chunks: list[StreamChunk] = []
        self._has_ended = False
        self.has_begun = False
        """Whether there was output, or the end."""

    def add(self, chunk: StreamChunk | None) -> None:
        """Take the next chunk; None is the end."""
        if chunk is None:
            self._has_ended = self.has_begun = True
            return
        self._chunks.append(chunk)
        # What is no chunk is for the assembler to refuse.
        self.has_begun = len(self._chunks) >= _MOST_HELD or not isinstance(chunk, StreamChunk) or chunk.is_output

    def of(self, stream: ChunkStream) -> BegunStream:
        """Return them with the `stream` that they are of."""
        return BegunStream(stream, self._chunks, self._has_ended)


class SpentStream(ChunkStream):
    """A stream that has said its end: it is not asked again."""

    def __init__(self, inner: ChunkStream) -> None:
        self._inner = inner

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - nothing to wait for
        """Return None."""
        return None

    async def pull_async(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - as above
        """Return None."""
        return None

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return self._inner.whole_raw()

    def close(self) -> None:
        """As `ChunkStream.close`."""
        self._inner.close()

    async def aclose(self) -> None:
        """As `ChunkStream.aclose`."""
        await self._inner.aclose()


class Runner(Protocol):
    """One attempt under way."""

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        ...

    def outcome(self) -> Any:
        """Return what came of it, once it has ended, or raise what broke."""
        ...

    def end(self) -> None:
        """End it at once, without waiting. What comes of it is thrown away. May be called from any thread."""
        ...

    def wake(self, waiter: Future[None]) -> None:
        """Set `waiter` when it has ended."""
        ...


class EndedRunner:
    """An attempt that was made where nothing else could run beside it, or that could not be started.

    Args:
        answer: What came of it.
        error: What broke, if something did.
    """

    ended = True

    def __init__(self, answer: Any, error: Exception | None = None) -> None:
        self._answer = answer
        self._error = error

    def outcome(self) -> Any:
        """As `Runner.outcome`."""
        if self._error is not None:
            raise self._error
        return self._answer

    def end(self) -> None:
        """As `Runner.end`."""
        if isinstance(self._answer, BegunStream):
            close_quietly(self._answer.stream)

    def wake(self, waiter: Future[None]) -> None:
        """As `Runner.wake`."""
        _set(waiter)


class ThreadRunner:
    """Does `work` in a thread of its own, in a copy of the caller's context.

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
        """As `Runner.ended`."""
        return self._future.done()

    def outcome(self) -> Any:
        """As `Runner.outcome`."""
        return self._future.result()

    def end(self) -> None:
        """As `Runner.end`."""
        self._interruption.interrupt()
        self._future.add_done_callback(_close_stream)

    def wake(self, waiter: Future[None]) -> None:
        """As `Runner.wake`."""
        self._future.add_done_callback(lambda _: _set(waiter))


class TaskRunner:
    """Does `work` in a task of the running event loop."""

    def __init__(self, work: Coroutine[Any, Any, Any], clock: Clock) -> None:
        release = _hold(clock)
        self._loop = asyncio.get_running_loop()
        context = copy_context()
        context.run(runs_beside.set, True)
        self._task = self._loop.create_task(work, context=context)
        self._task.add_done_callback(lambda _: release())

    @property
    def ended(self) -> bool:
        """As `Runner.ended`."""
        return self._task.done()

    def outcome(self) -> Any:
        """As `Runner.outcome`."""
        return self._task.result()

    def end(self) -> None:
        """As `Runner.end`."""
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            with suppress(RuntimeError):  # the loop was closed, and with it what ran there
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._task.cancel()
        self._task.add_done_callback(lambda task: _close_stream(task, self._loop))

    def wake(self, waiter: Future[None]) -> None:
        """As `Runner.wake`."""
        self._task.add_done_callback(lambda _: _set(waiter))


def wait_for_one(runners: Sequence[Runner], seconds: float, clock: Clock) -> None:
    """Block the calling thread until one of `runners` has ended, for at most `seconds`."""
    clock.wait(_waiter_of(runners), seconds)


async def wait_for_one_async(runners: Sequence[Runner], seconds: float, clock: Clock) -> None:
    """As `wait_for_one`, for the running task."""
    await clock.wait_async(_waiter_of(runners), seconds)


def _waiter_of(runners: Sequence[Runner]) -> Future[None]:
    waiter: Future[None] = Future()
    for runner in runners:
        runner.wake(waiter)
    return waiter


def _set(waiter: Future[None]) -> None:
    with suppress(InvalidStateError):  # another has ended, too
        waiter.set_result(None)


def _close_stream(ended: Future[Any] | asyncio.Future[Any], loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Close the stream that came of work which was ended. Its errors are deliberately ignored."""
    if ended.cancelled() or ended.exception() is not None:
        return
    begun = ended.result()
    if isinstance(begun, BegunStream):
        if loop is None:
            close_quietly(begun.stream)
        else:
            close_unawaited(begun.stream, loop)


def _hold(clock: Clock) -> Callable[[], object]:
    """Tell a clock of tests that work begins beside its caller; return what tells it that the work has ended."""
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
