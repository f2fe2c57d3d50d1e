"""Calls in threads that may be walked away from.

A plain executor will not do: its threads are waited for when the interpreter or the event loop ends, so one hanging
call would hold the whole program. These are daemon threads, one a call.
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

T = TypeVar("T")


def start_in_thread(function: Callable[..., T], *args: Any) -> Future[T]:
    """Start `function(*args)` in a daemon thread, in a copy of the caller's context.

    Raises:
        BlockingIOError: the process may have no more threads.
    """
    future: Future[T] = Future()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function, *args)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
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
    """Wait at most `timeout` seconds for `function(*args)`; then leave it behind.

    Args:
        function: What to call.
        args: With what.
        timeout: Seconds.
        late: Called with a result that comes when nobody waits for it any more.

    Raises:
        TimeoutError: it did not end in time.
    """
    future = start_in_thread(function, *args)
    try:
        return future.result(timeout)
    except BaseException:
        if late is not None:
            future.add_done_callback(lambda ended: _hand_over(ended, late))
        raise


def _hand_over(ended: Future[T], late: Callable[[T], object]) -> None:
    # Whatever goes wrong here is nobody's business any more.
    with suppress(Exception):
        if ended.exception() is None:
            late(ended.result())


async def call_in_thread_async(function: Callable[..., T], *args: Any) -> T:
    """Await `function(*args)` in a thread. A cancellation takes effect at once and leaves the thread behind."""
    return await awaitable(start_in_thread(function, *args))


def awaitable(future: Future[T]) -> asyncio.Future[T]:
    """An asyncio future that ends as `future` does. Cancelling it leaves `future` alone."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[T] = loop.create_future()

    def settle() -> None:
        if waiter.done():
            return
        error = future.exception()
        if error is None:
            waiter.set_result(future.result())
        elif isinstance(error, StopIteration):
            # asyncio refuses to carry this one in a future.
            waiter.set_exception(RuntimeError("StopIteration raised in a thread"))
        else:
            waiter.set_exception(error)

    def done(_: Future[T]) -> None:
        # RuntimeError: the loop was closed while the abandoned thread still ran.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    future.add_done_callback(done)
    return waiter
