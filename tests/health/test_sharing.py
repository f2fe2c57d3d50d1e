"""What several routers promise together over a shared state: their `Health`, each on a link of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

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


def most_in_a_minute(moments: Sequence[float]) -> int:
    return max(sum(start <= one < start + 60 for one in moments) for start in moments)


@pytest.mark.parametrize(("rpm", "routers"), [(600, 4), (60, 4), (30, 12)])
def test_routers_use_a_limit_of_starts_up_and_no_more_in_any_minute(rpm: int, routers: int) -> None:
    world = World(routers, rpm=rpm)
    moments: list[float] = []
    while world.clock.now < 1000 + 130:
        for router in world.routers:
            while isinstance(permit := router.try_once(), Permit):
                moments.append(world.clock.now)
                router.health.release(permit)
        world.pass_time(0.02, 0.02)
    assert most_in_a_minute(moments) <= rpm
    assert sum(one >= 1000 + 70 for one in moments) >= rpm * 0.98
    assert moments[0] == pytest.approx(1000, abs=0.1)


def test_attempts_at_once_are_bounded_over_all_and_a_free_place_goes_round() -> None:
    world = World(3, max_concurrency=4)
    a, b, c = world.routers
    permits = [a.take() for _ in range(3)]
    b.take()
    assert c.refused().cause == "limit"
    assert a.refused().cause == "limit"
    ticket = c.health.queue(KEY)
    world.pass_time(0.6)  # a hears that somebody waits
    a.health.release(permits.pop())
    world.pass_time(0.1)
    assert a.refused().cause == "limit"
    c.take(ticket=ticket)


def test_what_a_dead_router_held_is_back_after_its_lease() -> None:
    world = World(2, max_concurrency=3, rpm=30)
    dead, alive = world.routers
    for _ in range(3):
        dead.take()
    assert alive.refused().cause == "limit"
    world.routers.remove(dead)  # it is never heard of again
    world.pass_time(LEASE + 0.1)
    for _ in range(3):
        alive.take()


def test_closing_gives_back_at_once() -> None:
    world = World(2, max_concurrency=3)
    a, b = world.routers
    held = [a.take() for _ in range(3)]
    assert b.refused().cause == "limit"
    a.link.close()
    world.routers.remove(a)
    world.pass_time(0.5)
    b.take()
    assert a.health.release(held[0]) is None
    assert isinstance(a.health.acquire(KEY), Permit), "calls under way end by themselves"


def test_what_a_router_found_out_just_before_it_was_closed_is_heard_by_all() -> None:
    world = World(2)
    a, b = world.routers
    for router in world.routers:
        router.health.release(router.take())
    a.link.step = lambda: None  # type: ignore[method-assign]  # its thread has no turn before the end
    a.fails()
    a.fails()
    assert b.known.state == "closed"
    a.link.close()
    b.hears()
    assert b.known.state == "open"


def test_tokens_are_shared_and_settled_by_what_was_used() -> None:
    world = World(2, tpm=1000)
    a, b = world.routers
    permit = a.take(tokens=900)
    assert b.refused(tokens=500).cause == "limit"
    a.health.release(permit, tokens=100)
    world.pass_time(2.0)
    b.take(tokens=500)
    world.pass_time(1.0)
    assert a.refused(tokens=500).cause == "limit"
    assert b.refused(tokens=5000).cause == "limit", "more than the limit passes when nothing else is counted"
    world.pass_time(65)
    b.take(tokens=5000)


def test_unused_permits_go_back_to_those_who_need_them() -> None:
    world = World(2, rpm=300)
    a, b = world.routers
    a.take()
    taken = 0
    while isinstance(b.try_once(), Permit):
        taken += 1
    assert taken < 299
    world.pass_time(1.5)
    while isinstance(b.try_once(), Permit):
        taken += 1
    assert taken == 299


def test_a_breaker_that_one_opens_is_open_in_all_and_one_probe_closes_it_for_all() -> None:
    world = World(3)
    a, b, c = world.routers
    for router in world.routers:
        router.health.release(router.take())
    a.fails()
    a.fails()
    b.hears()
    c.hears()
    assert [router.known.state for router in world.routers] == ["open"] * 3
    assert b.refused().cause == "breaker"
    world.pass_time(0.8)
    probe = b.take()
    assert probe.probe
    assert c.refused().cause == "breaker"
    assert a.refused().cause == "breaker"
    assert b.health.release(probe) == "close"
    b.link.step()
    a.hears()
    c.hears()
    assert [router.known.state for router in world.routers] == ["closed"] * 3
    assert not c.take().probe


def test_a_probe_that_fails_keeps_it_open_for_all_and_the_next_may_be_anothers() -> None:
    world = World(2)
    a, b = world.routers
    b.health.release(b.take())
    a.fails()
    a.fails()
    b.hears()
    world.pass_time(0.8)
    a.health.release(a.take(), BAD, counts_against_target=True)
    a.link.step()
    b.hears()
    assert b.refused().cause == "breaker"
    world.pass_time(1.6)
    assert b.take().probe


def test_a_router_that_comes_later_learns_that_a_target_is_shut_before_it_asks() -> None:
    world = World(2)
    a, late = world.routers
    a.fails()
    a.fails()
    assert late.refused().cause == "breaker"


def test_a_probe_right_whose_holder_died_goes_on() -> None:
    world = World(2)
    a, b = world.routers
    b.health.release(b.take())
    a.fails()
    a.fails()
    b.hears()
    world.pass_time(0.8)
    assert a.take().probe
    world.routers.remove(a)
    ticket = b.health.queue(KEY)
    world.pass_time(1.0)
    assert b.refused().cause == "breaker"
    world.pass_time(LEASE)
    assert b.take(ticket=ticket).probe


def test_a_vendors_wait_holds_for_all_and_one_call_leads_after_it() -> None:
    world = World(3)
    a, b, c = world.routers
    for router in world.routers:
        router.health.release(router.take())
    a.fails(RATE, counts_against_target=False, close_gate_for=5.0)
    b.hears()
    c.hears()
    assert b.refused().opens_at == pytest.approx(world.clock.now + 5, abs=0.1)
    world.pass_time(5.1)
    leader = c.take()
    assert leader.leads_gate
    assert b.refused().cause == "gate"
    c.health.release(leader)
    c.link.step()
    b.hears()
    world.pass_time(3.1)  # a third of one call a second: there are three routers
    assert not b.take().leads_gate


def test_a_key_that_is_refused_rests_for_all_until_one_is_answered() -> None:
    world = World(2)
    a, b = world.routers
    b.health.release(b.take())
    a.fails(AUTH, rests=True)
    b.hears()
    refusal = b.refused()
    assert refusal.cause == "rest"
    assert refusal.opens_at == pytest.approx(world.clock.now + 30, abs=0.1)
    world.pass_time(31, 1.0)
    b.health.release(b.take())
    b.link.step()
    a.hears()
    a.take()


def test_a_reset_holds_for_all() -> None:
    world = World(2)
    a, b = world.routers
    a.fails()
    a.fails()
    b.refused()
    b.health.reset()
    b.link.step()
    a.hears()
    assert a.known.state == "closed"
    a.take()


def test_the_retry_budget_is_one() -> None:
    world = World(2, HealthConfig(retry_burst=3, retry_ratio=0.5))
    a, b = world.routers
    for router in world.routers:
        router.health.release(router.take())
    assert all(a.health.spend_retry("vendor") for _ in range(3))
    world.pass_time(0.6)
    b.health.spend_retry("vendor")
    world.pass_time(0.6)
    assert not b.health.spend_retry("vendor")
    for _ in range(4):
        a.health.release(a.take())
    world.pass_time(0.6)
    assert b.health.spend_retry("vendor")


def test_a_state_that_is_gone_leaves_each_router_to_its_own_limits_and_warns_once() -> None:
    world = World(2, rpm=10)
    a, b = world.routers
    for _ in range(4):
        a.take()
    a.state.broken = b.state.broken = True
    world.pass_time(3.0)
    for router, left in ((a, 6), (b, 10)):
        assert sum(isinstance(router.try_once(), Permit) for _ in range(20)) == left
    for _ in range(20):
        world.pass_time(0.5)
    assert (a.told, b.told) == (["the state is gone"], ["the state is gone"])
    assert a.state.exchanges < 40, "it is asked with growing pauses"
    a.state.broken = b.state.broken = False
    world.pass_time(3.0)
    assert (a.told[1:], b.told[1:]) == ([None], [None])
    world.pass_time(1.0)
    third = Router(world)
    assert third.refused().cause == "limit", "what was used meanwhile is reported"


def test_what_the_state_has_said_of_a_limit_holds_when_it_is_gone() -> None:
    world = World(2, rpm=10)
    a, b = world.routers
    for _ in range(10):
        b.take()
    world.pass_time(1.0)
    told = a.refused().opens_at
    assert told is not None
    a.state.broken = b.state.broken = True
    world.pass_time(3.0)
    assert a.refused().opens_at == pytest.approx(told, abs=0.1)
    assert a.told == ["the state is gone"]
    world.pass_time(61.0, 0.1)
    a.take()


def test_a_state_that_is_gone_from_the_start_costs_no_call_its_wait() -> None:
    world = World(1, rpm=10, max_concurrency=5)
    (a,) = world.routers
    a.state.broken = True
    a.take()
    began = world.clock.now
    a.take()
    assert world.clock.now == began


def test_a_state_that_hangs_is_waited_for_no_longer_than_patience() -> None:
    world = World(1, rpm=10)
    (a,) = world.routers

    def meanwhile() -> None:
        refusal = a.health.acquire(KEY)
        assert isinstance(refusal, Refusal)
        assert refusal.cause == "state"
        assert refusal.opens_at == pytest.approx(world.clock.now + a.link.patience)
        world.clock.advance(a.link.patience)
        assert isinstance(a.health.acquire(KEY), Permit)
        assert isinstance(a.health.acquire(KEY), Permit)

    a.state.meanwhile = meanwhile
    a.link.begin()
    a.link.step()
    assert a.state.exchanges == 1


def test_a_state_that_is_slow_counts_as_gone_until_it_is_quick() -> None:
    world = World(1, rpm=1000)
    (a,) = world.routers
    a.state.slow_by = 0.5
    for _ in range(8):
        a.try_once()
        world.pass_time(0.5)
    assert [bool(reason) for reason in a.told] == [True]
    assert isinstance(a.health.acquire(KEY), Permit)
    a.state.slow_by = 0.0
    world.pass_time(4.0)
    assert a.told[-1] is None


def test_a_breaker_opened_while_the_state_was_gone_is_told_when_it_is_back() -> None:
    world = World(2)
    a, b = world.routers
    for router in world.routers:
        router.health.release(router.take())
    a.state.broken = True
    a.fails()
    a.fails()
    a.state.broken = False
    world.pass_time(0.6)
    b.hears()
    assert b.known.state != "closed"


def test_without_limits_calls_report_nothing() -> None:
    world = World(1)
    (a,) = world.routers
    a.health.release(a.take())
    world.pass_time(1.0)
    before = a.state.exchanges
    for _ in range(100):
        a.health.release(a.take())
    world.pass_time(5.0)
    assert a.state.exchanges == before


def test_a_router_that_rests_reports_nothing() -> None:
    world = World(1, rpm=100, max_concurrency=10, tpm=10_000)
    (a,) = world.routers
    a.health.release(a.take(tokens=10), tokens=5)
    world.pass_time(3.0)
    before = a.state.exchanges
    world.pass_time(10.0)
    assert a.state.exchanges == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_nothing_of_what_its_parent_was_lent() -> None:
    world = World(2, max_concurrency=4)
    a, b = world.routers
    a.take()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        in_flight, first = a.known.in_flight, a.health.acquire(KEY)
        os.write(writer, f"{in_flight} {getattr(first, 'cause', 'permit')} {type(a.try_once()).__name__}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"0 state Permit"
    assert sum(isinstance(b.try_once(), Permit) for _ in range(9)) <= 3
