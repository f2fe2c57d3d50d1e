"""Calls of a router over an open breaker, a used up retry budget and a full limit: they wait, go on or end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from helpers.support import Memory, Took, config_for, provider_of, router_for
from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError, Provider, ProviderConfig, register
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType, LLMTimeoutError, UnavailableError, error_for
from lee_llm_router.health import Permit

DOWN = error_for(FailureType.PROVIDER_ERROR, "down")
KEY = ("a", "m")


def test_an_open_breaker_costs_no_attempt_and_one_probe_finds_recovery() -> None:
    """Primary down, healthy fallback: after it opens, only probes reach the primary; back within one probe."""
    plays: dict[str, list[Any]] = {"a": [*[DOWN] * 7, "a is back"], "b": ["b"]}
    router, memory, clock = router_for(config_for(plays, {"retry": {"attempts": 1}}))
    assert [router.complete("r", "hi").text for _ in range(20)] == ["b"] * 20
    assert len(provider_of(router, "a").calls) == 5
    skips = [record for record in memory.records if record.outcome == "skipped"]
    assert len(skips) == 15 and "circuit breaker" in (skips[0].error or "")
    for probes in (6, 7):
        clock.advance(60)
        assert router.complete("r", "hi").text == "b"
        assert router.complete("r", "hi").text == "b"
        assert len(provider_of(router, "a").calls) == probes
    clock.advance(60)
    assert [router.complete("r", "hi").text for _ in range(3)] == ["a is back"] * 3
    names = [event.event for event in memory.events if event.event.startswith("breaker")]
    assert names == ["breaker.open", "breaker.open", "breaker.open", "breaker.close"]


def test_without_patience_an_open_breaker_fails_at_once_with_retry_after() -> None:
    """UNAVAILABLE, typed, no wait, and the time of the next probe."""
    router, _, clock = router_for(config_for({"a": [DOWN]}, {"retry": {"attempts": 1, "patience": 0}}))
    for _ in range(5):
        with pytest.raises(LLMRouterError, match="down"):
            router.complete("r", "hi")
    with pytest.raises(UnavailableError, match="no target can be asked") as caught:
        router.complete("r", "hi")
    assert 0.5 <= (caught.value.retry_after or 0) <= 1
    assert clock.sleeps == []
    assert router.health()[KEY].state == "open"


def test_a_breaker_that_opens_in_the_middle_of_a_call_ends_its_retries() -> None:
    health = HealthConfig(cooldown=60, max_cooldown=60)
    role = {"retry": {"attempts": 50, "max_attempts": 100, "patience": 0}}
    config = config_for({"a": [DOWN], "b": ["b"]}, role).model_copy(update={"health": health})
    router, _, _ = router_for(config)
    assert router.complete("r", "hi").text == "b"
    assert len(provider_of(router, "a").calls) == 5

    router, memory, clock = router_for(config_for({"a": [DOWN]}, role).model_copy(update={"health": health}))
    with pytest.raises(LLMRouterError, match="down"):
        router.complete("r", "hi")
    assert len(memory.records) == 5 and memory.records[-1].verdict == "raise"
    assert len(clock.sleeps) == 4, "no wait after the last attempt"


def test_a_used_up_retry_budget_goes_to_the_next_target() -> None:
    """Retries of our own choosing stay bounded over all calls; vendors' named waits are not charged."""
    role = {"retry": {"attempts": 2}}
    config = config_for({"a": [*[DOWN, "ok"] * 40], "b": ["b"]}, role)
    router, _, _ = router_for(
        config.model_copy(update={"health": HealthConfig(retry_burst=3, retry_ratio=0, failures_in_a_row=99)})
    )
    answers = [router.complete("r", "hi").text for _ in range(8)]
    assert answers.count("ok") >= 3 and "b" in answers


class Slow(Provider[ProviderConfig]):
    """Takes until it is told, and notes how many are in it at once."""

    inside = 0
    most = 0
    lock = threading.Lock()
    order: list[str]
    gate: threading.Semaphore

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        with Slow.lock:
            Slow.inside += 1
            Slow.most = max(Slow.most, Slow.inside)
            Slow.order.append(str(request.metadata["n"]))
        assert Slow.gate.acquire(timeout=20)
        with Slow.lock:
            Slow.inside -= 1
        return LLMResponse(text="ok", finish_reason="stop")


