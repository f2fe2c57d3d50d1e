"""Nothing is lost in an outage: calls wait while their targets are shut, within their patience and their deadline."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.support import FakeClock, config_for, provider_of, router_for
from lee_llm_router import (
    LLMConfig,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    UnavailableError,
)
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.health import Health, Permit, Refusal
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.testing import After, ScriptedRouter

BUSY = error_for(FailureType.OVERLOADED, "busy")
UNREACHED = ProviderError("refused", sent=False)


def _outage(
    seconds: float, failure: LLMRouterError, role: dict[str, Any] | None = None, **health: Any
) -> tuple[ScriptedRouter, list[float]]:
    """A router whose only target fails for `seconds`, and the moments at which that is asked."""
    asked: list[float] = []

    def play(request: LLMRequest) -> Any:
        asked.append(router.clock.now)
        return failure if router.clock.now < seconds else "back"

    config = {"providers": {"a": {"type": "mock"}}, "roles": {"r": {"provider": "a", "model": "m", **(role or {})}}}
    router = ScriptedRouter({"llm": {**config, "health": health}}, answers={"a": [play] * 1000}, random=lambda: 0.0)
    return router, asked


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("failure", [BUSY, UNREACHED], ids=["busy", "unreached"])
@pytest.mark.parametrize("seconds", [0.6, 2.5, 8.0, 9.9])
def test_an_outage_shorter_than_the_patience_loses_no_call_that_meets_an_open_breaker(
    seconds: float, failure: LLMRouterError, attempts: int
) -> None:
    """Sixteen calls at once, whatever `attempts` says; while it lasts at most one request in a cool-down is sent."""
    role = {"retry": {"attempts": attempts, "max_attempts": attempts}}
    router, asked = _outage(seconds, failure, role, failures_in_a_row=1)
    with pytest.raises(LLMRouterError):
        router.complete("r", "opens the breaker", deadline=0.01)

    async def main() -> list[LLMResponse]:
        return await asyncio.gather(*(router.complete_async("r", "hi") for _ in range(16)))

    assert [answer.text for answer in asyncio.run(main())] == ["back"] * 16
    probes = [moment for moment in asked if moment < seconds]
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(probes))
    assert router.clock.now <= 12


def test_an_outage_longer_than_the_patience_ends_in_one_error_that_says_what_was_waited_for() -> None:
    router, asked = _outage(1e9, BUSY, {"retry": {"patience": 3}}, failures_in_a_row=1)
    with pytest.raises(LLMRouterError) as raised:
        router.complete("r", "hi")
    assert 3 <= router.clock.now <= 4.5
    assert raised.value.failure_type in ("UNAVAILABLE", "OVERLOADED") and "busy" in str(raised.value)
    assert 2 <= len(asked) <= 10
    health = router.health()["a", "m"]
    assert (health.in_flight, health.waiting, health.available) == (0, 0, False)
    assert health.reason == "its circuit breaker is open" and health.retry_after > 0


def test_a_wait_for_a_breaker_ends_with_the_deadline() -> None:
    router, _ = _outage(1e9, BUSY, {"deadline": 2, "retry": {"patience": 60}}, failures_in_a_row=1)
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert router.clock.now <= 2


def test_the_wait_for_a_place_is_no_part_of_the_timeout_and_ends_with_the_deadline() -> None:
    """The error then says what the call waited for, and how long."""
    provider = {"type": "mock", "max_concurrency": 1}
    role = {"provider": "a", "timeout": 4, "deadline": 9, "retry": {"attempts": 1}}
    config = {"providers": {"a": provider}, "roles": {"r": role}}
    router = ScriptedRouter({"llm": config}, answers={"a": [After(3, "x")] * 9})

    async def main() -> list[LLMResponse | BaseException]:
        return await asyncio.gather(*(router.complete_async("r", "hi") for _ in range(5)), return_exceptions=True)

    ends: list[Any] = asyncio.run(main())
    assert [end.text for end in ends[:3]] == ["x"] * 3
    assert all(isinstance(end, LLMTimeoutError) for end in ends[3:])
    assert "after a wait of" in str(ends[-1]) and "a: " in str(ends[-1])


def test_with_another_target_left_nobody_waits_for_a_breaker() -> None:
    router, _, clock = router_for(config_for({"a": [BUSY], "b": ["b"]}, {"retry": {"attempts": 1}}))
    assert [router.complete("r", "hi").text for _ in range(20)] == ["b"] * 20
    assert clock.sleeps == [] and len(provider_of(router, "a").calls) == 5


# A target that cannot serve


@pytest.mark.parametrize("kind", ["AUTH", "QUOTA", "MODEL_NOT_FOUND"])
def test_a_target_that_cannot_serve_rests_and_is_tried_once_in_a_while(kind: str) -> None:
    """Fifty calls within a minute ask it at most three times; an answer ends the rest."""
    router, memory, clock = router_for(
        config_for({"a": [*[error_for(FailureType(kind), "no")] * 3, "a again"], "b": ["b"]})
    )
    texts = []
    for _ in range(50):
        texts.append(router.complete("r", "hi").text)
        clock.advance(1.2)
    assert texts == ["b"] * 50 and len(provider_of(router, "a").calls) == 2
    skip = next(record for record in memory.records if record.outcome == "skipped")
    assert f"it is resting after {kind}" in str(skip.error)
    assert router.health()["a", "m"].reason == f"it is resting after {kind}"
    clock.advance(600)
    assert router.complete("r", "hi").text == "b"
    clock.advance(600)
    assert [router.complete("r", "hi").text for _ in range(2)] == ["a again"] * 2


@pytest.mark.parametrize(("kind", "rests"), [("AUTH", True), ("QUOTA", True), ("MODEL_NOT_FOUND", False)])
def test_a_refused_key_rests_all_models_of_its_provider_and_an_unknown_model_only_itself(
    kind: str, rests: bool
) -> None:
    router, _, _ = router_for(config_for({"a": [error_for(FailureType(kind), "no"), "ok"], "b": ["b"]}))
    router.complete("r", "hi")
    assert router.complete("r", "hi", model="other").text == ("b" if rests else "ok")


def test_a_quota_that_says_until_when_waits_for_that_and_does_not_rest() -> None:
    router, _, clock = router_for(
        config_for({"a": [error_for(FailureType.QUOTA, "no", retry_after=5.0), "ok"], "b": ["b"]})
    )
    assert router.complete("r", "hi").text == "b"
    clock.advance(5)
    assert router.complete("r", "hi").text == "ok"


def test_a_resting_target_is_asked_all_the_same_if_there_is_no_other() -> None:
    router, _, _ = router_for(config_for({"a": [error_for(FailureType.AUTH, "no"), "ok"]}))
    with pytest.raises(LLMRouterError, match="no"):
        router.complete("r", "hi")
    assert router.complete("r", "hi").text == "ok"


def test_reset_health_forgets_what_keeps_targets_away() -> None:
    """All of it, of one provider, or of one model."""
    plays: dict[str, list[Any]] = {"a": [error_for(FailureType.AUTH, "no"), "ok"], "b": ["b"]}
    for names in ({}, {"provider": "a"}):
        router, _, _ = router_for(config_for(plays))
        assert router.complete("r", "hi").text == "b"
        router.reset_health(provider="b")
        assert router.complete("r", "hi").text == "b"
        router.reset_health(**names)
        assert router.complete("r", "hi").text == "ok"
        assert router.health()["a", "m"].available


# The retry budget


def test_a_retry_that_cannot_be_paid_for_is_put_off_and_then_names_the_budget() -> None:
    config = config_for({"a": [BUSY]}, {"retry": {"attempts": 3, "max_backoff": 2}})
    config = config.model_copy(update={"health": HealthConfig(retry_burst=0, failures_in_a_row=99)})
    router, memory, clock = router_for(LLMConfig.model_validate(config))
    with pytest.raises(UnavailableError, match="the retry budget of provider 'a' is used up"):
        router.complete("r", "hi")
    assert 2 <= clock.now - 1000 <= 3 and len(provider_of(router, "a").calls) == 1
    assert "retry budget" in str(memory.records[-1].error)
    health = router.health()["a", "m"]
    assert health.retry_budget == 0 and "retry budget" in str(health.reason) and health.available


def test_a_retry_that_an_answer_pays_for_meanwhile_is_made() -> None:
    config = config_for({"a": [BUSY, "ok"]}, {"retry": {"attempts": 2}})
    config = config.model_copy(update={"health": HealthConfig(retry_burst=1, retry_ratio=1, failures_in_a_row=99)})
    router, _, clock = router_for(LLMConfig.model_validate(config))
    health: Health = router._parts.health
    assert health.spend_retry("a")
    sleep = clock.sleep

    def answered_elsewhere(seconds: float) -> None:
        sleep(seconds)
        permit = health.acquire(("a", "other"))
        assert isinstance(permit, Permit)
        health.release(permit)

    clock.sleep = answered_elsewhere  # type: ignore[method-assign]
    assert router.complete("r", "hi").text == "ok"


# Any order of events


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(["acquire", "last chance", "answer", "failure", "cancel", "pass"]), max_size=60))
def test_no_order_of_events_lets_two_probes_out(events: list[str]) -> None:
    """Nor more attempts, after a probe has succeeded, than answers have come since."""
    clock = FakeClock()
    health = Health(HealthConfig(failures_in_a_row=2), {"a": ProviderConfig(type="scripted")}, clock, lambda: 0.0)
    key, out = ("a", "m"), []
    for event in events:
        if event == "pass":
            clock.advance(0.3)
        elif event in ("acquire", "last chance"):
            answer = health.acquire(key, last_chance=event == "last chance")
            if isinstance(answer, Permit):
                out.append(answer)
            else:
                assert isinstance(answer, Refusal) and answer.cause in ("breaker", "recovery")
        elif out:
            permit = out.pop(0)
            outcome = {"answer": None, "failure": FailureType.TIMEOUT, "cancel": FailureType.CANCELLED}[event]
            health.release(permit, outcome, counts_against_target=event == "failure")
        assert sum(permit.probe for permit in out) <= 1
        assert health.snapshot()[key].in_flight == len(out) if health.snapshot() else not out
    for permit in out:
        health.release(permit, FailureType.CANCELLED)
    clock.advance(60)
    assert isinstance(health.acquire(key, last_chance=True), Permit), "nothing is shut for ever"


def test_a_call_ends_by_its_deadline_though_it_is_told_to_wait_for_a_moment_that_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time passes in every wait, so that no fault of our own becomes a loop without an end."""
    router, _, clock = router_for(config_for({"a": ["ok"]}, {"deadline": 0.05}))
    now = clock.monotonic
    refused = lambda *_, **__: Refusal("limit", "at the limit set for it", now(), now())  # noqa: E731
    monkeypatch.setattr(router._parts.health, "acquire", refused)
    with pytest.raises(LLMTimeoutError):
        router.complete("r", "hi")
