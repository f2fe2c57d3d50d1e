"""Carries HTTP requests with httptools: llhttp, the HTTP parser of Node.js, written in C.

A parser is all it is. The connections are ours (`channel`), so all that holds for the other transport holds here: one
deadline at each system call, interruptions, cancellation, forks, event loops that come and go. A request is written in
one piece, from a head that is put together once, and an answer of usual size is read and parsed in one.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias, cast

import httptools

from lee_llm_router.errors import InvalidRequestError, ProviderError
from lee_llm_router.providers.http.transport.api import (
    ACCEPT_ENCODING,
    MAX_DIGITS,
    Body,
    RawHeaders,
    WireRequest,
    WireResponse,
)
from lee_llm_router.providers.http.transport.channel import Stream
from lee_llm_router.providers.http.transport.connection import READ_SIZE, Line, Steps, connecting, run, run_async
from lee_llm_router.providers.http.transport.exchange import AsyncExchange, Exchange, Guard, SyncExchange
from lee_llm_router.providers.http.transport.idle_pool import LoopStacks, Slot, SlotStack
from lee_llm_router.providers.http.transport.route import Address, Heads, address_of, bad_proxy, context_for, proxy_for

_Slot: TypeAlias = Slot[Stream]
_Stack: TypeAlias = SlotStack[Stream]

_MAX_BARREN = 100 * 1024
"""Bytes that may come in a row without any of a body among them: headers, trailers, extensions of chunks."""
_FIRST = 100
_FINAL = 200
"""From here on, a status is that of an answer and not of an interim one."""
_CODING, _LENGTH, _TRANSFER = map(len, ("content-encoding", "content-length", "transfer-encoding"))


def check() -> None:
    """Raise whatever the first call would, where httptools is too old: uvicorn alone is content with 0.6.0."""
    _Message()


class HTTPToolsTransport:
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
        self._route = _Route(url, ca_file)
        self._heads = Heads(self._route.server.origin, self._route.head)
        self._stack: _Stack = SlotStack()
        self._stacks: LoopStacks[Stream] = LoopStacks()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        exchange = self._exchange(request, timeout)
        return exchange.run(exchange.answering())

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        exchange = await self._exchange_async(request, timeout)
        return await exchange.run(exchange.answering())

    def open(self, request: WireRequest, timeout: float) -> SyncHTTPToolsExchange:
        """As `Transport.open`."""
        exchange = self._exchange(request, timeout)
        exchange.run(exchange.beginning())
        return exchange

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncHTTPToolsExchange:
        """As `Transport.open_async`."""
        exchange = await self._exchange_async(request, timeout)
        await exchange.run(exchange.beginning())
        return exchange

    def load(self) -> None:
        """As `Transport.load`: all is loaded."""

    def close(self) -> None:
        """As `Transport.close`. No event loop is needed, and any may be running."""
        self._stack.close()
        self._stacks.close()

    def _exchange(self, request: WireRequest, timeout: float) -> SyncHTTPToolsExchange:
        head = self._heads.of(request)
        slot = _idle(self._stack)
        if slot is None:
            line = Line()
            line.start(timeout)
            with Guard(line):
                sock = run(line, None, connecting(line, self._route.host, self._route.port))
                stream = Stream(line, sock, self._route.peer)
                run(line, sock, self._route.preparing(stream))
            slot = Slot(stream, line)
        else:
            slot.line.start(timeout)
        return SyncHTTPToolsExchange(slot, self._stack, head, request.body, self._limit)

    async def _exchange_async(self, request: WireRequest, timeout: float) -> AsyncHTTPToolsExchange:
        head = self._heads.of(request)
        stack = self._stacks.current()
        slot = _idle(stack)
        if slot is None:
            line = Line()
            line.start(timeout)
            with Guard(line):
                async with asyncio.timeout(timeout):
                    sock = await run_async(line, None, connecting(line, self._route.host, self._route.port))
                    stream = Stream(line, sock, self._route.peer)
                    await run_async(line, sock, self._route.preparing(stream))
            slot = Slot(stream, line)
        else:
            slot.line.start(timeout)
        return AsyncHTTPToolsExchange(slot, stack, head, request.body, self._limit)


def _idle(stack: _Stack) -> _Slot | None:
    """A connection whose server is still there, if there is one."""
    while (slot := stack.take()) is not None:
        if not slot.client.is_stale:
            return slot
        slot.close()
    return None


class _Route:
    """How the server is reached, and what it and the proxy are told for that."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        self.server = address_of(url)
        self._context = context_for(url, ca_file)
        proxy = proxy_for(url)
        self._proxy = None if proxy is None else _proxy(proxy)
        self._proxy_context = context_for(proxy or "http:", ca_file)
        first = self._proxy or self.server
        self.host, self.port = first.host, first.port
        self.peer = f"{self.host}:{self.port}"

    def preparing(self, stream: Stream) -> Steps[None]:
        """What is to do on a new connection before a request can be sent."""
        if self._proxy is not None and self._proxy.scheme == "https":
            yield from stream.securing(self._proxy_context, self._proxy.host)
        if self.server.scheme == "https":
            if self._proxy is not None:
                yield from self._tunnelling(stream, self._proxy)
            yield from stream.securing(self._context, self.server.host)

    def _tunnelling(self, stream: Stream, proxy: Address) -> Steps[None]:
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        way = f"{host}:{self.server.port}".encode()
        stream.gather(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (way, way, _credentials(proxy)))
        answer = _Message()
        while not answer.headed:
            received = yield from stream.reading(READ_SIZE)
            if not received:
                raise ProviderError("the proxy hung up", sent=False)
            if not answer.feed(received):
                raise ProviderError(f"broken HTTP from the proxy: {answer.fault}", sent=False)
        if not 200 <= answer.status < 300:
            raise ProviderError(f"the proxy refused: {answer.status}", sent=False)
        if answer.parts or answer.spare:
            raise ProviderError("broken HTTP from the proxy: it speaks before it is asked", sent=False)

    def head(self, request: WireRequest) -> bytes:
        """The beginning of a request, up to the number of bytes in its body."""
        address = address_of(request.url)
        target, credentials = address.target, b""
        if self._proxy is not None and address.scheme == "http":
            target, credentials = f"http://{address.authority}{target}", _credentials(self._proxy)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bAccept-Encoding: %b\r\nContent-Length: " % (
            request.method.encode(),
            target.encode(),
            address.authority.encode(),
            credentials,
            b"".join(b"%b: %b\r\n" % header for header in request.headers),
            ACCEPT_ENCODING,
        )


