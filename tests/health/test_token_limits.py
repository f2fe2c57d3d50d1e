"""`tpm`: what is reserved, what takes its place, what the vendor corrects, and who waits for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.servers import Server, answering, completion, json_answer
from helpers.support import FakeClock, Took, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMResponse, LLMUsage
from lee_llm_router.config import HealthConfig, load_config
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.health import Health, Permit, Refusal
from lee_llm_router.health.minute_window import AmountLeft, LimitsLeft
from lee_llm_router.providers.base import ProviderConfig

KEY = ("a", "m")


def _health(clock: FakeClock, **settings: Any) -> Health:
    return Health(HealthConfig(), {"a": ProviderConfig(type="scripted", **settings)}, clock, lambda: 1.0)


def _acquire(health: Health, tokens: int, model: str = "m") -> Permit:
    permit = health.acquire(("a", model), tokens=tokens)
    assert isinstance(permit, Permit), permit
    return permit


def _wait(health: Health, clock: FakeClock, tokens: int, model: str = "m") -> float | None:
    answer = health.acquire(("a", model), tokens=tokens)
    if isinstance(answer, Permit):
        health.release(answer, FailureType.CANCELLED, tokens=0)
        return 0.0
    return None if answer.opens_at is None else round(answer.opens_at - clock.now, 3)


def _answer(tokens: int | None, **headers: str) -> LLMResponse:
    usage = LLMUsage() if tokens is None else LLMUsage(prompt_tokens=1, completion_tokens=tokens - 1)
    return LLMResponse(text="ok", usage=usage, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_no_more_tokens_than_the_limit_start_in_any_60_seconds() -> None:
    clock = FakeClock()
    health = _health(clock, tpm=100)
    _acquire(health, 60)
    clock.advance(20)
    _acquire(health, 40)
    assert [_wait(health, clock, tokens) for tokens in (0, 1, 60, 61, 100)] == [0, 40, 40, 60, 60]
    clock.advance(40)
    _acquire(health, 60)
    assert _wait(health, clock, 1) == 20


def test_the_usage_reported_takes_the_place_of_the_estimate() -> None:
    """Less makes room at once, more is waited for, nothing reported leaves the estimate."""
    clock = FakeClock()
    health = _health(clock, tpm=100)
    permit = _acquire(health, 90)
    assert _wait(health, clock, 50) == 60
    health.release(permit, tokens=10)
    assert _wait(health, clock, 50) == 0
    health.release(_acquire(health, 10), tokens=95)
    assert _wait(health, clock, 0) == 60, "105 were used"
    clock.advance(60)
    health.release(_acquire(health, 70))
    assert (_wait(health, clock, 30), _wait(health, clock, 31)) == (0, 60)


def test_usage_that_comes_after_a_minute_changes_nothing() -> None:
    clock = FakeClock()
    health = _health(clock, tpm=100)
    permit = _acquire(health, 90)
    clock.advance(61)
    health.release(permit, tokens=5000)
    assert _wait(health, clock, 100) == 0


def test_a_request_larger_than_the_limit_is_sent_when_nothing_else_is_counted() -> None:
    clock = FakeClock()
    health = _health(clock, tpm=100)
    _acquire(health, 1)
    assert _wait(health, clock, 10**9) == 60
    clock.advance(60)
    _acquire(health, 10**9)
    assert _wait(health, clock, 1) == 60


def test_a_hundred_thousand_starts_in_a_minute_are_held_in_little_memory() -> None:
    """Starts at nearly one moment are counted as one; none is counted for less than a minute, or twice."""
    clock = FakeClock()
    health = _health(clock, tpm=10_000)
    for _ in range(10_000):
        health.release(_acquire(health, 1), tokens=1)
        clock.advance(0.001)
    assert 49.9 < (_wait(health, clock, 1) or 0) <= 50.1
    window = health._providers["a", None].limits._tokens
    assert window is not None and len(window._uses) < 1000
    clock.advance(61)
    assert _wait(health, clock, 10_000) == 0


def test_a_model_has_limits_of_its_own_besides_those_of_the_provider() -> None:
    """What is closed by its model's limit holds up no other model."""
    clock = FakeClock()
    limits = {"m": {"tpm": 50}, "n": {"rpm": 1}, "o": {"max_concurrency": 1}}
    health = _health(clock, tpm=1000, model_limits=limits)
    _acquire(health, 50)
    waiting = health.queue(KEY, tokens=10)
    assert (_wait(health, clock, 1), _wait(health, clock, 1, "other")) == (60, 0)
    health.release(_acquire(health, 1, "n"))
    assert _wait(health, clock, 1, "n") == 60
    held = _acquire(health, 1, "o")
    assert _wait(health, clock, 1, "o") is None
    health.release(held)
    assert _wait(health, clock, 1, "o") == 0
    _acquire(health, 900, "other")
    assert _wait(health, clock, 100, "another") == 60, "the provider's own limit"
    health.leave_queue(waiting)


