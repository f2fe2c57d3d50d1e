"""Assembles a streamed answer: its parts so far, the time left for the next chunk, the complete answer at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.frozen import late_copier
from lee_llm_router.errors import InvalidResponseError, LLMTimeoutError
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response.types import LLMResponse, StreamChunk, with_headers

_with_index: Callable[[StreamChunk, int], StreamChunk] = late_copier(StreamChunk, "index")
"""Return a copy of a chunk with another index."""
_with_cost_usd: Callable[[StreamChunk, float], StreamChunk] = late_copier(StreamChunk, "cost_usd")


@dataclass(frozen=True, slots=True)
class StreamDeadlines:
    """The limits on a stream. Times are on the router's monotonic clock, durations in seconds."""

    first_by: float
    """The time by which the first real output must have come."""
    idle: float
    """The longest time between two later chunks; time spent in the caller does not count."""
    deadline_at: float


class StreamAssembler:
    """Puts the chunks of one attempt together. Performs no I/O; the caller passes in the time.

    Args:
        deadlines: The limits on its chunks.
        index: Number of the next chunk handed on, counted over the call.
        restart: Whether the caller has output of an earlier attempt, which the first chunk must discard.
        on_start: Called with the time of the first real output, before handing it on. If it raises, the output is kept
            back.
        billed: Returns the cost of the answer, once its usage has come; None if there are no prices.
    """

    def __init__(
        self,
        deadlines: StreamDeadlines,
        *,
        index: int = 0,
        restart: bool = False,
        on_start: Callable[[float], None],
        billed: Callable[[StreamAssembler], float | None] | None = None,
    ) -> None:
        self.index = index
        self.started = False
        self._deadlines = deadlines
        self._restart = restart
        self._on_start = on_start
        self._billed = billed
        self._parts = AnswerParts()
        self._keep = self._parts.add
        self.headers: Mapping[str, str] = NO_HEADERS
        """Header fields of the response, once its stream is open."""

    @property
    def texts(self) -> Sequence[str]:
        """The pieces of the text so far."""
        return self._parts.texts

    @property
    def model(self) -> str | None:
        """The model that serves, once a chunk has named it."""
        return self._parts.model

    def time_left(self, now: float) -> float:
        """Return the seconds left for the next chunk.

        Raises:
            LLMTimeoutError: none are left.
        """
        bound = self._deadlines.deadline_at if self.started else self._deadlines.first_by
        left = bound - now
        if left <= 0:
            what = "the call's deadline passed in the answer" if self.started else "no output in time"
            raise LLMTimeoutError(what)
        return min(left, self._deadlines.idle) if self.started else left

    def too_slow(self, waited: float) -> LLMTimeoutError:
        """Return the error for a chunk that did not come within `waited` seconds, as returned by `time_left`."""
        return LLMTimeoutError(f"no {'further ' if self.started else ''}output within {waited:.4g} s")

    def add(self, chunk: StreamChunk, clock: Callable[[], float]) -> Sequence[StreamChunk]:
        """Take a chunk; return the chunks to hand on. Empty chunks are kept back."""
        if type(chunk) is not StreamChunk or type(chunk.text) is not str:
            _check_chunk(chunk)
        self._keep(chunk)
        if chunk.usage is not None and self._billed is not None and self._parts.finish_reason is not None:
            chunk = self._with_cost(chunk)
        if self.started:
            says = chunk.text or chunk.is_output or chunk.finish_reason or chunk.usage or chunk.details
            return (self._numbered(chunk),) if says else ()
        if not chunk.is_output:
            # An answer without output also replaces what came before it.
            return (*self._restarted(), self._numbered(chunk)) if self._restart and chunk.finish_reason else ()
        self._on_start(clock())
        self.started = True
        return (*self._restarted(), self._numbered(chunk))

    def finish(self, raw: Any = None) -> LLMResponse:
        """Return the complete answer, equal to that of an unstreamed call, with `raw` as the vendor's response.

        Raises:
            InvalidResponseError: the stream ended without a finish reason.
        """
        if self._parts.finish_reason is None:
            raise InvalidResponseError("the stream ended without a finish reason")
        return with_headers(self._parts.response(raw), self.headers)

    def partial(self) -> LLMResponse:
        """Return the answer as received so far; it is complete only once the stream has ended."""
        return with_headers(self._parts.response(), self.headers)

    def _with_cost(self, chunk: StreamChunk) -> StreamChunk:
        """Add the cost of the answer to the chunk that completes the usage; `finish` does not set it."""
        cost = self._billed(self) if self._billed is not None and chunk.cost_usd is None else None
        return chunk if cost is None else _with_cost_usd(chunk, cost)

    def _restarted(self) -> Sequence[StreamChunk]:
        """Return the chunk that discards the caller's output of an earlier attempt, if that is still due."""
        was_due, self._restart = self._restart, False
        return (self._numbered(StreamChunk(restart=True)),) if was_due else ()

    def _numbered(self, chunk: StreamChunk) -> StreamChunk:
        index = self.index
        self.index += 1
        return chunk if chunk.index == index else _with_index(chunk, index)


def _check_chunk(chunk: Any) -> None:
    """Raise if `chunk` is not a chunk."""
    if not isinstance(chunk, StreamChunk):
        raise InvalidResponseError(f"the provider returned {type(chunk).__name__}, not a chunk", final=True)
    if not isinstance(chunk.text, str):
        raise InvalidResponseError(f"the text of a chunk has the type {type(chunk.text).__name__}", final=True)