register("slow", Slow, replace=True)


def _slow_router(**settings: Any) -> tuple[Any, Memory]:
    Slow.inside = Slow.most = 0
    Slow.order = []
    Slow.gate = threading.Semaphore(0)
    memory = Memory()
    from lee_llm_router import LeeLLMRouter, load_config

    config = load_config(
        {
            "llm": {
                "providers": {"s": {"type": "slow", "max_concurrency": 2}},
                "roles": {"r": {"provider": "s", **settings}},
            }
        }
    )
    return LeeLLMRouter(config, trace_store=memory), memory


def _until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("did not come about")


def test_threads_wait_for_a_free_place_in_order_of_arrival() -> None:
    """Never more than two at once; nobody overtakes; all are served."""
    router, _ = _slow_router()
    threads = []
    for n in range(8):
        thread = threading.Thread(target=router.complete, args=("r", "hi"), kwargs={"metadata": {"n": n}})
        thread.start()
        threads.append(thread)
        _until(lambda n=n: (h := router.health().get(("s", None))) and h.in_flight + h.waiting == n + 1)
    _until(lambda: len(Slow.order) == 2)
    for served in range(3, 9):
        Slow.gate.release()
        _until(lambda served=served: len(Slow.order) == served)
    for _ in range(2):
        Slow.gate.release()
    for thread in threads:
        thread.join(20)
    assert Slow.most == 2
    assert Slow.order[2:] == ["2", "3", "4", "5", "6", "7"]
    health = router.health()["s", None]
    assert (health.in_flight, health.waiting, health.successes) == (0, 0, 8)


def test_a_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    """Cancelled while queued: traced, nobody stuck behind, no permit lost. Also when the deadline comes first."""

    async def main() -> None:
        router, memory = _slow_router()
        ask = [asyncio.create_task(router.complete_async("r", "hi", metadata={"n": n})) for n in range(4)]
        late = asyncio.create_task(router.complete_async("r", "hi", metadata={"n": "late"}, deadline=0.1))
        await asyncio.sleep(0.02)
        ask[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask[2]
        with pytest.raises(LLMRouterError) as caught:
            await late
        assert caught.value.failure_type in (FailureType.TIMEOUT, FailureType.UNAVAILABLE)
        for _ in range(3):
            Slow.gate.release()
        await asyncio.gather(ask[0], ask[1], ask[3])
        assert router.health()["s", None].in_flight == router.health()["s", None].waiting == 0
        assert sorted(r.outcome for r in memory.records) == ["cancelled", "error", "ok", "ok", "ok"]

    asyncio.run(main())


def test_waiting_for_a_place_that_never_comes_free_ends_with_the_deadline() -> None:
    """One wait, no spinning, and a typed error with a record, though nobody ever wakes the queue."""
    config = config_for({"a": ["no"]}, {"deadline": 10}, {"a": {"max_concurrency": 1}})
    router, memory, clock = router_for(config)
    assert isinstance(router._parts.health.acquire(KEY), Permit), "somebody else holds the only place"
    with pytest.raises(LLMTimeoutError, match="deadline of 10 s"):
        router.complete("r", "hi")
    assert clock.sleeps == [9.999]
    assert [(r.attempt, r.failure_type) for r in memory.records] == [(None, "TIMEOUT")]
    assert router.health()[KEY].waiting == 0


def test_health_is_data_for_dashboards() -> None:
    """State, failures, waits, in flight, for each target asked so far."""
    router, _, _ = router_for(config_for({"a": [Took(1, DOWN)], "b": ["ok"]}, {"retry": {"attempts": 1}}))
    router.complete("r", "hi")
    health = router.health()
    assert (health["a", "m"].failures, health["a", "m"].last_failure, health["b", "m"].successes) == (
        1,
        "PROVIDER_ERROR",
        1,
    )
