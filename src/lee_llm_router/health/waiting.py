"""The calls that wait for the targets of one provider, in order of arrival. Plain data; the caller holds the lock.

How this works
--------------
All targets of a provider share its limits, so there is one order of arrival across all of them. But a target may be
closed by its own breaker or vendor gate, and then its calls must hold up nobody else. So each target has a
`TargetQueue`, and the `WaitingLine` of the provider knows which of them are open:

- **open**: the queue is in `_open`, a heap by the arrival of its first call;
- **closed until a known time**: it is in `_closed`, a heap by that time, and moves over when the time has come;
- **closed until another attempt ends** (a probe, the leader of a gate): it is in neither heap, and is placed again
  then.

Code that changes a target's breaker, gate or queue calls `place` afterwards. `first` then is the call whose turn it is:
among the open queues, the first call of the one that has waited longest. Both take time logarithmic in the number of
targets waited for: with a heap entry for each waiting model, two thousand models cost about as much as one.

An entry is not removed when its queue changes; it no longer matches its queue then, and is dropped when it comes up.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import count, islice
from math import inf
from typing import TypeAlias

TargetKey: TypeAlias = tuple[str, str | None]
"""Provider name and model. For a target with one of several keys it is a `KeyedTarget`."""

_arrivals = count()


class KeyedTarget(tuple[str, "str | None"]):
    """Provider name, model and one of several keys: equal only to a target with the same key.

    Args:
        provider: Name of the provider.
        model: The model.
        variable: The variable of the key.
    """

    variable: str
    _hash: int

    def __new__(cls, provider: str, model: str | None, variable: str) -> KeyedTarget:
        """Return the key of a target."""
        made = super().__new__(cls, (provider, model))
        made.variable, made._hash = variable, hash((provider, model, variable))
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyedTarget) and self.variable == other.variable and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"KeyedTarget({self[0]!r}, {self[1]!r}, {self.variable!r})"

    def __getnewargs__(self) -> tuple[str, str | None, str]:
        return (*self, self.variable)


class QueueTicket:
    """A place in the queue for one target, or in those for several keys of it.

    `woken` is done when it is worth trying again.
    """

    __slots__ = ("arrival", "keys", "tokens", "woken")

    def __init__(self, keys: tuple[TargetKey, ...], tokens: int = 0) -> None:
        self.keys = keys
        self.tokens = tokens
        """The tokens to reserve for the attempt."""
        self.arrival = next(_arrivals)
        """Tickets are served in the order of this number."""
        self.woken: Future[None] = Future()

    def wake(self) -> None:
        """Tell the call to try again."""
        if not self.woken.done():
            self.woken.set_result(None)


class TargetQueue:
    """The calls that wait for one target, in order of arrival."""

    __slots__ = ("_tickets", "place")

    def __init__(self) -> None:
        # Ordered, so that finding the first and removing any take constant time.
        self._tickets: OrderedDict[QueueTicket, None] = OrderedDict()
        self.place: tuple[int, float] | None = None
        """Its valid entry in the line: arrival of its first call, and when it opens (-inf: now). None: no entry."""

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def first(self) -> QueueTicket | None:
        """The call that has waited longest."""
        return next(iter(self._tickets), None)

    def firsts(self, number: int) -> list[QueueTicket]:
        """Return up to `number` of the calls that have waited longest."""
        return list(islice(self._tickets, number))

    def append(self, ticket: QueueTicket) -> None:
        """Add a call at the end."""
        self._tickets[ticket] = None

    def remove(self, ticket: QueueTicket) -> bool:
        """Remove a call, and return whether it was in the queue."""
        if ticket not in self._tickets:
            return False
        del self._tickets[ticket]
        return True

    def clear(self) -> None:
        """Remove all."""
        self._tickets.clear()
        self.place = None


class WaitingLine:
    """All calls that wait for one provider."""

    __slots__ = ("_closed", "_open", "size")

    def __init__(self) -> None:
        self.size = 0
        """Number of waiting calls, for any target."""
        self._open: list[tuple[int, TargetQueue]] = []
        """Heap of queues by the arrival of their first call, which is unique."""
        self._closed: list[tuple[float, int, TargetQueue]] = []
        """Heap of queues by the time at which they open."""

    def append(self, queue: TargetQueue, ticket: QueueTicket) -> None:
        """Add a call at the end of `queue`. Call `place` next."""
        queue.append(ticket)
        self.size += 1

    def remove(self, queue: TargetQueue, ticket: QueueTicket) -> None:
        """Remove a call from `queue`, if it is there. Call `place` next, if any call is left."""
        if queue.place is not None and queue.first is ticket:
            queue.place = None
        self.size -= queue.remove(ticket)

    def place(self, queue: TargetQueue, opens_at: float | None, now: float) -> None:
        """Record that the target of `queue` opens at `opens_at`; None if another attempt has to end first."""
        first = queue.first
        if first is None or opens_at is None:
            queue.place = None
            return
        place = first.arrival, -inf if opens_at <= now else opens_at
        if place == queue.place:
            return
        queue.place = place
        if opens_at <= now:
            heappush(self._open, (first.arrival, queue))
        else:
            heappush(self._closed, (opens_at, first.arrival, queue))

    def first(self, now: float) -> QueueTicket | None:
        """Return the call whose turn it is: the first to arrive of those whose target is open."""
        while self._closed and self._closed[0][0] <= now:
            opens_at, arrival, queue = heappop(self._closed)
            if queue.place == (arrival, opens_at):
                queue.place = arrival, -inf
                heappush(self._open, (arrival, queue))
        while self._open:
            arrival, queue = self._open[0]
            if queue.place == (arrival, -inf):
                return queue.first
            heappop(self._open)
        return None

    def firsts(self, now: float, number: int) -> list[QueueTicket]:
        """Return calls of open targets, up to `number` of them, nearly in the order of arrival."""
        found: list[QueueTicket] = []
        if self.first(now) is not None:  # queues whose time has come are now open, too
            for arrival, queue in sorted(self._open, key=lambda entry: entry[0]):
                if len(found) < number and queue.place == (arrival, -inf):
                    found += queue.firsts(number - len(found))
        return found

    def clear(self) -> None:
        """Forget everything; the owner of the queues clears them."""
        self.size = 0
        self._open.clear()
        self._closed.clear()
