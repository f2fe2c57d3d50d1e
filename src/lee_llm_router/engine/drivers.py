"""The steps of a call, and what performs them: one driver for threads, one for asyncio.

A driver decides nothing. It performs a step, sends back what came of it, or throws in what broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, TypeAlias, TypeVar

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import call_in_thread, start_in_thread
from lee_llm_router.engine.stream_assembler import Assembly
from lee_llm_router.providers.base import ChunkStream, Provider
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk

T = TypeVar("T")

_CLOSE_SECONDS = 1.0
"""How long closing the stream of a provider that holds no timeouts may keep the caller waiting."""


@dataclass(slots=True)
class Call:
    """Step: ask `provider`, for at most `timeout` seconds; send back the `LLMResponse`."""

    provider: Provider[Any]
    request: LLMRequest
    timeout: float


@dataclass(slots=True)
class Open:
    """Step: ask `provider` for a stream, for at most `timeout` seconds; send back the `ChunkStream`."""

    provider: Provider[Any]
    request: LLMRequest
    timeout: float


@dataclass(slots=True)
class Pump:
    """Step: hand the pieces of `stream` to the caller; send back the whole `LLMResponse`. Closes the stream."""

    stream: ChunkStream
    assembly: Assembly
    bounded: bool
    """Whether `stream` holds its timeouts itself."""


@dataclass(slots=True)
class Sleep:
    """Step: let `seconds` pass."""

    seconds: float


@dataclass(slots=True)
class Wait:
    """Step: let time pass until `woken` is done, `seconds` at the most."""

    woken: Future[None]
    seconds: float


Step: TypeAlias = Call | Open | Pump | Sleep | Wait
Steps: TypeAlias = Generator[Step, Any, LLMResponse]


def drive(steps: Steps, clock: Clock) -> LLMResponse:
    """Run the `steps` of an unstreamed call in the calling thread."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Call) and step.provider.capabilities.bounded:
                    result = step.provider.complete(step.request, step.timeout)
                else:
                    result = _perform(step, clock)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        response: LLMResponse = done.value
        return response


async def drive_async(steps: Steps, clock: Clock) -> LLMResponse:
    """Run the `steps` of an unstreamed call on the running event loop."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Call) and step.provider.capabilities.bounded:
                    result = await step.provider.complete_async(step.request, step.timeout)
                else:
                    result = await _perform_async(step, clock)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        response: LLMResponse = done.value
        return response


def drive_stream(
    start: Callable[[], Steps], clock: Clock, finished: Callable[[LLMResponse], None]
) -> Generator[StreamChunk, None, None]:
    """Start a streamed call and run its steps in the calling thread, yielding its pieces; then tell `finished`."""
    steps = start()
    try:
        step = next(steps)
        while True:
            try:
                result = (yield from _pump(step, clock)) if isinstance(step, Pump) else _perform(step, clock)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        finished(done.value)


async def drive_stream_async(
    start: Callable[[], Steps], clock: Clock, finished: Callable[[LLMResponse], None]
) -> AsyncGenerator[StreamChunk, None]:
    """Start a streamed call and run its steps on the running event loop, yielding its pieces; then tell `finished`."""
    steps = start()
    try:
        step = next(steps)
        while True:
            result: Any
            try:
                if isinstance(step, Pump):
                    stream = step.stream if step.bounded else AbandonableStream(step.stream)
                    try:
                        while (chunk := _here(step, clock) or await _pull_async(step, stream, clock)) is not None:
                            for ready in step.assembly.feed(chunk, clock.monotonic):
                                yield ready
                    finally:
                        await aclose_quietly(stream)
                    result = step.assembly.finish()
                else:
                    result = await _perform_async(step, clock)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        finished(done.value)


def _perform(step: Step, clock: Clock) -> Any:
    if isinstance(step, Sleep):
        return clock.sleep(step.seconds)
    if isinstance(step, Wait):
        return clock.wait(step.woken, step.seconds)
    assert not isinstance(step, Pump)  # noqa: S101 - only the streaming drivers are asked for one
    ask: Callable[..., Any] = step.provider.stream if isinstance(step, Open) else step.provider.complete
    if step.provider.capabilities.bounded:
        return ask(step.request, step.timeout)
    late = methodcaller("close") if isinstance(step, Open) else None
    return call_in_thread(ask, step.request, step.timeout, timeout=step.timeout, late=late)


async def _perform_async(step: Step, clock: Clock) -> Any:
    if isinstance(step, Sleep):
        return await clock.sleep_async(step.seconds)
    if isinstance(step, Wait):
        return await clock.wait_async(step.woken, step.seconds)
    assert not isinstance(step, Pump)  # noqa: S101 - only the streaming drivers are asked for one
    ask: Callable[..., Awaitable[Any]] = (
        step.provider.stream_async if isinstance(step, Open) else step.provider.complete_async
    )
    answer = ask(step.request, step.timeout)
    if step.provider.capabilities.bounded:
        return await answer
    return await _abandonable(answer, step.timeout, late=_close_later if isinstance(step, Open) else None)


def _pump(step: Pump, clock: Clock) -> Generator[StreamChunk, None, LLMResponse]:
    stream, assembly = step.stream if step.bounded else AbandonableStream(step.stream), step.assembly
    try:
        while True:
            wait = assembly.wait(clock.monotonic())
            try:
                chunk = stream.pull(wait)
            except TimeoutError as error:
                raise assembly.too_slow(wait) from error
            if chunk is None:
                return assembly.finish()
            yield from assembly.feed(chunk, clock.monotonic)
    finally:
        close_quietly(stream)


def _here(step: Pump, clock: Clock) -> StreamChunk | None:
    """A piece that needs no waiting for; the bounds hold for it all the same."""
    if not step.bounded:
        return None
    step.assembly.wait(clock.monotonic())
    return step.stream.ready()


async def _pull_async(step: Pump, stream: ChunkStream, clock: Clock) -> StreamChunk | None:
    wait = step.assembly.wait(clock.monotonic())
    try:
        return await stream.pull_async(wait)
    except TimeoutError as error:
        raise step.assembly.too_slow(wait) from error


async def _abandonable(work: Awaitable[T], timeout: float, late: Callable[[T], object] | None = None) -> T:
    """Await `work` for `timeout` seconds; then walk away from it, even if it will not be cancelled.

    Args:
        work: What to await.
        timeout: Seconds.
        late: Called with a result that comes when nobody waits for it any more.

    Raises:
        TimeoutError: it did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if task.cancelled() or not task.done():
            raise TimeoutError
    except BaseException:
        task.cancel()

        def hand_over(ended: asyncio.Future[T]) -> None:
            # Its errors are deliberately ignored, and so is its result, unless it has to be given back.
            if not ended.cancelled() and ended.exception() is None and late is not None:
                late(ended.result())

        task.add_done_callback(hand_over)
        raise
    return task.result()


