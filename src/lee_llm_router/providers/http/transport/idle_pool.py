"""Idle connections, kept where taking one costs the same whether there is one or a thousand.

An HTTP library's own pool looks at every idle socket at each request. Here a slot is one client with one connection,
and idle slots lie on a stack: the one used last is used next, the ones at the bottom grow old and are closed.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from time import monotonic
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.providers.http.transport.connection import Line

ClientT = TypeVar("ClientT")

KEEP_ALIVE = 60.0
"""Seconds an idle connection is kept. Five, the usual default of HTTP libraries, reconnects any caller that pauses."""


class Slot(Generic[ClientT]):
    """One client of an HTTP library, with at most one connection: its `line`."""

    __slots__ = ("client", "idle_since", "line")

    def __init__(self, client: ClientT, line: Line) -> None:
        self.client = client
        self.line = line
        self.idle_since = 0.0

    def close(self) -> None:
        """Hang up. The client holds nothing else."""
        self.line.close()


class SlotStack(Generic[ClientT]):
    """Idle slots, last in, first out."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._idle: deque[Slot[ClientT]] = deque()
        self._closed = False
        self._pid = os.getpid()

    def take(self) -> Slot[ClientT] | None:
        """The slot used last, if there is one that is young enough."""
        oldest = monotonic() - KEEP_ALIVE
        with self._lock:
            if not self._idle:
                return None
            if self._pid == os.getpid() and self._idle[-1].idle_since >= oldest:
                return self._idle.pop()
        # Too old, and all below it are older. Or this is a forked child: the connections are the parent's, and closing
        # our copies of the descriptors does not end them.
        self._drop()
        return None

    def give(self, slot: Slot[ClientT]) -> None:
        """Keep `slot` for the next `take`, and let go of what has grown old."""
        slot.idle_since = monotonic()
        old = []
        with self._lock:
            self._idle.append(slot)
            while self._idle and (self._closed or self._idle[0].idle_since < slot.idle_since - KEEP_ALIVE):
                old.append(self._idle.popleft())
        for other in old:
            other.close()

    def close(self) -> None:
        """Close what is idle, and from now on what is given back."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
            self._pid = os.getpid()
        for slot in idle:
            slot.close()


class LoopStacks(Generic[ClientT]):
    """A stack for every event loop: an asyncio client must not be used from another loop."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._stacks: WeakKeyDictionary[asyncio.AbstractEventLoop, SlotStack[ClientT]] = WeakKeyDictionary()
        self._closed = False

    def current(self) -> SlotStack[ClientT]:
        """The running loop's stack. Those of loops closed meanwhile are closed too."""
        loop = asyncio.get_running_loop()
        stack = self._stacks.get(loop)
        if stack is not None:
            return stack
        with self._lock:
            dead = [other for other in self._stacks if other.is_closed()]
            dropped = [self._stacks.pop(other) for other in dead]
            stack = self._stacks.setdefault(loop, SlotStack())
        for other_stack in dropped:
            other_stack.close()
        if self._closed:
            stack.close()
        return stack

    def close(self) -> None:
        """Close every loop's idle slots, and from now on what is given back."""
        with self._lock:
            self._closed = True
            stacks = list(self._stacks.values())
        for stack in stacks:
            stack.close()
