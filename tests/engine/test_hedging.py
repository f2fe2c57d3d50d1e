"""Hedging: a second target is asked beside a slow one, the first good answer counts, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.hedged_calls import (
    FORMS,
    Ask,
    assert_nothing_is_held,
    complete,
    complete_async,
    failure,
    hedged_router,
    told,
)
from lee_llm_router import (
    ConfigError,
    LLMRouterError,
    LLMTimeoutError,
)
from lee_llm_router.errors import FailureType
from lee_llm_router.response import StreamChunk
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.testing import After, Pieces, ScriptedRouter


@pytest.fixture(params=FORMS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four forms of a call."""
    return FORMS[request.param]


def test_a_second_target_is_asked_beside_a_slow_one_and_the_first_answer_counts(ask: Ask) -> None:
    """The slow one is ended at once: the call takes no longer than the hedge, and the traces say which is which."""
    router = hedged_router({"a": After(20, "slow"), "b": After(0.5, "quick")})
    assert ask(router).text == "quick"
    assert router.clock.now == 1.5
    slow, quick = router.recorder.records
    assert told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "ok", "return", True)]
    assert (slow.elapsed_ms, slow.offset_ms, quick.elapsed_ms, quick.offset_ms) == (1500, 0, 500, 1000)
    assert slow.error == "not waited for: b/m answered first" and slow.failure_type is None and slow.usage is None
    assert quick.reason is not None and quick.reason.startswith("hedge: a/m had not ")
    assert_nothing_is_held(router)


def test_a_first_target_that_answers_after_all_ends_the_hedge(ask: Ask) -> None:
    router = hedged_router({"a": After(1.2, "first"), "b": After(5, "late")})
    assert ask(router).text == "first"
    assert router.clock.now == 1.2
    assert told(router) == [(1, "b", "cancelled", "next", True), (0, "a", "ok", "return", False)]
    assert router.recorder.records[1].reason == "first of the chain"
    assert_nothing_is_held(router)


def test_a_target_that_answers_in_time_is_the_only_one_asked(ask: Ask) -> None:
    router = hedged_router({"a": After(0.9, "in time"), "b": "never asked"})
    assert ask(router).text == "in time"
    assert not router.requests("b")
    assert told(router) == [(0, "a", "ok", "return", False)]


def test_after_a_failure_the_call_goes_on_with_the_hedge_under_way(ask: Ask) -> None:
    """Nobody is asked a second time for it: neither the target that failed nor a third one."""
    router = hedged_router({"a": After(1.5, failure()), "b": After(3, "second"), "c": "never asked"})
    assert ask(router).text == "second"
    assert (router.clock.now, len(router.requests("a")), len(router.requests("c"))) == (4.0, 1, 0)
    assert told(router) == [(0, "a", "error", "next", False), (1, "b", "ok", "return", True)]
    assert_nothing_is_held(router)


def test_after_a_failure_of_the_hedge_the_call_goes_on_with_the_first(ask: Ask) -> None:
    router = hedged_router({"a": After(4, "first"), "b": failure()})
    assert ask(router).text == "first"
    assert router.clock.now == 4.0
    assert told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    assert router.recorder.records[1].reason == "first of the chain"
    assert_nothing_is_held(router)


def test_when_both_have_failed_the_usual_rules_say_what_comes_next(ask: Ask) -> None:
    router = hedged_router({"a": After(1.5, failure(final=True)), "b": After(1, failure(final=True)), "c": "third"})
    assert ask(router).text == "third"
    assert [(r.provider, r.outcome, r.verdict) for r in router.recorder.records] == [
        ("a", "error", "next"), ("b", "error", "next"), ("c", "ok", "return"),
    ]  # fmt: skip
    assert_nothing_is_held(router)


