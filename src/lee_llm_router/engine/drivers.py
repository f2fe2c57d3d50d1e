"""Perform the steps of a call: one driver for threads, one for asyncio, each with a variant that yields chunks.

A driver decides nothing. It performs a step and sends back the result, or throws in the exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.in_context import await_in_context, bound_to
from lee_llm_router._util.outside_collection import outside_collection
from lee_llm_router._util.threads import call_in_thread, call_in_thread_async
from lee_llm_router._util.trampoline import run_steps, run_steps_async
from lee_llm_router.engine.abandoning import (
    AbandonableStream,
    aclose_or_drop,
    await_or_abandon,
    close_later,
)
from lee_llm_router.engine.plan import Attempt
from lee_llm_router.engine.steps import (
    AwaitStep,
    BeginStreamStep,
    CallStep,
    CallSteps,
    ContextStep,
    OpenStreamStep,
    QueueStep,
    RaceStep,
    ReadStreamStep,
    SleepStep,
    StartStep,
    WorkStep,
)
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.streams import ChunkStream, close_quietly
from lee_llm_router.response.types import LLMResponse, StreamChunk


class StreamState:
    """The state that a stream and the generator behind it share.

    Neither refers to the other, so that dropping a stream also drops its generator.
    """

    __slots__ = ("dropped", "response", "texts")

    def __init__(self) -> None:
        self.response: LLMResponse | None = None
        """The whole answer, once the stream has ended."""
        self.texts: Sequence[str] = ()
        """The pieces of the current answer's text."""
        self.dropped = False
        """Whether the stream was dropped, so that nobody awaits its generator any more."""


def drive(steps: CallSteps, clock: Clock) -> Any:
    """Run the `steps` of an unstreamed call in the calling thread; return its answer."""
    return run_steps(steps, lambda step: _perform(clock, step))


def drive_async(steps: CallSteps, clock: Clock) -> Coroutine[Any, Any, Any]:
    """Run the `steps` of an unstreamed call on the running event loop; return its answer."""
    return run_steps_async(steps, lambda step: _perform_async(clock, step))


def drive_stream(
    start: Callable[[], CallSteps], clock: Clock, state: StreamState
) -> Generator[StreamChunk, None, None]:
    """Start a streamed call and run its steps in the calling thread, yielding its chunks; put the answer in `state`."""
    steps = start()
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, ReadStreamStep):
                    state.texts = step.assembler.texts
                    result = yield from _read(step, clock)
                else:
                    result = _perform(clock, step)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        state.response = end.value


async def drive_stream_async(
    start: Callable[[], CallSteps], clock: Clock, state: StreamState
) -> AsyncGenerator[StreamChunk, None]:
    """Same as `drive_stream`, on the running event loop. If `state.dropped` is set, closing it awaits nothing."""
    need_asyncio()
    steps = start()
    try:
        step = next(steps)
        while True:
            result: Any
            try:
                if isinstance(step, ReadStreamStep):
                    # Written out, since an async generator has no `yield from`.
                    state.texts = step.assembler.texts
                    stream, loop = _bounded(step), asyncio.get_running_loop()
                    try:
                        for ready in step.ready:
                            yield ready
                        while (
                            chunk := _buffered_chunk(step, clock) or await _pull_async(step, stream, clock)
                        ) is not None:
                            for ready in step.assembler.add(chunk, clock.monotonic):
                                yield ready
                    finally:
                        await aclose_or_drop(stream, loop, dropped=state.dropped)
                    result = step.assembler.finish(stream.whole_raw())
                else:
                    result = await _perform_async(clock, step)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        state.response = end.value


def need_asyncio() -> None:
    """Refuse the event loop of another library before a call is planned, since every target would fail there.

    Raises:
        InvalidRequestError: asyncio is not running here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidRequestError(
            "asynchronous calls need asyncio, and no event loop of it is running here: under trio or curio, make the"
            " call without async, in a thread",
            sent=False,
        ) from None


def _perform(clock: Clock, step: CallStep) -> Any:
    if isinstance(step, Attempt):
        return _ask(step) if step.context is None else step.context.run(_ask, step)
    if isinstance(step, ContextStep):
        return step.context.run(_perform, clock, step.step)
    if not isinstance(step, OpenStreamStep):
        return _perform_own(clock, step)
    if step.provider.capabilities.bounded:
        return step.provider.stream(step.request, step.timeout)
    close = methodcaller("close")
    return call_in_thread(step.provider.stream, step.request, step.timeout, timeout=step.timeout, late=close)


def _ask(attempt: Attempt) -> Any:
    ask, timeout = attempt.operation.ask, attempt.timeout
    if attempt.provider.capabilities.bounded:
        return ask(attempt.provider, attempt.request, timeout)
    return call_in_thread(ask, attempt.provider, attempt.request, timeout, timeout=timeout)


def _perform_own(clock: Clock, step: CallStep) -> Any:
    """Perform a step that does not call a provider itself."""
    if isinstance(step, SleepStep):
        return clock.sleep(step.seconds)
    if isinstance(step, WorkStep):
        return step.work()
    if isinstance(step, QueueStep):
        return clock.wait(step.woken, step.seconds)
    assert isinstance(step, StartStep | AwaitStep | BeginStreamStep)  # noqa: S101 - the drivers read streams themselves
    return _perform_race(clock, step)


def _perform_async(clock: Clock, step: CallStep) -> Awaitable[Any]:
    # Neither this nor a completion's `ask_async` is a coroutine: the awaiting code would have to resume each in turn.
    if isinstance(step, Attempt):
        return _ask_async(step) if step.context is None else await_in_context(step.context, _awaited(_ask_async, step))
    if isinstance(step, ContextStep):
        return await_in_context(step.context, _awaited(_perform_async, clock, step.step))
    if not isinstance(step, OpenStreamStep):
        return _perform_own_async(clock, step)
    if step.provider.capabilities.bounded:
        return step.provider.stream_async(step.request, step.timeout)
    opened = _awaited(step.provider.stream_async, step.request, step.timeout)
    return await_or_abandon(opened, step.timeout, late=close_later)


def _ask_async(attempt: Attempt) -> Awaitable[Any]:
    ask, timeout = attempt.operation.ask_async, attempt.timeout
    if attempt.provider.capabilities.bounded:
        return ask(attempt.provider, attempt.request, timeout)
    return await_or_abandon(_awaited(ask, attempt.provider, attempt.request, timeout), timeout)


async def _awaited(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run all of `function` where it is awaited, including the code of a provider before its first `await`."""
    return await function(*args)


