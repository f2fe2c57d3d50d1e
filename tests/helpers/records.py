"""Trace records, with what they need and nobody looks at."""

from __future__ import annotations

from typing import Any

from helpers.support import EPOCH
from lee_llm_router.engine.recorder import utc_timestamp
from lee_llm_router.telemetry import TraceRecord


def make(request_id: str = "call", attempt: int | None = 0, at: float = EPOCH, **fields: Any) -> TraceRecord:
    fields = {"role": "planner", "outcome": "ok", "verdict": "return", "started_at": utc_timestamp(at), **fields}
    return TraceRecord(request_id=request_id, attempt=attempt, **fields)
