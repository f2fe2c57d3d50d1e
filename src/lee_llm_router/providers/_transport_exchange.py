"""One exchange over HTTP: its answer's body as it comes in, its failures translated, its connection given back.

What the HTTP library does ends with the headers. The body is read out of its HTTP parser here: by one generator for
sync and async, which takes all that has come in at once. The library's own iterators give it piece by piece through
three generators each, which costs more than the parsing, and under asyncio their ends have to be waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from time import monotonic
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast
from weakref import ref

import h11
import httpx

from lee_llm_router.errors import (
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
)
from lee_llm_router.providers._slots import Slot, SlotStack
from lee_llm_router.providers._sockets import READ_SIZE, Line, Steps, run, run_async
from lee_llm_router.providers._wire import Body, RawHeaders, WireResponse

T = TypeVar("T")

_LOST = (h11.RemoteProtocolError, ProviderError)
_GRACE = 0.05
"""Seconds the end of a body may take to arrive after an answer's own end mark. A new connection costs more."""

_Translation: TypeAlias = Callable[[BaseException, Line], LLMRouterError]
_TRANSLATIONS: tuple[tuple[tuple[type[Exception], ...], _Translation], ...] = (
    (
        (httpx.ConnectTimeout, httpx.PoolTimeout),
        lambda _, line: LLMTimeoutError(f"no connection within {line.timeout:g} s", sent=False),
    ),
    ((httpx.TimeoutException, TimeoutError), lambda _, line: line.timed_out()),
    ((httpx.ConnectError,), lambda error, _: ProviderError(f"no connection: {error}", sent=False)),
    ((httpx.ProxyError,), lambda error, _: ProviderError(f"the proxy refused: {error}", sent=False)),
    (
        # Not in httpx's words: they repeat the offending header, which may be a key.
        (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL),
        lambda _, line: InvalidRequestError("the request's URL or headers cannot be put into HTTP", sent=line.sent),
    ),
    ((httpx.DecodingError,), lambda *_: InvalidResponseError("the answer cannot be decoded")),
    (
        (httpx.RemoteProtocolError, h11.RemoteProtocolError),
        lambda error, line: ProviderError(f"broken HTTP from the server: {error}", sent=line.sent),
    ),
    ((httpx.HTTPError, OSError), lambda error, line: ProviderError(f"connection lost: {error}", sent=line.sent)),
)
"""What the libraries below raise, the most specific first, and what is raised in its place."""


_silent: ContextVar[bool] = ContextVar("lee_llm_router_silent", default=False)


