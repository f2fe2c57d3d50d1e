"""What a body holds decides how it is read: not its label, and not what was asked for. In every form of a call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from helpers.all_forms import EVENTS, JSON, answers, each_form, failures, json_of, stream_of
from helpers.servers import Conversation, Server, answering, completion, http, once
from helpers.stream_servers import DONE, HEAD, HEL, LAST, LO, ROLE, STOP, USAGE, delta, event, framed, streaming, usage
from helpers.stream_support import READERS, reader, router_to
from lee_llm_router import FailureType, LLMUsage

F = FailureType
STREAM = ROLE + HEL + LO + STOP + event(usage()) + DONE
WHOLE = json_of(completion("hello"))
PRETTY = json.dumps(completion("hello"), indent=2).encode()
BOM = b"\xef\xbb\xbf"

BODIES: dict[str, bytes] = {
    "a stream": STREAM,
    "a stream behind blank lines": b"\r\n\n" + STREAM,
    "a stream behind a byte order mark": BOM + STREAM,
    "a stream that begins with a comment": b": waiting\n\n" + STREAM,
    "a stream that begins with a name": b"event: message\n" + STREAM,
    "a stream without blanks behind the colons": STREAM.replace(b"data: ", b"data:"),
    "JSON": WHOLE,
    "JSON on many lines": PRETTY,
    "JSON behind blanks": b" \n\n\t" + WHOLE + b"\n",
    "JSON behind a byte order mark": BOM + WHOLE,
    "JSON and an end mark": WHOLE + b"\n\n" + DONE,
    "JSON on many lines and an end mark": PRETTY + b"\n" + DONE,
    "JSON as the only event": b"data:" + WHOLE + b"\n\n",
    "JSON as the only event, and an end mark": event(WHOLE) + DONE,
    "JSON as the only event, its empty line missing": b"data: " + WHOLE,
    "chunks as lines of JSON": b"\n".join(
        json_of(chunk) for chunk in (delta(content="hel"), delta(content="lo"), delta("stop"), usage())
    ) + b"\n" + DONE,
}  # fmt: skip
LABELS = [EVENTS, JSON, ""]
OTHER_LABELS = [
    "text/plain; charset=utf-8",
    "text/html",
    f"{JSON}, {EVENTS}",
    "application/x-ndjson",
    "TEXT/EVENT-STREAM",
]


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("label", LABELS)
def test_a_body_is_read_as_what_it_is_whatever_its_label(kind: str, label: str) -> None:
    response = answers(BODIES[kind], label)
    assert (response.text, response.finish_reason, response.model) == ("hello", "stop", "served-1")
    assert response.usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


@pytest.mark.parametrize("label", OTHER_LABELS)
def test_no_other_label_matters_either(label: str) -> None:
    assert answers(STREAM, label).text == answers(WHOLE, label).text == "hello"


def test_a_label_that_comes_twice_is_no_label() -> None:
    """Two lines of the header, in either order; the content decides."""
    for labels in ((JSON, EVENTS), (EVENTS, JSON)):
        lines = b"".join(b"Content-Type: %b\r\n" % label.encode() for label in labels)
        head = b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: %d\r\n\r\n"
        for body in (STREAM, WHOLE):
            assert answers(answering(head % len(body) + body)).text == "hello"


def test_whole_completions_that_lack_what_small_servers_leave_out_are_answers_in_an_event_too() -> None:
    """No finish reason, no end mark: JSON that parses is whole."""
    lone = {"object": "chat.completion", "choices": [{"message": {"content": "All there."}}]}
    for body in (json_of(lone), event(lone), event(lone) + DONE, json_of(lone) + b"\n\n" + DONE):
        for form, ended in each_form(body):
            assert ended.response is not None, f"{form}: {ended.error}"
            assert ended.response.text == "All there."


def test_messages_in_place_of_deltas_are_pieces_and_the_stream_has_to_end() -> None:
    pieces = [{"choices": [{"index": 0, "message": {"content": text}, "finish_reason": None}]} for text in ("a", "b")]
    end = {"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "stop"}]}
    assert answers(stream_of(*pieces, end)).text == "ab"
    assert {error.failure_type for error in failures(stream_of(*pieces))} == {F.INVALID_RESPONSE}


BROKEN: dict[str, bytes] = {
    "half a stream": ROLE + HEL,
    "a stream without its end mark": ROLE + HEL + STOP,
    "half of JSON": WHOLE[:-20],
    "JSON and something else": WHOLE + b"Traceback (most recent call last)",
    "two whole answers side by side, the second cut": WHOLE[:-9] + WHOLE,
    "text": b"upstream connect error or disconnect/reset before headers",
    "a web page": b"<!DOCTYPE html><html><head><title>502</title></head></html>",
    "a list of answers": b"[" + WHOLE + b"]",
    "nothing": b"",
    "blanks": b"\n\n  \n",
    "comments": b": ping\n\n: ping\n\n",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("label", [EVENTS, JSON, ""])
def test_what_is_not_whole_is_none_under_any_label(kind: str, label: str) -> None:
    assert {error.failure_type for error in failures(BROKEN[kind], label)} == {F.INVALID_RESPONSE}


def test_a_stream_that_came_unasked_is_handed_on_as_it_comes() -> None:
    """Labelled as JSON, it is a stream all the same: the first chunk is there before the last is sent."""

    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(HEAD.replace(b"text/event-stream", b"application/json") + framed(ROLE + HEL))
        conversation.stall()

    with Server(script) as server:
        router = router_to(server.url)
        with router.stream("r", "hi") as stream:
            assert next(stream).text == "hel"
        router.close()


# The end


UNFINISHED: dict[str, bytes] = {
    "a mark without its empty line": STREAM[:-1],
    "a mark without any line end": STREAM.rstrip(b"\n"),
    "a mark with CRLF": STREAM.rstrip(b"\n") + b"\r\n",
}


@pytest.mark.parametrize("kind", UNFINISHED)
def test_the_end_of_the_body_ends_the_last_event(kind: str) -> None:
    assert answers(UNFINISHED[kind]).text == "hello"


def test_the_end_of_the_body_ends_the_last_event_where_no_mark_comes() -> None:
    """With `stream_end: finish_reason` the reason, or the usage behind it, may be the last line."""
    for last in (json_of(delta("stop")), json_of(delta("stop", content="") | {"usage": USAGE})):
        response = answers(ROLE + HEL + LO + b"data: " + last + b"\n", stream_end="finish_reason")
        assert (response.text, response.finish_reason) == ("hello", "stop")
    response = answers(ROLE + HEL + LO + STOP + b"data: " + json_of(usage()), stream_end="finish_reason")
    assert response.usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


@pytest.mark.parametrize("cut", [b"data: [DON", b"data: ", b"data: " + json_of(delta(content="lo"))[:-5], b"da"])
def test_half_an_event_never_makes_an_answer_whole(cut: bytes) -> None:
    for form, ended in each_form(ROLE + HEL + STOP + cut):
        assert ended.error is not None and ended.error.failure_type is F.INVALID_RESPONSE, form
    for form, ended in each_form(ROLE + HEL + cut, stream_end="finish_reason"):
        assert ended.error is not None and ended.error.failure_type is F.INVALID_RESPONSE, form


NO_REASON: dict[str, bytes] = {
    "null": stream_of(*({"choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in ("a", "b"))),
    "empty": stream_of(*({"choices": [{"delta": {"content": text}, "finish_reason": ""}]} for text in ("a", "b"))),
    "missing": stream_of(*({"choices": [{"delta": {"content": text}}]} for text in ("a", "b"))),
    "whole, null": json_of({"choices": [{"message": {"content": "ab"}, "finish_reason": None}]}),
}


@pytest.mark.parametrize("kind", NO_REASON)
def test_an_end_mark_alone_is_an_end_by_setting(kind: str) -> None:
    """`stream_end: mark`, for servers that send no finish reason. Otherwise two proofs are asked for."""
    for form, ended in each_form(NO_REASON[kind], stream_end="mark"):
        assert ended.response is not None and ended.response.text == "ab", f"{form}: {ended.error}"
    assert {error.failure_type for error in failures(NO_REASON[kind])} == {F.INVALID_RESPONSE}


def test_with_a_mark_as_the_end_a_tool_call_ends_as_one_and_a_cut_stream_is_still_none() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert answers(stream_of(delta(tool_calls=[call])), stream_end="mark").finish_reason == "tool_calls"
    for body in (ROLE + HEL, ROLE + HEL + STOP, ROLE + DONE[:-4]):
        assert {e.failure_type for e in failures(body, stream_end="mark")} == {F.INVALID_RESPONSE}
    assert {e.failure_type for e in failures(HEL + b'error: {"code": 503}\n\n' + DONE, stream_end="mark")} == {
        F.OVERLOADED
    }


# What stands outside of events


OUTSIDE: dict[str, tuple[bytes, FailureType]] = {
    "a field": (
        b'error: {"code": 400, "message": "the request exceeds the available context size"}\n\n' + DONE,
        F.CONTEXT_LENGTH,
    ),
    "a field with a wrapper": (b'error: {"error": {"code": 503, "message": "no slot"}}\n\n' + DONE, F.OVERLOADED),
    "a field in words": (b"error: out of memory\n\n", F.PROVIDER_ERROR),
    "a field without data behind text": (HEL + b'error:{"code":429,"message":"slow down"}\n\n' + DONE, F.RATE_LIMIT),
    "JSON behind text": (HEL + b'{"error": {"message": "busy", "code": 503}}\n', F.OVERLOADED),
    "JSON on lines behind text": (HEL + b'{\n"error": {\n"message": "x",\n"code": 401}\n}\n', F.AUTH),
    "JSON behind comments": (b": hi\n\n" + b'{"error": {"message": "busy", "code": 429}}\n\n', F.RATE_LIMIT),
    "the whole body": (b'{"error": {"code": 400, "type": "exceed_context_size_error"}}', F.CONTEXT_LENGTH),
    "the last event without its empty line": (HEL + b'data: {"error": {"code": 502}}', F.PROVIDER_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("kind", OUTSIDE)
def test_an_error_outside_of_events_is_the_cause_of_a_broken_stream(kind: str) -> None:
    body, failure = OUTSIDE[kind]
    assert {error.failure_type for error in failures(body)} == {failure}


def test_lines_that_mean_nothing_do_no_harm() -> None:
    """What the standard ignores is ignored where the answer is whole."""
    body = ROLE + b"error: {}\n" + HEL + b'{"error": {"message": "debug"}}\nnoise\n' + LO + STOP + event(usage()) + DONE
    assert answers(body).text == "hello"


def test_events_with_one_line_end_between_them_are_read_one_by_one() -> None:
    chunks = (delta(content="hel"), delta(content="lo"), delta("stop"), usage())
    body = b"".join(b"data: " + json_of(chunk) + b"\n" for chunk in chunks) + b"data: [DONE]\n"
    assert answers(body).text == "hello"
    assert answers(body + b"\n").text == "hello"
    broken = body.replace(b'"lo"', b'"lo')
    assert {error.failure_type for error in failures(broken)} == {F.INVALID_RESPONSE}


# Work


def _tiny(count: int) -> bytes:
    return ROLE + b"data:{}\n\n" * count + HEL + LO + STOP + DONE


def test_many_tiny_events_leave_the_event_loop_its_turns() -> None:
    """All of it is there at once, and nothing has to be waited for: the loop runs in between all the same."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> str:
        counter = asyncio.create_task(count_turns())
        router = router_to(server.url, role={"timeout": 60, "deadline": 120})
        stream = router.stream_async("r", "hi")
        text = "".join([chunk.text async for chunk in stream])
        counter.cancel()
        await router.aclose()
        return text

    body = _tiny(20_000)
    with Server(once(http(200, body, {"Content-Type": EVENTS}))) as server:
        assert asyncio.run(main()) == "hello"
    assert turns >= len(body) // (16 * 1024) // 2


def test_blanks_before_an_answer_are_not_kept_for_long() -> None:
    """Some servers send them to keep a connection open."""

    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(HEAD.replace(b"text/event-stream", b"application/json"))
        for _ in range(50):
            conversation.send(framed(b" \n"))
        conversation.send(framed(WHOLE) + LAST)

    for name in READERS:
        with Server(script) as server:
            ended = reader(name)(router_to(server.url))
        assert ended.text == "hello", ended.error


def test_a_refusal_in_many_pieces_is_one() -> None:
    error = failures(stream_of(*[delta(refusal="no ")] * 2000, delta("stop")))[0]
    assert error.failure_type is F.CONTENT_FILTER
    assert error.response is not None and error.response.text == "no " * 2000


def test_an_event_that_is_never_whole_is_bounded() -> None:
    long: Any = streaming(ROLE, b"data: " + b"x" * 6000)
    assert {error.failure_type for error in failures(long, max_response_bytes=4096)} == {F.INVALID_RESPONSE}
