"""Carries HTTP requests with httpx.

What httpx does here is HTTP/1.1 itself and proxies. Its client (cookies, redirects, authentication, a pool that slows
down with its size) is left out: each slot holds one bare `HTTPTransport` with one connection. The connections are ours
(`channel`), put in the place of the pool's private `_network_backend`, so that the deadline holds at each system call.

And what it does ends with the headers. The body is read out of its HTTP parser, all that has come in at once: its own
iterators give it piece by piece through three generators each, which costs more than the parsing, and under asyncio
their ends have to be waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from contextvars import ContextVar, Token
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, ClassVar, TypeAlias, cast

import h11
import httpx

from lee_llm_router.errors import InvalidResponseError, LLMTimeoutError, ProviderError
from lee_llm_router.providers.http.transport.api import ACCEPT_ENCODING, Body, WireRequest, WireResponse
from lee_llm_router.providers.http.transport.channel import AsyncBackend, SyncBackend
from lee_llm_router.providers.http.transport.connection import READ_SIZE, Line, Steps
from lee_llm_router.providers.http.transport.exchange import AsyncExchange, Exchange, Guard, SyncExchange, Translation
from lee_llm_router.providers.http.transport.idle_pool import KEEP_ALIVE, LoopStacks, Slot, SlotStack
from lee_llm_router.providers.http.transport.route import (
    Heads,
    address_of,
    bad_proxy,
    bad_request,
    context_for,
    proxy_for,
)

SyncSlot: TypeAlias = Slot[httpx.HTTPTransport]
AsyncSlot: TypeAlias = Slot[httpx.AsyncHTTPTransport]

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)

_silent: ContextVar[bool] = ContextVar("lee_llm_router_silent", default=False)


def _is_someone_elses(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the context says it, not the record
    return not _silent.get()


for _name in ("connection", "http11", "http2", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_is_someone_elses)


class HTTPXGuard(Guard):
    """Knows httpx's errors too.

    Within it the HTTP library's own debug log is silent: it writes down the answer's headers, in which a server may
    echo a key.
    """

    __slots__ = ("_token",)

    TRANSLATIONS: ClassVar[tuple[Translation, ...]] = (
        (
            (httpx.ConnectTimeout, httpx.PoolTimeout),
            lambda _, line: LLMTimeoutError(f"no connection within {line.timeout:g} s", sent=False),
        ),
        ((httpx.TimeoutException,), lambda _, line: line.timed_out()),
        ((httpx.ConnectError,), lambda error, _: ProviderError(f"no connection: {error}", sent=False)),
        ((httpx.ProxyError,), lambda error, _: ProviderError(f"the proxy refused: {error}", sent=False)),
        ((httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL), lambda *_: bad_request()),
        ((httpx.DecodingError,), lambda *_: InvalidResponseError("the answer cannot be decoded")),
        (
            (httpx.RemoteProtocolError,),
            lambda error, line: ProviderError(f"broken HTTP from the server: {error}", sent=line.sent),
        ),
        ((httpx.HTTPError,), lambda error, line: ProviderError(f"connection lost: {error}", sent=line.sent)),
        *Guard.TRANSLATIONS,
    )

    def __enter__(self) -> None:
        self._token: Token[bool] = _silent.set(True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _silent.reset(self._token)
        if error is not None:
            super().__exit__(kind, error, tb)


class HTTPXTransport:
    """The `Transport` of one provider.

    Args:
        url: Where requests will go; chooses the proxy, from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
        ca_file: PEM file with further authorities to trust, besides the usual ones.
        max_response_bytes: Bound on the decoded body of an answer, in bytes.

    Raises:
        ProviderError: `ca_file` or the proxy cannot be used.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, max_response_bytes: int) -> None:
        self._limit = max_response_bytes
        self._heads = Heads(address_of(url).origin, _head)
        self._ssl_context = context_for(url, ca_file)
        self._proxy = _proxy(url, ca_file)
        self._stack: SlotStack[httpx.HTTPTransport] = SlotStack()
        self._stacks: LoopStacks[httpx.AsyncHTTPTransport] = LoopStacks()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        return self.open(request, timeout).whole()

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        return await (await self.open_async(request, timeout)).whole()

    def open(self, request: WireRequest, timeout: float) -> SyncHTTPXExchange:
        """As `Transport.open`."""
        slot = self._stack.take() or self._open()
        with HTTPXGuard(slot.line):
            slot.line.start(timeout)
            response = slot.client.handle_request(self._prepared(request, slot.line))
            loaded = None if slot.line.open else b"".join(response.iter_raw())
            exchange = SyncHTTPXExchange(slot, self._stack)
            exchange.answered(response, self._limit, loaded)
            return exchange

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncHTTPXExchange:
        """As `Transport.open_async`."""
        stack = self._stacks.current()
        slot = stack.take() or self._open_async()
        with HTTPXGuard(slot.line):
            slot.line.start(timeout)
            async with asyncio.timeout(timeout):
                response = await slot.client.handle_async_request(self._prepared(request, slot.line))
                loaded = None if slot.line.open else b"".join([part async for part in response.aiter_raw()])
            exchange = AsyncHTTPXExchange(slot, stack)
            exchange.answered(response, self._limit, loaded)
            return exchange

    def load(self) -> None:
        """As `Transport.load`: what httpx and its libraries load with their first asynchronous connection."""
        import_module("httpcore")
        with suppress(ImportError):
            import_module("anyio._backends._asyncio")

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

    def _prepared(self, request: WireRequest, line: Line) -> httpx.Request:
        url, head = self._heads.of(request)
        headers = [*head, (b"Content-Length", b"%d" % len(request.body))]
        return httpx.Request(request.method, url, headers=headers, stream=_Content(request.body, line))


