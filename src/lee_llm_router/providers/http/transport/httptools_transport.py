"""Carries HTTP requests with httptools, the Python binding of llhttp, the HTTP parser of Node.js, written in C.

httptools is only a parser. The connections are ours (`channel`), so they behave as in the other transport: deadlines on
each system call, interruptions, cancellation, forks, short-lived event loops. A request is sent in one piece, with a
cached head, and a response of usual size is read and parsed in one piece.
"""

from __future__ import annotations

import asyncio

from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.http.transport.address import Address, address_of
from lee_llm_router.providers.http.transport.api import ACCEPT_ENCODING, RawHeaders, WireRequest, WireResponse
from lee_llm_router.providers.http.transport.async_connection import AsyncConnection, run_async
from lee_llm_router.providers.http.transport.body_decoder import MAX_DIGITS, BodyDecoder
from lee_llm_router.providers.http.transport.channel import Channel
from lee_llm_router.providers.http.transport.connecting import connect
from lee_llm_router.providers.http.transport.connection import READ_SIZE, Connection, IOSteps, run
from lee_llm_router.providers.http.transport.exchange import AsyncExchange, ErrorTranslator, Exchange, SyncExchange
from lee_llm_router.providers.http.transport.head_cache import HeadCache
from lee_llm_router.providers.http.transport.httptools_parser import ResponseParser
from lee_llm_router.providers.http.transport.idle_pool import IdlePool, IdlePoolPerLoop, PooledClient
from lee_llm_router.providers.http.transport.proxies import check_proxy, proxy_address, proxy_for
from lee_llm_router.providers.http.transport.trust import TrustSource, context_for

_CODING_SIZE, _LENGTH_SIZE, _TRANSFER_SIZE = map(len, ("content-encoding", "content-length", "transfer-encoding"))


def check_httptools() -> None:
    """Raise now what the first call would raise if httptools is too old: uvicorn alone accepts 0.6.0."""
    ResponseParser()


class HTTPToolsTransport:
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
        self._tunnel = _Tunnel(url, ca_file, trust)
        self._heads = HeadCache(self._tunnel.server.origin, self._tunnel.head)
        self._pool: IdlePool[Channel] = IdlePool()
        self._pools: IdlePoolPerLoop[Channel] = IdlePoolPerLoop()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        exchange = self._exchange(request, timeout)
        return exchange.run(exchange.complete())

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        head = self._heads.get(request)  # once per request: a second time would cache the headers
        exchange = self._pooled_exchange(head, request, timeout) or await self._exchange_async(head, request, timeout)
        return await exchange.run(exchange.complete())

    def open(self, request: WireRequest, timeout: float) -> SyncHTTPToolsExchange:
        """As `Transport.open`."""
        exchange = self._exchange(request, timeout)
        exchange.run(exchange.begin())
        return exchange

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncHTTPToolsExchange:
        """As `Transport.open_async`."""
        head = self._heads.get(request)  # once per request: a second time would cache the headers
        exchange = self._pooled_exchange(head, request, timeout) or await self._exchange_async(head, request, timeout)
        await exchange.run(exchange.begin())
        return exchange

    def load(self) -> None:
        """As `Transport.load`. There is nothing to load."""

    def close(self) -> None:
        """As `Transport.close`. Needs no event loop, but works while one is running."""
        self._pool.close()
        self._pools.close()

    def _exchange(self, request: WireRequest, timeout: float) -> SyncHTTPToolsExchange:
        head = self._heads.get(request)
        pooled = _take_live(self._pool)
        if pooled is None:
            connection = Connection()
            connection.start(timeout)
            with ErrorTranslator(connection):
                sock = run(connection, None, connect(connection, self._tunnel.host, self._tunnel.port))
                channel = Channel(connection, sock, self._tunnel.peer)
                run(connection, sock, self._tunnel.prepare(channel))
            pooled = PooledClient(channel, connection)
        else:
            pooled.connection.start(timeout)
        return SyncHTTPToolsExchange(pooled, self._pool, head, request.body, self._limit)

    def _pooled_exchange(self, head: bytes, request: WireRequest, timeout: float) -> AsyncHTTPToolsExchange | None:
        """Return an exchange over an idle connection of the running event loop; None if there is none."""
        pool = self._pools.current()
        pooled = _take_live(pool)
        if pooled is None:
            return None
        pooled.connection.start(timeout)
        return AsyncHTTPToolsExchange(pooled, pool, head, request.body, self._limit)

    async def _exchange_async(self, head: bytes, request: WireRequest, timeout: float) -> AsyncHTTPToolsExchange:
        """Return an exchange over a new connection."""
        connection = AsyncConnection()
        connection.start(timeout)
        with ErrorTranslator(connection):
            async with asyncio.timeout(timeout):
                sock = await run_async(connection, None, connect(connection, self._tunnel.host, self._tunnel.port))
                channel = Channel(connection, sock, self._tunnel.peer)
                await run_async(connection, sock, self._tunnel.prepare(channel))
        pooled = PooledClient(channel, connection)
        return AsyncHTTPToolsExchange(pooled, self._pools.current(), head, request.body, self._limit)


