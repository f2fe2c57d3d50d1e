"""Tells the connections of an event loop when there is something to read.

How this works. `loop.add_reader` and `remove_reader` around each wait cost two system calls, and more instructions than
the rest of the wait. To leave a reader in the loop is no way out: sockets here are closed from any thread, and a loop
never again reports the socket that gets the number of one that was closed behind its back.

So each event loop gets an epoll of its own, which is registered with it once. Sockets are added to that at their first
wait, and the kernel takes them out when they are closed, by whomever. They are added edge-triggered: what comes for an
idle connection is reported once, and does not keep the loop awake. A report that nobody waits for is kept for the next
wait; one too many does no harm, since whoever is woken tries to read, and waits again.

Where the system has no epoll, or no file is left for one, each wait registers with the loop.
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
"""Sockets reported in one turn of the loop; the others are in the next."""


class Readiness(Protocol):
    """Waits for sockets, on one event loop. Each is named by its descriptor, and has one waiter at most."""

    def add(self, descriptor: int) -> None:
        """Watch a socket from now on; it must not be watched already."""
        ...

    def wait(self, descriptor: int) -> Awaitable[None]:
        """Return what ends when there may be something to read, or nothing more to come."""
        ...


class EpollReadiness:
    """The `Readiness` of an event loop for all sockets at once.

    Args:
        loop: The event loop; not kept alive.

    Raises:
        OSError: no file is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._missed: set[int] = set()
        """Sockets that were reported while nobody waited."""
        self._epoll = select.epoll()
        # In a context of its own: that of the first call may hold much, and the loop lives longer.
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
        """Called by the event loop: wake whoever waits for a socket that has something to read."""
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
            # Interrupted, by Ctrl-C for one. What was taken from the kernel comes only once: let everybody look.
            for readable in waiting.values():
                set_done(readable)
            waiting.clear()
            raise


class LoopReadiness:
    """The `Readiness` that registers each wait with the event loop."""

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
    """Return what tells the connections of `loop` that there is something to read: the same for all of them."""
    known = _by_loop.get(loop)
    found = None if known is None else known()
    if found is None and hasattr(select, "epoll"):
        with suppress(OSError):
            found = EpollReadiness(loop)
            with _lock:
                _by_loop[loop] = ref(found)
    return found or _plain


def set_done(future: asyncio.Future[None]) -> None:
    """End a wait, unless it has ended: it may have been cancelled."""
    if not future.done():
        future.set_result(None)


_plain = LoopReadiness()
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[EpollReadiness]] = WeakKeyDictionary()
"""They are kept by their loops, and end with them."""
_lock = ForkLock()
