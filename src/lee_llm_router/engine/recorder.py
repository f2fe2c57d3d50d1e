"""Writes down a call: a record for each attempt, an event for each step."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts, Target
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.health.tracker import Transition
from lee_llm_router.response import LLMResponse
from lee_llm_router.telemetry.records import Outcome, TraceRecord, Verdict

_NO_ANSWER = LLMResponse(text="")


class Recorder:
    """Everything one call writes and tells. Keeps the records, for the final error."""

    __slots__ = ("_parts", "_plan", "records")

    def __init__(self, plan: CallPlan, parts: RouterParts) -> None:
        self._plan = plan
        self._parts = parts
        self.records: list[TraceRecord] = []

    def begun(self, attempt: Attempt) -> None:
        """An attempt has started."""
        if self._plan.wants_debug_events:
            self._event("llm.complete.start", attempt.target, attempt.index)

    def first_output(self, attempt: Attempt, now: float) -> None:
        """Its stream has begun to give an answer."""
        attempt.first_output = now
        self._event(
            "llm.stream.first_token", attempt.target, attempt.index, elapsed_ms=_ms(now - attempt.started_monotonic)
        )

    def succeeded(self, attempt: Attempt, answer: Any) -> None:
        """It gave the answer."""
        # Only an error carries its records; of an answer they are for those who listen.
        heard = self._plan.wants_debug_events
        if not heard and not self._parts.reporter.wants_records:
            return
        response = self._plan.operation.facts(answer)
        record = self._ended(attempt, "ok", "return", sent=True, response=response)
        if heard:
            self._event(
                "llm.complete.success", attempt.target, attempt.index, elapsed_ms=record.elapsed_ms,
                usage=response.usage,
            )  # fmt: skip

    def failed(
        self, attempt: Attempt, error: LLMRouterError, verdict: Verdict, wait: float, following: Target | None
    ) -> None:
        """It failed; `verdict` says what comes next, after `wait` seconds, at `following`."""
        wait_ms = _ms(wait)
        record = self._ended(attempt, "error", verdict, sent=error.sent, response=error.response, error=error,
                             wait_ms=wait_ms)  # fmt: skip
        self._ended_badly(record, attempt.target)
        if verdict == "retry":
            self._event("llm.retry", attempt.target, attempt.index, wait_ms=wait_ms)
        elif verdict == "next" and following is not None:
            self._event("policy.fallback", following, attempt.index + 1, after=attempt.target.provider,
                        failure_type=error.failure_type.value, wait_ms=wait_ms)  # fmt: skip

    def breaker(self, attempt: Attempt, change: Transition) -> None:
        """The attempt has opened or closed its target's circuit breaker."""
        self._event(f"breaker.{change}", attempt.target, attempt.index)

    def cancelled(self, attempt: Attempt, reason: BaseException, partial: LLMResponse | None) -> None:
        """The caller gave up during it, with `partial` of a streamed answer handed on."""
        # The provider had been asked; how far it had come nobody can say, so something may have gone out.
        record = self._ended(attempt, "cancelled", "raise", sent=True, response=partial, reason=reason)
        self._ended_badly(record, attempt.target)

    def skipped(self, target: Target, reason: LLMRouterError, *, last: bool) -> None:
        """`target` was passed over without an attempt; `last`: and nobody else is left to ask."""
        self._without_attempt(
            provider=target.provider, model=target.model, outcome="skipped",
            verdict="raise" if last else "next", failure_type=reason.failure_type.value, error=reason.message,
            retry_after=reason.retry_after,
        )  # fmt: skip

    def outside(self, error: BaseException, elapsed: float) -> None:
        """The call ended outside any attempt, `elapsed` seconds after it began; the record is dated at its start."""
        known = isinstance(error, LLMRouterError)
        failure_type = error.failure_type if isinstance(error, LLMRouterError) else FailureType.CANCELLED
        record = self._without_attempt(
            outcome="error" if known else "cancelled", verdict="raise",
            started_at=utc_timestamp(self._parts.clock.time() - elapsed),
            failure_type=failure_type.value, error=error.message if isinstance(error, LLMRouterError) else _name(error),
            retry_after=error.retry_after if isinstance(error, LLMRouterError) else None, elapsed_ms=_ms(elapsed),
        )  # fmt: skip
        self._ended_badly(record, None)

    def _ended(
        self,
        attempt: Attempt,
        outcome: Outcome,
        verdict: Verdict,
        *,
        sent: bool,
        response: LLMResponse | None = None,
        error: LLMRouterError | None = None,
        reason: BaseException | None = None,
        wait_ms: float = 0.0,
    ) -> TraceRecord:
        rare: dict[str, Any] = {}
        if error is not None:
            rare.update(
                failure_type=error.failure_type.value, status_code=error.status_code, error=error.message,
                retry_after=error.retry_after,
            )  # fmt: skip
        if reason is not None:
            rare.update(failure_type=FailureType.CANCELLED.value, error=_name(reason))
        if attempt.first_output is not None:
            rare["first_token_ms"] = _ms(attempt.first_output - attempt.started_monotonic)
        if self._parts.capture_full:
            rare.update(
                messages=self._plan.operation.messages(attempt.request),
                text=None if response is None else response.text,
            )
        plan, target, answer = self._plan, attempt.target, response or _NO_ANSWER
        return self._keep(TraceRecord(
            request_id=plan.request_id, attempt=attempt.index, target_attempt=attempt.target_index, sent=sent,
            role=plan.role_settings.role, provider=target.provider, provider_type=attempt.provider.config.type,
            model=target.model, served_model=answer.model, policy=plan.role_settings.policy,
            started_at=utc_timestamp(attempt.started_at),
            elapsed_ms=_ms(self._parts.clock.monotonic() - attempt.started_monotonic), outcome=outcome, verdict=verdict,
            wait_ms=wait_ms, stream=plan.stream is not None, finish_reason=answer.finish_reason, usage=answer.usage,
            cost_usd=answer.cost_usd, request_bytes=answer.request_bytes,
            response_chars=None if response is None else len(response.text), metadata=plan.metadata,
            workspace=self._parts.workspace, **rare,
        ))  # fmt: skip

    def _without_attempt(self, *, started_at: str | None = None, **details: Any) -> TraceRecord:
        plan = self._plan
        return self._keep(TraceRecord(
            request_id=plan.request_id, attempt=None, role=plan.role_settings.role, policy=plan.role_settings.policy,
            metadata=plan.metadata, workspace=self._parts.workspace, stream=plan.stream is not None,
            started_at=started_at or utc_timestamp(self._parts.clock.time()), **details,
        ))  # fmt: skip

    def _keep(self, record: TraceRecord) -> TraceRecord:
        self.records.append(record)
        self._parts.reporter.record(record)
        return record

    def _ended_badly(self, record: TraceRecord, target: Target | None) -> None:
        """Tell of the failure that `record` was written for."""
        self._event(
            "llm.complete.error", target, record.attempt, failure_type=record.failure_type,
            elapsed_ms=record.elapsed_ms, error=record.error, verdict=record.verdict,
        )  # fmt: skip

    def _event(self, name: str, target: Target | None, attempt: int | None, **data: Any) -> None:
        self._parts.reporter.event(
            name, self._plan.request_id, self._plan.role_settings.role, provider=target.provider if target else None,
            model=target.model if target else None, attempt=attempt, **data,
        )  # fmt: skip


def utc_timestamp(now: float) -> str:
    """`now` (seconds since 1970) as ISO 8601 in UTC, with microseconds and a Z."""
    seconds, microseconds = divmod(round(now * 1_000_000), 1_000_000)
    return f"{_whole_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=8)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _name(error: BaseException) -> str:
    return type(error).__name__
