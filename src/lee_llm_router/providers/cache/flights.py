"""Equal requests in flight: the first call asks, and all others wait for its answer.

How this works
--------------
The first call leads the flight of its key; calls that come while it is in flight follow. A follower waits for a future,
which can wake a thread or a task, and learns from it how the flight ended:

- landed: the follower takes the leader's answer as a cached one.
- failed: the leader got no answer, or one that must not be kept. Every follower asks for itself: one call's failure is
  not another's.
- handed over: the leader was cancelled. The next follower leads now, and the others continue to wait for it.

A leader always ends its flight, however its call ends. A follower that gives up leaves; if it has just become the
leader, it hands the lead over.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from lee_llm_router._util.fork_lock import ForkLock

_MOST_LANDED = 1000
STALL_SECONDS = 1.0
"""Seconds that the reader of a leading stream may pause before the others ask for themselves: one thread or task may be
reading both."""


class Flight:
    """A place in a flight, as its leader or a follower. Used by one call.

    Attributes:
        woken: Done when there is news.
        leads: Whether this call asks.
        follows: Whether it began as a follower.
        landed_lately: Whether a flight of the same key has just landed.
        landed: The key of the answer, and the stored form of the answer; None: there is none.
    """

    __slots__ = ("_members", "_table", "follows", "key", "landed", "landed_lately", "leads", "woken")

    def __init__(self, table: FlightTable, key: bytes, members: _Members) -> None:
        self._table = table
        self._members = members
        self.key = key
        self.leads = False
        self.follows = False
        self.landed_lately = False
        self.landed: tuple[bytes, bytes] | None = None
        self.woken: Future[None] = Future()

    def land(self, key: bytes, value: bytes) -> None:
        """End the flight with an answer for everyone."""
        self._table.end(self, (key, value))

    def fail(self) -> None:
        """End the flight without an answer."""
        self._table.end(self, None)

    def leave(self) -> None:
        """Leave the flight, if it has not ended: a leader hands over, a follower stops waiting."""
        self._table.leave(self)

    def rests(self, since: float | None) -> None:
        """Note that since the time `since` the leader waits for the reader of its stream; None: it has resumed."""
        self._members.resting_since = since

    def is_stalled(self, now: float) -> bool:
        """Whether the reader of the leader's stream has paused for so long that nobody should wait for it."""
        since = self._members.resting_since
        return since is not None and now - since >= STALL_SECONDS


class _Members(deque[Flight]):
    """The members of one flight: the leader, then its followers in order."""

    resting_since: float | None = None


class FlightTable:
    """The flights of one cache, for all threads and event loops of the process."""

    def __init__(self) -> None:
        self._lock = ForkLock(reentrant=True, in_child=self._forget)
        self._flights: dict[bytes, _Members] = {}
        self._landed: dict[bytes, None] = {}
        """The keys that landed most recently."""

    def join(self, key: bytes) -> Flight:
        """Return a place in the flight of `key`: the leader's, if there was no flight."""
        with self._lock:
            members = self._flights.get(key)
            if members is None:
                members = self._flights[key] = _Members()
            flight = Flight(self, key, members)
            flight.leads, flight.follows = not members, bool(members)
            flight.landed_lately = key in self._landed
            members.append(flight)
            return flight

    def end(self, flight: Flight, landed: tuple[bytes, bytes] | None) -> None:
        """End the flight that `flight` leads, if it still does; wake all followers."""
        with self._lock:
            members = self._flights.get(flight.key)
            if not members or members[0] is not flight:
                return
            del self._flights[flight.key]
            if landed is not None:
                self._landed[flight.key] = None
                if len(self._landed) > _MOST_LANDED:
                    del self._landed[next(iter(self._landed))]
        for follower in list(members)[1:]:
            follower.landed = landed
            _wake(follower)

    def leave(self, flight: Flight) -> None:
        """Remove `flight`; if it led, the next one leads."""
        with self._lock:
            members = self._flights.get(flight.key)
            if not members or flight not in members:
                return
            heir = members[1] if members[0] is flight and len(members) > 1 else None
            members.remove(flight)
            if not members:
                del self._flights[flight.key]
            if heir is not None:
                members.resting_since = None
                heir.leads = True
        if heir is not None:
            _wake(heir)

    def _forget(self) -> None:
        """In a forked child, forget the flights: their leaders' threads do not exist there."""
        self._flights.clear()
        self._landed.clear()


def _wake(flight: Flight) -> None:
    if not flight.woken.done():
        flight.woken.set_result(None)
