"""Carries HTTP requests with httpx.

httpx provides HTTP/1.1 and proxies. Its `Client` (cookies, redirects, authentication, a pool that slows down as it
grows) is not used: each `PooledClient` holds one bare `HTTPTransport` with one connection. The connections are ours
(`channel`) and replace the pool's private `_network_backend`, so that the deadline applies to each system call.

httpx reads only the headers of a response. We read the body directly from its HTTP parser, h11, taking all received
data at once. httpx's own iterators pass each piece through three generators, which takes longer than the parsing, and
asyncio code has to await their ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from contextvars import ContextVar, Token
from importlib import import_module
from types import TracebackType
from typing import Any, ClassVar, cast

import h11
import httpx
from h11._receivebuffer import ReceiveBuffer

from lee_llm_router.errors import InvalidResponseError, LLMTimeoutError, ProviderError
from lee_llm_router.providers.http.transport.address import address_of, bad_request
from lee_llm_router.providers.http.transport.api import ACCEPT_ENCODING, WireRequest, WireResponse
from lee_llm_router.providers.http.transport.async_connection import AsyncConnection
from lee_llm_router.providers.http.transport.body_decoder import BodyDecoder
from lee_llm_router.providers.http.transport.channel import AsyncBackend, SyncBackend
from lee_llm_router.providers.http.transport.chunks import without_extension
from lee_llm_router.providers.http.transport.connection import READ_SIZE, Connection, IOSteps
from lee_llm_router.providers.http.transport.exchange import (
    AsyncExchange,
    ErrorTranslator,
    Exchange,
    SyncExchange,
    Translation,
)
from lee_llm_router.providers.http.transport.head_cache import HeadCache
from lee_llm_router.providers.http.transport.idle_pool import KEEP_ALIVE, IdlePool, IdlePoolPerLoop, PooledClient
from lee_llm_router.providers.http.transport.proxies import SOCKS_SCHEMES, bad_proxy, check_proxy, proxy_for
from lee_llm_router.providers.http.transport.trust import TrustSource, context_for

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)

_STREAM_MODULE = "httpx._transports.default"
"""Where httpx keeps the classes of bodies that are read from a connection."""

_is_our_call: ContextVar[bool] = ContextVar("lee_llm_router_is_our_call", default=False)


def _is_not_ours(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the context decides, not the record
    return not _is_our_call.get()


for _name in ("connection", "http11", "http2", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_is_not_ours)


class HTTPXErrorTranslator(ErrorTranslator):
    """An `ErrorTranslator` that also knows httpx's errors.

    It silences the debug log of httpcore, which contains response headers: a server may echo a key there.
    """

    __slots__ = ("_token",)

    TRANSLATIONS: ClassVar[tuple[Translation, ...]] = (
        (
            (httpx.ConnectTimeout, httpx.PoolTimeout),
            lambda _, connection: LLMTimeoutError(f"no connection within {connection.timeout:g} s", sent=False),
        ),
        ((httpx.TimeoutException,), lambda _, connection: connection.timeout_error()),
        ((httpx.ConnectError,), lambda error, _: ProviderError(f"no connection: {error}", sent=False)),
        ((httpx.ProxyError,), lambda error, _: ProviderError(f"the proxy refused: {error}", sent=False)),
        ((httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL), lambda *_: bad_request()),
        (
            (httpx.StreamError,),
            lambda _, connection: ProviderError("somebody else has read the answer and kept it", sent=connection.sent),
        ),
        ((httpx.DecodingError,), lambda *_: InvalidResponseError("the answer cannot be decoded")),
        (
            (httpx.RemoteProtocolError,),
            lambda error, connection: ProviderError(f"broken HTTP from the server: {error}", sent=connection.sent),
        ),
        (
            (httpx.HTTPError,),
            lambda error, connection: ProviderError(f"connection lost: {error}", sent=connection.sent),
        ),
        *ErrorTranslator.TRANSLATIONS,
    )

    def __enter__(self) -> None:
        self._token: Token[bool] = _is_our_call.set(True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _is_our_call.reset(self._token)
        if error is not None:
            super().__exit__(kind, error, tb)


class HTTPXTransport:
    """The `Transport` of one provider.

    Args:
        url: Where requests will go; determines the proxy, from the environment (`HTTPS_PROXY`, `NO_PROXY` etc.).
        ca_file: PEM file with authorities to trust in addition to the usual ones.
        trust: Which authorities are the usual ones.
        max_response_bytes: Maximum size of a decoded response body, in bytes.

    Raises:
        ProviderError: `ca_file` or the proxy cannot be used.
    """

    def __init__(
        self, url: str, *, ca_file: str | None = None, trust: TrustSource = "certifi", max_response_bytes: int
    ) -> None:
        self._limit = max_response_bytes
        self._heads = HeadCache(address_of(url).origin, _head)
        self._ssl_context = context_for(url, ca_file, trust)
        self._proxy = _proxy(url, ca_file, trust)
        self._pool: IdlePool[httpx.HTTPTransport] = IdlePool()
        self._pools: IdlePoolPerLoop[httpx.AsyncHTTPTransport] = IdlePoolPerLoop()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        return self.open(request, timeout).whole()

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        return await (await self.open_async(request, timeout)).whole()

    def open(self, request: WireRequest, timeout: float) -> SyncHTTPXExchange:
        """As `Transport.open`."""
        pooled = self._pool.take() or self._new_client()
        connection = pooled.connection
        with HTTPXErrorTranslator(connection):
            connection.start(timeout)
            response = pooled.client.handle_request(self._httpx_request(request, connection))
            loaded = None
            if not _is_unread(response, connection):
                loaded = response.content if _is_read(response) else b"".join(response.iter_raw())
            exchange = SyncHTTPXExchange(pooled, self._pool)
            exchange.begin(response, self._limit, loaded)
            return exchange

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncHTTPXExchange:
        """As `Transport.open_async`."""
        pool = self._pools.current()
        pooled = pool.take() or self._new_async_client()
        connection = pooled.connection
        with HTTPXErrorTranslator(connection):
            connection.start(timeout)
            async with asyncio.timeout(timeout):
                response = await pooled.client.handle_async_request(self._httpx_request(request, connection))
                loaded = None
                if not _is_unread(response, connection):
                    is_read = _is_read(response)
                    loaded = response.content if is_read else b"".join([part async for part in response.aiter_raw()])
            exchange = AsyncHTTPXExchange(pooled, pool)
            exchange.begin(response, self._limit, loaded)
            return exchange

    def load(self) -> None:
        """As `Transport.load`: loads what httpx and its libraries load for their first asynchronous connection."""
        import_module("httpcore")
        with suppress(ImportError):
            import_module("anyio._backends._asyncio")

    def close(self) -> None:
        """As `Transport.close`. Needs no event loop, but works while one is running."""
        self._pool.close()
        self._pools.close()

    def _new_client(self) -> PooledClient[httpx.HTTPTransport]:
        connection = Connection()
        client = httpx.HTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = SyncBackend(connection)
        return PooledClient(client, connection)

    def _new_async_client(self) -> PooledClient[httpx.AsyncHTTPTransport]:
        connection = AsyncConnection()
        client = httpx.AsyncHTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = AsyncBackend(connection)
        return PooledClient(client, connection)

    def _httpx_request(self, request: WireRequest, connection: Connection) -> httpx.Request:
        url, head = self._heads.get(request)
        headers = [*head, (b"Content-Length", b"%d" % len(request.body))]
        return httpx.Request(request.method, url, headers=headers, stream=_Content(request.body, connection))


def _is_unread(response: httpx.Response, connection: Connection) -> bool:
    """Whether the body of `response` still has to be read from `connection`.

    It does not if a mocking library made the response, or if a wrapper of httpx's transport (a recorder, a cache, a log
    of bodies) has read the body or replaced its stream.
    """
    if not connection.is_open or response.is_closed or response.is_stream_consumed or _is_read(response):
        return False
    return type(response.stream).__module__ == _STREAM_MODULE


def _is_read(response: httpx.Response) -> bool:
    """Whether `response` holds its decoded body."""
    return hasattr(response, "_content")


def _head(request: WireRequest) -> tuple[httpx.URL, list[tuple[bytes, bytes]]]:
    # Parse the URL once, ourselves: httpx normalizes unusual URLs differently.
    address = address_of(request.url)
    url = httpx.URL(f"{address.scheme}://{address.authority}{address.target}")
    return url, [(b"Host", url.netloc), *request.headers, (b"Accept-Encoding", ACCEPT_ENCODING)]


class _Content(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request. httpx asks for it after the headers; from then on the request counts as sent."""

    def __init__(self, data: bytes, connection: Connection) -> None:
        self._data = data
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        self._connection.sent = True
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._connection.sent = True
        yield self._data


