"""A call on a time axis: its attempts, the waits between them, and the skipped targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.telemetry.calls import TracedCall, believed, parsed_time
from lee_llm_router.telemetry.records import TraceRecord

SpanKind: TypeAlias = Literal["attempt", "wait", "skipped", "end"]
"""``end``: the call ended there, outside of any attempt."""

_SHORTEST_WAIT = 1.0
"""Shorter gaps between two attempts, in milliseconds, are not waits but the router's own work."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a call. Times are milliseconds from its start; for a point in time, start and end are equal."""

    kind: SpanKind
    start_ms: float
    end_ms: float
    record: TraceRecord
    """The attempt; for a wait, the attempt that follows it, or if there is none the one that announced it."""
    waited_for: str | None = None
    """The reason for a wait; None: the router's own work, or unknown."""
    first_token_ms: float | None = None
    """When the first output of a streamed attempt came, on the same axis."""

    @property
    def took_ms(self) -> float:
        """How long it is."""
        return self.end_ms - self.start_ms


def timeline_of(call: TracedCall) -> list[Span]:
    """Return the parts of `call` in the order of its records. Impossible times count as unknown."""
    return list(_spans(call))


def _spans(call: TracedCall) -> Iterator[Span]:
    began, reached = _begin(call), 0.0
    announced: str | None = None
    for record in call.records:
        took = believed(record.elapsed_ms)
        if record.attempt is None and record.outcome != "skipped":
            # Its duration is that of the whole call.
            if took - reached >= _SHORTEST_WAIT:
                yield Span("wait", reached, took, record, announced)
            reached = max(reached, took)
            yield Span("end", reached, reached, record)
            continue
        start = _position(record, began, reached)
        if record.attempt is None:
            yield Span("skipped", start, start, record)
            continue
        if start - reached >= _SHORTEST_WAIT:
            yield Span("wait", reached, start, record, record.waited_for or announced)
        first = None if record.first_token_ms is None else start + min(took, believed(record.first_token_ms))
        yield Span("attempt", start, start + took, record, None, first)
        reached = max(reached, start + took)
        announced = _announced(record)
    last = call.last
    if call.outcome == "unfinished" and believed(last.wait_ms) >= _SHORTEST_WAIT:
        yield Span("wait", reached, reached + believed(last.wait_ms), last, announced)


def _announced(record: TraceRecord) -> str | None:
    """Return the wait that an attempt announced; its reason is in the next record, if there is one."""
    return f"before the {'retry' if record.verdict == 'retry' else 'next target'}" if record.wait_ms else None


def _begin(call: TracedCall) -> float | None:
    """Return when the call began, in milliseconds since 1970; None if its first record does not say."""
    if call.started is None:
        return None
    first = call.records[0]
    return call.started.timestamp() * 1000 - (believed(first.offset_ms) if first.offset_ms is not None else 0.0)


def _position(record: TraceRecord, began: float | None, reached: float) -> float:
    if record.offset_ms is not None:
        return float(believed(record.offset_ms))
    time = parsed_time(record.started_at)
    if time is None or began is None:
        return reached
    return max(0.0, time.timestamp() * 1000 - began)
