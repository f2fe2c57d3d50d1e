"""What a provider gives back for a streamed call: a `ChunkStream`, pulled chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future

from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import awaitable, start_in_thread
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.response import LLMResponse, StreamChunk, ToolCallDelta


def ensure_response(response: object) -> LLMResponse:
    """Return `response` if it is an `LLMResponse`.

    Raises:
        InvalidResponseError: the provider returned something else.
    """
    if not isinstance(response, LLMResponse):
        raise InvalidResponseError(f"the provider gave back {type(response).__name__}, not an answer", final=True)
    return response


class ChunkStream(ABC):
    """One streamed answer, pulled chunk by chunk by one caller at a time."""

    def buffered(self) -> StreamChunk | None:
        """Return the next chunk if it has already arrived; None means unknown, so call `pull`.

        Called before each `pull_async`, which takes longer.

        Raises:
            LLMRouterError: as `pull`.
        """
        return None

    @abstractmethod
    def pull(self, timeout: float) -> StreamChunk | None:
        """Return the next chunk, or None after the last one of a whole answer.

        Args:
            timeout: Seconds of wall-clock time it may take.

        Raises:
            LLMRouterError: what broke. An answer that ends early is an `InvalidResponseError`, never None.
        """

    _pulling: Future[StreamChunk | None] | None = None
    """The `pull` that runs in a thread for `pull_async`."""

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`, for asyncio. Unless overridden, runs `pull` in a thread."""
        self._pulling = start_in_thread(self.pull, timeout)
        return await awaitable(self._pulling)

    def close(self) -> None:
        """Release the connection, whether the answer is whole or not. Called once, after the last `pull`."""
        return

    async def aclose(self) -> None:
        """As `close`, for a stream that was opened with `stream_async`.

        Unless overridden, calls `close`; after a cancelled `pull_async`, once its thread has left `pull`.
        """
        if self._pulling is None or self._pulling.done():
            self.close()
        else:
            self._pulling.add_done_callback(lambda _: close_quietly(self))


class SingleChunkStream(ChunkStream):
    """A whole answer as a stream of one chunk: for providers that cannot stream."""

    def __init__(self, response: LLMResponse) -> None:
        self._response: LLMResponse | None = ensure_response(response)

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - nothing to wait for
        """Return the answer, then None."""
        response, self._response = self._response, None
        if response is None:
            return None
        return StreamChunk(
            text=response.text,
            reasoning=response.reasoning or "",
            tool_calls=tuple(
                ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
                for index, call in enumerate(response.tool_calls)
            ),
            finish_reason=response.finish_reason or "stop",
            usage=response.usage,
            cost_usd=response.cost_usd,
            model=response.model,
            request_bytes=response.request_bytes,
            raw=response.raw,
        )

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`."""
        return self.pull(timeout)


def close_quietly(stream: ChunkStream) -> None:
    """Close `stream`. An error of that is logged: the answer, or what broke it, is already known."""
    try:
        stream.close()
    except Exception as error:  # noqa: BLE001 - see above
        note_unclosed(error)


def note_unclosed(error: Exception) -> None:
    """Log that closing a stream raised `error`; without its text, which may hold a key."""
    logger.warning("closing a stream raised %s", type(error).__name__)