class _BufferWithoutExtensions(ReceiveBuffer):
    """Data that h11 has received and not parsed. Shows chunk-size lines without their extensions."""

    def maybe_extract_next_line(self) -> bytearray | None:
        """Return the next line, which has a chunk size: h11 reads all other lines together."""
        line = super().maybe_extract_next_line()
        return line if line is None or b";" not in line else bytearray(without_extension(bytes(line)))


class _HTTPXExchange(Exchange):
    """Reads the body of a response from h11, httpx's HTTP parser."""

    error_translator: ClassVar[type[ErrorTranslator]] = HTTPXErrorTranslator

    _response: httpx.Response
    _http_connection: Any
    _loaded: bytes | None

    def begin(self, response: httpx.Response, limit: int, loaded: bytes | None) -> None:
        """Take over the response after its headers.

        Args:
            response: Its status and headers.
            limit: Maximum size of its decoded body, in bytes.
            loaded: The body, if it need not be read from the connection. Raw, unless `response` holds it.
        """
        get = response.headers.get
        self.status = response.status_code
        self.raw_headers = response.headers.raw
        self._response = response
        self._http_connection = http_connection_of(self._pooled)
        self._loaded = loaded
        length = get("content-length")
        if length is not None and "transfer-encoding" in response.headers:
            self._ambiguous_framing, length = True, None
        coding = get("content-encoding")
        if loaded is not None and _is_read(response):
            coding = length = None  # the length is that of the raw body as well
        self._body = BodyDecoder(self.status, coding, length, limit)
        if loaded is None and "transfer-encoding" in response.headers:
            self._http_connection._h11_state._receive_buffer.__class__ = _BufferWithoutExtensions

    def _next_raw_part(self) -> IOSteps[tuple[bytes, bool]]:
        if self._loaded is not None:
            return self._loaded, True
        parser = self._http_connection._h11_state
        parts: list[bytes] = []
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                if parts:
                    break  # the parser raises it again next time
                raise ProviderError(f"broken HTTP from the server: {error}", sent=self._connection.sent) from error
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif event is not h11.NEED_DATA:
                return b"".join(parts), True
            elif parts:
                break
            else:
                received = yield from self._http_connection._network_stream.receive(READ_SIZE)
                self._closed_by_server = not received
                parser.receive_data(received)
        return b"".join(parts), False

    def _is_reusable(self) -> bool:
        http_connection = http_connection_of(self._pooled)
        if http_connection is None or self._ambiguous_framing or http_connection._network_stream.is_broken:
            return False
        return bool(http_connection._h11_state.trailing_data == (b"", False))