def _is_someone_elses(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the context says it, not the record
    return not _silent.get()


for _name in ("connection", "http11", "http2", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_is_someone_elses)


class Guard:
    """Within it, whatever goes wrong drops the slot's connection, and comes out as this library's error.

    Cancellations, interruptions and bugs come out as they are. Meanwhile the HTTP library's own debug log is silent: it
    writes down the answer's headers, in which a server may echo a key.
    """

    __slots__ = ("_slot", "_token")

    def __init__(self, slot: Slot[Any]) -> None:
        self._slot = slot
        self._token: Token[bool] | None = None

    def __enter__(self) -> None:
        self._token = _silent.set(True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._token is not None:
            _silent.reset(self._token)
        if error is None:
            return
        line = self._slot.line
        self._slot.close()
        if line.expired and isinstance(error, Exception):
            raise line.timed_out() from error
        for types, translate in _TRANSLATIONS:
            if isinstance(error, types):
                raise translate(error, line) from error


class Watch:
    """Wakes who waits on a line under asyncio when the line's time is up: with one timer for all the waits of a stream.

    A timer for each would cost as much as reading what comes. This one, when it goes off before its time because the
    time has moved, is set again. It holds on to nothing: a stream that is dropped is gone at once.
    """

    __slots__ = ("__weakref__", "_at", "_line", "_timer", "_waiting")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False

    def __enter__(self) -> None:
        self._waiting = True
        if self._timer is None or self._line.until < self._at:
            self._set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._waiting = False

    def stop(self) -> None:
        """Let the timer go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self.stop()
        self._at = self._line.until
        self._timer = asyncio.get_running_loop().call_later(self._at - monotonic(), _ring, ref(self))

    def _rang(self) -> None:
        self._timer = None
        if self._waiting and self._line.until > monotonic():
            self._set()
        elif self._waiting:
            self._line.expire()


def _ring(watch: ref[Watch]) -> None:
    alive = watch()
    if alive is not None:
        alive._rang()


class _Exchange:
    """What is the same for sync and async.

    Args:
        slot: The connection, on which the answer's headers have come.
        stack: Where it goes if it is as good as new afterwards.
        response: The answer's status and headers.
        limit: Bytes its body may have, decoded.
        loaded: The raw body, where something other than a connection has answered (a mocking library).
    """

    def __init__(
        self, slot: Slot[Any], stack: SlotStack[Any], response: httpx.Response, limit: int, loaded: bytes | None
    ) -> None:
        get = response.headers.get
        self.status = response.status_code
        self.raw_headers: RawHeaders = response.headers.raw
        self._slot = slot
        self._line = slot.line
        self._stack = stack
        self._response = response
        self._connection = connection_of(slot)
        self._loaded = loaded
        self._body = Body(self.status, get("content-encoding"), get("content-length"), limit)
        self._closed = False
        """Whether the other side has hung up."""
        self._ended = False
        self._settled = False

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        if not self._ended:
            self._line.go_on(timeout)

    def close(self) -> None:
        """As `WireStream.close`."""
        if not self._settled:
            self._settled = self._ended = True
            self._slot.close()

    def _settle(self) -> None:
        """Give the connection back, if it is as good as new."""
        self._settled = True
        if self._body.cut or not _reusable(self._slot):
            self._slot.close()
        else:
            self._stack.give(self._slot)

    def _gathering(self) -> Steps[WireResponse]:
        parts = []
        while part := (yield from self._receiving()):
            parts.append(part)
        return WireResponse(self.status, self.raw_headers, b"".join(parts), self._body.cut)

    def _draining(self) -> Steps[None]:
        while (yield from self._receiving()):
            pass

    def _receiving(self, closing_ends: bool = False) -> Steps[bytes]:
        """The next part of the body, decoded; empty at its end, as which a connection closed too early may count."""
        body = self._body
        while not self._ended:
            try:
                data, ended = yield from self._arriving()
            except _LOST as error:
                if not (closing_ends and self._closed):
                    body.broke(error)
                data, ended = b"", True
            part = body.decoded(data) if data else b""
            if ended and not body.cut:
                body.ended()
            self._ended = ended or body.cut
            if part:
                return part
        return b""

    def _arriving(self) -> Steps[tuple[bytes, bool]]:
        """What is here of the body, raw, or if nothing is, what comes next; and whether that is its end."""
        if self._loaded is not None:
            return self._loaded, True
        parser = self._connection._h11_state
        parts: list[bytes] = []
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                if parts:
                    break  # the parser raises it again
                raise
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


class SyncExchange(_Exchange):
    """A `WireStream`."""

    def read(self) -> bytes:
        """As `WireStream.read`."""
        return b"" if self._ended else self._run(self._receiving(closing_ends=True))

    def whole(self) -> WireResponse:
        """As `WireStream.whole`."""
        return self._run(self._gathering())

    def finish(self) -> None:
        """As `WireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                self._run(self._draining())

    def _run(self, steps: Steps[T]) -> T:
        with Guard(self._slot):
            result = run(self._line, self._line.sock, steps)
            if self._ended and not self._settled:
                cast(httpx.SyncByteStream, self._response.stream).close()
                self._settle()
            return result


class AsyncExchange(_Exchange):
    """An `AsyncWireStream`."""

    def __init__(self, slot: Slot[Any], *args: Any) -> None:
        super().__init__(slot, *args)
        self._watch = Watch(slot.line)

    async def read(self) -> bytes:
        """As `AsyncWireStream.read`."""
        return b"" if self._ended else await self._run(self._receiving(closing_ends=True))

    async def whole(self) -> WireResponse:
        """As `AsyncWireStream.whole`."""
        return await self._run(self._gathering())

    async def finish(self) -> None:
        """As `AsyncWireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                await self._run(self._draining())

    def close(self) -> None:
        """As `WireStream.close`."""
        self._watch.stop()
        super().close()

    async def _run(self, steps: Steps[T]) -> T:
        with Guard(self._slot):
            with self._watch:
                result = await run_async(self._line, self._line.sock, steps)
            if self._line.expired:
                raise self._line.timed_out()
            if self._ended and not self._settled:
                self._watch.stop()
                await cast(httpx.AsyncByteStream, self._response.stream).aclose()
                self._settle()
            return result


def connection_of(slot: Slot[Any]) -> Any:
    """The HTTP library's connection that has the HTTP parser, if there is one: behind a proxy it is inside another."""
    connections = slot.client._pool.connections if slot.line.open else ()
    connection: Any = connections[0] if connections else None
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = getattr(connection, "_connection", None)
    return connection


def _reusable(slot: Slot[Any]) -> bool:
    """Whether the connection is open, and nothing was received past the answer's end.

    Left-over bytes would be read as the answer to the next request, which may be someone else's.
    """
    connection = connection_of(slot)
    return connection is not None and connection._h11_state.trailing_data == (b"", False)
