"""The repair of a broken JSON contract: what the model is told, what it costs, and when it is not made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.support import END, Pieces, config_for, provider_of, router_for
from lee_llm_router import (
    ContractViolationError,
    InvalidRequestError,
    LLMResponse,
    LLMUsage,
    PolicyError,
    ProviderChoice,
    ToolCall,
)
from lee_llm_router.errors import FailureType, error_for


class Trip(BaseModel):
    place: str
    days: int


ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where to?"}]
BROKEN, GOOD = '{"place": "Oslo"}', '{"place": "Oslo", "days": 3}'


def test_the_model_is_shown_its_answer_and_told_what_is_wrong_with_it() -> None:
    router, memory, _ = router_for(config_for({"a": [BROKEN, GOOD]}))
    assert router.complete("r", ASKED, schema=Trip).parsed == Trip(place="Oslo", days=3)
    first, second = provider_of(router, "a").calls
    assert list(first.messages) == ASKED
    *before, answer, complaint = second.messages
    assert before == ASKED
    assert answer == {"role": "assistant", "content": BROKEN}
    assert complaint["role"] == "user" and "days: Field required" in complaint["content"]
    assert second.schema is Trip, "the repair asks for the same"
    assert [(r.attempt, r.target_attempt, r.failure_type) for r in memory.records] == [
        (0, 0, "CONTRACT_VIOLATION"), (1, 1, None),
    ]  # fmt: skip


def test_each_repair_shows_the_last_answer_only() -> None:
    """A conversation of broken answers would grow with each."""
    router, _, _ = router_for(config_for({"a": ["one", "two", GOOD]}, role={"contract": {"repair": 2}}))
    assert router.complete("r", ASKED, schema=Trip).parsed.days == 3
    shown = [[m["content"] for m in call.messages[2:3]] for call in provider_of(router, "a").calls]
    assert shown == [[], ["one"], ["two"]]


def test_the_next_target_and_the_next_call_get_the_messages_as_they_were() -> None:
    router, _, _ = router_for(config_for({"a": ["no", "no", GOOD], "b": [GOOD]}))
    assert router.complete("r", ASKED, schema=Trip).provider == "b"
    assert list(provider_of(router, "b").calls[0].messages) == ASKED
    assert router.complete("r", ASKED, schema=Trip).provider == "a"
    assert list(provider_of(router, "a").calls[2].messages) == ASKED


def test_a_retry_after_a_repair_that_failed_repeats_the_repair() -> None:
    down = error_for(FailureType.PROVIDER_ERROR, "down")
    router, _, _ = router_for(config_for({"a": [BROKEN, down, GOOD]}))
    router.complete("r", ASKED, schema=Trip)
    second, third = provider_of(router, "a").calls[1:]
    assert second.messages == third.messages


def test_all_tokens_count_and_are_in_the_trace() -> None:
    told: list[LLMUsage] = []
    plays = [LLMResponse(text=t, finish_reason="stop", usage=LLMUsage(total_tokens=n), cost_usd=n / 100)
             for t, n in ((BROKEN, 7), (GOOD, 9))]  # fmt: skip
    router, memory, _ = router_for(config_for({"a": plays}), on_token_usage=lambda usage, *_: told.append(usage))
    router.complete("r", ASKED, schema=Trip)
    assert [usage.total_tokens for usage in told] == [7, 9]
    assert [(r.usage and r.usage.total_tokens, r.cost_usd, r.response_chars) for r in memory.records] == [
        (7, 0.07, len(BROKEN)), (9, 0.09, len(GOOD)),
    ]  # fmt: skip


def test_an_answer_cut_by_length_is_asked_for_more_briefly_and_not_shown_whole() -> None:
    cut = LLMResponse(text='{"place": "' + "x" * 100_000, finish_reason="length")
    router, _, _ = router_for(config_for({"a": [cut, GOOD]}))
    router.complete("r", ASKED, schema=Trip)
    answer, complaint = provider_of(router, "a").calls[1].messages[2:]
    assert len(answer["content"]) < 5000
    assert "briefly" in complaint["content"] and "length" in complaint["content"]


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_empty_message_is_sent(text: str) -> None:
    """Several APIs refuse one."""
    router, _, _ = router_for(config_for({"a": [LLMResponse(text=text, finish_reason="stop"), GOOD]}))
    router.complete("r", ASKED, schema=Trip)
    assert all(message["content"].strip() for message in provider_of(router, "a").calls[1].messages)


def test_tool_calls_of_a_broken_answer_are_not_repeated() -> None:
    """A tool call whose result does not follow is refused by the API."""
    both = LLMResponse(text="I will look.", tool_calls=(ToolCall(id="c", name="look", arguments="{}"),))
    router, _, _ = router_for(config_for({"a": [both, GOOD]}))
    router.complete("r", ASKED, schema=Trip, tools=[{"type": "function", "function": {"name": "look"}}])
    assert all("tool_calls" not in message for message in provider_of(router, "a").calls[1].messages)


def test_what_the_model_is_told_is_bounded_and_holds_no_secret() -> None:
    schema = {"type": "object", "properties": {"n": {"const": 1}}}
    key = "sk-abcdefghijklmnop"
    wrong = '{"n": "' + key + "y" * 5000 + '"}'
    router, _, _ = router_for(config_for({"a": [wrong, '{"n": 1}']}, providers={"a": {"secret": key}}))
    router.complete("r", ASKED, schema=schema)
    complaint = provider_of(router, "a").calls[1].messages[-1]["content"]
    assert key not in complaint and len(complaint) < 600


def test_the_error_of_a_call_that_could_not_be_repaired_holds_the_last_answer() -> None:
    router, _, _ = router_for(config_for({"a": ["first", "second"]}, role={"contract": {"on_failure": "raise"}}))
    with pytest.raises(ContractViolationError) as caught:
        router.complete("r", ASKED, json_mode=True)
    assert caught.value.response is not None and caught.value.response.text == "second"
    assert [record.verdict for record in caught.value.attempts] == ["retry", "raise"]


def test_a_repair_is_not_charged_to_the_retry_budget() -> None:
    """The target is up and answers: the budget is there for those that are not."""
    config = config_for({"a": ["no", GOOD] * 60})
    health = config.health.model_copy(update={"retry_burst": 1, "retry_ratio": 0.0})
    router, _, _ = router_for(config.model_copy(update={"health": health}))
    assert [router.complete("r", ASKED, schema=Trip).parsed.days for _ in range(60)] == [3] * 60


def _streamed(router: Any, asynchronous: bool, **options: Any) -> tuple[Sequence[Any], Any]:
    if not asynchronous:
        stream = router.stream("r", ASKED, **options)
        return list(stream), stream.response

    async def read() -> tuple[Sequence[Any], Any]:
        stream = router.stream_async("r", ASKED, **options)
        return [chunk async for chunk in stream], stream.response

    return asyncio.run(read())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_streamed_answer_is_repaired_where_the_caller_can_discard_it(asynchronous: bool) -> None:
    plays = [Pieces(BROKEN, END), Pieces(GOOD[:9], GOOD[9:], END)]
    router, _, _ = router_for(config_for({"a": plays}, role={"stream": {"on_break": "restart"}}))
    chunks, response = _streamed(router, asynchronous, schema=Trip)
    assert [chunk.restart for chunk in chunks].count(True) == 1
    assert response.parsed == Trip(place="Oslo", days=3)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_streamed_answer_that_was_handed_on_is_not_repaired_otherwise(asynchronous: bool) -> None:
    router, memory, _ = router_for(config_for({"a": [Pieces(BROKEN, END), Pieces(GOOD, END)], "b": [GOOD]}))
    with pytest.raises(ContractViolationError):
        _streamed(router, asynchronous, schema=Trip)
    assert [record.verdict for record in memory.records] == ["raise"]


@pytest.mark.parametrize("contract", [{"repair": 6}, {"repair": True}, {"on_failure": "stop"}, {"mend": 1}, 3])
def test_a_wrong_contract_option_is_refused_before_anything_is_sent(contract: Any) -> None:
    router, _, _ = router_for(config_for({"a": [GOOD]}))
    with pytest.raises(InvalidRequestError, match="contract"):
        router.complete("r", ASKED, contract=contract)
    assert not provider_of(router, "a").calls


@pytest.mark.parametrize("option", [{"deadline": 3.0}, {"metadata": {"x": 1}}, {"contract": {"repair": 0}}])
def test_a_policy_cannot_override_what_holds_for_a_whole_call(option: dict[str, Any]) -> None:
    """A typed error that names the option."""

    class Odd:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("a", request_overrides=option)

    router, _, _ = router_for(config_for({"a": [GOOD]}), policy=Odd())
    with pytest.raises(PolicyError, match=next(iter(option))):
        router.complete("r", ASKED)
