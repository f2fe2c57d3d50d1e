"""Ends a blocking run from outside: a switch for threads, and its use from an asyncio task.

Blocking code runs a child process (see `runner`). Under asyncio that code runs in a thread, and a cancelled task sets
the thread's switch. The task then waits for the thread, so that nothing is left when the caller continues.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import TypeVar

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.errors import ProviderError

T = TypeVar("T")


class ChildCancelledError(Exception):
    """The run was ended by its `CancelSwitch`."""


class CancelSwitch:
    """Ends a run from another thread. Holds the two descriptors of a pipe until it is closed."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._open = True
        # A forked child inherits the pipe. Closing it there prevents the child from ending its parent's run.
        self._lock = ForkLock(in_child=self.close)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the switch is set."""
        return self._read

    def set(self) -> None:
        """End the run. May be called at any time, even after the run."""
        with self._lock:
            if self._open:
                os.write(self._write, b"x")

    def close(self) -> None:
        """Close the descriptors. May be called more than once."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)


async def cancellable(function: Callable[[CancelSwitch], T]) -> T:
    """Await `function(switch)` in a thread.

    A cancellation sets the switch, waits until the function has returned, and is then re-raised.

    Raises:
        ProviderError: no thread can start or no descriptor is free (`sent` is False).
        BaseException: what `function` raises.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    switch, future = start_with_switch(function)

    def mark_ended() -> None:
        if not ended.done():
            ended.set_result(None)

    def on_done(_: object) -> None:
        # RuntimeError: the loop was closed while the thread was still running.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(mark_ended)

    future.add_done_callback(on_done)
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        switch.set()
        with suppress(asyncio.CancelledError):
            await until_done(ended)
        raise
    finally:
        switch.set()
    return future.result()


async def until_done(ended: asyncio.Future[None]) -> None:
    """Await `ended`, whatever happens; re-raise a cancellation only then.

    A cancellation must not shorten the wait: the child and its files still exist.
    """
    cancelled = False
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def start_with_switch(function: Callable[[CancelSwitch], T]) -> tuple[CancelSwitch, Future[T]]:
    """Start `function(switch)` in a thread, which closes the switch when the function has returned.

    Raises:
        ProviderError: no thread can start or no descriptor is free (`sent` is False).
    """
    with ExitStack() as stack:
        try:
            switch = CancelSwitch()
            stack.callback(switch.close)

            def work() -> T:
                try:
                    return function(switch)
                finally:
                    switch.close()

            future = start_in_thread(work)
        except OSError as error:
            raise ProviderError(f"a child process cannot be watched: {error}", sent=False) from error
        # The thread is running and closes the switch itself.
        stack.pop_all()
        return switch, future
