"""What goes wrong on the wire: each fault ends in one typed error, in time, the same from sync and async."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic
from typing import Any

import pytest

from helpers.servers import (
    Conversation,
    Script,
    Server,
    answering,
    completion,
    eventually,
    gzipped,
    http,
    json_answer,
    once,
)
from helpers.transports import transport_to
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse

pytestmark = pytest.mark.usefixtures("each_transport")

Send = Callable[..., WireResponse]
LIMIT = 100_000
SOON = 0.25
HANG = 8.0
"""Seconds: far more than any call here may take, far less than for ever."""


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends one request to a URL over a transport of its own, closed afterwards."""

    def call(url: str, timeout: float = 5.0, body: bytes = b'{"a": 1}', **settings: Any) -> WireResponse:
        transport = transport_to(url, **{"max_response_bytes": LIMIT, **settings})
        wire = WireRequest(f"{url}/chat", [(b"Content-Type", b"application/json")], body)
        try:
            if request.param == "sync":
                return transport.send(wire, timeout)
            return asyncio.run(transport.send_async(wire, timeout))
        finally:
            transport.close()

    return call


def _failure(send: Send, url: str, **options: Any) -> LLMRouterError:
    started = monotonic()
    with pytest.raises(LLMRouterError) as caught:
        send(url, **options)
    assert monotonic() - started < HANG
    return caught.value


BODY = json.dumps(completion()).encode()
HALF = http(200, BODY)[:-20]


def _read_nothing(conversation: Conversation) -> None:
    conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    conversation.stall()


def _reset_soon(conversation: Conversation) -> None:
    conversation.sock.recv(1000)
    conversation.reset()


BROKEN: dict[str, tuple[Script, FailureType]] = {
    "closes at once": (lambda _: None, FailureType.PROVIDER_ERROR),
    "resets at once": (Conversation.reset, FailureType.PROVIDER_ERROR),
    "closes after the request": (once(), FailureType.PROVIDER_ERROR),
    "resets after the request": (once(Conversation.reset), FailureType.PROVIDER_ERROR),
    "resets while the request is written": (_reset_soon, FailureType.PROVIDER_ERROR),
    "closes inside the headers": (once(b"HTTP/1.1 200 OK\r\nContent-Le"), FailureType.PROVIDER_ERROR),
    "resets after the headers": (
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", Conversation.reset),
        FailureType.PROVIDER_ERROR,
    ),
    "closes inside the body": (once(HALF), FailureType.PROVIDER_ERROR),
    "resets inside the body": (once(HALF, Conversation.reset), FailureType.PROVIDER_ERROR),
    "length too long": (once(http(200, BODY[:-1], {"Content-Length": "999"})), FailureType.PROVIDER_ERROR),
    "chunks without an end": (
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        FailureType.PROVIDER_ERROR,
    ),
    "chunks of nonsense": (
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
        FailureType.PROVIDER_ERROR,
    ),
    "no HTTP": (once(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), FailureType.PROVIDER_ERROR),
    "binary noise": (once(bytes(range(256)) * 8), FailureType.PROVIDER_ERROR),
    "endless headers": (once(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 300_000), FailureType.PROVIDER_ERROR),
    "corrupt gzip": (
        once(http(200, b"\x1f\x8b\x08 not gzip at all", {"Content-Encoding": "gzip"})),
        FailureType.INVALID_RESPONSE,
    ),
    "gzip that ends early": (
        once(http(200, gzip.compress(BODY)[:-10], {"Content-Encoding": "gzip"})),
        FailureType.INVALID_RESPONSE,
    ),
    "one byte of gzip": (once(http(200, b"\x1f", {"Content-Encoding": "gzip"})), FailureType.INVALID_RESPONSE),
    "corrupt deflate": (
        once(http(200, b"\xff\xff\xff\xff", {"Content-Encoding": "deflate"})),
        FailureType.INVALID_RESPONSE,
    ),
    "a coding not asked for": (once(http(200, BODY, {"Content-Encoding": "br"})), FailureType.INVALID_RESPONSE),
    "codings on top of each other": (
        once(http(200, gzip.compress(gzip.compress(BODY)), {"Content-Encoding": "gzip, gzip"})),
        FailureType.INVALID_RESPONSE,
    ),
    "1 GB claimed": (once(http(200, BODY, {"Content-Length": str(10**9)})), FailureType.INVALID_RESPONSE),
    "too much": (once(http(200, b"x" * (LIMIT + 1))), FailureType.INVALID_RESPONSE),
    "too much in chunks": (
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"4000\r\n" + b"x" * 16384 + b"\r\n"] * 9),
        FailureType.INVALID_RESPONSE,
    ),
    "too much when unpacked": (once(lambda to: to.send(gzipped(b"0" * 50_000_000))), FailureType.INVALID_RESPONSE),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_answer_is_a_typed_error(send: Send, fault: str) -> None:
    """Whatever a server does, the error is this library's, of the right type, and says so in words."""
    script, expected = BROKEN[fault]
    with Server(script) as server:
        error = _failure(send, server.url, body=b" " * 20_000_000 if "is written" in fault else b"{}")
    assert error.failure_type is expected, repr(error)
    assert error.message
    assert "Errno" not in error.message
    assert not error.message.endswith(": ")


