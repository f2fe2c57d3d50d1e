"""The steps of a call: what the engine wants from a driver, and what the driver sends back for each. Data only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias

from lee_llm_router._util.data_class import dataclass

if TYPE_CHECKING:
    from lee_llm_router.engine.plan import Attempt
    from lee_llm_router.engine.runners import Runner
    from lee_llm_router.engine.stream_assembler import StreamAssembler
    from lee_llm_router.providers.base import ChunkStream, Provider
    from lee_llm_router.response.types import LLMRequest, StreamChunk


@dataclass(slots=True)
class OpenStreamStep:
    """Ask `provider` for a stream, for at most `timeout` seconds; send back the `ChunkStream`."""

    provider: Provider[Any]
    request: LLMRequest
    timeout: float


@dataclass(slots=True)
class ReadStreamStep:
    """Hand the chunks of `stream` to the caller, then close it; send back the complete `LLMResponse`."""

    stream: ChunkStream
    assembler: StreamAssembler
    bounded: bool
    """Whether `stream` enforces its timeouts itself."""
    context: Context | None
    """The context to pull in; None: the current one."""
    ready: Sequence[StreamChunk] = ()
    """Chunks to hand on first, which the assembler has already returned."""


@dataclass(slots=True)
class ContextStep:
    """Perform `step` in `context`; send back its result."""

    context: Context
    step: OpenStreamStep


@dataclass(slots=True)
class WorkStep:
    """Call `work`, which may take up to `seconds` and must not run on an event loop; send back its result."""

    work: Callable[[], Any]
    seconds: float


@dataclass(slots=True)
class SleepStep:
    """Let `seconds` pass."""

    seconds: float


@dataclass(slots=True)
class QueueStep:
    """Let time pass until `woken` is done, for at most `seconds`."""

    woken: Future[None]
    seconds: float


@dataclass(slots=True)
class BeginStreamStep:
    """Open a stream with `opening`, and read it to its first output; send back a `BegunStream`."""

    opening: OpenStreamStep | ContextStep
    assembler: StreamAssembler
    """Says how long that may take."""
    bounded: bool
    """As in `ReadStreamStep`."""
    context: Context | None
    """As in `ReadStreamStep`."""


@dataclass(slots=True)
class StartStep:
    """Start performing `step` concurrently; send back its `Runner`."""

    step: Attempt | BeginStreamStep


@dataclass(slots=True)
class AwaitStep:
    """Let time pass until one of `runners` has ended, for at most `seconds`."""

    runners: Sequence[Runner]
    seconds: float


RaceStep: TypeAlias = BeginStreamStep | StartStep | AwaitStep
"""A step of concurrent attempts."""
CallStep: TypeAlias = (
    "Attempt | OpenStreamStep | ReadStreamStep | ContextStep | WorkStep | SleepStep | QueueStep | RaceStep"
)
CallSteps: TypeAlias = Generator[CallStep, Any, Any]
"""A call in progress: yields its steps and returns its answer, an `LLMResponse` unless its operation has another."""
