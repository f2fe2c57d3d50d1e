"""The Responses API, streamed: every split of a stream is one answer, and half a stream is none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from helpers.all_forms import JSON, answers, failures, json_of
from helpers.drawn_examples import DRAWS_ALL
from helpers.responses_support import (
    RESPONSES,
    USAGE,
    call,
    event,
    events_of,
    failed,
    message,
    part,
    response,
    stream_of,
    thought,
)
from helpers.servers import Server, answering, http
from helpers.stream_support import router_to
from lee_llm_router import FailureType, LLMResponse, LLMRouterError, StreamChunk
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai_responses.stream import ResponsesDecoder
from lee_llm_router.providers.http.dialects.openai_responses.whole_answer import whole_answer
from lee_llm_router.providers.streams import AnswerParts

F = FailureType
pytestmark = pytest.mark.feature("openai_responses", "streaming")

NOTE = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
RECORDED: dict[str, dict[str, Any]] = {
    "text": response(message("Hello, wörld 👋")),
    "phases": response(
        message("I look.", phase="commentary"), thought("a", "b"), message("Done.", id="msg_2", phase="final_answer")
    ),
    "calls": response(thought("Hm."), call(), call("g", '{"b": "é👋"}', "call_2")),
    "text and calls": response(thought(), message("I call."), call(arguments="")),
    "custom": response(
        {"id": "c", "type": "custom_tool_call", "call_id": "call_9", "name": "sql", "input": "select 1"}
    ),
    "open reasoning": response(
        thought(content=[{"type": "reasoning_text", "text": "So be it."}], encrypted_content=""), message("Yes")
    ),
    "citations": response(message("0123", part("4567", annotations=[NOTE]))),
    "picture": response(
        {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "aGk="}, message("There.")
    ),
    "cut": response(message("Half an"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    "unknown items": response({"type": "hologram_call", "id": "h_1"}, message("x")),
    "commentary alone": response(message("Only this.", phase="commentary")),
}


def _reply(body: bytes = b"") -> HTTPReply:
    return HTTPReply(200, body, request_bytes=7)


def _decoded(*parts: bytes) -> tuple[LLMResponse, list[StreamChunk]]:
    """The answer in a body that comes in `parts`."""
    decoder = ResponsesDecoder(_reply(), 1_000_000)
    found, chunks = AnswerParts(), []
    for data in (*parts, b""):
        if decoder.done:
            break
        decoder.feed(data)
        while (chunk := decoder.next()) is not None:
            found.add(chunk)
            chunks.append(chunk)
    assert decoder.done
    return found.response(decoder.whole_raw()), chunks


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("indexes", [True, False])
def test_every_split_of_a_stream_gives_the_unstreamed_answer(name: str, indexes: bool) -> None:
    """In two parts at bytes all over it, and byte by byte; with and without numbers of items."""
    whole = RECORDED[name]
    expected = whole_answer(_reply(json_of(whole)), whole)
    body = stream_of(whole, indexes=indexes)
    # A split takes a millisecond, so each stream is split elsewhere: their events are of the same kinds.
    step = 3 if DRAWS_ALL else 11
    first = 2 * list(RECORDED).index(name) + indexes
    splits = [(body[:place], body[place:]) for place in range(first % step, len(body), step)]
    for parts in (*splits, tuple(bytes([one]) for one in body)):
        found, _ = _decoded(*filter(None, parts))
        assert found == expected
        assert found.raw == expected.raw
        assert found.request_bytes == 7


@pytest.mark.parametrize("name", RECORDED)
def test_a_stream_that_is_cut_at_any_event_is_no_answer(name: str) -> None:
    """Whatever has come, and also within the last event; but its last empty line may be missing."""
    events = [event(one) for one in events_of(RECORDED[name])]
    for number in range(len(events)):
        _is_not_whole(b"".join(events[:number]))
    _is_not_whole(b"".join(events)[:-10])
    _is_not_whole(b"".join(events[:-1]) + b"data: [DONE]\n\n")
    assert _decoded(b"".join(events)[:-1])[0].raw == RECORDED[name]
    assert _decoded(b"".join(events)[:-2])[0].raw == RECORDED[name]


def _is_not_whole(body: bytes) -> None:
    decoder = ResponsesDecoder(_reply(), 1_000_000)
    with pytest.raises(LLMRouterError) as caught:
        for data in (body, b""):
            decoder.feed(data)
            while decoder.next() is not None:
                pass
    assert caught.value.failure_type is F.INVALID_RESPONSE
    assert not decoder.done


def test_a_stream_in_every_form_of_a_call() -> None:
    """Over HTTP, sync and async: cut, whole, and whole with what is no part of the API behind it."""
    whole = RECORDED["calls"]
    body = stream_of(whole)
    assert len(answers(body, **RESPONSES).tool_calls) == 2
    assert len(answers(body + b"data: [DONE]\n\n", **RESPONSES).tool_calls) == 2
    for error in failures(body[: len(body) // 2], **RESPONSES):
        assert error.failure_type is F.INVALID_RESPONSE


@pytest.mark.parametrize(
    "keep",
    [
        lambda one: not one["type"].endswith(".delta"),
        lambda one: one["type"] in ("response.output_item.done", "response.completed"),
        lambda one: one["type"] == "response.completed",
        lambda one: one["type"] != "response.output_item.added",
        lambda one: one["type"] not in ("response.output_item.added", "response.output_item.done"),
        lambda one: not one["type"].endswith(".done"),
    ],
)
@pytest.mark.parametrize("name", ["text", "calls", "phases", "open reasoning"])
def test_events_that_a_server_leaves_out_are_made_good_by_others(name: str, keep: Any) -> None:
    """The last event has the whole answer; what was not handed on by then is."""
    whole = RECORDED[name]
    body = b"".join(event(one) for one in events_of(whole) if keep(one))
    expected = whole_answer(_reply(), whole)
    found, chunks = _decoded(body)
    assert [(one.name, one.arguments) for one in found.tool_calls] == [
        (one.name, one.arguments) for one in expected.tool_calls
    ]
    if name != "phases" or keep({"type": "response.output_item.added"}):  # the phase comes with the item
        assert (found.text, found.reasoning) == (expected.text, expected.reasoning)
    assert chunks[-1].finish_reason == expected.finish_reason


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("left", [[], None])
def test_a_last_event_without_output_is_filled_from_those_before(name: str, left: Any) -> None:
    """Some gateways send none there."""
    whole = RECORDED[name]
    *events, last = events_of(whole)
    body = b"".join(map(event, [*events, {**last, "response": {**last["response"], "output": left}}]))
    assert _decoded(body)[0] == whole_answer(_reply(), whole)


def test_a_last_event_without_output_is_filled_from_pieces() -> None:
    """Where even the items never came whole."""
    for name in ("text", "calls", "open reasoning"):
        whole = RECORDED[name]
        *events, last = events_of(whole)
        kept = [one for one in events if one["type"] != "response.output_item.done"]
        found, _ = _decoded(b"".join(map(event, [*kept, {"type": last["type"]}])))
        expected = whole_answer(_reply(), whole)
        assert (found.text, found.reasoning) == (expected.text, expected.reasoning)
        assert found.tool_calls == expected.tool_calls
        assert found.model == "served-1", "as it was announced"


def test_encrypted_reasoning_is_taken_from_the_item_that_is_whole() -> None:
    whole = response(thought(encrypted_content="whole"), message("x"))
    cut = response(thought(encrypted_content="who"), message("x"))
    *events, last = events_of(whole)
    found, _ = _decoded(b"".join(map(event, [*events, {**last, "response": cut}])))
    assert found.details.native is not None
    assert found.details.native.content[0]["encrypted_content"] == "whole"


def test_pieces_are_of_the_item_that_they_name() -> None:
    """By id, else by number: a gateway may change ids from event to event; items may come at once."""
    whole = response(call("f", '{"a": 1}', "c1"), call("g", '{"b": 2}', "c2"))
    events = events_of(whole)
    added = [one for one in events if one["type"] == "response.output_item.added"]
    deltas = [one for one in events if one["type"].endswith(".delta")]
    mixed = [*added, *sorted(deltas, key=lambda one: one["sequence_number"] % 4), events[-1]]
    for ids in (True, False):
        sent = [one if ids else {**one, "item_id": f"x{number}"} for number, one in enumerate(mixed)]
        ended = _decoded(b"".join(map(event, sent)))[0]
        assert [one.id for one in ended.tool_calls] == ["c1", "c2"]


def test_unknown_events_pass() -> None:
    new = [
        {"type": "response.hologram.delta", "delta": "x"}, {"type": "response.steer.failed", "error": {"code": "x"}},
        {"type": "keepalive"}, {"type": "ping"}, {}, {"type": None}, {"type": "response.queued"}, {"note": "hi"},
    ]  # fmt: skip
    events = events_of(RECORDED["text"])
    body = b"".join(map(event, (one for known in events for one in (*new, known))))  # type: ignore[arg-type]
    assert answers(b": hello\n\n" + body, **RESPONSES).text == "Hello, wörld 👋"


@pytest.mark.parametrize(
    ("name", "delta"),
    [("reasoning", "Hm."), ("reasoning_summary", {"type": "summary_text", "text": "Hm."}), ("reasoning_text", "Hm.")],
)
def test_reasoning_by_older_names_is_read(name: str, delta: Any) -> None:
    """vLLM's, and those of the first versions of the API."""
    given = thought("Hm.") if "summary" in name else thought(content=[{"type": "reasoning_text", "text": "Hm."}])
    whole = response(given, message("x"))
    events = [one for one in events_of(whole) if not (one["type"].endswith(".delta") and "reasoning" in one["type"])]
    events.insert(3, {"type": f"response.{name}.delta", "item_id": "rs_1", "output_index": 0, "delta": delta})
    found, chunks = _decoded(b"".join(map(event, events)))
    assert found.reasoning == "Hm."
    assert [one.reasoning for one in chunks if one.reasoning] == ["Hm."]


