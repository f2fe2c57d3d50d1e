"""What every shared state promises, kept by a real Redis, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import pytest

from health.test_shared_state import *  # noqa: F403
from helpers.redis_server import RedisServer
from helpers.shared_states import Ground
from lee_llm_router.health.shared.contract import DoorReport, DoorView, LimitsReport, LimitsView, Rest, Use
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.health.shared.redis_state import RedisSettings, RedisState
from lee_llm_router.settings.redis_connection import RedisProblem
from lee_llm_router.telemetry.pricing.ledger_redis import RedisLedger
from lee_llm_router.testing import FakeClock

pytestmark = pytest.mark.redis

_grounds = count()


@pytest.fixture  # type: ignore[no-redef]
def ground(redis_server: RedisServer) -> Iterator[Ground]:
    """One namespace of the server for each test."""
    clock = FakeClock()
    settings = RedisSettings(type="redis", url=redis_server.url, namespace=f"{{test}}{next(_grounds)}", timeout=5)
    made = Ground(lambda: RedisState(settings, now=lambda: 1_800_000_000_000 + clock.monotonic() * 1000), clock.advance)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(2))
def test_the_scripts_decide_as_the_rules_do(redis_server: RedisServer, seed: int) -> None:
    """Whatever five members report, in whatever order, with any pauses between."""
    dice, clock, room = Random(seed), FakeClock(), MemoryRoom()
    room.now = clock.monotonic
    clock.advance(0.0005)  # so that no moment is at the edge of a tick, where numbers of 0.1 s are off by a hair
    settings = RedisSettings(type="redis", url=redis_server.url, namespace=f"rules{seed}", timeout=5)
    redis, memory = RedisState(settings, now=lambda: clock.monotonic() * 1000), MemoryState(room=room)
    for step in range(400):
        clock.advance(dice.choice((0, 0.013, 0.25, 0.7, 5, 61)) if step % 9 else dice.randrange(90))
        limits, door = _random_limits(dice), _random_door(dice)
        expected, found = (state.exchange([limits], [door]) for state in (memory, redis))
        assert _limits_seen(found.limits[0]) == _limits_seen(expected.limits[0]), (step, limits)
        assert _door_seen(found.doors[0]) == _door_seen(expected.doors[0]), (step, door)
    redis.close()


def _random_limits(dice: Random) -> LimitsReport:
    some = partial(dice.choice, (0, 0, 1, 3, 8))
    wanted = some()
    return LimitsReport(
        "s", dice.choice("abcde"), dice.choice((0.5, 2.0)), rpm=dice.choice((None, 6, 20, 20)),
        tpm=dice.choice((None, 500)), max_concurrency=dice.choice((None, 4)), starts_held=some(), starts_wanted=some(),
        used=tuple(Use(dice.choice((0.0, 75.0)), some(), dice.choice((0, 90, -40))) for _ in range(some())),
        tokens_held=10 * some(), tokens_wanted=100 * wanted, tokens_needed=dice.choice((0, 100 * wanted)),
        in_flight=some(), slots_wanted=some(), retries_spent=some(), retries_earned=some() / 4, retry_burst=10.0,
        leaves=not dice.randrange(12),
    )  # fmt: skip


def _random_door(dice: Random) -> DoorReport:
    seconds = partial(dice.choice, (None, None, None, 0.5, 3.0, 700.0))
    resting = seconds()
    return DoorReport(
        "s", dice.choice("abcde"), dice.choice((0.5, 2.0)), seconds(), seconds(), not dice.randrange(6), seconds(),
        not dice.randrange(4), None if resting is None else Rest(resting, resting * 2, "auth"), not dice.randrange(9),
        not dice.randrange(15), *(not dice.randrange(3) for _ in range(4)),
    )  # fmt: skip


def _limits_seen(view: LimitsView) -> tuple[object, ...]:
    next_in = None if view.next_in is None else round(view.next_in, 6)
    return view.starts, view.tokens, view.slots, next_in, view.is_contended, round(view.retries, 6)


def _door_seen(view: DoorView) -> tuple[object, ...]:
    rest = None if view.rest is None else (round(view.rest.seconds, 6), view.rest.length, view.rest.reason)
    return (
        view.is_open, round(view.probe_in, 6), round(view.waits_for, 6), view.is_led, rest, view.has_pass,
        view.is_passed, view.others, view.version > 0,
    )  # fmt: skip


def test_every_key_expires_and_stays_with_its_scope(redis_server: RedisServer) -> None:
    """A door not before what is noted of it is over. All keys of a scope have one hash tag."""
    state = RedisState(RedisSettings(type="redis", url=redis_server.url, namespace="keys{}", timeout=5))
    state.exchange([], [])
    state.exchange(
        [LimitsReport("v", "m", 1, rpm=1, tpm=1, used=(Use(0, 1, 1),), starts_wanted=1, retry_burst=2, retries_spent=1)]
        * 2,
        [DoorReport("v/{m}", "m", 1, opened_for=1.0), DoorReport("rests", "m", 1, rest=Rest(90_000, 90_000, "auth"))],
    )
    with redis_server.client() as client:
        left = {key: client.pttl(key) / 1000 for key in client.keys("*keys*")}
    tags = {"{keys%7B%7D:alive}": 0, "{keys%7B%7D:v}": 5, "{keys%7B%7D:v/%7Bm%7D}": 2, "{keys%7B%7D:rests}": 2}
    assert {tag: sum(key.startswith(f"{tag}:") for key in left) for tag in tags} == tags
    assert set(left) - {key for key in left if "}:" in key} == {"{keys%7B%7D:alive}"}
    assert all(0 < seconds <= 600 for key, seconds in left.items() if "rests}:door" not in key or "members" in key)
    assert left["{keys%7B%7D:rests}:door"] > 90_000
    state.close()


RIGHTS = (
    "+evalsha +script|load +subscribe +unsubscribe +publish +ping +time +exists +get +set +incrbyfloat +pexpire +hget"
    " +hmget +hset +hdel +hincrby +zadd +zcard +zrange +zrangebyscore +zrank +zrem +zremrangebyscore"
)
"""As `docs/state.md` has them."""


def test_the_documented_rights_are_enough(redis_server: RedisServer) -> None:
    with redis_server.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "router", "reset", "on", ">pw", "~{lee:*", "&lee:doors", *RIGHTS.split()
        )  # fmt: skip
        url = redis_server.url.replace("//", "//router:pw@")
        state = RedisState(RedisSettings(type="redis", url=url, namespace="lee", timeout=5))
        ledger = RedisLedger(url, "lee", timeout=5)
        assert state.wait_for_changes(0) is None
        state.exchange([], [])
        dice = Random(1)
        for _ in range(100):
            state.exchange([_random_limits(dice)], [_random_door(dice)])
        assert ledger.add({"all calls|day|2026-11-26": 1.5}) == {"all calls|day|2026-11-26": 1.5}
        assert state.wait_for_changes(1)
        state.close()
        ledger.close()
        with pytest.raises(RedisProblem, match="NoPermission"):
            RedisState(RedisSettings(type="redis", url=url, namespace="other")).exchange([], [])
        admin.execute_command("ACL", "DELUSER", "router")
    documented = (Path(__file__).parents[2] / "docs" / "state.md").read_text(encoding="utf-8")
    assert RIGHTS.split() == [word for line in documented.splitlines() for word in line.split() if word.startswith("+")]
