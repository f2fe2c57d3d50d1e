"""Every attempt's record says why its target was asked: what the policy said, or what had failed before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from helpers.support import Memory, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMConfig, LLMRouterError, PolicyError, ProviderChoice, ProviderError
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.telemetry.calls import TracedCall

SLOW = error_for(FailureType.TIMEOUT, "slow")
LIMITED = error_for(FailureType.RATE_LIMIT, "limited", retry_after=5.0)
BUSY = error_for(FailureType.OVERLOADED, "busy")
LONG = error_for(FailureType.CONTEXT_LENGTH, "long")
DENIED = error_for(FailureType.AUTH, "denied")
UNREACHED = ProviderError("refused", sent=False)


def reasons(memory: Memory) -> list[str | None]:
    return [record.reason for record in memory.records]


def asked(outcomes: dict[str, Sequence[Any]], role: dict[str, Any] | None = None, **options: Any) -> list[str | None]:
    """The reasons of one call's records."""
    router, memory, _ = router_for(config_for(outcomes, role), **options)
    with router, suppress(LLMRouterError):
        router.complete("r", "hi")
    return reasons(memory)


@pytest.mark.parametrize(
    ("outcomes", "role", "told"),
    [
        ({"a": ["ok"]}, {}, ["first of the chain"]),
        (
            {"a": [BUSY, BUSY, "ok"]},
            {},
            ["first of the chain", "try 2 of 3 after OVERLOADED", "try 3 of 3 after OVERLOADED"],
        ),
        ({"a": [LIMITED], "b": ["ok"]}, {}, ["first of the chain", "fallback after a/m: RATE_LIMIT"]),
        (
            {"a": [SLOW, "ok"], "b": [DENIED]},
            {},
            ["first of the chain", "fallback after a/m: TIMEOUT", "back after b/m: AUTH"],
        ),
        (
            {"a": ["no JSON", "{}"]},
            {"json_mode": True},
            ["first of the chain", "told what was wrong, after CONTRACT_VIOLATION"],
        ),
        (
            {"a": [UNREACHED, "ok"]},
            {},
            ["first of the chain", "again after PROVIDER_ERROR, which cost no try"],
        ),
    ],
)  # fmt: skip
def test_a_record_says_what_led_to_its_attempt(
    outcomes: dict[str, Sequence[Any]], role: dict[str, Any], told: list[str]
) -> None:
    assert asked(outcomes, role) == told


def test_a_repair_at_once_is_no_wait() -> None:
    """Only a wait that took time is named, as after a failure that has a backoff."""
    router, memory, _ = router_for(config_for({"a": ["no JSON", "{}"]}, {"json_mode": True}))
    with router:
        router.complete("r", "hi")
    assert [record.waited_for for record in memory.records] == [None, None]
    router, memory, _ = router_for(config_for({"a": [BUSY, "ok"]}))
    with router:
        router.complete("r", "hi")
    assert [record.waited_for for record in memory.records] == [None, "a: a backoff"]


def test_targets_passed_over_are_named() -> None:
    """A target that cannot take the request, or is shut, has a record of its own, whose error says why."""
    config = config_for({"a": ["ok"], "b": ["ok"]}, providers={"a": {"tools": False}})
    router, memory, _ = router_for(config)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with router:
        router.complete("r", "hi", tools=[tool])
    assert reasons(memory) == [None, "fallback; not asked: a/m"]
    assert [record.offset_ms for record in memory.records] == [0.0, 0.0]


def test_an_attempt_at_a_target_that_is_shut_says_what_let_it_through() -> None:
    """A probe of the breaker; a target that rests, where no other is left; the first after a vendor's wait."""
    shut = config_for({"a": [BUSY, "ok"]}, {"retry": {"attempts": 2}})
    shut = shut.model_copy(update={"health": shut.health.model_copy(update={"failures_in_a_row": 1})})
    router, memory, _ = router_for(shut)
    with router:
        router.complete("r", "hi")
    assert reasons(memory)[1] == "try 2 of 2 after OVERLOADED; probe of its open breaker"
    router, memory, _ = router_for(config_for({"a": [DENIED, "ok"]}))
    with router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        router.complete("r", "hi")
    assert reasons(memory)[1] == "first of the chain; asked although it is resting: no other target is left"
    assert "the first since the vendor's wait" in str(asked({"a": [LIMITED, "ok"]})[1])


