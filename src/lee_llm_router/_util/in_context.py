"""Runs and awaits work in its own context (`contextvars`), without its own task.

A task would cost more, and would not share the cancellation and the time limits of the task that awaits it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")

ParametersT = ParamSpec("ParametersT")


def bound_to(context: Context | None, function: Callable[ParametersT, T]) -> Callable[ParametersT, T]:
    """Return a function that calls `function` in `context`; `function` itself for None."""
    if context is None:
        return function

    def call(*args: ParametersT.args, **options: ParametersT.kwargs) -> T:
        return context.run(function, *args, **options)

    return call


@coroutine
def await_in_context(context: Context, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await `work`, each step of it in `context`; nobody else sees what it sets there."""
    resume: Callable[[Any], Any] = work.send
    value: Any = None
    try:
        while True:
            try:
                awaited = context.run(resume, value)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                value = yield awaited
                resume = work.send
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - a cancellation, say: the work decides about it
                resume, value = work.throw, error
    finally:
        context.run(work.close)
