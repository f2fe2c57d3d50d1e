"""The dialect of Anthropic's messages: what is no whole answer. No network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.anthropic_answers import RECORDED, F, broken, refused
from helpers.anthropic_messages import (
    TEXT,
    error,
    events_of,
    message,
    sse,
    sse_event,
    streamed,
)
from lee_llm_router.errors import FailureType, InvalidResponseError

# What is no whole answer


@pytest.mark.parametrize("kind", RECORDED)
def test_a_stream_that_is_cut_after_any_event_is_no_answer(kind: str) -> None:
    events = events_of(RECORDED[kind])
    for end in range(len(events)):
        failed = broken(sse(*events[:end]))
        assert isinstance(failed, InvalidResponseError) and not failed.final, f"after {end} events"
        assert broken(sse(*events[:end]) + b"data: [DONE]\n\n").failure_type is F.INVALID_RESPONSE


@pytest.mark.parametrize("kind", ["a text", "a search of the vendor's"])
def test_an_error_in_place_of_any_event_is_that_error(kind: str) -> None:
    events = events_of(RECORDED[kind])
    for end in range(len(events)):
        failed = broken(sse(*events[:end], error("overloaded_error", "Overloaded")))
        assert failed.failure_type is F.OVERLOADED, f"after {end} events"


@pytest.mark.parametrize(("event", "kind"), [
    (error("rate_limit_error", "slow down"), F.RATE_LIMIT), (error("api_error", "oops"), F.PROVIDER_ERROR),
    (error("timeout_error", "late"), F.TIMEOUT), (error("billing_error", "pay"), F.QUOTA),
    (error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), F.CONTEXT_LENGTH),
    (b"event: error\ndata: overloaded\n\n", F.OVERLOADED), (b"event: error\ndata: \"x\"\n\n", F.PROVIDER_ERROR),
    (b'data: {"error": {"message": "Overloaded"}}\n\n', F.OVERLOADED),
])  # fmt: skip
def test_an_error_after_200_is_of_its_own_kind(event: Any, kind: FailureType) -> None:
    start = sse(*events_of(message(TEXT))[:4])
    assert broken(start + sse_event(event)).failure_type is kind
    assert broken(sse_event(event)).failure_type is kind


@pytest.mark.parametrize("event", [
    b"data: {\n\n", b"data: 7\n\n", b"data: hello\n\n",
    {"type": "message_start"}, {"type": "content_block_start", "index": 0},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {}}},
    {"type": "content_block_delta", "index": 0}, {"type": "message_delta"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": None}},
    {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": 7}},
])  # fmt: skip
def test_an_event_that_is_malformed_breaks_the_answer(event: Any) -> None:
    events = events_of(message(TEXT))
    assert broken(sse(*events[:3], event, *events[3:])).failure_type is F.INVALID_RESPONSE


def test_a_second_message_is_never_spliced_to_the_first() -> None:
    events = events_of(message(TEXT))
    assert broken(sse(*events[:5], *events)).failure_type is F.INVALID_RESPONSE


def test_a_message_that_stopped_for_a_call_without_one_is_no_answer() -> None:
    whole = message(TEXT, stop_reason="tool_use")
    assert refused(whole).failure_type is broken(streamed(whole)).failure_type is F.INVALID_RESPONSE


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b"null", b"<html><title>502 Bad Gateway</title></html>", b"upstream timed out",
    {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}, {"content": "hi"}, {"content": [7]},
    message(TEXT, stop_reason=None), {**message(TEXT), "content": None}, message({"type": "text", "text": 7}),
    message({"type": "tool_use", "input": {}}, stop_reason="tool_use"), message({"type": "thinking", "thinking": []}),
    b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n',
])  # fmt: skip
def test_what_is_no_message_is_no_answer(body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert refused(raw).failure_type is broken(raw).failure_type is F.INVALID_RESPONSE


def test_no_message_of_an_error_quotes_an_answer() -> None:
    secret = "The answer itself."
    for body in (json.dumps(message({"type": "text", "text": secret}, stop_reason=None)).encode(),
                 sse(*events_of(message({"type": "text", "text": secret}))[:-1])):  # fmt: skip
        assert secret not in refused(body).message
        assert secret not in broken(body).message


@pytest.mark.parametrize("body", [error("overloaded_error", "Overloaded"), {"error": {"type": "overloaded_error"}}])
def test_an_error_in_a_body_of_200_is_that_error(body: Any) -> None:
    assert refused(body).failure_type is broken(json.dumps(body).encode()).failure_type is F.OVERLOADED
