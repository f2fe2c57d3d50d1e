"""What only the transport over httpx has: httpx's own errors, `respx`, and the private names that it relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
import respx

from helpers.servers import Server, answering, completion, json_answer
from lee_llm_router.errors import (
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
)
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse
from lee_llm_router.providers.http.transport.httpx_transport import HTTPXTransport, http_connection_of

Send = Callable[[str], WireResponse]
OK = json_answer(completion())


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends one request."""

    def call(url: str) -> WireResponse:
        transport = HTTPXTransport(url, max_response_bytes=10_000)
        wire = WireRequest(f"{url}/chat", [(b"Authorization", b"Bearer k-secret")], b"{}")
        try:
            if request.param == "async":
                return asyncio.run(transport.send_async(wire, 5))
            return transport.send(wire, 5)
        finally:
            transport.close()

    return call


TRANSLATED: list[tuple[type[Exception], type[LLMRouterError], bool | None]] = [
    (httpx.ConnectTimeout, LLMTimeoutError, False),
    (httpx.PoolTimeout, LLMTimeoutError, False),
    (httpx.ReadTimeout, LLMTimeoutError, None),
    (httpx.WriteTimeout, LLMTimeoutError, None),
    (httpx.ConnectError, ProviderError, False),
    (httpx.ProxyError, ProviderError, False),
    (httpx.ReadError, ProviderError, None),
    (httpx.WriteError, ProviderError, None),
    (httpx.CloseError, ProviderError, None),
    (httpx.RemoteProtocolError, ProviderError, None),
    (httpx.DecodingError, InvalidResponseError, None),
    (httpx.LocalProtocolError, InvalidRequestError, None),
    (httpx.UnsupportedProtocol, InvalidRequestError, None),
    (ConnectionResetError, ProviderError, None),
]


@pytest.mark.parametrize(("raised", "expected", "sent"), TRANSLATED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_httpx_raises_never_leaks(
    send: Send, raised: type[Exception], expected: type[LLMRouterError], sent: bool | None
) -> None:
    """Also where connections are not ours: `respx` in the tests of an application stands in for the whole wire."""
    with respx.mock as mock:
        mock.post("http://model.test/chat").mock(side_effect=raised)
        with pytest.raises(LLMRouterError) as caught:
            send("http://model.test")
    error = caught.value
    assert type(error) is expected
    assert sent is None or error.sent is sent
    assert isinstance(error.__cause__, raised)


def test_respx_can_stand_in_for_the_server(send: Send) -> None:
    with respx.mock as mock:
        route = mock.post("http://model.test/chat").respond(json=completion())
        assert send("http://model.test").status == 200
        assert route.calls.last.request.content == b"{}"


def test_a_bug_in_the_library_below_is_not_taken_for_a_network_failure(send: Send) -> None:
    with respx.mock as mock, pytest.raises(ZeroDivisionError):
        mock.post("http://model.test/chat").mock(side_effect=ZeroDivisionError)
        send("http://model.test")


def test_the_private_attribute_that_is_replaced_exists() -> None:
    """The deadline holds because every kind of pool takes its connections from `_network_backend`."""
    pools: list[Any] = [
        httpcore.ConnectionPool(),
        httpcore.AsyncConnectionPool(),
        httpcore.HTTPProxy("http://proxy.test:3128"),
        httpcore.AsyncHTTPProxy("http://proxy.test:3128"),
    ]
    assert all(hasattr(pool, "_network_backend") for pool in pools)


def test_the_private_attributes_that_are_read_exist() -> None:
    """A body is read out of the HTTP parser of the connection, whatever proxies it goes through."""
    with Server(answering(OK)) as server:
        transport = HTTPXTransport(server.url, max_response_bytes=10_000)
        stream = transport.open(WireRequest(server.url, [], b"{}"), 5)
        connection = http_connection_of(stream._pooled)
        assert hasattr(connection, "_h11_state") and hasattr(connection, "_network_stream")
        assert stream.whole().status == 200
        transport.close()
