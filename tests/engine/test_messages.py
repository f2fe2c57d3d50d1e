"""What a caller may pass as messages, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.support import config_for, provider_of, router_for
from lee_llm_router import InvalidRequestError
from lee_llm_router.response import (
    Message,
    ToolCall,
    ToolResult,
    is_instruction,
    message_parts,
    message_text,
    message_tool_calls,
    message_tool_result,
    system_text,
)

PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages is empty"),
        ("", "messages is empty"),
        (b"hi", "not bytes"),
        ({"role": "user", "content": "hi"}, "not dict"),
        (None, "not NoneType"),
        (["hi"], r"messages\[0\] must be a mapping"),
        ([{"content": "hi"}], r"messages\[0\]\.role must be one of assistant, developer"),
        ([{"role": "boss", "content": "hi"}], "not 'boss'"),
        ([{"role": "user"}], r"messages\[0\]\.content is missing"),
        ([{"role": "user", "content": 7}], "must be a string or a list of parts, not int"),
        ([{"role": "user", "content": ["hi"]}], r"content\[0\] must be a mapping with a type"),
        ([{"role": "user", "content": [{"text": "hi"}]}], r"content\[0\] must be a mapping with a type"),
        ([{"role": "user", "content": "ok"}, {"role": "user", "content": "\udfff"}], r"messages\[1\].*surrogate"),
        ([{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}], r"content\[0\]\.text.*surrogate"),
    ],
)
def test_wrong_messages_are_refused_with_their_place(messages: Any, says: str) -> None:
    """INVALID_REQUEST, traced without an attempt, nothing sent."""
    router, memory, _ = router_for(config_for({"a": ["no"]}))
    with pytest.raises(InvalidRequestError, match=says):
        router.complete("r", messages)
    assert [(r.attempt, r.sent, r.failure_type) for r in memory.records] == [(None, False, "INVALID_REQUEST")]
    assert provider_of(router, "a").calls == []


@pytest.mark.parametrize(
    "messages",
    [
        "hi",
        ({"role": "user", "content": "a tuple will do"},),
        [
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "", "tool_call_id": "1"},
        ],
        [
            {"role": "developer", "content": "ünï😀"},
            {"role": "user", "content": [{"type": "text", "text": "é"}, PICTURE]},
        ],
    ],
)
def test_right_messages_pass(messages: Any) -> None:
    router, _, _ = router_for(config_for({"a": ["yes"]}))
    assert router.complete("r", messages).text == "yes"


def test_the_text_of_a_message_is_its_content_or_its_text_parts() -> None:
    assert message_text({"role": "user", "content": "a"}) == "a"
    assert message_text({"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE, {"text": "b"}]}) == "a\nb"
    assert message_text({"role": "assistant", "content": None}) == ""


def test_the_system_text_is_that_of_all_instructions() -> None:
    """In their order, blank ones left out; turns of the conversation are none."""
    messages: list[Message] = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": " \n"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
    ]
    assert system_text(messages) == "a\n\nb\nc"
    assert system_text(messages[1:2]) == ""
    assert [is_instruction(message) for message in messages] == [True, False, True, True]


def test_the_parts_of_a_message_have_a_type() -> None:
    text = {"type": "text", "text": "a"}
    assert message_parts({"role": "user", "content": "a"}) == (text,)
    assert message_parts({"role": "user", "content": [{"text": "a"}, PICTURE, "b"]}) == (text, PICTURE, {"type": "str"})
    assert message_parts({"role": "assistant", "content": None}) == ()


def test_tool_calls_and_results_of_messages_are_typed() -> None:
    """What a message leaves out is empty; arguments that are no text become JSON."""
    whole = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    calls = [whole, {"function": {"arguments": {"é": 1}}}, {}, "no call"]
    assert message_tool_calls({"role": "assistant", "content": None, "tool_calls": calls}) == (
        ToolCall(id="1", name="f", arguments='{"a": 1}'),
        ToolCall(id="", name="", arguments='{"é": 1}'),
        ToolCall(id="", name="", arguments="{}"),
    )
    assert message_tool_calls({"role": "assistant", "content": "a", "tool_calls": None}) == ()
    assert message_tool_calls({"role": "assistant", "content": "a", "tool_calls": "no list"}) == ()
    assert message_tool_result({"role": "tool", "tool_call_id": "1", "content": "4"}) == ToolResult("1", "4")
    assert message_tool_result({"role": "tool", "content": [{"type": "text", "text": "4"}]}) == ToolResult("", "4")
    assert message_tool_result({"role": "user", "content": "4"}) is None
