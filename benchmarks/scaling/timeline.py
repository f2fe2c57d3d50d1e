"""A clock, and what happens on it: events in the order of their moments, played without waiting."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from lee_llm_router.testing.fake_clock import FakeClock


class Timeline(FakeClock):
    """A clock that moves from event to event. `Health` and the shared state read it; nobody sleeps on it."""

    def __init__(self) -> None:
        super().__init__()
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def at(self, moment: float, event: Callable[[], object]) -> None:
        """Let `event` happen at `moment`, or now if that has passed."""
        heappush(self._events, (max(moment, self.now), next(self._numbers), event))

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Let `event` happen in `seconds`."""
        self.at(self.now + seconds, event)

    def play(self, until: float) -> None:
        """Let everything happen that happens before `until`."""
        while self._events and self._events[0][0] < until:
            self.now, _, event = heappop(self._events)
            event()
        self.now = until
