"""Sinks that follow a call from start to end, instead of receiving its events one by one.

At the start of each call, the router asks a sink with a method `follow` for a `CallFollower`, and tells that of every
attempt and of the end. The follower holds everything about one call, so there is no table of open calls that could
leak. `call.end` always comes: after an answer, an error, a cancellation, or an abandoned stream.

A follower may also choose the context (`contextvars`) in which the call continues: it sets variables in
`CallStart.context` for what the router logs, and in `AttemptStart.context` for the provider's work. Both are copies, so
the caller's context never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.telemetry.events import EventSink
from lee_llm_router.telemetry.records import TraceRecord

CallEnd: TypeAlias = Literal["ok", "error", "cancelled"]
"""How a call ended."""


@dataclass(slots=True)
class CallStart:
    """The start of a call."""

    request_id: str
    role: str
    """The role in use, printable and of limited length."""
    policy: str
    operation: str | None
    """The kind of call, if it is not chat completion."""
    stream: bool
    metadata: Mapping[str, Any]
    """The notes of the role; those of the call are in its records."""
    origin: Context | None = None
    """The context in which the call was made; None: the current one."""
    _context: Context | None = field(default=None, init=False, repr=False)

    @property
    def context(self) -> Context:
        """The context of what the router logs about this call: a copy of the caller's, made on first use."""
        if self._context is None:
            self._context = copy_context() if self.origin is None else self.origin.copy()
        return self._context

    @property
    def context_if_used(self) -> Context | None:
        """The same; None if nobody has used it."""
        return self._context


@dataclass(slots=True)
class AttemptStart:
    """The start of an attempt."""

    index: int
    """Counts from 0 within the call."""
    provider: str
    model: str | None
    provider_type: str
    base_url: str | None
    """The address of its API; None if the provider has none, or if the address came from the environment."""
    operation: str | None
    request: Any
    """An `LLMRequest`, or the request of another operation."""
    stream: bool
    _context: Context | None = field(default=None, init=False, repr=False)

    @property
    def context(self) -> Context:
        """The context that the provider runs in: a copy of the current one, made on first use."""
        if self._context is None:
            self._context = copy_context()
        return self._context

    @property
    def context_if_used(self) -> Context | None:
        """The same; None if nobody has used it."""
        return self._context


@dataclass(slots=True)
class AttemptEnd:
    """The facts about an attempt that has ended, a skipped target, or an end outside of any attempt."""

    record: TraceRecord
    """The record, with its texts in storable form."""
    error: str | None = None
    """The message of the failure; it quotes no answer."""
    response_id: str | None = None
    """The vendor's id of the answer, without keys and of limited length."""
    content: Callable[[], Mapping[str, Any]] = dict
    """Returns prompt and answer as a record has them with ``capture: full``: without keys, and of limited length."""


class CallFollower:
    """Follows one call. Subclass it, and override the methods you need.

    The router calls its methods inline, one at a time, from any thread, so they must be quick. Errors are counted, and
    never reach the caller.
    """

    __slots__ = ()

    def attempt_started(self, attempt: AttemptStart) -> None:
        """An attempt begins."""

    def recorded(self, end: AttemptEnd) -> None:
        """An attempt has ended, a target was skipped, or the call ends outside of any attempt."""

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        """An attempt has opened (``open``) or closed (``close``) the circuit breaker of its target."""

    def ended(self, outcome: CallEnd, failure_type: str | None, elapsed_ms: float) -> None:
        """The call has ended. Called last, and once."""


@runtime_checkable
class FollowingSink(Protocol):
    """Follows calls. A sink may be an `EventSink` as well."""

    def follow(self, call: CallStart) -> CallFollower | None:
        """Return a follower of `call`; None to ignore it."""
        ...


AnyEventSink: TypeAlias = EventSink | FollowingSink
"""A receiver of events, or of whole calls."""


def sinks_of(value: AnyEventSink | Iterable[AnyEventSink]) -> tuple[AnyEventSink, ...]:
    """Return the sinks that an application passes: one, or several."""
    return (value,) if isinstance(value, EventSink | FollowingSink) else tuple(value)


class CallFollowing:
    """The followers of one call, told together; an error of one does not affect the others.

    Args:
        call: The call.
        followers: Its followers.
        guard: Calls a listener: ``guard(kind, function, *args)``, and counts its errors.
    """

    __slots__ = ("_call", "_followers", "_guard")

    def __init__(self, call: CallStart, followers: Sequence[CallFollower], guard: Callable[..., Any]) -> None:
        self._call = call
        self._followers = followers
        self._guard = guard

    @property
    def context(self) -> Context | None:
        """The context of what the router logs; None: the current one."""
        return self._call.context_if_used

    def attempt_started(self, attempt: AttemptStart) -> Context | None:
        """As `CallFollower.attempt_started`; return the context that the provider runs in, None for the current one."""
        for follower in self._followers:
            self._guard("event sink", follower.attempt_started, attempt)
        return attempt.context_if_used

    def recorded(self, end: AttemptEnd) -> None:
        """As `CallFollower.recorded`."""
        for follower in self._followers:
            self._guard("event sink", follower.recorded, end)

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        """As `CallFollower.breaker_changed`."""
        for follower in self._followers:
            self._guard("event sink", follower.breaker_changed, provider, model, change)

    def ended(self, outcome: CallEnd, failure_type: str | None, elapsed_ms: float) -> None:
        """As `CallFollower.ended`."""
        for follower in self._followers:
            self._guard("event sink", follower.ended, outcome, failure_type, elapsed_ms)