class AbandonableStream(ChunkStream):
    """A stream of a provider that does not hold its timeouts, bounded from outside: a pull that hangs is left behind.

    `inner` is closed when no pull is inside it any more, for its `close` is promised to come after the last one.
    """

    def __init__(self, inner: ChunkStream) -> None:
        self._inner = inner
        self._pull: Future[StreamChunk | None] | asyncio.Future[StreamChunk | None] | None = None

    def pull(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull`, and for `timeout` seconds at the most."""
        self._pull = future = start_in_thread(self._inner.pull, timeout)
        return future.result(timeout)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`."""
        self._pull = task = asyncio.ensure_future(self._inner.pull_async(timeout))
        return await _abandonable(task, timeout)

    def close(self) -> None:
        """Close `inner`, in a thread of its own, now or when the pull left behind has ended."""
        if self._pull is not None and not self._pull.done():
            self._pull.add_done_callback(lambda _: close_quietly(self._inner))
        else:
            call_in_thread(self._inner.close, timeout=_CLOSE_SECONDS)

    async def aclose(self) -> None:
        """As `close`."""
        if self._pull is not None and not self._pull.done():
            self._pull.add_done_callback(lambda _: _close_later(self._inner))
        else:
            await _abandonable(self._inner.aclose(), _CLOSE_SECONDS)


def close_quietly(stream: ChunkStream) -> None:
    """Close `stream`. What that raises is logged: the answer, or what broke it, is already known."""
    try:
        stream.close()
    except Exception as error:  # noqa: BLE001 - see above
        _note_unclosed(error)


async def aclose_quietly(stream: ChunkStream) -> None:
    """As `close_quietly`, for a stream that was opened with `stream_async`."""
    try:
        await stream.aclose()
    except Exception as error:  # noqa: BLE001 - as there
        _note_unclosed(error)


def _close_later(stream: ChunkStream) -> None:
    """Close `stream` in a task of the running event loop, which nobody waits for."""
    task = asyncio.ensure_future(aclose_quietly(stream))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
"""The event loop itself holds tasks only weakly."""


def _note_unclosed(error: Exception) -> None:
    # Without the words of the error, which may hold a key.
    logger.warning("closing a stream raised %s", type(error).__name__)
