"""How an answer of Gemini ended: what its reason means, what is no whole answer, and who refused."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.gemini_wire import answer, events, failure, piece, read, text, thought, whole
from lee_llm_router import FailureType

F = FailureType


REASONS = {
    "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": F.CONTENT_FILTER, "RECITATION": F.CONTENT_FILTER,
    "LANGUAGE": F.CONTENT_FILTER, "OTHER": F.INVALID_RESPONSE, "BLOCKLIST": F.CONTENT_FILTER,
    "PROHIBITED_CONTENT": F.CONTENT_FILTER, "SPII": F.CONTENT_FILTER, "MALFORMED_FUNCTION_CALL": F.INVALID_RESPONSE,
    "IMAGE_SAFETY": F.CONTENT_FILTER, "IMAGE_PROHIBITED_CONTENT": F.CONTENT_FILTER, "IMAGE_OTHER": F.INVALID_RESPONSE,
    "NO_IMAGE": F.INVALID_RESPONSE, "IMAGE_RECITATION": F.CONTENT_FILTER, "UNEXPECTED_TOOL_CALL": F.INVALID_RESPONSE,
    "TOO_MANY_TOOL_CALLS": F.INVALID_RESPONSE, "MISSING_THOUGHT_SIGNATURE": F.INVALID_RESPONSE,
    "MALFORMED_RESPONSE": F.INVALID_RESPONSE, "ESCALATION": F.CONTENT_FILTER, "PUP_LIMITED_DISABLED": F.AUTH,
    "CONTINUATION": "pause", "MODEL_ARMOR": F.CONTENT_FILTER, "FINISH_REASON_UNSPECIFIED": F.INVALID_RESPONSE,
}  # fmt: skip
NEIGHBOURS = {
    "IMAGE_BLOCKLIST": F.CONTENT_FILTER, "AUDIO_SAFETY": F.CONTENT_FILTER, "MALFORMED_TOOL_CALL": F.INVALID_RESPONSE,
    "MISSING_SIGNATURE": F.INVALID_RESPONSE, "MAX_OUTPUT_TOKENS": "length", "stop": "stop", "max_tokens": "length",
    "INTERNAL_ERROR": F.PROVIDER_ERROR, "Safety": F.CONTENT_FILTER,
}  # fmt: skip


@pytest.mark.parametrize("reason", [*REASONS, *NEIGHBOURS])
def test_each_finish_reason_means_one_thing_whole_and_streamed(reason: str) -> None:
    meant = (REASONS | NEIGHBOURS)[reason]
    for stream in ([answer(text("Hel"), reason=reason)], [piece(text("Hel")), answer(reason=reason)]):
        if isinstance(meant, FailureType):
            error = failure(*stream)
            assert error.failure_type is meant
            assert error.response is not None
            assert error.response.text == "Hel"
            assert "Hel" not in str(error)
        else:
            got = read(events(*stream))
            assert (got.text, got.finish_reason, got.details.finish_reason) == ("Hel", meant, reason)


def test_an_unknown_finish_reason_is_an_answer_only_with_something_in_it() -> None:
    assert read(whole(answer(text("a"), reason="TIRED"))).details.finish_reason == "TIRED"
    assert failure(answer(text(""), reason="TIRED")).failure_type is F.INVALID_RESPONSE


def test_servers_that_say_stop_with_each_piece_are_understood_and_what_says_more_counts() -> None:
    assert read(events(*(answer(text(one)) for one in "abc"))).text == "abc"
    assert failure(answer(text("a"), reason="SAFETY"), answer(text("b"))).failure_type is F.CONTENT_FILTER


EMPTY: dict[str, tuple[Any, Any]] = {
    "no finish reason": (answer(text("a"), reason=None), F.INVALID_RESPONSE),
    "a null finish reason": (
        {"candidates": [{"content": {"parts": [text("a")]}, "finishReason": None}]},
        F.INVALID_RESPONSE,
    ),
    "no parts": (answer(), F.INVALID_RESPONSE),
    "no content": ({"candidates": [{"finishReason": "STOP", "index": 0}]}, F.INVALID_RESPONSE),
    "content without parts": (
        {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]},
        F.INVALID_RESPONSE,
    ),
    "thoughts alone": (answer(thought("Hm.")), F.INVALID_RESPONSE),
    "no candidates": ({"usageMetadata": {"promptTokenCount": 3}}, F.INVALID_RESPONSE),
    "an empty list of candidates": ({"candidates": []}, F.INVALID_RESPONSE),
    "nothing": ({}, F.INVALID_RESPONSE),
    "null candidates": ({"candidates": [None]}, F.INVALID_RESPONSE),
    "candidates that are none": ({"candidates": {"a": 1}}, F.INVALID_RESPONSE),
    "parts that are none": (
        {"candidates": [{"content": {"parts": ["a"]}, "finishReason": "STOP"}]},
        F.INVALID_RESPONSE,
    ),
    "a call without a name": (answer({"functionCall": {"args": {}}}), F.INVALID_RESPONSE),
    "arguments that are no object": (answer({"functionCall": {"name": "f", "args": "f(1)"}}), F.INVALID_RESPONSE),
    "a refused prompt": (
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}},
        F.CONTENT_FILTER,
    ),
    "an error": ({"error": {"code": 503, "status": "UNAVAILABLE", "message": "Try later."}}, F.OVERLOADED),
    "an error beside an answer": ({**answer(text("a")), "error": {"code": 500, "message": "x"}}, F.PROVIDER_ERROR),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_what_holds_no_whole_answer_is_none(kind: str) -> None:
    value, meant = EMPTY[kind]
    assert failure(value).failure_type is meant


def test_an_answer_may_be_empty_where_the_model_said_so_or_was_cut() -> None:
    assert read(whole(answer(text("")))).text == ""
    assert read(whole(answer(reason="MAX_TOKENS"))).finish_reason == "length"


def test_a_prompt_may_be_refused_while_the_answer_is_written() -> None:
    blocked = {"promptFeedback": {"blockReason": "OTHER"}}
    error = failure(piece(text("Hel")), blocked)
    assert error.failure_type is F.CONTENT_FILTER
    assert error.response is not None and error.response.text == "Hel"
    assert read(events(answer(text("Hel")), blocked)).text == "Hel"


def test_a_refused_prompt_says_why() -> None:
    error = failure({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "Too rude."}})
    assert "SAFETY: Too rude." in str(error)
