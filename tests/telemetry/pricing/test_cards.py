"""What a usage costs: by hand from published prices, and as genai-prices counts for every model it knows."""

from __future__ import annotations

import warnings
from random import Random
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice

from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates, tier_word
from lee_llm_router.telemetry.pricing.table import PriceTable

NOW = 1_796_000_000.0
"""A moment in November 2026, 00:53 UTC."""
M = 1_000_000

OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta"

# Each cost is written out: tokens of each kind times the published price of a million of them.
BY_HAND: list[tuple[str, str, dict[str, int], str | None, float]] = [
    (OPENAI, "gpt-5", {"prompt_tokens": 1000, "completion_tokens": 500, "cached_tokens": 400, "reasoning_tokens": 300},
     None, (600 * 1.25 + 400 * 0.125 + 500 * 10) / M),
    (OPENAI, "gpt-5-2025-08-07", {"prompt_tokens": 1000, "completion_tokens": 500, "cached_tokens": 400},
     "flex", (600 * 0.625 + 400 * 0.0625 + 500 * 5) / M),
    (OPENAI, "gpt-5-mini", {"prompt_tokens": 2000, "completion_tokens": 10}, None, (2000 * 0.25 + 10 * 2) / M),
    (OPENAI, "gpt-5-mini", {"prompt_tokens": 2000, "completion_tokens": 10, "cached_tokens": 2000},
     "priority", (2000 * 0.045 + 10 * 3.6) / M),
    (OPENAI, "gpt-5.4-mini", {"prompt_tokens": 100, "completion_tokens": 900, "reasoning_tokens": 900},
     "default", (100 * 0.75 + 900 * 4.5) / M),
    (OPENAI, "gpt-5-pro", {"prompt_tokens": 7, "completion_tokens": 7}, None, (7 * 15 + 7 * 120) / M),
    (OPENAI, "gpt-4.1", {"prompt_tokens": 5000, "completion_tokens": 1, "cached_tokens": 1000},
     None, (4000 * 2 + 1000 * 0.5 + 1 * 8) / M),
    (OPENAI, "gpt-4o-mini", {"prompt_tokens": 100, "completion_tokens": 100}, None, (100 * 0.15 + 100 * 0.6) / M),
    (OPENAI, "o3", {"prompt_tokens": 100, "completion_tokens": 800, "reasoning_tokens": 700},
     None, (100 * 2 + 800 * 8) / M),
    (OPENAI, "o4-mini", {"prompt_tokens": 128, "completion_tokens": 64, "cached_tokens": 64},
     None, (64 * 1.1 + 64 * 0.275 + 64 * 4.4) / M),
    (ANTHROPIC, "claude-sonnet-4-5-20250929",
     {"prompt_tokens": 10_000, "completion_tokens": 500, "cached_tokens": 6000, "cache_write_tokens": 3000},
     "standard", (1000 * 3 + 6000 * 0.3 + 3000 * 3.75 + 500 * 15) / M),
    (ANTHROPIC, "claude-sonnet-4-5",
     {"prompt_tokens": 10_000, "completion_tokens": 500, "cache_write_tokens": 3000, "cache_write_1h_tokens": 2000},
     None, (7000 * 3 + 1000 * 3.75 + 2000 * 6 + 500 * 15) / M),
    (ANTHROPIC, "claude-opus-4-1", {"prompt_tokens": 100, "completion_tokens": 100, "cache_write_tokens": 100},
     None, (100 * 18.75 + 100 * 75) / M),
    (ANTHROPIC, "claude-haiku-4-5", {"prompt_tokens": 100, "completion_tokens": 100, "cached_tokens": 50},
     "batch", (50 * 0.5 + 50 * 0.05 + 100 * 2.5) / M),
    (GEMINI, "gemini-2.5-pro", {"prompt_tokens": 200_000, "completion_tokens": 1000, "cached_tokens": 100_000},
     None, (100_000 * 1.25 + 100_000 * 0.125 + 1000 * 10) / M),
    (GEMINI, "gemini-2.5-pro", {"prompt_tokens": 200_001, "completion_tokens": 1000, "cached_tokens": 100_000},
     None, (100_001 * 2.5 + 100_000 * 0.25 + 1000 * 15) / M),
    (GEMINI, "gemini-2.5-flash", {"prompt_tokens": 50, "completion_tokens": 950, "reasoning_tokens": 900},
     None, (50 * 0.3 + 950 * 2.5) / M),
    (GEMINI, "gemini-2.5-flash-lite", {"prompt_tokens": 1, "completion_tokens": 1}, None, (0.1 + 0.4) / M),
    ("https://api.mistral.ai/v1", "mistral-large-latest", {"prompt_tokens": 30, "completion_tokens": 3},
     None, (30 * 2 + 3 * 6) / M),
    ("https://api.deepseek.com/v1", "deepseek-chat",
     {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 60},
     None, (40 * 0.27 + 60 * 0.07 + 10 * 1.1) / M),
    ("https://api.x.ai/v1", "grok-4",  # xAI counts reasoning beside the completion
     {"prompt_tokens": 100, "completion_tokens": 10, "reasoning_tokens": 200, "total_tokens": 310},
     None, (100 * 3 + 210 * 15) / M),
    ("https://api.groq.com/openai/v1", "openai/gpt-oss-120b", {"prompt_tokens": 100, "completion_tokens": 10},
     "on_demand", (100 * 0.15 + 10 * 0.6) / M),
    ("https://openrouter.ai/api/v1", "anthropic/claude-sonnet-4",
     {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 90}, None, (10 * 3 + 90 * 0.3 + 10 * 15) / M),
    ("https://api.perplexity.ai", "sonar", {"prompt_tokens": 100, "completion_tokens": 10},
     None, (100 * 1 + 10 * 1) / M + 12 / 1000),
    ("https://acme.openai.azure.com/openai/v1", "gpt-4o-2024-11-20",
     {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 50}, None, (50 * 2.5 + 50 * 1.25 + 10 * 10) / M),
    ("https://api.cerebras.ai/v1", "gpt-oss-120b", {"prompt_tokens": 100, "completion_tokens": 10},
     None, (100 * 0.35 + 10 * 0.75) / M),
]  # fmt: skip


