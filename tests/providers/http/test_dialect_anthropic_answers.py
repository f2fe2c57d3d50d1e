"""The dialect of Anthropic's messages: how answers are read, whole and streamed. No network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.anthropic_messages import (
    CALL,
    CITED,
    FOUND,
    MODEL,
    REDACTED,
    SEARCH,
    TEXT,
    THOUGHT,
    USAGE,
    error,
    events_of,
    message,
    sse,
    sse_event,
    streamed,
)
from lee_llm_router.details import Citation
from lee_llm_router.errors import ContentFilterError, FailureType, InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, StreamChunk, ToolCall

F = FailureType
DIALECT = MessagesDialect()
SETTINGS = AnthropicConfig.model_validate({"type": "anthropic", "model": MODEL})
COUNTED = LLMUsage(prompt_tokens=13, completion_tokens=9, total_tokens=22, cached_tokens=4, cache_write_tokens=2)
PHOTO = {"type": "container_upload", "file_id": "file_1"}
RECORDED = {
    "a text": message(TEXT),
    "thinking, a text and two calls": message(THOUGHT, TEXT, CALL, {**CALL, "id": "toolu_02"}, stop_reason="tool_use"),
    "redacted thinking": message(REDACTED, THOUGHT, TEXT),
    "a call without arguments": message({**CALL, "input": {}}, stop_reason="tool_use"),
    "a search of the vendor's": message(
        THOUGHT, {**TEXT, "text": "I look."}, SEARCH, FOUND, THOUGHT, {**TEXT, "citations": [CITED]}, TEXT
    ),
    "a paused turn": message(TEXT, SEARCH, stop_reason="pause_turn"),
    "nothing": message(),
    "a cut text": message(TEXT, stop_reason="max_tokens"),
    "a file": message(TEXT, PHOTO),
    "every kind of character": message({"type": "text", "text": "Grüße 😀 \u2028 \u0000 \" \\"}),
}  # fmt: skip


def reply(body: bytes, status: int = 200) -> HTTPReply:
    return HTTPReply(
        status, body, secrets=("sk-ant-secret-0123456789",), settings=SETTINGS, request=LLMRequest(messages=())
    )


def decoded(whole: Any) -> LLMResponse:
    return DIALECT.decode(reply(whole if isinstance(whole, bytes) else json.dumps(whole).encode()))


def read(pieces: list[bytes]) -> LLMResponse:
    """The answer in a stream that comes in `pieces`, put together from its chunks."""
    decoder, parts = DIALECT.decoder(reply(b""), SETTINGS), AnswerParts()
    for piece in [*pieces, b""]:
        if not decoder.done:
            decoder.feed(piece)
        while (chunk := decoder.next()) is not None:
            parts.add(chunk)
    assert decoder.done
    return parts.response(decoder.whole_raw())


def chunks_of(body: bytes) -> Iterator[StreamChunk]:
    decoder = DIALECT.decoder(reply(b""), SETTINGS)
    for piece in (body, b""):
        if not decoder.done:
            decoder.feed(piece)
        while (chunk := decoder.next()) is not None:
            yield chunk


def refused(body: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        decoded(body)
    return caught.value


def broken(body: bytes) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        list(chunks_of(body))
    return caught.value


# Whole and streamed


@pytest.mark.feature("anthropic", "streaming")
@pytest.mark.parametrize("kind", RECORDED)
def test_every_split_of_a_stream_gives_the_unstreamed_answer(kind: str) -> None:
    whole, body = decoded(RECORDED[kind]), streamed(RECORDED[kind])
    for split in range(0, len(body), 1 if len(body) < 3000 else 7):
        found = read([body[:split], body[split:]] if split else [body])
        assert found == whole
        assert found.raw == whole.raw
    assert read([body[at : at + 1] for at in range(len(body))]) == whole
    assert decoded(body) == whole


@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
def test_lines_may_end_as_they_like(ends: bytes) -> None:
    whole = RECORDED["thinking, a text and two calls"]
    assert read([streamed(whole).replace(b"\n", ends)]) == decoded(whole)


@pytest.mark.feature("anthropic", "reasoning")
def test_an_answer_has_text_reasoning_and_calls() -> None:
    found = decoded(RECORDED["thinking, a text and two calls"])
    assert (found.text, found.reasoning, found.finish_reason) == ("Hello there.", THOUGHT["thinking"], "tool_calls")
    assert found.tool_calls[0] == ToolCall(id="toolu_01A", name="get_weather", arguments='{"city":"Köln","days":2}')
    assert [call.id for call in found.tool_calls] == ["toolu_01A", "toolu_02"]
    assert (found.model, found.details.id, found.details.finish_reason) == (MODEL, "msg_01", "tool_use")
    assert found.details.parts == ()


@pytest.mark.feature("anthropic", "usage")
@pytest.mark.feature("anthropic", "cached_usage")
def test_the_input_includes_what_the_cache_took_and_gave() -> None:
    assert decoded(RECORDED["a text"]).usage == COUNTED
    details = {"output_tokens_details": {"thinking_tokens": 5}, "service_tier": "priority"}
    found = decoded(message(TEXT, usage={**USAGE, **details}))
    assert (found.usage.reasoning_tokens, found.details.service_tier) == (5, "priority")


@pytest.mark.parametrize("usage", [None, {}, [], {"input_tokens": None}, {"input_tokens": -1, "output_tokens": "9"}])
def test_a_usage_that_is_none_counts_as_unreported(usage: Any) -> None:
    assert not decoded(message(TEXT, usage=usage)).usage


def test_the_counts_at_the_end_replace_those_at_the_start() -> None:
    """They are cumulative; what the end leaves out, or has as null, stays as it was."""
    start, *rest = events_of(message(TEXT))
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
           "usage": {"input_tokens": None, "output_tokens": 50, "cache_read_input_tokens": 1}}  # fmt: skip
    found = read([sse(start, *rest[:-2], {**end, "delta": {}}, end, rest[-1])])
    assert (found.usage.completion_tokens, found.usage.cached_tokens, found.usage.prompt_tokens) == (50, 1, 10)
    first = next(chunk for chunk in chunks_of(sse(start)[:] + sse(*rest)) if chunk.usage)
    assert first.usage is not None and first.usage.prompt_tokens == 13


def test_a_model_that_the_vendor_fell_back_to_is_the_one_that_served() -> None:
    iterations = [{"type": "message", "model": MODEL}, {"type": "fallback_message", "model": "claude-opus-5"}]
    whole = message(TEXT, usage={**USAGE, "iterations": iterations})
    assert decoded(whole).model == read([streamed(whole)]).model == "claude-opus-5"
    mark = {"type": "fallback", "from": {"model": MODEL}, "to": {"model": "claude-opus-5"}}
    assert decoded(message(THOUGHT, mark, TEXT)).details.native is None


@pytest.mark.parametrize(("reason", "word"), [
    ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("pause_turn", "pause"),
    ("model_context_window_exceeded", "length"), ("something_new", "something_new"), ("stop", "stop"),
])  # fmt: skip
def test_stop_reasons_have_one_vocabulary(reason: str, word: str) -> None:
    whole = message(TEXT, stop_reason=reason)
    assert decoded(whole).finish_reason == read([streamed(whole)]).finish_reason == word
    assert decoded(whole).details.finish_reason == reason


def test_calls_make_the_reason_tool_calls() -> None:
    assert decoded(message(CALL, stop_reason="end_turn")).finish_reason == "tool_calls"
    assert decoded(message(CALL, stop_reason="max_tokens")).finish_reason == "length"


@pytest.mark.parametrize("details", [{"type": "refusal", "category": "bio", "explanation": "No."}, None])
def test_a_refusal_is_no_answer_and_says_why(details: Any) -> None:
    whole = message(TEXT, stop_reason="refusal", stop_details=details)
    for failed in (refused(whole), broken(streamed(whole)), refused(streamed(whole))):
        assert isinstance(failed, ContentFilterError)
        assert ("bio" in failed.message and "No." in failed.message) == (details is not None)
    response = refused(whole).response
    assert response is not None and response.text == "Hello there."


@pytest.mark.feature("anthropic", "citations")
def test_citations_say_which_words_they_support() -> None:
    pages = {"type": "page_location", "document_title": "Doc", "cited_text": "p", "document_index": 0}
    sources = {"type": "search_result_location", "source": "https://s.test", "title": None, "cited_text": "q"}
    whole = message(
        TEXT, {"type": "text", "text": "It rains.", "citations": [CITED, pages]}, {**TEXT, "citations": [sources]}
    )
    cited = decoded(whole).details.citations
    assert cited == (
        Citation(url="https://rain.test", title="Rain", quote="It rains.", start=12, end=21),
        Citation(title="Doc", quote="p", start=12, end=21),
        Citation(url="https://s.test", quote="q", start=21, end=33),
    )
    assert read([streamed(whole)]).details.citations == cited


@pytest.mark.feature("anthropic", "pictures")
def test_what_is_no_text_is_a_part_in_its_place() -> None:
    found = decoded(message(TEXT, PHOTO, TEXT))
    assert found.text == "Hello there.Hello there."
    assert found.details.parts == (TEXT, PHOTO, TEXT)
    assert any(chunk.output_in_raw for chunk in chunks_of(streamed(message(TEXT, PHOTO))))


def test_thoughts_of_several_blocks_stand_apart() -> None:
    whole = message(
        THOUGHT, CALL, {**THOUGHT, "thinking": ""}, {**THOUGHT, "thinking": "More."}, stop_reason="tool_use"
    )
    assert decoded(whole).reasoning == "Let me see. It rains.\n\nMore."
    assert read([streamed(whole)]).reasoning == decoded(whole).reasoning


def test_thinking_that_is_not_shown_still_has_its_signature() -> None:
    hidden = {"type": "thinking", "thinking": "", "signature": "abc"}
    for found in (decoded(message(hidden, TEXT)), read([streamed(message(hidden, TEXT))])):
        assert found.reasoning is None
        assert found.details.native is not None and found.details.native.content == [hidden, TEXT]


def test_a_turn_of_text_and_calls_alone_needs_no_form_of_its_own() -> None:
    assert decoded(message(TEXT, CALL, stop_reason="tool_use")).details.native is None


@pytest.mark.parametrize("whole", [message(TEXT, THOUGHT), message(THOUGHT, stop_reason="max_tokens"),
                                   message(THOUGHT, {**CALL, "input": '{"ci'}, stop_reason="max_tokens")])  # fmt: skip
def test_a_turn_that_may_not_go_back_as_it_is_has_no_form_of_its_own(whole: Any) -> None:
    """The vendor refuses one that ends with thinking, or with a call that was cut."""
    assert decoded(whole).details.native is None


@pytest.mark.parametrize("ids", [[None, None], ["a", "a"], ["", "call_0"], ["a", None]])
def test_calls_have_ids_of_their_own(ids: list[Any]) -> None:
    calls = [{**CALL, "id": call_id} for call_id in ids]
    whole = message(THOUGHT, *calls, stop_reason="tool_use")
    for found in (decoded(whole), read([streamed(whole)])):
        own = [call.id for call in found.tool_calls]
        assert len(set(own)) == 2 and all(own)
        assert found.details.native is not None
        assert [block["id"] for block in found.details.native.content[1:]] == own
        assert [block["id"] for block in found.raw["content"][1:]] == ids


def test_arguments_may_come_whole_where_the_call_begins() -> None:
    """And a call without any fragment has none: an empty object."""
    start, _, *_ = events_of(message())
    begun = {"type": "content_block_start", "index": 0, "content_block": CALL}
    stop = {"type": "content_block_stop", "index": 0}
    end = events_of(message(stop_reason="tool_use"))[-2:]
    for body in (sse(start, begun, stop, *end), sse(start, begun, *end)):
        (call,) = read([body]).tool_calls
        assert json.loads(call.arguments) == CALL["input"]
    bare = {**begun, "content_block": {"type": "tool_use", "name": "f"}}
    blank = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}}
    assert read([sse(start, bare, blank, stop, *end)]).tool_calls[0].arguments == "{}"


# What is odd


def test_unknown_events_blocks_and_deltas_pass() -> None:
    events = events_of(message(TEXT))
    odd = [
        {"type": "something_new", "x": 1},
        {"type": "content_block_start", "index": 7, "content_block": {"type": "dream", "of": "sheep"}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "dream_delta", "of": "more"}},
        {"type": "content_block_stop", "index": 7},
    ]
    found = read([sse(*events[:4], *odd, *events[4:])])
    assert found.text == "Hello there."
    assert {"type": "dream", "of": "sheep"} in found.details.parts
    assert read([b": comment\n\n" + sse(events[0]) + b"data:\n\n" + sse(*events[1:])]).text == "Hello there."


def test_events_may_lack_what_says_the_same_twice() -> None:
    """A type only in the name of the event, no index, no message_start, no start of a block."""
    body = (
        b'event: content_block_delta\ndata: {"delta": {"type": "thinking_delta", "thinking": "hm"}}\n\n'
        b'event: content_block_delta\ndata: {"delta": {"type": "text_delta", "text": "hi"}}\n\n'
        b'event: message_delta\ndata: {"delta": {"stop_reason": "end_turn"}}\n\n'
        b"event: message_stop\ndata: {}\n\n"
    )
    found = read([body])
    assert (found.text, found.reasoning, found.finish_reason) == ("hi", "hm", "stop")


def test_content_may_come_with_the_start_of_the_message() -> None:
    start, *_, end, stop = events_of(message(TEXT))
    start["message"]["content"] = [THOUGHT, TEXT]
    found = read([sse(start, end, stop)])
    assert (found.text, found.reasoning) == ("Hello there.", THOUGHT["thinking"])


def test_the_last_event_may_lack_its_empty_line() -> None:
    body = streamed(message(TEXT))
    for cut in (1, 2):
        assert read([body[:-cut]]).text == "Hello there."


def test_events_may_stand_with_one_line_end_between_them() -> None:
    lines = b"\n".join(b"data: " + json.dumps(one).encode() for one in events_of(message(TEXT)))
    assert read([lines + b"\n\n"]).text == "Hello there."


def test_a_character_in_two_halves_is_put_together() -> None:
    def piece(text: str, name: str = "text") -> bytes:
        return b'data: {"type":"content_block_delta","index":0,"delta":{"type":"%s_delta","%s":"%s"}}\n\n' % (
            name.encode(), name.encode(), text.encode())  # fmt: skip

    start, *_, end, stop = events_of(message())
    begun = sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    found = read([sse(start), begun, piece("a\\ud83d"), piece("\\ude00b"), piece("\\ud83d"), sse(end, stop)])
    assert found.text == "a😀b\ufffd"
    assert found.raw["content"][0]["text"] == found.text


def test_no_half_character_is_left_anywhere() -> None:
    """They could be written neither to a trace nor into the next request."""
    cited = {**CITED, "url": "X", "title": "X", "cited_text": "X"}
    whole = message(
        {"type": "thinking", "thinking": "X", "signature": "X"}, {"type": "redacted_thinking", "data": "X"},
        {"type": "text", "text": "X", "citations": [cited]}, {"type": "later", "of": {"X": ["X"]}},
        {"type": "tool_use", "id": "X", "name": "X", "input": {"X": "X"}},
        stop_reason="tool_use", id="X", model="X", usage={**USAGE, "service_tier": "X"},
    )  # fmt: skip
    for body in (json.dumps(whole).encode(), streamed(whole), streamed(whole, size=1)):
        found = decoded(body.replace(b"X", b"\\ud83d"))
        shown = repr((found, found.details, found.details.native and found.details.native.content, found.message))
        assert "\\ud83d" not in shown and "\\ud83d" not in repr(found.raw)
        assert found.text == "\ufffd"
        for chunk in chunks_of(body.replace(b"X", b"\\ud83d")):
            assert "\\ud83d" not in repr((chunk, chunk.raw))


@pytest.mark.parametrize("odd", [{"type": ["text"]}, {"type": None, "text": "a"}, {"type": 7}])
def test_a_block_whose_type_is_none_is_an_unknown_one(odd: dict[str, Any]) -> None:
    found = decoded(message(odd, TEXT))
    assert (found.text, found.details.parts) == ("Hello there.", (odd, TEXT))
    assert read([streamed(message({"type": "later"}, TEXT)).replace(b'"later"', b"[]")]).text == "Hello there."


def test_a_number_that_cannot_be_sent_back_is_no_part_of_a_turn_that_goes_back() -> None:
    body = json.dumps(message(THOUGHT, {**CALL, "input": {"a": 1}}, stop_reason="tool_use"))
    found = decoded(body.replace('"a": 1', '"a": 1e999').encode())
    assert found.tool_calls and found.details.native is None


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
