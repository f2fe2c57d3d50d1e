"""Budgets: spent exactly once, by threads and over periods; and what follows when they are."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from helpers.spent_budgets import DOLLAR, MemoryLedger, limited
from helpers.support import FakeClock, config_for, provider_of, router_for
from lee_llm_router import (
    BudgetExceededError,
    ConfigError,
    FailureType,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMUsage,
    UnavailableError,
    load_config,
)
from lee_llm_router.telemetry.pricing.budget_settings import BudgetPeriod
from lee_llm_router.telemetry.pricing.periods import period_end, period_name


def opened(config: Any, **options: Any) -> tuple[LeeLLMRouter, Any, FakeClock]:
    return router_for(config, **{"budget_ledger": MemoryLedger(), **options})


@pytest.mark.parametrize("where", ["top", "role", "providers"])
@pytest.mark.parametrize("what", ["next", "raise"])
def test_a_spent_budget_ends_the_call_before_any_attempt(where: str, what: str) -> None:
    """Nothing is sent; the error is typed, and says when the next period begins."""
    budget = {"usd": 2, "per": "day", "on_exceed": what}
    config = limited({"a": [DOLLAR]}, **{where: {"a": budget} if where == "providers" else budget})
    router, memory, clock = opened(config)
    for _ in range(2):
        router.complete("r", "x")
    with pytest.raises(BudgetExceededError, match="the budget of 2 US dollars a day") as spent:
        router.complete("r", "x")
    assert spent.value.failure_type is FailureType.QUOTA
    assert not spent.value.sent
    assert spent.value.retry_after == pytest.approx(period_end("day", clock.time()) - clock.time())
    assert len(provider_of(router, "a").calls) == 2
    assert [(r.outcome, r.failure_type) for r in memory.records[2:]] == [("skipped", "QUOTA"), ("error", "QUOTA")]


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"usd": 0.000001, "per": "hour"}, "the budget of 0.000001 US dollars an hour for all calls is spent"),
        ({"usd": 0.5, "per": "month"}, "the budget of 0.5 US dollars a month for"),
        ({"usd": 0.0000125}, "the budget of 0.0000125 US dollars for"),
    ],
)
def test_a_spent_budget_is_told_as_people_write_it(budget: dict[str, Any], told: str) -> None:
    """No powers of ten, and no "a hour"."""
    router, _, _ = opened(limited({"a": [DOLLAR]}, top=budget))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError) as spent:
        router.complete("r", "x")
    assert told in str(spent.value)


def test_next_goes_to_a_target_outside_of_the_budget() -> None:
    router, memory, _ = opened(limited({"a": [DOLLAR], "b": ["free"]}, providers={"a": {"usd": 1}}))
    assert [router.complete("r", "x").provider for _ in range(3)] == ["a", "b", "b"]
    skipped = memory.records[1]
    assert (skipped.provider, skipped.outcome, skipped.failure_type) == ("a", "skipped", "QUOTA")
    assert "budget" in skipped.error


def test_raise_ends_the_call_although_there_is_another_target() -> None:
    budget = {"usd": 1, "on_exceed": "raise"}
    router, _, _ = opened(limited({"a": [DOLLAR], "b": ["free"]}, providers={"a": budget}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError):
        router.complete("r", "x")


def test_a_role_goes_on_with_what_costs_nothing() -> None:
    """Only a price of 0 says so: a target whose price is not known may cost anything."""
    free = {"models": {"b": {"input": 0, "output": 0}}}
    plays = {"a": [DOLLAR], "b": ["local"]}
    router, _, _ = opened(limited(plays, role={"usd": 1}, pricing=free))
    assert [router.complete("r", "x").provider for _ in range(3)] == ["a", "b", "b"]
    router, _, _ = opened(limited(plays, role={"usd": 1}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError):
        router.complete("r", "x")


def test_a_budget_that_is_spent_by_the_first_attempt_stops_the_retry() -> None:
    refused = LLMResponse(text="no", finish_reason="stop", cost_usd=1.0, usage=LLMUsage(prompt_tokens=1))
    config = config_for({"a": [refused]}, {"budget": {"usd": 1}, "accept": {"must_match": "yes"}})
    router, memory, _ = opened(config)
    with pytest.raises(BudgetExceededError) as failed:
        router.complete("r", "x")
    assert isinstance(failed.value.cause, InvalidResponseError)
    assert [(r.outcome, r.cost_usd) for r in memory.records[:2]] == [("error", 1.0), ("skipped", None)]
    assert len(provider_of(router, "a").calls) == 1


def test_targets_shut_for_other_reasons_keep_their_error() -> None:
    plays = {"a": [DOLLAR], "b": ["x"]}
    config = limited(plays, providers={"a": {"usd": 1}})
    router, _, _ = opened(config, wrap_provider=lambda p: _broken(p) if p.name == "b" else p)
    router.complete("r", "x")
    with pytest.raises(UnavailableError):
        router.complete("r", "x")


def _broken(provider: Any) -> Any:
    raise ValueError(provider.name)


def test_a_new_period_begins_by_the_calendar() -> None:
    router, _, clock = opened(limited({"a": [DOLLAR]}, top={"usd": 1, "per": "hour"}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError) as spent:
        router.complete("r", "x")
    assert spent.value.retry_after is not None
    clock.advance(spent.value.retry_after + 1)
    assert router.complete("r", "x").text == "yes"
    assert router.budgets()[0].spent_usd == 1


@pytest.mark.parametrize(
    ("per", "at", "name", "end"),
    [
        ("hour", "2026-11-26T13:59:59", "2026-11-26T13", "2026-11-26T14:00:00"),
        ("day", "2026-11-26T23:59:59", "2026-11-26", "2026-11-27T00:00:00"),
        ("week", "2026-11-29T23:59:59", "2026-W48", "2026-11-30T00:00:00"),  # a Sunday
        ("week", "2027-01-01T00:00:00", "2026-W53", "2027-01-04T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T12:00:00", "2028-02", "2028-03-01T00:00:00"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(per: BudgetPeriod, at: str, name: str, end: str) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    assert period_name(per, moment) == name
    assert datetime.fromtimestamp(period_end(per, moment), UTC).isoformat()[:19] == end
    assert period_name(per, period_end(per, moment)) != name


def test_the_budget_of_a_key_counts_all_its_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_KEY", "sk-shared")
    config = load_config({"llm": {
        "default_role": "x",
        "providers": {
            "one": {"type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "SHARED_KEY",
                    "budget": {"usd": 1, "of": "key"}},
            "two": {"type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "SHARED_KEY"},
            "other": {"type": "mock"},
        },
        "roles": {"x": {"provider": "one", "model": "m"}, "y": {"provider": "two", "model": "m"},
                  "z": {"provider": "other"}},
        "trace": {"enabled": False},
    }})  # fmt: skip
    ledger = MemoryLedger()
    ledger.sums["key SHARED_KEY|total|total"] = 1.0
    router, _, _ = router_for(config, budget_ledger=ledger)
    for role in ("x", "y"):
        with pytest.raises(BudgetExceededError, match="SHARED_KEY"):
            router.complete(role, "x")
    assert router.complete("z", "x").text
    assert [budget.scope for budget in router.budgets()] == ["key SHARED_KEY"]


def test_an_unknown_cost_is_not_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    router, _, _ = opened(limited({"a": ["unknown"]}, top={"usd": 1}))
    with caplog.at_level(logging.WARNING, "lee_llm_router"):
        for _ in range(3):
            router.complete("r", "x")
    assert router.budgets()[0].spent_usd == 0
    assert [line for line in caplog.messages if "a/m" in line and "all calls" in line] == [
        "the price of a/m is not known, so the budget for all calls does not count it: set it under pricing, or install"
        " the extra [cost]"
    ]


def test_budgets_and_health_show_what_is_spent() -> None:
    budget = {"usd": 1.5, "per": "day"}
    router, _, _ = opened(limited({"a": [DOLLAR], "b": ["x"]}, role={"usd": 9}, providers={"a": budget}))
    router.complete("r", "x")
    role, provider = router.budgets()
    assert (role.scope, role.spent_usd, role.left_usd, role.resets_in) == ("role r", 1, 8, None)
    assert (provider.scope, provider.is_spent, provider.per) == ("provider a", False, "day")
    assert router.health()[("a", "m")].available
    router.complete("r", "x")
    assert router.budgets()[1].is_spent
    shown = router.health()[("a", "m")]
    assert not shown.available
    assert shown.reason is not None
    assert "budget" in shown.reason
    assert shown.retry_after > 0


def test_over_64_threads_it_is_exceeded_by_no_more_than_the_calls_under_way() -> None:
    """And not one dollar is lost or counted twice."""
    config = limited({"a": [DOLLAR]}, top={"usd": 100})
    ledger = MemoryLedger()
    router = LeeLLMRouter(config, trace_store=False, budget_ledger=ledger)

    def spend(_: int) -> int:
        answers = 0
        while True:
            try:
                router.complete("r", "x")
            except BudgetExceededError:
                return answers
            answers += 1

    with ThreadPoolExecutor(64) as pool:
        answers = sum(pool.map(spend, range(64)))
    assert 100 <= answers < 100 + 64
    assert router.budgets()[0].spent_usd == pytest.approx(answers)
    router.close()
    assert ledger.sums == {"all calls|total|total": pytest.approx(answers)}


@pytest.mark.parametrize(
    ("budget", "finding"),
    [
        ({}, "missing"), ({"usd": 0}, "greater than 0"), ({"usd": "much"}, "a number is wanted"),
        ({"usd": 1, "per": "year"}, "is wanted"), ({"usd": 1, "on_exceed": "stop"}, "is wanted"),
        ({"usd": 1, "of": "key"}, "unknown key"), (5, "a mapping is wanted"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_budget_is_a_finding(budget: Any, finding: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        limited({"a": ["x"]}, top=budget)
    assert finding in wrong.value.findings[0]
    assert "llm.budget" in wrong.value.findings[0]
