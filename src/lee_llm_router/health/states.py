"""The state of one target and of one provider, and the data that `Health` returns. Arithmetic only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from math import inf
from typing import TYPE_CHECKING, Literal

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import FailureType
from lee_llm_router.health.breaker import Breaker, BreakerState
from lee_llm_router.health.limits import AttemptLimits, RetryBudget
from lee_llm_router.health.minute_window import LimitsLeft, TokenUse
from lee_llm_router.health.rest import Rest
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.vendor_gate import VendorGate
from lee_llm_router.health.waiting import QueueTicket, TargetQueue, WaitingLine
from lee_llm_router.providers.base import ProviderConfig

if TYPE_CHECKING:
    from lee_llm_router.health.shared.shared_door import SharedDoor

BREAKER_OPEN = "its circuit breaker is open"
_VENDOR_WAIT = "the vendor asked to wait"

RESTS_PROVIDER = frozenset({FailureType.AUTH, FailureType.QUOTA})
"""Failures of a key: they make every target that uses the key rest."""

MAX_RECOVERY = 64
"""Concurrent attempts from which a target that has come back is no longer held back."""

RefusalCause = Literal["breaker", "gate", "limit", "recovery", "queue", "rest", "state"]
"""Why an attempt must wait: a breaker or a rest (nobody knows until when), a vendor's wait, a limit, other calls; or a
shared state that was asked for a part of a limit and answers within milliseconds."""

_STATE_ASKED = "the shared state is being asked"

Transition = Literal["open", "close"]
"""The effect of an outcome on the target's breaker."""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """The health of one target at one moment."""

    state: BreakerState = "closed"
    """State of the circuit breaker."""
    successes: int = 0
    failures: int = 0
    """Failures that count against the target (see the failure table in `docs/errors.md`)."""
    failures_in_a_row: int = 0
    last_failure: str | None = None
    """Type of the latest failure of any kind."""
    retry_after: float = 0.0
    """Seconds until it may be called again, as far as known; 0 means now."""
    in_flight: int = 0
    """Attempts that have started but not ended."""
    waiting: int = 0
    """Calls in its queue."""
    available: bool = True
    """Whether an attempt may start now, or as soon as a slot is free."""
    reason: str | None = None
    """Why it is not available."""
    retry_budget: float = 0.0
    """Retries that its provider's budget can pay for now."""
    keys: Mapping[str, TargetHealth] = field(default_factory=dict, hash=False)
    """If its provider has several keys: the health with each key, by its variable. The fields above are then those of
    the key that serves soonest, and the counts are for all keys."""


