"""Budgets in a real Redis: every cent counted once, whatever happens to the server."""

from __future__ import annotations

import pytest

from helpers.redis_server import RedisServer, SlowWay
from lee_llm_router.settings.redis_connection import RedisProblem
from lee_llm_router.telemetry.pricing.ledger_redis import RedisLedger

pytestmark = pytest.mark.redis

DAY, TOTAL = "all calls|day|2026-11-26", "role planner|total|total"


def _ledger(server: RedisServer | SlowWay, namespace: str) -> RedisLedger:
    return RedisLedger(server.url, namespace, timeout=0.5)


def test_all_who_share_a_namespace_share_the_sums(redis_server: RedisServer) -> None:
    """And nobody else does. 0 only reads."""
    one, other, stranger = (_ledger(redis_server, name) for name in ("sum", "sum", "else"))
    assert one.add({DAY: 0.25, TOTAL: 1e-7}) == {DAY: 0.25, TOTAL: 1e-7}
    assert other.add({DAY: 0.5, TOTAL: 0}) == {DAY: 0.75, TOTAL: 1e-7}
    assert stranger.add({DAY: 0}) == {DAY: 0}


def test_every_key_expires_and_has_one_hash_tag(redis_server: RedisServer) -> None:
    _ledger(redis_server, "keys").add({DAY: 0.25, TOTAL: 1})
    with redis_server.client() as client:
        keys = client.keys("*keys:*")
        assert len(keys) == 3 and all(key.startswith("{keys:budgets}:") for key in keys)
        assert all(client.pttl(key) > 0 for key in keys)


@pytest.mark.parametrize("failures", [1, 2])
def test_an_addition_that_arrived_but_was_not_answered_counts_once(redis_server: RedisServer, failures: int) -> None:
    """Also if it fails several times, and more is added meanwhile."""
    with SlowWay(redis_server.port) as way:
        ledger = _ledger(way, f"once-{failures}")
        ledger.add({DAY: 1})
        way.delay = 0.8
        for extra in range(failures):
            with pytest.raises(RedisProblem, match="no answer in time"):
                ledger.add({DAY: 1 + extra})
        way.delay = 0
        assert ledger.add({DAY: 1 + failures}) == {DAY: 2 + failures}


def test_a_server_that_has_lost_its_data_gets_the_sums_back(redis_server: RedisServer) -> None:
    one, other = _ledger(redis_server, "lost"), _ledger(redis_server, "lost")
    one.add({DAY: 2})
    other.add({DAY: 1})
    redis_server.kill()
    with pytest.raises(RedisProblem, match="no connection"):
        one.add({DAY: 1})
    redis_server.start()
    assert one.add({DAY: 1}) == {DAY: 3}
    assert other.add({DAY: 0}) == {DAY: 3}
