"""A connection under asyncio: its waits on the running event loop, and the timer that ends them.

It makes no decisions, but performs the steps of `connection`. It does what it can without waiting.
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

    One timer bounds its waits and stays from one attempt to the next: when it fires, it is set again for the current
    deadline. A timer for each attempt took 25,000 of 247,000 instructions.

    The event loop holds only a weak reference to the connection, so dropping the connection closes it at once. The
    connection holds nothing of the loop either: otherwise a pool of the loop, which holds the connection, would keep
    the loop alive.
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
        """Whether nothing has been received since the last send."""
        self._reads = 0
        """Reads since the connection was opened."""
        self._readiness: ref[Readiness] | None = None
        """Watches its socket, after the first wait for it."""
        self._watched: socket.socket | None = None
        """The socket that it watches. httpx opens another for the same connection after the server has closed the
        first."""
        self._descriptor = -1
        self._timer: ref[asyncio.TimerHandle] | None = None
        self._timer_at = 0.0
        self._timer_thread = 0
        """The thread of the event loop."""
        self._is_waiting = False

    def begin_waits(self) -> None:
        """Have `expire` called if the deadline passes before `end_waits`."""
        self._is_waiting = True
        if self._timer is None or self.deadline < self._timer_at:
            self._set_timer()

    def end_waits(self) -> None:
        """End what `begin_waits` began. The timer stays."""
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
        # Use an empty context: this call's context may hold much, and the timer stays.
        self._timer = ref(asyncio.get_running_loop().call_later(seconds, _fire, ref(self), context=Context()))

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        # Only its own thread may use an event loop (uvloop crashes otherwise). In another thread, let the timer fire:
        # it then does nothing.
        if timer is not None and self._timer_thread == get_ident() and (handle := timer()) is not None:
            handle.cancel()

    def _fired(self) -> None:
        self._timer = None
        if self._is_waiting and self.deadline > monotonic():
            self._set_timer()
        elif self._is_waiting:
            self.expire()

    def send(self, sock: socket.socket, data: bytes) -> Awaitable[None] | None:
        """Send `data`; return what to await if not all of it could be sent at once."""
        self.awaiting_reply = True
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return None
        return asyncio.get_running_loop().sock_sendall(sock, memoryview(data)[sent:])

    async def receive(self, sock: socket.socket, size: int) -> bytes:
        """Return up to `size` bytes once there are some; none at the end."""
        self.time_left()
        if self.awaiting_reply:
            self.awaiting_reply = False  # the response cannot be here yet: do not try to read it
        else:
            # As long as there is something to read, this does not suspend: a flood of data would keep timers from
            # running.
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
        """Return a future that completes when `sock` may have something to read.

        Callers hold no `Readiness` while they wait: an error's traceback would keep it, and its descriptor, alive after
        the event loop has ended.
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
    """Perform `steps` on `sock` on the running event loop; return their result. The caller limits the time."""
    return run_steps_async(steps, partial(_perform, connection, sock))


def _perform(connection: AsyncConnection, sock: Any, step: IOStep) -> Awaitable[Any] | None:
    """Perform `step`; return what to await, or None if it is done and has no result."""
    if isinstance(step, int):
        return connection.receive(sock, step)
    if isinstance(step, bytes):
        return connection.send(sock, step)
    if isinstance(step, Pause):
        return _pause(connection)
    if isinstance(step, WaitUntilWritable):
        return _wait_until_writable(step)
    # Not `loop.getaddrinfo`: when `asyncio.run` ends, it waits for the threads of the loop's executor.
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
