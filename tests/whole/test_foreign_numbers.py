"""Numbers that a provider of somebody else's gives: what cannot be true counts as not said."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from helpers.support import Pieces, config_for, router_for
from lee_llm_router import LLMResponse, LLMRouterError, LLMUsage, OverloadedError, RateLimitError, StreamChunk
from lee_llm_router.testing import ScriptedRouter

INF, NAN = float("inf"), float("nan")
WEEK = 7 * 86400.0


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
@pytest.mark.parametrize("kind", [RateLimitError, OverloadedError])
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (INF, None), (NAN, None), (-INF, None), (-1, None), (True, None), ("5", None), (Decimal(5), None),
        (10**400, WEEK), (1e9, WEEK), (0, 0.0), (5, 5.0),
    ],
)  # fmt: skip
def test_a_wait_that_cannot_be_true_neither_hangs_nor_breaks_a_call(
    said: Any, kept: float | None, kind: type[LLMRouterError], way: str
) -> None:
    """The call ends within its deadline by a typed error, and a wait that is believed is finite, a week at the most."""
    error = kind("busy", retry_after=said)
    router, memory, clock = router_for(config_for({"a": [error]}, {"deadline": 3, "retry": {"attempts": 2}}))
    began = clock.now
    with pytest.raises(LLMRouterError) as raised:
        if way == "sync":
            router.complete("r", "hi")
        elif way == "async":
            asyncio.run(asyncio.wait_for(router.complete_async("r", "hi"), 30))
        else:
            next(router.stream("r", "hi"))
    assert clock.now - began <= 3
    assert memory.records[0].retry_after == kept
    assert raised.value.retry_after is None or 0 <= raised.value.retry_after <= WEEK
    assert all(0 <= health.retry_after <= WEEK for health in router.health().values())


def test_a_scripted_router_takes_an_endless_wait() -> None:
    with ScriptedRouter(answers={"p": [RateLimitError("x", retry_after=INF), "ok"]}) as router:
        assert router.complete("p", "hi").text == "ok"


@pytest.mark.parametrize("wrong", [NAN, INF, -1.0, True, "1", 1e300])
def test_costs_tokens_and_sizes_that_cannot_be_true_count_as_unreported(wrong: Any) -> None:
    """In the answer, in its record, and in what a streamed answer comes to."""
    usage = LLMUsage(prompt_tokens=wrong, completion_tokens=3, total_tokens=wrong)
    answer = LLMResponse(text="x", finish_reason="stop", usage=usage, cost_usd=wrong, request_bytes=wrong)
    router, memory, _ = router_for(config_for({"a": [answer]}))
    response = router.complete("r", "hi")
    stream = router.stream("r", "hi")
    list(stream)
    answers: list[Any] = [response, stream.response, *memory.records]
    for said in answers:
        assert said.usage == LLMUsage(completion_tokens=3)
        assert (said.cost_usd, said.request_bytes) == (None, None)


def test_the_numbers_of_a_failed_attempt_are_checked_too() -> None:
    partial = LLMResponse(text="x", cost_usd=NAN, usage=LLMUsage(total_tokens=-1))
    error = OverloadedError("x", status_code="503", response=partial)  # type: ignore[arg-type]
    router, memory, _ = router_for(config_for({"a": [error]}, {"retry": {"attempts": 1}}))
    with pytest.raises(OverloadedError) as raised:
        router.complete("r", "hi")
    record = memory.records[0]
    assert (record.status_code, record.cost_usd, record.usage) == (None, None, None)
    assert raised.value.response is not None and raised.value.response.cost_usd is None


def test_a_usage_of_another_type_counts_as_unreported() -> None:
    """An answer that has come, and may have been paid for, is not thrown away for it."""
    usage: Any = {"prompt_tokens": 1}
    answer = LLMResponse(text="x", finish_reason="stop", usage=usage)
    router, memory, _ = router_for(config_for({"a": [answer]}))
    response = router.complete("r", "hi")
    assert (response.text, response.usage, memory.records[0].usage) == ("x", LLMUsage(), None)


@pytest.mark.parametrize("response", ["partial", LLMResponse(text="x", usage={"total": 1})])  # type: ignore[arg-type]
def test_an_error_with_a_foreign_response_is_still_a_typed_failure(response: Any) -> None:
    router, memory, _ = router_for(config_for({"a": [OverloadedError("x", response=response)]}))
    with pytest.raises(OverloadedError):
        router.complete("r", "hi", deadline=0.1)
    assert memory.records[0].usage is None


def test_the_numbers_of_a_stream_that_breaks_off_are_checked_too() -> None:
    pieces = Pieces(StreamChunk(text="x", cost_usd=NAN), OverloadedError("broken"))
    router, memory, _ = router_for(config_for({"a": [pieces]}))
    with pytest.raises(OverloadedError) as raised:
        list(router.stream("r", "hi"))
    assert raised.value.response is not None and raised.value.response.text == "x"
    assert (raised.value.response.cost_usd, memory.records[0].cost_usd) == (None, None)


def test_numbers_that_can_be_true_are_kept() -> None:
    """Also an exit code below zero, as of a child killed by a signal."""
    usage = LLMUsage(prompt_tokens=0, completion_tokens=10**9, cached_tokens=0)
    answer = LLMResponse(text="x", finish_reason="stop", usage=usage, cost_usd=0.25, request_bytes=12)
    router, memory, _ = router_for(config_for({"a": [OverloadedError("x", status_code=-9), answer]}))
    assert router.complete("r", "hi").usage == usage
    assert [record.status_code for record in memory.records] == [-9, None]
    assert (memory.records[1].cost_usd, memory.records[1].request_bytes) == (0.25, 12)


def test_a_cut_stream_still_ends_in_its_own_error() -> None:
    router, _, _ = router_for(config_for({"a": [Pieces("x", OverloadedError("cut", retry_after=NAN))]}))
    with pytest.raises(OverloadedError, match="cut"):
        list(router.stream("r", "hi"))
