"""The policies that spread calls over the targets of a role: all order the whole chain, each as it promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.spread_calls import ABC, CONFIG, SHUT, asks, chain, context, names
from helpers.support import config_for, router_for
from lee_llm_router import ConfigError
from lee_llm_router.config import load_config
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.policy import load_policy
from lee_llm_router.policy.least_busy import LeastBusyPolicy
from lee_llm_router.policy.round_robin import RoundRobinPolicy
from lee_llm_router.policy.spreading import AmongSettings
from lee_llm_router.policy.sticky import StickyPolicy, StickySettings
from lee_llm_router.policy.weighted import WeightedPolicy, WeightedSettings

KINDS: Mapping[str, Mapping[str, Any]] = {
    "weighted": {"weights": {"a": 1, "b": 2, "c": 3}},
    "round_robin": {},
    "least_busy": {},
    "lowest_latency": {},
    "lowest_cost": {},
    "sticky": {},
}


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