def test_the_name_of_an_event_stands_for_its_type() -> None:
    events = events_of(RECORDED["calls"])
    body = b"".join(
        f"event: {one.pop('type')}\ndata: {json.dumps(one)}\n\n".encode() for one in events
    )  # fmt: skip
    assert len(_decoded(body)[0].tool_calls) == 2


def test_a_whole_response_in_place_of_a_stream_is_read() -> None:
    """JSON where a stream was asked for, whatever it is called; its last event alone; a stream where none was asked."""
    whole = RECORDED["phases"]
    for label in (JSON, "text/event-stream", "text/plain"):
        assert answers(json_of(whole), label, **RESPONSES).text == "Done."
        assert answers(json_of({"type": "response.completed", "response": whole}), label, **RESPONSES).text == "Done."
        assert answers(stream_of(whole), label, **RESPONSES).text == "Done."
    assert answers(b"\xef\xbb\xbf \r\n" + stream_of(whole), **RESPONSES).text == "Done."
    assert answers(event(whole | {"type": ""}), **RESPONSES).text == "Done."
    lines = b"\n".join(json_of(one) for one in events_of(RECORDED["text"]))
    assert answers(lines, "application/x-ndjson", **RESPONSES).text == "Hello, wörld 👋"


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Sorry</title></html>", b"not json", b"data: not json\n\n", b"data: 3\n\n", b"data: []\n\n",
        b"", b": nothing\n\n", b"data: [DONE]\n\n", b"\xff\xfe", b"{",
        b'data: {"type": "response.output_text.delta"}\n\n', b'data: {"type": "response.output_item.added"}\n\n',
        b'data: {"type": "response.function_call_arguments.delta"}\n\n',
        b'data: {"type": "response.completed"}\n\n', b'data: {"type": "response.completed", "response": 3}\n\n',
        b'data: {"type": "response.reasoning_text.delta", "delta": 3}\n\n',
    ],
)  # fmt: skip
def test_what_is_no_stream_is_no_answer(body: bytes) -> None:
    for label in ("text/event-stream", "text/html"):
        for error in failures(body, label, **RESPONSES):
            assert error.failure_type is F.INVALID_RESPONSE


