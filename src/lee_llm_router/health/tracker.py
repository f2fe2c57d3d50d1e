"""Tracks the health of each target, and decides which may be called. A router has one `Health`.

How this works
--------------
A target is a model of a provider; if the provider has several keys, with one of them. `Health` keeps a `TargetState`
for each target (circuit breaker, vendor gate, limits of the model, queue of waiting calls, counters) and a
`ProviderState` for each provider or key (configured limits, rest, retry budget; keys share the last).

For each attempt the engine calls:

1. `acquire(key)`. It checks the breaker, the vendor gate, the provider's limits and the queue, in this order. If all
   let the attempt pass, it counts the attempt at once, so that no two calls can take the same slot, and returns a
   `Permit`. Otherwise it returns a `Refusal`: why, and until when. Whether to wait is the engine's decision.
2. `queue(key, refusal)`, if the call waits. It returns a `QueueTicket`. The engine waits until `ticket.woken` is done
   or the refusal has run out, and calls `acquire(key, ticket)`. If that is refused too, the ticket keeps its place. A
   call that gives up calls `leave_queue(ticket)`.
3. `release(permit, ...)` once for each permit, with the outcome. It informs the breaker and the gate, closes the gate
   if the vendor named a wait, and wakes the calls that may go on now.

Before a retry that the router decides on itself, the engine also calls `spend_retry(provider)`.

Calls that wait for a provider are served in order of arrival across all its targets, passing over targets that are
closed (`waiting.py`). Each change wakes two calls at most: the one whose turn it is, and the first of a target that is
closed, which waits for a time that may have changed. Nothing here waits: the clock is injected, and the lock is held
only for arithmetic. It is reentrant, because a signal handler may close a stream, which releases its permit, while the
same thread holds the lock. A forked child keeps the health, but not the permits and tickets of its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from heapq import nsmallest
from typing import TYPE_CHECKING

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import FailureType
from lee_llm_router.health.minute_window import LimitsLeft
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.state_news import ask_shared, tell_shared
from lee_llm_router.health.states import (
    RESTS_PROVIDER,
    Permit,
    ProviderState,
    Refusal,
    TargetHealth,
    TargetState,
    Transition,
    refusal_at_last,
)
from lee_llm_router.health.view import HealthView
from lee_llm_router.health.waiting import KeyedTarget, QueueTicket, TargetKey
from lee_llm_router.providers.base import ProviderConfig

if TYPE_CHECKING:
    from lee_llm_router.health.glance import HealthGlance
    from lee_llm_router.health.shared.link import StateLink

MAX_TARGETS = 4096
"""The most targets remembered, since callers may pass any model name; the least recently used are forgotten."""

_EVICTED_AT_ONCE = 256


class Health:
    """Decides which targets may be called now, and learns from every attempt.

    Args:
        config: Thresholds and times.
        providers: Settings of the providers, which hold their limits.
        clock: Tells the time.
        random: Returns a number in [0, 1), for the jitter of cool-downs.
        link: Connects it to a shared state; None: it knows only this router.
    """

    def __init__(
        self,
        config: HealthConfig,
        providers: Mapping[str, ProviderConfig],
        clock: Clock,
        random: Callable[[], float],
        link: StateLink | None = None,
    ) -> None:
        self._config = config
        self._provider_configs = providers
        self._clock = clock
        self._random = random
        self._link = link
        self._lock = ForkLock(reentrant=True, in_child=self._reset_in_child)
        self._own_lock = self._lock
        self._fork_generation = 0
        self._targets: dict[TargetKey, TargetState] = {}
        self._keyed: dict[TargetKey, dict[str, TargetState]] = {}
        """Targets that are asked with several keys, by provider and model: the state of each key, by its variable."""
        self._providers: dict[tuple[str, str | None], ProviderState] = {}
        """By name and, for each key of a provider that has several, its variable."""
        self.token_limited = frozenset(name for name, one in providers.items() if one.limits_tokens)
        """Providers whose attempts need an estimate of their tokens."""

    def successor(
        self, config: HealthConfig, providers: Mapping[str, ProviderConfig], unchanged: Iterable[str]
    ) -> Health:
        """Return the health under new settings. It shares the state of unchanged providers with this one.

        Both may be used at once: calls that began under the old settings finish there.

        Args:
            config: Thresholds and times.
            providers: Settings of the providers.
            unchanged: Providers of both whose settings are the same.
        """
        other = Health(config, providers, self._clock, self._random, self._link)
        other._fork_generation = self._fork_generation
        with self._lock:
            # Keep its own lock alive, since a fork finds its `_reset_in_child` through it.
            other._own_lock, other._lock = other._lock, self._lock
            shared = set(unchanged)
            for name in shared:
                self._provider_state(name)
            other._providers.update({key: one for key, one in self._providers.items() if key[0] in shared})
            other._targets.update({key: one for key, one in self._targets.items() if key[0] in shared})
            other._keyed.update({key: dict(one) for key, one in self._keyed.items() if key[0] in shared})
        return other

    def acquire(
        self,
        key: TargetKey,
        ticket: QueueTicket | None = None,
        tokens: int = 0,
        despite_rest: bool = False,
        last_chance: bool = False,
    ) -> Permit | Refusal:
        """Return a permit for `key`, or a refusal with the reason.

        Args:
            ticket: The caller's place in the queue, if it has been waiting. A permit ends it.
            tokens: An estimate of what the attempt will use, to reserve if `tpm` limits that.
            despite_rest: Whether the caller has no other target, so that a rest does not keep it away.
            last_chance: Whether the caller's patience has ended: it may probe before the breaker's time.
        """
        now = self._clock.monotonic()
        with self._lock.inner:
            target = self._targets.get(key) or self._add_target(key)
            provider = target.provider
            target.last_used = now
            refusal = target.refusal(ticket, now, despite_rest, tokens)
            if last_chance:
                refusal = refusal_at_last(target, refusal, now)
            if refusal is not None:
                if ticket is not None and ticket.woken.done():
                    ticket.woken = Future()  # so that it can be woken again
                if self._link is not None:
                    ask_shared(target, refusal, now, tokens)
                return refusal
            if ticket is not None:
                self._end(ticket, target, now)
            of_provider = provider.limits.acquire(now, tokens) if provider.limits.is_set else None
            of_model = None if target.limits is None else target.limits.acquire(now, tokens)
            target.in_flight += 1
            if target.rest.length:
                target.rest.start_attempt(now)
            if provider.rest.length:
                provider.rest.start_attempt(now)
            # Ask breaker and gate only if they have something to say: most targets are healthy.
            probe = target.breaker.probe_at is not None and target.breaker.start_attempt()
            leads = target.gate.rate is not None and target.gate.start_attempt(now)
            permit = target.plain_permit
            if probe or leads or provider.limits.is_set or target.limits is not None:
                permit = Permit(target, probe, leads, self._fork_generation, tokens, of_provider, of_model)
            if self._link is not None:
                tell_shared(target, has_news=probe or leads)
            if provider.line.size:
                self._wake(target, now)
            return permit

    def release(
        self,
        permit: Permit,
        failure: FailureType | None = None,
        counts_against_target: bool = False,
        close_gate_for: float | None = None,
        rests: bool = False,
        *,
        tokens: int | None = None,
        left: LimitsLeft | None = None,
    ) -> Transition | None:
        """Give `permit` back with the outcome of the attempt, and return the effect on the target's breaker.

        Args:
            failure: How the attempt failed, CANCELLED included; None for an answer.
            counts_against_target: Whether the failure is the target's fault.
            close_gate_for: Seconds for which the vendor asked to be left alone; None or 0 if it did not.
            rests: Whether the failure means that the target cannot serve for now.
            tokens: What the attempt used; None if that is unknown, so that the estimate stands.
            left: The vendor's report of what is left of its limits; None if there is none.
        """
        now = self._clock.monotonic()
        with self._lock.inner:
            if permit.fork_generation != self._fork_generation:
                return None  # The parent process counts this attempt.
            target, provider = permit.target, permit.target.provider
            if provider.limits.is_set:
                provider.limits.release()
            target.in_flight -= 1
            if target.limits is not None:
                target.limits.release()
            if target.hears_limits:
                permit.settle(tokens, left, now)
            if failure is None:
                changed = target.record_success(permit, now)
                provider.budget.earn()
                if provider.rest.length:
                    provider.rest.end()
            else:
                if rests:
                    (provider if failure in RESTS_PROVIDER else target).rest.begin(now, failure.value)
                changed = target.record_failure(permit, failure, counts_against_target, now)
            if close_gate_for:
                target.gate.close_for(now, close_gate_for, target.breaker.answer_rate(now))
            if self._link is not None:
                tell_shared(target, has_news=failure is not None or permit.probe or permit.leads_gate,
                             reopened=permit.probe and changed == "open")  # fmt: skip
            if provider.line.size:
                self._wake(target, now)
            return changed

    def glance(self) -> HealthGlance:
        """Return an object that answers like this one, but changes nothing: it takes no permit, and adds no target."""
        from lee_llm_router.health.glance import HealthGlance  # noqa: PLC0415 - for explanations, not for calls

        return HealthGlance(self._seen_target, self._lock, self._clock)

    def view(self) -> HealthView:
        """Return the health of every target, like `snapshot`, but each looked up on access."""
        return HealthView(self._targets, self._keyed, self._lock, self._clock)

    def _seen_target(self, key: TargetKey) -> TargetState:
        """Return the state of `key`; for an unknown target, the state it would begin with. The lock is held."""
        known = self._targets.get(key)
        if known is not None:
            return known
        own = self._providers.get((key[0], key.variable if isinstance(key, KeyedTarget) else None))
        provider = own or ProviderState(self._provider_configs[key[0]], self._config)
        return TargetState(self._config, provider, self._random, key[1])

    def breaker_admits_at(self, key: TargetKey) -> float:
        """Return the time from which the breaker of `key` admits an attempt; a past time if it does so now."""
        with self._lock:
            return self._target(key).breaker.probe_at or 0.0

    def last_answer_at(self, key: TargetKey) -> float:
        """Return when `key` last answered any call; minus infinity if it never did."""
        with self._lock:
            return self._target(key).breaker.last_answer_at

    def spend_retry(self, provider: str) -> bool:
        """Take a retry from the provider's budget; return False if none is left."""
        with self._lock:
            return self._provider_state(provider).budget.spend()

    def queue(
        self, key: TargetKey, refusal: Refusal | None = None, tokens: int = 0, others: Sequence[TargetKey] = ()
    ) -> QueueTicket:
        """Take a place in the queue for `key`. A permit from `acquire` ends it, or `leave_queue`.

        Args:
            key: The target.
            refusal: Why the caller waits, and so until when; None if unknown.
            tokens: As for `acquire`.
            others: The same target with other keys: the ticket is in their queues too, and any of them wakes it.
        """
        ticket = QueueTicket((key, *others), tokens)
        until = None if refusal is None else refusal.opens_at
        now = self._clock.monotonic()
        with self._lock:
            for one in ticket.keys:
                target = self._target(one)
                line = target.provider.line
                target.breaker.hurry()
                if self._link is not None:
                    tell_shared(target)
                line.append(target.queue, ticket)
                line.place(target.queue, target.opens_at(now), now)
                # A permit may have been released between the refusal and this append; nobody would wake us then.
                refused = target.refusal(ticket, now, True, tokens)
                if refused is None or (refused.opens_at is not None and (until is None or refused.opens_at < until)):
                    ticket.wake()
        return ticket

    def leave_queue(self, ticket: QueueTicket) -> None:
        """Leave the queue."""
        with self._lock:
            self._end(ticket, None, self._clock.monotonic())

    def _end(self, ticket: QueueTicket, served: TargetState | None, now: float) -> None:
        """Remove `ticket` from all queues; those other than that of `served` may go on, as they woke it in vain."""
        for key in ticket.keys:
            target = self._target(key)
            target.provider.line.remove(target.queue, ticket)
            if target is not served:
                self._wake(target, now)

    def snapshot(self) -> Mapping[TargetKey, TargetHealth]:
        """Return the health of every target, as data; for one with several keys, as a whole and for each key."""
        with self._lock:
            return dict(self.view())

    def reset(self, provider: str | None = None, model: str | None = None) -> None:
        """Forget everything that closes targets: breakers, vendors' waits, rests, and spent retry budgets.

        Args:
            provider: Only targets of this provider. Default: all.
            model: Only targets with this model. Default: all.
        """
        now = self._clock.monotonic()
        with self._lock:
            for key, target in self._targets.items():
                if (provider is None or key[0] == provider) and (model is None or key[1] == model):
                    target.reset()
                    self._wake(target, now)
            for (name, _), state in self._providers.items():
                if model is None and (provider is None or name == provider):
                    state.rest.end()
                    state.budget.reset()
                    if state.door is not None:
                        state.door.forget()

    def _reset_in_child(self) -> None:
        """Drop the attempts and waits of the parent's threads in a forked child: they will never end there."""
        self._fork_generation += 1
        for target in self._targets.values():
            target.in_flight = 0
            target.plain_permit = Permit(target, False, False, self._fork_generation)
            if target.limits is not None:
                target.limits.in_flight = 0
            target.queue.clear()
            target.breaker.abandon(probe=True)
            target.gate.abandon(leader=True)
        for provider in self._providers.values():
            provider.limits.in_flight = 0
            provider.line.clear()

    @staticmethod
    def _wake(target: TargetState, now: float) -> None:
        """Wake the calls for which a change at `target` matters."""
        provider, opens_at = target.provider, target.opens_at(now)
        provider.line.place(target.queue, opens_at, now)
        head, first = target.queue.first, provider.line.first(now)
        if head is not None and (opens_at is None or opens_at > now):
            head.wake()
        if first is not None and provider.limits.opens_at(now, first.tokens) is not None:
            first.wake()

    def _target(self, key: TargetKey) -> TargetState:
        return self._targets.get(key) or self._add_target(key)

    def _add_target(self, key: TargetKey) -> TargetState:
        if len(self._targets) >= MAX_TARGETS:
            self._evict()
        variable = key.variable if isinstance(key, KeyedTarget) else None
        provider = self._provider_state(key[0], variable)
        target = self._targets[key] = TargetState(self._config, provider, self._random, key[1], self._fork_generation)
        if variable is not None:
            self._keyed.setdefault((key[0], key[1]), {})[variable] = target
        if self._link is not None:
            from lee_llm_router.health.shared.joining import join_target  # noqa: PLC0415 - most share nothing

            join_target(self._link, key, target, self._lock, self._wake)
        return target

    def _provider_state(self, name: str, variable: str | None = None) -> ProviderState:
        provider = self._providers.get((name, variable))
        if provider is None:
            budget = None if variable is None else self._provider_state(name).budget
            provider = ProviderState(self._provider_configs[name], self._config, budget)
            self._providers[name, variable] = provider
            if self._link is not None:
                from lee_llm_router.health.shared.joining import join_provider  # noqa: PLC0415 - most share nothing

                join_provider(self._link, name, variable, provider, self._lock)
        return provider

    def _evict(self) -> None:
        """Forget the least recently used targets that are not in use; targets with limits of their own are kept."""
        idle = (key for key, t in self._targets.items() if not t.in_flight and not t.queue and t.limits is None)
        # Evict in batches: finding the oldest scans every target.
        for key in nsmallest(_EVICTED_AT_ONCE, idle, key=lambda key: self._targets[key].last_used):
            del self._targets[key]
            if isinstance(key, KeyedTarget):
                keys = self._keyed[key[0], key[1]]
                del keys[key.variable]
                if not keys:
                    del self._keyed[key[0], key[1]]
