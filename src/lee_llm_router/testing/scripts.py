"""Scripts, which define a provider's answers in a test, and the provider that plays them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.trampoline import run_steps, run_steps_async
from lee_llm_router.engine.runners import runs_beside
from lee_llm_router.engine.stream_assembler import StreamAssembler, StreamDeadlines
from lee_llm_router.errors import LLMTimeoutError
from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig
from lee_llm_router.providers.mock import MockConfig, MockProvider, MockStep
from lee_llm_router.providers.streams import ChunkStream, SingleChunkStream
from lee_llm_router.response.types import LLMRequest, LLMResponse, StreamChunk
from lee_llm_router.testing.fake_clock import FakeClock


class UnscriptedCallError(BaseException):
    """A provider was called more often than its script has outcomes, or it has no script.

    It is not an `Exception`, so that no fallback hides it: it passes through the router and fails the test.
    """


@dataclass(frozen=True, slots=True)
class Pieces:
    """An answer in the pieces in which it is streamed. An exception among them is raised at that point.

    Unless a piece has a `finish_reason`, the answer ends with `stop`. With ``whole=False`` it ends without one.
    """

    items: tuple[str | StreamChunk | Exception, ...]
    whole: bool = True

    def __init__(self, *items: str | StreamChunk | Exception, whole: bool = True) -> None:
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "whole", whole)

    def chunks(self) -> Iterator[StreamChunk]:
        """Return the pieces as chunks, including the last one, which gives the finish reason."""
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
"""An outcome that needs neither a wait nor a function."""


@dataclass(frozen=True, slots=True)
class After:
    """An outcome that comes after `seconds` on the clock; if that is past the attempt's timeout, it is a TIMEOUT."""

    seconds: float
    outcome: Played


Outcome: TypeAlias = Played | After | Callable[[LLMRequest], Played | Awaitable[Played]]
"""The outcome of one attempt. It is a text, a step as in the script of a `mock` provider, a complete answer, an
exception to raise, an answer in pieces, any of these after a delay, or a function of the request that returns one. A
function may be async; then only async calls can use it."""
Answers: TypeAlias = Outcome | Sequence[Outcome]
"""A list is played once, in order. A single outcome is played every time."""

_PlayedAnswer: TypeAlias = MockStep | LLMResponse | Pieces
"""What is left to handle after waits, functions and exceptions."""
_ScriptStep: TypeAlias = float | Awaitable[Any]
"""A script's request to the driver: to let seconds pass, or to await something and send back the result."""


class Script:
    """The outcomes of one provider, and the requests it received. All providers with that name share it."""

    def __init__(self, name: str, answers: Answers | None) -> None:
        self.name = name
        self.requests: list[LLMRequest] = []
        self.unscripted: list[LLMRequest] = []
        self._repeats = answers is not None and (isinstance(answers, str) or not isinstance(answers, Sequence))
        outcomes: Any = [answers] if self._repeats else answers or ()
        self._outcomes = [copy for outcome in outcomes for copy in [outcome] * self._times(outcome)]
        self._lock = ForkLock()

    @property
    def unused(self) -> list[Any]:
        """Return the outcomes that have not been played yet."""
        return [] if self._repeats else list(self._outcomes)

    def next(self, request: LLMRequest) -> Any:
        """Record `request` and return the next outcome."""
        with self._lock:
            self.requests.append(request)
            if not self._outcomes:
                self.unscripted.append(request)
                raise UnscriptedCallError(f"{self.name!r} was asked {request.messages!r}, and has no answer left")
            return self._outcomes[0] if self._repeats else self._outcomes.pop(0)

    def _times(self, outcome: Any) -> int:
        """Return how often `outcome` is played. Raise as `_answer_of` does, so that mistakes show before the test."""
        if callable(outcome) and not isinstance(outcome, type):
            return 1
        answer = self._answer_of(outcome.outcome if isinstance(outcome, After) else outcome)
        return answer.times if isinstance(answer, MockStep) else 1

    def _answer_of(self, outcome: Any) -> _PlayedAnswer | BaseException:
        """Return `outcome`, with a text or a mapping turned into a step.

        Raises:
            ValueError: a mapping is not a step, or the outcome cannot be played.
        """
        if isinstance(outcome, str):
            return MockStep(text=outcome)
        if isinstance(outcome, Mapping):
            return MockStep.model_validate(dict(outcome))
        if isinstance(outcome, MockStep | LLMResponse | Pieces | BaseException):
            return outcome
        raise ValueError(f"{self.name!r} cannot play {outcome!r}")

    def play(self, request: LLMRequest, timeout: float) -> Generator[_ScriptStep, Any, _PlayedAnswer]:
        """Play the next outcome as a generator of steps (see `_ScriptStep`), whose result is the answer."""
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
            answer = self._answer_of(outcome)
        except ValueError as error:
            raise UnscriptedCallError(str(error)) from None
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        return answer


