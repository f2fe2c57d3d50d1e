"""What is known of a target now, per router: breaker, vendor's door, local limits, retry budget, and who waits.

Kept by provider and model; limits and budget by provider. The clock is injected, and the lock is held only for
arithmetic: nothing here waits. Who may not start now gets a `Ticket`, and is woken when it is worth asking again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from heapq import nsmallest
from math import inf
from typing import Literal

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import FailureType
from lee_llm_router.health.breaker import Breaker, BreakerState
from lee_llm_router.health.limits import Limits, RetryBudget
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.vendor_gate import Door
from lee_llm_router.providers.base import ProviderConfig

TargetKey = tuple[str, str | None]
"""Provider name and model."""

MAX_TARGETS = 4096
"""Targets remembered; past it those longest unheard of are forgotten (callers may pass any model name)."""

_FORGOTTEN_AT_ONCE = 256

BREAKER_OPEN = "its circuit breaker is open"

Transition = Literal["open", "close"]


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What is known of one target at one moment."""

    state: BreakerState = "closed"
    """Of the circuit breaker."""
    successes: int = 0
    failures: int = 0
    """Failures that count against the target (see the failure table in `docs/errors.md`)."""
    failures_in_a_row: int = 0
    last_failure: str | None = None
    """Type of the latest failure of any kind."""
    retry_after: float = 0.0
    """Seconds until it may be asked again, as far as is known; 0 means now."""
    in_flight: int = 0
    """Attempts under way."""
    waiting: int = 0
    """Calls that wait for it."""


@dataclass(slots=True)
class Permit:
    """Leave to start one attempt. Give it back with `Health.settle`."""

    key: TargetKey
    probe: bool
    """The one attempt by which a half-open breaker finds out."""
    first: bool
    """The one attempt that goes first through a door that has just opened."""
    forks: int = 0
    """How many forks the process had behind it, as far as `Health` is concerned."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no attempt may start now."""

    reason: str
    opens_at: float | None
    """The moment from which it may, as far as is known; None where it depends on others."""
    waitable: bool
    """Whether waiting is the thing to do: not at an open breaker, whose end nobody promised."""
    asked_at: float


class Ticket:
    """A place in the queue for one target. `woken` is done when it is worth asking again."""

    __slots__ = ("key", "woken")

    def __init__(self, key: TargetKey) -> None:
        self.key = key
        self.woken: Future[None] = Future()


class _Target:
    __slots__ = ("breaker", "door", "failures", "heard", "in_flight", "last_failure", "queue", "successes")

    def __init__(self, config: HealthConfig, random: Callable[[], float]) -> None:
        self.breaker = Breaker(config, random)
        self.door = Door()
        self.queue: deque[Ticket] = deque()
        self.successes = 0
        self.failures = 0
        self.in_flight = 0
        self.last_failure: str | None = None
        self.heard = -inf
        """The moment it was last asked for."""

    @property
    def is_free(self) -> bool:
        """Whether nothing stands in the way of an attempt: breaker closed, door open, nobody waiting."""
        return self.breaker.until is None and not self.door.paced and not self.queue


class _Shared:
    """What all targets of a provider share."""

    __slots__ = ("budget", "limits", "waiting")

    def __init__(self, provider: ProviderConfig, config: HealthConfig, now: float) -> None:
        self.limits = Limits(provider.max_concurrency, provider.rpm)
        self.budget = RetryBudget(config.retry_ratio, config.retry_burst, now)
        self.waiting: set[TargetKey] = set()
        """Targets with a queue."""


