"""One request to a model in this process, run in its own thread, and its answer as a stream of bytes.

How this works. llama.cpp passes each event of an answer to a callback, in the thread of the call. The callback puts it
into a queue and says whether to continue. The caller takes the events from there as a `WireStream`, in the form that
llama.cpp's server would send over HTTP, so that the dialect of chat completions reads them unchanged.

An error in the callback must not reach C++, which would continue without the event: the error ends the call, and is
raised after it. Events that only report prompt progress are dropped. They still invoke the callback, so that a call can
be stopped before its first token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeAlias

from lee_llm_router._util.short_waits import LONGEST
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.errors import InvalidRequestError, LLMRouterError, LLMTimeoutError, ProviderError
from lee_llm_router.providers.http.transport.api import RawHeaders, WireResponse
from lee_llm_router.providers.llama_cpp.native import NativeServer
from lee_llm_router.providers.llama_cpp.shared_model import SharedModel, Stop, StoppedError

_PROGRESS = b'"prompt_progress":{'
"""Found in events about the prompt only. Within text its quotation marks would be escaped."""
_END_MARK = b"data: [DONE]\n\n"
_ERROR = b'{"error":'

_Item: TypeAlias = "bytes | LLMRouterError | None"
"""An event, the error that ended the call, or its end."""


class ModelCall:
    """A request in progress. It begins with `start`, and ends at its last event or soon after `stop`.

    Args:
        model: The model to ask.
        body: The request, as JSON.
    """

    def __init__(self, model: SharedModel, body: bytes) -> None:
        self.items: SimpleQueue[_Item] = SimpleQueue()
        self.wake: Callable[[], None] | None = None
        """Called in any thread after an item was put into `items`."""
        self._model = model
        self._body = body
        self._stop = Stop()
        self._has_begun = False
        self._broken: LLMRouterError | None = None

    def start(self) -> None:
        """Begin.

        Raises:
            BlockingIOError: no thread can start.
        """
        start_in_thread(self._run)

    def stop(self) -> None:
        """Make it end soon. Takes no lock and does not wait."""
        self._stop.is_set = True

    def late(self) -> LLMTimeoutError:
        """Return the error for a call that has run out of time, and stop it."""
        self.stop()
        if self._model.is_loaded:
            return LLMTimeoutError("the model in this process did not answer in time")
        return LLMTimeoutError("the model is still loading, and continues to load for the next attempt", sent=False)

    def _run(self) -> None:
        try:
            self._model.use(self._ask, self._stop)
        except StoppedError:
            self._put(ProviderError("the model was closed before it was asked", sent=False))
        except LLMRouterError as error:
            self._put(error)
        except Exception as error:  # noqa: BLE001 - what llama.cpp raises has no types of its own
            error.__traceback__ = None  # its frames hold the native server, which must be freed on close
            self._put(_native_error(error, has_begun=self._has_begun))
        else:
            self._put(self._broken)

    def _ask(self, server: NativeServer) -> None:
        server.handle_chat_completions(self._body, self._take)

    def _take(self, event: bytes) -> bool:
        """Take an event; return whether it should be the last one."""
        try:
            if _PROGRESS not in event:
                self._put(event)
            elif not self._has_begun:
                self._put(b"")
            self._has_begun = True
        except BaseException as error:  # noqa: BLE001 - see above
            self._broken = ProviderError(f"an event of the answer was lost: {type(error).__name__}")
            return True
        if self._stop.is_set:  # by the caller, who has left; or by a close
            self._broken = ProviderError("the model was closed while it answered")
        return self._stop.is_set

    def _put(self, item: _Item) -> None:
        self.items.put(item)
        wake = self.wake
        if wake is not None:
            wake()


class EmbeddingCall(ModelCall):
    """A request for embeddings. Its answer is one event, and it cannot be stopped while it is computed."""

    def _ask(self, server: NativeServer) -> None:
        self._put(server.handle_embeddings(self._body.decode()).encode())


def _native_error(error: Exception, *, has_begun: bool) -> LLMRouterError:
    """Return llama.cpp's exception as a typed error. Before its first event it only reads the request."""
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return ProviderError("memory is short for this call", local_shortage=True)
    if not has_begun and isinstance(error, (RuntimeError, ValueError)):  # the types of C++ exceptions
        return InvalidRequestError(f"llama.cpp refuses the request: {text}", status_code=400)
    return ProviderError(f"llama.cpp failed: {text}")


