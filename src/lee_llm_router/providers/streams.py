"""What a provider returns for a streamed call: a `ChunkStream`, pulled chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import fields, replace
from typing import Any

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import awaitable, start_in_thread
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.response.details import NO_DETAILS
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, StreamChunk, ToolCall, ToolCallDelta


def ensure_response(response: object) -> LLMResponse:
    """Return `response` if it is an `LLMResponse`.

    Raises:
        InvalidResponseError: the provider returned something else.
    """
    if not isinstance(response, LLMResponse):
        raise InvalidResponseError(f"the provider returned {type(response).__name__}, not an answer", final=True)
    return response


def chunk_of(response: LLMResponse) -> StreamChunk:
    """Return a whole answer as one chunk."""
    return StreamChunk(
        text=response.text,
        reasoning=response.reasoning or "",
        tool_calls=tuple(
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(response.tool_calls)
        ),
        finish_reason=response.finish_reason or "stop",
        usage=response.usage or None,
        cost_usd=response.cost_usd,
        model=response.model,
        request_bytes=response.request_bytes,
        raw=response.raw,
        details=None if response.details is NO_DETAILS else response.details,
    )


class AnswerParts:
    """The parts of one streamed answer so far, merged."""

    __slots__ = (
        "_cost_usd",
        "_details",
        "_reasoning",
        "_request_bytes",
        "_tools",
        "_usage",
        "finish_reason",
        "model",
        "texts",
    )

    def __init__(self) -> None:
        self.texts: list[str] = []
        """The pieces of its text."""
        self.finish_reason: str | None = None
        self._reasoning: list[str] = []
        self._tools: dict[int, list[str]] = {}
        self._usage: LLMUsage | None = None
        self._cost_usd: float | None = None
        self.model: str | None = None
        self._request_bytes: int | None = None
        self._details = NO_DETAILS

    def add(self, chunk: StreamChunk) -> None:
        """Take the next chunk. A field that it leaves unset keeps its earlier value."""
        if chunk.text:
            self.texts.append(chunk.text)
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        for delta in chunk.tool_calls:
            self._add_tool(delta)
        if chunk.finish_reason:
            self.finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage if self._usage is None else _filled_in(self._usage, chunk.usage)
        if chunk.cost_usd is not None:
            self._cost_usd = chunk.cost_usd
        if chunk.model:
            self.model = chunk.model
        if chunk.request_bytes:
            self._request_bytes = chunk.request_bytes
        if chunk.details is not None:
            self._details = chunk.details

    def response(self, raw: Any = None) -> LLMResponse:
        """Return the answer as far as it has arrived; `raw` may be a `Deferred`."""
        tools = (ToolCall(id=t[0], name=t[1], arguments="".join(t[2:])) for _, t in sorted(self._tools.items()))
        return LLMResponse(
            text="".join(self.texts),
            reasoning="".join(self._reasoning) or None,
            tool_calls=tuple(tools),
            finish_reason=self.finish_reason,
            usage=self._usage or UNREPORTED,
            cost_usd=self._cost_usd,
            model=self.model,
            request_bytes=self._request_bytes,
            raw=raw,
            details=self._details,
        )

    def _add_tool(self, delta: ToolCallDelta) -> None:
        parts = self._tools.setdefault(delta.index, ["", ""])
        parts[0] = parts[0] or delta.id or ""
        parts[1] = parts[1] or delta.name or ""
        parts.append(delta.arguments)


def _filled_in(known: LLMUsage, newer: LLMUsage) -> LLMUsage:
    """Return `known` with the numbers that `newer` reports; a number that it leaves out stays."""
    if type(newer) is not LLMUsage or type(known) is not LLMUsage:
        return newer  # from a third-party provider; it is checked when the answer is complete
    numbers = {f.name: getattr(newer, f.name) for f in fields(newer)}
    return replace(known, **{name: number for name, number in numbers.items() if number is not None})


class ChunkStream(ABC):
    """One streamed answer, which one caller at a time pulls chunk by chunk."""

    headers: Mapping[str, str] = NO_HEADERS
    """Header fields of the response, if it has any."""

    def buffered(self) -> StreamChunk | None:
        """Return the next chunk if it has already arrived. None means that this is not known: call `pull`.

        The router calls this before each `pull_async`, which takes longer.

        Raises:
            LLMRouterError: as `pull`.
        """
        return None

    @abstractmethod
    def pull(self, timeout: float) -> StreamChunk | None:
        """Return the next chunk, or None after the last chunk of a complete answer.

        Args:
            timeout: Seconds of wall-clock time this may take.

        Raises:
            LLMRouterError: what broke. An answer that ends early raises `InvalidResponseError`; it never returns None.
        """

    def whole_raw(self) -> Any:
        """Return the vendor's whole answer for `LLMResponse.raw`, after the last chunk; it may be a `Deferred`."""
        return None

    _pulling: Future[StreamChunk | None] | None = None
    """The `pull` that a thread runs for `pull_async`."""

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`, for asyncio. By default, runs `pull` in a thread."""
        self._pulling = start_in_thread(self.pull, timeout)
        return await awaitable(self._pulling)

    def close(self) -> None:
        """Release the connection, even if the answer is incomplete. Called once, after the last `pull`."""
        return

    async def aclose(self) -> None:
        """As `close`, for a stream that was opened with `stream_async`.

        By default, calls `close`. After a cancelled `pull_async`, it does so once the thread has left `pull`.
        """
        if self._pulling is None or self._pulling.done():
            self.close()
        else:
            self._pulling.add_done_callback(lambda _: close_quietly(self))


class SingleChunkStream(ChunkStream):
    """A whole answer as a stream of one chunk: for providers that cannot stream."""

    def __init__(self, response: LLMResponse) -> None:
        self._response: LLMResponse | None = ensure_response(response)
        self._raw = response.raw
        self.headers = response.headers

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return self._raw

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - nothing to wait for
        """Return the answer, then None."""
        response, self._response = self._response, None
        if response is None:
            return None
        return chunk_of(response)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`."""
        return self.pull(timeout)


def close_quietly(stream: ChunkStream) -> None:
    """Close `stream`, and only log an error: the answer, or the failure of the call, is already known."""
    try:
        stream.close()
    except Exception as error:  # noqa: BLE001 - see above
        note_unclosed(error)


def note_unclosed(error: Exception) -> None:
    """Log that closing a stream raised `error`, without its text, which may hold a key."""
    logger.warning("closing a stream raised %s", type(error).__name__)
