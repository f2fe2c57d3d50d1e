"""An answer as a message for the next call: whole, and with what belongs to one vendor kept apart."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from lee_llm_router import AnswerDetails, LLMResponse, NativeTurn, ToolCall
from lee_llm_router.response.details import native_content, native_origin

ORIGIN = native_origin("api.example.com", "m-1")
NATIVE = NativeTurn(dialect="anthropic", origin=ORIGIN, content=[{"type": "thinking", "signature": "s"}])
CALLS = (ToolCall(id="c1", name="look", arguments='{"x": 1}'),)


def answer(**fields: Any) -> LLMResponse:
    return LLMResponse(**{"text": "well", "details": AnswerDetails(native=NATIVE), **fields})


def test_a_message_has_text_and_calls_in_the_openai_shape() -> None:
    assert LLMResponse(text="hi").message == {"role": "assistant", "content": "hi"}
    message = LLMResponse(text="", tool_calls=CALLS).message
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}],
    }


def test_the_vendors_own_form_comes_back_to_it_also_from_json() -> None:
    message = json.loads(json.dumps(answer(tool_calls=CALLS).message))
    assert native_content(message, "anthropic", ORIGIN) == NATIVE.content


@pytest.mark.parametrize(
    ("dialect", "origin"),
    [
        ("gemini", ORIGIN),
        ("anthropic", native_origin("api.example.com", "m-2")),
        ("anthropic", native_origin("b", "m-1")),
    ],
)
def test_nobody_else_gets_it(dialect: str, origin: str) -> None:
    assert native_content(answer().message, dialect, origin) is None


@pytest.mark.parametrize("change", ["text", "arguments", "call", "gone"])
def test_a_changed_message_counts_as_it_stands_now(change: str) -> None:
    message = copy.deepcopy(answer(tool_calls=CALLS).message)
    if change == "text":
        message["content"] = "something else"
    elif change == "arguments":
        message["tool_calls"][0]["function"]["arguments"] = "{}"
    elif change == "call":
        message["tool_calls"].append(message["tool_calls"][0])
    else:
        del message["tool_calls"]
    assert native_content(message, "anthropic", ORIGIN) is None


@pytest.mark.parametrize(
    "kept",
    [None, 7, [], {"anthropic": None}, {"anthropic": {"origin": ORIGIN}}, {"anthropic": {"of": {}, "origin": []}}],
)
def test_a_broken_field_is_as_none(kept: Any) -> None:
    message = {"role": "assistant", "content": "well", "provider_data": kept}
    assert native_content(message, "anthropic", ORIGIN) is None


def test_pictures_are_found_among_the_parts() -> None:
    parts = (
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "data:,x"}},
        {"type": "image_url"},
    )
    assert AnswerDetails(parts=parts).images == ("data:,x",)