class Health:
    """Says who may be asked now, and learns from every attempt.

    Args:
        config: Thresholds and times.
        providers: Settings of the providers, for their limits.
        clock: Read for the time.
        random: A number in [0, 1), for the jitter of cool-downs.
    """

    def __init__(
        self,
        config: HealthConfig,
        providers: Mapping[str, ProviderConfig],
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._config = config
        self._providers = providers
        self._clock = clock
        self._random = random
        self._lock = ForkLock(reentrant=True, in_child=self._forked)
        self._forks = 0
        self._targets: dict[TargetKey, _Target] = {}
        self._shared: dict[str, _Shared] = {}

    def enter(self, key: TargetKey, ticket: Ticket | None = None, *, retry: bool = False) -> Permit | Refusal:
        """Leave to start an attempt at `key` now, or why not.

        Args:
            key: The target.
            ticket: The caller's place in the queue, if it has been waiting.
            retry: It is a further try at the same target, so it earns the retry budget nothing.
        """
        now = self._clock.monotonic()
        with self._lock:
            target = self._targets.get(key) or self._target(key)
            shared = self._shared.get(key[0]) or self._provider(key[0])
            target.heard = now
            if target.is_free and not shared.limits.exist:
                # The usual case: what follows would come to the same, at 1.3 times the price.
                if not retry:
                    shared.budget.earn(now)
                shared.limits.in_flight += 1
                target.in_flight += 1
                return Permit(key, False, False, self._forks)
            refusal = self._refusal(target, shared, ticket, now)
            if refusal is not None:
                if ticket is not None and ticket.woken.done():
                    ticket.woken = Future()
                return refusal
            if ticket is not None:
                self._dequeue(target, shared, ticket)
            shared.limits.enter(now)
            target.in_flight += 1
            if not retry:
                shared.budget.earn(now)
            permit = Permit(key, target.breaker.enter(), target.door.enter(now), self._forks)
            if target.queue:
                self._wake(target)
            return permit

    def settle(
        self, permit: Permit, failure: FailureType | None = None, *, counts: bool = False, shut_for: float | None = None
    ) -> Transition | None:
        """Give `permit` back with what came of the attempt: an answer, a `failure`, or CANCELLED.

        Args:
            permit: From `enter`.
            failure: How it failed; None for an answer.
            counts: Whether the failure counts against the target.
            shut_for: Seconds for which the vendor wants to be left alone.

        Returns:
            Whether this opened or closed the breaker.
        """
        now = self._clock.monotonic()
        with self._lock:
            if permit.forks != self._forks:
                return None  # of the parent process, which counts it
            target = self._targets.get(permit.key) or self._target(permit.key)
            shared = self._shared.get(permit.key[0]) or self._provider(permit.key[0])
            shared.limits.in_flight -= 1
            target.in_flight -= 1
            changed: Transition | None
            if failure is None:
                target.successes += 1
                changed = "close" if target.breaker.answered(now, probe=permit.probe) else None
                if target.door.paced:
                    target.door.answered(now, first=permit.first)
            else:
                changed = self._learn(target, permit, failure, counts, now)
                target.door.left(first=permit.first)
            if shut_for:  # zero seconds mean: come at once
                target.door.shut(now, shut_for, target.breaker.answer_rate(now))
            if shared.waiting:
                for key in tuple(shared.waiting):
                    self._wake(self._targets[key])
            return changed

    def breaker_opens_at(self, key: TargetKey) -> float:
        """The moment from which the breaker of `key` lets anybody through; in the past if it does now."""
        with self._lock:
            return self._target(key).breaker.until or 0.0

    def spend_retry(self, provider: str) -> bool:
        """Take a retry from the provider's budget; False if it has none left."""
        with self._lock:
            return self._provider(provider).budget.spend(self._clock.monotonic())

    def queue(self, key: TargetKey) -> Ticket:
        """Take a place in the queue for `key`. Leave it with `enter`, once admitted, or with `leave`."""
        ticket = Ticket(key)
        now = self._clock.monotonic()
        with self._lock:
            target, shared = self._target(key), self._provider(key[0])
            target.queue.append(ticket)
            shared.waiting.add(key)
            # The way may have become free since the refusal, and whoever freed it did not see this ticket.
            if self._refusal(target, shared, ticket, now) is None:
                self._wake(target)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in a queue."""
        with self._lock:
            target = self._target(ticket.key)
            self._dequeue(target, self._provider(ticket.key[0]), ticket)
            self._wake(target)

    def snapshot(self) -> Mapping[TargetKey, TargetHealth]:
        """Everything known, as data."""
        now = self._clock.monotonic()
        with self._lock:
            return {
                key: TargetHealth(
                    state=target.breaker.state(now),
                    successes=target.successes,
                    failures=target.failures,
                    failures_in_a_row=target.breaker.failures_in_a_row,
                    last_failure=target.last_failure,
                    retry_after=max(0.0, target.door.shut_until - now, target.breaker.opens_in(now)),
                    in_flight=target.in_flight,
                    waiting=len(target.queue),
                )
                for key, target in self._targets.items()
            }

    def _forked(self) -> None:
        """In a forked child: let go of the attempts and waits of the parent's threads, which will never end here."""
        self._forks += 1
        for target in self._targets.values():
            target.in_flight = 0
            target.queue.clear()
            target.breaker.left(probe=True)
            target.door.left(first=True)
        for shared in self._shared.values():
            shared.limits.in_flight = 0
            shared.waiting.clear()

    def _refusal(self, target: _Target, shared: _Shared, ticket: Ticket | None, now: float) -> Refusal | None:
        if not target.breaker.admits(now):
            return Refusal(BREAKER_OPEN, now + target.breaker.opens_in(now), waitable=False, asked_at=now)
        opens_at = target.door.opens_at(now)
        if opens_at is None or opens_at > now:
            shut = now < target.door.shut_until
            return Refusal(
                "the vendor asked to wait" if shut else "the vendor's limit", opens_at, waitable=True, asked_at=now
            )
        opens_at = shared.limits.opens_at(now)
        if opens_at is None or opens_at > now:
            return Refusal("at the limit set for it", opens_at, waitable=True, asked_at=now)
        if target.queue and target.queue[0] is not ticket:
            return Refusal("others are waiting for it", None, waitable=True, asked_at=now)
        return None

    def _learn(
        self, target: _Target, permit: Permit, failure: FailureType, counts: bool, now: float
    ) -> Transition | None:
        if failure is FailureType.CANCELLED:
            target.breaker.left(probe=permit.probe)
            return None
        target.last_failure = failure.value
        if counts:
            target.failures += 1
            return "open" if target.breaker.failed(now, probe=permit.probe) else None
        return "close" if target.breaker.answered(now, probe=permit.probe) else None

    def _wake(self, target: _Target) -> None:
        """Tell the head of the queue to ask again."""
        if target.queue and not target.queue[0].woken.done():
            target.queue[0].woken.set_result(None)

    def _dequeue(self, target: _Target, shared: _Shared, ticket: Ticket) -> None:
        if ticket in target.queue:
            target.queue.remove(ticket)
        if not target.queue:
            shared.waiting.discard(ticket.key)

    def _provider(self, name: str) -> _Shared:
        shared = self._shared.get(name)
        if shared is None:
            shared = _Shared(self._providers[name], self._config, self._clock.monotonic())
            self._shared[name] = shared
        return shared

    def _target(self, key: TargetKey) -> _Target:
        target = self._targets.get(key)
        if target is None:
            if len(self._targets) >= MAX_TARGETS:
                self._forget()
            target = self._targets[key] = _Target(self._config, self._random)
        return target

    def _forget(self) -> None:
        idle = (key for key, target in self._targets.items() if not target.in_flight and not target.queue)
        # Many at once: finding them takes a look at all.
        for key in nsmallest(_FORGOTTEN_AT_ONCE, idle, key=lambda key: self._targets[key].heard):
            del self._targets[key]
