"""Tells the connections of an event loop when there is something to read.

How this works. Calling `loop.add_reader` and `remove_reader` around each wait costs two system calls, and more
instructions than the rest of the wait. Leaving a reader in the loop does not work either: any thread may close a socket
here, and a loop never reports a new socket with the number of one that was closed behind its back.

So each event loop gets its own epoll, which is registered with it once. Sockets are added to the epoll at their first
wait, and the kernel removes them when anyone closes them. They are added edge-triggered: data for an idle connection is
reported once, and does not keep the loop awake. A report without a waiter is kept for the next wait. A spurious one
does no harm: the waiter tries to read, and waits again.

If the system has no epoll, or no file descriptor is left for one, each wait registers with the loop.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import Context
from typing import Protocol
from weakref import WeakKeyDictionary, ref

from lee_llm_router._util.fork_lock import ForkLock

_AT_ONCE = 256
"""Sockets reported in one turn of the loop; the next turn reports the others."""


class Readiness(Protocol):
    """Waits for sockets, on one event loop. Each is identified by its descriptor, and has at most one waiter."""

    def add(self, descriptor: int) -> None:
        """Watch a socket from now on; it must not be watched yet."""
        ...

    def wait(self, descriptor: int) -> Awaitable[None]:
        """Return a future that completes when there may be something to read, or the end is reached."""
        ...


class EpollReadiness:
    """The `Readiness` of an event loop that watches all sockets with one registration.

    Args:
        loop: The event loop; not kept alive.

    Raises:
        OSError: no file descriptor is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._missed: set[int] = set()
        """Sockets that were reported when nobody waited."""
        self._epoll = select.epoll()
        # Use an empty context: the first call's context may hold much, and the loop lives longer.
        Context().run(loop.add_reader, self._epoll.fileno(), self._report)

    def add(self, descriptor: int) -> None:
        """As `Readiness.add`."""
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def wait(self, descriptor: int) -> asyncio.Future[None]:
        """As `Readiness.wait`."""
        readable: asyncio.Future[None] = asyncio.Future(loop=self._loop())
        if descriptor in self._missed:
            self._missed.discard(descriptor)
            readable.set_result(None)
        else:
            self._waiting[descriptor] = readable
        return readable

    def _report(self) -> None:
        """Called by the event loop: wake the waiters of sockets that have something to read."""
        waiting = self._waiting
        try:
            for descriptor, _ in self._epoll.poll(0, _AT_ONCE):
                readable = waiting.get(descriptor)
                if readable is None or readable.done():
                    self._missed.add(descriptor)
                else:
                    readable.set_result(None)
                    del waiting[descriptor]
        except BaseException:
            # An interruption, such as Ctrl-C. The kernel reports each event only once, so wake everybody.
            for readable in waiting.values():
                set_done(readable)
            waiting.clear()
            raise


class LoopReadiness:
    """A `Readiness` that registers each wait with the event loop."""

    def add(self, descriptor: int) -> None:
        """As `Readiness.add`."""

    async def wait(self, descriptor: int) -> None:
        """As `Readiness.wait`."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(descriptor, set_done, readable)
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)


def readiness_of(loop: asyncio.AbstractEventLoop) -> Readiness:
    """Return the `Readiness` of `loop`, which all its connections share."""
    known = _by_loop.get(loop)
    found = None if known is None else known()
    if found is None and hasattr(select, "epoll"):
        with suppress(OSError):
            found = EpollReadiness(loop)
            with _lock:
                _by_loop[loop] = ref(found)
    return found or _plain


def set_done(future: asyncio.Future[None]) -> None:
    """Complete a wait, unless it is already done: it may have been cancelled."""
    if not future.done():
        future.set_result(None)


_plain = LoopReadiness()
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[EpollReadiness]] = WeakKeyDictionary()
"""Their loops keep them alive."""
_lock = ForkLock()
