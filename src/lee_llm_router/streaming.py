"""The streams that `LeeLLMRouter.stream` and `stream_async` return."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Generic, Self, TypeAlias

from lee_llm_router.response import LLMResponse, ParsedT_co, StreamChunk

Finished: TypeAlias = Callable[[LLMResponse], None]
"""Called with the complete answer when the stream has ended."""


class _HasResponse(Generic[ParsedT_co]):
    """Holds the complete answer once the stream has been read to its end."""

    _response: LLMResponse[ParsedT_co] | None = None

    @property
    def response(self) -> LLMResponse[ParsedT_co]:
        """The complete answer.

        Raises:
            RuntimeError: the stream has not been read to its end.
        """
        if self._response is None:
            raise RuntimeError("the answer is complete only after the stream has been read to its end")
        return self._response

    def _finished(self, response: LLMResponse) -> None:
        self._response = response


class CompletionStream(_HasResponse[ParsedT_co]):
    """A streamed answer: an iterator over `StreamChunk`, and a context manager.

    Iterating raises the same errors as `LeeLLMRouter.complete`. Only one thread at a time may read it.
    """

    def __init__(self, start: Callable[[Finished], Generator[StreamChunk, None, None]]) -> None:
        self._chunks = start(self._finished)

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


class AsyncCompletionStream(_HasResponse[ParsedT_co]):
    """The same as `CompletionStream`, for asyncio. Only one task at a time may read it."""

    def __init__(self, start: Callable[[Finished], AsyncGenerator[StreamChunk, None]]) -> None:
        self._chunks = start(self._finished)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[StreamChunk]:
        return self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stop reading and close the connection. An attempt that has not ended is traced as cancelled."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
