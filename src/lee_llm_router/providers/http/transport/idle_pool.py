"""Idle connections: taking one costs the same whether there is one or a thousand.

The pool of an HTTP library looks at every idle socket for each request. Here each client has one connection, and idle
clients are kept last in, first out. Those unused for `KEEP_ALIVE` are closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.providers.http.transport.connection import Connection

ClientT = TypeVar("ClientT")

KEEP_ALIVE = 60.0
"""Seconds to keep an idle connection. With five, the usual default, a caller that pauses has to reconnect."""


class PooledClient(Generic[ClientT]):
    """A client of an HTTP library, and the one connection it uses."""

    __slots__ = ("client", "connection", "idle_since")

    def __init__(self, client: ClientT, connection: Connection) -> None:
        self.client = client
        self.connection = connection
        self.idle_since = 0.0

    def close(self) -> None:
        """Close the connection. The client holds nothing else to close."""
        self.connection.close()


class IdlePool(Generic[ClientT]):
    """The idle clients of one transport, last in, first out."""

    def __init__(self) -> None:
        self._lock = ForkLock(in_child=self._disown)
        self._idle: deque[PooledClient[ClientT]] = deque()
        self._closed = False
        self._is_inherited = False
        """Whether this is a forked child, so that idle connections belong to the parent."""

    def take(self) -> PooledClient[ClientT] | None:
        """Take out the client used last; None if there is none, or all have been idle too long."""
        oldest = monotonic() - KEEP_ALIVE
        with self._lock.inner:
            if not self._idle:
                return None
            if not self._is_inherited and self._idle[-1].idle_since >= oldest:
                return self._idle.pop()
        # This one is too old, and all below it are older. Or this is a forked child: the connections belong to the
        # parent, and closing our copies of the descriptors does not close them.
        self._close_idle()
        return None

    def give(self, pooled: PooledClient[ClientT]) -> None:
        """Keep `pooled` for the next `take`, and close clients that have been idle too long."""
        pooled.idle_since = monotonic()
        expired = []
        with self._lock.inner:
            self._idle.append(pooled)
            while self._idle and (self._closed or self._idle[0].idle_since < pooled.idle_since - KEEP_ALIVE):
                expired.append(self._idle.popleft())
        for other in expired:
            other.close()

    def close(self) -> None:
        """Close idle clients now, and others as they are given back."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
            self._is_inherited = False
        for pooled in idle:
            pooled.close()

    def _disown(self) -> None:
        self._is_inherited = bool(self._idle)


class IdlePoolPerLoop(Generic[ClientT]):
    """An `IdlePool` per event loop: an asyncio client must not be used from another loop."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, IdlePool[ClientT]] = WeakKeyDictionary()
        self._closed = False

    def current(self) -> IdlePool[ClientT]:
        """Return the running loop's pool. If it is new, close the pools of closed loops."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is not None:
            return pool
        with self._lock:
            dead = [other for other in self._pools if other.is_closed()]
            dropped = [self._pools.pop(other) for other in dead]
            pool = self._pools.setdefault(loop, IdlePool())
        for other_pool in dropped:
            other_pool.close()
        if self._closed:
            pool.close()
        return pool

    def close(self) -> None:
        """Close idle clients of every loop now, and others as they are given back."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()
