"""One exchange over HTTP: reads the response body, translates failures, gives the connection back.

How this works:

A transport takes a `PooledClient` from its `IdlePool`, or opens one, and makes an exchange with it. The exchange then
owns the connection until it gives it back to the pool or closes it, exactly once.

Subclasses hold what depends on the HTTP library (`httpx_transport`, `httptools_transport`): `_next_raw_part` returns
what has arrived of the body, and `_is_reusable` tells whether the connection can serve another request. The rest is
here:

- `_next_part` decodes the parts and finds the end. `read_all` and `_drain` loop over it. All three are generators that
  yield I/O steps (`connection.IOSteps`), so that sync and async share them.
- `SyncExchange.run` and `AsyncExchange.run` perform these steps. At the end of the body they release the HTTP library's
  response, then give the connection back.
- Both run inside an `ErrorTranslator`: any error, cancellation or interruption closes the connection, and errors of the
  system or of an HTTP library become this library's errors.
- Under asyncio the connection has a timer, which shuts the socket down when the deadline passes. The wait then ends as
  if the server had closed the connection. So the exchange checks `Connection.expired` before it trusts what it read. In
  sync code each system call has its own timeout.

A connection is reused only if no byte of this response can be left: it would be read as the start of the next response,
which may belong to somebody else. In doubt it is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, TypeAlias, TypeVar

from pydantic_core import from_json

from lee_llm_router.errors import LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport.api import RawHeaders, WireResponse
from lee_llm_router.providers.http.transport.async_connection import AsyncConnection, run_async
from lee_llm_router.providers.http.transport.body_decoder import BodyDecoder
from lee_llm_router.providers.http.transport.connection import Connection, IOSteps, Pause, run
from lee_llm_router.providers.http.transport.idle_pool import IdlePool, PooledClient

T = TypeVar("T")

_GRACE = 0.05
"""Seconds that `finish` waits for the end of the body after the answer's own end mark. A new connection costs more."""

Translation: TypeAlias = tuple[tuple[type[Exception], ...], Callable[[BaseException, Connection], LLMRouterError]]
_TRANSLATIONS: tuple[Translation, ...] = (
    ((TimeoutError,), lambda _, connection: connection.timeout_error()),
    ((OSError,), lambda error, connection: connection.broken_error("connection lost", error)),
)


