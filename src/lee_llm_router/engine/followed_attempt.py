"""What followers of a call learn about an attempt: when it begins, and when its record is written.

A follower may send this to another machine, so texts are in the form in which they may be stored: without keys, and
after the section `redact` and the application's `redact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lee_llm_router._util.masked_text import MaskedText
from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts
from lee_llm_router.engine.recorded_text import captured_fields, provider_id
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.telemetry.following import AttemptEnd, AttemptStart
from lee_llm_router.telemetry.records import TraceRecord


def attempt_start(attempt: Attempt, plan: CallPlan) -> AttemptStart:
    """Return the news that an attempt begins."""
    config = attempt.provider.config
    base_url = vars(config).get("base_url")  # a pydantic model is slow to report a missing field
    provider, model = attempt.target.names
    return AttemptStart(
        attempt.index, provider, model, config.type, None if isinstance(base_url, MaskedText) else base_url,
        plan.operation.name, attempt.request, plan.stream is not None,
    )  # fmt: skip


def attempt_end(
    record: TraceRecord,
    error: str | None,
    attempt: Attempt | None,
    answer: LLMResponse | None,
    *,
    plan: CallPlan,
    parts: RouterParts,
) -> AttemptEnd:
    """Return the news that `record` was written.

    Args:
        record: The record.
        error: The message of the failure, without quoting an answer.
        attempt: The attempt, if the record is about one.
        answer: The answer, or the part received.
        plan: The call.
        parts: The router's parts.
    """
    shown = record if error == record.error else replace(record, error=error)
    if parts.reporter.redacted is not None:
        shown = parts.reporter.redacted(shown)
    end = AttemptEnd(shown, shown.error)
    if attempt is not None:
        end.content = partial(_content, record, attempt, answer, plan, parts)
        if answer is not None:
            end.response_id = provider_id(answer.details.id, attempt, parts)
    return end


def _content(
    record: TraceRecord, attempt: Attempt, answer: LLMResponse | None, plan: CallPlan, parts: RouterParts
) -> Mapping[str, Any]:
    fields = captured_fields(plan.operation, attempt, answer, parts.secrets)
    if parts.reporter.redacted is None:
        return fields
    redacted = parts.reporter.redacted(replace(record, **fields))
    return {name: getattr(redacted, name) for name in fields}
