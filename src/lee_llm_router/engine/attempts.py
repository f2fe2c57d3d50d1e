"""The engine: one generator that decides about a call, streamed or not.

`attempts` performs no I/O of its own but writing traces. It yields steps (`Call`, `Sleep`; `Open` and `Pump` for a
stream) and is sent what came of them, or has thrown in what broke. The drivers in `engine/drivers.py` run the steps. So
every decision stands once, and holds for sync, async and streams alike.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from lee_llm_router.compression import Compressor
from lee_llm_router.engine import json_contract
from lee_llm_router.engine.drivers import Open, Pump, Sleep, Step, Steps, Wait
from lee_llm_router.engine.failure_rules import RULES, advise
from lee_llm_router.engine.failures import as_failure, believable, cleaned, final_error, forget_frames
from lee_llm_router.engine.messages import normalised
from lee_llm_router.engine.plan import CallPlan, Surroundings
from lee_llm_router.engine.recorder import Attempt, Recorder
from lee_llm_router.engine.selection import Candidate, Move, Selection
from lee_llm_router.engine.settings import StreamConfig
from lee_llm_router.engine.stream_assembler import Assembly, Patience
from lee_llm_router.errors import FailureType, LLMRouterError, LLMTimeoutError, RouterClosedError, UnavailableError
from lee_llm_router.health.tracker import Permit
from lee_llm_router.providers.base import whole_answer
from lee_llm_router.response import LLMResponse, Message, needs_content_parts, of_call, served_by
from lee_llm_router.telemetry.records import Verdict

SHORTEST_ATTEMPT = 0.001
"""Seconds: with less than this left before the deadline no attempt is started."""


def attempts(plan: CallPlan, around: Surroundings) -> Steps:
    """Make attempts until one is good.

    Returns:
        The whole answer.

    Raises:
        LLMRouterError: no target gave one; carries a record of every attempt.
        BaseException: a cancellation thrown in, traced and unchanged.
    """
    run = _Run(plan, around)
    try:
        move = run.first_move()
        while True:
            while move.permit is None:
                move = yield from run.wait(move)
            attempt = run.begin(move.candidate)
            try:
                if plan.stream is None:
                    answer = yield attempt
                else:
                    answer = yield from run.ask_stream(attempt, plan.stream)
                response = answer if type(answer) is LLMResponse else whole_answer(answer)
                if attempt.request.wants_json:
                    response = replace(response, parsed=json_contract.check(attempt.request, response))
                response = served_by(believable(response), attempt.target.provider, plan.request_id)
            except Exception as caught:  # noqa: BLE001 - whatever a provider raises becomes a typed failure
                move = run.failed(move.candidate, attempt, caught)
            except BaseException as cancelled:
                run.cancelled(attempt, cancelled)
                raise
            else:
                return run.succeeded(attempt, response)
    finally:
        run.release()


def _compressed(hook: Compressor, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return what `hook` makes of `messages`, checked as what a caller passes."""
    return normalised(hook([*map(dict, messages)]))


