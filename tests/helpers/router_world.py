"""Routers that share a state: their `Health`, each on a link of its own, under one clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from helpers.support import FakeClock
from lee_llm_router.errors import FailureType
from lee_llm_router.health import Health, Permit, Refusal
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.providers.base import ProviderConfig

KEY = ("vendor", "model")
LEASE = 2.0
BAD, RATE, AUTH = FailureType.PROVIDER_ERROR, FailureType.RATE_LIMIT, FailureType.AUTH


class FragileState(MemoryState):
    """A state in memory that can break or be slow."""

    broken = False
    slow_by = 0.0
    exchanges = 0
    meanwhile: Callable[[], None] | None = None
    """Done by others while an exchange is under way."""
    clock: FakeClock

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        self.exchanges += 1
        self.clock.advance(self.slow_by)
        if self.meanwhile is not None:
            self.meanwhile()
        if self.broken:
            raise OSError("the state is gone")
        return super().exchange(limits, doors)


class Router:
    """One router's health, and its link without threads."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = FragileState(room=world.room)
        self.state.clock = world.clock
        self.link = StateLink(self.state, StateSettings(type="memory", lease=LEASE), clock=world.clock)
        self.told: list[str | None] = []
        self.link.on_change = self.told.append
        providers = {"vendor": ProviderConfig(type="mock", **world.limits)}
        self.health = Health(world.config, providers, world.clock, lambda: 0.5, self.link)

    def try_once(self, **options: Any) -> Permit | Refusal:
        """Ask for a permit, and once more when the shared state has answered."""
        answer = self.health.acquire(KEY, **options)
        if isinstance(answer, Refusal) and self.link.wants_step:
            self.link.step()
            answer = self.health.acquire(KEY, **options)
        return answer

    def take(self, **options: Any) -> Permit:
        answer = self.try_once(**options)
        assert isinstance(answer, Permit), answer
        return answer

    def refused(self, **options: Any) -> Refusal:
        answer = self.try_once(**options)
        assert isinstance(answer, Refusal)
        return answer

    def fails(self, failure: FailureType = BAD, **how: Any) -> None:
        self.health.release(self.take(), failure, **{"counts_against_target": True, **how})
        self.link.step()

    def hears(self) -> None:
        """Hear what has changed, as the thread that listens does."""
        self.link.hear(self.state.wait_for_changes(0.0))
        self.link.step()

    @property
    def known(self) -> Any:
        return self.health.snapshot()[KEY]


class World:
    """Several routers that share, on one clock."""

    def __init__(self, routers: int, config: HealthConfig | None = None, **limits: int) -> None:
        self.clock = FakeClock()
        self.room = MemoryRoom(self.clock.monotonic)
        self.config = config or HealthConfig(failures_in_a_row=2)
        self.limits = limits
        self.routers = [Router(self) for _ in range(routers)]

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass, and the links do what is due."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(min(step, max(1e-6, end - self.clock.now)))
            for router in self.routers:
                if router.link.wants_step:
                    router.link.step()
