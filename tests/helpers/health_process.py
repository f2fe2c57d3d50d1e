"""The health of a router as one process has it: alone, or with a link to a shared state, and without threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from helpers.forked import become_child
from helpers.support import FakeClock
from lee_llm_router.config import HealthConfig
from lee_llm_router.health import Health, Permit, Refusal
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.providers.base import ProviderConfig

KEY = ("p", "m")


class Process:
    """The health of a router, alone or with a link to a state that is shared, in the parent until `forks`.

    Args:
        shared: Whether there is a state that is shared.
        beside: Another one, whose clock and shared state this one has.
        settings: Those of the provider.
    """

    def __init__(self, *, shared: bool = False, beside: Process | None = None, **settings: Any) -> None:
        self.clock: FakeClock = FakeClock() if beside is None else beside.clock
        self.room: MemoryRoom = MemoryRoom(self.clock.monotonic) if beside is None else beside.room
        self.state = WatchedState(room=self.room)
        self.starts: list[StateLink] = []
        options = StateSettings(type="memory", lease=2)
        self.link = StateLink(self.state, options, clock=self.clock, starts=self._start) if shared else None
        providers = {"p": ProviderConfig(type="mock", **settings)}
        self.health = Health(HealthConfig(failures_in_a_row=1), providers, self.clock, lambda: 0.5, self.link)

    @property
    def shared(self) -> StateLink:
        """The link to the shared state."""
        assert self.link is not None
        return self.link

    def _start(self, link: StateLink) -> Callable[[], object]:
        self.starts.append(link)
        return lambda: None

    def forks(self) -> None:
        """Go on as the child."""
        become_child(self.health, *(() if self.link is None else (self.link,)))

    def asks(self) -> Permit | Refusal:
        """Ask for a permit, and again when the shared state has answered."""
        answer = self.health.acquire(KEY)
        for _ in range(3):
            if isinstance(answer, Refusal) and self.link is not None and self.link.wants_step:
                self.link.step()
                answer = self.health.acquire(KEY)
        return answer

    def takes(self) -> Permit:
        answer = self.asks()
        assert isinstance(answer, Permit), answer
        return answer


class WatchedState(MemoryState):
    """A state in memory, during whose answer something may happen."""

    meanwhile: Callable[[], None] | None = None
    breaks = False
    members: tuple[str, ...] = ()

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        self.members = (*(report.member for report in limits), *(report.member for report in doors))
        answer = super().exchange(limits, doors)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        if self.breaks:
            raise OSError("gone")
        return answer