class _Run:
    """The state of one call, and what follows from it."""

    __slots__ = (
        "around", "assembly", "clock", "deadline_at", "last_error", "last_start", "made", "permit", "plan", "recorder",
        "selection",
    )  # fmt: skip

    def __init__(self, plan: CallPlan, around: Surroundings) -> None:
        self.plan = plan
        self.around = around
        self.clock = around.clock
        self.made = 0
        self.deadline_at = plan.started + plan.deadline
        self.last_start = self.deadline_at - SHORTEST_ATTEMPT
        self.recorder = Recorder(plan, around)
        self.selection = Selection(
            plan.targets,
            around.health,
            prepare=self._prepare,
            last_start=self.last_start,
        )
        self.permit: Permit | None = None
        self.last_error: LLMRouterError | None = None
        self.assembly: Assembly | None = None
        """The answer that is coming in, or came in last; None in an unstreamed call."""

    def first_move(self) -> Move:
        return self._taken(self.selection.after(None, self.clock.monotonic()))

    def wait(self, move: Move) -> Generator[Step, Any, Move]:
        """Let time pass; a call cancelled or out of time in it ends with a record of its own."""
        seconds = max(0.0, move.at - self.clock.monotonic())
        try:
            if seconds:
                yield Sleep(seconds) if move.ticket is None else Wait(move.ticket.woken, seconds)
        except BaseException as error:
            self.recorder.outside(error, self._elapsed())
            raise
        return self._taken(self.selection.resume(move, self.clock.monotonic()))

    def begin(self, candidate: Candidate) -> Attempt:
        """An attempt at `candidate` starts."""
        target, provider, request = candidate.target, candidate.provider, candidate.request
        assert provider is not None and request is not None  # noqa: S101 - only prepared candidates get a permit
        now = self.clock.monotonic()
        if self.around.pool.is_closed:
            raise self._ended(RouterClosedError("the router was closed during the call", sent=False))
        if now >= self.last_start:  # what prepares a request (a compression hook) may take its time
            raise self._no_attempt(now)
        timeout = min(target.timeout, self.deadline_at - now)
        attempt = Attempt(provider, request, timeout, target, self.made, candidate.tries, now, self.clock.time())
        self.made += 1
        candidate.tries += 1
        self.recorder.begun(attempt)
        return attempt

    def succeeded(self, attempt: Attempt, response: LLMResponse) -> LLMResponse:
        """It gave the answer, `response`."""
        self._settle(attempt)
        self.recorder.succeeded(attempt, response)
        return response

    def failed(self, candidate: Candidate, attempt: Attempt, caught: Exception) -> Move:
        """It failed: the move that follows, unless the final error is raised."""
        error = as_failure(caught, attempt.target, attempt.provider, attempt.timeout, self.around.secrets)
        error.response = error.response or self._partial()
        rule = RULES[error.failure_type]
        self._settle(attempt, error.failure_type, rule.counts, error.retry_after if rule.shuts else None)
        return self._after_failure(candidate, attempt, error)

    def cancelled(self, attempt: Attempt, reason: BaseException) -> None:
        """The caller gave up during it."""
        self.recorder.cancelled(attempt, reason, self._partial())

    def release(self) -> None:
        """Give back what this call holds: its permit, its place in a queue, the providers it has opened."""
        if self.permit is not None:
            self.around.health.settle(self.permit, FailureType.CANCELLED)
        self.selection.leave_queue()
        for candidate in self.selection.candidates:
            if candidate.provider is not None and candidate.target.provider_overrides:
                self.around.pool.release(candidate.target.provider, candidate.target.provider_overrides)
        # Both lead back here: with them a call's messages would stay until the garbage collector comes by.
        self.assembly = None
        del self.selection

    def ask_stream(self, attempt: Attempt, how: StreamConfig) -> Generator[Step, Any, Any]:
        """What the provider answers, opened and then handed on piece by piece."""
        provider, request, timeout = attempt.provider, attempt.request, attempt.timeout
        before = self.assembly
        if how.first_token_timeout is not None:
            timeout = min(how.first_token_timeout, self.deadline_at - attempt.began)
        patience = Patience(attempt.began + timeout, how.idle_timeout, self.deadline_at)
        self.assembly = Assembly(
            patience,
            index=before.index if before else 0,
            restart=before is not None and before.index > 0,
            on_start=lambda now: self.recorder.first_output(attempt, now),
        )
        stream = yield Open(provider, request, timeout)
        return (yield Pump(stream, self.assembly, provider.capabilities.bounded))

    def _after_failure(self, candidate: Candidate, attempt: Attempt, error: LLMRouterError) -> Move:
        """Decide what comes next, write the record, then make the move or raise the final error."""
        retry = self.plan.terms.retry
        advice = advise(
            error,
            tries=candidate.tries,
            retry=retry,
            fallback_on=self.plan.terms.fallback_on,
            repeatable=self._repeatable(candidate, error),
            random=self.around.random,
        )
        self.last_error = error
        now = self.clock.monotonic()
        candidate.used_up = advice.again_after is None
        candidate.ready_at = now + (advice.again_after or 0.0)
        candidate.charged = error.retry_after is not None
        move = None
        if not advice.stop and self.made < retry.max_attempts:
            move = self.selection.after(candidate, now, stay=advice.stay)
        following = move.candidate if move else None
        verdict: Verdict = "raise" if following is None else "retry" if following is candidate else "next"
        self.permit = move.permit if move else None
        self.recorder.failed(
            attempt, error, verdict, move.at - now if move else 0.0, following.target if following else None
        )
        self._write_skips(last=move is None)
        if move is None:
            raise self._final(error) from error
        forget_frames(error)
        return move

    def _repeatable(self, candidate: Candidate, error: LLMRouterError) -> bool:
        """Whether another attempt may follow: no effect would be doubled, no output spliced."""
        how = self.plan.stream
        if how is not None and how.on_break == "raise" and self._partial() is not None:
            return False
        return self.plan.terms.retry_effects or not candidate.has_effects or not error.sent

    def _partial(self) -> LLMResponse | None:
        """What the caller has been given of the current attempt's answer."""
        return self.assembly.so_far() if self.assembly is not None and self.assembly.started else None

    def _prepare(self, candidate: Candidate) -> LLMRouterError | None:
        """Build what the target needs, once; return the reason if it cannot serve this request."""
        try:
            return self._prepared(candidate)
        except Exception as error:  # noqa: BLE001 - a target whose provider breaks here is skipped, not fatal
            name, what = candidate.target.provider, "cannot be built" if candidate.provider is None else "is broken"
            reason = str(error) if isinstance(error, LLMRouterError) else f"{type(error).__name__}: {error}"
            return cleaned(UnavailableError(f"provider {name!r} {what}: {reason}", sent=False), self.around.secrets)

    def _prepared(self, candidate: Candidate) -> LLMRouterError | None:
        target, plan = candidate.target, self.plan
        candidate.provider = provider = self.around.pool.open(target.provider, target.provider_overrides)
        candidate.has_effects = provider.effects != "none"
        messages = plan.messages
        if plan.terms.compress is not None:
            compressed = self.around.reporter.guarded("compression", _compressed, plan.terms.compress, messages)
            messages = compressed or messages
        kind = target if target.lasting else None
        request = of_call(target.request, messages, plan.terms.role, plan.request_id, plan.metadata, kind)
        if request.tools and not provider.capabilities.tools:
            return UnavailableError("the provider does not take tools", sent=False)
        if not provider.capabilities.content_parts and needs_content_parts(messages):
            return UnavailableError("the provider takes text only", sent=False)
        candidate.request = request
        return None

    def _settle(
        self,
        attempt: Attempt,
        failure: FailureType | None = None,
        counts: bool = False,
        shut_for: float | None = None,
    ) -> None:
        """Give the permit back, and tell if that opened or closed the target's breaker."""
        permit, self.permit = self.permit, None
        assert permit is not None  # noqa: S101 - every attempt has one
        changed = self.around.health.settle(permit, failure, counts=counts, shut_for=shut_for)
        if changed:
            self.recorder.breaker(attempt, changed)

    def _taken(self, move: Move | None) -> Move:
        """`move`; or the error of a call that has come to its end outside an attempt."""
        if self.selection.passed_over:
            self._write_skips(last=False)
        if move is not None:
            self.permit = move.permit
            return move
        raise self._no_attempt(self.clock.monotonic())

    def _no_attempt(self, now: float) -> LLMRouterError:
        """The final error of a call that ends without another attempt, traced."""
        error: LLMRouterError
        if now >= self.last_start:
            error = LLMTimeoutError(
                f"the call's deadline of {self.plan.deadline:g} s passed before an attempt", sent=False
            )
        else:
            opens_at = self.selection.opens_at
            retry_after = None if opens_at is None else max(0.0, opens_at - now)
            error = UnavailableError("no target can be asked", retry_after=retry_after, sent=False)
        return self._ended(error)

    def _ended(self, error: LLMRouterError) -> LLMRouterError:
        """Trace `error`, which ends the call outside an attempt; return the final error made of it."""
        self.recorder.outside(error, self._elapsed())
        final = self._final(error)
        final.__cause__ = self.last_error
        return final

    def _write_skips(self, *, last: bool) -> None:
        for target, reason in self.selection.told():
            self.recorder.skipped(target, reason, last=last)

    def _final(self, error: LLMRouterError) -> LLMRouterError:
        return final_error(self.plan.terms.role, self.plan.request_id, error, self.recorder.records, self._elapsed())

    def _elapsed(self) -> float:
        return self.clock.monotonic() - self.plan.started
