"""What one router finds out of a target, all hear over a shared state: breakers, waits, refused keys, retries."""

from __future__ import annotations

import pytest

from helpers.router_world import AUTH, BAD, KEY, LEASE, RATE, World
from lee_llm_router.health.settings import HealthConfig


def _due_for_a_probe() -> World:
    """Two routers, both of which know that the first has opened the breaker, at the time of its first probe."""
    world = World(2)
    a, b = world.routers
    b.health.release(b.take())
    a.fails()
    a.fails()
    b.hears()
    world.pass_time(0.8)
    return world


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
    world = _due_for_a_probe()
    a, b = world.routers
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
    world = _due_for_a_probe()
    a, b = world.routers
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
