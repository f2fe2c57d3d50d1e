"""The policy `lowest_latency` asks the target that has been the fastest of late, and measures the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from helpers.spread_calls import CONFIG, SHUT, asks, context, names, record
from helpers.support import Took, config_for, router_for
from lee_llm_router import LLMUsage
from lee_llm_router.policy.lowest_latency import LatencySettings, LowestLatencyPolicy


def _latency(**settings: Any) -> LowestLatencyPolicy:
    return LowestLatencyPolicy(LatencySettings(type="lowest_latency", **{"explore": 0, **settings}))


def test_the_fastest_of_late_is_asked_once_all_are_measured() -> None:
    policy = _latency()
    for name, elapsed in (("a", 300), ("b", 100)):
        policy.observe(record(name, elapsed=elapsed))
    assert asks(policy, context()) == "cba"
    policy.observe(record("c", elapsed=200))
    choice = policy.choose("r", CONFIG, context=context())
    assert names(choice) == ["b", "c", "a"] and choice.reason == "the fastest recently: 100 ms"
    for _ in range(20):
        policy.observe(record("b", elapsed=900))
    assert asks(policy, context()) == "cab"
    assert asks(policy, context(health={"c": SHUT})) == "abc"


def test_failures_that_are_its_fault_lengthen_what_is_expected_of_a_target() -> None:
    """A refusal of the request does not, and a target that never answered comes after those that did."""
    policy = _latency()
    for name in "ab":
        policy.observe(record(name, elapsed=100 if name == "a" else 150))
    policy.observe(record("c", ok=False))
    policy.observe(record("a", ok=False, failure_type="INVALID_REQUEST"))
    policy.observe(record("a", ok=False, outcome="cancelled", failure_type="CANCELLED"))
    assert asks(policy, context()) == "abc"
    for _ in range(3):
        policy.observe(record("a", ok=False))
    assert asks(policy, context()) == "bac"


def test_targets_that_are_nearly_as_fast_take_turns() -> None:
    policy = _latency(within=0.1)
    for name, elapsed in (("a", 100), ("b", 109), ("c", 120)):
        policy.observe(record(name, elapsed=elapsed))
    assert Counter(asks(policy, context())[0] for _ in range(20)) == {"a": 10, "b": 10}


def test_a_share_of_the_calls_asks_another_target_first() -> None:
    policy = LowestLatencyPolicy(LatencySettings(type="lowest_latency", explore=0.2), random=Random(1).random)
    for name, elapsed in (("a", 100), ("b", 200), ("c", 300)):
        policy.observe(record(name, elapsed=elapsed))
    first = Counter(asks(policy, context())[0] for _ in range(5000))
    assert [round(first[name] / 500) for name in "abc"] == [8, 1, 1]


def test_what_is_measured_is_a_setting() -> None:
    """By the answer a is faster; by its tokens or by its first token b is."""
    usage = LLMUsage(completion_tokens=100)
    seen = [
        record("a", elapsed=200, first_token_ms=150, response_chars=40),
        record("b", elapsed=500, first_token_ms=50, usage=usage),
        record("c", elapsed=900, first_token_ms=400),
    ]
    orders = {}
    for measure in ("elapsed", "per_token", "first_token"):
        policy = _latency(measure=measure)
        for one in seen:
            policy.observe(one)
        orders[measure] = asks(policy, context())
    assert orders == {"elapsed": "abc", "per_token": "bac", "first_token": "bac"}


def test_roles_are_measured_by_themselves_and_memory_is_bounded() -> None:
    policy = _latency()
    for index in range(5000):
        policy.observe(record(f"p{index}", elapsed=1))
    for name, elapsed in (("a", 300), ("b", 100), ("c", 200)):
        policy.observe(record(name, elapsed=elapsed))
        policy.observe(record(name, elapsed=400 - elapsed, role="other"))
    assert (asks(policy, context()), asks(policy, context(), role="other")) == ("bca", "acb")
    assert len(policy._measured) <= 4096


def test_a_router_learns_which_target_is_fast_from_its_own_attempts() -> None:
    config = config_for({"a": [Took(2, "slow")], "b": [Took(0.5, "fast")]}, role={"policy": "lowest_latency"})
    router, memory, _ = router_for(config)
    answers = [router.complete("r", "hi").text for _ in range(40)]
    assert answers.count("fast") >= 30
    assert any(one.reason == "the fastest recently: 500 ms" for one in memory.records)


def test_a_target_that_hedges_overtake_takes_as_long_at_least() -> None:
    """Else only its quick answers would count, and it would seem fast."""
    policy = _latency()
    for name, elapsed in (("a", 100), ("b", 150), ("c", 200)):
        policy.observe(record(name, elapsed=elapsed))
    assert asks(policy, context()) == "abc"
    overtaken = replace(record("a", elapsed=2000), outcome="cancelled", verdict="next")
    policy.observe(overtaken)
    assert asks(policy, context()) == "bca"
    policy.observe(replace(overtaken, provider="b", elapsed_ms=5000, hedge=True))  # it was itself the hedge
    assert asks(policy, context()) == "bca"