class _ClockHoldingStream(ChunkStream):
    """Marks its call as busy only while it is pulled: between pulls the caller may wait for other calls.

    A hedged attempt has not given its caller anything yet, so its call stays busy.
    """

    def __init__(self, inner: ChunkStream, clock: FakeClock) -> None:
        self._inner = inner
        self._clock = clock
        self._is_idle = False

    def pull(self, timeout: float) -> StreamChunk | None:
        self._begin_pull()
        try:
            return self._inner.pull(timeout)
        finally:
            self._end_pull()

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        self._begin_pull()
        try:
            return await self._inner.pull_async(timeout)
        finally:
            self._end_pull()

    def close(self) -> None:
        self._begin_pull()
        self._inner.close()

    def _begin_pull(self) -> None:
        if self._is_idle:
            self._clock.hold()
            self._is_idle = False

    def _end_pull(self) -> None:
        if not runs_beside.get():
            self._clock.release()
            self._is_idle = True


class _PiecesStream(ChunkStream):
    def __init__(self, pieces: Pieces) -> None:
        self._chunks = pieces.chunks()

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - no time passes between chunks
        return next(self._chunks, None)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        return self.pull(timeout)


class ScriptedProvider(Provider[ProviderConfig]):
    """Plays a script instead of the configured provider `real`, which is never called."""

    def __init__(self, real: Provider[Any], clock: FakeClock, script: Script) -> None:
        super().__init__(real.name, real.config, clock)
        self._real = real
        self._fake_clock = clock
        self._script = script

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Return the capabilities of the provider it replaces."""
        return replace(self._real.capabilities, bounded=True)

    @property
    def effects(self) -> Effects:
        """Return the effects of the provider it replaces."""
        return self._real.effects

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Play the next outcome."""
        played = self._play(request, timeout)
        return (
            self._mock(played).complete(request, timeout) if isinstance(played, MockStep) else _whole_response(played)
        )

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Do the same as `complete`, under asyncio."""
        played = await self._play_async(request, timeout)
        if isinstance(played, MockStep):
            return await self._mock(played).complete_async(request, timeout)
        return _whole_response(played)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Play the next outcome; a text comes word by word."""
        played = self._play(request, timeout)
        stream = self._mock(played).stream(request, timeout) if isinstance(played, MockStep) else _chunk_stream(played)
        return _ClockHoldingStream(stream, self._fake_clock)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Do the same as `stream`, under asyncio."""
        played = await self._play_async(request, timeout)
        if isinstance(played, MockStep):
            return _ClockHoldingStream(await self._mock(played).stream_async(request, timeout), self._fake_clock)
        return _ClockHoldingStream(_chunk_stream(played), self._fake_clock)

    def _play(self, request: LLMRequest, timeout: float) -> _PlayedAnswer:
        return run_steps(self._script.play(request, timeout), self._perform)

    async def _play_async(self, request: LLMRequest, timeout: float) -> _PlayedAnswer:
        # As with a real provider, let other tasks run, and let a cancellation take effect.
        await asyncio.sleep(0)
        return await run_steps_async(self._script.play(request, timeout), self._perform_async)

    def _perform(self, step: _ScriptStep) -> None:
        if isinstance(step, float | int):
            self.clock.sleep(step)
            return
        # A coroutine that is never awaited warns unless it is closed.
        getattr(step, "close", lambda: None)()
        raise UnscriptedCallError(f"{self.name!r} has an async function to play, but the call is not async")

    async def _perform_async(self, step: _ScriptStep) -> Any:
        if isinstance(step, float | int):
            return await self.clock.sleep_async(step)
        return await step

    def _mock(self, step: MockStep) -> MockProvider:
        return MockProvider(self.name, MockConfig(type="mock", script=(step,)), self.clock)


def _whole_response(played: LLMResponse | Pieces) -> LLMResponse:
    if isinstance(played, LLMResponse):
        return played
    # Scripted pieces take no time, so no deadline applies.
    never = float("inf")
    assembler = StreamAssembler(StreamDeadlines(never, never, never), on_start=lambda now: None)  # noqa: ARG005
    for chunk in played.chunks():
        assembler.add(chunk, monotonic)
    return assembler.finish()


def _chunk_stream(played: LLMResponse | Pieces) -> ChunkStream:
    return SingleChunkStream(played) if isinstance(played, LLMResponse) else _PiecesStream(played)