def _head(request: WireRequest) -> tuple[httpx.URL, list[tuple[bytes, bytes]]]:
    address = address_of(request.url)  # one reading of the URL: httpx has its own of strange ones
    url = httpx.URL(f"{address.scheme}://{address.authority}{address.target}")
    return url, [(b"Host", url.netloc), *request.headers, (b"Accept-Encoding", ACCEPT_ENCODING)]


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


class _HTTPXExchange(Exchange):
    """Reads the body of an answer out of h11, httpx's HTTP parser."""

    guard: ClassVar[type[Guard]] = HTTPXGuard

    _response: httpx.Response
    _connection: Any
    _loaded: bytes | None

    def answered(self, response: httpx.Response, limit: int, loaded: bytes | None) -> None:
        """The answer's headers have come.

        Args:
            response: Its status and headers.
            limit: Bytes its body may have, decoded.
            loaded: The raw body, where something other than a connection has answered (a mocking library).
        """
        get = response.headers.get
        self.status = response.status_code
        self.raw_headers = response.headers.raw
        self._response = response
        self._connection = connection_of(self._slot)
        self._loaded = loaded
        length = get("content-length")
        if length is not None and "transfer-encoding" in response.headers:
            self._doubtful, length = True, None
        self._body = Body(self.status, get("content-encoding"), length, limit)

    def _arriving(self) -> Steps[tuple[bytes, bool]]:
        if self._loaded is not None:
            return self._loaded, True
        parser = self._connection._h11_state
        parts: list[bytes] = []
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                if parts:
                    break  # the parser raises it again
                raise ProviderError(f"broken HTTP from the server: {error}", sent=self._line.sent) from error
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif event is not h11.NEED_DATA:
                return b"".join(parts), True
            elif parts:
                break
            else:
                received = yield from self._connection._network_stream.reading(READ_SIZE)
                self._closed = not received
                parser.receive_data(received)
        return b"".join(parts), False

    def _is_reusable(self) -> bool:
        connection = connection_of(self._slot)
        if connection is None or self._doubtful or connection._network_stream.is_broken:
            return False
        return bool(connection._h11_state.trailing_data == (b"", False))


class SyncHTTPXExchange(_HTTPXExchange, SyncExchange):
    """A `WireStream`."""

    def _release(self) -> None:
        cast(httpx.SyncByteStream, self._response.stream).close()


class AsyncHTTPXExchange(_HTTPXExchange, AsyncExchange):
    """An `AsyncWireStream`."""

    def _release(self) -> Awaitable[None] | None:
        return cast(httpx.AsyncByteStream, self._response.stream).aclose()


def connection_of(slot: Slot[Any]) -> Any:
    """The HTTP library's connection that has the HTTP parser, if there is one: behind a proxy it is inside another."""
    connections = slot.client._pool.connections if slot.line.open else ()
    connection: Any = connections[0] if connections else None
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = getattr(connection, "_connection", None)
    return connection


def _proxy(url: str, ca_file: str | None) -> httpx.Proxy | None:
    proxy = proxy_for(url)
    if proxy is None:
        return None
    if proxy.startswith("socks") and find_spec("socksio") is None:
        raise ProviderError("the environment names a SOCKS proxy: install httpx[socks]", final=True, sent=False)
    try:
        return httpx.Proxy(proxy, ssl_context=context_for(proxy, ca_file) if proxy.startswith("https:") else None)
    except (ValueError, httpx.InvalidURL) as error:
        raise bad_proxy(error) from error
