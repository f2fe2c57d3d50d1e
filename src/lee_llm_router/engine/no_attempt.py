"""Why a call ends without another attempt."""

from __future__ import annotations

from collections.abc import Sequence

from lee_llm_router._util.numbers import written_out
from lee_llm_router.engine.candidates import NextAction
from lee_llm_router.engine.plan import CallPlan
from lee_llm_router.engine.recorded_text import error_text
from lee_llm_router.engine.recorder import CallRecorder
from lee_llm_router.engine.selection import TargetSelector
from lee_llm_router.engine.steps import CallSteps
from lee_llm_router.errors import LLMRouterError, LLMTimeoutError, UnavailableError
from lee_llm_router.telemetry.records import TraceRecord


def deadline_passed(deadline: float, waited: tuple[float, str | None] | None, now: float) -> LLMRouterError:
    """Return the error of a call whose `deadline` leaves no time for an attempt after its wait."""
    message = f"the call's deadline of {deadline:g} s passed before an attempt"
    since, reason = waited or (now, None)
    if reason is not None:
        message += f", after a wait of {written_out(now - since, 3)} s ({reason})"
    return LLMTimeoutError(message, sent=False)


def nobody_left(
    selector: TargetSelector, records: Sequence[TraceRecord], last_error: LLMRouterError | None, now: float
) -> LLMRouterError:
    """Return the error of a call that has no target to try; `records` are those of the call so far."""
    if selector.spent_budget is not None:
        return selector.spent_budget
    opens_at = selector.opens_at
    retry_after = None if opens_at is None else max(0.0, opens_at - now)
    reason = selector.shut_reason or _refusals(records)
    why = f" ({reason})" if reason else ""
    after = f", after {last_error.failure_type}: {error_text(last_error, quotes=False)}" if last_error else ""
    return UnavailableError(f"no target can be asked{why}{after}", retry_after=retry_after, sent=False)


def _refusals(records: Sequence[TraceRecord]) -> str:
    """Return why the first target that was skipped cannot serve, and how many others cannot."""
    refused = [record for record in records if record.outcome == "skipped"]
    if not refused:
        return ""
    others = "" if len(refused) == 1 else f"; {len(refused) - 1} more cannot either"
    return f"{refused[0].target}: {refused[0].error or refused[0].failure_type}{others}"


def kept_answer(plan: CallPlan, recorder: CallRecorder, action: NextAction) -> CallSteps:
    """Return the kept answer of the target whose turn has come."""
    from lee_llm_router.engine.kept_answer import serve_kept  # noqa: PLC0415 - only if there is a cache

    return serve_kept(plan, recorder, action.candidate.target, action.kept)
