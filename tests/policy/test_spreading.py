"""The policies that spread calls over the targets of a role: what each promises of its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.support import Took, config_for, router_for
from lee_llm_router import ConfigError, LLMConfig, LLMRequest, LLMUsage, ProviderChoice, RoutingContext, TraceRecord
from lee_llm_router.config import load_config
from lee_llm_router.engine.plan import Target
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.policy import load_policy
from lee_llm_router.policy.least_busy import LeastBusyPolicy
from lee_llm_router.policy.lowest_cost import CostSettings, LowestCostPolicy
from lee_llm_router.policy.lowest_latency import LatencySettings, LowestLatencyPolicy
from lee_llm_router.policy.round_robin import RoundRobinPolicy
from lee_llm_router.policy.spreading import AmongSettings
from lee_llm_router.policy.sticky import StickyPolicy, StickySettings
from lee_llm_router.policy.weighted import WeightedPolicy, WeightedSettings
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates

CONFIG = config_for({"a": ["ok"]})
KINDS: Mapping[str, Mapping[str, Any]] = {
    "weighted": {"weights": {"a": 1, "b": 2, "c": 3}},
    "round_robin": {},
    "least_busy": {},
    "lowest_latency": {},
    "lowest_cost": {},
    "sticky": {},
}
SHUT = TargetHealth(state="open", retry_after=3.0, available=False)


def chain(*names: str) -> tuple[Target, ...]:
    return tuple(Target(name, "m", {}) for name in names)


ABC = chain("a", "b", "c")


def context(
    targets: tuple[Target, ...] = ABC,
    health: Mapping[str, TargetHealth] | None = None,
    metadata: Mapping[str, Any] | None = None,
    price_of: Callable[[Target], PriceCard | None] = lambda target: None,
    **asked: Any,
) -> RoutingContext:
    asked.setdefault("messages", ({"role": "user", "content": "hi"},))
    known: dict[tuple[str, str | None], TargetHealth] = {(name, "m"): one for name, one in (health or {}).items()}
    return RoutingContext(LLMRequest(**asked), metadata or {}, known, targets, price_of)


def names(choice: ProviderChoice, targets: tuple[Target, ...] = ABC) -> list[str]:
    assert choice.order is not None and choice.provider_name == targets[choice.order[0]].provider
    return [targets[place].provider for place in choice.order]


def asks(policy: Any, about: RoutingContext, role: str = "r") -> str:
    """The order as letters, the first target first."""
    return "".join(names(policy.choose(role, CONFIG, context=about), tuple(about.targets)))


def record(provider: str, *, ok: bool = True, elapsed: float = 100.0, **fields: Any) -> TraceRecord:
    return TraceRecord(**{
        "request_id": "x", "attempt": 0, "role": "r", "provider": provider, "model": "m", "elapsed_ms": elapsed,
        "started_at": "", "outcome": "ok" if ok else "error", "verdict": "return",
        "failure_type": None if ok else "TIMEOUT", **fields,
    })  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(
    providers=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True),
    shut=st.sets(st.sampled_from("abcdefgh")),
    user=st.none() | st.text() | st.integers(),
    among=st.none() | st.sets(st.sampled_from("abcxyz"), min_size=1),
)
def test_every_policy_orders_the_whole_chain(
    kind: str, providers: list[str], shut: set[str], user: Any, among: set[str] | None
) -> None:
    """Each target once, whatever is shut, known or named; those that take no part follow in the order of the file."""
    extra = {} if among is None or kind == "weighted" else {"among": sorted(among)}
    policy = load_policy(load_config(_file(kind, **KINDS[kind], **extra)).policy)
    targets = chain(*providers)
    for _ in range(3):
        order = asks(policy, context(targets, dict.fromkeys(shut, SHUT), {"user_id": user}))
        assert sorted(order) == sorted(providers)
        part = set("abc") if kind == "weighted" else among
        if part is not None:
            others = [name for name in providers if name not in part]
            assert list(order[len(order) - len(others) :]) == others


def _file(kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "llm": {
            "providers": {"a": {"type": "mock"}},
            "roles": {"r": {"provider": "a", "model": "m"}},
            "policy": {"type": kind, **settings},
        }
    }


# weighted


def test_weights_are_the_shares_of_first_places_and_hold_among_those_that_are_left() -> None:
    """Of 1 : 2 : 5, the first is asked by an eighth, a quarter, the rest; after c, a and b share as 1 : 2."""
    policy = WeightedPolicy(
        WeightedSettings(type="weighted", weights={"a": 1, "b/m": 2, "b": 7, "c": 5}), random=Random(7).random
    )
    orders = Counter(asks(policy, context()) for _ in range(8000))
    first = Counter({name: sum(n for order, n in orders.items() if order[0] == name) for name in "abc"})
    assert [round(first[name] / 1000) for name in "abc"] == [1, 2, 5]
    assert orders["cba"] / (orders["cab"] + orders["cba"]) == pytest.approx(2 / 3, abs=0.02)


def test_a_target_without_a_weight_only_follows() -> None:
    policy = WeightedPolicy(WeightedSettings(type="weighted", weights={"a": 0, "c": 1}))
    assert {asks(policy, context()) for _ in range(20)} == {"cab"}


def test_a_seed_makes_the_draws_repeatable() -> None:
    settings = WeightedSettings(type="weighted", weights={"a": 1, "b": 1, "c": 1}, seed=3)
    drawn = [
        [asks(policy, context()) for _ in range(20)] for policy in (WeightedPolicy(settings), WeightedPolicy(settings))
    ]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": {"a": 0}}, "a weight above 0 is wanted"),
        ({"weights": {"a": -1}}, "weights.a"),
        ({"weights": {"a": "much"}}, "a number is wanted"),
        ({"weights": {}}, "a weight above 0 is wanted"),
        ({}, "weights: missing"),
    ],
)
def test_weights_that_cannot_be_drawn_by_are_findings(settings: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(_file("weighted", **settings))


# round_robin and least_busy


def test_targets_take_turns_for_each_role_and_the_rest_follow_in_the_same_round() -> None:
    policy = RoundRobinPolicy(AmongSettings(type="round_robin"), random=lambda: 0.0)
    assert [asks(policy, context()) for _ in range(4)] == ["abc", "bca", "cab", "abc"]
    assert asks(policy, context(), role="other") == "abc"


def test_while_one_is_shut_the_others_share_its_turns_evenly() -> None:
    policy = RoundRobinPolicy(AmongSettings(type="round_robin"))
    first = Counter(asks(policy, context(health={"b": SHUT}))[0] for _ in range(100))
    assert first == {"a": 50, "c": 50}


def test_the_first_turn_of_a_process_is_drawn() -> None:
    firsts = {asks(RoundRobinPolicy(AmongSettings(type="round_robin")), context())[0] for _ in range(60)}
    assert firsts == set("abc")


def test_a_target_that_came_back_takes_its_turn_again() -> None:
    """Its breaker needs a call to probe it; a target that stood last until somebody asks it would never be asked."""
    dead = error_for(FailureType.PROVIDER_ERROR, "down")
    config = config_for({"a": [*[dead] * 30, "from a"], "b": ["from b"]})
    for kind in ("round_robin", "least_busy"):
        router, _, clock = router_for(config, policy=kind)
        answers = []
        for _ in range(120):
            answers.append(router.complete("r", "hi").text)
            clock.advance(1)
        assert answers[-20:].count("from a") == 10


def test_the_least_busy_is_asked_and_equals_take_turns() -> None:
    policy = LeastBusyPolicy(AmongSettings(type="least_busy"), random=lambda: 0.0)
    busy = {"a": TargetHealth(in_flight=2), "b": TargetHealth(in_flight=1, waiting=4), "c": TargetHealth(in_flight=1)}
    choice = policy.choose("r", CONFIG, context=context(health=busy))
    assert names(choice) == ["c", "a", "b"] and choice.reason == "least busy: 1 in flight or waiting"
    assert Counter(asks(policy, context())[0] for _ in range(30)) == {"a": 10, "b": 10, "c": 10}
    assert asks(policy, context(health={**busy, "c": SHUT})) == "abc"


# lowest_latency


def _latency(**settings: Any) -> LowestLatencyPolicy:
    return LowestLatencyPolicy(LatencySettings(type="lowest_latency", **{"explore": 0, **settings}))


def test_the_fastest_of_late_is_asked_once_all_are_measured() -> None:
    policy = _latency()
    for name, elapsed in (("a", 300), ("b", 100)):
        policy.observe(record(name, elapsed=elapsed))
    assert asks(policy, context()) == "cba"
    policy.observe(record("c", elapsed=200))
    choice = policy.choose("r", CONFIG, context=context())
    assert names(choice) == ["b", "c", "a"] and choice.reason == "the fastest of late: 100 ms"
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
    assert any(one.reason == "the fastest of late: 500 ms" for one in memory.records)


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


# lowest_cost


def _price(**by_provider: tuple[float, float]) -> Callable[[Target], PriceCard | None]:
    cards = {
        name: PriceCard(rates=TokenRates(input=rates[0], output=rates[1]), source="test")
        for name, rates in by_provider.items()
    }
    return lambda target: cards.get(target.provider)


def _cost(**settings: Any) -> LowestCostPolicy:
    return LowestCostPolicy(CostSettings(type="lowest_cost", **settings))


def test_the_target_at_which_the_request_costs_least_is_asked() -> None:
    """By what it says and what it may answer; a target without a price stands last."""
    price_of = _price(b=(1, 20), c=(4, 5))
    long = ({"role": "user", "content": "word " * 40_000},)
    choice = _cost().choose("r", CONFIG, context=context(price_of=price_of))
    assert names(choice) == ["c", "b", "a"] and choice.reason == "the cheapest: about $0.0025"
    assert asks(_cost(), context(price_of=price_of, messages=long)) == "bca"
    assert asks(_cost(), context(price_of=price_of, messages=long[:1] * 30)) == "bca"
    parts = ({"role": "user", "content": [{"type": "image_url", "image_url": {}}] * 20 + [{"text": "see"}]},)
    assert asks(_cost(), context(price_of=price_of, messages=parts, max_tokens=100)) == "bca"
    embedded = _price(b=(2, 0), c=(1, 0))
    assert asks(_cost(), context(price_of=embedded, messages=())) == "cba"


def test_without_any_price_the_order_is_that_of_the_file() -> None:
    choice = _cost().choose("r", CONFIG, context=context())
    assert names(choice) == ["a", "b", "c"] and choice.reason == "no price is known"


def test_a_model_that_writes_more_costs_more() -> None:
    policy, price_of = _cost(output_tokens=200), _price(b=(1, 2), c=(1, 3))
    assert asks(policy, context(price_of=price_of)) == "bca"
    for _ in range(30):
        policy.observe(record("b", usage=LLMUsage(completion_tokens=4000)))
        policy.observe(record("c", usage=LLMUsage(completion_tokens=200)))
    assert asks(policy, context(price_of=price_of)) == "cba"
    assert asks(policy, context(price_of=price_of, max_tokens=100)) == "bca"


def test_one_that_may_be_the_cheapest_is_asked_until_that_is_known_and_a_dear_one_is_not() -> None:
    """By its rates b is the cheapest, but it writes five times as much as c, which nobody knows before c is asked."""
    policy, price_of = _cost(), _price(a=(90, 90), b=(1, 4), c=(2, 8))
    firsts = []
    for _ in range(50):
        firsts.append(asks(policy, context(price_of=price_of))[0])
        policy.observe(record(firsts[-1], usage=LLMUsage(completion_tokens=500 if firsts[-1] == "b" else 100)))
    assert set(firsts[-20:]) == {"c"} and "a" not in firsts


def test_a_router_asks_the_cheapest_by_the_prices_of_the_file() -> None:
    config = config_for({"a": ["dear"], "b": ["unknown"], "c": ["cheap"]}, role={"policy": "lowest_cost"})
    prices = {"models": {"a/m": {"input": 5, "output": 10}, "c/m": {"input": 1, "output": 2}}}
    router, memory, _ = router_for(LLMConfig.model_validate({**dict(config), "pricing": prices}))
    assert router.complete("r", "hi").text == "cheap"
    assert memory.records[0].reason == "the cheapest: about $0.001"
    assert [target.provider for target in router.resolve("r")] == ["c", "a", "b"]


# sticky


def test_a_value_stays_with_its_target_and_values_spread() -> None:
    policy = StickyPolicy(StickySettings(type="sticky"))
    users = [f"user {index}" for index in range(600)]
    firsts = {user: asks(policy, context(metadata={"user_id": user}))[0] for user in users}
    again = StickyPolicy(StickySettings(type="sticky"))
    assert firsts == {user: asks(again, context(metadata={"user_id": user}))[0] for user in users}
    assert all(150 < number < 250 for number in Counter(firsts.values()).values())


@given(users=st.lists(st.text(max_size=400), max_size=30), new=st.integers(0, 3))
def test_when_a_target_comes_nobody_moves_but_to_it(users: list[str], new: int) -> None:
    """So too when one goes: then its values go each to their own second, the rest stay."""
    policy = StickyPolicy(StickySettings(type="sticky", by="tenant"))
    more = (*ABC[:new], *chain("d"), *ABC[new:])
    for user in users:
        before, after = (asks(policy, context(targets, metadata={"tenant": user})) for targets in (ABC, more))
        assert after.replace("d", "") == before


def test_a_call_without_the_note_follows_the_file() -> None:
    choice = StickyPolicy(StickySettings(type="sticky")).choose("r", CONFIG, context=context())
    assert names(choice) == ["a", "b", "c"] and choice.reason == "the call has no user_id"


def test_a_shut_target_leaves_its_users_to_their_second_and_gets_them_back() -> None:
    limited = error_for(FailureType.RATE_LIMIT, "slow", retry_after=30.0)
    router, _, clock = router_for(config_for({"a": [limited, "a"], "b": ["b"]}, role={"policy": "sticky"}))
    notes = [{"user_id": number} for number in range(20)]
    note = next(one for one in notes if router.resolve("r", metadata=one)[0].provider == "a")
    assert [router.complete("r", "hi", metadata=note).text for _ in range(2)] == ["b", "b"]
    clock.advance(31)
    assert router.complete("r", "hi", metadata=note).text == "a"


def test_a_call_goes_on_in_the_order_and_the_trace_says_why() -> None:
    dead = error_for(FailureType.AUTH, "no key")
    policy = {"type": "round_robin", "among": ["a", "b/m"]}
    config = config_for({"a": [dead], "b": [dead], "c": ["ok"]}, role={"policy": policy})
    router, memory, _ = router_for(config)
    assert router.complete("r", "hi").text == "ok"
    assert [one.provider for one in memory.records][2:] == ["c"]
    assert memory.records[0].reason == "its turn" and memory.records[0].policy == "RoundRobinPolicy"
