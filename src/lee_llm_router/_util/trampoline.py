"""Runs a generator that decides, by a function that performs: the one loop of that kind, for threads and for asyncio.

A generator yields steps. Each is performed, and what came of it is sent back in, or what broke is thrown in; what the
generator returns is the result. So the decisions of a call, of an exchange or of a script stand once, and run in a
thread as well as on an event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

StepT = TypeVar("StepT")
ResultT = TypeVar("ResultT")


def run_steps(steps: Generator[StepT, Any, ResultT], perform: Callable[[StepT], Any]) -> ResultT:
    """Run `steps` in the calling thread, each by ``perform(step)``; return their result."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = perform(step)
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as end:
        result: ResultT = end.value
        return result


async def run_steps_async(
    steps: Generator[StepT, Any, ResultT], perform: Callable[[StepT], Awaitable[Any] | None]
) -> ResultT:
    """Run `steps` on the running event loop, each by ``await perform(step)``; return their result.

    `perform` returns None for a step that is done at once and has no result.
    """
    try:
        step = next(steps)
        while True:
            try:
                pending = perform(step)
                outcome = None if pending is None else await pending
            except BaseException as error:  # noqa: BLE001 - the steps decide about all of them
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as end:
        result: ResultT = end.value
        return result
