"""Grounds on which several shared states meet, one for each implementation: memory, and SQLite's and Redis's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lee_llm_router.health.shared.contract import (
    DoorReport,
    DoorView,
    Exchange,
    LimitsReport,
    LimitsView,
    SharedState,
)
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.testing import FakeClock

LEASE = 0.5
"""Seconds; short, since an implementation with a clock of its own lets them pass."""


@dataclass
class Ground:
    """Where shared states meet in a test."""

    make: Callable[[], SharedState]
    """Returns another state that shares with those before."""
    pass_time: Callable[[float], object]
    """Lets seconds pass on the clock by which the state decides."""
    made: list[SharedState] = field(default_factory=list)

    def member(self, name: str) -> Member:
        """Return a member with a state of its own."""
        state = self.make()
        self.made.append(state)
        return Member(state, name)

    def close(self) -> None:
        """Close all states."""
        for state in self.made:
            state.close()


@dataclass
class Member:
    """One member of scopes, in a process of its own so to speak."""

    state: SharedState
    name: str

    def limits(self, scope: str = "vendor", **said: Any) -> LimitsView:
        """Report on a limits scope alone."""
        report = LimitsReport(scope, self.name, LEASE, **said)
        return self.state.exchange([report], []).limits[0]

    def door(self, scope: str = "vendor/model", **said: Any) -> DoorView:
        """Report on a door alone."""
        return self.state.exchange([], [DoorReport(scope, self.name, LEASE, **said)]).doors[0]


def memory_ground() -> Ground:
    """Return the ground of states in memory, on a clock that stands still."""
    clock = FakeClock()
    room = MemoryRoom(clock.monotonic)
    return Ground(lambda: MemoryState(room=room), clock.advance)


class ReturningState(MemoryState):
    """A state that is gone at first, and back when it is asked again."""

    asked = 0

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """As `SharedState.exchange`."""
        self.asked += 1
        if self.asked == 1:
            raise OSError("not yet")
        return super().exchange(limits, doors)
