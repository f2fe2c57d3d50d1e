"""What `Health` would answer now, without taking or changing anything: for explanations, which call no provider."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lee_llm_router._util.clock import Clock
from lee_llm_router.health.states import Permit, Refusal, TargetState, refusal_at_last
from lee_llm_router.health.waiting import QueueTicket, TargetKey


class HealthGlance:
    """Answers the target selection's questions to `Health`, by the same rules; see `Health.glance`.

    Args:
        state: Returns the state of a target, under the lock.
        refusal: Returns why no attempt may start at a target, as `Health` decides it, under the lock.
        lock: The lock.
        clock: Tells the time.
    """

    def __init__(
        self,
        state: Callable[[TargetKey], TargetState],
        lock: AbstractContextManager[object],
        clock: Clock,
    ) -> None:
        self._state = state
        self._lock = lock
        self._clock = clock

    def acquire(
        self,
        key: TargetKey,
        ticket: QueueTicket | None = None,
        tokens: int = 0,
        despite_rest: bool = False,
        last_chance: bool = False,
    ) -> Permit | Refusal:
        """Same as `Health.acquire`, but the permit is worthless."""
        now = self._clock.monotonic()
        with self._lock:
            target = self._state(key)
            refusal = target.refusal(ticket, now, despite_rest, tokens)
            if last_chance:
                refusal = refusal_at_last(target, refusal, now)
            if refusal is not None and refusal.cause == "state":
                refusal = None  # this asks for no lease; a call would mostly get one
        return refusal or Permit(target, probe=False, leads_gate=False, fork_generation=-1)

    def breaker_admits_at(self, key: TargetKey) -> float:
        """See `Health.breaker_admits_at`."""
        with self._lock:
            return self._state(key).breaker.probe_at or 0.0

    def last_answer_at(self, key: TargetKey) -> float:
        """See `Health.last_answer_at`."""
        with self._lock:
            return self._state(key).breaker.last_answer_at

    def spend_retry(self, provider: str) -> bool:  # noqa: ARG002 - as `Health.spend_retry`
        """Return True: a first attempt takes nothing from a budget."""
        return True

    def queue(self, key: TargetKey, *_: object) -> QueueTicket:
        """Return a ticket that is in no queue."""
        return QueueTicket((key,))

    def leave_queue(self, ticket: QueueTicket) -> None:
        """Do nothing: no ticket is in a queue."""
