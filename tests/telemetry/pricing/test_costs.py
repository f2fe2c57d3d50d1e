"""What an attempt cost stands in the answer, its last chunk, the record and the events, whoever knows it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import respx

from helpers.servers import eventually
from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router import (
    AnswerDetails,
    BilledUsage,
    ConfigError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMUsage,
    ProviderError,
    StreamChunk,
    load_config,
)

USED = LLMUsage(prompt_tokens=1000, completion_tokens=100, total_tokens=1100)
PRICES = {"models": {"a/m": {"input": 2, "output": 10}}}
COST = (1000 * 2 + 100 * 10) / 1_000_000


def answer(**fields: Any) -> LLMResponse:
    return LLMResponse(**{"text": "yes", "finish_reason": "stop", "usage": USED, "model": "m", **fields})


def priced(plays: Any, pricing: Mapping[str, Any] | None = PRICES, **role: Any) -> Any:
    config = config_for({"a": plays if isinstance(plays, list) else [plays]}, role)
    return load_config({"llm": {
        "providers": dict(config.providers), "roles": {"r": config.roles["r"]},
        **({} if pricing is None else {"pricing": pricing}),
    }})  # fmt: skip


def test_a_price_in_the_file_is_in_the_answer_the_record_and_the_events() -> None:
    router, memory, _ = router_for(priced(answer()))
    assert router.complete("r", "x").cost_usd == COST
    assert (memory.records[-1].cost_usd, memory.records[-1].cost_source) == (COST, "pricing")
    told = {event.event: event.data.get("cost_usd") for event in memory.events}
    assert told["llm.complete.success"] == told["call.end"] == COST


def test_async_answers_have_it_too() -> None:
    router, _, _ = router_for(priced(answer()))
    assert asyncio.run(router.complete_async("r", "x")).cost_usd == COST


def test_the_vendors_own_figure_counts_first() -> None:
    router, memory, _ = router_for(priced(answer(cost_usd=0.5)), prices=Book(7.0))
    assert router.complete("r", "x").cost_usd == 0.5
    assert memory.records[-1].cost_source == "vendor"


class Book:
    """A price book of an application."""

    name = "contract"

    def __init__(self, says: Any) -> None:
        self.says = says
        self.asked: list[BilledUsage] = []

    def cost_usd(self, used: BilledUsage) -> Any:
        self.asked.append(used)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def test_an_applications_own_prices_come_before_those_of_the_file() -> None:
    book = Book(7.0)
    router, memory, _ = router_for(priced(answer(model="m-2026")), prices=book)
    assert router.complete("r", "x", service_tier="flex").cost_usd == 7.0
    assert memory.records[-1].cost_source == "contract"
    used = book.asked[0]
    assert (used.provider, used.model, used.served_model, used.service_tier) == ("a", "m", "m-2026", "flex")
    assert used.usage == USED


@pytest.mark.parametrize("says", [None, "dear", float("nan"), -1, True, 1e300, ValueError("broken")])
def test_a_price_book_that_says_nothing_sensible_leaves_it_to_the_file(says: Any) -> None:
    router, memory, _ = router_for(priced(answer()), prices=Book(says))
    assert router.complete("r", "x").cost_usd == COST
    assert memory.records[-1].cost_source == "pricing"


@pytest.mark.parametrize("usage", [LLMUsage(), LLMUsage(prompt_tokens=5)])
def test_a_cost_that_is_not_known_is_none_and_not_0(usage: LLMUsage) -> None:
    router, memory, _ = router_for(priced(answer(usage=usage)))
    assert router.complete("r", "x").cost_usd is None
    assert (memory.records[-1].cost_usd, memory.records[-1].cost_source) == (None, None)


def test_a_model_is_free_only_if_the_file_says_so() -> None:
    free = {"models": {"a": {"input": 0, "output": 0}}}
    router, memory, _ = router_for(priced(answer(), free))
    assert router.complete("r", "x").cost_usd == 0
    assert memory.records[-1].cost_usd == 0
    router, _, _ = router_for(priced(answer(), None))
    assert router.complete("r", "x").cost_usd is None


PIECES = Pieces("ye", "s", StreamChunk(finish_reason="stop"), StreamChunk(usage=USED, model="m"))


def test_the_last_chunk_of_a_stream_has_the_cost() -> None:
    router, memory, _ = router_for(priced(PIECES))
    with router.stream("r", "x") as stream:
        chunks = list(stream)
    assert [chunk.cost_usd for chunk in chunks] == [None, None, None, COST]
    assert stream.response is not None
    assert stream.response.cost_usd == COST
    assert memory.records[-1].cost_usd == COST


def test_the_last_chunk_of_an_async_stream_has_the_cost() -> None:
    router, _, _ = router_for(priced(PIECES))

    async def read() -> list[float | None]:
        async with router.stream_async("r", "x") as stream:
            return [chunk.cost_usd async for chunk in stream]

    assert asyncio.run(read())[-1] == COST


def test_usage_in_the_middle_of_a_stream_is_no_cost_yet() -> None:
    """Gemini counts in every chunk."""
    half = LLMUsage(prompt_tokens=1000, completion_tokens=1)
    plays = Pieces(StreamChunk(text="y", usage=half), StreamChunk(text="es", usage=USED, finish_reason="stop"))
    router, _, _ = router_for(priced(plays))
    assert [chunk.cost_usd for chunk in router.stream("r", "x")] == [None, COST]


def test_a_refused_answer_and_a_failed_attempt_cost_too() -> None:
    failure = ProviderError("broke off", response=answer(text="half"))
    router, memory, _ = router_for(priced([failure, answer(text="no"), answer()], accept={"must_match": "yes"}))
    assert router.complete("r", "x").cost_usd == COST
    assert [record.cost_usd for record in memory.records] == [COST] * 3
    assert memory.events[-1].data["cost_usd"] == pytest.approx(3 * COST)


def test_a_broken_contract_costs_too() -> None:
    router, memory, _ = router_for(priced([answer(text="no JSON"), answer(text="{}")]))
    router.complete("r", "x", json_mode=True)
    assert [record.cost_usd for record in memory.records] == [COST] * 2


def test_the_final_error_holds_the_cost_of_its_answer() -> None:
    router, _, _ = router_for(priced(answer(text="no"), accept={"must_match": "yes"}, retry={"attempts": 1}))
    with pytest.raises(InvalidResponseError) as failed:
        router.complete("r", "x")
    assert failed.value.response is not None
    assert failed.value.response.cost_usd == COST


def test_a_stream_that_is_left_costs_what_it_has_reported() -> None:
    router, memory, _ = router_for(priced(Pieces(StreamChunk(text="a", usage=USED), "b", END)))
    stream = router.stream("r", "x")
    next(stream)
    stream.close()
    assert (memory.records[-1].outcome, memory.records[-1].cost_usd) == ("cancelled", COST)


def test_no_failure_without_usage_has_a_cost() -> None:
    router, memory, _ = router_for(priced([ProviderError("x"), answer()]))
    router.complete("r", "x")
    assert [record.cost_usd for record in memory.records] == [None, COST]


MODELS = {
    "a/exact": {"input": 1, "output": 0},
    "*/big-*": {"input": 2, "output": 0},
    "a/big-old*": {"input": 3, "output": 0},
    "a/*": {"input": 4, "output": 0},
}


@pytest.mark.parametrize(
    ("asked", "served", "rate"),
    [
        ("exact", "exact", 1),
        ("EXACT", "other", 1),
        ("exact", "exact-2026-01-01", 1),
        ("alias", "exact", 1),
        ("big-old-1", "big-old-1", 2),  # the first pattern counts
        ("alias", "big-1", 2),
        ("other", None, 4),
    ],
)
def test_full_names_come_before_patterns_and_of_these_the_first(asked: str, served: str | None, rate: int) -> None:
    router, _, _ = router_for(priced(answer(model=served), {"models": MODELS}))
    assert router.complete("r", "x", model=asked).cost_usd == rate * 1000 / 1_000_000


TIERED = {"models": {"a/m": {
    "input": 2, "output": 10, "per_request": 0.25, "above": [{"input_tokens": 500, "input": 4}],
    "tiers": {"Flex": {"times": 0.5}, "priority": {"input": 6, "output": 20}},
}}}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "served", "cost"),
    [
        (None, None, 0.25 + (1000 * 4 + 100 * 10) / 1_000_000),
        ("auto", "default", 0.25 + (1000 * 4 + 100 * 10) / 1_000_000),
        ("flex", None, 0.25 + (1000 * 2 + 100 * 5) / 1_000_000),
        (None, "flex", 0.25 + (1000 * 2 + 100 * 5) / 1_000_000),
        ("priority", "standard", 0.25 + (1000 * 4 + 100 * 10) / 1_000_000),  # what served is what is billed
        ("flex", "priority", 0.25 + (1000 * 6 + 100 * 20) / 1_000_000),
        ("batch", None, 0.25 + (1000 * 2 + 100 * 5) / 1_000_000),  # half, unless another price is known
        ("scale", None, None),
    ],
)
def test_the_tier_that_served_is_billed(asked: str | None, served: str | None, cost: float | None) -> None:
    router, _, _ = router_for(priced(answer(details=AnswerDetails(service_tier=served)), TIERED))
    options: Any = {} if asked is None else {"service_tier": asked}
    assert router.complete("r", "x", **options).cost_usd == (None if cost is None else pytest.approx(cost))


def test_the_table_serves_a_provider_whose_vendor_is_named() -> None:
    """The first answer waits for the table, and so has its cost; a gateway has no prices of its own."""
    router, memory, _ = router_for(priced(answer(model="gpt-5"), {"vendors": {"a": "openai"}}))
    assert router.complete("r", "x").cost_usd == pytest.approx((1000 * 1.25 + 100 * 10) / 1_000_000)
    assert memory.records[-1].cost_source == "genai-prices"


def test_the_table_is_not_asked_where_the_file_forbids_it() -> None:
    router, _, _ = router_for(priced(answer(model="gpt-5"), {"vendors": {"a": "openai"}, "table": False}))
    assert router.complete("r", "x").cost_usd is None


def test_a_table_that_cannot_be_loaded_leaves_costs_unknown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lee_llm_router.telemetry.pricing import pricer, table

    fresh = table.PriceTable()
    monkeypatch.setattr(pricer, "price_table", lambda: fresh)
    monkeypatch.setitem(__import__("sys").modules, "genai_prices.data_snapshot", None)
    router, _, _ = router_for(priced(answer(model="gpt-5"), {"vendors": {"a": "openai"}}))
    with caplog.at_level(logging.WARNING):
        assert [router.complete("r", "x").cost_usd for _ in range(3)] == [None] * 3
        assert eventually(lambda: any("price table" in line for line in caplog.messages))  # a thread says it
        fresh.find("openai", "gpt-5", 0.0)
    assert sum("price table" in line for line in caplog.messages) == 1


def test_the_event_loop_neither_loads_the_table_nor_searches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from lee_llm_router.telemetry.pricing import pricer, table

    searched, find = set(), table._entry

    def spy(*args: Any) -> Any:
        searched.add(threading.get_ident())
        return find(*args)

    fresh = table.PriceTable()
    monkeypatch.setattr(pricer, "price_table", lambda: fresh)
    monkeypatch.setattr(table, "_entry", spy)
    plays = [answer(model="gpt-5"), answer(model="gpt-5-mini"), answer(model="unknown")]
    router, _, _ = router_for(priced(plays, {"vendors": {"a": "openai"}}))

    async def ask() -> list[bool]:
        answers = [await router.complete_async("r", "x") for _ in range(3)]
        return [one.cost_usd is not None for one in answers]

    assert asyncio.run(ask()) == [True, True, False]
    assert searched
    assert threading.get_ident() not in searched


BODY = {
    "id": "1", "object": "chat.completion", "model": "gpt-5-2025-08-07", "service_tier": "flex",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 200}, "completion_tokens_details": {"reasoning_tokens": 50},
    },
}  # fmt: skip


@respx.mock
def test_a_vendors_prices_are_found_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the model that served, in the tier that served; a server that is nobody's has no prices."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    respx.post(url__regex=".*/chat/completions").mock(return_value=httpx.Response(200, json=BODY))
    with LeeLLMRouter.of("openai/gpt-5", providers={"openai": {"transport": "httpx"}}, trace_store=False) as router:
        cost = router.complete(None, "x").cost_usd
    assert cost == pytest.approx((800 * 0.625 + 200 * 0.0625 + 100 * 5) / 1_000_000)
    mine = {"openai": {"transport": "httpx", "base_url": "http://127.0.0.1:9/v1"}}
    with LeeLLMRouter.of("openai/gpt-5", providers=mine, trace_store=False) as router:
        assert router.complete(None, "x").cost_usd is None


@respx.mock
def test_embeddings_have_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    body = {
        "object": "list", "model": "text-embedding-3-small", "data": [{"index": 0, "embedding": [0.5, 0.25]}],
        "usage": {"prompt_tokens": 500, "total_tokens": 500},
    }  # fmt: skip
    respx.post("https://api.openai.com/v1/embeddings").mock(return_value=httpx.Response(200, json=body))
    providers = {"openai": {"transport": "httpx"}}
    with LeeLLMRouter.of("openai/text-embedding-3-small", providers=providers, trace_store=False) as router:
        assert router.embed(None, ["x"]).cost_usd == pytest.approx(500 * 0.02 / 1_000_000)


@pytest.mark.parametrize(
    ("pricing", "place"),
    [
        ({"models": {"b/m": {"input": 1}}}, "no such provider"),
        ({"models": {"b": {"input": 1}}}, "no such provider"),
        ({"vendors": {"b": "openai"}}, "no such provider"),
        ({"models": {"a/m": {}}}, "names no price"),
        ({"models": {"a/m": {"cached_input": 1}}}, "names no price"),
        ({"models": {"a/m": {"input": -1}}}, "at least 0"),
        ({"models": {"a/m": {"input": "dear"}}}, "a number is wanted"),
        ({"models": {"a/m": {"inptu": 1}}}, "did you mean 'input'"),
        ({"models": {"a/m": {"input": float("inf")}}}, "finite"),
        ({"models": {"a/m": {"input": 1, "above": [{"input": 1}]}}}, "missing"),
        ({"models": {"a/m": {"input": 1, "above": [{"input_tokens": 5}, {"input_tokens": 5}]}}}, "the same number"),
        ({"models": {"a/m": {"input": 1, "tiers": {"flex": {"times": -1}}}}}, "at least 0"),
        ({"modles": {}}, "did you mean 'models'"),
    ],
)
def test_what_is_wrong_with_prices_is_a_finding(pricing: Any, place: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        priced(answer(), pricing)
    assert len(wrong.value.findings) == 1
    assert "llm.pricing." in wrong.value.findings[0]
    assert place in wrong.value.findings[0]


def test_an_odd_answer_of_a_foreign_provider_breaks_no_pricing() -> None:
    odd: list[Any] = [
        answer(usage=LLMUsage(prompt_tokens="9", completion_tokens=-1)),  # type: ignore[arg-type]
        answer(model=5), answer(details=None), answer(cost_usd=float("nan")), answer(model="m" * 100_000),
    ]  # fmt: skip
    for one in odd:
        router, _, _ = router_for(priced(one))
        router.complete("r", "x")
    chunk = StreamChunk(text="y", usage=USED, model=5, finish_reason="stop")  # type: ignore[arg-type]
    router, _, _ = router_for(priced(Pieces(chunk)))
    assert len(list(router.stream("r", "x"))) == 1


@respx.mock
@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_5m_input_tokens": 30,
          "ephemeral_1h_input_tokens": 20}}, (100 * 5 + 30 * 6.25 + 20 * 10 + 10 * 25) / 1_000_000),
        ({"service_tier": "standard", "speed": "fast"}, (100 * 10 + 10 * 50) / 1_000_000),
    ],
)  # fmt: skip
def test_claude_is_billed_for_an_hour_of_cache_and_for_speed(
    monkeypatch: pytest.MonkeyPatch, usage: dict[str, Any], cost: float
) -> None:
    """What the vendor tells apart in its usage has prices of its own."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    body = {
        "id": "1", "type": "message", "role": "assistant", "model": "claude-opus-4-8", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 100, "output_tokens": 10, **usage},
    }  # fmt: skip
    respx.post("https://api.anthropic.com/v1/messages").mock(return_value=httpx.Response(200, json=body))
    providers = {"anthropic": {"transport": "httpx"}}
    with LeeLLMRouter.of("anthropic/claude-opus-4-8", providers=providers, trace_store=False) as router:
        assert router.complete(None, "x").cost_usd == pytest.approx(cost)
