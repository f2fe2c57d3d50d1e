"""What `LeeLLMRouter.stream` and `stream_async` give back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Self, TypeAlias

from lee_llm_router.response import LLMResponse, StreamChunk

Finished: TypeAlias = Callable[[LLMResponse], None]


class _Outcome:
    """Holds the whole answer once the stream has ended."""

    _response: LLMResponse | None = None

    @property
    def response(self) -> LLMResponse:
        """The whole answer.

        Raises:
            RuntimeError: the stream has not been read to its end.
        """
        if self._response is None:
            raise RuntimeError("the answer is whole only once the stream has been read to its end")
        return self._response

    def _finished(self, response: LLMResponse) -> None:
        self._response = response


class CompletionStream(_Outcome):
    """A streamed answer: an iterator over `StreamChunk`, and a context manager.

    Iterating raises what `LeeLLMRouter.complete` raises. One thread reads it at a time.
    """

    def __init__(self, start: Callable[[Finished], Generator[StreamChunk, None, None]]) -> None:
        self._chunks = start(self._finished)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamChunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stop reading: the connection is closed, and an attempt under way is traced as cancelled."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncCompletionStream(_Outcome):
    """As `CompletionStream`, for asyncio. One task reads it at a time."""

    def __init__(self, start: Callable[[Finished], AsyncGenerator[StreamChunk, None]]) -> None:
        self._chunks = start(self._finished)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[StreamChunk]:
        return self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stop reading: the connection is closed, and an attempt under way is traced as cancelled."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
