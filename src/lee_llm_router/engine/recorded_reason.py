"""Why a target was tried, in words for a record: the policy's reason, and earlier events of the call.

The words are made only when a record is built, from the records before it. The engine carries only what these cannot
tell (`Attempt.why`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.engine.plan import Attempt, CallPlan
from lee_llm_router.errors import FailureType
from lee_llm_router.telemetry.records import TraceRecord

MAX_REASON = 300
"""The most characters of a policy's reason that are kept."""
_FIRST = "first of the chain"
_BROKEN_CONTRACT = FailureType.CONTRACT_VIOLATION.value


def reason_of(attempt: Attempt, plan: CallPlan, before: Sequence[TraceRecord], secrets: Iterable[str]) -> str:
    """Return why the target of `attempt` was tried.

    Args:
        attempt: The attempt.
        plan: The call.
        before: The records of the call so far.
        secrets: Texts that must not appear in a record.
    """
    if not before and not plan.reasons and not attempt.why:
        return _FIRST
    told = None if plan.reasons is None else plan.reasons.get((attempt.target.provider, attempt.target.model))
    said = None if told is None else quoted(told, secrets, MAX_REASON)
    # A later attempt that ran concurrently may have been recorded first.
    last = next((index for index in range(len(before) - 1, -1, -1) if _is_before(before[index], attempt)), -1)
    passed = [record.target for record in before[last + 1 :] if record.outcome == "skipped"]
    if last >= 0 and not attempt.is_hedge:
        words = [_after(before[last], attempt, plan), said]
    elif attempt.is_hedge:
        words = [said]
    elif passed:
        words = ["fallback", said]
    else:
        words = [said or _FIRST]
    if passed:
        words.append(f"not asked: {', '.join(passed)}")
    return "; ".join(word for word in (*words, attempt.why) if word)


def _is_before(record: TraceRecord, attempt: Attempt) -> bool:
    return record.attempt is not None and record.attempt < attempt.index


def _after(previous: TraceRecord, attempt: Attempt, plan: CallPlan) -> str:
    """Describe `attempt`, which follows a failed attempt."""
    failure = previous.failure_type or previous.outcome
    if (previous.provider, previous.model) != attempt.target.names:
        return f"{'back' if attempt.target_index else 'fallback'} after {previous.target}: {failure}"
    if previous.key_variable != attempt.target.key_variable:
        return f"another key after {failure} with {previous.key_variable}"
    if failure == _BROKEN_CONTRACT:
        return f"told what was wrong, after {failure}"
    if attempt.counted < 2:
        return f"again after {failure}, which cost no try"
    return f"try {attempt.counted} of {plan.role_settings.retry.attempts} after {failure}"
