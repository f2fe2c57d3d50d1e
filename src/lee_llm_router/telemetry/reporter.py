"""Hands records and events to whoever listens, and survives what they raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from lee_llm_router._util.log import logger
from lee_llm_router.telemetry.records import (
    EventSink,
    LoggingSink,
    RouterEvent,
    TokenUsageHook,
    TraceRecord,
    TraceStore,
    event_level,
)


class Reporter:
    """The only place from which stores, sinks, hooks and policy observers are called.

    What they raise is counted in `errors` and logged once for each listener; it never reaches the caller.
    """

    def __init__(
        self,
        *,
        store: TraceStore | None = None,
        sinks: Iterable[EventSink] = (),
        on_token_usage: TokenUsageHook | None = None,
        observer: Callable[[TraceRecord], Any] | None = None,
    ) -> None:
        self.store = store
        self.errors = 0
        self._sinks = tuple(sinks)
        self._logging = LoggingSink()
        self._on_token_usage = on_token_usage
        self._observer = observer
        self._complained: set[str] = set()
        self.wants_records = store is not None or observer is not None or on_token_usage is not None
        """Whether anybody is shown the records."""

    @property
    def hears_all(self) -> bool:
        """Whether anybody would get events of the lowest level, those of a call that goes well."""
        return bool(self._sinks) or logger.isEnabledFor(logging.DEBUG)

    def record(self, record: TraceRecord) -> None:
        """Store `record`, and show it to the policy's observer and the usage hook."""
        if self.store is not None:
            self.guarded("trace store", self.store.append, record)
        if self._observer is not None:
            self.guarded("policy observer", self._observer, record)
        if self._on_token_usage is not None and record.usage is not None and record.provider is not None:
            self.guarded("on_token_usage", self._on_token_usage, record.usage, record.role, record.provider)

    def event(
        self,
        name: str,
        request_id: str,
        role: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        attempt: int | None = None,
        **data: Any,
    ) -> None:
        """Send an event to the logger and every sink, if anyone listens."""
        logged = logger.isEnabledFor(event_level(name))
        if not logged and not self._sinks:
            return
        event = RouterEvent(
            name=name, request_id=request_id, role=role, provider=provider, model=model, attempt=attempt, data=data
        )
        if logged:
            self.guarded("logging", self._logging.emit, event)
        for sink in self._sinks:
            self.guarded("event sink", sink.emit, event)

    def guarded(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a listener; count and log what it raises, and return None then."""
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - a listener must never break a call
            self.errors += 1
            if what not in self._complained:
                self._complained.add(what)
                with_type = f"{type(error).__name__}: {error}"
                logger.log(logging.ERROR, "%s failed (further failures are only counted): %s", what, with_type)
            return None
