"""The steps of a call, and what performs them: one driver for threads, one for asyncio.

A driver decides nothing. It performs a step, sends back what came of it, or throws in what broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import aclosing, closing
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, TypeAlias, TypeVar

from lee_llm_router._assembly import Assembly
from lee_llm_router._clock import Clock
from lee_llm_router._threads import call_in_thread
from lee_llm_router.providers.base import ChunkStream, Provider
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk

T = TypeVar("T")


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
                    async with aclosing(step.stream):
                        while (chunk := _here(step, clock) or await _pull_async(step, clock)) is not None:
                            for ready in step.assembly.feed(chunk, clock.monotonic):
                                yield ready
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
    return await (answer if step.provider.capabilities.bounded else _abandonable(answer, step.timeout))


def _pump(step: Pump, clock: Clock) -> Generator[StreamChunk, None, LLMResponse]:
    stream, assembly = step.stream, step.assembly
    with closing(stream):
        while True:
            wait = assembly.wait(clock.monotonic())
            chunk = stream.pull(wait) if step.bounded else call_in_thread(stream.pull, wait, timeout=wait)
            if chunk is None:
                return assembly.finish()
            yield from assembly.feed(chunk, clock.monotonic)


def _here(step: Pump, clock: Clock) -> StreamChunk | None:
    """A piece that needs no waiting for; the bounds hold for it all the same."""
    if not step.bounded:
        return None
    step.assembly.wait(clock.monotonic())
    return step.stream.ready()


def _pull_async(step: Pump, clock: Clock) -> Awaitable[StreamChunk | None]:
    wait = step.assembly.wait(clock.monotonic())
    pulled = step.stream.pull_async(wait)
    return pulled if step.bounded else _abandonable(pulled, wait)


async def _abandonable(work: Awaitable[T], timeout: float) -> T:
    """Await `work` for `timeout` seconds; then walk away from it, even if it will not be cancelled.

    Raises:
        TimeoutError: it did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        if not task.done():
            # Whatever it still does or raises is nobody's business any more.
            task.cancel()
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
    if task.cancelled() or not task.done():
        raise TimeoutError
    return task.result()