def _take_live(pool: IdlePool[Channel]) -> PooledClient[Channel] | None:
    """Take an idle connection that the server has not closed; None if there is none."""
    while (pooled := pool.take()) is not None:
        if not pooled.client.is_stale:
            return pooled
        pooled.close()
    return None


class _Tunnel:
    """The way to the server, through a proxy if the environment names one.

    Args:
        url: Where requests will go.
        ca_file: PEM file with authorities to trust in addition to the usual ones.
        trust: Which authorities are the usual ones.
    """

    def __init__(self, url: str, ca_file: str | None, trust: TrustSource) -> None:
        self.server = address_of(url)
        self._context = context_for(url, ca_file, trust)
        proxy = proxy_for(url)
        self._proxy = None if proxy is None else _proxy_address(proxy)
        self._proxy_context = context_for(proxy or "http:", ca_file, trust)
        first_hop = self._proxy or self.server
        self.host, self.port = first_hop.host, first_hop.port
        self.peer = f"{self.host}:{self.port}"

    def prepare(self, channel: Channel) -> IOSteps[None]:
        """Prepare a new connection for requests: TLS with the proxy, a tunnel through it, TLS with the server."""
        if self._proxy is not None and self._proxy.scheme == "https":
            yield from channel.secure(self._proxy_context, self._proxy.host)
        if self.server.scheme == "https":
            if self._proxy is not None:
                yield from self._open_tunnel(channel, self._proxy)
            yield from channel.secure(self._context, self.server.host)

    def _open_tunnel(self, channel: Channel, proxy: Address) -> IOSteps[None]:
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        target = f"{host}:{self.server.port}".encode()
        channel.enqueue(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, target, _proxy_header(proxy)))
        parser = ResponseParser()
        while not parser.has_headers:
            received = yield from channel.receive(READ_SIZE)
            if not received:
                raise ProviderError("the proxy hung up", sent=False)
            if not parser.feed(received):
                raise ProviderError(f"broken HTTP from the proxy: {parser.fault}", sent=False)
        if not 200 <= parser.status < 300:
            raise ProviderError(f"the proxy refused: {parser.status}", sent=False)
        if parser.parts or parser.has_extra:
            raise ProviderError("broken HTTP from the proxy: it sends data before it is asked", sent=False)

    def head(self, request: WireRequest) -> bytes:
        """Write the head of a request, up to the length of its body."""
        address = address_of(request.url)
        target, proxy_header = address.target, b""
        if self._proxy is not None and address.scheme == "http":
            target, proxy_header = f"http://{address.authority}{target}", _proxy_header(self._proxy)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bAccept-Encoding: %b\r\nContent-Length: " % (
            request.method.encode(),
            target.encode(),
            address.authority.encode(),
            proxy_header,
            b"".join(b"%b: %b\r\n" % header for header in request.headers),
            ACCEPT_ENCODING,
        )


def _proxy_address(url: str) -> Address:
    check_proxy(url, ())
    return proxy_address(url)


