"""One exchange over HTTP: its answer's body as it comes in, its failures translated, its connection given back.

Whoever understands HTTP (`httpx_transport`, `httptools_transport`) says what has arrived, by one generator for sync
and async; what becomes of it stands here, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, TypeAlias, TypeVar
from weakref import ref

from lee_llm_router.errors import LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport.api import Body, RawHeaders, WireResponse
from lee_llm_router.providers.http.transport.connection import Line, Steps, run, run_async
from lee_llm_router.providers.http.transport.idle_pool import Slot, SlotStack

T = TypeVar("T")

_GRACE = 0.05
"""Seconds the end of a body may take to arrive after an answer's own end mark. A new connection costs more."""

Translation: TypeAlias = tuple[tuple[type[Exception], ...], Callable[[BaseException, Line], LLMRouterError]]
_TRANSLATIONS: tuple[Translation, ...] = (
    ((TimeoutError,), lambda _, line: line.timed_out()),
    ((OSError,), lambda error, line: ProviderError(f"connection lost: {error}", sent=line.sent)),
)


class Guard:
    """Within it, whatever goes wrong drops the connection, and comes out as this library's error.

    Cancellations, interruptions and bugs come out as they are.
    """

    __slots__ = ("_line",)

    TRANSLATIONS: ClassVar[tuple[Translation, ...]] = _TRANSLATIONS
    """What is raised below, the most specific first, and what is raised in its place."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            return
        line = self._line
        line.close()
        if line.expired and isinstance(error, Exception):
            raise line.timed_out() from error
        for types, translate in self.TRANSLATIONS:
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


class Exchange:
    """What is the same for sync and async, whoever understands HTTP.

    Args:
        slot: The connection.
        stack: Where it goes if it is as good as new afterwards.
    """

    guard: ClassVar[type[Guard]] = Guard

    status: int
    raw_headers: RawHeaders
    _body: Body

    def __init__(self, slot: Slot[Any], stack: SlotStack[Any]) -> None:
        self._slot = slot
        self._line = slot.line
        self._stack = stack
        self._closed = False
        """Whether the other side has hung up."""
        self._doubtful = False
        """Whether the answer's end was given in two ways, so that others may have read it otherwise (RFC 9112, 6.3)."""
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

    def _arriving(self) -> Steps[tuple[bytes, bool]]:
        """What is here of the body, raw, or if nothing is, what comes next; and whether that is its end.

        A `ProviderError` is raised in place of an end that will not come.
        """
        raise NotImplementedError

    def _is_reusable(self) -> bool:
        """Whether the connection is open both ways, and nothing was received past the answer's end.

        Left-over bytes would be read as the answer to the next request, which may be someone else's.
        """
        raise NotImplementedError

    def _settle(self) -> None:
        """Give the connection back, if it is as good as new."""
        self._settled = True
        if self._body.cut or not self._is_reusable():
            self._slot.close()
        else:
            self._stack.give(self._slot)

    def gathering(self) -> Steps[WireResponse]:
        """The whole answer."""
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
            except ProviderError as error:
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


class SyncExchange(Exchange):
    """A `WireStream`."""

    def read(self) -> bytes:
        """As `WireStream.read`."""
        return b"" if self._ended else self.run(self._receiving(closing_ends=True))

    def whole(self) -> WireResponse:
        """As `WireStream.whole`."""
        return self.run(self.gathering())

    def finish(self) -> None:
        """As `WireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                self.run(self._draining())

    def run(self, steps: Steps[T]) -> T:
        """Go through some steps of the exchange; after the last one the connection is given back."""
        with self.guard(self._line):
            result = run(self._line, self._line.sock, steps)
            if self._ended and not self._settled:
                self._release()
                self._settle()
            return result

    def _release(self) -> None:
        """Tell a library below that the answer has come to its end."""


class AsyncExchange(Exchange):
    """An `AsyncWireStream`."""

    def __init__(self, slot: Slot[Any], stack: SlotStack[Any]) -> None:
        super().__init__(slot, stack)
        self._watch = Watch(slot.line)

    async def read(self) -> bytes:
        """As `AsyncWireStream.read`."""
        return b"" if self._ended else await self.run(self._receiving(closing_ends=True))

    async def whole(self) -> WireResponse:
        """As `AsyncWireStream.whole`."""
        return await self.run(self.gathering())

    async def finish(self) -> None:
        """As `AsyncWireStream.finish`."""
        if not self._ended:
            with suppress(LLMRouterError):
                self.allow(_GRACE)
                await self.run(self._draining())

    def close(self) -> None:
        """As `WireStream.close`."""
        self._watch.stop()
        super().close()

    async def run(self, steps: Steps[T]) -> T:
        """As `SyncExchange.run`."""
        with self.guard(self._line):
            try:
                with self._watch:
                    result = await run_async(self._line, self._line.sock, steps)
                if self._line.expired:
                    raise self._line.timed_out()
                if self._ended and not self._settled:
                    release = self._release()
                    if release is not None:
                        await release
                    self._settle()
            except BaseException:
                self._watch.stop()
                raise
            if self._ended:
                self._watch.stop()
            return result

    def _release(self) -> Awaitable[None] | None:
        """As `SyncExchange._release`; None if there is nothing to wait for."""
        return None
