"""Where an answer begins and ends: each transport takes the same bytes for it, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
from pathlib import Path
from time import sleep

import pytest

from helpers.servers import Conversation, Script, Server, answering, completion, json_answer, make_certificate, once
from helpers.transports import TRANSPORTS, Calls, async_calls, sync_calls, transport_to, under_test, wire_to
from lee_llm_router.errors import FailureType, InvalidRequestError, LLMRouterError
from lee_llm_router.providers.http.transport.address import address_of
from lee_llm_router.providers.http.transport.api import WireRequest
from lee_llm_router.providers.http.transport.head_cache import HeadCache

pytestmark = pytest.mark.usefixtures("each_transport")

OK = json_answer(completion())
CORK = getattr(socket, "TCP_CORK", getattr(socket, "TCP_NOPUSH", 4))
"""Linux's name and that of BSD."""


@pytest.fixture(params=[sync_calls, async_calls])
def calls(request: pytest.FixtureRequest) -> Calls:
    sender: Calls = request.param
    return sender


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
WHOLE: dict[str, tuple[bytes, bytes, bool]] = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "chunks": (CHUNKED + b"\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", True),
    "chunks with extensions and a trailer": (
        CHUNKED + b"\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"hello",
        True,
    ),
    "chunks and a length": (CHUNKED + b"Content-Length: 2\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", False),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "lines without CR": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello", True),
    "nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    "a space behind the coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked  \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    "sizes of chunks padded with spaces": (CHUNKED + b"\r\n5  \r\nhello\r\n0 \r\n\r\n", b"hello", True),
    "a space behind the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5 \r\n\r\nhello", b"hello", True),
}


@pytest.mark.parametrize("form", WHOLE)
def test_an_answer_in_any_form_is_read_and_its_connection_kept_where_that_is_safe(calls: Calls, form: str) -> None:
    answer, body, kept = WHOLE[form]
    with Server(answering(answer)) as server:
        transport = transport_to(server.url)
        answers = calls(transport, server.url, 3)
        assert [(one.status, one.body) for one in answers] == [(200, body)] * 3
        names = [name.lower() for name, _ in answers[0].raw_headers]
        assert b"link" not in names and b"x-sum" not in names
        assert server.connections == (1 if kept else 3)
        transport.close()


@pytest.mark.parametrize("form", WHOLE)
def test_the_same_holds_where_the_body_comes_after_the_headers(calls: Calls, form: str) -> None:
    answer, body, kept = WHOLE[form]
    end = max(answer.find(b"\r\n\r\n", answer.find(b" 200")) + 4, answer.find(b"\n\n") + 2)

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(answer[:end])
            sleep(0.02)
            conversation.send(answer[end:])

    with Server(script) as server:
        transport = transport_to(server.url)
        assert [one.body for one in calls(transport, server.url, 2)] == [body] * 2
        assert server.connections == (1 if kept else 2)
        transport.close()


@pytest.mark.parametrize("form", WHOLE)
def test_an_answer_in_any_form_may_come_byte_by_byte(calls: Calls, form: str) -> None:
    answer, body, _ = WHOLE[form]
    with Server(once(lambda c: c.trickle(answer, 0.0))) as server:
        transport = transport_to(server.url)
        assert calls(transport, server.url, 1)[0].body == body
        transport.close()


@pytest.mark.parametrize("form", ["a length", "chunks"])
def test_an_answer_may_be_streamed(form: str) -> None:
    answer, body, _ = WHOLE[form]
    with Server(answering(answer)) as server:
        transport = transport_to(server.url)
        for _ in range(2):
            stream = transport.open(wire_to(server.url), 5)
            assert b"".join(iter(stream.read, b"")) == body
            stream.finish()
        assert server.connections == 1
        transport.close()


