"""Traced calls as spans of OpenTelemetry's protocol (OTLP), in its JSON encoding, without any of its packages.

A call is a span, and each of its attempts is a child span; a skipped target is an event of the call's span. The spans
have the same attributes as those of the sink `opentelemetry`. Ids derive from the id of the call, so sending a call
twice sends the same spans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from uuid import UUID

from lee_llm_router.telemetry.calls import TracedCall, believed, parsed_time
from lee_llm_router.telemetry.genai_content import as_json, content_of
from lee_llm_router.telemetry.genai_conventions import (
    SCOPE,
    AttributeValue,
    attempt_attributes,
    call_attributes,
    error_type_of,
    request_attributes,
    span_name,
    target_attributes,
)
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord

_INTERNAL, _CLIENT = 1, 3
"""Kinds of spans, as numbers of the protocol."""
_ERROR = 2
"""The status code for an error."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_INTEGER = 2**63
SKIPPED_EVENT = f"{SCOPE}.target_skipped"


def spans_of(call: TracedCall, *, content: bool = False) -> list[dict[str, Any]]:
    """Return the spans of a call, its own first; none if it does not say when it began.

    Args:
        call: The call.
        content: Whether to add captured prompts and answers to the attempts.
    """
    if call.started is None:
        return []
    trace_id = _trace_id(call.request_id)
    parent = _span_id(call.request_id, "call")
    spans = [_call_span(call, trace_id, parent, call.started)]
    for record in call.records:
        began = parsed_time(record.started_at)
        if record.attempt is None or began is None:
            continue
        attributes = {
            **target_attributes(record), **request_attributes(record.settings or {}, stream=record.stream),
            **attempt_attributes(record), **(_content(record) if content else {}),
        }  # fmt: skip
        spans.append({
            "traceId": trace_id, "spanId": _span_id(call.request_id, str(record.attempt)), "parentSpanId": parent,
            "name": span_name(record.operation, record.model), "kind": _CLIENT,
            **_times(began, believed(record.elapsed_ms)), "attributes": _attributes(attributes), **_status(record),
        })  # fmt: skip
    return spans


def request_body(spans: Sequence[bytes], resource: Mapping[str, str], version: str) -> bytes:
    """Return the request that exports spans.

    Args:
        spans: Each as JSON.
        resource: The origin of the spans: `service.name` and more.
        version: This library's version.
    """
    head = json_text({"attributes": _attributes(resource)})
    scope = json_text({"name": SCOPE, "version": version})
    return (
        b'{"resourceSpans":[{"resource":' + head + b',"scopeSpans":[{"scope":' + scope + b',"spans":['
        + b",".join(spans) + b"]}]}]}"
    )  # fmt: skip


def _call_span(call: TracedCall, trace_id: str, span_id: str, began: datetime) -> dict[str, Any]:
    first, last = call.records[0], call.last
    span = {
        "traceId": trace_id, "spanId": span_id, "name": span_name(first.operation, first.role), "kind": _INTERNAL,
        **_times(began, call.total_ms), "attributes": _attributes(call_attributes(call.records)),
        "events": list(_skips(call.records)),
    }  # fmt: skip
    return {**span, **(_status(last) if last.verdict == "raise" else {})}


def _skips(records: Sequence[TraceRecord]) -> Iterator[dict[str, Any]]:
    for record in records:
        moment = parsed_time(record.started_at) if record.outcome == "skipped" else None
        if moment is not None:
            told = {f"{SCOPE}.target": record.target, "error.type": record.failure_type, f"{SCOPE}.error": record.error}
            known = {name: value for name, value in told.items() if value is not None}
            yield {"timeUnixNano": _nanoseconds(moment), "name": SKIPPED_EVENT, "attributes": _attributes(known)}


def _content(record: TraceRecord) -> dict[str, AttributeValue]:
    fields = {
        "messages": record.messages, "tools": record.tools, "text": record.text, "reasoning": record.reasoning,
        "tool_calls": record.tool_calls,
    }  # fmt: skip
    return {name: as_json(value) for name, value in content_of(fields, record.finish_reason).items()}


def _status(record: TraceRecord) -> dict[str, Any]:
    if error_type_of(record) is None:
        return {}
    return {"status": {"code": _ERROR, "message": record.error or record.failure_type or record.outcome}}


def _times(began: datetime, milliseconds: float) -> dict[str, str]:
    try:
        ended = began + timedelta(milliseconds=milliseconds)
    except OverflowError:
        ended = began
    return {"startTimeUnixNano": _nanoseconds(began), "endTimeUnixNano": _nanoseconds(ended)}


def _nanoseconds(moment: datetime) -> str:
    """Return a time in the protocol's form: nanoseconds since 1970, as text. Times outside its range become its
    bounds."""
    return str(min(max(0, (moment - _EPOCH) // timedelta(microseconds=1) * 1000), _LARGEST_INTEGER - 1))


def _attributes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in found.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        return {"intValue": str(value)}  # as text: JSON numbers cannot hold 64 bits
    if isinstance(value, float):
        return {"doubleValue": value} if isfinite(value) else {"stringValue": str(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _trace_id(request_id: str) -> str:
    """Return the id of the call if it has 16 bytes; otherwise 16 bytes derived from it."""
    try:
        found = UUID(request_id)
    except ValueError:
        return _digest(request_id)[:32]
    return found.hex if found.int else _digest(request_id)[:32]


def _span_id(request_id: str, part: str) -> str:
    return _digest(f"{request_id}/{part}")[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
