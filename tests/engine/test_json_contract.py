"""The JSON contract of an answer, where the answer calls tools."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router import ContractViolationError, LLMResponse, StreamChunk, ToolCall, ToolCallDelta

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = ToolCall(id="c1", name="look", arguments="{}")


class Answer(BaseModel):
    a: int


@pytest.mark.parametrize("contract", [{"json_mode": True}, {"schema": Answer}, {"schema": {"type": "object"}}])
@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop", "length"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_answer_that_only_calls_tools_keeps_its_contract(
    contract: dict[str, Any], finish_reason: str, text: str
) -> None:
    """The contract binds text: an agent's loop sends tools and a response format in the same request."""
    answer = LLMResponse(text=text, tool_calls=(CALL,), finish_reason=finish_reason)
    router, _, _ = router_for(config_for({"a": [answer]}))
    response = router.complete("r", "hi", tools=[TOOL], **contract)
    assert response.tool_calls == (CALL,) and response.parsed is None


def test_a_streamed_answer_that_only_calls_tools_keeps_its_contract() -> None:
    pieces = Pieces(StreamChunk(tool_calls=(ToolCallDelta(id="c1", name="look", arguments="{}"),)), END)
    router, _, _ = router_for(config_for({"a": [pieces]}))
    stream = router.stream("r", "hi", tools=[TOOL], json_mode=True)
    list(stream)
    assert stream.response.tool_calls == (CALL,) and stream.response.parsed is None


@pytest.mark.parametrize(
    "answer",
    [
        LLMResponse(text="I will look.", tool_calls=(CALL,), finish_reason="tool_calls"),
        LLMResponse(text="", finish_reason="stop"),
        LLMResponse(text="", finish_reason="length"),
    ],
)
def test_text_beside_tool_calls_and_no_text_at_all_are_held_to_the_contract(answer: LLMResponse) -> None:
    router, _, _ = router_for(config_for({"a": [answer]}))
    with pytest.raises(ContractViolationError):
        router.complete("r", "hi", tools=[TOOL], json_mode=True)
