"""The checks of a received answer: quick checks run at once, slow ones are a step of the call.

A streamed answer is judged while the caller has none of it: at its end if it had no output, and with its first chunk if
that chunk is the whole answer. With ``on_break: restart`` it is always judged at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from lee_llm_router._util.work_limit import WorkLimitError, limit_of, quick_limit
from lee_llm_router.engine.acceptance import not_accepted, refusal_of
from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts
from lee_llm_router.engine.steps import CallStep, WorkStep
from lee_llm_router.engine.stream_assembler import StreamAssembler


def check_at_length(plan: CallPlan, attempt: Attempt, answer: Any, seconds: float) -> WorkStep:
    """Return the step that checks `answer` within `seconds`, if the check takes long."""
    check = plan.operation.accepted_within
    return WorkStep(partial(check, plan, attempt.target, attempt.request, answer, seconds), seconds)


def may_refuse(plan: CallPlan, assembler: StreamAssembler | None) -> bool:
    """Whether an unacceptable answer may still be refused: the caller has none of it, or will be told to discard it."""
    return plan.stream is None or plan.stream.on_break == "restart" or assembler is None or not assembler.started


def judge(
    plan: CallPlan, parts: RouterParts, answer: Any, time_left: Callable[[], float]
) -> Generator[CallStep, Any, None]:
    """Judge whether `answer` is acceptable.

    Raises:
        InvalidResponseError: it is not.
    """
    assert plan.accept is not None  # noqa: S101 - called only if there are acceptance rules
    facts = plan.operation.facts(answer)
    judged = partial(refusal_of, plan.accept, answer, facts, reporter=parts.reporter)
    try:
        try:
            reason = judged(limit=quick_limit())
        except WorkLimitError:
            seconds = time_left()
            reason = yield WorkStep(partial(judged, limit=limit_of(seconds)), seconds)
    except WorkLimitError:
        raise not_accepted("judging it takes too long", facts, final=True) from None
    if reason is not None:
        raise not_accepted(reason, facts)


def judge_whole_chunk(plan: CallPlan, parts: RouterParts, attempt: Attempt, assembler: StreamAssembler) -> None:
    """Judge a streamed answer before handing on its first output, if that is the whole answer.

    If the check takes long, the output is handed on: the first output does not wait for it.

    Raises:
        LLMRouterError: it is not acceptable, or breaks its JSON contract.
    """
    whole = assembler.partial()
    if whole.finish_reason is None or not may_refuse(plan, assembler):
        return
    assert plan.accept is not None  # noqa: S101 - as in `judge`
    try:
        answer = plan.operation.accepted(plan, attempt.target, attempt.request, whole)
        reason = refusal_of(plan.accept, answer, plan.operation.facts(answer), quick_limit(), parts.reporter)
    except WorkLimitError:
        return
    if reason is not None:
        raise not_accepted(reason, plan.operation.facts(answer))
