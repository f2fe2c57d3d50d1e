"""Breaker, vendor's gate, local limits, retry budget: what they let through, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.support import FakeClock
from lee_llm_router import ProviderConfig
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType
from lee_llm_router.health import MAX_TARGETS, Health, Permit, Refusal

KEY = ("a", "m")


class Anything(dict[str, Any]):
    def __missing__(self, name: str) -> ProviderConfig:
        return ProviderConfig(type="scripted")


def _health(clock: FakeClock, providers: Mapping[str, ProviderConfig] | None = None, **settings: Any) -> Health:
    return Health(HealthConfig(**settings), providers or Anything(), clock, lambda: 1.0)


def _acquire(health: Health, key: tuple[str, str | None] = KEY) -> Permit:
    permit = health.acquire(key)
    assert isinstance(permit, Permit), permit
    return permit


def _fail(health: Health, times: int = 1) -> list[str | None]:
    return [health.release(_acquire(health), FailureType.TIMEOUT, counts_against_target=True) for _ in range(times)]


def test_failures_in_a_row_open_the_breaker_and_one_probe_closes_it() -> None:
    """Open: nobody. After the cool-down: one probe at a time. Any answer closes it."""
    clock = FakeClock()
    health = _health(clock, failures_in_a_row=3)
    assert _fail(health, 3) == [None, None, "open"]
    refusal = health.acquire(KEY)
    assert isinstance(refusal, Refusal) and (refusal.cause, refusal.opens_at) == ("breaker", clock.now + 1)
    assert health.snapshot()[KEY].state == "open"
    clock.advance(1)
    assert health.snapshot()[KEY].state == "half_open"
    probe = _acquire(health)
    assert probe.probe and isinstance(health.acquire(KEY), Refusal)
    assert health.release(probe) == "close"
    assert not _acquire(health).probe


def test_a_400_closes_it_and_a_cancelled_probe_gives_its_place_back() -> None:
    clock = FakeClock()
    health = _health(clock, failures_in_a_row=1)
    _fail(health)
    clock.advance(1)
    assert health.release(_acquire(health), FailureType.CANCELLED) is None
    assert health.snapshot()[KEY].state == "half_open"
    assert health.release(_acquire(health), FailureType.INVALID_REQUEST) == "close"


def test_the_cool_down_doubles_with_each_trip_up_to_its_bound() -> None:
    """1, 2, 4, 5 s, drawn between half and the whole; after a calm row of answers it is short again."""
    clock = FakeClock()
    health = _health(clock, failures_in_a_row=1)
    waits = []
    for _ in range(8):
        _fail(health)
        waits.append(health.snapshot()[KEY].retry_after)
        clock.advance(waits[-1])
    assert waits == [1, 2, 4, 5, 5, 5, 5, 5]
    for _ in range(5):
        health.release(_acquire(health))
    _fail(health)
    assert health.snapshot()[KEY].retry_after == 1


def test_a_failure_rate_opens_it_once_there_are_enough_requests() -> None:
    """Half of at least 20 within the window; what is older does not count."""
    clock = FakeClock()
    health = _health(clock)
    for _ in range(9):
        _fail(health)
        health.release(_acquire(health))
    _fail(health)
    assert health.snapshot()[KEY].state == "closed"
    health.release(_acquire(health))
    _fail(health)
    assert health.snapshot()[KEY].state == "open"

    health = _health(clock)
    for _ in range(30):
        _fail(health)
        health.release(_acquire(health))
        clock.advance(3.5)
    assert health.snapshot()[KEY].state == "closed"


def test_late_failures_of_one_outage_are_one_trip() -> None:
    """Attempts that were under way when it opened do not make the cool-down longer, nor close it."""
    clock = FakeClock()
    health = _health(clock, failures_in_a_row=2)
    under_way = [_acquire(health) for _ in range(6)]
    results = [health.release(permit, FailureType.TIMEOUT, counts_against_target=True) for permit in under_way[:5]]
    assert results == [None, "open", None, None, None]
    assert health.release(under_way[5]) is None
    assert health.snapshot()[KEY].retry_after == 1 and health.snapshot()[KEY].state == "open"


def test_a_gate_opens_to_one_first_then_at_a_rate_that_grows_and_halves() -> None:
    clock = FakeClock()
    health = _health(clock)
    health.release(_acquire(health), FailureType.RATE_LIMIT, close_gate_for=10)
    assert isinstance(health.acquire(KEY), Refusal)
    clock.advance(10)
    first = _acquire(health)
    assert first.leads_gate
    refusal = health.acquire(KEY)
    assert isinstance(refusal, Refusal) and (refusal.cause, refusal.opens_at) == ("gate", None)
    health.release(first)
    gaps = []
    for _ in range(12):
        refusal = health.acquire(KEY)
        assert isinstance(refusal, Refusal) and refusal.opens_at is not None
        gaps.append(round(refusal.opens_at - clock.now, 6))
        clock.now = refusal.opens_at
        health.release(_acquire(health))
    assert gaps[0] == pytest.approx(1.0) and gaps == sorted(gaps, reverse=True) and gaps[-1] <= 0.5
    clock.advance(gaps[-1])
    health.release(_acquire(health), FailureType.RATE_LIMIT, close_gate_for=1)
    clock.advance(1)
    health.release(_acquire(health))
    refusal = health.acquire(KEY)
    assert isinstance(refusal, Refusal) and refusal.opens_at is not None
    assert refusal.opens_at - clock.now == pytest.approx(2 * gaps[-1], rel=0.15)


def test_a_retry_after_of_zero_shuts_nothing_and_paces_nobody() -> None:
    health = _health(FakeClock())
    health.release(_acquire(health), FailureType.RATE_LIMIT, close_gate_for=0.0)
    assert all(isinstance(health.acquire(KEY), Permit) for _ in range(50))


def test_pacing_ends_once_a_minute_has_passed_without_a_429() -> None:
    clock = FakeClock()
    health = _health(clock)
    health.release(_acquire(health), FailureType.RATE_LIMIT, close_gate_for=1)
    clock.advance(1)
    health.release(_acquire(health))
    clock.advance(61)
    health.release(_acquire(health))
    assert all(isinstance(health.acquire(KEY), Permit) for _ in range(50))


def test_a_stale_shorter_retry_after_never_shortens_a_longer_one() -> None:
    """Two attempts under way at once: the older one's 5 s come in after the younger one's 60."""
    clock = FakeClock()
    health = _health(clock)
    older, younger = _acquire(health), _acquire(health)
    health.release(younger, FailureType.RATE_LIMIT, close_gate_for=60)
    health.release(older, FailureType.RATE_LIMIT, close_gate_for=5)
    assert health.snapshot()[KEY].retry_after == 60


def test_limits_hold_over_all_models_of_a_provider() -> None:
    """`max_concurrency` at once; `rpm` starts within any 60 seconds."""
    clock = FakeClock()
    providers = {"a": ProviderConfig(type="scripted", max_concurrency=2), "b": ProviderConfig(type="scripted", rpm=2)}
    health = _health(clock, providers)
    one, _ = _acquire(health, ("a", "x")), _acquire(health, ("a", "y"))
    assert isinstance(health.acquire(("a", "z")), Refusal)
    health.release(one)
    _acquire(health, ("a", "z"))
    for wait in (0, 20):
        clock.advance(wait)
        health.release(_acquire(health, ("b", None)))
    refusal = health.acquire(("b", None))
    assert isinstance(refusal, Refusal) and refusal.opens_at == clock.now + 40
    clock.advance(40)
    _acquire(health, ("b", None))


def test_who_queues_just_after_the_way_became_free_is_woken_at_once() -> None:
    """No wake-up is lost between a refusal and the place in the queue; one who is behind others stays asleep."""
    health = _health(FakeClock(), {"a": ProviderConfig(type="scripted", max_concurrency=1)})
    key = ("a", "m")
    held = _acquire(health, key)
    assert isinstance(health.acquire(key), Refusal) and isinstance(health.acquire(key), Refusal)
    health.release(held)
    first, second = health.queue(key), health.queue(key)
    assert first.woken.done() and not second.woken.done()
    assert isinstance(health.acquire(key, first), Permit)


def test_the_retry_budget_holds_a_burst_and_is_refilled_by_answers() -> None:
    """A hundred at once, then one for every five answers; failures and time pay for nothing."""
    clock = FakeClock()
    health = _health(clock)
    assert sum(health.spend_retry("a") for _ in range(200)) == 100
    spent = 0
    for _ in range(1000):
        health.release(_acquire(health))
        spent += health.spend_retry("a")
    assert 195 <= spent <= 200
    _fail(health)
    clock.advance(1000)
    assert sum(health.spend_retry("a") for _ in range(10)) <= 1


def test_memory_is_bounded_and_nobody_under_way_is_forgotten() -> None:
    health = _health(FakeClock())
    held = _acquire(health, ("p", "held"))
    for index in range(MAX_TARGETS + 10):
        health.release(_acquire(health, ("p", str(index))))
    assert MAX_TARGETS * 0.9 < len(health.snapshot()) <= MAX_TARGETS
    assert health.release(held) is None and health.snapshot()["p", "held"].successes == 1


def test_whoever_is_asked_now_and_then_is_not_forgotten_for_names_that_callers_make_up() -> None:
    clock = FakeClock()
    health = _health(clock)
    for index in range(2 * MAX_TARGETS):
        if index % 1000 == 0:
            health.release(_acquire(health))
        health.release(_acquire(health, ("p", str(index))))
        clock.advance(0.01)
    assert health.snapshot()[KEY].successes == 9