def test_a_small_request_does_not_keep_a_large_one_waiting() -> None:
    """In order of arrival, by the provider's limit and by a model's."""
    for limits in ({"tpm": 100}, {"model_limits": {"m": {"tpm": 100}}}):
        clock = FakeClock()
        health = _health(clock, **limits)
        permit = _acquire(health, 60)
        assert _wait(health, clock, 80) == 60
        large = health.queue(KEY, tokens=80)
        small = health.acquire(KEY, tokens=10)
        assert isinstance(small, Refusal) and small.cause == "queue"
        health.release(permit, tokens=5)
        assert large.woken.done()
        assert isinstance(health.acquire(KEY, large, tokens=80), Permit)
        assert _wait(health, clock, 10) == 0


def test_the_vendor_says_that_less_is_left() -> None:
    """What it lacks fades until the reset that it names; its next word takes the place of that."""
    clock = FakeClock()
    health = _health(clock, tpm=100, rpm=10)

    def hear(tokens: AmountLeft | None = None, requests: AmountLeft | None = None) -> None:
        health.release(_acquire(health, 0), tokens=0, left=LimitsLeft(requests, tokens))

    hear(AmountLeft(20, 40))
    assert [_wait(health, clock, tokens) for tokens in (20, 60, 100)] == [0, 20, 40]
    hear(AmountLeft(0, None))
    assert [_wait(health, clock, tokens) for tokens in (0, 50, 100)] == [0, 30, 60]
    hear(AmountLeft(10**9, 1))
    assert _wait(health, clock, 100) == 0
    hear(requests=AmountLeft(0, 30))
    assert _wait(health, clock, 1) == 10, "seven of ten are our own; of three one is back after a third of the time"
    clock.advance(60)
    assert _wait(health, clock, 1) == 0


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
def test_a_call_reserves_its_estimate_and_is_settled_by_its_usage(way: str) -> None:
    """A third of its bytes, and max_tokens; a call that does not fit waits until it does."""
    config = config_for({"a": [_answer(100)]}, {}, {"a": {"tpm": 1200}})
    router, memory, clock = router_for(config)

    def ask(text: str, max_tokens: int) -> None:
        if way == "stream":
            assert "".join(chunk.text for chunk in router.stream("r", text, max_tokens=max_tokens)) == "ok"
        elif way == "async":
            asyncio.run(router.complete_async("r", text, max_tokens=max_tokens))
        else:
            router.complete("r", text, max_tokens=max_tokens)

    ask("x" * 300, 1000)
    ask("é" * 150, 1000)
    assert clock.sleeps == [], "100 used, 1,100 wanted"
    ask("hi", 1001)
    assert clock.sleeps == [60], "200 used, 1,002 wanted"
    assert [record.waited_for for record in memory.records][:2] == [None, None]
    assert "limit" in (memory.records[-1].waited_for or "")


def test_without_max_tokens_a_usual_answer_is_reserved_and_a_picture_is_not_its_bytes() -> None:
    config = config_for({"a": [_answer(None)]}, {}, {"a": {"tpm": 2601}})
    router, _, clock = router_for(config)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    router.complete("r", [{"role": "user", "content": [{"type": "text", "text": "hi"}, picture]}])
    assert clock.sleeps == []
    router.complete("r", "hi", max_tokens=1)
    assert clock.sleeps == [60], "nothing was reported: 2,601 stand"


@pytest.mark.parametrize(
    ("failure", "waits"),
    [
        (error_for(FailureType.AUTH, "no key", sent=False), 0),
        (error_for(FailureType.INVALID_REQUEST, "wrong", status_code=400), 0),
        (error_for(FailureType.PROVIDER_ERROR, "broke", status_code=500), 60),
    ],
)
def test_an_attempt_that_sent_nothing_or_was_refused_has_used_nothing(failure: Exception, waits: float) -> None:
    config = config_for({"a": [failure, "ok"]}, {"retry": {"attempts": 1}}, {"a": {"tpm": 1000}})
    router, _, clock = router_for(config)
    with pytest.raises(type(failure)):
        router.complete("r", "hi", max_tokens=900)
    router.reset_health()
    router.complete("r", "hi", max_tokens=900)
    assert sum(clock.sleeps) == waits


def test_another_target_serves_while_one_has_no_tokens_left() -> None:
    config = config_for({"a": [_answer(900)], "b": ["b"]}, {"fallback_providers": ["b"]}, {"a": {"tpm": 1000}})
    router, _, clock = router_for(config)
    assert [router.complete("r", "hi", max_tokens=900).provider for _ in range(3)] == ["a", "b", "b"]
    assert clock.sleeps == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "30s"},
        {"anthropic_ratelimit_tokens_remaining": "0", "anthropic_ratelimit_tokens_reset": "2027-01-15T08:17:10Z"},
        {"ratelimit": '"tokens";r=0;t=30, "requests";r=50;t=60'},
        {"x_ratelimit_remaining_tokens_minute": "0", "x_ratelimit_remaining_tokens_month": "5"},
        {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "30s"},
        {"ratelimit_remaining": "0", "ratelimit_reset": "30"},
    ],
)
def test_headers_of_all_vendors_correct_what_is_left(headers: dict[str, str]) -> None:
    """Until the moment that they name, or for a minute; no failed attempt is needed to learn it."""
    config = config_for({"a": [_answer(1, **headers), _answer(1)]}, {}, {"a": {"tpm": 1000, "rpm": 2}})
    router, _, clock = router_for(config)
    router.complete("r", "hi", max_tokens=900)
    clock.advance(1)
    router.complete("r", "hi", max_tokens=900)
    assert 13 < sum(clock.sleeps) <= 60, clock.sleeps