class ErrorTranslator:
    """A context in which any error closes the connection and becomes this library's error.

    Cancellations, interruptions and bugs close the connection too, but are raised unchanged.
    """

    __slots__ = ("_connection",)

    TRANSLATIONS: ClassVar[tuple[Translation, ...]] = _TRANSLATIONS
    """Error types, the most specific first, each with a function that makes the error to raise instead."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            return
        connection = self._connection
        connection.close()
        cause, connection.cause = connection.cause, None
        if connection.expired and isinstance(error, Exception):
            raise connection.timeout_error() from error
        for types, translate in self.TRANSLATIONS:
            if isinstance(error, types):
                raise translate(error, connection) from error
        if isinstance(error, LLMRouterError) and error.__cause__ is None:
            error.__cause__ = cause


class Exchange:
    """What sync and async exchanges over any HTTP library share.

    Args:
        pooled: The client with its connection.
        pool: Takes the client back if it can be reused.
    """

    error_translator: ClassVar[type[ErrorTranslator]] = ErrorTranslator

    status: int
    raw_headers: RawHeaders
    _body: BodyDecoder

    def __init__(self, pooled: PooledClient[Any], pool: IdlePool[Any]) -> None:
        self._pooled = pooled
        self._connection = pooled.connection
        self._pool = pool
        self._closed_by_server = False
        self._ambiguous_framing = False
        """Whether the response announces its end in two ways, so that a proxy may have read it differently (RFC 9112,
        6.3)."""
        self._has_all = False
        """Whether the whole body was received, decoded or not."""
        self._ended = False
        """Whether the body was read to its end, or no more of it is wanted."""
        self._handed_over = False
        """Whether the connection was given back or closed."""

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        if not self._ended:
            self._connection.extend(timeout)

    def close(self) -> None:
        """As `WireStream.close`."""
        if not self._handed_over:
            self._handed_over = self._ended = True
            self._pooled.close()

    def read_all(self) -> IOSteps[WireResponse]:
        """Return the response with the rest of its body.

        A complete JSON object is accepted whatever else is wrong: asking again would mean paying again.
        """
        parts: list[bytes] = []
        try:
            while part := (yield from self._next_part()):
                parts.append(part)
        except ProviderError:
            if not _is_json_object(b"".join(parts)):
                raise
            self.close()
        return WireResponse(self.status, self.raw_headers, b"".join(parts), self._body.cut)

    def _drain(self) -> IOSteps[None]:
        """Read and discard the rest of the body."""
        while (yield from self._next_part()):
            pass

    def _next_part(self, closing_ends: bool = False) -> IOSteps[bytes]:
        """Return the next decoded part of the body; empty at the end.

        With `closing_ends`, a closed connection counts as the end.
        """
        body = self._body
        while not self._ended:
            if body.has_more:
                yield Pause()
                part = body.decode(b"")
            else:
                try:
                    data, self._has_all = yield from self._next_raw_part()
                except ProviderError as error:
                    if not (closing_ends and self._closed_by_server):
                        body.fail(error)
                    data, self._has_all = b"", True
                part = body.decode(data) if data else b""
            if body.cut:
                self._ended = True
            elif self._has_all and not body.has_more:
                body.finish()
                self._ended = True
            if part:
                return part
        return b""

    def _next_raw_part(self) -> IOSteps[tuple[bytes, bool]]:
        """Return the received bytes of the body, or else the next ones, and whether they are the last.

        Raises:
            ProviderError: the end will never arrive.
        """
        raise NotImplementedError

    def _is_reusable(self) -> bool:
        """Whether the connection is open in both directions, and nothing was received past the response's end.

        Leftover bytes would be read as the response to the next request, which may be somebody else's.
        """
        raise NotImplementedError

    def _give_back(self) -> None:
        """Give the connection back to the pool if it can be reused, otherwise close it."""
        self._handed_over = True
        if self._body.cut or not self._is_reusable():
            self._pooled.close()
        else:
            self._pool.give(self._pooled)


def _is_json_object(body: bytes) -> bool:
    """Whether `body` is one JSON object, from its first brace to its last."""
    body = body.strip()
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return False
    try:
        from_json(body)
    except ValueError:
        return False
    return True


class SyncExchange(Exchange):
    """A `WireStream`."""

    def read(self) -> bytes:
        """As `WireStream.read`."""
        return b"" if self._ended else self.run(self._next_part(closing_ends=True))

    def whole(self) -> WireResponse:
        """As `WireStream.whole`."""
        return self.run(self.read_all())

    def finish(self) -> None:
        """As `WireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                self.run(self._drain())

    def run(self, steps: IOSteps[T]) -> T:
        """Perform steps of this exchange. If they reach the end of the body, give the connection back."""
        with self.error_translator(self._connection):
            result = run(self._connection, self._connection.sock, steps)
            if self._ended and not self._handed_over:
                self._release()
                self._give_back()
            return result

    def _release(self) -> None:
        """Release the response in the HTTP library."""


class AsyncExchange(Exchange):
    """An `AsyncWireStream`."""

    _connection: AsyncConnection

    async def read(self) -> bytes:
        """As `AsyncWireStream.read`."""
        return b"" if self._ended else await self.run(self._next_part(closing_ends=True))

    async def whole(self) -> WireResponse:
        """As `AsyncWireStream.whole`."""
        return await self.run(self.read_all())

    async def finish(self) -> None:
        """As `AsyncWireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                await self.run(self._drain())

    async def run(self, steps: IOSteps[T]) -> T:
        """As `SyncExchange.run`."""
        connection = self._connection
        with self.error_translator(connection):
            connection.begin_waits()
            try:
                result = await run_async(connection, connection.sock, steps)
            finally:
                connection.end_waits()
            if connection.expired:
                raise connection.timeout_error()
            if self._ended and not self._handed_over:
                release = self._release()
                if release is not None:
                    await release
                self._give_back()
            return result

    def _release(self) -> Awaitable[None] | None:
        """As `SyncExchange._release`; None if there is nothing to wait for."""
        return None