def _proxy(url: str) -> Address:
    if url.startswith("socks"):
        raise ProviderError(
            "the environment names a SOCKS proxy: set transport: httpx, and install httpx[socks]",
            final=True,
            sent=False,
        )
    try:
        return address_of(url)
    except InvalidRequestError as error:
        raise bad_proxy(error) from error


def _credentials(proxy: Address) -> bytes:
    return b"" if proxy.authorization is None else b"Proxy-Authorization: %b\r\n" % proxy.authorization


class _Message:
    """An answer as the parser tells of it. Interim ones (100 Continue, 103 Early Hints) are passed over."""

    __slots__ = ("_barren", "_parser", "done", "fault", "headed", "headers", "keep", "parts", "spare", "status")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.parts: list[bytes] = []
        """Of the body, not taken yet."""
        self.headed = False
        self.done = False
        self.keep = False
        """Whether the connection may be kept after it."""
        self.spare = False
        """Whether more has come than belongs to it."""
        self.fault: object = None
        """What is wrong with it."""
        self._barren = 0
        parser = httptools.HttpResponseParser(self)
        self._parser: httptools.HttpResponseParser | None = parser
        """Let go of at the end: the two hold each other."""
        # RFC 9112: a line may end with LF alone (2.2); chunks go before a length (6.3), and end the connection here.
        # A space between a chunk's size and the end of its line can mean nothing else; some servers pad with them.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> bool:
        """Take what has been received; whether it was understood."""
        try:
            cast(httptools.HttpResponseParser, self._parser).feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fault = "it changes the protocol"
            return False
        except httptools.HttpParserCallbackError as error:
            # An interruption that came while the parser was calling back, not a fault of the answer.
            raise (error.__context__ or error) from None
        except httptools.HttpParserError as error:
            if not self.done:
                self.fault = error
                return False
            self.spare = True
        if self.parts or self.done:
            self._barren = 0
            return True
        self._barren += len(data)
        if self._barren > _MAX_BARREN:
            self.fault = "endless headers"
        return self.fault is None

    def on_message_begin(self) -> None:
        if self.done:
            self.spare = True
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # else it is a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser is not None:
            self.status = self._parser.get_status_code()
            if self.status < _FIRST:
                self.fault = "a status below 100"
            self.headed = self.status >= _FINAL and self.fault is None

    def on_body(self, data: bytes) -> None:
        if self.headed and not self.done:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        self._barren = 0
        if self.headed and self._parser is not None:
            self.done = True
            self.keep = self._parser.should_keep_alive()
            self._parser = None


