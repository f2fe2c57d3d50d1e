"""Runs a generator that decides, with a function that performs: the only loop of that kind, for threads and asyncio.

A generator yields steps. Each step is performed, and its result is sent back in, or its error thrown in; the
generator's return value is the result. So the decisions of a call, an exchange or a script are written once, and run in
a thread as well as on an event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

StepT = TypeVar("StepT")
ResultT = TypeVar("ResultT")


def run_steps(steps: Generator[StepT, Any, ResultT], perform: Callable[[StepT], Any]) -> ResultT:
    """Run `steps` in the calling thread, each with ``perform(step)``; return their result."""
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
    """Run `steps` on the running event loop, each with ``await perform(step)``; return their result.

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
