"""The steps of one streamed attempt, and the handling of its first output."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router.engine.answer_checks import judge_whole_chunk
from lee_llm_router.engine.plan import Attempt
from lee_llm_router.engine.settings import StreamConfig
from lee_llm_router.engine.steps import CallStep, ContextStep, OpenStreamStep, ReadStreamStep
from lee_llm_router.engine.stream_assembler import StreamAssembler, StreamDeadlines
from lee_llm_router.response.types import LLMResponse

if TYPE_CHECKING:
    from lee_llm_router.engine.attempts import CallRun


def ask_stream(run: CallRun, attempt: Attempt) -> Generator[CallStep, Any, LLMResponse]:
    """Open a stream, hand its chunks on, and return the complete answer."""
    how = run.plan.stream
    assert how is not None  # noqa: S101 - called for streamed calls only
    run.assembler, opening = begin_stream(run, attempt, how, run.assembler)
    stream = yield opening
    run.assembler.headers = getattr(stream, "headers", NO_HEADERS)
    is_bounded = attempt.provider.capabilities.bounded
    response: LLMResponse = yield ReadStreamStep(stream, run.assembler, is_bounded, attempt.context)
    return response


def begin_stream(
    run: CallRun, attempt: Attempt, how: StreamConfig, before: StreamAssembler | None
) -> tuple[StreamAssembler, OpenStreamStep | ContextStep]:
    """Return the assembler for the answer of `attempt`, and the step that opens its stream.

    Args:
        run: The call.
        attempt: The attempt.
        how: The limits on its stream.
        before: The assembler of the previous answer, if there was one.
    """
    timeout, billing = attempt.timeout, run.parts.billing
    if how.first_token_timeout is not None:
        timeout = min(how.first_token_timeout, run.deadline_at - attempt.started_monotonic)
    assembler = StreamAssembler(
        StreamDeadlines(attempt.started_monotonic + timeout, how.idle_timeout, run.deadline_at),
        index=before.index if before else 0,
        restart=before is not None and before.index > 0,
        on_start=partial(_first_output, run, attempt),
        billed=partial(billing.cost_so_far, run.plan, attempt) if billing is not None else None,
    )
    opening = OpenStreamStep(attempt.provider, attempt.request, timeout)
    return assembler, opening if attempt.context is None else ContextStep(attempt.context, opening)


def _first_output(run: CallRun, attempt: Attempt, now: float) -> None:
    if run.plan.accept is not None and run.assembler is not None:
        judge_whole_chunk(run.plan, run.parts, attempt, run.assembler)
    run.recorder.first_output(attempt, now)
    if run.parts.billing is not None and run.assembler is not None:
        run.parts.billing.started(attempt, run.assembler.model)