async def _perform_own_async(clock: Clock, step: CallStep) -> Any:
    if isinstance(step, SleepStep):
        return await clock.sleep_async(step.seconds)
    if isinstance(step, WorkStep):
        return await await_or_abandon(call_in_thread_async(step.work), step.seconds)
    if isinstance(step, QueueStep):
        return await clock.wait_async(step.woken, step.seconds)
    assert isinstance(step, StartStep | AwaitStep | BeginStreamStep)  # noqa: S101 - as in `_perform_own`
    return await _perform_race_async(clock, step)


def _perform_race(clock: Clock, step: RaceStep) -> Any:
    """Perform a step of concurrent attempts."""
    from lee_llm_router.engine.runners import (  # noqa: PLC0415 - most calls are not hedged
        FirstChunks,
        ThreadRunner,
        wait_for_one,
    )

    if isinstance(step, StartStep):
        return ThreadRunner(partial(_perform, clock, step.step), clock)
    if isinstance(step, AwaitStep):
        return wait_for_one(step.runners, step.seconds, clock)
    read = ReadStreamStep(_perform(clock, step.opening), step.assembler, step.bounded, step.context)
    stream, chunks = _bounded(read), FirstChunks()
    try:
        while not chunks.has_begun:
            chunks.add(_pull(read, stream, clock))
    except BaseException:
        close_quietly(stream)
        raise
    return chunks.of(stream)


async def _perform_race_async(clock: Clock, step: RaceStep) -> Any:
    """See `_perform_race`."""
    from lee_llm_router.engine.runners import FirstChunks, TaskRunner, wait_for_one_async  # noqa: PLC0415 - as above

    if isinstance(step, StartStep):
        return TaskRunner(_awaited(_perform_async, clock, step.step), clock)
    if isinstance(step, AwaitStep):
        return await wait_for_one_async(step.runners, step.seconds, clock)
    read = ReadStreamStep(await _perform_async(clock, step.opening), step.assembler, step.bounded, step.context)
    stream, chunks = _bounded(read), FirstChunks()
    try:
        while not chunks.has_begun:
            chunks.add(_buffered_chunk(read, clock) or await _pull_async(read, stream, clock))
    except BaseException:
        await aclose_or_drop(stream, asyncio.get_running_loop(), dropped=False)
        raise
    return chunks.of(stream)


def _bounded(step: ReadStreamStep) -> ChunkStream:
    return step.stream if step.bounded else AbandonableStream(step.stream)


def _read(step: ReadStreamStep, clock: Clock) -> Generator[StreamChunk, None, LLMResponse]:
    stream, assembler = _bounded(step), step.assembler
    try:
        yield from step.ready
        pull = bound_to(step.context, stream.pull)
        while True:
            left = assembler.time_left(clock.monotonic())
            try:
                chunk = pull(left)
            except TimeoutError as error:
                raise assembler.too_slow(left) from error
            if chunk is None:
                return assembler.finish(stream.whole_raw())
            yield from assembler.add(chunk, clock.monotonic)
    finally:
        outside_collection(close_quietly, stream)


def _pull(step: ReadStreamStep, stream: ChunkStream, clock: Clock) -> StreamChunk | None:
    left = step.assembler.time_left(clock.monotonic())
    try:
        return bound_to(step.context, stream.pull)(left)
    except TimeoutError as error:
        raise step.assembler.too_slow(left) from error


def _buffered_chunk(step: ReadStreamStep, clock: Clock) -> StreamChunk | None:
    """Return a buffered chunk without awaiting; deadlines still apply."""
    if not step.bounded:
        return None
    step.assembler.time_left(clock.monotonic())
    return step.stream.buffered()


async def _pull_async(step: ReadStreamStep, stream: ChunkStream, clock: Clock) -> StreamChunk | None:
    left = step.assembler.time_left(clock.monotonic())
    try:
        if step.context is not None:
            return await await_in_context(step.context, stream.pull_async(left))
        return await stream.pull_async(left)
    except TimeoutError as error:
        raise step.assembler.too_slow(left) from error