def test_the_error_of_a_hedged_call_carries_every_attempt(ask: Ask) -> None:
    router = hedged_router({"a": After(1.5, failure(final=True)), "b": After(1, failure(final=True))})
    with pytest.raises(LLMRouterError) as caught:
        ask(router)
    assert [record.provider for record in caught.value.attempts] == ["a", "b"]
    assert router.recorder.records[-1].verdict == "raise"
    assert_nothing_is_held(router)


@pytest.mark.parametrize("ask", [complete, complete_async], ids=["complete", "complete_async"])
def test_an_answer_that_breaks_its_contract_leaves_the_other_to_answer(ask: Ask) -> None:
    """Even where a broken contract ends a call: there is another answer to wait for."""
    router = hedged_router(
        {"a": After(2, '{"n": 1}'), "b": "no JSON"}, json_mode=True, contract={"repair": 0, "on_failure": "raise"}
    )
    assert ask(router).parsed == {"n": 1}
    assert router.recorder.records[0].failure_type == "CONTRACT_VIOLATION"
    assert_nothing_is_held(router)


def test_an_answer_that_is_not_acceptable_leaves_the_other_to_answer(ask: Ask) -> None:
    whole = Pieces(StreamChunk(text="no", finish_reason="stop"))
    router = hedged_router({"a": After(2, "long enough"), "b": whole}, accept={"min_chars": 5})
    assert ask(router).text == "long enough"
    assert told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    assert_nothing_is_held(router)


def test_a_failure_that_ends_a_call_ends_both_attempts(ask: Ask) -> None:
    """What one vendor's filter has refused is not taken from another, unless the role says so."""
    router = hedged_router({"a": After(9, "from elsewhere"), "b": failure(FailureType.CONTENT_FILTER)})
    with pytest.raises(LLMRouterError) as caught:
        ask(router)
    assert caught.value.failure_type is FailureType.CONTENT_FILTER
    assert router.clock.now == 1.0
    assert told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "error", "raise", True)]
    assert_nothing_is_held(router)


def test_as_many_are_asked_as_the_role_allows_each_after_another_wait(ask: Ask) -> None:
    router = hedged_router({"a": After(20, "a"), "b": After(20, "b"), "c": "third", "d": "never asked"}, {"max": 2})
    assert ask(router).text == "third"
    assert [r.offset_ms for r in sorted(router.recorder.records, key=lambda r: r.attempt or 0)] == [0, 1000, 2000]
    assert not router.requests("d")
    assert_nothing_is_held(router)


def test_the_deadline_ends_both(ask: Ask) -> None:
    router = hedged_router({"a": After(60, "a"), "b": After(60, "b")}, deadline=5)
    with pytest.raises(LLMTimeoutError):
        ask(router)
    assert router.clock.now == 5.0
    assert {r.provider for r in router.recorder.records} == {"a", "b"}
    assert_nothing_is_held(router)


def _router_with_another_role(a: Any, b: Any, described: Mapping[str, Any] = {}, **config: Any) -> ScriptedRouter:
    """Return a router whose role `r` is hedged from `a` to `b`, and whose role `o` asks `b` alone."""
    roles = {
        "r": {"provider": "a", "fallback_providers": ["b"], "hedge": {"after": 1}, **config.pop("role", {})},
        "o": {"provider": "b", "retry": {"attempts": 1, "patience": 0}},
    }
    providers = {"a": {"type": "mock", "model": "m"}, "b": {"type": "mock", "model": "m", **described}}
    llm = {"default_role": "r", "providers": providers, "roles": roles, **config}
    return ScriptedRouter({"llm": llm}, answers={"a": a, "b": b})