class SyncHTTPXExchange(_HTTPXExchange, SyncExchange):
    """A `WireStream`."""

    def _release(self) -> None:
        cast(httpx.SyncByteStream, self._response.stream).close()


class AsyncHTTPXExchange(_HTTPXExchange, AsyncExchange):
    """An `AsyncWireStream`."""

    def _release(self) -> Awaitable[None] | None:
        return cast(httpx.AsyncByteStream, self._response.stream).aclose()


def http_connection_of(pooled: PooledClient[Any]) -> Any:
    """Return httpcore's connection that holds the HTTP parser, or None. With a proxy it is inside another one."""
    connections = pooled.client._pool.connections if pooled.connection.is_open else ()
    connection: Any = connections[0] if connections else None
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = getattr(connection, "_connection", None)
    return connection


def _proxy(url: str, ca_file: str | None, trust: TrustSource) -> httpx.Proxy | None:
    proxy = proxy_for(url)
    if proxy is None:
        return None
    check_proxy(proxy, SOCKS_SCHEMES)
    try:
        context = context_for(proxy, ca_file, trust) if proxy.startswith("https:") else None
        return httpx.Proxy(proxy, ssl_context=context)
    except (ValueError, httpx.InvalidURL) as error:
        raise bad_proxy(error) from error
