"""A shared state that is gone, hangs or is slow costs no call: each router goes on with what it knows."""

from __future__ import annotations

import pytest

from helpers.router_world import KEY, Router, World
from lee_llm_router.health import Permit, Refusal


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
