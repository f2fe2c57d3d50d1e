"""Makes the attempts of one call: one generator that decides, streamed or not.

How this works
--------------
`call_steps` performs no I/O except writing traces. It yields steps (`steps.py`). The drivers (`drivers.py`) perform the
steps in a thread or on an event loop, and send each result back in, or throw its error in. So every decision is written
once, for sync, async and streamed calls.

A call is a loop over three things. `TargetSelector` says what comes next: an attempt at a target, with a permit for it,
or a wait. The attempt is one step (two for a stream: open, then read). Its outcome is an answer, which ends the loop; a
failure, which `failure_rules.decide` turns into the next action or the call's final error; or a cancellation, which is
traced and re-raised unchanged.

Three rules hold at every point. A permit is given back exactly once: when its attempt ends, else in `release`. A record
is written before the wait that follows its attempt. No lock is held across a `yield`, and the clean-up never yields, so
that a dropped generator can be closed anywhere; if the garbage collector closes it, the clean-up is deferred until the
collection is over (`outside_collection`).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.outside_collection import outside_collection
from lee_llm_router._util.work_limit import WorkLimitError
from lee_llm_router.engine.answer_checks import check_at_length, judge, may_refuse
from lee_llm_router.engine.billed_attempt import billed, priced, refusing
from lee_llm_router.engine.candidates import Candidate, NextAction
from lee_llm_router.engine.failure_rules import RULES, brought_answer, decide, gate_wait, never_reached
from lee_llm_router.engine.failures import (
    believable_part,
    final_error,
    foreign_error,
    forget_frames,
    take_headers,
    to_router_error,
)
from lee_llm_router.engine.heard_limits import NOTHING_HEARD, heard
from lee_llm_router.engine.no_attempt import deadline_passed, kept_answer, nobody_left
from lee_llm_router.engine.plan import SHORTEST_ATTEMPT, Attempt, CallPlan, RouterParts
from lee_llm_router.engine.preparation import ask_otherwise, prepare
from lee_llm_router.engine.recorder import CallRecorder
from lee_llm_router.engine.selection import TargetSelector
from lee_llm_router.engine.steps import CallStep, CallSteps, QueueStep, SleepStep
from lee_llm_router.engine.stream_assembler import StreamAssembler
from lee_llm_router.engine.streamed_attempt import ask_stream
from lee_llm_router.errors import FailureType, LLMRouterError, LLMTimeoutError, RouterClosedError
from lee_llm_router.health.states import Permit
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.telemetry.records import NextStep

if TYPE_CHECKING:
    from lee_llm_router.engine.hedging import Race
    from lee_llm_router.engine.settings import HedgeConfig


def call_steps(plan: CallPlan, parts: RouterParts) -> CallSteps:  # noqa: PLR0912 - one loop, and everything that may end it
    """Make attempts until one succeeds, and return the answer that the plan's operation accepted.

    Raises:
        LLMRouterError: no target gave an answer; carries a record of every attempt.
        BaseException: a cancellation thrown in, traced and unchanged.
    """
    run = CallRun(plan, parts)
    race = run.race
    try:
        try:
            action = run.first_action()
            while True:
                while action.permit is None:
                    if action.kept is not None:
                        return (yield from kept_answer(plan, run.recorder, action))
                    action = yield from run.wait(action)
                attempt = run.begin(action) if race is None else race.begin(action)
                try:
                    if race is not None and race.takes(action.candidate):
                        action, attempt = yield from race.first_to_end(action, attempt)
                        answer = yield from race.outcome()
                    else:
                        answer = (yield attempt) if plan.stream is None else (yield from ask_stream(run, attempt))
                    try:
                        answer = attempt.operation.accepted(plan, attempt.target, attempt.request, answer)
                    except WorkLimitError:
                        answer = yield check_at_length(plan, attempt, answer, run.time_left(attempt))
                    if parts.billing is not None:
                        answer = yield from priced(plan, parts.billing, attempt, answer)
                    if plan.accept is not None and may_refuse(plan, run.assembler):
                        yield from judge(plan, parts, answer, partial(run.time_left, attempt))
                except Exception as caught:  # noqa: BLE001 - any exception of a provider becomes a typed failure
                    action = run.failed(action.candidate, attempt, caught)
                except BaseException as cancelled:
                    outside_collection(run.cancelled, attempt, cancelled)
                    raise
                else:
                    return run.succeeded(attempt, answer)
        except Exception as caught:
            # No foreign exception leaves: a third-party clock or operation may have failed.
            if caught is run.final:
                raise
            raise run.broken(caught) from None
    except LLMRouterError as error:
        # Python sets the exception being handled here, which may hold secrets removed from the error's own causes.
        error.__context__ = None
        raise
    finally:
        outside_collection(run.release)


class CallRun:
    """The state of one call, and the decisions that follow from it."""

    __slots__ = (
        "_recorder", "assembler", "charged", "clock", "deadline_at", "final", "last_error", "last_start", "made",
        "parts", "permit", "plan", "race", "selector", "waited",
    )  # fmt: skip

    def __init__(self, plan: CallPlan, parts: RouterParts) -> None:
        self.plan = plan
        self.parts = parts
        self.clock = parts.clock
        self.made = 0
        self.charged = 0
        """Attempts that count against `retry.max_attempts`."""
        self.waited: tuple[float, str | None] | None = None
        """The latest wait: its start and its reason (None if its time had already come)."""
        self.deadline_at = plan.started + plan.deadline
        self.last_start = self.deadline_at - SHORTEST_ATTEMPT
        is_told = plan.wants_debug_events or plan.following is not None or parts.reporter.wants_records
        self._recorder = CallRecorder(plan, parts) if is_told else None
        retry = plan.role_settings.retry
        self.selector = TargetSelector(plan.targets, parts.health, self._prepare, self.last_start, retry)
        if parts.billing is not None:
            self.selector.refuse = refusing(plan, parts)
        if plan.caching is not None:
            self.selector.kept = plan.caching.kept
        self.permit: Permit | None = None
        self.last_error: LLMRouterError | None = None
        self.final: LLMRouterError | None = None
        self.assembler: StreamAssembler | None = None
        """Puts together the answer that comes in, or came in last; None in an unstreamed call."""
        self.race = None if plan.hedge is None else _race(self, plan.hedge)
        """The concurrent attempts; None if attempts are made one at a time."""

    @property
    def recorder(self) -> CallRecorder:
        """Writes the records of the call; created when there is something to write."""
        if self._recorder is None:
            self._recorder = CallRecorder(self.plan, self.parts)
        return self._recorder

    def first_action(self) -> NextAction:
        """Return the first action of the call."""
        return self._taken(self.selector.next_action(None, self.clock.monotonic()))

    def wait(self, action: NextAction) -> Generator[CallStep, Any, NextAction]:
        """Let time pass; a call that is cancelled or times out meanwhile ends with a record of its own."""
        now = self.clock.monotonic()
        # Two waits in a row for a moment that has passed: avoid a loop in which no time passes.
        is_again = self.waited is not None and now - self.waited[0] < SHORTEST_ATTEMPT
        seconds = max(SHORTEST_ATTEMPT if is_again else 0.0, action.at - now)
        if is_again and (action.asks_state or (action.ticket is not None and action.at >= self.last_start)):
            seconds = SHORTEST_ATTEMPT  # it sleeps and would miss its ticket, which may wake at any moment
        self.waited = (now, f"{action.candidate.target.names[0]}: {action.reason}" if seconds else None)
        try:
            if seconds:
                known = seconds if action.at < self.last_start else None
                self.recorder.waits(action.candidate.target, known, action.reason)
                ticket = None if is_again else action.ticket
                yield SleepStep(seconds) if ticket is None else QueueStep(ticket.woken, seconds)
        except BaseException as error:
            outside_collection(self.recorder.ended_without_attempt, error, self._elapsed())
            raise
        return self._taken(self.selector.after_wait(action, self.clock.monotonic()))

    def begin(self, action: NextAction, is_hedge: bool = False) -> Attempt:
        """Start the attempt that `action` allows. With `is_hedge` it runs beside others, which it must not end."""
        candidate, provider, request = action.candidate, action.candidate.provider, action.candidate.request
        assert provider is not None and request is not None  # noqa: S101 - only prepared candidates get a permit
        now = self.clock.monotonic()
        if self.parts.pool.is_closed and not is_hedge:
            raise self._ended(RouterClosedError("the router was closed during the call", sent=False))
        # Preparing the request (a compression hook) may have taken some time.
        if now >= self.last_start and not is_hedge:
            raise self._no_attempt(now)
        timeout, left = candidate.target.timeout, self.deadline_at - now
        timeout = timeout if timeout < left else left
        attempt = Attempt(self.plan.operation, provider, request, timeout, candidate.target, self.made,
                          candidate.asked, now, self.clock.time(), candidate.dropped, self.waited and self.waited[1],
                          action.reason, candidate.tries + 1, is_hedge)  # fmt: skip
        self.made += 1
        self.charged += 1
        candidate.tries += 1
        candidate.asked += 1
        self.waited = None
        if self._recorder is not None:
            self._recorder.started(attempt)
        if self.parts.billing is not None:
            self.parts.billing.started(attempt)
        return attempt

    def succeeded(self, attempt: Attempt, answer: Any) -> Any:
        """Record that the attempt gave `answer`, and return it."""
        if self.race is not None:
            self.race.won(attempt)
        self._settle(attempt, said=answer)
        if self._recorder is not None:
            self._recorder.succeeded(attempt, answer)
        if self.plan.caching is not None:
            self.plan.caching.answered = attempt
        return answer

    def failed(self, candidate: Candidate, attempt: Attempt, caught: Exception) -> NextAction:
        """Return the action after the failure, or raise the call's final error."""
        error = to_router_error(caught, attempt, self.parts.secrets)
        error.response = billed(self.plan, self.parts, attempt, error.response or self._partial())
        take_headers(error, self.assembler or error.response, self.parts.secrets)
        rule = RULES[error.failure_type]
        is_probe = self.permit is not None and self.permit.probe and not brought_answer(error)
        closed_for = gate_wait(error, several_keys=attempt.target.key_variable is not None)
        rests = rule.rests and not closed_for and not error.ask_again
        if error.local_shortage:
            self._settle(attempt, FailureType.CANCELLED, said=error)  # this says nothing about the target
        else:
            self._settle(attempt, error.failure_type, rule.counts_against_target, closed_for, rests, said=error)
        return self._after_failure(candidate, attempt, error, is_probe)

    def cancelled(self, attempt: Attempt, reason: BaseException) -> None:
        """Record that the caller gave up during the attempt."""
        if self.race is not None:
            self.race.cancelled(reason, attempt)
        self.recorder.cancelled(attempt, reason, billed(self.plan, self.parts, attempt, self._partial()))

    def broken(self, caught: Exception) -> LLMRouterError:
        """Return the final error, traced, of a call that ends with the unexpected exception `caught`."""
        return self._ended(foreign_error(caught, "the call broke", self.parts.secrets))

    def release(self) -> None:
        """Release what this call holds: its permits, its place in a queue, the providers it has opened."""
        if self.race is not None:
            self.race.given_up("the call broke")
        if self.permit is not None:
            self.parts.health.release(self.permit, FailureType.CANCELLED)
        self.selector.leave_queue()
        for candidate in self.selector.candidates:
            target = candidate.target
            if candidate.provider is not None and target.provider_overrides:
                self.parts.pool.release(target.provider, target.provider_overrides, target.key_variable)
        # Break the reference cycles, so that the call's messages are freed at once.
        self.assembler = self.final = self.race = None
        del self.selector
        if self._recorder is not None:
            self._recorder.call_ended(self.made)

    def time_left(self, attempt: Attempt) -> float:
        """Return the seconds left to check the answer of `attempt`; raise if there are none."""
        until = self.deadline_at if self.plan.stream else attempt.started_monotonic + attempt.timeout
        left = until - self.clock.monotonic()
        if left <= 0:
            raise LLMTimeoutError("no time was left to check the answer")
        return left

    def _prepare(self, candidate: Candidate) -> LLMRouterError | None:
        return prepare(self.plan, self.parts, candidate)

    def _after_failure(
        self, candidate: Candidate, attempt: Attempt, error: LLMRouterError, is_probe: bool
    ) -> NextAction:
        """Decide what comes next and write the record; then return the action or raise the final error."""
        settings, now = self.plan.role_settings, self.clock.monotonic()
        self._count_failure(candidate, attempt, error, is_probe, now)
        if attempt.target.key_variable is not None:
            self.charged -= self.selector.take_failure_of_key(candidate, error.failure_type) and candidate.asked == 1
        decision = decide(
            error, tries=candidate.tries, failures=candidate.unreached or candidate.failures, repairs=candidate.repairs,
            retry=settings.retry, contract=self.plan.contract, fallback_on=settings.fallback_on,
            repeatable=self._repeatable(candidate, error), random=self.parts.random,
        )  # fmt: skip
        self.last_error = error
        # In an outage the number of attempts does not matter: the breaker says when the next one is due.
        # But if the target answers, each attempt costs tokens, so their number is limited.
        spent = decision.again_after is None or self.charged >= settings.retry.max_attempts
        counts = RULES[error.failure_type].counts_against_target and not (spent and brought_answer(error))
        is_outage = counts and self.selector.is_shut(candidate, now)
        again_after = 0.0 if is_outage and not error.final else decision.again_after
        candidate.exhausted = again_after is None
        candidate.ready_at = now + (again_after or 0.0)
        candidate.retry_paid = decision.named or is_outage or decision.free or error.local_shortage
        if decision.free:
            ask_otherwise(self.plan.operation, candidate, error)
        if decision.other_provider:
            self.selector.exhaust_provider(candidate.target.provider)
        if self.race is not None and (other := self.race.going_on(attempt, error, decision.stop)) is not None:
            return other
        action = None
        if not decision.stop and (is_outage or self.charged < settings.retry.max_attempts):
            action = self.selector.next_action(candidate, now, stay=decision.stay)
        following = action.candidate if action else None
        verdict: NextStep = "raise" if following is None else "retry" if following is candidate else "next"
        self.permit = action.permit if action else None
        self.recorder.failed(
            attempt, error, verdict, action.at - now if action else 0.0, following.target if following else None
        )
        self.write_skips(last=action is None)
        if action is None:
            raise self._final(error) from error
        forget_frames(error)
        return action

    def _count_failure(
        self, candidate: Candidate, attempt: Attempt, error: LLMRouterError, is_probe: bool, now: float
    ) -> None:
        """Count the failed attempt; one that only found the target shut is free while the call has patience."""
        patience, selector = self.plan.role_settings.retry.patience, self.selector
        unreached = never_reached(error)
        candidate.unreached = candidate.unreached + 1 if unreached else 0
        candidate.failures += not (unreached or is_probe)
        if not (unreached or is_probe):
            selector.shut_since = None
        elif now < selector.patient_until(candidate, attempt.started_monotonic):
            candidate.tries -= 1
            self.charged -= 1
        elif patience:
            candidate.tries = self.plan.role_settings.retry.attempts

    def _repeatable(self, candidate: Candidate, error: LLMRouterError) -> bool:
        """Whether another attempt may follow: it would double no effect, and mix no output."""
        how = self.plan.stream
        if how is not None and how.on_break == "raise" and self._partial() is not None:
            return False
        return self.plan.role_settings.retry_effects or not candidate.has_effects or not error.sent

    def _partial(self) -> LLMResponse | None:
        """The part of the current attempt's answer that the caller has received."""
        if self.assembler is None or not self.assembler.started:
            return None
        with suppress(Exception):  # third-party chunks that do not fit together
            return believable_part(self.assembler.partial())
        return None

    def _settle(
        self, attempt: Attempt, failure: FailureType | None = None, counts: bool = False,
        closed_for: float | None = None, rests: bool = False, *, said: Any,
    ) -> None:  # fmt: skip
        """Give the permit back with `said`, the answer or the error; record what the breaker did."""
        permit, self.permit = self.permit, None
        assert permit is not None  # noqa: S101 - every attempt has one
        told = heard(self.plan.operation, said, self.clock.time()) if permit.target.hears_limits else NOTHING_HEARD
        health = self.parts.health
        changed = health.release(permit, failure, counts, closed_for, rests, tokens=told.tokens, left=told.left)
        if changed:
            self.recorder.breaker(attempt, changed)

    def _taken(self, action: NextAction | None) -> NextAction:
        """Return `action` after noting its permit; raise the final error of a call that ends outside an attempt."""
        if self.selector.skipped:
            self.write_skips(last=False)
        if action is not None:
            self.permit = action.permit
            return action
        raise self._no_attempt(self.clock.monotonic())

    def _no_attempt(self, now: float) -> LLMRouterError:
        """Return the final error of a call that ends without another attempt, traced."""
        if now >= self.last_start:
            error = deadline_passed(self.plan.deadline, self.waited, now)
        else:
            error = nobody_left(self.selector, self.recorder.records, self.last_error, now)
        return self._ended(error)

    def _ended(self, error: LLMRouterError) -> LLMRouterError:
        """Trace `error`, which ends the call outside an attempt; return the final error made from it."""
        if self.race is not None:
            self.race.given_up("the call ended without it")
        self.recorder.ended_without_attempt(error, self._elapsed())
        final = self._final(error)
        final.__cause__ = self.last_error
        return final

    def write_skips(self, *, last: bool) -> None:
        """Record the targets skipped since the last call of this; with `last`, no other target is left."""
        for target, reason in self.selector.take_skipped():
            self.recorder.skipped(target, reason, last=last)

    def _final(self, error: LLMRouterError) -> LLMRouterError:
        role, request_id = self.plan.role_settings.role, self.plan.request_id
        self.final = final_error(role, request_id, error, self.recorder.records, self._elapsed())
        return self.final

    def _elapsed(self) -> float:
        return self.clock.monotonic() - self.plan.started


def _race(run: CallRun, hedge: HedgeConfig) -> Race:
    from lee_llm_router.engine.hedging import Race  # noqa: PLC0415 - most calls are not hedged

    return Race(run, hedge)
