"""Returns a kept answer to a caller: recorded as such, and in pieces for a streamed call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lee_llm_router.engine.plan import CallPlan, Target
from lee_llm_router.engine.recorder import CallRecorder
from lee_llm_router.engine.steps import CallSteps, ReadStreamStep
from lee_llm_router.engine.stream_assembler import StreamAssembler, StreamDeadlines
from lee_llm_router.errors import LLMTimeoutError
from lee_llm_router.providers.cache.flights import Flight
from lee_llm_router.providers.streams import ChunkStream, chunk_of
from lee_llm_router.response.types import LLMResponse, StreamChunk

_PIECE = re.compile(r".{1,40}(?:\s+|$)|\S{1,40}", re.DOTALL)
"""A piece of a text to stream: whole words, up to 40 characters."""


def serve_kept(plan: CallPlan, recorder: CallRecorder, target: Target, answer: Any) -> CallSteps:
    """Return `answer`, which was kept for `target` and accepted; stream it in pieces if the call is streamed."""
    if plan.stream is not None:
        deadline_at = plan.started + plan.deadline
        bounds = StreamDeadlines(deadline_at, plan.stream.idle_timeout, deadline_at)
        yield ReadStreamStep(KeptStream(answer), StreamAssembler(bounds, on_start=_nothing), True, None)
    recorder.served(target, answer)
    return answer


class KeptStream(ChunkStream):
    """A complete answer as a stream of pieces: reasoning, text, then the rest."""

    def __init__(self, answer: LLMResponse) -> None:
        self._pieces = _pieces(answer)

    def buffered(self) -> StreamChunk | None:
        """Return the next piece: there is nothing to wait for."""
        return next(self._pieces, None)

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - as above
        """See `ChunkStream.pull`."""
        return next(self._pieces, None)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """See `pull`."""
        return self.pull(timeout)


class WatchedAssembler(StreamAssembler):
    """An assembler that tells a flight when its stream waits for its reader.

    Args:
        inner: Does the work.
        flight: The flight of the call.
    """

    def __init__(self, inner: StreamAssembler, flight: Flight) -> None:
        self._inner = inner
        self._flight = flight

    @property
    def texts(self) -> Sequence[str]:
        """See `StreamAssembler.texts`."""
        return self._inner.texts

    def time_left(self, now: float) -> float:
        """Same as `StreamAssembler.time_left`; the reader wants the next piece."""
        self._flight.rests(None)
        return self._inner.time_left(now)

    def too_slow(self, waited: float) -> LLMTimeoutError:
        """See `StreamAssembler.too_slow`."""
        return self._inner.too_slow(waited)

    def add(self, chunk: StreamChunk, clock: Callable[[], float]) -> Sequence[StreamChunk]:
        """Same as `StreamAssembler.add`; the returned chunks go to the reader."""
        handed_on = self._inner.add(chunk, clock)
        if handed_on:
            self._flight.rests(clock())
        return handed_on

    def finish(self, raw: Any = None) -> LLMResponse:
        """See `StreamAssembler.finish`."""
        return self._inner.finish(raw)


def _pieces(answer: LLMResponse) -> Iterator[StreamChunk]:
    whole = chunk_of(answer)
    for piece in _PIECE.findall(whole.reasoning):
        yield StreamChunk(reasoning=piece)
    for piece in _PIECE.findall(whole.text):
        yield StreamChunk(text=piece)
    if whole.tool_calls:
        yield StreamChunk(tool_calls=whole.tool_calls)
    yield StreamChunk(
        finish_reason=whole.finish_reason, usage=whole.usage, cost_usd=whole.cost_usd, model=whole.model,
        details=whole.details, raw=None, output_in_raw=whole.output_in_raw,
    )  # fmt: skip


def _nothing(moment: float) -> None:
    """Do nothing: the first output of a kept answer needs no event."""
