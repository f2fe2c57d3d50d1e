"""The dialect of Anthropic's messages: how answers are read, whole and streamed. No network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.anthropic_answers import COUNTED, PHOTO, RECORDED, broken, chunks_of, decoded, read, refused
from helpers.anthropic_messages import (
    CALL,
    CITED,
    MODEL,
    TEXT,
    THOUGHT,
    USAGE,
    events_of,
    message,
    sse,
    streamed,
)
from helpers.drawn_examples import DRAWS_ALL
from lee_llm_router.errors import ContentFilterError
from lee_llm_router.response import ToolCall
from lee_llm_router.response.details import Citation

# Whole and streamed


@pytest.mark.feature("anthropic", "streaming")
@pytest.mark.parametrize("kind", RECORDED)
def test_every_split_of_a_stream_gives_the_unstreamed_answer(kind: str) -> None:
    whole, body = decoded(RECORDED[kind]), streamed(RECORDED[kind])
    step = (1 if len(body) < 3000 else 7) if DRAWS_ALL else 9
    first = list(RECORDED).index(kind) % step  # each stream is split elsewhere: their events are of the same kinds
    for split in (0, *range(1 + first, len(body), step)):
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