def test_an_event_that_is_too_long_is_an_error() -> None:
    body = event({"type": "response.output_text.delta", "delta": "x" * 5000})
    for error in failures(body, **RESPONSES, max_response_bytes=2000):
        assert error.failure_type is F.INVALID_RESPONSE


def test_characters_that_were_cut_in_two_are_joined() -> None:
    """Half a surrogate pair in each piece of text, reasoning and arguments."""
    whole = response(thought("a👋"), message("b👋c"), call(arguments='{"a": "👋"}'))
    events = events_of(whole)
    cut: list[dict[str, Any]] = []
    for one in events:
        text = one.get("delta")
        if isinstance(text, str) and "👋" in text:
            before, after = text.split("👋")
            cut += [{**one, "delta": f"{before}\ud83d"}, {**one, "delta": f"\udc4b{after}"}]
        else:
            cut.append(one)
    assert len(cut) == len(events) + 3
    for options in ({}, {"stop": True}):
        body = b"".join(map(event, cut))
        found = answers(body, **RESPONSES) if options else _decoded(body)[0]
        assert (found.text, found.reasoning) == ("b👋c", "a👋")
        assert found.tool_calls[0].arguments == '{"a": "👋"}'


def test_a_half_character_that_stays_alone_is_replaced() -> None:
    whole = response(message("a\ud83d"))
    assert _decoded(stream_of(whole))[0].text == "a\ufffd"