BROKEN: dict[str, bytes] = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length below zero": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "no number for a length": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "a coding nobody asked for": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a space in a name": b"HTTP/1.1 200 OK\r\nContent Length: 5\r\n\r\nhello",
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\nhello\r\n0\r\n\r\n",
    "a length that is huge": b"HTTP/1.1 200 OK\r\nContent-Length: %b5\r\n\r\nhello" % (b"9" * 5000),
    "a length of thousands of digits": b"HTTP/1.1 200 OK\r\nContent-Length: %b5\r\n\r\nhello" % (b"0" * 5000),
    "a tab behind the coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t,\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "status 0": b"HTTP/1.1 000 X\r\nContent-Length: 3\r\n\r\nabc%b" % OK,
    "a status below 100": b"HTTP/1.1 099 X\r\nContent-Length: 3\r\n\r\nabc%b" % OK,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n\x00",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 40_000,
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_answer_whose_end_is_in_doubt_is_none(calls: Calls, fault: str) -> None:
    with Server(once(BROKEN[fault])) as server:
        transport = transport_to(server.url)
        with pytest.raises(LLMRouterError) as caught:
            calls(transport, server.url, 1)
        assert caught.value.failure_type is FailureType.PROVIDER_ERROR
        assert caught.value.sent
        transport.close()


def test_a_stream_of_headers_without_an_end_is_cut_off(calls: Calls) -> None:
    """Neither memory nor time is given to a server that never comes to the point, be it in headers or trailers."""

    def flood(beginning: bytes) -> Script:
        def script(conversation: Conversation) -> None:
            if conversation.receive():
                conversation.send(beginning)
                for _ in range(10_000):
                    conversation.send(b"X-A: " + b"b" * 4000 + b"\r\n")

        return script

    for beginning in (b"HTTP/1.1 200 OK\r\n", CHUNKED + b"\r\n5\r\nhello\r\n0\r\n"):
        with Server(flood(beginning)) as server:
            transport = transport_to(server.url)
            with pytest.raises(LLMRouterError) as caught:
                calls(transport, server.url, 1)
            assert caught.value.failure_type is FailureType.PROVIDER_ERROR
            transport.close()


def test_bytes_to_spare_under_tls_never_reach_the_next_call(calls: Calls, tmp_path: Path) -> None:
    """Also those that came with the answer, but in a record of their own, which nobody has decrypted."""
    ca_file, tls = make_certificate(tmp_path)
    fake = json_answer(completion("for somebody else"))

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(OK)
            conversation.send(fake)

    with Server(_corked(script), tls=tls) as server:
        transport = transport_to(server.url, ca_file=str(ca_file))
        for answer in calls(transport, server.url, 3):
            assert b"somebody" not in answer.body
            sleep(0.02)
        assert server.connections == 3
        transport.close()


def _corked(script: Script) -> Script:
    """What `script` sends goes out together at the next receive, as separate records of TLS."""

    class Corked(Conversation):
        def send(self, data: bytes) -> None:
            self.sock.setsockopt(socket.IPPROTO_TCP, CORK, 1)
            super().send(data)

        def _more(self) -> bool:
            self.sock.setsockopt(socket.IPPROTO_TCP, CORK, 0)
            return super()._more()

    return lambda conversation: script(Corked(conversation.server, conversation.sock))


def test_headers_given_again_go_out_again(calls: Calls) -> None:
    """What is put together once for headers that are a tuple is theirs alone."""
    with Server(answering(OK)) as server:
        transport = transport_to(server.url)
        calls(transport, server.url, 2)
        changing = [(b"X-A", b"one")]
        transport.send(WireRequest(f"{server.url}/other", changing, b"{}"), 5)
        changing[0] = (b"X-A", b"two")
        transport.send(WireRequest(f"{server.url}/other", changing, b"[1]"), 5)
        transport.close()
    assert [request.headers["x-a"] for request in server.requests] == ["b", "b", "one", "two"]
    assert [request.line for request in server.requests[1:3]] == ["POST /v1/chat HTTP/1.1", "POST /v1/other HTTP/1.1"]
    assert server.requests[3].body == b"[1]"


