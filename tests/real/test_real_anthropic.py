"""The provider type `anthropic` with a real model: llama.cpp's server speaks the Messages API too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from lee_llm_router import FailureType, LeeLLMRouter, LLMResponse, LLMRouterError

pytestmark = pytest.mark.real

QUESTION = "What is the capital of France? Answer in one short sentence."
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}  # fmt: skip
SCHEMA = {
    "type": "object", "properties": {"capital": {"type": "string", "maxLength": 20}}, "required": ["capital"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.fixture
def router(model_server: str) -> Iterator[LeeLLMRouter]:
    role = {
        "provider": "llama",
        "max_tokens": 40,
        "temperature": 0,
        "deadline": 400,
        "timeout": 150,
        "retry": {"attempts": 2},
    }
    providers = {"llama": {"type": "anthropic", "base_url": model_server, "model": "smollm2"}}
    with LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, trace_store=False) as made:
        yield made


def streamed(router: LeeLLMRouter, messages: Any, **options: Any) -> tuple[str, LLMResponse]:
    with router.stream("r", messages, **options) as stream:
        text = "".join(chunk.text for chunk in stream)
        assert stream.response is not None
        return text, stream.response


def test_a_real_model_answers_whole_and_streamed(router: LeeLLMRouter) -> None:
    """Text, a finish reason, usage and an id; sync, async and streamed say the same."""
    whole = router.complete("r", QUESTION)
    again = asyncio.run(router.complete_async("r", QUESTION))
    text, response = streamed(router, QUESTION)
    assert text == response.text
    for answer in (whole, again, response):
        assert "Paris" in answer.text
        assert answer.finish_reason in ("stop", "length")
        assert (answer.usage.prompt_tokens or 0) > 0 and (answer.usage.completion_tokens or 0) > 0
        assert answer.model and answer.details.id


def test_the_input_counts_what_the_server_had_in_its_cache(router: LeeLLMRouter) -> None:
    """Asked twice, the prompt is as long as before, though most of it was read from the cache."""
    first, second = (router.complete("r", QUESTION) for _ in range(2))
    assert first.usage.prompt_tokens == second.usage.prompt_tokens
    assert (second.usage.cached_tokens or 0) > 0


def test_a_bound_and_a_stop_sequence_hold(router: LeeLLMRouter) -> None:
    assert router.complete("r", QUESTION, max_tokens=3).finish_reason == "length"
    stopped = router.complete("r", QUESTION, stop=["Paris"])
    assert "Paris" not in stopped.text and stopped.finish_reason == "stop"


def test_a_history_of_tool_calls_is_taken(router: LeeLLMRouter) -> None:
    """With ids from elsewhere, several results, one that failed, and instructions: the server refuses nothing."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Rome and Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": f"call.{city}|1", "type": "function",
             "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}} for city in ("Rome", "Oslo")
        ]},
        {"role": "tool", "tool_call_id": "call.Oslo|1", "content": "no such city", "is_error": True},
        {"role": "tool", "tool_call_id": "call.Rome|1", "content": "sunny"},
    ]  # fmt: skip
    choices: list[dict[str, Any]] = [{"tools": [WEATHER]}, {}]
    for options in choices:
        answer = router.complete("r", messages, **options)
        assert answer.text or answer.tool_calls
        assert streamed(router, messages, **options)[1].finish_reason


def test_tools_and_a_forced_call_are_taken(router: LeeLLMRouter) -> None:
    """The server reads them for models that know tools; of this one no more can be asked than an answer."""
    answer = router.complete(
        "r", "What is the weather in Paris?", tools=[WEATHER], tool_choice="required", max_tokens=8
    )
    assert answer.finish_reason in ("tool_calls", "length", "stop")


def test_no_answer_misses_the_schema(router: LeeLLMRouter) -> None:
    """The server leaves a schema out without a word: so the model is told in words, and the answer checked."""
    try:
        answer = router.complete("r", "What is the capital of France?", schema=SCHEMA, max_tokens=24)
    except LLMRouterError as error:
        assert error.failure_type is FailureType.CONTRACT_VIOLATION
    else:
        assert isinstance(answer.parsed["capital"], str)


def test_thinking_is_asked_for_without_a_refusal(router: LeeLLMRouter) -> None:
    for effort in ("none", "high"):
        assert router.complete("r", QUESTION, reasoning_effort=effort, max_tokens=1500, stop=["is"]).finish_reason