def test_a_chunk_has_its_event_and_says_what_only_that_holds() -> None:
    _, chunks = _decoded(stream_of(RECORDED["picture"]))
    pictures = [one for one in chunks if one.output_in_raw]
    assert pictures[0].raw["type"] == "response.image_generation_call.partial_image"
    assert all(one.raw["type"].startswith("response.") for one in chunks)
    assert chunks[0].model == "served-1" and chunks[0].request_bytes == 7
    assert chunks[-1].usage is not None and chunks[-1].details is not None


def test_pieces_of_text_come_as_they_are_sent() -> None:
    texts = [one.text for one in _decoded(stream_of(RECORDED["text"]))[1] if one.text]
    assert texts == ["Hel", "lo,", " wö", "rld", " 👋"]


def test_a_failed_response_is_never_an_answer() -> None:
    """Not even where it looks whole: with all its text, an output, and a status that says so."""
    for status in ("failed", "completed", None):
        whole = response(message("All of it."), status=status, error={"code": "server_error", "message": "Sorry."})
        *events, _ = events_of(response(message("All of it.")))
        body = b"".join(map(event, [*events, {"type": "response.failed", "response": whole}]))
        for error in failures(body, **RESPONSES):
            assert error.failure_type is F.PROVIDER_ERROR
            assert "Sorry." in error.message
    whole = response(message("All of it."), status="failed")
    for body, label in ((json_of(whole), JSON), (stream_of(whole), "text/event-stream")):
        assert failures(body, label, **RESPONSES)[0].failure_type is F.PROVIDER_ERROR
    for state in ("cancelled", "failed"):
        end = {"type": f"response.{state}", "response": {**whole, "status": state}}
        assert failures(event(end), **RESPONSES)[0].failure_type is F.PROVIDER_ERROR


ERRORS: list[tuple[dict[str, Any], FailureType]] = [
    ({"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None}, F.RATE_LIMIT),
    ({"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Slow."}}, F.RATE_LIMIT),
    ({"error": {"message": "Overloaded", "type": "server_error", "code": 503}}, F.OVERLOADED),
    ({"type": "error", "code": "insufficient_quota", "message": "You exceeded your current quota"}, F.QUOTA),
    ({"type": "error", "code": "context_length_exceeded", "message": "Your input exceeds the context window"},
     F.CONTEXT_LENGTH),
    ({"type": "error", "message": "Something broke"}, F.PROVIDER_ERROR),
    ({"type": "response.failed", "response": failed("rate_limit_exceeded")}, F.RATE_LIMIT),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_an_error_after_200_is_an_error(error: dict[str, Any], kind: FailureType) -> None:
    """Before the first event, and after half the answer, whose text is kept."""
    events = [event(one) for one in events_of(RECORDED["text"])]
    for before in (0, len(events) // 2):
        for found in failures(b"".join(events[:before]) + event(error), **RESPONSES):
            assert found.failure_type is kind, repr(found)


def test_an_error_in_place_of_an_answer_is_an_error() -> None:
    """In JSON with 200, whatever was asked for."""
    for error, kind in ERRORS:
        assert failures(json_of(error), JSON, **RESPONSES)[0].failure_type is kind


def test_an_error_in_a_named_event_is_an_error() -> None:
    for data in ('{"message": "no"}', '"no"', "it went wrong"):
        body = f"event: error\ndata: {data}\n\n".encode()
        for found in failures(body, **RESPONSES):
            assert found.failure_type is F.PROVIDER_ERROR


def test_what_came_before_an_error_is_kept() -> None:
    events = [event(one) for one in events_of(RECORDED["text"])]
    body = b"".join(events[:8]) + event({"type": "error", "code": "server_error", "message": "x"})
    with Server(answering(http(200, body, {"Content-Type": "text/event-stream"}))) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **RESPONSES)
        with router, pytest.raises(LLMRouterError) as caught:
            list(router.stream("r", "hi"))
    assert caught.value.response is not None and caught.value.response.text.startswith("Hel")


def test_usage_of_a_stream_is_that_of_its_last_event() -> None:
    early = {"type": "response.in_progress", "response": response(usage={**USAGE, "input_tokens": 1})}
    body = event(early) + stream_of(RECORDED["text"])
    assert answers(body, **RESPONSES).usage.prompt_tokens == 11


def test_details_of_a_stream_are_those_of_the_whole_answer() -> None:
    found, _ = _decoded(stream_of(RECORDED["citations"]))
    assert found.details.citations[0].start == 4
    assert replace(found.details, parts=()).id == "resp_1"
