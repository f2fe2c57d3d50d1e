"""Policies and chains at their edges: nothing known, too much learned, and policies that can be none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.support import config_for, router_for
from lee_llm_router import ConfigError, LeeLLMRouter, LLMRequest, LLMUsage, ProviderChoice, RoutingContext
from lee_llm_router.config import load_config
from lee_llm_router.engine.plan import Target
from lee_llm_router.policy import build_chain, load_policy
from lee_llm_router.policy.lowest_cost import CostSettings, LowestCostPolicy
from lee_llm_router.policy.lowest_latency import LatencySettings, LowestLatencyPolicy
from lee_llm_router.policy.spreading import rotated
from lee_llm_router.routing.key_spread import KeySpread
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates
from lee_llm_router.testing import Recorder

AB = (Target("a", "m", {}), Target("b", "m", {}))
CONFIG = config_for({"a": ["ok"], "b": ["ok"]})


def _context(*messages: Mapping[str, Any], **more: Any) -> RoutingContext:
    return RoutingContext(LLMRequest(messages=messages), {}, {}, AB, **more)


def test_a_policy_that_is_asked_without_a_context_keeps_the_order_of_the_file() -> None:
    policy = LowestCostPolicy(CostSettings(type="lowest_cost"))
    assert policy.choose("r", CONFIG) == ProviderChoice("a")


def test_nobodys_price_is_known_unless_the_router_knows_it() -> None:
    context = _context({"role": "user", "content": "hi"})
    assert context.price_of(AB[0]) is None
    choice = LowestCostPolicy(CostSettings(type="lowest_cost")).choose("r", CONFIG, context=context)
    assert (choice.order, choice.reason) == ((0, 1), "no price is known")


def test_a_message_without_text_costs_nothing_to_read() -> None:
    """Calls of tools, say: they are few words beside a conversation."""
    rates = {"a": 2.0, "b": 1.0}

    def card(target: Target) -> PriceCard:
        rate = rates[target.provider]
        return PriceCard(rates=TokenRates(input=rate, output=rate), source="test")

    context = _context({"role": "assistant", "content": None}, {"role": "user", "content": 7}, price_of=card)
    assert LowestCostPolicy(CostSettings(type="lowest_cost")).choose("r", CONFIG, context=context).order == (1, 0)


def test_lengths_are_learned_of_so_many_targets_and_of_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.policy.lowest_cost._MOST_LEARNED", 2)
    policy = LowestCostPolicy(CostSettings(type="lowest_cost"))
    recorder = Recorder()
    router, _, _ = router_for(CONFIG, trace_store=recorder)
    for number in range(4):
        router.complete("r", "hi", model=f"m{number}")
    for record in recorder.records:
        policy.observe(record)
    assert len(policy._learned) <= 2
    before = dict(policy._learned)
    recorder.records.clear()
    router, _, _ = router_for(
        config_for({"a": [ValueError("broken")]}, {"retry": {"attempts": 1}}), trace_store=recorder
    )
    with pytest.raises(Exception, match="broken"):
        router.complete("r", "hi")
    policy.observe(recorder.records[0])
    assert policy._learned == before and LLMUsage().completion_tokens is None


def test_where_none_has_answered_yet_nobody_is_the_fastest() -> None:
    policy = LowestLatencyPolicy(LatencySettings(type="lowest_latency", explore=0))
    order, reason = policy._by_time([(float("inf"), 0), (float("inf"), 1)], "r")
    assert sorted(order) == [0, 1] and reason == "none has answered yet"


def test_no_places_have_no_turn() -> None:
    assert rotated((), 3) == () and rotated((1, 2, 3), 4) == (2, 3, 1)


@pytest.mark.parametrize(
    ("policy", "said"), [("weighted", "policy 'weighted': Field required"), ("no_such_policy", "no_such_policy")]
)
def test_a_policy_that_needs_settings_cannot_be_named_alone(policy: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_policy(policy)


class Choosing:
    """Chooses what it is told."""

    def __init__(self, choice: ProviderChoice) -> None:
        self.choice = choice

    def choose(self, role: str, config: Any, *, context: Any = None) -> ProviderChoice:
        return self.choice


def _router(choice: ProviderChoice, **options: Any) -> LeeLLMRouter:
    router, _, _ = router_for(CONFIG, policy=Choosing(choice), **options)
    return router


def test_a_model_that_a_call_names_leaves_a_policys_own_fallbacks_their_models() -> None:
    choice = ProviderChoice("a", fallbacks=[ProviderChoice("b", {"model": "own"}, reason="second")], reason="first")
    told = _router(choice).explain("r", "hi", model="asked")
    assert [(target.provider, target.model) for target in told.targets] == [("a", "asked"), ("b", "own")]


def test_a_reason_for_what_is_not_in_the_chain_is_nobodys() -> None:
    choice = ProviderChoice("a", fallbacks=[ProviderChoice("a", reason="again"), "b"])
    told = _router(choice).explain("r", "hi")
    assert [target.provider for target in told.targets] == ["a", "b"]


def test_what_a_policy_sets_is_explained_as_the_policys() -> None:
    choice = ProviderChoice("a", {"model": "own", "temperature": 0.5, "extra_body": {"deep": {"a": object()}}})
    target = _router(choice).explain("r", "hi").targets[0]
    found = {setting.name: (setting.value, setting.source) for setting in target.settings}
    assert found["temperature"] == (0.5, "policy")
    assert target.model == "own"


def test_only_so_many_orders_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.routing.planner._MOST_ORDERS", 1)
    policy = Choosing(ProviderChoice("a", order=(0, 1)))
    router, _, _ = router_for(CONFIG, policy=policy)
    for order in ((0, 1), (1, 0), (0, 1)):
        policy.choice = ProviderChoice("ab"[order[0]], order=order)
        assert router.complete("r", "hi").provider == "ab"[order[0]]
    assert len(router._assembly.planner._ordered_chains) == 1


def test_keys_of_so_many_targets_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers may name models without end; each still gets the keys in turn."""
    monkeypatch.setattr("lee_llm_router.routing.key_spread._MOST_KEPT", 1)
    for name in ("KEY_A", "KEY_B"):
        monkeypatch.setenv(name, f"sk-{name}-0123456789")
    section = {"type": "http", "base_url": "http://127.0.0.1:1/v1", "api_key_env": ["KEY_A", "KEY_B"], "model": "m"}
    roles = {"r": {"provider": "p"}}
    spread = KeySpread(load_config({"llm": {"providers": {"p": section}, "roles": roles}}).providers)
    targets = [Target("p", name, {}) for name in ("m", "n", "m")]
    found = [[keyed.key_variable for keyed in spread.spread([target])] for target in targets]
    assert found == [["KEY_A", "KEY_B"], ["KEY_B", "KEY_A"], ["KEY_A", "KEY_B"]]
    assert len(spread._made) == 1


def test_budgets_without_a_folder_to_keep_them_in_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any) -> Any:
        raise OSError(2, "there is no home")

    monkeypatch.setattr("lee_llm_router.routing.billing_parts.FileLedger", nowhere)
    budget = {"usd": 1, "per": "day"}
    config = {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p", "budget": budget}}}
    with pytest.raises(ConfigError, match="there is no folder to keep budgets in: there is no home"):
        LeeLLMRouter({"llm": config}, trace_store=False)


def test_whoever_builds_a_chain_gets_what_a_call_would_ask() -> None:
    own = (Target("a", "m", {}), Target("b", "m", {}))
    plain = build_chain(ProviderChoice("b"), "r", CONFIG, own, {})
    assert [target.provider for target in plain] == ["b", "a"]
    asked = build_chain(ProviderChoice("a", order=(0, 1)), "r", CONFIG, own, {"model": "x", "temperature": 0.5})
    assert [(target.model, target.fields["temperature"]) for target in asked] == [("x", 0.5), ("x", 0.5)]
