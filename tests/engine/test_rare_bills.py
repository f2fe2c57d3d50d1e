"""What attempts cost where prices are asked for without end, at other addresses, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.support import config_for, router_for
from lee_llm_router import LLMResponse, LLMUsage, ProviderChoice, RoutingContext, load_config

USED = LLMUsage(prompt_tokens=1000, completion_tokens=100, total_tokens=1100)
COST = (1000 * 2 + 100 * 10) / 1_000_000
ANSWER = LLMResponse(text="yes", finish_reason="stop", usage=USED, model="m")


def _priced(*plays: Any, pricing: Mapping[str, Any] | None = None, providers: Any = None) -> Any:
    config = config_for({"a": list(plays), "b": ["ok"]}, providers=providers)
    prices = {"models": {"a/*": {"input": 2, "output": 10}}} if pricing is None else pricing
    section = {"providers": dict(config.providers), "roles": {"r": config.roles["r"]}, "pricing": prices}
    return load_config({"llm": section})


def test_only_so_many_cards_are_kept_and_each_answer_still_has_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers may name models without end."""
    monkeypatch.setattr("lee_llm_router.engine.billing._MOST_KEPT", 1)
    router, _, _ = router_for(_priced(ANSWER))
    for number in range(3):
        assert router.complete("r", "hi", model=f"m{number}").cost_usd == COST
    billing = router._parts.billing
    assert billing is not None and len(billing._cards) <= 1


class Asking:
    """A policy that asks for prices, and chooses as it is told."""

    def __init__(self, **choice: Any) -> None:
        self.choice = ProviderChoice("a", **choice)
        self.found: list[Any] = []

    def choose(self, role: str, config: Any, *, context: RoutingContext) -> ProviderChoice:
        self.found += [context.price_of(target) for target in context.targets]
        return self.choice


def test_where_nothing_has_a_price_a_policy_learns_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Asking()
    router, _, _ = router_for(_priced(ANSWER, pricing={}), policy=policy)
    assert router.complete("r", "hi").cost_usd is None
    assert policy.found == [None, None]
    monkeypatch.setattr("lee_llm_router.engine.billing._MOST_KEPT", 1)
    policy.found.clear()
    router, _, _ = router_for(_priced(ANSWER), policy=policy)
    router.complete("r", "hi")
    assert [card is None for card in policy.found] == [False, True]
