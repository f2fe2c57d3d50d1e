"""What is taken although it breaks a rule, what is not although a parser lets it pass: the same by each transport."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from time import sleep
from typing import Any

import httpx
import pytest

from helpers.servers import Conversation, Server, answering, completion, http, json_answer, once
from helpers.transports import Calls, async_calls, sync_calls, transport_to, under_test, wire_to
from lee_llm_router.errors import FailureType, LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport.api import Transport, WireResponse

pytestmark = pytest.mark.usefixtures("each_transport")

OK = json_answer(completion())
BODY = json.dumps(completion()).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _opened(transport: Transport, url: str, times: int) -> list[WireResponse]:
    return [transport.open(wire_to(url), 5).whole() for _ in range(times)]


@pytest.fixture(params=[sync_calls, async_calls, _opened])
def calls(request: pytest.FixtureRequest) -> Calls:
    sender: Calls = request.param
    return sender


def _asked(calls: Calls, *answer: bytes | Callable[[Conversation], None]) -> WireResponse:
    with Server(once(*answer)) as server, closing(transport_to(server.url)) as transport:
        return calls(transport, server.url, 1)[0]


# One JSON object is whole


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE: dict[str, tuple[bytes, ...]] = {
    "one chunk and no end": (CHUNKED + _chunk(BODY),),
    "chunks and no end": (CHUNKED + _chunk(BODY[:30]), _chunk(BODY[30:])),
    "no end of the last chunk": (CHUNKED + _chunk(BODY)[:-2],),
    "half an end": (CHUNKED + _chunk(BODY) + b"0\r\n",),
    "a chunk that promises more": (CHUNKED + b"fff\r\n" + BODY,),
    "nonsense behind it": (CHUNKED + _chunk(BODY) + b"no chunk\r\n",),
    "a length too long": (http(200, BODY, {"Content-Length": str(len(BODY) + 9)}),),
    "white space around it": (CHUNKED + _chunk(b"\n " + BODY + b" \r\n"),),
    "compressed": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
        + _chunk(gzip.compress(BODY)),
    ),
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("end", ["closes", "resets"])
def test_a_json_object_is_whole_whatever_its_framing_says(calls: Calls, form: str, end: str) -> None:
    """To ask again would be to pay again."""
    pause: list[Any] = [] if end == "closes" else [lambda _: sleep(0.05), Conversation.reset]
    assert _asked(calls, *WHOLE[form], *pause).body.strip() == BODY


CUT = {
    "half an object": CHUNKED + _chunk(BODY[:-1]),
    "an inner object": CHUNKED + _chunk(b'{"a": {"b": 1}'),
    "nothing": CHUNKED,
    "a list": CHUNKED + _chunk(b"[1]"),
    "a number, which may go on": CHUNKED + _chunk(b"12"),
    "two objects": CHUNKED + _chunk(b"{}{}"),
    "events": CHUNKED + _chunk(b"data: {}\n\n"),
    "words in braces": CHUNKED + _chunk(b"{no json}"),
    "a length too long": http(200, BODY[:-3], {"Content-Length": "999"}),
}


@pytest.mark.parametrize("form", CUT)
def test_whatever_else_is_cut_is_none(calls: Calls, form: str) -> None:
    with pytest.raises(ProviderError):
        _asked(calls, CUT[form])


def test_the_connection_of_such_an_answer_is_not_used_again(calls: Calls) -> None:
    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(CHUNKED + _chunk(BODY) + b"no chunk\r\n")

    with Server(script) as server, closing(transport_to(server.url)) as transport:
        assert [answer.body for answer in calls(transport, server.url, 2)] == [BODY] * 2
        assert server.connections == 2


# What is not HTTP

NO_HTTP = {
    "RTSP": b"RTSP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "ICE": b"ICE/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "RTSP after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "ICE after two": b"HTTP/1.1 103 A\r\n\r\n" * 2 + b"ICE/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\n{}",
    "a vertical tab in the reason": b"HTTP/1.1 200 O\x0bK\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in the reason of an interim answer": b"HTTP/1.1 103 \x00\r\n\r\n" + OK,
    "an empty line first": b"\r\n" + OK,
    "empty lines first": b"\n\n\n" + OK,
    "a space first": b" " + OK,
    "another protocol": b"SIP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "only the body": b"{}",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunk(BODY)
    + b"0\r\n\r\n",
    "chunked, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n" + _chunk(BODY) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("form", NO_HTTP)
@pytest.mark.parametrize("piecewise", [False, True])
def test_what_is_not_http_is_no_answer(calls: Calls, form: str, piecewise: bool) -> None:
    answer = NO_HTTP[form]
    with pytest.raises(LLMRouterError) as caught:
        _asked(calls, *([lambda c: c.trickle(answer, 0.0)] if piecewise else [answer]))
    assert (caught.value.failure_type, caught.value.sent) == (FailureType.PROVIDER_ERROR, True)


# What is unusual, and yet in order

CONTINUED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
UNUSUAL = {
    "an interim answer of HTTP/1.0": b"HTTP/1.0 100 Continue\r\n\r\n" + CONTINUED,
    "an interim answer that closes": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + CONTINUED,
    "several": b"HTTP/1.0 103 Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 P\r\nConnection: close\r\n\r\n" + CONTINUED,
    "a space in an extension": CHUNKED + b"5; a=b\r\nhello\r\n0\r\n\r\n",
    "a space before an extension": CHUNKED + b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
    "spaces everywhere": CHUNKED + b"2 ; a = b ; c\r\nhe\r\n3\t;\td\r\nllo\r\n0 ; e\r\n\r\n",
    "a quoted extension": CHUNKED + b'5; a="b c"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n',
    "an extension without a name": CHUNKED + b"5;\r\nhello\r\n0\r\n\r\n",
    "an interim answer and an extension": b"HTTP/1.1 103 A\r\nLink: b\r\n\r\n"
    + CHUNKED
    + b"5; a\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("form", UNUSUAL)
@pytest.mark.parametrize("piecewise", [False, True])
def test_what_is_unusual_is_read(calls: Calls, form: str, piecewise: bool) -> None:
    answer = UNUSUAL[form]
    response = _asked(calls, *([lambda c: c.trickle(answer, 0.0)] if piecewise else [answer]))
    assert (response.status, response.body) == (200, b"hello")


@pytest.mark.parametrize(
    "chunks", [b"5; a=b\r\nhelloX\r\n0\r\n\r\n", b"5; a\x00\r\nhello\r\n0\r\n\r\n", b"5; a=b\r\nhello\r\n", b"g; a\r\n"]
)
def test_a_broken_chunk_beside_an_extension_is_none(calls: Calls, chunks: bytes) -> None:
    with pytest.raises(ProviderError):
        _asked(calls, CHUNKED + chunks)


# Bytes behind the end

LEFT_OVER = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\r\n", b" ", b"0\r\n\r\n", OK]
FORMS = {
    "a length": http(200, BODY),
    "a body that ends with a line": http(200, BODY + b"\r\n"),
    "a body of lines": http(200, b"a\n\n\n"),
    "chunks": CHUNKED + _chunk(BODY) + b"0\r\n\r\n",
    "a trailer": CHUNKED + _chunk(BODY) + b"0\r\nX-Sum: 1\r\n\r\n",
    "no body": http(200, b""),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rest", LEFT_OVER)
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_connection_with_bytes_to_spare_is_closed(form: str, rest: bytes, cut: int) -> None:
    """Also ends of lines, wherever the answer was cut in two on its way."""
    answer = FORMS[form] + rest

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            if cut:
                conversation.send(FORMS[form][:-cut])
                sleep(0.03)
                conversation.send(FORMS[form][-cut:] + rest)
            else:
                conversation.send(answer)

    with Server(script) as server, closing(transport_to(server.url)) as transport:
        answers = sync_calls(transport, server.url, 2)
        assert answers[0].body == answers[1].body
        assert server.connections == 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_one_without_is_kept(form: str, cut: int) -> None:
    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(FORMS[form][: len(FORMS[form]) - cut])
            if cut:
                sleep(0.03)
                conversation.send(FORMS[form][-cut:])

    with Server(script) as server, closing(transport_to(server.url)) as transport:
        sync_calls(transport, server.url, 3)
        assert server.connections == 1


# Somebody else has read the body


def _reads(response: httpx.Response) -> httpx.Response:
    response.read()
    return response


def _copies(response: httpx.Response) -> httpx.Response:
    headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
    return httpx.Response(response.status_code, headers=headers, content=response.read())


class _Tee(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[bytes]:
        yield from self.inner

    def close(self) -> None:
        self.inner.close()


def _tees(response: httpx.Response) -> httpx.Response:
    response.stream = _Tee(response.stream)
    return response


def _closes(response: httpx.Response) -> httpx.Response:
    response.close()
    return response


WRAPPERS = {"reads": _reads, "copies": _copies, "tees": _tees}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    "answer", [OK, http(200, gzip.compress(BODY), {"Content-Encoding": "gzip"}), CHUNKED + _chunk(BODY) + b"0\r\n\r\n"]
)
@pytest.mark.parametrize("call", [sync_calls, _opened])
def test_a_body_that_a_wrapper_of_httpx_has_read_is_taken_from_there(
    wrapper: str, answer: bytes, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorders, caches and logs of bodies do so. It is not waited for in vain."""
    real = httpx.HTTPTransport.handle_request
    monkeypatch.setattr(
        httpx.HTTPTransport, "handle_request", lambda self, request: WRAPPERS[wrapper](real(self, request))
    )
    with Server(answering(answer)) as server, closing(transport_to(server.url)) as transport:
        assert [one.body for one in call(transport, server.url, 2)] == [BODY] * 2


@pytest.mark.parametrize("copies", [False, True])
def test_so_is_one_that_was_read_under_asyncio(copies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpx.AsyncHTTPTransport.handle_async_request

    async def wrapped(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await real(self, request)
        content = await response.aread()
        return httpx.Response(200, content=content) if copies else response

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", wrapped)
    with Server(answering(OK)) as server, closing(transport_to(server.url)) as transport:
        assert [one.body for one in async_calls(transport, server.url, 2)] == [BODY] * 2


def test_one_that_was_thrown_away_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpx.HTTPTransport.handle_request
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: _closes(real(self, request)))
    with under_test("httpx"), pytest.raises(ProviderError, match="somebody else"):
        _asked(sync_calls, OK)
