"""A trace store and event sink for tests that can be queried."""

from __future__ import annotations

from lee_llm_router.telemetry.events import RouterEvent
from lee_llm_router.telemetry.records import TraceRecord


class Recorder:
    """A trace store and event sink that keeps everything it is given, in order."""

    def __init__(self) -> None:
        self.records: list[TraceRecord] = []
        self.events: list[RouterEvent] = []

    def write(self, record: TraceRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    def emit(self, event: RouterEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call, in order; empty if there are none."""
        return [record for record in self.records if record.request_id == request_id]

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the last `n` calls, oldest call first, with the records of a call together."""
        latest = list(dict.fromkeys(record.request_id for record in reversed(self.records)))[:n]
        return [record for request_id in reversed(latest) for record in self.find(request_id)]

    def named(self, name: str) -> list[RouterEvent]:
        """Return the events with that name (see `lee_llm_router.telemetry.EVENT_NAMES`), in order."""
        return [event for event in self.events if event.event == name]

    def trail(self) -> list[str]:
        """Return a line for each record: target, ``ok`` or the failure type, and what the router did next."""
        return [f"{r.target} {'ok' if r.outcome == 'ok' else r.failure_type} {r.verdict}" for r in self.records]