def _proxy_header(proxy: Address) -> bytes:
    return b"" if proxy.authorization is None else b"Proxy-Authorization: %b\r\n" % proxy.authorization


class _HTTPToolsExchange(Exchange):
    """Sends a request, and reads the response with httptools.

    Args:
        pooled: The connection.
        pool: Takes the connection back if it can be reused.
        head: The head of the request.
        body: Its body.
        limit: Maximum size of the decoded response body, in bytes.
    """

    def __init__(
        self, pooled: PooledClient[Channel], pool: IdlePool[Channel], head: bytes, body: bytes, limit: int
    ) -> None:
        super().__init__(pooled, pool)
        self._channel = pooled.client
        self._channel.enqueue(b"%b%d\r\n\r\n" % (head, len(body)))
        self._channel.enqueue(body)
        self._limit = limit
        self._parser = ResponseParser()
        self._ends_with_connection = False
        self._is_chunked = False

    def begin(self) -> IOSteps[None]:
        """Send the request, and read the response's status and headers."""
        self._connection.sent = True
        parser = self._parser
        while not parser.has_headers:
            yield from self._receive()
        self.status, self.raw_headers = parser.status, parser.headers
        coding, length, transfer = _framing(parser.headers)
        if transfer is not None:
            # Only spaces may follow: a tab would make the parser take it for another coding.
            if transfer.lower().rstrip(b" ") != b"chunked":
                raise self._broken("a transfer coding nobody asked for")
            self._ambiguous_framing, length = length is not None, None
        self._is_chunked = transfer is not None
        self._ends_with_connection = transfer is None and length is None
        if length is not None and len(length) > MAX_DIGITS:
            raise self._broken("a length of too many digits")
        self._body = BodyDecoder(
            self.status,
            None if coding is None else coding.decode("latin-1"),
            None if length is None else length.decode("latin-1"),
            self._limit,
        )

    def complete(self) -> IOSteps[WireResponse]:
        """Send the request, and read the whole response."""
        yield from self.begin()
        return (yield from self.read_all())

    def _receive(self) -> IOSteps[None]:
        parser = self._parser
        if parser.fault is not None:
            raise self._broken(parser.fault)
        received = yield from self._channel.receive(READ_SIZE)
        if received:
            if not parser.feed(received) and not parser.parts:
                raise self._broken(parser.fault)
            return
        self._closed_by_server = True
        if not self._ends_with_connection:
            where = "in the middle of its answer" if parser.has_headers else "without an answer"
            raise ProviderError(f"the server hung up {where}", sent=True)
        parser.done = True

    def _broken(self, fault: object) -> ProviderError:
        return ProviderError(f"broken HTTP from the server: {fault}", sent=True)

    def _next_raw_part(self) -> IOSteps[tuple[bytes, bool]]:
        parser = self._parser
        while not parser.parts and not parser.done:
            yield from self._receive()
        data = b"".join(parser.parts)
        parser.parts.clear()
        return data, parser.done

    def _is_reusable(self) -> bool:
        parser = self._parser
        if self._ambiguous_framing or self._channel.is_broken or parser.has_rest(self._is_chunked):
            return False
        return parser.keep_alive and self._connection.is_open


class SyncHTTPToolsExchange(_HTTPToolsExchange, SyncExchange):
    """A `WireStream`."""


class AsyncHTTPToolsExchange(_HTTPToolsExchange, AsyncExchange):
    """An `AsyncWireStream`."""


def _framing(headers: RawHeaders) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return the content coding, the length and the transfer coding in `headers`."""
    coding = length = transfer = None
    for name, value in headers:
        size = len(name)  # comparing sizes first avoids lower-casing every name
        if size == _CODING_SIZE and name.lower() == b"content-encoding":
            coding = value if coding is None else b"%b, %b" % (coding, value)
        elif size == _LENGTH_SIZE and name.lower() == b"content-length":
            length = value
        elif size == _TRANSFER_SIZE and name.lower() == b"transfer-encoding":
            transfer = value if transfer is None else b"%b, %b" % (transfer, value)
    return coding, length, transfer
