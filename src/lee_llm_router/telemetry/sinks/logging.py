"""The sink of every router: events as log records."""

from __future__ import annotations

from logging import Logger

from lee_llm_router._util.log import logger
from lee_llm_router._util.printable import printable
from lee_llm_router.telemetry.events import RouterEvent, event_level
from lee_llm_router.telemetry.records import target_name

_MAX_DETAILS = 2000
"""Longest data of an event on a line of the log, in characters."""


class LoggingSink:
    """Sends events to a logger, their fields as `extra` (each prefixed ``llm_``).

    Args:
        target: The logger. Default: ``lee_llm_router``.
    """

    def __init__(self, target: Logger = logger) -> None:
        self._logger = target

    def emit(self, event: RouterEvent) -> None:
        """Log one event at its `event_level`."""
        extra = {
            "llm_event": event.event, "llm_request_id": event.request_id, "llm_role": event.role,
            "llm_provider": event.provider, "llm_model": event.model, "llm_attempt": event.attempt,
            **{f"llm_{key}": value for key, value in event.data.items()},
        }  # fmt: skip
        details = printable(" ".join(f"{key}={value}" for key, value in event.data.items()), _MAX_DETAILS)
        target = target_name(event.provider, event.model)
        self._logger.log(
            event_level(event.event),
            "%s role=%s target=%s %s",
            event.event,
            printable(event.role),
            target,
            details,
            extra=extra,
        )
