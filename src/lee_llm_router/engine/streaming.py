"""The streams that `LeeLLMRouter.stream` and `stream_async` return.

How this works
--------------
A stream is a handle on a generator (`engine/drivers.py`), which holds the permit and the connection. Closing the
generator gives them back and writes the record. Nothing in the generator refers to the handle, so a stream that is left
by `break`, or dropped in any other way, is closed when its last reference goes, like a generator:

- A synchronous generator closes itself when it is freed.
- An asynchronous one would wait for its event loop to close it. So the handle closes it, without the loop: the code
  between the stream's last chunk and its end awaits nothing (`StreamState.dropped`). A running iteration refers to the
  handle, so this never happens in the middle of one.
- A stream in someone else's reference cycle is closed by the garbage collector; see `_util/outside_collection.py`.
- A stream still open at the end of the program is closed by `atexit`, while modules, logging and stores still work.
"""

from __future__ import annotations

import atexit
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self
from weakref import WeakSet

from lee_llm_router.engine.drivers import StreamState
from lee_llm_router.response.types import LLMResponse, ParsedT_co, StreamChunk


class _OpenStreams:
    """The streams that have not been dropped, to be closed at the end of the program."""

    def __init__(self) -> None:
        self._streams: WeakSet[CompletionStream | AsyncCompletionStream] = WeakSet()
        self._registered = False
        # Register now in case another exit function opens the first stream: it is too late to register then.
        atexit.register(self._close_all)

    def add(self, stream: CompletionStream | AsyncCompletionStream) -> None:
        if not self._registered:
            # Register again with the first stream: exit functions run in reverse order, and the `close` of the router,
            # which the program may have registered by now, must come after this.
            self._registered = True
            atexit.register(self._close_all)
        self._streams.add(stream)

    def _close_all(self) -> None:
        streams: list[CompletionStream | AsyncCompletionStream] = []
        with suppress(RuntimeError):  # a daemon thread has just created another one
            streams.extend(self._streams)
        for stream in streams:
            with suppress(Exception):  # a daemon thread is reading it
                stream._close_now()


_open_streams = _OpenStreams()


class _HasResponse(Generic[ParsedT_co]):
    """Holds the complete answer once the stream has been read to its end."""

    _state: StreamState

    @property
    def response(self) -> LLMResponse[ParsedT_co]:
        """The complete answer.

        Raises:
            RuntimeError: the stream has not been read to its end.
        """
        if self._state.response is None:
            raise RuntimeError("the answer is complete only after the stream has been read to its end")
        return self._state.response

    @property
    def partial(self) -> Any:
        """The JSON so far, parsed and not yet checked: for streams with `json_mode` or `schema`.

        Strings, lists and objects hold the part that has arrived; None means that no value has begun. After a restart
        it is the JSON of the new answer. Each access parses the text again.
        """
        from lee_llm_router.engine.json_text import partial_json  # noqa: PLC0415 - most streams hold no JSON

        return partial_json("".join(self._state.texts))


class CompletionStream(_HasResponse[ParsedT_co]):
    """A streamed answer: an iterator over `StreamChunk`, and a context manager. Dropping it closes it.

    Iterating raises the same errors as `LeeLLMRouter.complete`. Only one thread at a time may read it.
    """

    def __init__(self, start: Callable[[StreamState], Generator[StreamChunk, None, None]]) -> None:
        self._state = StreamState()
        self._chunks = start(self._state)
        _open_streams.add(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamChunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stop reading and close the connection. An attempt that has not ended is traced as cancelled."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _close_now(self) -> None:
        self.close()


class AsyncCompletionStream(_HasResponse[ParsedT_co]):
    """The same as `CompletionStream`, for asyncio. Only one task at a time may read it."""

    def __init__(self, start: Callable[[StreamState], AsyncGenerator[StreamChunk, None]]) -> None:
        self._state = StreamState()
        self._chunks = start(self._state)
        _open_streams.add(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        # A coroutine, which refers to `self` until it ends: see above.
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stop reading and close the connection. An attempt that has not ended is traced as cancelled."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._close_now()

    def _close_now(self) -> None:
        """Close it without awaiting anything."""
        chunks: Any = getattr(self, "_chunks", None)
        if chunks is None or chunks.ag_frame is None or chunks.ag_running:
            return
        self._state.dropped = True
        with suppress(StopIteration):
            chunks.aclose().send(None)