def test_more_headers_than_are_remembered_all_go_out() -> None:
    numbers = [number // 2 for number in range(100)]
    with Server(answering(OK)) as server:
        transport = transport_to(server.url)
        for number in numbers:
            transport.send(WireRequest(server.url, ((b"X-A", b"%d" % number),), b"{}"), 5)
        transport.close()
    assert [request.headers["x-a"] for request in server.requests] == [str(number) for number in numbers]


def test_headers_of_one_call_are_not_kept(calls: Calls) -> None:
    """They may hold a key that was meant for it."""
    with Server(answering(OK)) as server:
        transport = transport_to(server.url)
        key = b"k-%d" % server.port
        calls(transport, server.url, 3)
        before = sys.getrefcount(key)
        request = WireRequest(f"{server.url}/chat", ((b"X-A", b"b"), (b"X-Key", key)), b"{}")
        transport.send(request, 5)
        asyncio.run(transport.send_async(WireRequest(server.url, ((b"X-Other", key),), b"{}"), 5))
        del request
        gc.collect()
        assert sys.getrefcount(key) == before
        transport.close()


def test_headers_that_come_again_are_put_together_once() -> None:
    """Whatever headers other calls have between them."""
    made = []

    def make(request: WireRequest) -> bytes:
        made.append(request.headers)
        return request.headers[0][1]

    heads = HeadCache(address_of("http://model.test").origin, make)
    usual = ((b"X-A", b"usual"),)
    for number in range(100):
        own = ((b"X-A", b"%d" % number),)
        assert heads.get(WireRequest("http://model.test/v1", usual, b"")) == b"usual"
        assert heads.get(WireRequest("http://model.test/v1", own, b"")) == b"%d" % number
    assert made.count(usual) == 2
    assert heads.get(WireRequest("http://model.test/v1", usual, b"", "GET")) == b"usual"
    assert made.count(usual) == 3


@pytest.mark.parametrize(
    "url", ["http://[::1/v1", "http://127.0.0.1:99999/", "ftp://127.0.0.1/", "http://\udcff/", "http://☃.test/", "x"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    transport = transport_to("http://127.0.0.1:1/v1")
    with pytest.raises(InvalidRequestError) as caught:
        transport.send(WireRequest(url, (), b"{}"), 5)
    assert not caught.value.sent
    transport.close()


def test_each_transport_puts_the_same_on_the_wire() -> None:
    """Line, headers in their order, and body."""
    seen = []
    for name in TRANSPORTS:
        with under_test(name), Server(answering(OK)) as server:
            transport = transport_to(server.url)
            transport.send(WireRequest(f"{server.url}/a b/ü", ((b"X-Two", b"2"), (b"x-one", b"1")), b"{}"), 5)
            transport.close()
        request = server.requests[0]
        seen.append((request.line, [item for item in request.headers.items() if item[0] != "host"], request.body))
        assert request.headers["host"] == server.address
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("host", "asked"),
    [("faß.test", "xn--fa-hia.test"), ("BÜCHER.test", "xn--bcher-kva.test"), ("xn--fa-hia.test", "xn--fa-hia.test")],
)
def test_a_name_with_letters_of_its_own_is_the_same_for_each(
    calls: Calls, host: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules of 2008: by those of 2003 `faß` is `fass`, which another may own, who would get the key."""
    looked_up = []
    with Server(answering(OK)) as server:
        there = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

        def look_up(name: str, *_: object, flags: int = 0, **__: object) -> object:
            if flags:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            looked_up.append(name)
            return there

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        transport = transport_to(f"http://{host}")
        assert calls(transport, f"http://{host}", 1)[0].status == 200
        transport.close()
    assert looked_up == [asked]
    assert server.requests[0].headers["host"] == asked


def test_the_same_certificate_is_refused_by_each(calls: Calls, certificate_of_another_host: ssl.SSLContext) -> None:
    with Server(answering(OK), tls=certificate_of_another_host) as server:
        transport = transport_to(server.url)
        with pytest.raises(LLMRouterError, match="certificate refused"):
            calls(transport, server.url, 1)
        assert server.requests == []
        transport.close()


@pytest.fixture
def certificate_of_another_host(tmp_path: Path) -> ssl.SSLContext:
    return make_certificate(tmp_path)[1]
