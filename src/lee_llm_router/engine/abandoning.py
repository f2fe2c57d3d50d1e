"""Abandons providers that exceed their timeouts, so that a call is bounded whatever they do.

A call in a thread cannot be stopped, and a cancelled task may go on. Such work is left behind: its result and its
errors are deliberately ignored, but a stream that it returns is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from lee_llm_router._util.outside_collection import is_collecting, outside_collection
from lee_llm_router._util.short_waits import outcome
from lee_llm_router._util.threads import call_in_thread_async, start_in_thread
from lee_llm_router.providers.streams import ChunkStream, close_quietly, note_unclosed
from lee_llm_router.response.types import StreamChunk

T = TypeVar("T")

_CLOSE_SECONDS = 1.0
"""The longest time that closing the stream of such a provider blocks the caller."""
_PULL_END_SECONDS = 0.1
"""The longest time that a cancelled pull blocks the caller. Most end at once."""


async def await_or_abandon(work: Awaitable[T], timeout: float, late: Callable[[T], object] | None = None) -> T:
    """Await `work` for `timeout` seconds, then abandon it, even if it ignores cancellation.

    Args:
        work: The awaitable.
        timeout: Seconds.
        late: Called with a result that arrives after the timeout.

    Raises:
        TimeoutError: it did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if task.cancelled() or not task.done():
            raise TimeoutError
    except BaseException:
        task.cancel()

        def hand_over(ended: asyncio.Future[T]) -> None:
            if not ended.cancelled() and ended.exception() is None and late is not None:
                late(ended.result())

        task.add_done_callback(hand_over)
        raise
    return task.result()


class AbandonableStream(ChunkStream):
    """A stream bounded from outside: a pull that hangs is left behind.

    `inner` is closed once no pull is running in it, since `ChunkStream.close` must come after the last pull.
    """

    def __init__(self, inner: ChunkStream) -> None:
        self._inner = inner
        self._pull: Future[StreamChunk | None] | asyncio.Future[StreamChunk | None] | None = None

    def pull(self, timeout: float) -> StreamChunk | None:
        """Same as `ChunkStream.pull`, but return after at most `timeout` seconds."""
        self._pull = future = start_in_thread(self._inner.pull, timeout)
        return outcome(future, timeout)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """See `pull`."""
        self._pull = task = asyncio.ensure_future(self._inner.pull_async(timeout))
        return await await_or_abandon(task, timeout)

    def whole_raw(self) -> Any:
        """Same as `ChunkStream.whole_raw`, for a stream that has ended."""
        try:
            return self._inner.whole_raw()
        except Exception:  # noqa: BLE001 - the answer is complete with or without it
            return None

    def close(self) -> None:
        """Close `inner` in a thread, now or when the abandoned pull has ended."""
        if self._pull is not None and not self._pull.done():
            self._pull.add_done_callback(lambda _: close_quietly(self._inner))
        else:
            self._close_in_thread()

    def _close_in_thread(self) -> None:
        try:
            closing = start_in_thread(self._inner.close)
        except BlockingIOError:  # better unbounded than not at all
            self._inner.close()
        else:
            closing.result(_CLOSE_SECONDS)

    async def aclose(self) -> None:
        """Same as `close`. Wait briefly for a cancelled pull: the event loop may end with this call."""
        pull = self._pull
        try:
            if isinstance(pull, asyncio.Future) and not pull.done():
                await asyncio.wait({pull}, timeout=_PULL_END_SECONDS)
        except BaseException:
            self._close_after_pull()
            raise
        if pull is None or pull.done():
            inner = self._inner
            closing = call_in_thread_async(inner.close) if _closes_inline(inner) else inner.aclose()
            await await_or_abandon(closing, _CLOSE_SECONDS)
        else:
            self._close_after_pull()

    def _close_after_pull(self) -> None:
        if self._pull is not None:
            self._pull.add_done_callback(lambda _: close_later(self._inner))

    def close_unawaited(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close `inner` without waiting, like the function `close_unawaited`, but in a thread, since it may hang."""
        if self._pull is not None and not self._pull.done():
            _call_on(loop, self._pull.add_done_callback, lambda _: close_later(self._inner))
        elif _must_be_awaited(self._inner):
            _call_on(loop, close_later, self._inner)
        else:
            try:
                start_in_thread(close_quietly, self._inner)
            except BlockingIOError:  # e.g. at the end of the program, when Python 3.12 starts no threads
                close_quietly(self._inner)


async def aclose_or_drop(stream: ChunkStream, loop: asyncio.AbstractEventLoop, *, dropped: bool) -> None:
    """Close a `stream` that was opened on `loop`; do not await anything if its reader was dropped.

    The same applies if nothing can be awaited: during garbage collection, or after the end of the loop.
    """
    if dropped or is_collecting() or not loop.is_running():
        outside_collection(close_unawaited, stream, loop)
    else:
        await aclose_quietly(stream)


def close_unawaited(stream: ChunkStream, loop: asyncio.AbstractEventLoop) -> None:
    """Close a `stream` that was opened on `loop`, at once and without awaiting anything.

    Only a stream that implements just `aclose` is closed in a task of `loop`.
    """
    if isinstance(stream, AbandonableStream):
        stream.close_unawaited(loop)
    elif _must_be_awaited(stream):
        _call_on(loop, close_later, stream)
    elif stream._pulling is not None and not stream._pulling.done():
        stream._pulling.add_done_callback(lambda _: close_quietly(stream))
    else:
        close_quietly(stream)


def _closes_inline(stream: ChunkStream) -> bool:
    """Whether its `aclose` calls `close` directly: on the event loop, which must not be blocked."""
    is_idle = stream._pulling is None or stream._pulling.done()
    return type(stream).aclose is ChunkStream.aclose and is_idle


def _must_be_awaited(stream: ChunkStream) -> bool:
    kind = type(stream)
    return kind.close is ChunkStream.close and kind.aclose is not ChunkStream.aclose


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    with suppress(RuntimeError):  # the loop is closed, and with it everything that only it could close
        loop.call_soon_threadsafe(function, *args)


async def aclose_quietly(stream: ChunkStream) -> None:
    """Same as `close_quietly`, for a stream that was opened with `stream_async`."""
    try:
        await stream.aclose()
    except Exception as error:  # noqa: BLE001 - as in `close_quietly`
        note_unclosed(error)


def close_later(stream: ChunkStream) -> None:
    """Close `stream` in a task of the running event loop, without waiting for it."""
    task = asyncio.ensure_future(aclose_quietly(stream))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
"""Held here because the event loop holds tasks only weakly."""
