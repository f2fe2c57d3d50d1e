"""A connection under asyncio: its waits, on the running event loop, and the timer that ends them.

Nothing here decides: it performs the steps of `connection`. What can be done at once is done without a wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Coroutine
from contextvars import Context
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any, TypeVar
from weakref import ref

from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router._util.trampoline import run_steps_async
from lee_llm_router.providers.http.transport.connection import (
    Connection,
    IOStep,
    IOSteps,
    Pause,
    WaitUntilWritable,
    resolve,
)
from lee_llm_router.providers.http.transport.readiness import Readiness, readiness_of, set_done

T = TypeVar("T")

_READS_PER_TURN = 8


class AsyncConnection(Connection):
    """A connection of one event loop.

    Its waits are bounded by one timer, which stays from one attempt to the next: when it fires, it is set again for the
    deadline of then. A timer for each attempt took 25,000 of 247,000 instructions.

    The event loop keeps only a weak reference, so a connection that is dropped is closed at once. Nor does the
    connection keep what belongs to the loop: a pool that keeps it would keep the loop, for which it is kept.
    """

    __slots__ = (
        "__weakref__",
        "_descriptor",
        "_is_waiting",
        "_readiness",
        "_reads",
        "_timer",
        "_timer_at",
        "_timer_thread",
        "_watched",
        "awaiting_reply",
    )

    def __init__(self) -> None:
        super().__init__()
        self.awaiting_reply = False
        """Whether nothing was received since something was last sent."""
        self._reads = 0
        """Reads since the connection was opened."""
        self._readiness: ref[Readiness] | None = None
        """Watches its socket, once it was waited for."""
        self._watched: socket.socket | None = None
        """The socket that it watches. httpx opens another for the same connection when the server has closed that."""
        self._descriptor = -1
        self._timer: ref[asyncio.TimerHandle] | None = None
        self._timer_at = 0.0
        self._timer_thread = 0
        """That of the event loop."""
        self._is_waiting = False

    def begin_waits(self) -> None:
        """Have `expire` called if the deadline passes from here to `end_waits`."""
        self._is_waiting = True
        if self._timer is None or self.deadline < self._timer_at:
            self._set_timer()

    def end_waits(self) -> None:
        """End what `begin_waits` has begun. The timer stays."""
        self._is_waiting = False

    def close(self) -> None:
        """As `Connection.close`."""
        self._stop_timer()
        self._readiness = self._watched = None
        super().close()

    def _set_timer(self) -> None:
        self._stop_timer()
        self._timer_at = self.deadline
        self._timer_thread = get_ident()
        seconds = self._timer_at - monotonic()
        # A context of its own: that of this call may hold much, and the timer stays.
        self._timer = ref(asyncio.get_running_loop().call_later(seconds, _fire, ref(self), context=Context()))

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        # An event loop is not safe for other threads (that of uvloop crashes). There the timer fires, and does nothing.
        if timer is not None and self._timer_thread == get_ident() and (handle := timer()) is not None:
            handle.cancel()

    def _fired(self) -> None:
        self._timer = None
        if self._is_waiting and self.deadline > monotonic():
            self._set_timer()
        elif self._is_waiting:
            self.expire()

    def send(self, sock: socket.socket, data: bytes) -> Awaitable[None] | None:
        """Send `data`; return what to wait for if not all of it could be sent at once."""
        self.awaiting_reply = True
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return None
        return asyncio.get_running_loop().sock_sendall(sock, memoryview(data)[sent:])

    async def receive(self, sock: socket.socket, size: int) -> bytes:
        """Return up to `size` bytes when there are some; none at the end."""
        self.time_left()
        if self.awaiting_reply:
            self.awaiting_reply = False  # the answer cannot be here yet: do not try to read it
        else:
            # While there is something to read, this does not suspend: a flood of data would keep timers from running.
            self._reads += 1
            if self._reads % _READS_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                return sock.recv(size)
            except (BlockingIOError, InterruptedError):
                pass
        while True:
            await self._readable(sock)
            try:
                return sock.recv(size)
            except (BlockingIOError, InterruptedError):
                pass

    def _readable(self, sock: socket.socket) -> Awaitable[None]:
        """Return what ends when `sock` may have something to read.

        Whoever waits for that keeps no `Readiness`: an error's traceback would keep it, and its descriptor, past the
        end of the event loop.
        """
        readiness = None if self._readiness is None else self._readiness()
        if readiness is None or self._watched is not sock:
            readiness = readiness_of(asyncio.get_running_loop())
            self._readiness, self._watched, self._descriptor = ref(readiness), sock, sock.fileno()
            readiness.add(self._descriptor)
        return readiness.wait(self._descriptor)


def _fire(connection: ref[AsyncConnection]) -> None:
    alive = connection()
    if alive is not None:
        alive._fired()


def run_async(connection: AsyncConnection, sock: socket.socket | None, steps: IOSteps[T]) -> Coroutine[Any, Any, T]:
    """Perform `steps` on `sock` on the running event loop; return their result. The caller bounds the time."""
    return run_steps_async(steps, partial(_perform, connection, sock))


def _perform(connection: AsyncConnection, sock: Any, step: IOStep) -> Awaitable[Any] | None:
    """Perform `step`; return what to wait for, None if it is done and has no result."""
    if isinstance(step, int):
        return connection.receive(sock, step)
    if isinstance(step, bytes):
        return connection.send(sock, step)
    if isinstance(step, Pause):
        return _pause(connection)
    if isinstance(step, WaitUntilWritable):
        return _wait_until_writable(step)
    # Not `loop.getaddrinfo`: `asyncio.run` waits at its end for the threads of the loop's executor.
    return call_in_thread_async(resolve, step)


async def _pause(connection: AsyncConnection) -> float:
    await asyncio.sleep(0)
    return connection.time_left()


async def _wait_until_writable(step: WaitUntilWritable) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    timer = None if step.seconds is None else loop.call_later(step.seconds, set_done, ready)
    descriptors = [sock.fileno() for sock in step.sockets]
    try:
        for descriptor in descriptors:
            loop.add_writer(descriptor, set_done, ready)
        await ready
    finally:
        for descriptor in descriptors:
            loop.remove_writer(descriptor)
        if timer is not None:
            timer.cancel()