@pytest.mark.parametrize(("address", "model", "tokens", "tier", "cost"), BY_HAND)
def test_the_cost_of_known_models_is_what_a_calculation_by_hand_gives(
    address: str, model: str, tokens: dict[str, int], tier: str | None, cost: float
) -> None:
    """Cached, written and reasoning tokens, long prompts, tiers and requests included."""
    found = PriceTable().find(address, model, NOW)
    assert found is not None
    assert found.card(tier_word(tier, None), NOW).cost_of(LLMUsage(**tokens)) == pytest.approx(cost, rel=1e-12)


def test_at_least_twenty_models_are_calculated_by_hand() -> None:
    assert len({(address, model) for address, model, *_ in BY_HAND}) >= 20


def test_every_model_of_the_table_costs_what_genai_prices_says() -> None:
    """Of usages with all kinds of tokens; where a kind has no price at all, the cost is unknown and not 0."""
    random, compared = Random(12), 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            compared += _compare(provider, model, random)
    assert compared > 1500


def _compare(provider: Any, model: Any, random: Random) -> int:
    from lee_llm_router.telemetry.pricing.table import TableModel

    cached, written, fresh = (random.choice([0, 7, 5000, 400_000]) for _ in range(3))
    kept = random.choice([0, written // 2, written])
    reasoning, output = random.choice([0, 11, 900]), random.choice([1, 1000])
    usage = LLMUsage(
        prompt_tokens=cached + written + fresh, completion_tokens=reasoning + output, cached_tokens=cached,
        cache_write_tokens=written, cache_write_1h_tokens=kept, reasoning_tokens=reasoning,
    )  # fmt: skip
    cost = TableModel(provider, model, NOW).card(None, NOW).cost_of(usage)
    if cost is None:
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.calc_price(
            Usage(
                input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, cache_read_tokens=cached,
                cache_write_tokens=written, cache_write_1h_tokens=kept,
                output_reasoning_tokens=reasoning,
            ),
            provider, genai_request_timestamp=_moment(),
        )  # fmt: skip
    assert cost == pytest.approx(float(theirs.total_price), rel=1e-9), (provider.id, model.id)
    return 1


def _moment() -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(NOW, UTC)


CARD = PriceCard(rates=TokenRates(input=1, output=2, cached_input=0.5), source="x")


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (LLMUsage(), None),
        (LLMUsage(prompt_tokens=M), None),  # the answer is not reported
        (LLMUsage(completion_tokens=M), None),
        (LLMUsage(prompt_tokens=M, total_tokens=2 * M), 1 + 2),
        (LLMUsage(completion_tokens=M, total_tokens=2 * M), 1 + 2),
        (LLMUsage(prompt_tokens=M, completion_tokens=0), 1),
        (LLMUsage(prompt_tokens=M, completion_tokens=M, cached_tokens=2 * M), None),  # a part larger than the whole
        (LLMUsage(prompt_tokens=M, completion_tokens=M, cached_tokens=M), 0.5 + 2),
        (LLMUsage(prompt_tokens=0, completion_tokens=0), 0),
        (LLMUsage(prompt_tokens=M, completion_tokens=M, reasoning_tokens=M), 1 + 2),
    ],
)
def test_what_was_not_reported_is_not_guessed(usage: LLMUsage, cost: float | None) -> None:
    assert CARD.cost_of(usage) == cost