class Telling:
    """A policy that says why."""

    def __init__(self, **choice: Any) -> None:
        self.choice = choice

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        return ProviderChoice(**{"provider_name": "a", **self.choice})


def test_what_the_policy_said_is_kept_for_the_target_it_said_it_of() -> None:
    """For the first of the chain, and for each fallback that it chose itself."""
    fallbacks = ["c", ProviderChoice("b", reason="cheap"), ProviderChoice("c", {"model": "n"}, reason="large")]
    policy = Telling(reason="takes  pictures\n", fallbacks=fallbacks)
    told = asked({"a": [LONG], "b": [LONG], "c": [LONG]}, policy=policy)
    assert told == [
        "takes pictures",
        "fallback after a/m: CONTEXT_LENGTH",
        "fallback after c/m: CONTEXT_LENGTH; cheap",
        "fallback after b/m: CONTEXT_LENGTH; large",
    ]
    assert asked({"a": [DENIED], "b": ["ok"]}, policy=Telling(reason="first"))[1] == "fallback after a/m: AUTH"


def test_what_a_policy_says_is_bounded_and_holds_no_key() -> None:
    """It may be made from anything, a setting with a key too."""
    config = config_for({"a": ["ok"]}, providers={"a": {"secret": "hunter22"}})
    router, memory, _ = router_for(config, policy=Telling(reason="key sk-" + "a" * 30 + " \x1b[2J" + "x" * 10_000))
    with router:
        router.complete("r", "hi")
    (told,) = reasons(memory)
    assert told is not None
    assert len(told) <= 300
    assert told.isprintable()
    assert "sk-a" not in told


@pytest.mark.parametrize("reason", [1, b"x", ["x"], object()])
@pytest.mark.parametrize("is_fallback", [False, True])
def test_a_reason_that_is_no_text_is_refused(reason: Any, is_fallback: bool) -> None:
    """As any other wrong part of a choice: typed, with nothing asked."""
    choice = {"fallbacks": [ProviderChoice("a", reason=reason)]} if is_fallback else {"reason": reason}
    router, memory, _ = router_for(config_for({"a": ["ok"]}), policy=Telling(**choice))
    with router, pytest.raises(PolicyError, match="reason is"):
        router.complete("r", "hi")
    assert [record.attempt for record in memory.records] == [None]


def test_without_a_record_no_reason_is_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good call that nobody listens to builds none."""
    monkeypatch.setattr("lee_llm_router.engine.recorder.reason_of", pytest.fail)
    config = {"providers": {"a": {"type": "mock"}}, "roles": {"r": {"provider": "a"}}, "trace": {"enabled": False}}
    with LeeLLMRouter({"llm": config}) as router:
        assert router.complete("r", "hi").text


def test_a_wait_before_the_first_attempt_counts_for_the_whole_call() -> None:
    """In a queue or for a breaker: the time of a call begins with the call."""
    config = config_for({"a": [BUSY, "ok"]}, {"retry": {"attempts": 1}, "deadline": 60})
    health = config.health.model_copy(update={"failures_in_a_row": 1, "cooldown": 2.0})
    router, memory, _ = router_for(config.model_copy(update={"health": health}))
    with router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi", deadline=0.5)
        router.complete("r", "hi")
    last = TracedCall((memory.records[-1],))
    assert last.last.waited_for is not None
    assert last.last.offset_ms is not None and last.last.offset_ms >= 1000
    assert last.total_ms == last.last.offset_ms + last.last.elapsed_ms
