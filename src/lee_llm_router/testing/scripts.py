"""Scripts: what providers answer in tests, and the provider that plays it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, TypeAlias

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.engine.stream_assembler import StreamAssembler, StreamDeadlines
from lee_llm_router.errors import LLMTimeoutError
from lee_llm_router.providers.base import Capabilities, ChunkStream, Effects, Provider, ProviderConfig, WholeAnswer
from lee_llm_router.providers.mock import MockConfig, MockProvider, MockStep
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk
from lee_llm_router.testing.fake_clock import FakeClock


class UnscriptedCallError(BaseException):
    """A provider was asked more often than its script has outcomes, or without having one.

    Not an `Exception`, so that no fallback hides it: it goes through the router to the test.
    """


@dataclass(frozen=True, slots=True)
class Pieces:
    """An answer in the pieces it is streamed in. An exception among them breaks it off there.

    Without a `finish_reason` of its own it ends with `stop`; with ``whole=False`` it just ends.
    """

    items: tuple[str | StreamChunk | Exception, ...]
    whole: bool = True

    def __init__(self, *items: str | StreamChunk | Exception, whole: bool = True) -> None:
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "whole", whole)

    def chunks(self) -> Iterator[StreamChunk]:
        """The pieces, the end included."""
        ended = False
        for item in self.items:
            if isinstance(item, Exception):
                raise item.with_traceback(None)
            chunk = StreamChunk(text=item) if isinstance(item, str) else item
            ended = ended or chunk.finish_reason is not None
            yield chunk
        if self.whole and not ended:
            yield StreamChunk(finish_reason="stop")


Played: TypeAlias = str | LLMResponse | BaseException | Pieces | Mapping[str, Any] | MockStep
"""An outcome that is there already."""


@dataclass(frozen=True, slots=True)
class After:
    """An outcome that takes `seconds` on the clock; past the attempt's timeout it is a TIMEOUT."""

    seconds: float
    outcome: Played


Outcome: TypeAlias = Played | After | Callable[[LLMRequest], Played | Awaitable[Played]]
"""What one attempt meets: a text, a step as in the script of a `mock` provider, a whole answer, an exception to raise,
a stream in pieces, any of these after a while, or a function of the request that gives one. A function may be async;
then only async calls can meet it."""
Answers: TypeAlias = Outcome | Sequence[Outcome]
"""A list is played in order and then used up; a single outcome is played for ever."""


_Ready: TypeAlias = MockStep | LLMResponse | Pieces


class Script:
    """The outcomes of one provider, and what it was asked. Shared by all that play it."""

    def __init__(self, name: str, answers: Answers | None) -> None:
        self.name = name
        self.requests: list[LLMRequest] = []
        self.unscripted: list[LLMRequest] = []
        self._for_ever = answers is not None and (isinstance(answers, str) or not isinstance(answers, Sequence))
        outcomes: Any = [answers] if self._for_ever else answers or ()
        self._outcomes = [again for outcome in outcomes for again in [outcome] * self._times(outcome)]
        self._lock = ForkLock()

    @property
    def unused(self) -> list[Any]:
        """Outcomes that nobody has asked for yet."""
        return [] if self._for_ever else list(self._outcomes)

    def next(self, request: LLMRequest) -> Any:
        """The outcome of the next call, which asks for `request`."""
        with self._lock:
            self.requests.append(request)
            if not self._outcomes:
                self.unscripted.append(request)
                raise UnscriptedCallError(f"{self.name!r} was asked {request.messages!r}, and has no answer left")
            return self._outcomes[0] if self._for_ever else self._outcomes.pop(0)

    def _times(self, outcome: Any) -> int:
        """How often `outcome` is played. Raises as `_ready`, so that mistakes show before the test."""
        if callable(outcome) and not isinstance(outcome, type):
            return 1
        ready = self._ready(outcome.outcome if isinstance(outcome, After) else outcome)
        return ready.times if isinstance(ready, MockStep) else 1

    def _ready(self, outcome: Any) -> _Ready | BaseException:
        """`outcome`, with a text and a mapping made a step.

        Raises:
            ValueError: a mapping is not a step, or it is nothing that can be played.
        """
        if isinstance(outcome, str):
            return MockStep(text=outcome)
        if isinstance(outcome, Mapping):
            return MockStep.model_validate(dict(outcome))
        if isinstance(outcome, MockStep | LLMResponse | Pieces | BaseException):
            return outcome
        raise ValueError(f"{self.name!r} cannot play {outcome!r}")

    def play(self, request: LLMRequest, timeout: float) -> Generator[float | Awaitable[Any], Any, _Ready]:
        """The next outcome. Yields seconds that are to pass, and what is to be awaited and its result sent back."""
        outcome = self.next(request)
        if callable(outcome):
            outcome = outcome(request)
            if inspect.isawaitable(outcome):
                outcome = yield outcome
        if isinstance(outcome, After):
            yield min(outcome.seconds, timeout)
            if outcome.seconds > timeout:
                raise LLMTimeoutError(f"no answer within {timeout:.4g} s")
            outcome = outcome.outcome
        try:
            ready = self._ready(outcome)
        except ValueError as error:
            raise UnscriptedCallError(str(error)) from None
        if isinstance(ready, BaseException):
            raise ready.with_traceback(None)
        return ready


