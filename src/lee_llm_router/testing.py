"""For the tests of applications: a router whose providers play scripts, offline, on a clock that moves when told.

::

    router = ScriptedRouter(answers={"planner": ["First.", RateLimitError("slow down"), "Second."]})
    assert router.complete("planner", "Where do I begin?").text == "First."

Roles, chains, policies, retries, deadlines and traces are the real ones; only providers and time are played. With
pytest, the fixture `llm_router` of `lee_llm_router.pytest_plugin` makes such routers and closes them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, TypeAlias

from lee_llm_router._assembly import Assembly, Patience
from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.errors import LLMTimeoutError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Capabilities, ChunkStream, Provider, ProviderConfig, WholeAnswer
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.telemetry import RouterEvent, TraceRecord

_START = 1_800_000_000.0


class UnscriptedCallError(BaseException):
    """A provider was asked more often than its script has outcomes, or without having one.

    Not an `Exception`, so that no fallback hides it: it goes through the router to the test.
    """


class FakeClock:
    """A clock that moves only when somebody sleeps on it, or by `advance`. May be shared by threads and tasks.

    Attributes:
        sleeps: Every wait so far, in seconds.
    """

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self._now = 0.0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._now += seconds

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._now

    def time(self) -> float:
        """Seconds since 1970, from a fixed moment in 2027 on."""
        return _START + self._now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self.sleeps.append(round(seconds, 6))
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self.sleep(seconds)

    def wait(self, woken: Future[None], seconds: float) -> None:
        """Let `seconds` pass at once, unless `woken` is done."""
        if not woken.done():
            self.sleep(seconds)

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        """Let `seconds` pass at once, unless `woken` is done."""
        self.wait(woken, seconds)


class Recorder:
    """A trace store and an event sink that keep what they are given, in order."""

    def __init__(self) -> None:
        self.records: list[TraceRecord] = []
        self.events: list[RouterEvent] = []

    def append(self, record: TraceRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    def emit(self, event: RouterEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def trail(self) -> list[str]:
        """A line for each record: target, ``ok`` or the failure type, and what the router did next."""
        return [f"{r.target} {'ok' if r.outcome == 'ok' else r.failure_type} {r.verdict}" for r in self.records]


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
                raise item
            chunk = StreamChunk(text=item) if isinstance(item, str) else item
            ended = ended or chunk.finish_reason is not None
            yield chunk
        if self.whole and not ended:
            yield StreamChunk(finish_reason="stop")


@dataclass(frozen=True, slots=True)
class After:
    """An outcome that takes `seconds` on the clock; past the attempt's timeout it is a TIMEOUT."""

    seconds: float
    outcome: str | LLMResponse | Exception | Pieces


Outcome: TypeAlias = (
    str | LLMResponse | Exception | Pieces | After | Callable[[LLMRequest], str | LLMResponse | Exception | Pieces]
)
"""What one attempt meets: a text, a whole answer, an exception to raise, a stream in pieces, any of these after a
while, or a function of the request that gives one."""
Answers: TypeAlias = Outcome | Sequence[Outcome]
"""A list is played in order and then used up; a single outcome is played for ever."""


class _ScriptedStream(ChunkStream):
    def __init__(self, pieces: Pieces) -> None:
        self._chunks = pieces.chunks()

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - no time passes between pieces
        return next(self._chunks, None)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        return self.pull(timeout)