@pytest.mark.parametrize(
    "settings",
    [
        {"role": {"retry": {"max_attempts": 1}}},
        {"role": {"hedge": {"after": 1, "max": 0}}},
        {"health": {"retry_burst": 0}},
        {"described": {"rpm": 1}},
        {"health": {"failures_in_a_row": 1, "cooldown": 60, "max_cooldown": 60}},
        {"described": {"type": "codex_cli"}},
        {"role": {"deadline": 1}},
    ],
    ids=["no attempt is left", "its role says never", "the retry budget is spent", "the other is at its limit",
         "the other's breaker is open", "the other runs a program", "no time is left"],
)  # fmt: skip
def test_nobody_is_asked_beside_a_slow_target_where(settings: dict[str, Any]) -> None:
    router = _router_with_another_role(After(4, "slow"), failure(), **settings)
    if "codex_cli" not in str(settings):
        with pytest.raises(LLMRouterError):
            router.complete("o", "asked before")
    before = len(router.requests("b"))
    try:
        assert complete(router).text == "slow"
    except LLMTimeoutError:
        assert "deadline" in str(settings)
    assert len(router.requests("b")) == before
    assert_nothing_is_held(router)


def test_a_target_with_effects_is_asked_alone() -> None:
    """What may have changed something is not asked beside another, nor is another asked beside it."""
    command = {"type": "command", "argv": ["true"], "effects": "external"}
    router = hedged_router({"a": After(4, "done"), "b": "never"}, providers={"a": command})
    assert complete(router).text == "done"
    assert not router.requests("b")


def test_the_same_target_is_asked_once_more_only_where_the_role_says_so(ask: Ask) -> None:
    outcomes = [After(20, "slow"), "quick"]
    router = hedged_router({"a": outcomes}, {"same_target": True})
    assert ask(router).text == "quick"
    assert [(r.attempt, r.target_attempt, r.hedge) for r in router.recorder.records] == [(0, 0, False), (1, 1, True)]
    router = hedged_router({"a": outcomes})
    assert ask(router).text == "slow"


def test_a_hedge_is_paid_from_the_retry_budget_of_the_provider_that_is_slow() -> None:
    """Its own answers earn it: a provider that is slow all the time is not hedged for ever."""
    router = hedged_router({"a": After(20, "slow"), "b": "quick"})
    for _ in range(100):
        assert complete(router).text == "quick"
    left = {provider: health.retry_budget for (provider, _), health in router.health().items()}
    assert left == {"a": 0, "b": 100}
    assert complete(router).text == "slow"


def test_a_call_may_say_when_it_is_hedged() -> None:
    router = hedged_router({"a": After(20, "slow"), "b": "quick"})
    assert router.complete("r", "hi", hedge={"max": 0}).text == "slow"
    assert router.complete("r", "hi", hedge={"after": "3s"}).text == "quick"
    assert router.recorder.records[-1].offset_ms == 3000


def test_the_wait_may_go_by_the_earlier_answers_of_the_target(ask: Ask) -> None:
    """With `p90`, once nine of ten would have come; until twenty are known, nobody else is asked."""
    router = hedged_router({"a": [*[After(n / 100, "usual") for n in range(1, 21)], After(9, "slow")], "b": "quick"},
                     {"after": "p90"})  # fmt: skip
    assert {ask(router).text for _ in range(20)} == {"usual"}
    assert ask(router).text == "quick"
    assert router.recorder.records[-1].offset_ms == pytest.approx(180, rel=0.06)


@pytest.mark.parametrize("after", ["p49", "p100", "p9", "soon", 0, -1, True, "1h", float("inf"), None])
def test_a_wait_that_is_none_is_a_finding(after: Any) -> None:
    with pytest.raises(ConfigError, match="after: seconds are wanted"):
        hedged_router({"a": "x", "b": "x"}, {"after": after})


def test_a_hedged_answer_is_no_fallback_and_the_other_attempt_no_failure() -> None:
    router = hedged_router({"a": After(20, "slow"), "b": "quick"})
    complete(router)
    call = TracedCall(router.recorder.records)
    assert (call.outcome, call.is_saved, call.is_hedge_won, call.tried) == ("ok", False, True, 2)
    router = hedged_router({"a": After(1.5, "first"), "b": After(20, "slow")})
    complete(router)
    call = TracedCall(router.recorder.records)
    assert (call.outcome, call.is_saved, call.is_hedge_won, call.total_ms) == ("ok", False, False, 1500)
