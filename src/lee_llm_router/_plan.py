"""One call as the engine gets it, and the parts of a router it works with. Data only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lee_llm_router._clock import Clock
from lee_llm_router._reporter import Reporter
from lee_llm_router.compression import Compressor
from lee_llm_router.config import RetryConfig, StreamConfig
from lee_llm_router.health import Health
from lee_llm_router.policy import Target
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.response import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What outlives a call: the router's parts that the engine uses."""

    clock: Clock
    random: Callable[[], float]
    """A number in [0, 1)."""
    reporter: Reporter
    health: Health
    pool: ProviderPool
    secrets: tuple[str, ...] = ()
    """Values that must appear in no error and no trace."""
    capture_full: bool = False
    workspace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTerms:
    """What holds for every call to one role."""

    role: str
    policy: str
    deadline: float
    """Seconds for the whole call, if the caller names none."""
    retry: RetryConfig
    fallback_on: Collection[str]
    retry_effects: bool
    metadata: Mapping[str, Any]
    compress: Compressor | None
    """None: the messages go out as they are."""
    stream: StreamConfig


@dataclass(slots=True)
class CallPlan:
    """One call, resolved: what is asked of whom, and within which bounds."""

    terms: RoleTerms
    request_id: str
    started: float
    """The moment the call began, on the router's monotonic clock."""
    deadline: float
    """Seconds for the whole call."""
    metadata: Mapping[str, Any]
    messages: tuple[Message, ...] = ()
    targets: Sequence[Target] = ()
    stream: StreamConfig | None = None
    """How to stream; None for an unstreamed call."""
    heard: bool = False
    """Whether anybody gets the events of a call that goes well; they have one level."""