class ScriptedProvider(Provider[ProviderConfig]):
    """Plays `answers`, and keeps what it was asked in `requests`."""

    def __init__(self, name: str, config: ProviderConfig, clock: FakeClock, answers: Answers | None) -> None:
        super().__init__(name, config, clock)
        self.requests: list[LLMRequest] = []
        self._time = clock
        self._for_ever = answers is not None and (isinstance(answers, str) or not isinstance(answers, Sequence))
        self._answers: list[Any] = [answers] if self._for_ever else list(answers or ())  # type: ignore[arg-type]
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Those of the provider it stands for."""
        return replace(registry.get(self.config.type).capabilities, bounded=True)

    @property
    def unused(self) -> list[Any]:
        """Outcomes not played yet."""
        return [] if self._for_ever else list(self._answers)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Play the next outcome."""
        outcome = self._next(request, timeout)
        if isinstance(outcome, Pieces):
            return _joined(outcome)
        return _whole(outcome, request)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        return self.complete(request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Play the next outcome; a text comes word by word."""
        outcome = self._next(request, timeout)
        if isinstance(outcome, str):
            outcome = Pieces(*re.findall(r"\S+\s*|\s+", outcome))
        return _ScriptedStream(outcome) if isinstance(outcome, Pieces) else WholeAnswer(_whole(outcome, request))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        return self.stream(request, timeout)

    def _next(self, request: LLMRequest, timeout: float) -> Any:
        with self._lock:
            self.requests.append(request)
            if not self._answers:
                raise UnscriptedCallError(f"{self.name!r} was asked {request.messages!r}, and has no answer left")
            outcome = self._answers[0] if self._for_ever else self._answers.pop(0)
        if isinstance(outcome, After):
            self._time.advance(min(outcome.seconds, timeout))
            if outcome.seconds > timeout:
                raise LLMTimeoutError(f"no answer within {timeout:g} s")
            outcome = outcome.outcome
        if callable(outcome):
            outcome = outcome(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _whole(outcome: str | LLMResponse, request: LLMRequest) -> LLMResponse:
    if isinstance(outcome, str):
        return LLMResponse(text=outcome, finish_reason="stop", model=request.model)
    return outcome


def _joined(pieces: Pieces) -> LLMResponse:
    never = float("inf")
    assembly = Assembly(Patience(never, never, never), on_start=lambda now: None)  # noqa: ARG005
    for chunk in pieces.chunks():
        for _ in assembly.feed(chunk, 0.0):
            pass
    return assembly.finish()


class _ScriptedPool:
    """Stands in for `ProviderPool`: a scripted provider for every name, whatever the overrides."""

    def __init__(self, config: LLMConfig, clock: FakeClock, answers: Mapping[str, Answers]) -> None:
        self.providers = {
            name: ScriptedProvider(name, settings, clock, answers.get(name))
            for name, settings in config.providers.items()
        }

    def open(self, name: str, overrides: Mapping[str, Any]) -> ScriptedProvider:  # noqa: ARG002
        return self.providers[name]

    def release(self, name: str, overrides: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class ScriptedRouter(LeeLLMRouter):
    """A `LeeLLMRouter` whose providers play scripts. Nothing is sent, no real time passes, jitter is always half.

    Args:
        config: The application's own configuration, or anything `load_config` takes. Without one, every name in
            `answers` is a role with a provider of that name.
        answers: What each provider plays, by its name. One without answers must not be asked.
        options: As for `LeeLLMRouter`.

    Attributes:
        clock: The `FakeClock` it runs on.
        recorder: The `Recorder` of its traces and events, unless `options` say otherwise.

    Raises:
        ConfigError: the configuration cannot be used.
        ValueError: `answers` names a provider that the configuration does not have.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None,
        *,
        answers: Mapping[str, Answers],
        **options: Any,
    ) -> None:
        loaded = config if isinstance(config, LLMConfig) else load_config(_roles(answers) if config is None else config)
        unknown = sorted(set(answers) - set(loaded.providers))
        if unknown:
            known = ", ".join(sorted(loaded.providers))
            raise ValueError(f"answers for {', '.join(unknown)}, but the providers are {known}")
        self.clock = FakeClock()
        self.recorder = Recorder()
        defaults = {"trace_store": self.recorder, "event_sink": self.recorder, "random": lambda: 0.5}
        super().__init__(loaded, **{**defaults, **options, "clock": self.clock})
        self._scripted = _ScriptedPool(loaded, self.clock, answers)
        self._around = replace(self._around, pool=self._scripted)  # type: ignore[arg-type]

    def requests(self, provider: str) -> list[LLMRequest]:
        """What `provider` was asked, in order."""
        return self._scripted.providers[provider].requests

    def unused(self) -> dict[str, list[Any]]:
        """Outcomes that were not played, by provider; empty if all were."""
        return {name: left for name, p in self._scripted.providers.items() if (left := p.unused)}


def _roles(answers: Mapping[str, Answers]) -> dict[str, Any]:
    names = list(answers)
    return {
        "llm": {
            "default_role": names[0] if names else None,
            "providers": {name: {"type": "mock"} for name in names},
            "roles": {name: {"provider": name} for name in names},
        }
    }
