"""The dialect of Anthropic's messages: what is rarely written, sent or refused. No network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from helpers.anthropic_answers import broken, decoded, read
from helpers.anthropic_messages import CALL, MODEL, TEXT, error, events_of, message, sse
from helpers.anthropic_requests import (
    DIALECT,
    OLDER,
    USER,
    call,
    calling,
    encoded,
    result,
    settings,
    told,
    tool,
    unsupported,
)  # fmt: skip
from helpers.support import FakeClock
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.provider import AnthropicProvider
from lee_llm_router.response import LLMRequest

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


# What is asked


@pytest.mark.parametrize("content", [" \n", [{"type": "text", "text": "I look."}]])
def test_calls_beside_an_odd_content_are_told_with_their_results(content: Any) -> None:
    turns = told(USER, {**calling(call()), "content": content}, result())["messages"]
    assert [block["type"] for block in turns[1]["content"]][-1] == "tool_use"
    assert turns[2]["content"][0]["tool_use_id"] == turns[1]["content"][-1]["id"]


def test_what_another_vendor_has_put_into_an_answer_for_itself_is_left_out() -> None:
    said = [{"type": "text", "text": "Yes."}, {"type": "own_of_somebody", "x": 1}]
    turns = told(USER, {"role": "assistant", "content": said}, USER)["messages"]
    assert turns[1]["content"] == said[:1]
    alone = LLMRequest(messages=(USER, {"role": "assistant", "content": said[1:]}))
    assert [turn["role"] for turn in DIALECT.encode(alone, settings(), stream=False)["messages"]] == ["user"]


def test_a_file_that_the_vendor_keeps_is_of_any_type() -> None:
    kept = {"type": "file", "file": {"file_id": "file_1"}}
    foreign = {"type": "file", "file": {"file_data": "data:application/zip;base64,QUJD", "filename": "a.zip"}}
    provider = AnthropicProvider("p", settings(), FakeClock())
    found = [
        provider.untakable(LLMRequest(messages=({"role": "user", "content": [part]},)))
        for part in ({"type": "text", "text": "hi"}, kept, foreign)
    ]
    assert found == [None, None, "a file of the type application/zip cannot be sent"]


def test_a_text_file_whose_data_is_not_base64_is_told_as_it_stands() -> None:
    part = {"type": "file", "file": {"file_data": "abc", "filename": "a.txt"}}
    (turn,) = told({"role": "user", "content": [part]})["messages"]
    assert turn["content"][0]["source"]["data"] == "abc"


def test_a_tool_may_be_written_flat_and_allowed_by_a_list_without_names() -> None:
    flat = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    body = encoded(tools=(flat, tool("g")), tool_choice={"type": "allowed_tools", "mode": "required"})
    assert [one["name"] for one in body["tools"]] == ["f", "g"]
    assert body["tools"][0]["description"] == "d"
    assert body["tool_choice"] == {"type": "any"}


def test_a_choice_that_names_nothing_is_told_as_it_stands_for_the_vendor_to_refuse() -> None:
    """It is the caller's mistake, and must not look like a broken provider."""
    request = LLMRequest(messages=(USER,), tools=(tool(),), tool_choice={"own": 1}, parallel_tool_calls=False)
    assert not AnthropicProvider.unsupported(replace(request, reasoning_effort="high"), settings(model=OLDER))
    body = DIALECT.encode(request, settings(), stream=False)
    assert body["tool_choice"] == {"own": 1, "disable_parallel_tool_use": True}
    odd = {"type": "allowed_tools", "tools": [{"name": ["f"]}, {"name": "f"}, 7]}
    assert [one["name"] for one in encoded(tools=(tool(), tool("g")), tool_choice=odd)["tools"]] == ["f"]


def test_instructions_for_json_follow_a_system_text_that_is_marked_for_the_cache() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "Be kind.", "cache": True}]}
    body = encoded(messages=(system, USER), json_mode=True)
    assert body["system"][0]["text"] == "Be kind."
    assert "JSON" in body["system"][-1]["text"] and "cache_control" not in body["system"][-1]


def test_without_any_model_none_is_named() -> None:
    local = settings(base_url="http://127.0.0.1:1", model=None)
    assert "model" not in DIALECT.encode(LLMRequest(messages=(USER,)), local, stream=False)


def test_an_effort_without_a_known_budget_is_not_expressed_by_a_model_that_wants_one() -> None:
    assert unsupported(settings(model=OLDER), reasoning_effort="extreme") == {"reasoning_effort"}


# What comes


