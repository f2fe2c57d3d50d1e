"""The steps of a call: what the engine asks of a driver, and what it is sent back for each. Data only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from lee_llm_router.engine.operation import Operation
    from lee_llm_router.engine.stream_assembler import StreamAssembler
    from lee_llm_router.providers.base import ChunkStream, Provider
    from lee_llm_router.response import LLMRequest


@dataclass(slots=True)
class AskStep:
    """Ask `provider` by `operation`, for at most `timeout` seconds; send back its answer."""

    provider: Provider[Any]
    operation: Operation
    request: Any
    timeout: float


@dataclass(slots=True)
class OpenStreamStep:
    """Ask `provider` for a stream, for at most `timeout` seconds; send back the `ChunkStream`."""

    provider: Provider[Any]
    request: LLMRequest
    timeout: float


@dataclass(slots=True)
class ReadStreamStep:
    """Hand the chunks of `stream` to the caller, then close it; send back the whole `LLMResponse`."""

    stream: ChunkStream
    assembler: StreamAssembler
    bounded: bool
    """Whether `stream` holds its timeouts itself."""
    context: Context | None
    """The context to pull in; None: as it is."""


@dataclass(slots=True)
class ContextStep:
    """Perform `step` in `context`; send back what came of it."""

    context: Context
    step: AskStep | OpenStreamStep


@dataclass(slots=True)
class WorkStep:
    """Do `work`, which may take up to `seconds` and is not done on an event loop; send back what it returns."""

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


CallStep: TypeAlias = AskStep | OpenStreamStep | ReadStreamStep | ContextStep | WorkStep | SleepStep | QueueStep
CallSteps: TypeAlias = Generator[CallStep, Any, Any]
"""A call under way: yields its steps and returns its answer, an `LLMResponse` unless its operation has another."""
