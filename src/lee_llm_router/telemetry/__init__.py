"""Records, events, and who receives them."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router._util.log import logger
    from lee_llm_router.telemetry.records import (
        EVENT_NAMES,
        SCHEMA_VERSION,
        EventSink,
        LoggingSink,
        Outcome,
        RouterEvent,
        TokenUsageHook,
        TraceRecord,
        TraceStore,
        Verdict,
        event_level,
        json_text,
        target_name,
    )
else:
    __getattr__ = loaded_when_asked(__name__, "lee_llm_router.telemetry.records")

__all__ = [
    "EVENT_NAMES",
    "SCHEMA_VERSION",
    "EventSink",
    "LoggingSink",
    "Outcome",
    "RouterEvent",
    "TokenUsageHook",
    "TraceRecord",
    "TraceStore",
    "Verdict",
    "event_level",
    "json_text",
    "logger",
    "target_name",
]
