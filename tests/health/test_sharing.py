"""Routers that share a state use its limits up together, and lose nothing of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from helpers.router_world import KEY, LEASE, World
from lee_llm_router.health import Permit


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
