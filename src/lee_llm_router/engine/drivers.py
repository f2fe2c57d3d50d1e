"""Perform the steps of a call: one driver for threads, one for asyncio, each with a variant that yields chunks.

A driver decides nothing. It performs a step, sends back what came of it, or throws in what broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
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
from lee_llm_router.engine.steps import (
    AskStep,
    CallStep,
    CallSteps,
    ContextStep,
    OpenStreamStep,
    QueueStep,
    ReadStreamStep,
    SleepStep,
    WorkStep,
)
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.streams import ChunkStream, close_quietly
from lee_llm_router.response import LLMResponse, StreamChunk


class StreamState:
    """What a stream and the generator behind it share.

    Neither refers to the other, so that a stream takes its generator along when it is dropped.
    """

    __slots__ = ("dropped", "response", "texts")

    def __init__(self) -> None:
        self.response: LLMResponse | None = None
        """The whole answer, once the stream has ended."""
        self.texts: Sequence[str] = ()
        """The pieces of the text of the answer that comes in."""
        self.dropped = False
        """Whether the stream was dropped: nobody awaits what its generator does now."""


def drive(steps: CallSteps, clock: Clock) -> Any:
    """Run the `steps` of an unstreamed call in the calling thread; return its answer."""
    return run_steps(steps, partial(_perform, clock))


async def drive_async(steps: CallSteps, clock: Clock) -> Any:
    """Run the `steps` of an unstreamed call on the running event loop; return its answer."""
    return await run_steps_async(steps, partial(_perform_async, clock))


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
    """As `drive_stream`, on the running event loop. Once `state` says `dropped`, closing it awaits nothing."""
    need_asyncio()
    steps = start()
    try:
        step = next(steps)
        while True:
            result: Any
            try:
                if isinstance(step, ReadStreamStep):
                    # Written out here, since an async generator has no `yield from`.
                    state.texts = step.assembler.texts
                    stream, loop = _bounded(step), asyncio.get_running_loop()
                    try:
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
    """Refuse the event loop of another library, before a call is planned that would fail there target by target.

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
    if isinstance(step, AskStep):
        if step.provider.capabilities.bounded:
            return step.operation.ask(step.provider, step.request, step.timeout)
        return call_in_thread(step.operation.ask, step.provider, step.request, step.timeout, timeout=step.timeout)
    if isinstance(step, SleepStep | QueueStep | WorkStep):
        return _perform_own(clock, step)
    if isinstance(step, ContextStep):
        return step.context.run(_perform, clock, step.step)
    assert isinstance(step, OpenStreamStep)  # noqa: S101 - only the streaming drivers are asked to read a stream
    if step.provider.capabilities.bounded:
        return step.provider.stream(step.request, step.timeout)
    close = methodcaller("close")
    return call_in_thread(step.provider.stream, step.request, step.timeout, timeout=step.timeout, late=close)


def _perform_own(clock: Clock, step: SleepStep | QueueStep | WorkStep) -> Any:
    """Perform a step that asks no provider."""
    if isinstance(step, SleepStep):
        return clock.sleep(step.seconds)
    return step.work() if isinstance(step, WorkStep) else clock.wait(step.woken, step.seconds)


async def _perform_async(clock: Clock, step: CallStep) -> Any:
    if isinstance(step, AskStep):
        answer = step.operation.ask_async(step.provider, step.request, step.timeout)
        return await (answer if step.provider.capabilities.bounded else await_or_abandon(answer, step.timeout))
    if isinstance(step, SleepStep | QueueStep | WorkStep):
        return await _perform_own_async(clock, step)
    if isinstance(step, ContextStep):
        return await await_in_context(step.context, _perform_async(clock, step.step))
    assert isinstance(step, OpenStreamStep)  # noqa: S101 - only the streaming drivers are asked to read a stream
    opened = step.provider.stream_async(step.request, step.timeout)
    if step.provider.capabilities.bounded:
        return await opened
    return await await_or_abandon(opened, step.timeout, late=close_later)


async def _perform_own_async(clock: Clock, step: SleepStep | QueueStep | WorkStep) -> Any:
    if isinstance(step, SleepStep):
        return await clock.sleep_async(step.seconds)
    if isinstance(step, WorkStep):
        return await await_or_abandon(call_in_thread_async(step.work), step.seconds)
    return await clock.wait_async(step.woken, step.seconds)


def _bounded(step: ReadStreamStep) -> ChunkStream:
    return step.stream if step.bounded else AbandonableStream(step.stream)


def _read(step: ReadStreamStep, clock: Clock) -> Generator[StreamChunk, None, LLMResponse]:
    stream, assembler = _bounded(step), step.assembler
    pull = bound_to(step.context, stream.pull)
    try:
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