@dataclass(slots=True)
class Permit:
    """Permission to start one attempt. Give it back with `Health.release`."""

    target: TargetState
    probe: bool
    """True for the single probe that a half-open breaker lets through."""
    leads_gate: bool
    """True for the single attempt that a vendor gate lets through first after a wait."""
    fork_generation: int = 0
    """Fork generation in which the permit was issued; one from the parent process is ignored."""
    tokens: int = 0
    """Tokens reserved for the attempt."""
    of_provider: TokenUse | None = None
    of_model: TokenUse | None = None
    """Where they are counted; None if nothing limits them."""

    def settle(self, tokens: int | None, left: LimitsLeft | None, now: float) -> None:
        """Replace the estimate by what the attempt used, and apply the vendor's report of what is left."""
        of_provider, of_model = self.target.provider.limits, self.target.limits
        if tokens is not None and tokens != self.tokens:
            of_provider.settle(now, self.of_provider, tokens - self.tokens)
            if of_model is not None:
                of_model.settle(now, self.of_model, tokens - self.tokens)
        if left is not None:
            # Vendors count by model: if the model has its own limit, the report is about that.
            (of_provider if of_model is None or not of_model.is_timed else of_model).hear(now, left)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no attempt may start now."""

    cause: RefusalCause
    reason: str
    opens_at: float | None
    """The earliest time for an attempt, as far as known; None if it depends on other attempts."""
    asked_at: float


class TargetState:
    """The state of one target."""

    __slots__ = (
        "breaker", "door", "failures", "gate", "hears_limits", "in_flight", "last_failure", "last_used", "limits",
        "plain_permit", "provider", "queue", "recovery", "rest", "successes",
    )  # fmt: skip

    def __init__(
        self, config: HealthConfig, provider: ProviderState, random: Callable[[], float], model: str | None = None,
        fork_generation: int = 0,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.limits = provider.limits_of(model)
        """The model's own limits; None if it has none."""
        self.hears_limits = provider.limits.is_timed or (self.limits is not None and self.limits.is_timed)
        """Whether an attempt's usage, and the vendor's report of what is left, matter."""
        self.breaker = Breaker(config, random)
        self.gate = VendorGate()
        self.rest = Rest(config.rest, config.max_rest)
        self.recovery = MAX_RECOVERY
        """Concurrent attempts allowed: one after a probe has closed the breaker, and one more with each answer."""
        self.queue = TargetQueue()
        self.door: SharedDoor | None = None
        """Shares breaker, gate and rest with other routers; None without a shared state."""
        self.successes = 0
        self.failures = 0
        self.in_flight = 0
        self.last_failure: str | None = None
        self.plain_permit = Permit(self, False, False, fork_generation)
        """For any attempt that is no probe, leads nothing and has no limits: always the same."""
        self.last_used = -inf
        """When a permit for it was last requested."""

    def record_failure(
        self, permit: Permit, failure: FailureType, counts_against_target: bool, now: float
    ) -> Transition | None:
        """Count a failed attempt, and return its effect on the breaker."""
        self.gate.abandon(leader=permit.leads_gate)
        if failure is FailureType.CANCELLED:
            self.breaker.abandon(probe=permit.probe)
            return None
        self.last_failure = failure.value
        if counts_against_target:
            self.failures += 1
            return "open" if self.breaker.record_failure(now, probe=permit.probe) else None
        return self._answered(permit, now)

    def record_success(self, permit: Permit, now: float) -> Transition | None:
        """Count an answer, and return its effect on the breaker."""
        self.successes += 1
        if self.gate.rate is not None:
            self.gate.record_answer(now, leader=permit.leads_gate)
        if self.rest.length:
            self.rest.end()
        self.recovery += self.recovery < MAX_RECOVERY
        return self._answered(permit, now)

    def _answered(self, permit: Permit, now: float) -> Transition | None:
        if not self.breaker.record_answer(now, permit.probe):
            return None
        self.recovery = 1 if len(self.queue) > 1 else MAX_RECOVERY
        return "close"

    def opens_at(self, now: float) -> float | None:
        """Return the time from which breaker, gate and model limits admit the first call in its queue.

        None if another attempt has to end first.
        """
        if self.in_flight >= self.recovery < MAX_RECOVERY:
            return None
        opens_at = self.gate.opens_at(now)
        if opens_at is None:
            return None
        if self.limits is not None:
            first = self.queue.first
            limits_open_at = self.limits.opens_at(now, 0 if first is None else first.tokens)
            if limits_open_at is None:
                return None
            opens_at = max(opens_at, limits_open_at)
        if self.breaker.admits(now):
            return opens_at
        probe_at = self.breaker.probe_at or now
        return max(opens_at, probe_at) if now < probe_at else None

    def refusal(self, ticket: QueueTicket | None, now: float, despite_rest: bool, tokens: int) -> Refusal | None:
        """Return why no attempt may start now, as for `Health.acquire`; None if one may."""
        provider = self.provider
        if self.door is not None and (answered_by := self.door.known_by(now)) is not None:
            return Refusal("state", _STATE_ASKED, answered_by, now)
        if self.breaker.probe_at is not None and not self.breaker.admits(now) and not self._freed(now):
            return Refusal("breaker", BREAKER_OPEN, self._probe_at(now), now)
        if (now < self.rest.until or now < provider.rest.until) and not despite_rest:
            rest = max(self.rest, provider.rest, key=lambda one: one.until)
            return Refusal("rest", f"it is resting after {rest.reason}", rest.until, now)
        if self.in_flight >= self.recovery < MAX_RECOVERY:
            return Refusal("recovery", "it has just come back", None, now)
        by_gate = None if self.gate.rate is None else self._refusal_by_gate(now)
        # Most targets have no limits and no waiting calls.
        if by_gate is not None or not (provider.limits.is_set or self.limits is not None or provider.line.size):
            return by_gate
        return _refusal_by_limits(self, ticket, now, tokens)

    def _refusal_by_gate(self, now: float) -> Refusal | None:
        gate_opens_at = self.gate.opens_at(now)
        if gate_opens_at is None and self.gate.needs_pass and not self.gate.leader_in_flight:
            gate_opens_at = now if self.door is None or self.door.goes_alone(now) else now + self.door.poll
        if gate_opens_at is None or gate_opens_at > now:
            reason = _VENDOR_WAIT if now < self.gate.closed_until else "the vendor's limit"
            return Refusal("gate", reason, gate_opens_at, now)
        return None

    def _freed(self, now: float) -> bool:
        """Whether a probe may start without the pass of a shared state, because that does not answer."""
        lacks_pass = self.door is not None and self.breaker.needs_pass and self.door.goes_alone(now)
        return lacks_pass and self.breaker.admits(now)

    def _probe_at(self, now: float) -> float | None:
        """Return the earliest time for a probe; None while one is in progress here."""
        breaker = self.breaker
        if breaker.is_probing or breaker.probe_at is None:
            return None
        if self.door is not None and breaker.needs_pass and breaker.probe_at <= now:
            return now + self.door.poll
        return breaker.probe_at

    def follow_closing(self) -> None:
        """Close the breaker as another router has, and let the waiting calls through one by one."""
        self.breaker.follow_closing()
        self.recovery = 1 if len(self.queue) > 1 else MAX_RECOVERY

    def refusal_of_model(self, ticket: QueueTicket | None, now: float, tokens: int) -> Refusal | None:
        """Return why the limits of its model, if any, admit no attempt; None if they do."""
        if self.limits is None:
            return None
        opens_at = self.limits.opens_at(now, tokens)
        if opens_at is None or opens_at > now:
            return refusal_by(self.limits, "at the limit set for its model", opens_at, now)
        waiting = 0 if ticket is not None and self.limits.spare(now) else len(self.queue)
        if (
            waiting and self.queue.first is not ticket and self.limits.spare(now) <= waiting
        ):  # a small request does not overtake a large one
            return refusal_in_queue(self.limits, now)
        return None

    def reset(self) -> None:
        """Forget everything that keeps attempts away."""
        self.breaker.reset()
        self.gate = VendorGate()
        if self.door is not None:
            self.door.forget()
        self.rest.end()
        self.recovery = MAX_RECOVERY

    def snapshot(self, now: float) -> TargetHealth:
        """Return the health at `now`, as data."""
        provider = self.provider
        rest = self.rest if self.rest.until >= provider.rest.until else provider.rest
        reason, wait = None, max(0.0, self.gate.closed_until - now, self.breaker.seconds_until_probe(now))
        if self.breaker.probe_at is not None:
            reason = BREAKER_OPEN
        elif now < rest.until:
            reason, wait = f"it is resting after {rest.reason}", max(wait, rest.until - now)
        elif now < self.gate.closed_until:
            reason = _VENDOR_WAIT
        elif provider.budget.tokens < 1:
            reason = "its provider's retry budget is used up"
        return TargetHealth(
            state=self.breaker.state(now),
            successes=self.successes,
            failures=self.failures,
            failures_in_a_row=self.breaker.failures_in_a_row,
            last_failure=self.last_failure,
            retry_after=wait,
            in_flight=self.in_flight,
            waiting=len(self.queue),
            available=reason is None or (not wait and self.breaker.probe_at is None),
            reason=reason,
            retry_budget=provider.budget.tokens,
        )


