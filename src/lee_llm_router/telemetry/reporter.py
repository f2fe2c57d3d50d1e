"""Passes records and events to stores, sinks, hooks and observers, and survives their errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from lee_llm_router._util.log import logger
from lee_llm_router._util.printable import printable
from lee_llm_router._util.scrubbing import quoted, text_of_exception
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.events import RouterEvent, event_level
from lee_llm_router.telemetry.following import AnyEventSink, CallFollower, CallFollowing, CallStart
from lee_llm_router.telemetry.records import TraceRecord, TraceStore
from lee_llm_router.telemetry.sinks.logging import LoggingSink

if TYPE_CHECKING:
    from lee_llm_router.telemetry.kept_records import KeptRecord

TokenUsageHook: TypeAlias = Callable[[LLMUsage, str, str], None]
"""`on_token_usage(usage, role, provider)`: called once for each attempt that reports usage."""

_KEPT = "what is kept of a record"
_SEE_TEXTS = frozenset({"compression", _KEPT})
"""Listeners that see prompts; their errors may quote them."""


class Reporter:
    """Calls the listeners of one router; nothing else calls a store, sink, hook or policy observer.

    An error of a listener is counted in `errors`, and logged once per kind of listener. It never reaches the caller.
    """

    def __init__(
        self,
        *,
        store: TraceStore | None = None,
        sinks: Iterable[AnyEventSink] = (),
        on_token_usage: TokenUsageHook | None = None,
        observer: Callable[[TraceRecord], Any] | None = None,
        secrets: Iterable[str] = (),
        kept: KeptRecord | None = None,
        redacted: Callable[[TraceRecord], TraceRecord] | None = None,
    ) -> None:
        self.store = store
        self._kept = kept
        self.redacted = redacted
        """Returns a record with its texts in storable form; None: they stay unchanged."""
        self.errors = 0
        sinks = tuple(sinks)
        self._following = tuple(sink for sink in sinks if hasattr(sink, "follow"))
        self.follows = bool(self._following)
        """Whether any sink follows calls."""
        # An object with neither method is an error, counted on its first call.
        self._sinks = tuple(sink for sink in sinks if hasattr(sink, "emit") or not hasattr(sink, "follow"))
        self._logging = LoggingSink()
        self._on_token_usage = on_token_usage
        self._observer = observer
        self._secrets = tuple(secrets)
        self._warned: set[str] = set()
        self.wants_records = store is not None or observer is not None or on_token_usage is not None
        """Whether any listener receives records."""

    def wants_debug_events(self) -> bool:
        """Whether any listener would get an event of level DEBUG."""
        return bool(self._sinks) or logger.isEnabledFor(logging.DEBUG)

    def following(self, call: CallStart) -> CallFollowing | None:
        """Return the followers of `call`; None if no sink follows it."""
        asked = [self.call_listener("event sink", _follow, sink, call) for sink in self._following]
        followers = [follower for follower in asked if follower is not None]
        return CallFollowing(call, followers, self.call_listener) if followers else None

    def record(self, record: TraceRecord) -> None:
        """Write `record` to the store, and show it to the policy's observer and the usage hook."""
        if self.store is not None:
            stored = record if self._kept is None else self.call_listener(_KEPT, self._kept, record)
            if stored is not None:
                self.call_listener("trace store", _write, self.store, stored)
        if self._observer is not None:
            self.call_listener("policy observer", self._observer, record)
        if self._on_token_usage is not None and record.usage is not None and record.provider is not None:
            self.call_listener("on_token_usage", self._on_token_usage, record.usage, record.role, record.provider)

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
        """Send an event to the logger and every sink. Built only if one of them receives it."""
        logged = logger.isEnabledFor(event_level(name))
        if not logged and not self._sinks:
            return
        event = RouterEvent(
            event=name, request_id=request_id, role=role, provider=provider, model=model, attempt=attempt, data=data
        )
        if logged:
            self.call_listener("logging", self._logging.emit, event)
        for sink in self._sinks:
            self.call_listener("event sink", _emit, sink, event)

    def call_listener(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a listener and return its result; if it raises, count and log the error and return None."""
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - a listener must never break a call
            self.errors += 1
            if kind not in self._warned:
                self._warned.add(kind)
                reason = self._reason(kind, error)
                logger.log(logging.ERROR, "%s failed (further failures are only counted): %s", kind, reason)
            return None

    def _reason(self, kind: str, error: Exception) -> str:
        """Return an error as one line for the log, without keys, prompts and answers."""
        if kind in _SEE_TEXTS:
            return printable(type(error).__name__)
        return quoted(text_of_exception(error), self._secrets)


# Looked up within the guard: an object of the wrong shape (a store with `append`, for example) must not break a call
# either.


def _write(store: TraceStore, record: TraceRecord) -> None:
    store.write(record)


def _follow(sink: Any, call: CallStart) -> CallFollower | None:
    follower: CallFollower | None = sink.follow(call)
    return follower


def _emit(sink: Any, event: RouterEvent) -> None:
    sink.emit(event)
