"""One call as the engine receives it, and the parts of a router it works with. Data only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.frozen import copier, maker
from lee_llm_router._util.masked_text import masked_again
from lee_llm_router._util.printable import printable
from lee_llm_router._util.scrubbing import masked_headers
from lee_llm_router.compression import Compressor
from lee_llm_router.engine.settings import (
    DEFAULT_TIMEOUT,
    AcceptConfig,
    ContractConfig,
    HedgeConfig,
    RetryConfig,
    StreamConfig,
)
from lee_llm_router.health.tracker import Health
from lee_llm_router.health.waiting import KeyedTarget, TargetKey
from lee_llm_router.response.types import LLMRequest

if TYPE_CHECKING:
    from lee_llm_router.engine.acceptance import AcceptHook
    from lee_llm_router.engine.answer_times import AnswerTimes
    from lee_llm_router.engine.billing import Billing
    from lee_llm_router.engine.call_cache import CallCaching, RoleCache
    from lee_llm_router.engine.operation import Operation
    from lee_llm_router.providers.base import Provider
    from lee_llm_router.providers.pool import ProviderPool
    from lee_llm_router.telemetry.following import CallFollowing
    from lee_llm_router.telemetry.reporter import Reporter

SHORTEST_ATTEMPT = 0.001
"""Seconds: no attempt is started with less time than this before the deadline."""


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """One entry of a chain: a provider with a model and overrides."""

    provider: str
    model: str | None
    fields: Mapping[str, Any]
    """Request fields (of `LLMRequest`) and `timeout` in seconds."""
    provider_overrides: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str | None = None
    """The variable of the key to use, if its provider has several."""
    key: TargetKey = field(init=False, repr=False, compare=False)
    """Provider, model and, if set, the variable of its key: the key of its health."""
    names: tuple[str, str | None] = field(init=False, repr=False, compare=False)
    """Provider and model as shown in records, events and messages: printable, and of bounded length."""
    timeout: float = field(init=False, repr=False, compare=False)
    """Seconds one attempt may take."""
    request_template: LLMRequest = field(init=False, repr=False, compare=False)
    """The request without the parts that belong to one call: messages, role, ids and metadata."""

    def __post_init__(self) -> None:
        timeout, template = _asked_by(self.model, self.fields)
        key = (self.provider, self.model)
        object.__setattr__(self, "key", key if self.key_variable is None else KeyedTarget(*key, self.key_variable))
        object.__setattr__(self, "names", (printable(self.provider), printable(self.model)))
        object.__setattr__(self, "timeout", timeout)
        object.__setattr__(self, "request_template", template)

    def __repr__(self) -> str:
        fields = {**self.fields, "headers": masked_headers(self.fields.get("headers"))}
        if "headers" not in self.fields:
            del fields["headers"]
        overrides = {**self.provider_overrides}
        if "headers" in overrides:
            overrides["headers"] = masked_headers(overrides["headers"])
        key = "" if self.key_variable is None else f", key_variable={self.key_variable!r}"
        return f"Target(provider={self.provider!r}, model={self.model!r}, {fields=!r}, provider_{overrides=!r}{key})"

    def with_fields(self, fields: Mapping[str, Any], model: str | None = None) -> Target:
        """Return the same target with other request fields and, if given, another model."""
        if model is None:
            return self if fields is self.fields else _makers()[0](self, fields, *_asked_by(self.model, fields))
        return Target(self.provider, model or self.model, fields, self.provider_overrides, self.key_variable)

    def masked(self, secrets: Collection[str]) -> Target:
        """Return the same target with `secrets` masked in its fields and overrides."""
        fields, overrides = masked_again(self.fields, secrets), masked_again(self.provider_overrides, secrets)
        if fields is self.fields and overrides is self.provider_overrides:
            return self
        return Target(self.provider, self.model, fields, overrides, self.key_variable)

    def with_key(self, variable: str) -> Target:
        """Return the same target, to be called with the key in `variable`."""
        return Target(self.provider, self.model, self.fields, self.provider_overrides, variable)

    def differs_by_key(self, other: Target) -> bool:
        """Whether `other` is the same entry of the chain with another key."""
        return (
            self.key_variable is not None and other.key_variable is not None and self.key_variable != other.key_variable
            and self.fields is other.fields and self.provider_overrides is other.provider_overrides
            and (self.provider, self.model) == (other.provider, other.model)
        )  # fmt: skip


@cache
def _makers() -> tuple[Callable[..., Target], Callable[..., LLMRequest]]:
    """Return the functions with which calls with options copy targets and make requests."""
    return copier(Target, "fields", "timeout", "request_template"), maker(LLMRequest)


def _asked_by(model: str | None, fields: Mapping[str, Any]) -> tuple[float, LLMRequest]:
    """Return the timeout and the request template of a target with these fields."""
    asked = dict(fields)
    timeout = asked.pop("timeout", DEFAULT_TIMEOUT)
    return timeout, _makers()[1](messages=(), model=model, **asked)


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class RouterParts:
    """The parts of a router that the engine works with. They live as long as any call, since each call holds them."""

    clock: Clock
    random: Callable[[], float]
    """Returns a number in [0, 1)."""
    reporter: Reporter
    health: Health
    pool: ProviderPool
    secrets: tuple[str, ...] = ()
    """Values that must appear in no error and no trace."""
    capture_full: bool = False
    """Whether records contain prompts and answers."""
    workspace: str | None = None
    billing: Billing | None = None
    """Knows the cost of attempts; None if only vendors' own figures give it and there is no budget."""
    provider_words: dict[tuple[str, str], str] = field(default_factory=dict)
    """Cleaned short texts of providers, cached by `recorded_text.provider_word`."""
    answer_times: dict[Any, AnswerTimes] = field(default_factory=dict)
    """The times of answers, if a role's `hedge` uses them; maintained by `hedging`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSettings:
    """The settings that hold for every call to one role."""

    role: str
    policy: str
    deadline: float
    """Seconds for the whole call, unless the caller sets a deadline."""
    retry: RetryConfig
    fallback_on: Collection[str]
    retry_effects: bool
    metadata: Mapping[str, Any]
    compress: Compressor | None
    """None: messages are sent unchanged."""
    stream: StreamConfig
    contract: ContractConfig
    accept: AcceptConfig | AcceptHook | None = None
    """None: any answer is acceptable."""
    hedge: HedgeConfig | None = None
    """None: attempts are made one after the other."""
    cache: RoleCache | None = None
    """Keeps the role's answers; None: every call is made."""
    shown_role: str = field(init=False)
    """`role`, printable and of bounded length."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown_role", printable(self.role))


@dataclass(slots=True)
class CallPlan:
    """One call, resolved: what to ask of which targets, within which limits."""

    role_settings: RoleSettings
    operation: Operation
    request_id: str
    started: float
    """When the call began, on the router's monotonic clock."""
    deadline: float
    """Seconds for the whole call."""
    metadata: Mapping[str, Any]
    contract: ContractConfig
    """What to do after an answer that breaks its JSON contract."""
    accept: AcceptConfig | AcceptHook | None = None
    """The acceptance rules; None: any answer is acceptable."""
    payload: Any = ()
    """The caller's request, as returned by the operation's `checked`: the messages of a completion."""
    targets: Sequence[Target] = ()
    reasons: Mapping[TargetKey, str] | None = None
    """Why the policy chose a target, in its own words, if it gave a reason."""
    stream: StreamConfig | None = None
    """How to stream; None for an unstreamed call."""
    hedge: HedgeConfig | None = None
    """When to hedge a slow target; None: never."""
    asked_role: str | None = None
    """The name that the caller passed, if there is no such role and the default role serves."""
    following: CallFollowing | None = None
    """The sinks that follow this call; None if there are none."""
    caching: CallCaching | None = None
    """The cache state of the call; None if it has no cache."""
    wants_debug_events: bool = False
    """Whether anyone receives the events of a successful call, which share one level."""
    is_paid: bool = False
    """Whether its answer already exists and must be paid for anyway: no budget refuses it."""


