"""TLS and proxies: verified, bounded like everything else, and told apart in errors."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
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
    http,
    json_answer,
    make_certificate,
    once,
)
from helpers.transports import transport_to
from lee_llm_router.errors import (
    FailureType,
    InvalidRequestError,
    LLMRouterError,
    ProviderError,
)
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse

pytestmark = pytest.mark.usefixtures("each_transport")

Send = Callable[..., list[WireResponse]]
OK = json_answer(completion())
SOON = 0.3


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends the same request `times` times over one transport."""

    def call(
        url: str, times: int = 1, timeout: float = 5.0, body: bytes = b"{}", **settings: Any
    ) -> list[WireResponse]:
        transport = transport_to(url, **settings)
        wire = WireRequest(f"{url}/chat", [(b"Authorization", b"Bearer k-secret")], body)

        async def main() -> list[WireResponse]:
            return [await transport.send_async(wire, timeout) for _ in range(times)]

        try:
            if request.param == "async":
                return asyncio.run(main())
            return [transport.send(wire, timeout) for _ in range(times)]
        finally:
            transport.close()

    return call


def _failure(send: Send, url: str, **options: Any) -> LLMRouterError:
    started = monotonic()
    with pytest.raises(LLMRouterError) as caught:
        send(url, **options)
    assert monotonic() - started < 8
    return caught.value


