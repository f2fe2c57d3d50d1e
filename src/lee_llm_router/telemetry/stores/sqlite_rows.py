"""Trace records as rows of the SQLite store, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from lee_llm_router.telemetry.calls import parsed_time
from lee_llm_router.telemetry.records import TraceRecord

Row: TypeAlias = tuple[Any, ...]

COLUMNS = (
    "request_id", "started_at", "attempt", "role", "provider", "model", "outcome", "failure_type",
    "elapsed_ms", "first_token_ms", "input_tokens", "output_tokens", "cost_usd", "record", "captured",
)  # fmt: skip
INSERT = f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608

_LARGEST = 2**63 - 1
_NO_TEXTS: dict[str, Any] = dict.fromkeys(("messages", "tools", "settings", "text", "reasoning", "tool_calls"))


def row_of(record: TraceRecord, now: float) -> Row:
    """Return the row of `record`, written at `now`, which is its time if it has none. Never fails."""
    line = record.to_json().decode()
    captured = None
    if any(getattr(record, name) is not None for name in _NO_TEXTS):
        line, captured = replace(record, **_NO_TEXTS).to_json().decode(), line
    time, usage = parsed_time(record.started_at), record.usage
    return (
        plain_text(record.request_id), now if time is None else time.timestamp(), _number(record.attempt),
        plain_text(record.role), plain_text(record.provider), plain_text(record.model), plain_text(record.outcome),
        plain_text(record.failure_type), _number(record.elapsed_ms), _number(record.first_token_ms),
        None if usage is None else _number(usage.prompt_tokens),
        None if usage is None else _number(usage.completion_tokens), _number(record.cost_usd), line, captured,
    )  # fmt: skip


def record_of(row: Sequence[bytes | None]) -> TraceRecord | None:
    """Return the record of the columns `record` and `captured`; None if there is none."""
    try:
        return TraceRecord.from_json(row[0] if row[1] is None else row[1])  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None


def plain_text(text: Any) -> str | None:
    """Return `text` in the form of the record's JSON, with lone surrogates escaped; None if it is not text."""
    if not isinstance(text, str):
        return None
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _number(value: Any) -> int | float | None:
    if isinstance(value, float) or (isinstance(value, int) and -_LARGEST <= value <= _LARGEST):
        return value
    return None
