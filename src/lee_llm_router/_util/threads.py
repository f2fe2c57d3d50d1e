"""Calls in threads that can be abandoned.

An executor does not work for this: the interpreter and `asyncio.run` wait for its threads before they end, so one
hanging call would keep the whole program from ending. These are daemon threads, one for each call.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from lee_llm_router._util.short_waits import outcome

T = TypeVar("T")


def start_in_thread(function: Callable[..., T], *args: Any) -> Future[T]:
    """Start `function(*args)` in a daemon thread, in a copy of the caller's context; return the future of its result.

    Raises:
        BlockingIOError: no thread can start.
    """
    future: Future[T] = Future()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function, *args)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    thread = threading.Thread(target=work, name=f"lee-llm-router-{getattr(function, '__name__', 'call')}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, "no thread can be started") from error
    return future


def call_in_thread(
    function: Callable[..., T], *args: Any, timeout: float, late: Callable[[T], object] | None = None
) -> T:
    """Call `function(*args)` in a thread, and return its result. Abandon the thread after `timeout` seconds.

    Args:
        function: The function to call.
        args: Its arguments.
        timeout: Seconds to wait.
        late: Called with a result that comes after the thread was abandoned, to dispose of it.

    Raises:
        TimeoutError: the function did not end in time.
    """
    future = start_in_thread(function, *args)
    try:
        return outcome(future, timeout)
    except BaseException:
        if late is not None:
            future.add_done_callback(lambda ended: _dispose(ended, late))
        raise


def _dispose(ended: Future[T], late: Callable[[T], object]) -> None:
    # Errors are deliberately ignored: the caller has left.
    with suppress(Exception):
        if ended.exception() is None:
            late(ended.result())


async def call_in_thread_async(function: Callable[..., T], *args: Any) -> T:
    """Call `function(*args)` in a thread, and return its result. A cancellation abandons the thread at once."""
    return await awaitable(start_in_thread(function, *args))


def awaitable(future: Future[T]) -> asyncio.Future[T]:
    """Return an asyncio future that completes when `future` does. Cancelling it does not cancel `future`."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[T] = loop.create_future()

    def copy_outcome() -> None:
        if waiter.done():
            return
        error = future.exception()
        if error is None:
            waiter.set_result(future.result())
        elif isinstance(error, StopIteration):
            # asyncio does not allow this exception in a future.
            waiter.set_exception(RuntimeError("StopIteration raised in a thread"))
        else:
            waiter.set_exception(error)

    def on_done(_: Future[T]) -> None:
        # RuntimeError: the loop was closed before the abandoned thread ended.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(copy_outcome)

    future.add_done_callback(on_done)
    return waiter