LATE: dict[str, Script] = {
    "never answers": once(Conversation.stall),
    "never takes the request": _read_nothing,
    "headers byte by byte": once(lambda c: c.trickle(http(200, BODY), 0.05)),
    "body byte by byte": once(http(200, BODY)[:90], lambda c: c.trickle(b"x" * 400, 0.05)),
    "endless interim answers": once(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 2000] * 50, Conversation.stall),
    "stops inside the body": once(HALF, Conversation.stall),
    "stops inside the body of an error": once(http(503, BODY)[:-5], Conversation.stall),
}


@pytest.mark.parametrize("fault", LATE)
def test_the_timeout_bounds_the_whole_attempt(send: Send, fault: str) -> None:
    """A server that is slow in any way holds the caller for `timeout` seconds of wall-clock time and no longer."""
    body = b" " * 20_000_000 if "takes" in fault else b"{}"
    with Server(LATE[fault]) as server:
        error = _failure(send, server.url, timeout=SOON, body=body)
    assert error.failure_type is FailureType.TIMEOUT, repr(error)
    assert error.sent
    assert f"{SOON:g} s" in error.message


def test_a_connection_that_is_not_accepted_is_bounded_too(send: Send) -> None:
    """A listener whose queue is full swallows connection attempts; nothing was sent then."""
    full = socket.socket()
    with full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        queue = [socket.socket() for _ in range(8)]
        for sock in queue:
            sock.setblocking(False)
            sock.connect_ex(address)
        try:
            error = _failure(send, f"http://127.0.0.1:{address[1]}", timeout=SOON)
        finally:
            for sock in queue:
                sock.close()
    assert error.failure_type is FailureType.TIMEOUT
    assert not error.sent