def test_tokens_without_a_price_are_unknown_and_not_free() -> None:
    usage = LLMUsage(prompt_tokens=1, completion_tokens=1)
    assert PriceCard(source="x").cost_of(usage) is None
    assert PriceCard(rates=TokenRates(input=1), source="x").cost_of(usage) is None
    assert PriceCard(rates=TokenRates(output=1), source="x").cost_of(usage) is None
    assert PriceCard(per_request=0.5, source="x").cost_of(usage) == 0.5
    assert PriceCard(rates=TokenRates(input=0, output=0), source="x").cost_of(usage) == 0


def test_an_embedding_needs_no_price_of_output() -> None:
    card = PriceCard(rates=TokenRates(input=2), source="x")
    assert card.cost_of(LLMUsage(prompt_tokens=M), has_output=False) == 2
    assert card.cost_of(LLMUsage(total_tokens=M), has_output=False) == 2


def test_only_a_card_that_says_so_is_free() -> None:
    assert PriceCard(rates=TokenRates(input=0, output=0), source="x").is_free
    assert not PriceCard(source="x").is_free
    assert not CARD.is_free
    assert not PriceCard(rates=TokenRates(input=0, output=0), per_request=1, source="x").is_free
    assert not PriceCard(rates=TokenRates(input=0, output=0), above=((5, TokenRates(input=1)),), source="x").is_free


def test_a_tier_without_a_price_is_unknown() -> None:
    """genai-prices would take the standard price, which is not what is billed."""
    found = PriceTable().find(OPENAI, "gpt-5-pro", NOW)
    assert found is not None
    usage = LLMUsage(prompt_tokens=1, completion_tokens=1)
    assert found.card("priority", NOW).cost_of(usage) is None
    assert found.card(None, NOW).cost_of(usage) is not None


def test_a_price_by_the_time_of_day_is_looked_up_again_each_minute() -> None:
    found = PriceTable().find("https://api.deepseek.com", "deepseek-chat", NOW)
    assert found is not None
    day, night = found.card(None, NOW), found.card(None, NOW + 20 * 3600)
    assert (day.rates.input, night.rates.input) == (0.27, 0.135)
    assert NOW < day.until <= NOW + 60


@pytest.mark.parametrize(
    ("address", "model"),
    [
        ("https://api.openai.com/v1", "no-such-model"),
        ("http://localhost:11434/v1", "gpt-5"),
        ("https://gateway.example.com/v1", "gpt-5"),
        ("no such vendor", "gpt-5"),
        ("", ""),
    ],
)
def test_what_the_table_does_not_have_is_unknown(address: str, model: str) -> None:
    assert PriceTable().find(address, model, NOW) is None


def test_a_model_price_of_the_table_is_still_of_the_type_that_is_read() -> None:
    """A newer genai-prices with other names would leave all costs unknown: this says so first."""
    found = PriceTable().find(OPENAI, "gpt-5", NOW)
    assert found is not None
    assert isinstance(found.model.prices, ModelPrice)
    assert found.context_window == 400_000
