"""One exchange over HTTP: read the answer's body, translate failures, give the connection back.

How this works:

A transport takes a `PooledClient` out of its `IdlePool`, or opens one, and makes an exchange with it. The exchange then
owns the connection until it gives it back to the pool or closes it, and each happens exactly once.

What depends on the HTTP library is in subclasses (`httpx_transport`, `httptools_transport`): `_next_raw_part` says what
has arrived of the body, and `_is_reusable` whether the connection can serve another request. The rest is here:

- `_next_part` decodes the parts and finds the end. `read_all` and `_drain` are loops over it. All of them are
  generators that yield I/O steps (`connection.IOSteps`), so that sync and async share them.
- `SyncExchange.run` and `AsyncExchange.run` perform such steps. When the body has ended they release the HTTP library's
  response, then give the connection back.
- Both do so within an `ErrorTranslator`: any error, cancellation or interruption closes the connection, and errors of
  the system or of an HTTP library become this library's.
- Under asyncio the connection has a timer, which shuts the socket down when the deadline passes. The wait then ends as
  if the server had closed the connection, so `Connection.expired` is checked after it, before anything that was read is
  believed. In sync code each system call has its own timeout.

A connection is reused only if no byte can be left of this answer: it would be read as the beginning of the next one,
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
"""Seconds `finish` waits for the end of the body after the answer's own end mark. A new connection costs more."""

Translation: TypeAlias = tuple[tuple[type[Exception], ...], Callable[[BaseException, Connection], LLMRouterError]]
_TRANSLATIONS: tuple[Translation, ...] = (
    ((TimeoutError,), lambda _, connection: connection.timeout_error()),
    ((OSError,), lambda error, connection: connection.broken_error("connection lost", error)),
)


class ErrorTranslator:
    """A context in which any error closes the connection and is raised as this library's.

    Cancellations, interruptions and bugs close the connection too, and are raised as they are.
    """

    __slots__ = ("_connection",)

    TRANSLATIONS: ClassVar[tuple[Translation, ...]] = _TRANSLATIONS
    """Types of errors, the most specific first, and what makes the error that is raised in their place."""

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
    """What sync and async exchanges share, with any HTTP library.

    Args:
        pooled: The client with its connection.
        pool: Where it goes afterwards, if it can be reused.
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
        """Whether the answer gave its end in two ways, so that a proxy may have read it otherwise (RFC 9112, 6.3)."""
        self._has_all = False
        """Whether all of the body was received, decoded or not."""
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
        """Return the answer with all that is left of its body.

        One JSON object is whole whatever else is wrong: to ask again would be to pay again for what is here.
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
        """Read the rest of the body and throw it away."""
        while (yield from self._next_part()):
            pass

    def _next_part(self, closing_ends: bool = False) -> IOSteps[bytes]:
        """Return the next part of the body, decoded; empty at the end.

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
        """Return what has been received of the body, or else what comes next; and whether that is its end.

        Raises:
            ProviderError: the end will not come.
        """
        raise NotImplementedError

    def _is_reusable(self) -> bool:
        """Whether the connection is open both ways, and nothing was received past the answer's end.

        Bytes left over would be read as the answer to the next request, which may be somebody else's.
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
        """Perform steps of this exchange. If the body has ended with them, give the connection back."""
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