def test_a_look_up_that_hangs_is_left_behind(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server is asked in a thread that may be abandoned; `asyncio.run` does not wait for it either."""
    release = threading.Event()
    real = socket.getaddrinfo

    def hang(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "slow.test":
            return real(host, *args, **kwargs)
        if kwargs.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        release.wait(HANG * 2)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        error = _failure(send, "http://slow.test", timeout=SOON)
    finally:
        release.set()
    assert error.failure_type is FailureType.TIMEOUT
    assert not error.sent
    assert "looking up slow.test" in error.message


def test_an_unknown_host_is_a_provider_error(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = _failure(send, "http://nowhere.test")
    assert error.failure_type is FailureType.PROVIDER_ERROR
    assert not error.sent
    assert error.message == "cannot look up nowhere.test: name or service not known"


def test_a_host_no_name_server_can_be_asked_for_is_a_provider_error(send: Send) -> None:
    error = _failure(send, f"http://{'a' * 64}.test")
    assert error.failure_type is FailureType.PROVIDER_ERROR
    assert not error.sent
    assert "cannot look up aaa" in error.message


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ETIMEDOUT, FailureType.TIMEOUT, "timed out"),
        (errno.ENETUNREACH, FailureType.PROVIDER_ERROR, "network is unreachable"),
    ],
)
def test_a_network_without_a_way_there_says_so(
    send: Send, number: int, expected: FailureType, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", fail)
    error = _failure(send, "http://127.0.0.1:9")
    assert error.failure_type is expected
    assert not error.sent
    assert error.message == f"no connection to 127.0.0.1:9: {words}"


def test_a_refused_connection_says_who_refused(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = _failure(send, f"http://127.0.0.1:{port}")
    assert error.failure_type is FailureType.PROVIDER_ERROR
    assert not error.sent
    assert error.message == f"connection refused by 127.0.0.1:{port}"


def test_the_next_address_is_tried_when_one_refuses(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a dead address and a live one is reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()
    with Server(once(json_answer(completion()))) as server:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        real = socket.getaddrinfo

        def two(host: str, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("flags"):
                return real(host, *args, **kwargs)
            return [(*kind, dead), (*kind, ("127.0.0.1", server.port))]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert send(f"http://two.test:{server.port}").status == 200


CODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "Deflate": zlib.compress(BODY)[2:-4],
    "identity": BODY,
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("pause", [None, 0.0])
def test_compressed_answers_are_unpacked(send: Send, coding: str, pause: float | None) -> None:
    """gzip and both habits of deflate, in one piece and byte by byte."""
    answer = http(200, CODED[coding], {"Content-Encoding": coding})
    with Server(once(answer if pause is None else lambda c: c.trickle(answer, 0.0))) as server:
        response = send(server.url)
        assert "gzip" in server.requests[0].headers["accept-encoding"]
    assert response.body == BODY


def test_an_empty_answer_may_claim_to_be_compressed(send: Send) -> None:
    with Server(once(http(204, b"", {"Content-Encoding": "gzip"}))) as server:
        response = send(server.url)
    assert (response.status, response.body) == (204, b"")


def test_an_answer_without_a_length_ends_with_the_connection(send: Send) -> None:
    with Server(once(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY)) as server:
        assert send(server.url).body == BODY


SPOILT_ERRORS: dict[str, Script] = {
    "too long": once(http(429, b"x" * 1_000_000)),
    "cut": once(http(429, b"slow down", {"Content-Length": "99"})),
    "corrupt": once(http(429, b"slow down", {"Content-Encoding": "gzip"})),
    "strange coding": once(http(429, b"slow down", {"Content-Encoding": "br"})),
}


@pytest.mark.parametrize("fault", SPOILT_ERRORS)
def test_the_status_of_an_error_survives_its_body(send: Send, fault: str) -> None:
    """An error's status tells what is needed, whatever becomes of the text that goes with it."""
    with Server(SPOILT_ERRORS[fault]) as server:
        response = send(server.url)
    assert response.status == 429
    assert response.cut
    assert len(response.body) <= 65536


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(send: Send, status: int) -> None:
    """The answer is the redirect itself; the address in it is never asked."""
    with Server(once(json_answer(completion()))) as elsewhere:
        with Server(once(http(status, b"", {"Location": elsewhere.url}))) as server:
            assert send(server.url).status == status
        assert elsewhere.connections == 0


def test_an_early_answer_counts_though_the_request_was_not_read(send: Send) -> None:
    """A server that refuses a large request at once and hangs up is heard."""

    def refuse(conversation: Conversation) -> None:
        conversation.sock.recv(1000)
        conversation.send(json_answer({"error": {"message": "too large"}}, 413, {"Connection": "close"}))
        conversation.sock.shutdown(socket.SHUT_WR)
        while conversation.sock.recv(65536):
            pass

    with Server(refuse) as server:
        assert send(server.url, body=b" " * 3_000_000).status == 413


def test_calls_that_fail_or_are_cancelled_leave_no_timer() -> None:
    """Each would stay in the event loop until the call's time was up: minutes, for a model."""

    def timers() -> int:
        scheduled: Any = asyncio.get_running_loop()
        return sum(not timer.cancelled() for timer in scheduled._scheduled)

    faults = [once(b"garbage\r\n\r\n"), once(Conversation.reset), once(HALF), answering(http(200, BODY))]

    async def main() -> None:
        for fault in faults:
            with Server(fault) as server, closing(transport_to(server.url)) as transport:
                for _ in range(3):
                    with suppress(LLMRouterError):
                        await transport.send_async(WireRequest(server.url, (), b"{}"), 100)
                    with suppress(LLMRouterError):
                        stream = await transport.open_async(WireRequest(server.url, (), b"{}"), 100)
                        while await stream.read():
                            pass
        with Server(once(HALF, Conversation.stall)) as server, closing(transport_to(server.url)) as transport:
            task = asyncio.create_task(transport.send_async(WireRequest(server.url, (), b"{}"), 100))
            await asyncio.to_thread(eventually, lambda: len(server.requests) == 1)
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert timers() == 0

    asyncio.run(main())