class _HTTPToolsExchange(Exchange):
    """Asks, and reads the answer through httptools.

    Args:
        slot: The connection.
        stack: Where it goes if it is as good as new afterwards.
        head: The beginning of the request.
        body: Its body.
        limit: Bytes the answer's body may have, decoded.
    """

    def __init__(self, slot: _Slot, stack: _Stack, head: bytes, body: bytes, limit: int) -> None:
        super().__init__(slot, stack)
        self._stream = slot.client
        self._stream.gather(b"%b%d\r\n\r\n" % (head, len(body)))
        self._stream.gather(body)
        self._limit = limit
        self._message = _Message()
        self._ends_with_connection = False

    def beginning(self) -> Steps[None]:
        """The request goes out, and the answer's status and headers come."""
        self._line.sent = True
        message = self._message
        while not message.headed:
            yield from self._receive()
        self.status, self.raw_headers = message.status, message.headers
        coding, length, transfer = _framing(message.headers)
        if transfer is not None:
            # Not by `strip`: a tab behind it, and the parser takes it for another coding.
            if transfer.lower().rstrip(b" ") != b"chunked":
                raise self._broken("a transfer coding nobody asked for")
            self._doubtful, length = length is not None, None
        self._ends_with_connection = transfer is None and length is None
        if length is not None and len(length) > MAX_DIGITS:
            raise self._broken("a length of too many digits")
        self._body = Body(
            self.status,
            None if coding is None else coding.decode("latin-1"),
            None if length is None else length.decode("latin-1"),
            self._limit,
        )

    def answering(self) -> Steps[WireResponse]:
        """The request goes out, and the whole answer comes."""
        yield from self.beginning()
        return (yield from self.gathering())

    def _receive(self) -> Steps[None]:
        message = self._message
        if message.fault is not None:
            raise self._broken(message.fault)
        received = yield from self._stream.reading(READ_SIZE)
        if received:
            if not message.feed(received) and not message.parts:
                raise self._broken(message.fault)
            return
        self._closed = True
        if not self._ends_with_connection:
            where = "in the middle of its answer" if message.headed else "without an answer"
            raise ProviderError(f"the server hung up {where}", sent=True)
        message.done = True

    def _broken(self, fault: object) -> ProviderError:
        return ProviderError(f"broken HTTP from the server: {fault}", sent=True)

    def _arriving(self) -> Steps[tuple[bytes, bool]]:
        message = self._message
        while not message.parts and not message.done:
            yield from self._receive()
        data = b"".join(message.parts)
        message.parts.clear()
        return data, message.done

    def _is_reusable(self) -> bool:
        message = self._message
        return message.keep and not (message.spare or self._doubtful or self._stream.is_broken) and self._line.open


class SyncHTTPToolsExchange(_HTTPToolsExchange, SyncExchange):
    """A `WireStream`."""


class AsyncHTTPToolsExchange(_HTTPToolsExchange, AsyncExchange):
    """An `AsyncWireStream`."""


def _framing(headers: RawHeaders) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The content coding, the length and the transfer coding that `headers` name."""
    coding = length = transfer = None
    for name, value in headers:
        size = len(name)
        if size == _CODING and name.lower() == b"content-encoding":
            coding = value if coding is None else b"%b, %b" % (coding, value)
        elif size == _LENGTH and name.lower() == b"content-length":
            length = value
        elif size == _TRANSFER and name.lower() == b"transfer-encoding":
            transfer = value if transfer is None else b"%b, %b" % (transfer, value)
    return coding, length, transfer
