"""Carries HTTP requests with httpx: the only file that knows an HTTP library.

What httpx does here is HTTP/1.1 itself and proxies. Its client (cookies, redirects, authentication, a pool that slows
down with its size) is left out: each slot holds one bare `HTTPTransport` with one connection. The connections are ours
(`_streams`), put in the place of the pool's private `_network_backend`, so that the deadline holds at each system call.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from lee_llm_router.errors import (
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
)
from lee_llm_router.providers._slots import KEEP_ALIVE, LoopStacks, Slot, SlotStack
from lee_llm_router.providers._sockets import Line
from lee_llm_router.providers._streams import AsyncBackend, SyncBackend
from lee_llm_router.providers._wire import ACCEPT_ENCODING, Body, WireRequest, WireResponse, is_loopback

SyncSlot: TypeAlias = Slot[httpx.HTTPTransport]
AsyncSlot: TypeAlias = Slot[httpx.AsyncHTTPTransport]

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError, ProviderError)
_url = lru_cache(maxsize=64)(httpx.URL)


class HTTPXTransport:
    """The `Transport` of one provider.

    Args:
        url: Where requests will go; chooses the proxy, from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
        ca_file: PEM file with further authorities to trust, besides the usual ones.
        max_response_bytes: Bound on the decoded body of an answer, in bytes.

    Raises:
        ProviderError: `ca_file` cannot be used.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, max_response_bytes: int) -> None:
        self._limit = max_response_bytes
        self._ssl_context = _context_for(url, ca_file)
        self._proxy = _proxy_for(url, ca_file)
        self._stack: SlotStack[httpx.HTTPTransport] = SlotStack()
        self._stacks: LoopStacks[httpx.AsyncHTTPTransport] = LoopStacks()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        slot = self._stack.take() or self._open()
        try:
            slot.line.start(timeout)
            response = slot.client.handle_request(_prepared(request, slot.line))
            body = self._body(response)
            stream = cast(httpx.SyncByteStream, response.stream)
            try:
                for data in stream:
                    if not body.feed(data):
                        break
                stream.close()
            except _LOST as error:
                body.broke(error)
            return _settled(slot, self._stack, response, body)
        except BaseException as error:
            slot.close()
            translated = _translated(error, slot.line)
            if translated is None:
                raise
            raise translated from error

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        stack = self._stacks.current()
        slot = stack.take() or self._open_async()
        bound = asyncio.timeout(timeout)
        try:
            slot.line.start(timeout)
            async with bound:
                response = await slot.client.handle_async_request(_prepared(request, slot.line))
                body = self._body(response)
                stream = cast(httpx.AsyncByteStream, response.stream)
                try:
                    async with aclosing(cast(Any, aiter(stream))) as parts:
                        async for data in parts:
                            if not body.feed(data):
                                break
                    await stream.aclose()
                except _LOST as error:
                    body.broke(error)
            return _settled(slot, stack, response, body)
        except BaseException as error:
            slot.close()
            if isinstance(error, TimeoutError) and bound.expired():
                raise slot.line.timed_out() from error
            translated = _translated(error, slot.line)
            if translated is None:
                raise
            raise translated from error

    def close(self) -> None:
        """As `Transport.close`. No event loop is needed, and any may be running."""
        self._stack.close()
        self._stacks.close()

    def _open(self) -> SyncSlot:
        line = Line()
        client = httpx.HTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = SyncBackend(line)
        return Slot(client, line)

    def _open_async(self) -> AsyncSlot:
        line = Line()
        client = httpx.AsyncHTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = AsyncBackend(line)
        return Slot(client, line)

    def _body(self, response: httpx.Response) -> Body:
        get = response.headers.get
        return Body(response.status_code, get("content-encoding"), get("content-length"), self._limit)