def test_a_private_authority_is_trusted_when_named(send: Send, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """Calls over TLS share a connection too, and carry bodies larger than any buffer, both ways."""
    ca_file, tls = certificate
    large = http(200, b"y" * 3_000_000)
    with Server(answering(large), tls=tls) as server:
        answers = send(server.url, times=3, body=b" " * 3_000_000, ca_file=str(ca_file))
        assert [len(answer.body) for answer in answers] == [3_000_000] * 3
        assert [len(request.body) for request in server.requests] == [3_000_000] * 3
        assert server.connections == 1


def test_an_unknown_authority_is_refused_before_anything_is_sent(
    send: Send, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    with Server(answering(OK), tls=certificate[1]) as server:
        error = _failure(send, server.url)
        assert server.requests == []
        assert eventually(lambda: server.open == 0)
    assert error.failure_type is FailureType.PROVIDER_ERROR
    assert not error.sent
    assert "certificate refused: self" in error.message


TLS_FAULTS: dict[str, tuple[Script, FailureType, bool]] = {
    "closes inside the body": (once(OK[:-9]), FailureType.PROVIDER_ERROR, True),
    "closes after the request": (once(), FailureType.PROVIDER_ERROR, True),
    "resets after the request": (once(Conversation.reset), FailureType.PROVIDER_ERROR, True),
    "never answers": (once(Conversation.stall), FailureType.TIMEOUT, True),
    "byte by byte": (once(lambda c: c.trickle(OK, 0.05)), FailureType.TIMEOUT, True),
}


@pytest.mark.parametrize("fault", TLS_FAULTS)
def test_faults_are_the_same_under_tls(send: Send, fault: str, certificate: tuple[Path, ssl.SSLContext]) -> None:
    ca_file, tls = certificate
    script, expected, sent = TLS_FAULTS[fault]
    with Server(script, tls=tls) as server:
        timeout = SOON * 2 if expected is FailureType.TIMEOUT else 20  # a busy machine may take long to shake hands
        error = _failure(send, server.url, timeout=timeout, ca_file=str(ca_file))
    assert (error.failure_type, error.sent) == (expected, sent), repr(error)


HANDSHAKE_FAULTS: dict[str, tuple[Script, FailureType]] = {
    "says nothing": (Conversation.stall, FailureType.TIMEOUT),
    "byte by byte": (lambda c: c.trickle(b"\x16\x03\x03\x40\x00" + b"\x02" * 4000, 0.05), FailureType.TIMEOUT),
    "closes": (lambda _: None, FailureType.PROVIDER_ERROR),
    "speaks plain HTTP": (lambda c: c.send(OK), FailureType.PROVIDER_ERROR),
}


@pytest.mark.parametrize("fault", HANDSHAKE_FAULTS)
def test_a_handshake_that_fails_sends_nothing(send: Send, fault: str) -> None:
    script, expected = HANDSHAKE_FAULTS[fault]
    with Server(script) as server:
        timeout = SOON if expected is FailureType.TIMEOUT else 20
        error = _failure(send, server.url.replace("http:", "https:"), timeout=timeout)
    assert (error.failure_type, error.sent) == (expected, False), repr(error)
    assert server.address in error.message


def test_a_ca_file_that_cannot_be_used_is_a_final_error(tmp_path: Path) -> None:
    """Not there, or not a certificate: said when the transport is made, so that the next target is asked."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ProviderError, match="ca_file cannot be used") as caught:
            transport_to("https://model.test", ca_file=str(path), max_response_bytes=1000)
        assert caught.value.final
        assert not caught.value.sent


def test_a_proxy_from_the_environment_is_used(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http goes to the proxy whole, over one kept connection, with the proxy's own credentials."""
    with Server(answering(OK)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:word@{proxy.address}")
        send("http://model.test/v1", times=3)
        assert proxy.connections == 1
    request = proxy.requests[0]
    assert request.line == "POST http://model.test/v1/chat HTTP/1.1"
    assert request.headers["host"] == "model.test"
    assert request.headers["proxy-authorization"].startswith("Basic ")


@pytest.mark.parametrize("exception", ["model.test", ".test", "*"])
def test_no_proxy_is_obeyed(exception: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answering(OK)) as proxy:
        monkeypatch.setenv("all_proxy", proxy.address)
        monkeypatch.setenv("no_proxy", exception)
        transport = transport_to("http://model.test/v1", max_response_bytes=1000)
        with pytest.raises(LLMRouterError):
            transport.send(WireRequest("http://model.test/v1", [], b"{}"), SOON)
        transport.close()
        assert proxy.connections == 0


def test_this_machine_is_never_asked_through_a_proxy(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answering(OK)) as proxy, Server(answering(OK)) as server:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        send(server.url)
        assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_https_goes_through_a_tunnel(
    send: Send, proxy_tls: bool, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end TLS through a proxy, also one that is itself reached by TLS; the proxy never sees the key."""
    ca_file, tls = certificate
    with Server(answering(OK, OK + b"more"), tls=tls) as server:

        def connect(conversation: Conversation) -> None:
            conversation.receive()
            conversation.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            conversation.tunnel(server.port)

        with Server(connect, tls=tls if proxy_tls else None) as proxy:
            scheme = "https" if proxy_tls else "http"
            monkeypatch.setenv("https_proxy", f"{scheme}://{proxy.address}")
            answers = send("https://model.test/v1", times=3, ca_file=str(ca_file), body=b" " * 300_000)
            assert [answer.status for answer in answers] == [200] * 3
            assert proxy.connections == 2, "the second answer had bytes to spare, so its connection was not kept"
            assert proxy.requests[0].line == "CONNECT model.test:443 HTTP/1.1"
            assert "authorization" not in proxy.requests[0].headers
    assert server.requests[0].headers["authorization"] == "Bearer k-secret"


PROXY_FAULTS: dict[str, tuple[Script, FailureType, str]] = {
    "wants a password": (once(http(407)), FailureType.PROVIDER_ERROR, "the proxy refused: 407"),
    "never connects": (once(Conversation.stall), FailureType.TIMEOUT, "no answer within"),
    "closes": (once(), FailureType.PROVIDER_ERROR, ""),
    "speaks no HTTP": (once(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), FailureType.PROVIDER_ERROR, "broken HTTP"),
    "speaks too soon": (
        once(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        FailureType.PROVIDER_ERROR,
        "",
    ),
}


@pytest.mark.parametrize("fault", PROXY_FAULTS)
def test_a_proxy_that_fails_is_named_and_bounded(send: Send, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, expected, words = PROXY_FAULTS[fault]
    with Server(script) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        error = _failure(send, "https://model.test/v1", timeout=SOON)
    assert (error.failure_type, error.sent) == (expected, False), repr(error)
    assert words in error.message


@pytest.mark.parametrize(
    ("proxy", "words"), [("ftp://user:word@proxy.test", "not a URL"), ("socks5://proxy.test", "SOCKS")]
)
def test_a_proxy_that_cannot_be_used_is_a_final_error(proxy: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ProviderError, match=words) as caught:
        transport_to("https://model.test/v1", max_response_bytes=1000)
    assert caught.value.final
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("header", [(b"X-Key", b"a\r\nInjected: k-1"), (b"X Y", b"k-1"), (b"X", b"k-1\x00")])
def test_headers_http_cannot_carry_are_refused_without_repeating_them(send: Send, header: tuple[bytes, bytes]) -> None:
    with Server(answering(OK)) as server:
        transport = transport_to(server.url, max_response_bytes=1000)
        with pytest.raises(InvalidRequestError) as caught:
            transport.send(WireRequest(server.url, [header], b"{}"), 5)
        transport.close()
        assert server.requests == []
    assert not caught.value.sent
    assert "k-1" not in str(caught.value)
