"""How an answer of chat completions is read, and what is none. No network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.servers import completion
from lee_llm_router.errors import (
    ContentFilterError,
    FailureType,
    InvalidResponseError,
    LLMRouterError,
)
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.response import LLMResponse, LLMUsage, ToolCall
from lee_llm_router.response.details import AnswerDetails

F = FailureType
CHAT = ChatDialect()
NOW = 1_800_000_000.0
KEY = "sk-test-0123456789abcdef0123"


def _reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> HTTPReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return HTTPReply(status, raw, fields, request_bytes=12, secrets=(KEY,), now=NOW)


def _decoded(body: Any) -> LLMResponse:
    return CHAT.decode(_reply(body))


def _refused(body: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        _decoded(body)
    return caught.value


def test_a_plain_answer_is_read_whole() -> None:
    body = completion("hello")
    assert _decoded(body) == LLMResponse(
        text="hello",
        finish_reason="stop",
        usage=LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10),
        model="served-1",
        raw=body,
        request_bytes=12,
        details=AnswerDetails(id="c1", finish_reason="stop"),
    )


def test_details_of_usage_and_cost_are_read() -> None:
    body = completion()
    body["usage"] |= {
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.00125,
    }
    response = _decoded(body)
    assert response.usage == LLMUsage(
        prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=4, reasoning_tokens=2
    )
    assert response.cost_usd == 0.00125


@pytest.mark.parametrize(
    "usage",
    [
        None, [], "many", {}, {"prompt_tokens": None}, {"prompt_tokens": -1}, {"prompt_tokens": "7"}, {"cost": "free"},
        {"prompt_tokens": True}, {"prompt_tokens": 1.5}, {"prompt_tokens": 10**30}, {"prompt_tokens": float("nan")},
        {"prompt_tokens": float("inf")}, {"prompt_tokens_details": 3}, {"completion_tokens_details": None},
        {"cost": -1}, {"cost": True}, {"cost": float("nan")},
    ],
)  # fmt: skip
def test_odd_usage_counts_as_none(usage: Any) -> None:
    """A number that cannot be true must not end up in a bill, and must not spoil a good answer."""
    response = _decoded(completion() | {"usage": usage})
    assert response.text == "hello"
    assert not response.usage and response.usage.total_tokens is None
    assert response.cost_usd is None


def test_whole_floats_are_counts() -> None:
    assert _decoded(completion() | {"usage": {"prompt_tokens": 5.0}}).usage == LLMUsage(prompt_tokens=5)


CALL = {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (CALL, ToolCall(id="call_a", name="f", arguments='{"x": 1}')),
        ({"function": {"name": "f", "arguments": {"x": 1}}}, ToolCall(id="call_0", name="f", arguments='{"x":1}')),
        ({"id": "", "function": {"name": "f"}}, ToolCall(id="call_0", name="f", arguments="{}")),
        ({"id": "c", "custom": {"name": "g", "input": "go"}}, ToolCall(id="c", name="g", arguments="go")),
    ],
)  # fmt: skip
def test_tool_calls_are_read_in_every_habit(call: Any, expected: ToolCall) -> None:
    response = _decoded(completion(None, tool_calls=[call]))
    assert (response.text, response.tool_calls, response.finish_reason) == ("", (expected,), "tool_calls")


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": ""}, "", None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}, 3]}, "b", None),
        ({"content": "a", "reasoning_content": "hm"}, "a", "hm"),
        ({"content": "a", "reasoning": "hm"}, "a", "hm"),
        ({"content": "a", "reasoning": {"odd": 1}, "refusal": None, "tool_calls": []}, "a", None),
    ],
)
def test_text_and_reasoning_are_found_where_servers_put_them(message: Any, text: str, reasoning: str | None) -> None:
    body = completion()
    body["choices"][0]["message"] = message
    response = _decoded(body)
    assert (response.text, response.reasoning) == (text, reasoning)


def test_length_is_an_answer_even_before_the_first_word() -> None:
    """A bound used up by reasoning leaves null for a text; the finish reason says why."""
    body = completion(None, reasoning_content="so much to think about")
    body["choices"][0]["finish_reason"] = "length"
    assert _decoded(body).finish_reason == "length"


def test_a_missing_finish_reason_is_forgiven_and_a_null_one_is_not() -> None:
    body = completion()
    del body["choices"][0]["finish_reason"]
    assert _decoded(body).finish_reason is None
    body["choices"][0]["finish_reason"] = None
    assert isinstance(_refused(body), InvalidResponseError)


def test_a_byte_order_mark_is_skipped() -> None:
    assert _decoded(b"\xef\xbb\xbf" + json.dumps(completion()).encode()).text == "hello"


def _choice(**fields: Any) -> dict[str, Any]:
    body = completion()
    body["choices"][0].update(fields)
    return body


NO_ANSWERS: dict[str, Any] = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html><head><title>Sign in</title>",
    "html without a title": b"<html>",
    "text": b"upstream connect error",
    "half of one": json.dumps(completion()).encode()[:-9],
    "not utf-8": b'{"choices": "\xff"}',
    "null": None,
    "a list": [completion()],
    "a number": 42,
    "a string": "hello",
    "nothing in it": {},
    "a stream": b'data: {"choices": []}\n\ndata: [DONE]\n\n',
    "deep": b"[" * 100_000,
    "choices null": completion() | {"choices": None},
    "choices empty": completion() | {"choices": []},
    "choices a mapping": completion() | {"choices": {"0": {}}},
    "choice null": completion() | {"choices": [None]},
    "message missing": completion() | {"choices": [{"finish_reason": "stop"}]},
    "message null": _choice(message=None),
    "message a string": _choice(message="hello"),
    "content null": completion(None),
    "content missing": _choice(message={"role": "assistant"}),
    "content a number": completion() | _choice(message={"content": 5}),
    "content a mapping": _choice(message={"content": {"text": "a"}}),
    "finish reason null": _choice(finish_reason=None),
    "finish reason a number": _choice(finish_reason=1),
    "tool calls a string": completion(None, tool_calls="f()"),
    "tool call null": completion(None, tool_calls=[None]),
    "tool call without a function": completion(None, tool_calls=[{"id": "1"}]),
    "tool call with a function of text": completion(None, tool_calls=[{"function": "f"}]),
    "tool call without a name": completion(None, tool_calls=[{"function": {"arguments": "{}"}}]),
    "tool call with a number for a name": completion(None, tool_calls=[{"function": {"name": 3}}]),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_is_an_invalid_response(kind: str) -> None:
    error = _refused(NO_ANSWERS[kind])
    assert type(error) is InvalidResponseError, repr(error)
    assert error.message.startswith("the answer is ")
    assert error.status_code == 200
    assert not error.final


def test_a_web_page_is_called_one() -> None:
    assert _refused(NO_ANSWERS["html"]).message == "the answer is not JSON but a web page (Sign in)"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "tool_calls", "function", "name", "usage", "error", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON, JSON)
def test_no_shape_of_json_gets_past_the_types(top: Any, choice: Any, message: Any) -> None:
    """Any JSON at any level: an answer, or this library's error; nothing else is raised."""
    for body in (top, {"choices": top}, {"choices": [choice]}, _choice(message=message), {"error": top}):
        try:
            assert isinstance(_decoded(body).text, str)
        except LLMRouterError as error:
            assert error.message