@pytest.mark.parametrize(
    "headers",
    [
        {"x_ratelimit_remaining_tokens": "nan"},
        {"x_ratelimit_remaining_tokens": "-1", "x_ratelimit_reset_tokens": "never"},
        {"anthropic_ratelimit_output_tokens_remaining": "0", "x_ratelimit_remaining_requests_day": "0"},
        {"ratelimit": "\x00;;r=;t=" * 1000},
        {"x_ratelimit_remaining_tokens": "9" * 400},
    ],
)
def test_headers_that_say_nothing_of_a_minute_change_nothing(headers: dict[str, str]) -> None:
    config = config_for({"a": [_answer(1, **headers), _answer(1)]}, {}, {"a": {"tpm": 1000, "rpm": 100}})
    router, _, clock = router_for(config)
    for _ in range(2):
        router.complete("r", "hi", max_tokens=900)
    assert clock.sleeps == []


def test_two_calls_at_once_take_no_more_than_there_is() -> None:
    """What is reserved for the first is not there for the second, which waits until the first has ended."""
    config = config_for({"a": [Took(5, _answer(10))]}, {}, {"a": {"tpm": 1000}})
    router, memory, _ = router_for(config)

    async def main() -> None:
        await asyncio.gather(*[router.complete_async("r", "hi", max_tokens=900) for _ in range(2)])

    asyncio.run(main())
    first, second = (datetime.fromisoformat(record.started_at) for record in memory.records)
    assert (second - first).total_seconds() == 5


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(st.floats(0, 25), st.integers(0, 60), st.integers(0, 60)), max_size=60))
def test_whatever_comes_when_no_60_seconds_hold_more_than_the_limit(steps: list[tuple[float, int, int]]) -> None:
    """Each uses what it asks for, or less; who is refused may start at the moment named, and not before."""
    clock = FakeClock()
    health = _health(clock, tpm=100)
    used: list[tuple[float, int]] = []
    for wait, wanted, spent in steps:
        clock.advance(wait)
        answer = health.acquire(KEY, tokens=wanted)
        if isinstance(answer, Refusal):
            assert answer.opens_at is not None and clock.now < answer.opens_at <= clock.now + 60
            clock.now = answer.opens_at
            answer = health.acquire(KEY, tokens=wanted)
        assert isinstance(answer, Permit), "it opens when it says so"
        used.append((clock.now, min(wanted, spent)))
        health.release(answer, tokens=min(wanted, spent))
        assert sum(tokens for at, tokens in used if at + 60 > clock.now) <= 100


@pytest.mark.parametrize("way", ["complete", "complete_async", "stream", "stream_async", "embed"])
def test_headers_of_a_real_answer_are_heard_in_every_form_of_a_call(way: str) -> None:
    """Over HTTP: whole, streamed and embedded; the tokens that the answer reports are counted too."""
    headers = {"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "20s"}
    vectors = {"data": [{"index": 0, "embedding": [1.0]}], "model": "m", "usage": {"total_tokens": 10}}
    body = vectors if way == "embed" else completion("hello")
    provider: dict[str, Any] = {"type": "http", "model": "m", "tpm": 1000, "api_key_env": None}

    async def streamed(router: LeeLLMRouter) -> None:
        async for _ in router.stream_async("r", "hi", max_tokens=500):
            pass

    asks: dict[str, Callable[[LeeLLMRouter], object]] = {
        "complete": lambda router: router.complete("r", "hi", max_tokens=500),
        "complete_async": lambda router: asyncio.run(router.complete_async("r", "hi", max_tokens=500)),
        "stream": lambda router: list(router.stream("r", "hi", max_tokens=500)),
        "stream_async": lambda router: asyncio.run(streamed(router)),
        "embed": lambda router: router.embed("r", ["x" * 1500]),
    }
    with Server(answering(json_answer(body, headers=headers))) as server:
        providers = {"p": {**provider, "base_url": server.url}}
        config = load_config({"llm": {"providers": providers, "roles": {"r": {"provider": "p"}}}})
        router, _, clock = router_for(config)
        with router:
            asks[way](router)
            assert clock.sleeps == []
            asks[way](router)
    # 10 are used, and 890 lacking of 1,000; of those, what 500 or 501 leave no room for fades in this part of 20 s.
    assert 8.5 < sum(clock.sleeps) < 9.5
