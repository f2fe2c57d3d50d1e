"""A call's figures as plain data: for JSON, and for the fields that a user picks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord

RECORD_FIELDS = tuple(field.name for field in fields(TraceRecord))


def call_summary(call: TracedCall) -> dict[str, Any]:
    """Return the figures of a call by name."""
    last, answer = call.last, call.answered_by
    return {
        "id": call.request_id,
        "role": call.role,
        "started_at": call.records[0].started_at,
        "outcome": call.outcome,
        "finish_reason": last.finish_reason,
        "failure_type": last.failure_type,
        "error": last.error,
        "target": None if answer is None else answer.target,
        "tried": call.tried,
        "attempts": len(call.attempts),
        "saved": call.is_saved,
        "total_ms": call.total_ms,
        "first_token_ms": call.first_token_ms,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "tokens": call.tokens,
        "cost_usd": call.cost_usd,
        "cost_is_whole": call.is_cost_whole,
        "metadata": dict(call.records[0].metadata),
    }


def call_data(call: TracedCall) -> dict[str, Any]:
    """Return the summary of a call, and its `records`."""
    return {**call_summary(call), "records": [json_object(record.to_json()) for record in call.records]}


SUMMARY_FIELDS = ("id", "role", "started_at", "outcome", "finish_reason", "failure_type", "error", "target", "tried",
                  "attempts", "saved", "total_ms", "first_token_ms", "input_tokens", "output_tokens", "tokens",
                  "cost_usd", "cost_is_whole", "metadata", "records")  # fmt: skip
CALL_FIELDS = (*SUMMARY_FIELDS, *(name for name in RECORD_FIELDS if name not in SUMMARY_FIELDS))
"""What `--fields` accepts for one call: its figures, and the fields of its last record."""


def chosen_data(call: TracedCall) -> dict[str, Any]:
    """Return all the values that `CALL_FIELDS` names."""
    return {**json_object(call.last.to_json()), **call_data(call)}