@dataclass(slots=True)
class Attempt:
    """One attempt in progress at one target.

    As a step of a call it means: call `provider` through `operation`, for at most `timeout` seconds, in `context`; send
    back its answer.
    """

    operation: Operation
    provider: Provider[Any]
    request: Any
    timeout: float
    """Seconds it may take."""
    target: Target
    index: int
    """Number within the call, from 0."""
    target_index: int
    """Number at the target, from 0."""
    started_monotonic: float
    """When it began, on the router's monotonic clock."""
    started_at: float
    """The same time in seconds since 1970."""
    dropped: tuple[str, ...] = ()
    """Options that were left out because the provider cannot express them."""
    waited_for: str | None = None
    """What the call waited for before it."""
    why: str = ""
    """Why it is made although its target was shut, if so."""
    counted: int = 1
    """Its number among the attempts at its target that count against `retry.attempts`, from 1."""
    is_hedge: bool = False
    """Whether it hedges another attempt that had not begun to answer."""
    context: Context | None = None
    """The context that its provider runs in; None: the caller's."""
    is_billed: bool = False
    """Whether its cost is known, and charged to the budgets."""
    cost_source: str | None = None
    """The source of its cost, as `TraceRecord.cost_source`."""
    first_output: float | None = None
    """When the stream gave its first real output, on the monotonic clock."""
