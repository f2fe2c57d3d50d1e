"""Records one call: a record for each attempt, an event for each step."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from lee_llm_router._util.in_context import bound_to
from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router._util.printable import printable
from lee_llm_router.engine.attempt_secrets import keys_in
from lee_llm_router.engine.followed_attempt import attempt_end, attempt_start
from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts, Target
from lee_llm_router.engine.recorded_reason import reason_of
from lee_llm_router.engine.recorded_text import captured_fields, captured_texts, error_text, provider_word
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.health.states import Transition
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.telemetry.records import AttemptOutcome, NextStep, TraceRecord

_NO_ANSWER = LLMResponse(text="")
_CANCELLED = FailureType.CANCELLED.value


class CallRecorder:
    """Builds the records and events of one call and hands them to the reporter.

    `records` keeps the records for the final error. `call_started` and `call_ended` are each called once, before and
    after everything else.
    """

    __slots__ = ("_cost_usd", "_end", "_parts", "_plan", "records")

    def __init__(self, plan: CallPlan, parts: RouterParts) -> None:
        self._plan = plan
        self._parts = parts
        self.records: list[TraceRecord] = []
        self._cost_usd: float | None = None
        """The cost of the attempts so far, as far as it is known."""
        # A call that ends without setting this was interrupted between two steps.
        self._end: tuple[Literal["ok", "error", "cancelled"], str | None, Target | None]
        self._end = ("cancelled", _CANCELLED, None)

    def call_started(self) -> None:
        """Report that the call has begun."""
        if self._plan.wants_debug_events:
            self._event("call.start", None, None, stream=self._plan.stream is not None)

    def call_ended(self, attempts: int) -> None:
        """Report that the call has ended after `attempts` attempts, with the outcome of the latest record."""
        following = self._plan.following
        if self._plan.wants_debug_events or following is not None:
            outcome, failure_type, target = self._end
            elapsed_ms = _ms(self._parts.clock.monotonic() - self._plan.started)
            if self._plan.wants_debug_events:
                self._event("call.end", target, None, outcome=outcome, failure_type=failure_type, elapsed_ms=elapsed_ms,
                            attempts=attempts, cost_usd=self._cost_usd)  # fmt: skip
            if following is not None:
                following.ended(outcome, failure_type, elapsed_ms)

    def started(self, attempt: Attempt) -> None:
        """Report that the attempt has started."""
        if self._plan.following is not None:
            attempt.context = self._plan.following.attempt_started(attempt_start(attempt, self._plan))
        if self._plan.wants_debug_events:
            self._event("llm.complete.start", attempt.target, attempt.index)

    def waits(self, target: Target, seconds: float | None, reason: str) -> None:
        """Report that the call waits for `target`, `seconds` at most; None: until another attempt has ended."""
        if self._plan.wants_debug_events:
            self._event("llm.wait", target, None, wait_ms=None if seconds is None else _ms(seconds), reason=reason)

    def first_output(self, attempt: Attempt, now: float) -> None:
        """Report that the attempt's stream has given its first output, at `now`."""
        attempt.first_output = now
        elapsed_ms = _ms(now - attempt.started_monotonic)
        self._event("llm.stream.first_token", attempt.target, attempt.index, elapsed_ms=elapsed_ms)

    def succeeded(self, attempt: Attempt, answer: Any) -> None:
        """Record that the attempt has given `answer`."""
        # A failed call needs its records for the final error; a successful one only if a listener wants them.
        wants_events, is_followed = self._plan.wants_debug_events, self._plan.following is not None
        if not (wants_events or is_followed or self._parts.reporter.wants_records):
            return
        response = self._plan.operation.facts(answer)
        record = self._ended(attempt, "ok", "return", sent=True, response=response)
        self._end = ("ok", None, attempt.target)
        if wants_events:
            self._event(
                "llm.complete.success", attempt.target, attempt.index, elapsed_ms=record.elapsed_ms,
                usage=response.usage or None, cost_usd=response.cost_usd,
            )  # fmt: skip

    def served(self, target: Target, answer: Any) -> None:
        """Record that the call was answered by `answer`, kept from an equal request to `target`."""
        plan, parts = self._plan, self._parts
        if not (plan.wants_debug_events or plan.following is not None or parts.reporter.wants_records):
            return
        response = plan.operation.facts(answer)
        provider, model = target.names
        elapsed = parts.clock.monotonic() - plan.started
        captured: dict[str, Any] = {}
        if parts.capture_full:
            request = plan.operation.request_for(plan, target, parts.reporter)
            captured = captured_texts(plan.operation, request, response, (*parts.secrets, *keys_in(request)))
        record = self._without_attempt(
            None, provider=provider, model=model, outcome="ok", verdict="return", cached=True, cost_usd=0.0,
            reason="an answer that was kept",
            provider_type=parts.pool.settings(target.provider, {}).type, served_model=printable(response.model),
            finish_reason=printable(response.finish_reason), response_chars=len(response.text),
            started_at=utc_timestamp(parts.clock.time() - elapsed), elapsed_ms=_ms(elapsed),
            **captured,
        )  # fmt: skip
        self._end = ("ok", None, target)
        if plan.wants_debug_events:
            self._event("llm.cache.hit", target, None, elapsed_ms=record.elapsed_ms)

    def failed(
        self, attempt: Attempt, error: LLMRouterError, verdict: NextStep, wait: float, following: Target | None
    ) -> None:
        """Record that the attempt has failed.

        Args:
            attempt: The attempt.
            error: Why it failed.
            verdict: What comes next.
            wait: Seconds until then.
            following: The target of the next attempt; None if there is none.
        """
        wait_ms = _ms(wait)
        record = self._ended(attempt, "error", verdict, sent=error.sent, response=error.response, error=error,
                             wait_ms=wait_ms)  # fmt: skip
        self._ended_badly(record, attempt.target, error)
        if verdict == "retry":
            self._event("llm.retry", attempt.target, attempt.index, wait_ms=wait_ms)
        elif verdict == "next" and following is not None:
            self._event("policy.fallback", following, attempt.index + 1, after=attempt.target.names[0],
                        failure_type=error.failure_type.value, wait_ms=wait_ms)  # fmt: skip

    def breaker(self, attempt: Attempt, change: Transition) -> None:
        """Report that the attempt has opened or closed the circuit breaker of its target."""
        self._event(f"breaker.{change}", attempt.target, attempt.index)
        if self._plan.following is not None:
            self._plan.following.breaker_changed(*attempt.target.names, change)

    def cancelled(self, attempt: Attempt, reason: BaseException, partial: LLMResponse | None) -> None:
        """Record that the caller has cancelled the attempt, after receiving `partial` of a streamed answer."""
        # The provider was called, and it is not known how far it got: something may have been sent.
        record = self._ended(attempt, "cancelled", "raise", sent=True, response=partial, reason=reason)
        self._ended_badly(record, attempt.target)

    def hedged(self, attempt: Attempt, slow: Attempt) -> None:
        """Report that the attempt was started to hedge `slow`, which has not begun to answer."""
        after_ms = _ms(attempt.started_monotonic - slow.started_monotonic)
        self._event("llm.hedge", attempt.target, attempt.index, beside=slow.target.names[0], after_ms=after_ms)

    def lost(self, attempt: Attempt, why: str) -> None:
        """Record that the router ended the attempt, since a concurrent one has decided the call."""
        record = self._ended(attempt, "cancelled", "next", sent=True, lost=why)
        self._event("llm.hedge.end", attempt.target, attempt.index, elapsed_ms=record.elapsed_ms, reason=why)

    def skipped(self, target: Target, reason: LLMRouterError, *, last: bool) -> None:
        """Record that `target` was skipped without an attempt; with `last`, no other target is left."""
        provider, model = target.names
        self._without_attempt(
            reason, provider=provider, model=model, key_variable=target.key_variable, outcome="skipped",
            verdict="raise" if last else "next", failure_type=reason.failure_type.value, error=self._text(reason),
            retry_after=reason.retry_after,
        )  # fmt: skip

    def ended_without_attempt(self, error: BaseException, elapsed: float) -> None:
        """Record that the call has ended outside any attempt, `elapsed` seconds after its start (the record's time)."""
        outcome: AttemptOutcome = "cancelled"
        details: dict[str, Any] = {"failure_type": _CANCELLED, "error": _name(error)}
        if isinstance(error, LLMRouterError):
            outcome = "error"
            details = {
                "failure_type": error.failure_type.value,
                "error": self._text(error),
                "retry_after": error.retry_after,
            }
        record = self._without_attempt(
            error, outcome=outcome, verdict="raise", started_at=utc_timestamp(self._parts.clock.time() - elapsed),
            elapsed_ms=_ms(elapsed), **details,
        )  # fmt: skip
        self._ended_badly(record, None, error)

    def _ended(
        self,
        attempt: Attempt,
        outcome: AttemptOutcome,
        verdict: NextStep,
        *,
        sent: bool,
        response: LLMResponse | None = None,
        error: LLMRouterError | None = None,
        reason: BaseException | None = None,
        lost: str | None = None,
        wait_ms: float = 0.0,
    ) -> TraceRecord:
        """Write the record of an attempt that has ended, and return it."""
        is_good = error is None and reason is None and lost is None
        rare: dict[str, Any] = {} if is_good else self._failure_fields(error, reason, lost)
        if attempt.is_hedge:
            rare["hedge"] = True
        if attempt.first_output is not None:
            rare["first_token_ms"] = _ms(attempt.first_output - attempt.started_monotonic)
        if attempt.waited_for is not None:
            rare["waited_for"] = attempt.waited_for
        if response is not None and response.details.service_tier is not None:
            rare["service_tier"] = provider_word(response.details.service_tier, attempt, self._parts)
        if attempt.dropped:
            rare["dropped"] = attempt.dropped
        plan, answer, parts = self._plan, response or _NO_ANSWER, self._parts
        if parts.capture_full:
            rare.update(captured_fields(plan.operation, attempt, response, parts.secrets))
        if answer.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + answer.cost_usd
        provider, model = attempt.target.names
        return self._keep(TraceRecord(
            request_id=plan.request_id, attempt=attempt.index, target_attempt=attempt.target_index, sent=sent,
            role=plan.role_settings.shown_role, asked_role=plan.asked_role, provider=provider, model=model,
            provider_type=attempt.provider.config.type, served_model=provider_word(answer.model, attempt, parts),
            key_variable=attempt.target.key_variable, policy=plan.role_settings.policy, operation=plan.operation.name,
            started_at=utc_timestamp(attempt.started_at), reason=reason_of(attempt, plan, self.records, parts.secrets),
            offset_ms=_ms(attempt.started_monotonic - plan.started),
            elapsed_ms=_ms(parts.clock.monotonic() - attempt.started_monotonic), outcome=outcome, verdict=verdict,
            wait_ms=wait_ms, stream=plan.stream is not None,
            finish_reason=provider_word(answer.finish_reason, attempt, parts),
            usage=answer.usage or None, cost_usd=answer.cost_usd, request_bytes=answer.request_bytes,
            cost_source=None if answer.cost_usd is None else attempt.cost_source or "vendor",
            response_chars=None if response is None else len(response.text), metadata=plan.metadata,
            workspace=parts.workspace, **rare,
        ), error, attempt, response)  # fmt: skip

    def _failure_fields(
        self, error: LLMRouterError | None, reason: BaseException | None, lost: str | None
    ) -> dict[str, Any]:
        """Return the record's fields about the attempt's failure, its cancellation, or its lost race."""
        fields: dict[str, Any] = {}
        if error is not None:
            fields.update(
                failure_type=error.failure_type.value, status_code=_status(error.status_code), error=self._text(error),
                retry_after=error.retry_after, provider_request_id=error.provider_request_id,
            )  # fmt: skip
        if reason is not None:
            fields.update(failure_type=_CANCELLED, error=_name(reason))
        if lost is not None:
            fields["error"] = lost
        return fields

    def _without_attempt(
        self, cause: BaseException | None, *, started_at: str | None = None, **details: Any
    ) -> TraceRecord:
        """Write a record that belongs to no attempt, and return it."""
        plan, role = self._plan, self._plan.role_settings
        offset = 0.0 if started_at else self._parts.clock.monotonic() - plan.started
        return self._keep(TraceRecord(
            request_id=plan.request_id, attempt=None, role=role.shown_role, asked_role=plan.asked_role,
            policy=role.policy, operation=plan.operation.name, metadata=plan.metadata, workspace=self._parts.workspace,
            stream=plan.stream is not None, offset_ms=_ms(offset),
            started_at=started_at or utc_timestamp(self._parts.clock.time()), **details,
        ), cause)  # fmt: skip

    def _keep(
        self,
        record: TraceRecord,
        error: BaseException | None,
        attempt: Attempt | None = None,
        answer: LLMResponse | None = None,
    ) -> TraceRecord:
        """Hand `record` to all its receivers, and return it."""
        self.records.append(record)
        self._parts.reporter.record(record)
        if self._plan.following is not None:
            text = _unquoted(record, error)
            end = attempt_end(record, text, attempt, answer, plan=self._plan, parts=self._parts)
            self._plan.following.recorded(end)
        return record

    def _text(self, error: LLMRouterError) -> str:
        return error_text(error, quotes=self._parts.capture_full)

    def _ended_badly(self, record: TraceRecord, target: Target | None, error: BaseException | None = None) -> None:
        """Send the event of the failure in `record`; it ends the call if nothing follows."""
        if record.verdict == "raise":
            self._end = ("cancelled" if record.outcome == "cancelled" else "error", record.failure_type, None)
        self._event(
            "llm.complete.error", target, record.attempt, failure_type=record.failure_type,
            elapsed_ms=record.elapsed_ms, error=_unquoted(record, error), verdict=record.verdict,
        )  # fmt: skip

    def _event(self, name: str, target: Target | None, attempt: int | None, **data: Any) -> None:
        provider, model = (None, None) if target is None else target.names
        emit = self._parts.reporter.event
        if self._plan.following is not None and self._plan.following.context is not None:
            # Log lines name the span of the call. Use a copy of the context, which nobody else can have entered.
            emit = bound_to(self._plan.following.context.copy(), emit)
        emit(
            name, self._plan.request_id, self._plan.role_settings.shown_role, provider=provider, model=model,
            attempt=attempt, **data,
        )  # fmt: skip


def _unquoted(record: TraceRecord, error: BaseException | None) -> str | None:
    """Return the message of a failure; it quotes an answer only if the record holds the answer anyway."""
    return error_text(error, quotes=False) if isinstance(error, LLMRouterError) else record.error


def utc_timestamp(now: float) -> str:
    """Return `now` (seconds since 1970) as ISO 8601 in UTC, with microseconds and a Z."""
    seconds, microseconds = divmod(round(now * 1_000_000), 1_000_000)
    return f"{_whole_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=8)
def _whole_second(seconds: int) -> str:
    # `strftime` imports a module each time, which fails when the interpreter is shutting down.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _status(code: int | None) -> int | None:
    return code if code is None or -MAX_COUNT <= code <= MAX_COUNT else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _name(error: BaseException) -> str:
    return type(error).__name__
