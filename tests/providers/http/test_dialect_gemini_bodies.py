"""How Gemini's bodies are read: streams, one object, a list; cut, mixed and mislabelled. In every form of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.all_forms import EVENTS, JSON, answers, each_form, failures
from helpers.drawn_examples import DRAWS_ALL
from helpers.gemini_wire import (
    DIALECT,
    SETTINGS,
    USAGE,
    answer,
    array,
    call,
    config,
    events,
    piece,
    read,
    rpc_error,
    text,
    thought,
    whole,
)
from helpers.servers import Conversation, Server
from helpers.stream_servers import HEAD, framed
from helpers.stream_support import router_to
from lee_llm_router import FailureType, InvalidResponseError, LLMRequest, LLMResponse, LLMRouterError, LLMUsage
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.streams import AnswerParts

F = FailureType
HEL, LO = piece(text("hel")), answer(text("lo"))
STREAM = events(HEL, LO)
WHOLE = whole(answer(text("hello")))
BOM = b"\xef\xbb\xbf"
EVENT = b"data: " + whole(HEL) + b"\n"

BODIES: dict[str, bytes] = {
    "a stream": STREAM,
    "a stream with LF": STREAM.replace(b"\r", b""),
    "a stream behind a byte order mark": BOM + STREAM,
    "a stream behind blank lines": b"\r\n\n" + STREAM,
    "a stream that begins with a comment": b": waiting\n\n" + STREAM,
    "a stream with types of events": b"event: message\n" + STREAM,
    "a stream without blanks behind the colons": STREAM.replace(b"data: ", b"data:"),
    "a stream with an end mark": STREAM + b"data: [DONE]\n\n",
    "a stream on many lines": STREAM.replace(b'{"candidates"', b'{\ndata: "candidates"'),
    "a stream whose last event lacks its empty line": STREAM.rstrip(),
    "a stream with usage behind the reason": events(HEL, answer(text("lo"), usage=None), {"usageMetadata": USAGE}),
    "a stream with the reason alone": events(HEL, piece(text("lo")), answer()),
    "a stream with an empty text at the end": events(HEL, piece(text("lo")), answer(text(""))),
    "a stream with empty events": b"data:\n\n" + events(HEL, {}, LO),
    "a stream with one line end between the events": b"data: " + whole(HEL) + b"\ndata: " + whole(LO) + b"\n\n",
    "events of unknown types": events({"later": {"x": 1}}, HEL) + b"event: ping\ndata: {}\n\n" + events(LO),
    "each event in a list": b"data: " + whole([HEL]) + b"\n\ndata: " + whole([LO]) + b"\n\n",
    "JSON": WHOLE,
    "JSON on many lines": json.dumps(answer(text("hello")), indent=2).encode(),
    "JSON behind a byte order mark": BOM + WHOLE,
    "JSON behind blanks": b" \n\n\t" + WHOLE + b"\n",
    "JSON and an end mark": WHOLE + b"\n\ndata: [DONE]\n\n",
    "a list": array(HEL, LO),
    "a list on one line": whole([HEL, LO]),
    "a list of one": whole([answer(text("hello"))]),
    "a list that was not closed": array(HEL, LO).rstrip(b"]\n"),
    "lines of JSON": whole(HEL) + b"\n" + whole(LO) + b"\n",
}


@pytest.mark.feature("gemini", "streaming")
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("label", [EVENTS, JSON])
def test_a_body_is_read_as_what_it_is_whatever_its_label(kind: str, label: str) -> None:
    response = answers(BODIES[kind], label, **SETTINGS)
    assert (response.text, response.finish_reason, response.model) == ("hello", "stop", "served-1")
    assert response.usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10)
    assert response.raw["candidates"][0]["content"]["parts"][0]["text"] == "hello"


BROKEN: dict[str, bytes] = {
    "half a stream": events(HEL),
    "a stream cut in an event": STREAM[:-30],
    "a stream cut in its last line": STREAM.rstrip()[:-1],
    "a stream without a reason, with a mark": events(HEL) + b"data: [DONE]\n\n",
    "half of JSON": WHOLE[:-20],
    "JSON without its last bracket": WHOLE[:-1],
    "JSON and something else": WHOLE + b"Traceback (most recent call last)",
    "half a list": array(HEL, LO)[:-60],
    "a list of pieces": array(HEL, HEL),
    "a web page": b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>",
    "a web page behind blanks": b"\n\n  <html>\n",
    "text": b"upstream connect error or disconnect/reset before headers",
    "a number": b"42",
    "an empty list": b"[]",
    "a list of texts": b'["a", "b"]',
    "an event that is no JSON": events(HEL) + b"data: oops\n\n" + events(LO),
    "an event that is a number": events(HEL) + b"data: 42\n\n" + events(LO),
    "nothing": b"",
    "blanks": b"\n\n  \n",
    "comments": b": ping\n\n: ping\n\n",
    "empty events": b"data: {}\n\ndata: {}\n\n",
    "a null": b"null",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("label", [EVENTS, JSON])
def test_what_is_not_whole_is_none(kind: str, label: str) -> None:
    found = failures(BROKEN[kind], label, **SETTINGS)
    assert {error.failure_type for error in found} == {F.INVALID_RESPONSE}
    if "web page" in kind:
        assert all("a web page" in str(error) for error in found)


LATER = rpc_error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
ERRORS: dict[str, bytes] = {
    "at once": events(LATER),
    "behind text": events(HEL, LATER),
    "as an event of its type": events(HEL) + b"event: error\n" + events(LATER["error"]),
    "behind the end": events(HEL, LO, LATER),
    "as the whole body": whole(LATER),
    "as a list": whole([LATER]),
    "in a list, behind text": array(HEL, LATER),
    "as plain lines": events(HEL) + json.dumps(LATER, indent=2).encode() + b"\n",
    "without its empty line": events(HEL) + b"data: " + whole(LATER),
    "with its status in words only": events(HEL, {"error": {"status": "UNAVAILABLE"}}),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_after_200_is_that_error(kind: str) -> None:
    found = failures(ERRORS[kind], **SETTINGS)
    assert {error.failure_type for error in found} == {F.OVERLOADED}


def test_text_that_came_before_a_failure_is_kept() -> None:
    for form, ended in each_form(events(HEL, answer(reason="SAFETY")), **SETTINGS):
        assert ended.error is not None and ended.error.failure_type is F.CONTENT_FILTER, form
        assert ended.error.response is not None and ended.error.response.text == "hel", form


def test_lines_that_mean_nothing_do_no_harm() -> None:
    assert answers(events(HEL) + b'{"error": {"message": "debug"}}\nnoise\n' + events(LO), **SETTINGS).text == "hello"


def test_a_list_is_handed_on_as_it_comes() -> None:
    """The first piece is there before the last is sent, though nothing is an event."""

    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(HEAD.replace(b"text/event-stream", b"application/json") + framed(b"[" + whole(HEL)))
        conversation.stall()

    with Server(script) as server:
        router = router_to(server.url, **SETTINGS)
        with router.stream("r", "hi") as stream:
            assert next(stream).text == "hel"
        router.close()


# Every split

RECORDED: dict[str, bytes] = {
    "text": events(piece(text("Grüße, ")), piece(text("🙂 \\\"{}[]")), answer(text("!"))),
    "a list": array(piece(text("Grüße, \\")), piece(text('🙂 "{}[]')), answer(text("!"))),
    "a list on one line": whole([piece(text("ü\\")), answer(text('"'))]),
    "thoughts, a signature, calls": events(
        piece(thought("Hm.")), piece(text("a")), piece(text("b", thoughtSignature="QUI=")),
        piece(call("f", {"x": "é"}, thoughtSignature="Q0Q=")), answer(call("f", {})),
    ),
    "pictures and sources": events(
        piece(text("ä")), piece({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
        answer(text("b"), groundingMetadata={
            "groundingChunks": [{"web": {"uri": "https://a.test"}}],
            "groundingSupports": [{"segment": {"endIndex": 3, "text": "äb"}, "groundingChunkIndices": [0]}],
        }),
    ),
    "a mark at its end": events(HEL, answer(text("lo"), usage=None), {"usageMetadata": USAGE}) + b"data: [DONE]\n\n",
    "one object": json.dumps(answer(text("hello ü")), indent=1, ensure_ascii=False).encode(),
    "half surrogates": b'data: {"candidates":[{"content":{"parts":[{"text":"a\\ud83d"}]}}]}\n\n'
    b'data: {"candidates":[{"content":{"parts":[{"text":"\\ude42b"}]},"finishReason":"STOP"}]}\n\n',
}  # fmt: skip


def pulled(*pieces: bytes) -> LLMResponse:
    """The answer that the decoder makes of a body that comes in pieces."""
    settings = config()
    reply = HTTPReply(200, b"", settings=settings, request=LLMRequest(messages=()), asked={})
    decoder, parts = DIALECT.decoder(reply, settings), AnswerParts()
    for data in (*pieces, b""):
        if data or not decoder.done:
            decoder.feed(data)
        while (chunk := decoder.next()) is not None:
            parts.add(chunk)
    assert decoder.done
    return parts.response(decoder.whole_raw())


@pytest.mark.parametrize("kind", RECORDED)
def test_every_split_gives_the_unstreamed_answer(kind: str) -> None:
    data = RECORDED[kind]
    expected = read(data)
    step = 1 if DRAWS_ALL else 7
    first = list(RECORDED).index(kind) % step  # each stream is split elsewhere: their parts are of the same kinds
    for at in range(1 + first, len(data), step):
        found = pulled(data[:at], data[at:])
        assert found == expected
        assert found.raw == expected.raw
        assert found.details == expected.details
    assert pulled(*(data[at : at + 1] for at in range(len(data)))) == expected


@pytest.mark.parametrize("kind", RECORDED)
def test_no_beginning_of_a_stream_is_an_answer_before_its_reason_has_come(kind: str) -> None:
    data = RECORDED[kind]
    reason = data.index(b"finishReason")
    for at in range(1, reason):
        with pytest.raises(LLMRouterError):
            pulled(data[:at])


def test_half_characters_are_put_together() -> None:
    assert read(RECORDED["half surrogates"]).text == "a🙂b"
    lone = RECORDED["half surrogates"].replace(b"\\ude42", b"")
    assert read(lone).text == "a�b"
    at_end = b'data: {"candidates":[{"content":{"parts":[{"text":"a\\ud83d"}]},"finishReason":"STOP"}]}\n\n'
    assert read(at_end).text == "a�"


def test_no_half_character_is_left_anywhere() -> None:
    """They could be written neither to a trace nor into the next request."""
    source = {"web": {"uri": "X", "title": "X"}}
    support = {"segment": {"text": "X", "endIndex": 1}, "groundingChunkIndices": [0]}
    likely = {"token": "X", "logProbability": -1}
    value = answer(
        thought("X"),
        text("X", thoughtSignature="X"),
        call("X", {"X": ["X"]}, call_id="X"),
        {"later": {"X": "X"}},
        {"inlineData": {"mimeType": "image/X", "data": "X"}},
        {"executableCode": {"code": "X"}},
        groundingMetadata={"groundingChunks": [source], "groundingSupports": [support]},
        citationMetadata={"citations": [{"uri": "X"}]},
        logprobsResult={"chosenCandidates": [likely], "topCandidates": [{"candidates": [likely]}]},
    )
    value |= {"modelVersion": "X", "responseId": "X"}
    for data in (whole(value), events(value), array(value), events(value, {"usageMetadata": {"serviceTier": "X"}})):
        got = read(data.replace(b"X", b"\\ud83d"))
        shown = repr((got, got.details, got.details.native and got.details.native.content, got.raw, got.message))
        assert "\\ud83d" not in shown
        assert "�" in got.text


def test_a_whole_answer_and_its_stream_are_one() -> None:
    parts: list[Any] = [thought("Hm."), text("a"), call("f", {"x": 1}, thoughtSignature="QUI="), text("c")]
    streamed = read(events(*(piece(part) for part in parts), answer()))
    assert streamed == read(whole(answer(*parts)))
    assert streamed.details == read(whole(answer(*parts))).details


LONG = {
    "an event": events(piece(text("x" * 5000))),
    "a line": b"data: " + b"x" * 5000,
    "an object of a list": b"[" + whole(piece(text("x" * 5000))),
    "an object that does not end": b'{"a": "' + b"x" * 5000,
}


@pytest.mark.parametrize("kind", LONG)
def test_an_event_is_bounded(kind: str) -> None:
    settings = config(max_response_bytes=1024)
    reply = HTTPReply(200, b"", settings=settings, request=LLMRequest(messages=()), asked={})
    decoder = DIALECT.decoder(reply, settings)
    with pytest.raises(InvalidResponseError, match="longer than 1024 bytes"):
        for at in range(0, len(LONG[kind]), 100):
            decoder.feed(LONG[kind][at : at + 100])


def test_a_stream_of_small_events_may_be_longer() -> None:
    for data in (events(*[HEL] * 300, LO), array(*[HEL] * 300, LO)):
        settings = config(max_response_bytes=1024)
        reply = HTTPReply(200, b"", settings=settings, request=LLMRequest(messages=()), asked={})
        decoder, said = DIALECT.decoder(reply, settings), []
        for at in range(0, len(data), 100):
            decoder.feed(data[at : at + 100])
            while (chunk := decoder.next()) is not None:
                said.append(chunk.text)
        assert "".join(said) == "hel" * 300 + "lo"