class _Answer:
    """What both forms of an answer share: how to read an item. The first event determines its status."""

    raw_headers: RawHeaders = ()

    def __init__(self, call: ModelCall) -> None:
        self.status = 200
        self.refusal: bytes | None = None
        """The error that came instead of an answer, as JSON."""
        self.first = b""
        """The first event of the answer; for embeddings the whole answer."""
        self._call = call
        self._deadline = 0.0
        self._has_ended = False
        self._waiting: list[bytes] = []
        """Parts of the body read while the answer was opened."""

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        self._deadline = monotonic() + timeout

    def close(self) -> None:
        """As `WireStream.close`. Takes no lock."""
        self._call.stop()

    def __del__(self) -> None:
        self._call.stop()

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise self._call.late()
        return left

    def _part(self, item: _Item) -> bytes | None:
        """Return the part of the body in `item`; empty after the last one, None if it has none."""
        if isinstance(item, LLMRouterError):
            self._has_ended = True
            raise item
        if item is None:
            self._has_ended = True
            return _END_MARK
        return b"data: " + item + b"\n\n" if item else None

    def _note_opened(self, item: _Item) -> None:
        if isinstance(item, bytes) and item.startswith(_ERROR):
            self.status, self.refusal = 500, item
            return
        self.first = item if isinstance(item, bytes) else b""
        part = self._part(item)
        if part is not None:
            self._waiting.append(part)


class Answer(_Answer):
    """The answer to a `ModelCall`, for a synchronous caller: a `WireStream`."""

    def open(self) -> None:
        """Wait for the first sign of an answer. It raises as `read` does."""
        self._note_opened(self._next())

    def read(self) -> bytes:
        """As `WireStream.read`."""
        if self._waiting:
            return self._waiting.pop()
        while not self._has_ended:
            part = self._part(self._next())
            if part is not None:
                return part
        return b""

    def whole(self) -> WireResponse:
        """As `WireStream.whole`."""
        return WireResponse(self.status, (), b"".join(iter(self.read, b"")))

    def finish(self) -> None:
        """As `WireStream.finish`."""
        self.close()

    def _next(self) -> _Item:
        while True:  # `_left` raises when the time is up
            with suppress(Empty):
                return self._call.items.get(timeout=min(self._left(), LONGEST))


class AsyncAnswer(_Answer):
    """As `Answer`, for the event loop that opened it."""

    def __init__(self, call: ModelCall) -> None:
        super().__init__(call)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        call.wake = self._wake

    async def open(self) -> None:
        """As `Answer.open`."""
        self._note_opened(await self._next())

    async def read(self) -> bytes:
        """As `AsyncWireStream.read`."""
        if self._waiting:
            return self._waiting.pop()
        while not self._has_ended:
            part = self._part(await self._next())
            if part is not None:
                return part
        return b""

    async def whole(self) -> WireResponse:
        """As `AsyncWireStream.whole`."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return WireResponse(self.status, (), b"".join(parts))

    async def finish(self) -> None:
        """As `AsyncWireStream.finish`."""
        self.close()

    async def _next(self) -> _Item:
        items = self._call.items
        while True:
            with suppress(Empty):
                return items.get_nowait()
            self._waiter = self._loop.create_future()
            try:
                if items.empty():  # items that came before the waiter was set have not woken it
                    async with asyncio.timeout(self._left()):
                        await self._waiter
            except TimeoutError:
                raise self._call.late() from None
            finally:
                self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
