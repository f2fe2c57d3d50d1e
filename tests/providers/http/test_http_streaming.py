"""Streams of the `http` provider, through the router, against servers on loopback that break on purpose."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import respx

from helpers.servers import Conversation, Script, Server, completion, eventually, http, json_answer, once
from helpers.stream_servers import (
    DONE,
    EVENTS,
    HEAD,
    HEL,
    LAST,
    LO,
    ROLE,
    STOP,
    delta,
    event,
    framed,
    in_turn,
    streaming,
    usage,
)
from helpers.stream_support import IDLE, PATIENT, Read, is_hello, router_to
from helpers.support import Memory

pytestmark = pytest.mark.usefixtures("no_leak")


# Faults, at every place of a stream


@dataclass(frozen=True)
class Fault:
    """One way to break a stream after any of its events: what the error is, and what to do in place of the rest."""

    failure: str
    does: Callable[[Conversation], None]


def _send(*parts: bytes) -> Callable[[Conversation], None]:
    return lambda conversation: conversation.send(b"".join(parts))


def _stall_after(data: bytes) -> Callable[[Conversation], None]:
    def does(conversation: Conversation) -> None:
        conversation.send(data)
        conversation.stall()

    return does


def _overloaded() -> bytes:
    return event({"error": {"message": "no room", "code": 503}})


FAULTS = {
    "the body ends": Fault("INVALID_RESPONSE", _send(LAST)),
    "the connection is closed": Fault("INVALID_RESPONSE", lambda _: None),
    "the connection is reset": Fault("PROVIDER_ERROR", Conversation.reset),
    "it stalls": Fault("TIMEOUT", Conversation.stall),
    "it stalls in the middle of an event": Fault("TIMEOUT", _stall_after(framed(HEL[:20]))),
    "only comments come": Fault("TIMEOUT", lambda c: c.trickle(framed(b": still here\n\n") * 99, 0.002)),
    "garbage for an event": Fault("INVALID_RESPONSE", _send(framed(event(b"{garbage")), LAST)),
    "garbage for a chunk": Fault("PROVIDER_ERROR", _send(b"zz\r\n")),
    "an event that is no object": Fault("INVALID_RESPONSE", _send(framed(event([1])), LAST)),
    "malformed choices": Fault("INVALID_RESPONSE", _send(framed(event({"choices": {}})), LAST)),
    "UTF-8 that is none": Fault(
        "INVALID_RESPONSE", _send(framed(event(b'{"choices": [{"delta": {"content": "\xff"}}]}')), LAST)
    ),
    "an error object": Fault("OVERLOADED", _send(framed(_overloaded()), LAST)),
    "an error event": Fault("PROVIDER_ERROR", _send(framed(b"event: error\n" + event({"message": "boom"})), LAST)),
    "an error event in words": Fault("PROVIDER_ERROR", _send(framed(b"event: error\n" + event(b"boom")), LAST)),
    "half an event, then the end": Fault("INVALID_RESPONSE", _send(framed(LO[:-1]), LAST)),
}  # fmt: skip
PLACES = range(len(EVENTS))
FAST = {"stream": {"idle_timeout": IDLE, "first_token_timeout": IDLE}}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_broken_stream_is_never_taken_for_whole(read: Read, fault: str, place: int) -> None:
    """Each fault after each event. Before the first output it is retried, unseen; after it, the error is raised with
    the text so far, and one record tells of it."""
    row = FAULTS[fault]
    memory = Memory()
    broken = streaming(*EVENTS[:place], then=row.does)
    with Server(in_turn(broken, streaming(*EVENTS))) as server:
        ended = read(router_to(server.url, memory=memory, role=FAST if row.failure == "TIMEOUT" else None))
        assert eventually(lambda: server.open == 0)
    text = ["", "", "hel", "hello", "hello", "hello"][place]
    first, *rest = memory.records
    assert first.stream and first.sent
    assert first.outcome == "error"
    assert first.failure_type == row.failure
    assert first.error
    if text:
        assert ended.ends == row.failure and ended.text == text
        assert ended.error is not None and ended.error.response is not None
        assert ended.error.response.text == text
        assert not rest and first.verdict == "raise"
        assert first.response_chars == len(text)
        assert first.first_token_ms is not None and first.elapsed_ms >= first.first_token_ms
        assert len(server.requests) == 1
    else:
        is_hello(ended)
        assert [(record.outcome, record.verdict) for record in memory.records] == [("error", "retry"), ("ok", "return")]
        assert first.first_token_ms is None and first.response_chars is None
        assert len(server.requests) == 2


@pytest.mark.parametrize("fault", ["the connection is reset", "it stalls"])
def test_with_restart_the_answer_starts_anew(read: Read, fault: str) -> None:
    memory = Memory()
    broken = streaming(ROLE, HEL, then=FAULTS[fault].does)
    with Server(broken) as primary, Server(streaming(*EVENTS)) as backup:
        idle = IDLE if fault == "it stalls" else PATIENT
        role = {"stream": {"on_break": "restart", "idle_timeout": idle}, "retry": {"attempts": 1}}
        ended = read(router_to(primary.url, backup.url, memory=memory, role=role))
    assert ended.text == "hel|hello" and ended.response is not None and ended.response.text == "hello"
    assert [(record.provider, record.outcome) for record in memory.records] == [("p0", "error"), ("p1", "ok")]


# Faults before the stream


def _status(status: int, headers: Mapping[str, str] | None = None) -> Script:
    return once(json_answer({"error": {"message": "because"}}, status, headers))


BEFORE: dict[str, tuple[Script, str, int | None]] = {
    "closed before headers": (once(), "PROVIDER_ERROR", None),
    "reset before headers": (once(Conversation.reset), "PROVIDER_ERROR", None),
    "stalls before headers": (once(Conversation.stall), "TIMEOUT", None),
    "slow headers": (once(lambda c: c.trickle(HEAD, 0.05)), "TIMEOUT", None),
    "stalls after headers": (once(HEAD, Conversation.stall), "TIMEOUT", None),
    "reset after headers": (once(HEAD, Conversation.reset), "PROVIDER_ERROR", None),
    **{
        f"status {status}": (_status(status), failure, status)
        for status, failure in {
            302: "INVALID_RESPONSE", 401: "AUTH", 402: "QUOTA", 404: "MODEL_NOT_FOUND", 408: "TIMEOUT",
            409: "PROVIDER_ERROR", 413: "CONTEXT_LENGTH", 429: "RATE_LIMIT", 500: "PROVIDER_ERROR", 503: "OVERLOADED",
            529: "OVERLOADED",
        }.items()
    },
    "status 204": (once(b"HTTP/1.1 204 No Content\r\n\r\n"), "INVALID_RESPONSE", 204),
    "an error that streams": (
        streaming(event({"error": {"message": "busy", "type": "rate_limit_error"}}), DONE), "RATE_LIMIT", 200,
    ),
    "a web page": (
        once(http(200, b"<html><title>Login</title></html>", {"Content-Type": "text/html"})), "INVALID_RESPONSE", 200,
    ),
    "a web page under a wrong name": (
        once(http(200, b"<html><title>Login</title></html>", {"Content-Type": "text/plain"})), "INVALID_RESPONSE", 200,
    ),
    "an empty stream": (streaming(), "INVALID_RESPONSE", 200),
    "only an end mark": (streaming(DONE), "INVALID_RESPONSE", 200),
    "a coding not asked for": (
        once(http(200, b"".join(EVENTS), {"Content-Type": "text/event-stream", "Content-Encoding": "br"})),
        "INVALID_RESPONSE", None,
    ),
    "corrupt gzip": (
        once(http(200, b"\x1f\x8b\x08 not gzip", {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})),
        "INVALID_RESPONSE", None,
    ),
    "filtered": (
        streaming(event(delta("content_filter"))), "CONTENT_FILTER", 200,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BEFORE)
def test_what_fails_before_the_first_output_falls_back_unseen(read: Read, fault: str) -> None:
    script, failure, status = BEFORE[fault]
    memory = Memory()
    role = {
        "timeout": 0.2 if failure == "TIMEOUT" and status is None else 5,
        "retry": {"attempts": 1}, "fallback_on": ["CONTENT_FILTER"],
    }  # fmt: skip
    with Server(script) as primary, Server(streaming(*EVENTS)) as backup:
        ended = read(router_to(primary.url, backup.url, memory=memory, role=role))
        assert eventually(lambda: primary.open == 0)
    is_hello(ended)
    assert len(ended.chunks) == 4
    first, second = memory.records
    assert (first.failure_type, first.status_code, first.verdict) == (failure, status, "next")
    assert first.error
    assert (second.provider, second.outcome) == ("p1", "ok")
    assert len(primary.requests) == len(backup.requests) == 1


def test_a_status_carries_what_the_server_says(read: Read) -> None:
    """The message and Retry-After, as in an unstreamed call."""
    with Server(_status(429, {"Retry-After": "30"})) as server:
        ended = read(router_to(server.url, role={"deadline": 10}))
    assert ended.error is not None
    assert (ended.error.status_code, ended.error.retry_after) == (429, 30.0)
    assert "because" in ended.error.message


def test_a_refused_connection_falls_back(read: Read) -> None:
    with Server(streaming(*EVENTS)) as backup:
        is_hello(read(router_to("http://127.0.0.1:1/v1", backup.url, role={"retry": {"attempts": 1}})))


# Whole answers, in every form


def _byte_by_byte(conversation: Conversation) -> None:
    if conversation.receive():
        conversation.trickle(HEAD + b"".join(map(framed, EVENTS)) + LAST, 0.0)


def _whole_body(body: bytes, **headers: str) -> Script:
    return once(http(200, body, {"Content-Type": "text/event-stream", **headers}))


def _flushed_gzip() -> bytes:
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) for data in EVENTS]
    return b"".join(map(framed, [*parts, packer.flush()]))


WHOLE: dict[str, Script] = {
    "each event in a chunk": streaming(*EVENTS),
    "all events in one chunk": streaming(b"".join(EVENTS)),
    "one byte at a time": _byte_by_byte,
    "each byte a chunk": streaming(*(bytes([byte]) for byte in b"".join(EVENTS))),
    "with a length": _whole_body(b"".join(EVENTS)),
    "until the connection closes": once(
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"".join(EVENTS)
    ),
    "gzip": _whole_body(gzip.compress(b"".join(EVENTS)), **{"Content-Encoding": "gzip"}),
    "deflate": _whole_body(zlib.compress(b"".join(EVENTS)), **{"Content-Encoding": "deflate"}),
    "gzip event by event": once(
        HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + _flushed_gzip() + LAST
    ),
    "CRLF and comments": streaming(b": ping\r\n\r\n", *(e.replace(b"\n", b"\r\n") for e in EVENTS)),
    "no content type": once(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(EVENTS)),
    "two ends": streaming(*EVENTS, DONE, DONE),
    "two finish reasons": streaming(ROLE, HEL, LO, STOP, STOP, event(usage()), DONE),
    "events after the end": streaming(*EVENTS, HEL, event(b"garbage")),
    "never ends after the end mark": streaming(*EVENTS, then=Conversation.stall),
    "breaks after the end mark": streaming(*EVENTS, then=Conversation.reset),
    "no space after the colon": streaming(*(e.replace(b"data: ", b"data:") for e in EVENTS)),
    "empty events": streaming(event(b""), ROLE, event(b" "), HEL, event({"type": "ping"}), LO, *EVENTS[3:]),
    "a filter's report first": streaming(event({"choices": [], "prompt_filter_results": []}), *EVENTS),
    "a whole JSON answer": once(json_answer(completion("hello"))),
}  # fmt: skip


@pytest.mark.parametrize("form", WHOLE)
def test_a_whole_answer_comes_out_whole_in_any_form(read: Read, form: str) -> None:
    """Equal to the unstreamed one but for the id and the size of what was asked."""
    with Server(WHOLE[form]) as server:
        ended = read(router_to(server.url, role={"stream": {"idle_timeout": 2}}))
    is_hello(ended)
    response = ended.response
    assert response is not None and response.usage is not None
    assert (response.finish_reason, response.model, response.usage.total_tokens) == ("stop", "served-1", 10)
    assert response.request_bytes == len(server.requests[0].body)
    assert all(chunk.raw for chunk in ended.chunks)


# Settings


def test_what_is_asked_for(read: Read) -> None:
    """`stream` and usage; a setting leaves the latter out; `extra_body` has the last word on how."""
    with Server(streaming(*EVENTS)) as server:
        read(router_to(server.url))
        read(router_to(server.url, stream_usage=False))
        read(router_to(server.url, extra_body={"stream_options": {"x": 1}}))
    bodies = [request.json for request in server.requests]
    assert [body["stream"] for body in bodies] == [True] * 3
    assert [body.get("stream_options") for body in bodies] == [{"include_usage": True}, None, {"x": 1}]
    assert server.requests[0].headers["accept"] == "text/event-stream, application/json"


@pytest.mark.parametrize(
    ("events", "ends"),
    [(EVENTS, "whole"), (EVENTS[:-1], "whole"), (EVENTS[:4], "whole"), (EVENTS[:3], "INVALID_RESPONSE")],
)
def test_a_server_without_an_end_mark_can_be_had_by_setting(read: Read, events: list[bytes], ends: str) -> None:
    """`stream_end: finish_reason`. A stream without the reason is still none."""
    with Server(streaming(*events)) as server:
        ended = read(router_to(server.url, stream_end="finish_reason"))
    assert (ended.ends, ended.text) == (ends, "hello")


def test_an_answer_longer_than_the_limit_is_none(read: Read) -> None:
    """Asking again would change nothing."""
    with Server(streaming(ROLE, *[HEL] * 100, *EVENTS)) as server:
        ended = read(router_to(server.url, max_response_bytes=5000))
    assert ended.ends == "INVALID_RESPONSE" and "5000 bytes" in str(ended.error)
    assert len(server.requests) == 1


def test_no_key_gets_out_by_an_error_inside_a_stream(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k-0123-secret-4567")
    said = event({"error": {"message": "bad key k-0123-secret-4567", "code": 401}})
    with Server(streaming(HEL, said)) as server:
        memory = Memory()
        ended = read(router_to(server.url, memory=memory, api_key_env="TEST_KEY"))
    assert ended.ends == "AUTH"
    assert "secret" not in str(ended.error) + json.dumps([record.error for record in memory.records])


def test_respx_can_stand_in_for_the_server(read: Read) -> None:
    with respx.mock as mock:
        mock.post("http://127.0.0.1:1/v1/chat/completions").respond(
            content=b"".join(EVENTS), headers={"Content-Type": "text/event-stream"}
        )
        is_hello(read(router_to("http://127.0.0.1:1/v1", transport="httpx")))
