"""Chooses which target a call tries next, or which one it waits for.

How this works
--------------
A call has a chain of candidates. Each is in one of four states: never tried; tried, and ready again at a time
(`ready_at`) that its failure or a backoff set; exhausted for this call; or refused, because its provider cannot serve
the request.

`next_action` goes along the chain, from the candidate after the one that failed and around, and takes the first that
`Health` gives a permit for. The selector acquires the permit itself, so that two calls cannot claim the same slot.

If no target is available now, it chooses the wait, for the candidate that opens soonest. The call waits for a vendor's
wait, a limit of our own or a backoff if it ends before the call's last moment. It waits for an open breaker while it
has patience: nothing says when the target is back, but single probes find out, and the first in the queue makes them.
Patience runs from the time the call found every target shut, not while a probe is in progress, and starts over once the
target has answered any call. When it ends, the call may probe early. A resting target is tried anyway if there is
nothing else left to do.

If other calls wait for the same target, the wait is a place in that target's queue, and the ticket wakes the call when
its turn has come.

A retry that we decide on takes from the provider's retry budget. A first attempt is free, and so is one whose time the
vendor named. A retry that the budget cannot pay for is postponed, by `max_backoff` at most, and then given up.

Every target passed over is noted once, with the reason, for a trace record (`take_skipped`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.numbers import written_out
from lee_llm_router.engine.candidates import Candidate, NextAction
from lee_llm_router.engine.failure_rules import FAILURES_OF_KEY
from lee_llm_router.engine.plan import Target
from lee_llm_router.engine.settings import RetryConfig
from lee_llm_router.errors import BudgetExceededError, FailureType, LLMRouterError, UnavailableError
from lee_llm_router.health.states import BREAKER_OPEN, Permit, Refusal
from lee_llm_router.health.tracker import Health
from lee_llm_router.health.waiting import QueueTicket, TargetKey

if TYPE_CHECKING:
    from lee_llm_router.health.glance import HealthGlance

_BACKOFF = "a backoff"
_PROBE = "probe of its open breaker"
_LEAD = "the first since the vendor's wait"
_DESPITE_REST = "asked although it is resting: no other target is left"
_LAST_CHANCE = "before its breaker's time: the call's patience ends"
_BUDGET_POLL = 0.25
"""Seconds between two checks whether answers have paid for a retry."""
_LAST_CHANCE_SECONDS = 1.0
"""Seconds after the end of patience in which a call may still get its last attempt: several calls may end together."""


class TargetSelector:
    """The chain of one call.

    Args:
        targets: The chain.
        health: Grants and refuses permits.
        prepare: Opens a candidate's provider and builds its request; returns the reason if it cannot serve.
        last_start: The time from which no attempt may start.
        retry: The role's patience and longest wait.
    """

    __slots__ = (
        "_health", "_last_start", "_prepare", "_refused", "_retry", "_spent", "_targets", "_ticket", "_waiting",
        "candidates", "kept", "opens_at", "refuse", "shut_reason", "shut_since", "skipped", "spent_budget",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Target],
        health: Health | HealthGlance,
        prepare: Callable[[Candidate], LLMRouterError | None],
        last_start: float,
        retry: RetryConfig,
    ) -> None:
        self.candidates = [Candidate(targets[0], 0)]
        """Only the first until it is passed over or fails: most calls need no other (saves 1.7% of their work)."""
        self._targets = targets
        self._health = health
        self._prepare = prepare
        self.refuse: Callable[[Target], BudgetExceededError | None] | None = None
        """Says which spent budget forbids a target; None if there are no budgets."""
        self.kept: Mapping[int, Any] | None = None
        """Kept answers of targets, by their index in the chain; None if there is no cache."""
        self.spent_budget: BudgetExceededError | None = None
        """The spent budget that the last look found, if that is why no target is available."""
        self.skipped: list[tuple[Target, LLMRouterError]] = []
        """Targets skipped since the last call to `take_skipped`, with the reason."""
        self._last_start = last_start
        self._retry = retry
        self.shut_since: float | None = None
        """The time from which the call's patience runs; None while it does not."""
        self.shut_reason = ""
        """Why the last look found no target to try or to wait for."""
        self._ticket: QueueTicket | None = None
        # Each look along the chain resets these.
        self._waiting: list[tuple[float | None, Candidate, Refusal | None]]
        self._refused: list[tuple[Candidate, LLMRouterError]]
        """Results of the last look: candidates to wait for, and candidates that cannot serve."""
        self._spent: list[BudgetExceededError]
        """Spent budgets found by the last look."""
        self.opens_at: float | None = None
        """The earliest time, known to the last look, at which any target may be tried again."""

    def next_action(self, candidate: Candidate | None, now: float, *, stay: bool = False) -> NextAction | None:
        """Return the action after an attempt at `candidate`, or None if no target is left.

        It is an attempt at the first available candidate, in the order of the chain from the next one on and around;
        else a wait for the candidate that opens soonest, if that is in time. With `stay`, it waits for `candidate`
        itself.
        """
        if now >= self._last_start:
            return None
        if stay and candidate is not None and self._may_stay(candidate, now):
            return NextAction(candidate, candidate.ready_at, reason=_BACKOFF)
        self._waiting, self._refused, self._spent = [], [], []
        self.shut_reason, self.spent_budget = "", None
        for other in self._from(candidate):
            action = self._action_at(other, now)
            if action is not None:
                return action
            if self._spent and self._spent[-1].final:
                self.spent_budget = self._spent[-1]
                self._note_skipped(None)
                return None
            self.all_candidates()  # if this is the first look, the loop continues through them
        if self._spent and len(self._spent) == len(self._refused) and not self._waiting:
            self.spent_budget = min(self._spent, key=lambda one: inf if one.retry_after is None else one.retry_after)
        return self._wait(now)

    def _action_at(self, candidate: Candidate, now: float) -> NextAction | None:
        """Return the possible action at `candidate` now; None if there is none."""
        if self.kept and candidate.position in self.kept:
            self._note_skipped(candidate)
            return NextAction(candidate, now, kept=self.kept[candidate.position])
        permit = self._try(candidate, now)
        if permit is None:
            return self._wait_for_answer(candidate) if self._waiting else None
        if self._waiting or self._refused:
            self._note_skipped(candidate)
        return NextAction(candidate, now, permit, None, _why(permit) if permit.probe or permit.leads_gate else "")

    def _may_stay(self, candidate: Candidate, now: float) -> bool:
        admits_at = self._health.breaker_admits_at(candidate.target.key)
        return admits_at <= candidate.ready_at <= self._last_start and self._charge_retry(candidate, now)

    def after_wait(self, action: NextAction, now: float) -> NextAction | None:
        """Return the action after a wait: its candidate first, then the others."""
        return self.next_action(self.all_candidates()[action.candidate.position - 1], now)

    def exhaust_provider(self, provider: str) -> None:
        """Give up all targets of `provider` for this call."""
        for candidate in self.all_candidates():
            if candidate.target.provider == provider:
                candidate.exhausted = True

    def take_failure_of_key(self, candidate: Candidate, failure: FailureType) -> bool:
        """Set aside the other keys of a target that failed, unless the failure was due to its key.

        Returns:
            Whether another key may serve instead: the first refusal of each key then costs no attempt.
        """
        is_of_key = failure in FAILURES_OF_KEY
        others = [other for other in self.all_candidates() if candidate.target.differs_by_key(other.target)]
        for other in others:
            other.set_aside = not is_of_key
        return is_of_key and not all(other.exhausted for other in others)

    def is_shut(self, candidate: Candidate, now: float) -> bool:
        """Whether the breaker of `candidate` is open: until it closes, attempts become waits."""
        return self._retry.patience > 0 and self._health.breaker_admits_at(candidate.target.key) > now

    def take_skipped(self) -> list[tuple[Target, LLMRouterError]]:
        """Return `skipped`, and clear it."""
        skipped, self.skipped = self.skipped, []
        return skipped

    def leave_queue(self) -> None:
        """Leave the queue, if the call is in one."""
        if self._ticket is not None:
            self._health.leave_queue(self._ticket)
            self._ticket = None

    def all_candidates(self) -> list[Candidate]:
        """Return a candidate for each target, in the order of the chain."""
        made = len(self.candidates)
        self.candidates += [Candidate(target, made + i) for i, target in enumerate(self._targets[made:])]
        return self.candidates

    def _from(self, candidate: Candidate | None) -> list[Candidate]:
        """Return the candidates in the order of the chain: all, or from the one after `candidate` on and around."""
        if candidate is None:
            return self.candidates
        candidates, start = self.all_candidates(), candidate.position + 1
        return [c for c in candidates[start:] + candidates[:start] if not (c.exhausted or c.set_aside)]

    def _try(self, candidate: Candidate, now: float) -> Permit | None:
        """Acquire a permit for `candidate`, or record why there is none."""
        if self.refuse is not None and (spent := self.refuse(candidate.target)) is not None:
            candidate.exhausted = True
            self._refused.append((candidate, spent))
            self._spent.append(spent)
            return None
        if candidate.request is None:
            problem = self._prepare(candidate)
            if problem is not None:
                candidate.exhausted = True
                self._refused.append((candidate, problem))
                return None
        if candidate.ready_at > now:
            admits_at = self._health.breaker_admits_at(candidate.target.key)
            is_open = admits_at > candidate.ready_at
            refusal = Refusal("breaker", BREAKER_OPEN, admits_at, now) if is_open else None
            self._waiting.append((max(admits_at, candidate.ready_at), candidate, refusal))
            return None
        if not candidate.retry_paid and not self._charge_retry(candidate, now):
            if not candidate.exhausted:
                self._waiting.append((candidate.ready_at, candidate, None))
            return None
        return self._acquire(candidate)

    def _acquire(self, candidate: Candidate, *, despite_rest: bool = False) -> Permit | None:
        ticket = None if self._ticket is None else self._ticket_for(candidate)
        answer = self._health.acquire(candidate.target.key, ticket, candidate.tokens, despite_rest)
        if isinstance(answer, Permit):
            return answer if self._ticket is None else self._taken(candidate, answer)
        if not despite_rest:
            self._waiting.append((answer.opens_at, candidate, answer))
        return None

    def _ticket_for(self, candidate: Candidate) -> QueueTicket | None:
        return self._ticket if self._ticket is not None and candidate.target.key in self._ticket.keys else None

    def _taken(self, candidate: Candidate, permit: Permit) -> Permit:
        """Return `permit`; the call is in no queue any more, since the permit has ended its own place."""
        if self._ticket_for(candidate) is not None:
            self._ticket = None
        self.leave_queue()
        return permit

    def _charge_retry(self, candidate: Candidate, now: float) -> bool:
        """Take a retry from the budget if one is due. One that cannot be paid for is postponed, then given up."""
        if not candidate.retry_paid:
            candidate.retry_paid = self._health.spend_retry(candidate.target.provider)
            if candidate.retry_paid:
                candidate.unpaid_since = None
            else:
                since = candidate.unpaid_since = now if candidate.unpaid_since is None else candidate.unpaid_since
                given_up_at = since + self._retry.max_backoff
                candidate.exhausted = now >= given_up_at
                candidate.ready_at = max(candidate.ready_at, min(given_up_at, now + _BUDGET_POLL))
                self.shut_reason = f"the retry budget of provider {candidate.target.provider!r} is used up"
        return candidate.retry_paid

    def _wait(self, now: float) -> NextAction | None:
        """Return the wait for the candidate that opens soonest, if that is in time and worth it."""
        # Candidates without a known time come last.
        self._waiting.sort(key=lambda entry: (entry[0] is None, entry[0] or 0.0))
        self.opens_at = min((at for at, _, _ in self._waiting if at is not None), default=None)
        for at, candidate, refusal in self._waiting:
            action = self._wait_for(candidate, at, refusal, now)
            if action is not None:
                self._note_skipped(candidate)
                return action
        for _, candidate, refusal in self._waiting:
            if refusal is not None and refusal.cause == "rest":
                permit = self._acquire(candidate, despite_rest=True)
                if permit is not None:
                    self._note_skipped(candidate)
                    return NextAction(candidate, now, permit, reason=_DESPITE_REST)
        self._note_skipped(None)
        return None

    def _wait_for_answer(self, candidate: Candidate) -> NextAction | None:
        """Return the wait for a shared state that was asked for a permit for `candidate`; None if none was asked.

        It answers within milliseconds, or counts as gone; so the other targets are not tried instead.
        """
        at, latest, refusal = self._waiting[-1]
        if latest is not candidate or refusal is None or refusal.cause != "state":
            return None
        until = min(self._last_start, refusal.asked_at if at is None else at)
        action = self._in_queue(candidate, until, refusal)
        action.asks_state = True
        return action

    def _wait_for(
        self, candidate: Candidate, at: float | None, refusal: Refusal | None, now: float
    ) -> NextAction | None:
        """Return the wait for one candidate, or the attempt at the end of all patience; None if it is not worth it."""
        until = self._last_start if at is None else at
        if refusal is None:
            self.leave_queue()
            return NextAction(candidate, until, reason=_BACKOFF) if until <= self._last_start else None
        self.shut_reason = self.shut_reason or f"{candidate.target.provider}: {refusal.reason}"
        if refusal.cause == "rest" or (refusal.cause == "breaker" and not self._retry.patience):
            return None
        if refusal.cause == "breaker" and at is not None:
            # While a probe is in progress (`at` is None), wait for its outcome, whatever patience is left.
            patient_until = self.patient_until(candidate, now)
            if now >= patient_until:
                return self._last_chance(candidate, patient_until, now)
            until = min(at, patient_until)
        return self._in_queue(candidate, until, refusal) if until <= self._last_start else None

    def patient_until(self, candidate: Candidate, since: float) -> float:
        """Return the end of patience with `candidate`, which began at `since` at the latest.

        It starts over when the target has answered any call: that was the end of one outage.
        """
        self.shut_since = since if self.shut_since is None else self.shut_since
        return max(self.shut_since, self._health.last_answer_at(candidate.target.key)) + self._retry.patience

    def _last_chance(self, candidate: Candidate, patient_until: float, now: float) -> NextAction | None:
        """Return an attempt before the breaker's time, or a short wait for one, at the end of patience."""
        ticket = self._ticket_for(candidate)
        answer = self._health.acquire(candidate.target.key, ticket, candidate.tokens, last_chance=True)
        if isinstance(answer, Permit):
            return NextAction(candidate, now, self._taken(candidate, answer), reason=_LAST_CHANCE)
        until = self._last_start if answer.opens_at is None else answer.opens_at
        in_time = answer.opens_at is None or until <= patient_until + _LAST_CHANCE_SECONDS
        return self._in_queue(candidate, until, answer) if in_time and until <= self._last_start else None

    def _in_queue(self, candidate: Candidate, until: float, refusal: Refusal) -> NextAction:
        ticket = self._queue(candidate, refusal)
        if refusal.cause == "breaker" and refusal.opens_at is not None:  # a waiting call has shortened it
            until = min(until, self._health.breaker_admits_at(candidate.target.key))
        return NextAction(candidate, until, ticket=ticket, reason=refusal.reason)

    def _queue(self, candidate: Candidate, refusal: Refusal) -> QueueTicket:
        key = candidate.target.key
        if self._ticket is None or key not in self._ticket.keys:
            self.leave_queue()
            self._ticket = self._health.queue(key, refusal, candidate.tokens, self._other_keys(candidate))
        return self._ticket

    def _other_keys(self, candidate: Candidate) -> list[TargetKey]:
        """Return the other keys of a target to wait for at the same time: the first that is free serves."""
        if candidate.target.key_variable is None:
            return []
        return [
            other.target.key for _, other, refusal in self._waiting
            if refusal is not None and refusal.cause != "rest" and other.target.differs_by_key(candidate.target)
        ]  # fmt: skip

    def _note_skipped(self, chosen: Candidate | None) -> None:
        """Note every candidate that was passed over in favour of `chosen` and never tried, each once."""
        self.skipped += [(candidate.target, reason) for candidate, reason in self._refused]
        for at, candidate, refusal in self._waiting:
            if chosen is not None and candidate.target.differs_by_key(chosen.target):
                continue  # it is not passed over: the same target is tried with another key
            if candidate is not chosen and refusal is not None and not candidate.tries and not candidate.skip_recorded:
                candidate.skip_recorded = True
                left = None if at is None else max(0.0, at - refusal.asked_at)
                when = "" if left is None else f" for another {written_out(left, 3)} s"
                reason = UnavailableError(f"not asked{when}: {refusal.reason}", retry_after=left, sent=False)
                self.skipped.append((candidate.target, reason))


def _why(permit: Permit) -> str:
    """Return why `permit` is granted while other calls wait."""
    return _PROBE if permit.probe else _LEAD
