"""The policy `lowest_cost` asks the target at which a request costs least, as far as that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.spread_calls import CONFIG, asks, context, names, record
from helpers.support import config_for, router_for
from lee_llm_router import LLMConfig, LLMUsage
from lee_llm_router.engine.plan import Target
from lee_llm_router.policy.lowest_cost import CostSettings, LowestCostPolicy
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates


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
