"""What the router tells: a record for every attempt, an event for every step.

A `TraceStore` receives `TraceRecord`s, an `EventSink` receives `RouterEvent`s. Both are protocols: any object with
the method will do. Both are called inline, so they must be quick; what they raise never reaches the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from lee_llm_router.response import LLMUsage

logger = logging.getLogger("lee_llm_router")

SCHEMA_VERSION = 1

Outcome: TypeAlias = Literal["ok", "error", "cancelled", "skipped"]
Verdict: TypeAlias = Literal["return", "retry", "next", "raise"]
TokenUsageHook: TypeAlias = Callable[[LLMUsage, str, str], None]
"""`on_token_usage(usage, role, provider)`: called once for each attempt that reports usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """One attempt (schema 1). A call that ends outside an attempt leaves one record with ``attempt=None``."""

    schema: int = SCHEMA_VERSION
    request_id: str
    """The call's id, a UUIDv7: sorts by time."""
    attempt: int | None
    """Counts from 0 over the call."""
    target_attempt: int | None = None
    """Counts from 0 at the target."""
    sent: bool = False
    """Whether anything went out to the provider."""
    role: str
    provider: str | None = None
    provider_type: str | None = None
    model: str | None = None
    served_model: str | None = None
    policy: str | None = None
    started_at: str
    """UTC, ISO 8601 with microseconds and a Z."""
    elapsed_ms: float = 0.0
    first_token_ms: float | None = None
    outcome: Outcome
    failure_type: str | None = None
    status_code: int | None = None
    error: str | None = None
    """What the failure said, scrubbed of secrets and bounded."""
    retry_after: float | None = None
    """Seconds, as the vendor gave it."""
    verdict: Verdict
    """What the router did next."""
    wait_ms: float = 0.0
    """The wait that follows this attempt."""
    stream: bool = False
    finish_reason: str | None = None
    usage: LLMUsage | None = None
    cost_usd: float | None = None
    request_bytes: int | None = None
    response_chars: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    workspace: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    """Only with ``capture: full``."""
    text: str | None = None
    """Only with ``capture: full``."""

    @property
    def target(self) -> str:
        """``provider/model`` for people; a dash where no target was involved."""
        if self.provider is None:
            return "-"
        return f"{self.provider}/{self.model}" if self.model else self.provider


@runtime_checkable
class TraceStore(Protocol):
    """Keeps records. `append` is called inline after every attempt, from any thread."""

    def append(self, record: TraceRecord) -> None:
        """Keep one record. May raise: the router counts it and goes on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterEvent:
    """One step of a call.

    `name` is one of `EVENT_NAMES`; `data` holds what is particular to it (`failure_type`, `delay_ms`, `elapsed_ms`,
    `error`, `usage`, `chain`).
    """

    name: str
    request_id: str
    role: str
    provider: str | None = None
    model: str | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


EVENT_NAMES = frozenset({
    "policy.choice", "policy.fallback", "llm.complete.start", "llm.complete.success", "llm.complete.error",
    "llm.retry",
})  # fmt: skip


@runtime_checkable
class EventSink(Protocol):
    """Receives events, inline, from any thread."""

    def emit(self, event: RouterEvent) -> None:
        """Take one event. May raise: the router counts it and goes on."""
        ...


_LEVELS = {"llm.complete.error": logging.WARNING, "llm.retry": logging.INFO, "policy.fallback": logging.INFO}


class LoggingSink:
    """Sends events to the ``lee_llm_router`` logger, their fields as `extra` (each prefixed ``llm_``)."""

    __slots__ = ()

    def emit(self, event: RouterEvent) -> None:
        """Log one event: failures as warnings, retries and fallbacks as info, the rest as debug."""
        level = _LEVELS.get(event.name, logging.DEBUG)
        if not logger.isEnabledFor(level):
            return
        extra = {
            "llm_event": event.name, "llm_request_id": event.request_id, "llm_role": event.role,
            "llm_provider": event.provider, "llm_model": event.model, "llm_attempt": event.attempt,
            **{f"llm_{key}": value for key, value in event.data.items()},
        }  # fmt: skip
        details = " ".join(f"{key}={value}" for key, value in event.data.items())
        logger.log(level, "%s role=%s target=%s/%s %s", event.name, event.role, event.provider, event.model,
                   details, extra=extra)  # fmt: skip
