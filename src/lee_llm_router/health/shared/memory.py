"""A shared state within one process: for several of its routers, and for tests and simulations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from time import monotonic

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport
from lee_llm_router.health.shared.door_rules import DoorScope
from lee_llm_router.health.shared.limits_rules import LimitsScope
from lee_llm_router.health.shared.settings import StateSettings

_SWEEP_AT = 1024
"""The number of scopes above which idle ones are removed."""


class MemoryRoom:
    """What several `MemoryState`s share.

    Args:
        now: Tells the time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.now = now
        self.changed = threading.Condition()
        """Guards everything, and is notified when a door has changed."""
        self._fork_watch = ForkLock(in_child=self._renew)
        self.limits: dict[str, LimitsScope] = {}
        self.doors: dict[str, DoorScope] = {}
        self._sweep_at = _SWEEP_AT

    def limits_scope(self, name: str) -> LimitsScope:
        """Return the limits scope `name`, creating it if necessary; idle scopes are removed from time to time."""
        found = self.limits.get(name)
        if found is None:
            if len(self.limits) >= self._sweep_at:
                now = self.now()
                self.limits = {key: one for key, one in self.limits.items() if not one.is_idle(now)}
                self._sweep_at = max(_SWEEP_AT, 2 * len(self.limits))
            found = self.limits[name] = LimitsScope()
        return found

    def _renew(self) -> None:
        """Replace the lock in a forked child: another thread of the parent may have held it."""
        self.changed = threading.Condition()


class MemoryState:
    """Shared by routers of one process: those whose files name the same `namespace`, or that are given one room.

    A forked child begins with a copy of its parent's state, and shares nothing with it from then on.

    Args:
        settings: The section `state`.
        room: Where routers meet; None: a room of its own.
    """

    config_model = StateSettings

    def __init__(self, settings: StateSettings | None = None, room: MemoryRoom | None = None) -> None:
        self.settings = settings
        self._room = MemoryRoom() if room is None else room
        self._seen = {name: door.version for name, door in self._room.doors.items()}
        self._is_closed = False

    @classmethod
    def from_settings(cls, settings: StateSettings, *, clock: Clock) -> MemoryState:
        """Return the state for a router with `clock`: routers meet only if they share a clock."""
        room, _ = _rooms.setdefault((settings.namespace, id(clock)), (MemoryRoom(clock.monotonic), clock))
        return cls(settings, room)

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """See `SharedState.exchange`."""
        room = self._room
        with room.changed:
            now = room.now()
            limits_views = [room.limits_scope(report.scope).exchange(report, now) for report in limits]
            door_views = []
            for report in doors:
                door = room.doors.setdefault(report.scope, DoorScope())
                version = door.version
                door_views.append(door.exchange(report, now))
                if door.version != version:
                    room.changed.notify_all()
        return Exchange(limits_views, door_views)

    def wait_for_changes(self, seconds: float) -> Collection[str]:
        """See `SharedState.wait_for_changes`."""
        with self._room.changed:
            if not self._has_news():
                self._room.changed.wait_for(lambda: self._is_closed or self._has_news(), seconds)
            news = {name: door.version for name, door in self._room.doors.items() if door.version != self._of(name)}
            self._seen.update(news)
            return list(news)

    def close(self) -> None:
        """See `SharedState.close`."""
        with self._room.changed:
            self._is_closed = True
            self._room.changed.notify_all()

    def _has_news(self) -> bool:
        return any(door.version != self._of(name) for name, door in self._room.doors.items())

    def _of(self, scope: str) -> int:
        return self._seen.get(scope, 0)


_rooms: dict[tuple[str, int], tuple[MemoryRoom, Clock]] = {}
"""By namespace and clock; the clock is kept alive, so that no other clock gets its id."""