class _HeldStream(ChunkStream):
    """`inner`, holding the clock only while it is pulled: between pulls the caller may take its time."""

    def __init__(self, inner: ChunkStream, clock: FakeClock) -> None:
        self._inner = inner
        self._clock = clock
        clock.release()

    def pull(self, timeout: float) -> StreamChunk | None:
        self._clock.hold()
        try:
            return self._inner.pull(timeout)
        finally:
            self._clock.release()

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        self._clock.hold()
        try:
            return await self._inner.pull_async(timeout)
        finally:
            self._clock.release()

    def close(self) -> None:
        self._clock.hold()
        self._inner.close()


class _PiecesStream(ChunkStream):
    def __init__(self, pieces: Pieces) -> None:
        self._chunks = pieces.chunks()

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - no time passes between pieces
        return next(self._chunks, None)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        return self.pull(timeout)


class ScriptedProvider(Provider[ProviderConfig]):
    """Plays a script in place of the provider `real`, which is never asked."""

    def __init__(self, real: Provider[Any], clock: FakeClock, script: Script) -> None:
        super().__init__(real.name, real.config, clock)
        self._real = real
        self._time = clock
        self._script = script

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Those of the provider it stands for."""
        return replace(self._real.capabilities, bounded=True)

    @property
    def effects(self) -> Effects:
        """Those of the provider it stands for."""
        return self._real.effects

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Play the next outcome."""
        played = self._play(request, timeout)
        return self._mock(played).complete(request, timeout) if isinstance(played, MockStep) else _whole(played)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        played = await self._play_async(request, timeout)
        if isinstance(played, MockStep):
            return await self._mock(played).complete_async(request, timeout)
        return _whole(played)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Play the next outcome; a text comes word by word."""
        played = self._play(request, timeout)
        stream = self._mock(played).stream(request, timeout) if isinstance(played, MockStep) else _stream(played)
        return _HeldStream(stream, self._time)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        played = await self._play_async(request, timeout)
        if isinstance(played, MockStep):
            return _HeldStream(await self._mock(played).stream_async(request, timeout), self._time)
        return _HeldStream(_stream(played), self._time)

    def _play(self, request: LLMRequest, timeout: float) -> _Ready:
        steps = self._script.play(request, timeout)
        try:
            while True:
                step = next(steps)
                if not isinstance(step, float | int):
                    getattr(step, "close", lambda: None)()
                    raise UnscriptedCallError(f"{self.name!r} has an async function to play, but the call is not async")
                self.clock.sleep(step)
        except StopIteration as done:
            ready: _Ready = done.value
            return ready

    async def _play_async(self, request: LLMRequest, timeout: float) -> _Ready:
        # As with a real provider, others get their turn and a cancellation takes effect.
        await asyncio.sleep(0)
        steps = self._script.play(request, timeout)
        try:
            step = next(steps)
            while True:
                if isinstance(step, float | int):
                    await self.clock.sleep_async(step)
                    step = next(steps)
                else:
                    step = steps.send(await step)
        except StopIteration as done:
            ready: _Ready = done.value
            return ready

    def _mock(self, step: MockStep) -> MockProvider:
        return MockProvider(self.name, MockConfig(type="mock", script=(step,)), self.clock)


def _whole(played: LLMResponse | Pieces) -> LLMResponse:
    if isinstance(played, LLMResponse):
        return played
    never = float("inf")
    assembler = StreamAssembler(StreamDeadlines(never, never, never), on_start=lambda now: None)  # noqa: ARG005
    for chunk in played.chunks():
        assembler.add(chunk, monotonic)
    return assembler.finish()


def _stream(played: LLMResponse | Pieces) -> ChunkStream:
    return WholeAnswer(played) if isinstance(played, LLMResponse) else _PiecesStream(played)
