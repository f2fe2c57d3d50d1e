"""The Responses API with a real model: llama.cpp's server through `openai_responses`, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.support import Memory
from lee_llm_router import FailureType, LeeLLMRouter, LLMRouterError

pytestmark = pytest.mark.real

QUESTION = "What is the capital of France? Answer in one short sentence."


class City(BaseModel):
    name: str
    country: str


def _router(address: str, **settings: Any) -> LeeLLMRouter:
    return LeeLLMRouter(
        {"llm": {
            "providers": {"llama": {"type": "openai_responses", "base_url": address, **settings}},
            "roles": {"r": {
                "provider": "llama", "model": "smollm2", "temperature": 0, "timeout": 600, "deadline": 1200,
            }},
        }},
        trace_store=Memory(),
    )  # fmt: skip


def test_a_real_model_answers_through_the_responses_api(model_server: str) -> None:
    """Sync and async, whole and streamed: the same text, a finish reason, tokens, an id."""
    with _router(model_server) as router:
        whole = router.complete("r", QUESTION)
        again = asyncio.run(router.complete_async("r", QUESTION))
        stream = router.stream("r", QUESTION)
        pieces = [chunk.text for chunk in stream if chunk.text]
    print(whole.text, whole.usage)
    assert "Paris" in whole.text and whole.text == again.text == stream.response.text == "".join(pieces)
    assert len(pieces) > 3
    for one in (whole, stream.response):
        assert one.finish_reason == "stop" and one.details.id
        assert (one.usage.prompt_tokens or 0) > 0 and (one.usage.completion_tokens or 0) > 3


def test_an_answer_that_was_cut_says_so(model_server: str) -> None:
    """The server calls it complete."""
    with _router(model_server) as router:
        whole = router.complete("r", QUESTION, max_tokens=4)
        stream = router.stream("r", QUESTION, max_tokens=4)
        list(stream)
    assert whole.finish_reason == stream.response.finish_reason == "length"


@pytest.mark.parametrize("form", ["json_schema", "json_object", "prompt"])
def test_a_schema_is_honoured(model_server: str, form: str) -> None:
    with _router(model_server, structured_output=form) as router:
        messages = [
            {"role": "user", "content": "Describe Rome as JSON with the keys name and country."},
            {"role": "assistant", "content": '{"name": "Rome", "country": "Italy"}'},
            {"role": "user", "content": "Describe Paris as JSON with the keys name and country."},
        ]
        answer = router.complete("r", messages, schema=City)
        stream = router.stream("r", messages, schema=City)
        list(stream)
    print(form, answer.text)
    assert answer.parsed == stream.response.parsed and isinstance(answer.parsed, City)


def test_a_history_with_calls_and_results_is_taken(model_server: str) -> None:
    """Instructions, calls, results, and an answer of the same model that comes back."""
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}, {"role": "user", "content": "And now?"},
    ]  # fmt: skip
    tools = [{"type": "function", "function": {"name": "weather", "description": "Tells the weather.",
              "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]  # fmt: skip
    with _router(model_server) as router:
        answer = router.complete("r", messages, max_tokens=16, tools=tools, tool_choice="none")
        assert answer.text
        again = router.complete("r", [*messages, answer.message, {"role": "user", "content": "Thanks"}], max_tokens=8)
        assert again.text


def test_a_prompt_past_the_context_is_too_long(model_server: str) -> None:
    with _router(model_server) as router, pytest.raises(LLMRouterError) as caught:
        router.complete("r", "word " * 9000)
    assert caught.value.failure_type is FailureType.CONTEXT_LENGTH