@pytest.mark.parametrize(
    ("reason", "expected", "final"),
    [
        ("content_filter", F.CONTENT_FILTER, False),
        ("error", F.PROVIDER_ERROR, False),
        ("abort", F.PROVIDER_ERROR, False),
        ("insufficient_system_resource", F.OVERLOADED, False),
        ("incomplete", F.INVALID_RESPONSE, True),
    ],
)
def test_an_answer_the_vendor_calls_broken_off_is_none(reason: str, expected: FailureType, final: bool) -> None:
    """The error carries what there is, its usage included."""
    error = _refused(_choice(finish_reason=reason))
    assert (error.failure_type, error.final) == (expected, final)
    assert error.response is not None
    assert (error.response.text, error.response.finish_reason) == ("hello", reason)
    assert error.response.usage is not None


def test_a_refusal_is_the_content_filters() -> None:
    error = _refused(completion(None, refusal="I cannot help with that."))
    assert isinstance(error, ContentFilterError)
    assert error.response is not None and error.response.text == "I cannot help with that."
    assert "help" not in error.message
    assert error.response is not None


ERRORS_WITHIN: list[tuple[Any, FailureType, int]] = [
    ({"code": 429, "message": "slow down"}, F.RATE_LIMIT, 429),
    ({"code": "503", "message": "busy"}, F.OVERLOADED, 503),
    ({"code": 502, "message": "bad gateway"}, F.PROVIDER_ERROR, 502),
    ({"code": 402, "message": "no credits"}, F.QUOTA, 402),
    ({"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"]}}, F.CONTENT_FILTER, 403),
    ({"code": "rate_limit_exceeded"}, F.RATE_LIMIT, 200),
    ({"type": "overloaded_error"}, F.OVERLOADED, 200),
    ({"type": "invalid_request_error", "code": "context_length_exceeded"}, F.CONTEXT_LENGTH, 200),
    ({"type": "invalid_request_error", "message": "no"}, F.INVALID_REQUEST, 200),
    ({"type": "server_error", "message": "oops"}, F.PROVIDER_ERROR, 200),
    ({"message": "This model's maximum context length is 10 tokens"}, F.CONTEXT_LENGTH, 200),
    ("model is loading", F.PROVIDER_ERROR, 200),
    (["odd"], F.PROVIDER_ERROR, 200),
    ({"odd": 1}, F.PROVIDER_ERROR, 200),
    ({"code": True}, F.PROVIDER_ERROR, 200),
    ({"code": 99999}, F.PROVIDER_ERROR, 200),
]


@pytest.mark.parametrize(("error", "expected", "status"), ERRORS_WITHIN)
@pytest.mark.parametrize("place", ["top", "choice"])
def test_an_error_inside_a_200_is_an_error(error: Any, expected: FailureType, status: int, place: str) -> None:
    """Some gateways answer 200 and put the error, with the status it stands for, into the body."""
    body = {"error": error} if place == "top" else _choice(error=error)
    found = _refused(body)
    assert (found.failure_type, found.status_code) == (expected, status)
    assert found.message


@pytest.mark.parametrize("nothing", [None, "", {}, False])
def test_an_empty_error_beside_an_answer_is_none(nothing: Any) -> None:
    assert _decoded(completion() | {"error": nothing}).text == "hello"