class _Content(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request's body. Asked for when the connection stands and the headers are written: from then on, it is sent."""

    def __init__(self, data: bytes, line: Line) -> None:
        self._data = data
        self._line = line

    def __iter__(self) -> Iterator[bytes]:
        self._line.sent = True
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._line.sent = True
        yield self._data


def _prepared(request: WireRequest, line: Line) -> httpx.Request:
    url = _url(request.url)
    headers = [
        (b"Host", url.netloc),
        *request.headers,
        (b"Accept-Encoding", ACCEPT_ENCODING),
        (b"Content-Length", b"%d" % len(request.body)),
    ]
    return httpx.Request(request.method, url, headers=headers, stream=_Content(request.body, line))


def _settled(slot: Slot[Any], stack: SlotStack[Any], response: httpx.Response, body: Body) -> WireResponse:
    """The answer; and the slot given back, if its connection is as good as new."""
    answer = WireResponse(response.status_code, response.headers.raw, body.finish(), body.cut)
    if body.cut or not _reusable(slot):
        slot.close()
    else:
        stack.give(slot)
    return answer


def _reusable(slot: Slot[Any]) -> bool:
    """Whether the connection is open, and nothing was received past the answer's end.

    Left-over bytes would be read as the answer to the next request, which may be someone else's.
    """
    if not slot.line.open:
        return False
    connections = slot.client._pool.connections
    connection: Any = connections[0] if connections else None
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = getattr(connection, "_connection", None)
    return connection is not None and connection._h11_state.trailing_data == (b"", False)


_Translation: TypeAlias = Callable[[BaseException, Line], LLMRouterError]
_TRANSLATIONS: tuple[tuple[tuple[type[Exception], ...], _Translation], ...] = (
    (
        (httpx.ConnectTimeout, httpx.PoolTimeout),
        lambda _, line: LLMTimeoutError(f"no connection within {line.timeout:g} s", sent=False),
    ),
    ((httpx.TimeoutException,), lambda _, line: line.timed_out()),
    ((httpx.ConnectError,), lambda error, _: ProviderError(f"no connection: {error}", sent=False)),
    ((httpx.ProxyError,), lambda error, _: ProviderError(f"the proxy refused: {error}", sent=False)),
    (
        # Not in httpx's words: they repeat the offending header, which may be a key.
        (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL),
        lambda _, line: InvalidRequestError("the request's URL or headers cannot be put into HTTP", sent=line.sent),
    ),
    ((httpx.DecodingError,), lambda *_: InvalidResponseError("the answer cannot be decoded")),
    (
        (httpx.RemoteProtocolError,),
        lambda error, line: ProviderError(f"broken HTTP from the server: {error}", sent=line.sent),
    ),
    ((httpx.HTTPError, OSError), lambda error, line: ProviderError(f"connection lost: {error}", sent=line.sent)),
)
"""What httpx raises, the most specific first, and what is raised in its place."""


def _translated(error: BaseException, line: Line) -> LLMRouterError | None:
    """This library's error for `error`; None where it is to be raised as it is."""
    for types, translate in _TRANSLATIONS:
        if isinstance(error, types):
            return translate(error, line)
    return None


def _context_for(url: str, ca_file: str | None) -> ssl.SSLContext:
    if url.startswith("http:"):
        return _untrusting()
    try:
        return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # ssl.SSLError is one
        raise ProviderError(f"ca_file cannot be used: {error.strerror or error}", final=True, sent=False) from error


@lru_cache(maxsize=16)
def _context(ca_file: str | None, *_: str | None) -> ssl.SSLContext:
    """The one context for these settings. Building it reads all authorities: 20 ms, so not for each connection."""
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


@lru_cache(maxsize=1)
def _untrusting() -> ssl.SSLContext:
    """For plain http, where no certificate is looked at: verifies, and trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy_for(url: str, ca_file: str | None) -> httpx.Proxy | None:
    """The proxy the environment names for `url`. This machine itself is never behind one."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.startswith("socks") and find_spec("socksio") is None:
        raise ProviderError("the environment names a SOCKS proxy: install httpx[socks]", final=True, sent=False)
    try:
        return httpx.Proxy(proxy, ssl_context=_context_for(proxy, ca_file) if proxy.startswith("https:") else None)
    except (ValueError, httpx.InvalidURL) as error:
        # Not the address itself: it may hold a password.
        raise ProviderError("the proxy in the environment is not a URL httpx knows", final=True, sent=False) from error