def test_a_message_served_by_another_model_is_told_by_the_entry_that_names_it() -> None:
    iterations = [{"type": "message", "model": MODEL}, {"type": "fallback_message", "model": "claude-other"},
                  {"type": "fallback_message", "model": None}]  # fmt: skip
    usage = {"input_tokens": 1, "output_tokens": 1, "iterations": iterations}
    assert decoded(message(TEXT, usage=usage)).model == "claude-other"


def test_a_stream_of_another_api_is_named_as_such() -> None:
    body = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    assert "chat completion chunks" in str(broken(body))


def test_an_event_of_an_unknown_type_changes_nothing() -> None:
    events = events_of(message(TEXT))
    assert (
        read([sse({"type": "noticed"}, *events[:3], {"type": "noticed", "choices": []}, *events[3:])]).text
        == (TEXT["text"])
    )


def test_a_stream_without_a_reason_to_stop_is_not_whole() -> None:
    error = broken(sse(*(one for one in events_of(message(TEXT)) if one["type"] != "message_delta")))
    assert error.failure_type is FailureType.INVALID_RESPONSE
    assert "ended before the answer was finished" in str(error)


def test_arguments_that_are_no_json_are_handed_on_as_they_came() -> None:
    events = [json.loads(json.dumps(one)) for one in events_of(message(CALL, stop_reason="tool_use"))]
    deltas = [one for one in events if one["type"] == "content_block_delta"]
    for one in deltas:
        one["delta"]["partial_json"] = ""
    deltas[0]["delta"]["partial_json"] = '{"city": '
    found = read([sse(*events)])
    assert found.tool_calls[0].arguments == '{"city": '
    assert found.raw["content"][0]["input"] == '{"city": '


# What an error says


def test_a_limit_without_numbers_counts_as_full() -> None:
    """The wait is that of the scarcest limit: one that says what is left goes before one that does not."""
    fields = {"requests-reset": "2027-01-15T08:00:09Z", "tokens-reset": "2027-01-15T08:00:30Z",
              "tokens-remaining": "0", "tokens-limit": "100"}  # fmt: skip
    headers = [(f"anthropic-ratelimit-{name}".encode(), value.encode()) for name, value in fields.items()]
    body = json.dumps(error("rate_limit_error", "slow")).encode()
    assert MessagesDialect().failure(HTTPReply(429, body, headers, now=NOW)).retry_after == 30
    assert MessagesDialect().failure(HTTPReply(429, body, headers[:1], now=NOW)).retry_after == 9


@pytest.mark.parametrize("body", [b"<html>Bad</html>", b'{"type": "error", "error": {"type": "' + b"x" * 1_000_001])
def test_an_error_that_is_not_json_or_endless_is_told_by_its_status(body: bytes) -> None:
    assert MessagesDialect().failure(HTTPReply(529, body)).failure_type is FailureType.OVERLOADED
    assert not _learns(body)


# What a model teaches


def _learns(said: str | bytes, option: str | None = None, **fields: Any) -> bool:
    """Whether the provider asks again, with something left out, after a model has said this to a request."""
    config = settings(base_url="http://127.0.0.1:1", model="own")
    request = LLMRequest(**{"messages": (USER,), "drop_unsupported": True, **fields})
    provider = AnthropicProvider("p", config, FakeClock())
    body = said if isinstance(said, bytes) else json.dumps(error("invalid_request_error", said)).encode()
    asked = DIALECT.encode(request, config, stream=False)
    again = provider.learns(request, config, HTTPReply(400, body, asked=asked))
    if option is not None:
        assert set(provider.refused_before(request)) == {option}
    elif again:
        assert provider.dialect.encode(request, provider.settings_for(request), stream=False) != asked
    return again


@pytest.mark.parametrize(("said", "option", "fields"), [
    ("speed: Extra inputs are not permitted", "service_tier", {"service_tier": "fast"}),
    ("tool_choice.disable_parallel_tool_use is not supported", "parallel_tool_calls",
     {"tools": (tool(),), "parallel_tool_calls": False}),
    ("tools.0.strict: Extra inputs are not permitted", None, {"tools": (tool(strict=True),)}),
    ("cache_control: Extra inputs are not permitted", None,
     {"messages": ({"role": "user", "content": [{"type": "text", "text": "hi", "cache": True}]},)}),
])  # fmt: skip
def test_what_a_model_refuses_is_left_out_of_the_next_request(said: str, option: str | None, fields: Any) -> None:
    assert _learns(said, option, **fields)


def test_what_was_not_asked_for_cannot_have_been_refused() -> None:
    tools: dict[str, Any] = {"tools": (tool(),), "tool_choice": "auto"}
    assert not _learns("tool_choice.disable_parallel_tool_use is not supported", **tools)
    assert not _learns("tools.0.strict: Extra inputs are not permitted", **tools)
