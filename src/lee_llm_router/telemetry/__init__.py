"""Trace records, events, and the protocols of their receivers."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router._util.log import logger
    from lee_llm_router.telemetry.events import EVENT_NAMES, EVENTS, EventKind, EventSink, RouterEvent, event_level
    from lee_llm_router.telemetry.record_json import json_text
    from lee_llm_router.telemetry.records import (
        SCHEMA_VERSION,
        AttemptOutcome,
        NextStep,
        TraceReader,
        TraceRecord,
        TraceStore,
        target_name,
    )
    from lee_llm_router.telemetry.reporter import TokenUsageHook
    from lee_llm_router.telemetry.sinks.logging import LoggingSink
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.telemetry.records",
        "lee_llm_router.telemetry.events",
        "lee_llm_router.telemetry.reporter",
    )

__all__ = [
    "EVENTS",
    "EVENT_NAMES",
    "SCHEMA_VERSION",
    "AttemptOutcome",
    "EventKind",
    "EventSink",
    "LoggingSink",
    "NextStep",
    "RouterEvent",
    "TokenUsageHook",
    "TraceReader",
    "TraceRecord",
    "TraceStore",
    "event_level",
    "json_text",
    "logger",
    "target_name",
]
