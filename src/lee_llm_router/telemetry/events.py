"""The events of a call: their table, the object that a sink receives, and the protocol of a sink."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True)
class EventKind:
    """One row of the table of events."""

    name: str
    level: int
    """The level at which the logger gets it."""
    data: tuple[str, ...]
    """The keys of `RouterEvent.data`, all present in every event of this kind."""
    meaning: str
    """One sentence; `docs/telemetry.md` shows it."""


EVENTS = (
    EventKind("call.start", logging.DEBUG, ("stream",), "A call begins; the first event of every call."),
    EventKind(
        "policy.choice",
        logging.DEBUG,
        ("policy", "chain"),
        "The policy has chosen the targets; the event names the first.",
    ),
    EventKind(
        "llm.wait",
        logging.DEBUG,
        ("wait_ms", "reason"),
        "The call waits before an attempt, for the target that the event names; `wait_ms` is null if the length "
        "is unknown.",
    ),
    EventKind("llm.complete.start", logging.DEBUG, (), "An attempt begins."),
    EventKind(
        "llm.hedge",
        logging.INFO,
        ("beside", "after_ms"),
        "The attempt was started because the one at `beside` had not begun to answer; both are running.",
    ),
    EventKind(
        "llm.hedge.end",
        logging.INFO,
        ("elapsed_ms", "reason"),
        "The router ended an attempt because another running attempt has decided the call.",
    ),
    EventKind("llm.stream.first_token", logging.DEBUG, ("elapsed_ms",), "A stream has given its first output."),
    EventKind(
        "llm.complete.success", logging.DEBUG, ("elapsed_ms", "usage", "cost_usd"), "An attempt has given the answer."
    ),
    EventKind(
        "llm.complete.error",
        logging.WARNING,
        ("failure_type", "elapsed_ms", "error", "verdict"),
        "An attempt has failed or was cancelled. Without a provider: the call has ended outside an attempt.",
    ),
    EventKind(
        "llm.cache.hit",
        logging.DEBUG,
        ("elapsed_ms",),
        "The answer comes from the cache, from an equal request to the target that the event names.",
    ),
    EventKind("llm.retry", logging.INFO, ("wait_ms",), "The same target is tried again after a wait."),
    EventKind(
        "policy.fallback",
        logging.INFO,
        ("after", "failure_type", "wait_ms"),
        "The next target is tried; the event names it, and `after` is the one that failed.",
    ),
    EventKind("breaker.open", logging.WARNING, (), "The target's circuit breaker has opened."),
    EventKind("breaker.close", logging.INFO, (), "The target's circuit breaker has closed."),
    EventKind(
        "state.lost",
        logging.WARNING,
        ("state", "reason"),
        "The shared state does not answer: every router decides for itself. The event belongs to no call.",
    ),
    EventKind(
        "state.joined", logging.INFO, ("state",), "The shared state answers again. The event belongs to no call."
    ),
    EventKind(
        "call.end",
        logging.DEBUG,
        ("outcome", "failure_type", "elapsed_ms", "attempts", "cost_usd"),
        "The call has ended as `ok`, `error` or `cancelled`; the last event of every call. It names the target that "
        "answered.",
    ),
)
"""All events, in the order of a call. The levels, `EVENT_NAMES` and the documents follow this table."""

EVENT_NAMES = frozenset(kind.name for kind in EVENTS)

_LEVELS = {kind.name: kind.level for kind in EVENTS}


def event_level(name: str) -> int:
    """Return the logging level of an event."""
    return _LEVELS.get(name, logging.DEBUG)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterEvent:
    """One step of a call."""

    event: str
    """One of `EVENT_NAMES`."""
    request_id: str
    """The id of the call."""
    role: str
    provider: str | None = None
    model: str | None = None
    attempt: int | None = None
    """Counts from 0 within the call; None for an event that belongs to no attempt."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The data of this kind of event: the keys of its row in `EVENTS`."""


@runtime_checkable
class EventSink(Protocol):
    """Receives events. `emit` is called inline, from any thread, so it must be quick."""

    def emit(self, event: RouterEvent) -> None:
        """Take one event. It may raise: the router counts the error and continues."""
        ...