def refusal_by(limits: AttemptLimits, reason: str, opens_at: float | None, now: float) -> Refusal:
    """Return the refusal of an attempt that `limits` have just delayed; `reason` applies if they are the cause."""
    return Refusal(limits.cause, reason if limits.cause == "limit" else _STATE_ASKED, opens_at, now)


def refusal_in_queue(limits: AttemptLimits, now: float) -> Refusal:
    """Return the refusal of a call that is behind others; if `limits` are lent, until more is lent."""
    answered_by = limits.answered_by(now)
    if answered_by is None:
        return Refusal("queue", "others are waiting for it", None, now)
    return Refusal("state", _STATE_ASKED, answered_by, now)


def _refusal_by_limits(target: TargetState, ticket: QueueTicket | None, now: float, tokens: int) -> Refusal | None:
    """Return why limits, or waiting calls, admit no attempt at `target`; None if they do.

    Args:
        target: The target, which itself admits the attempt.
        ticket: The place of the call in the queue, if it has one.
        now: The time.
        tokens: The tokens to reserve for the attempt.
    """
    provider = target.provider
    if provider.limits.is_set:
        limits_open_at = provider.limits.opens_at(now, tokens)
        if limits_open_at is None or limits_open_at > now:
            return refusal_by(provider.limits, "at the limit set for it", limits_open_at, now)
    if target.limits is not None and (refusal := target.refusal_of_model(ticket, now, tokens)) is not None:
        return refusal
    if provider.line.size:
        first = provider.line.first(now)
        # What is lent in advance is enough for many: those who wait for it need not go one by one.
        ahead = 0 if ticket is not None else provider.line.size
        if first is not None and first is not ticket and provider.limits.spare(now) <= ahead:
            return refusal_in_queue(provider.limits, now)
    return None


def refusal_at_last(target: TargetState, refusal: Refusal | None, now: float) -> Refusal | None:
    """Return `refusal` for a call whose patience has ended: it may probe before the breaker's time."""
    if refusal is None or refusal.cause != "breaker" or refusal.opens_at is None:
        return refusal
    early = min(refusal.opens_at, target.breaker.early_probe_at)
    return None if now >= early else replace(refusal, opens_at=early)


class ProviderState:
    """The state that all targets of one provider share; with several keys, of one key, except for the retry budget.

    Args:
        provider: Its settings.
        config: Thresholds and times.
        budget: The retry budget of the whole provider; None: a new one.
    """

    __slots__ = ("_model_limits", "budget", "door", "limits", "line", "rest")

    def __init__(self, provider: ProviderConfig, config: HealthConfig, budget: RetryBudget | None = None) -> None:
        self.limits = AttemptLimits(provider.max_concurrency, provider.rpm, provider.tpm)
        self._model_limits = provider.model_limits
        self.budget = budget or RetryBudget(config.retry_ratio, config.retry_burst)
        self.rest = Rest(config.rest, config.max_rest)
        self.line = WaitingLine()
        self.door: SharedDoor | None = None
        """Shares the rest with other routers; None without a shared state."""

    def limits_of(self, model: str | None) -> AttemptLimits | None:
        """Return new limits for a model, as configured; None if it has none of its own."""
        found = None if model is None else self._model_limits.get(model)
        return None if found is None else AttemptLimits(found.max_concurrency, found.rpm, found.tpm)
