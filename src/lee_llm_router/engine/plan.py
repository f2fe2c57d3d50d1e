"""One call as the engine gets it, and the parts of a router it works with. Data only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import Clock
from lee_llm_router.compression import Compressor
from lee_llm_router.engine.settings import DEFAULT_TIMEOUT, RetryConfig, StreamConfig
from lee_llm_router.health.tracker import Health, TargetKey
from lee_llm_router.response import LLMRequest, Message

if TYPE_CHECKING:
    from lee_llm_router.providers.pool import ProviderPool
    from lee_llm_router.telemetry.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of a chain: a provider with a model and overrides."""

    provider: str
    model: str | None
    fields: Mapping[str, Any]
    """Request fields (as `LLMRequest` has them) and `timeout` in seconds."""
    provider_overrides: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = field(default=False, repr=False, compare=False)
    """Whether calls to come will use this very object."""
    key: TargetKey = field(init=False, repr=False, compare=False)
    """What its health is kept under: provider and model."""
    timeout: float = field(init=False, repr=False, compare=False)
    """Seconds one attempt may take."""
    request: LLMRequest = field(init=False, repr=False, compare=False)
    """What it is asked, but for what belongs to a call."""

    def __post_init__(self) -> None:
        asked = dict(self.fields)
        object.__setattr__(self, "key", (self.provider, self.model))
        object.__setattr__(self, "timeout", asked.pop("timeout", DEFAULT_TIMEOUT))
        object.__setattr__(self, "request", LLMRequest(messages=(), model=self.model, **asked))


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
