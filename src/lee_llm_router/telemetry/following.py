"""Sinks that follow a call from its begin to its end, rather than receive its events one by one.

A sink with a method `follow` is asked at the begin of each call for a `CallFollower`, which is told of every attempt
and of the end. What belongs to one call is kept in that object, so there is no table of open calls that could leak.
`call.end` comes whatever happens: after an answer, an error, a cancellation, or a stream that was dropped.

A follower may also say in which context (`contextvars`) the call goes on: it sets variables in `CallStart.context` for
what the router logs, and in `AttemptStart.context` for what the provider does. Both are copies, so the context of the
caller never changes.
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
    """A call that begins."""

    request_id: str
    role: str
    """The role that serves, printable and of bounded length."""
    policy: str
    operation: str | None
    """The kind of call, where it is no chat completion."""
    stream: bool
    metadata: Mapping[str, Any]
    """The notes of the role; those of the call stand in its records."""
    origin: Context | None = None
    """What the context was where the call was made; None: as it is here."""
    _context: Context | None = field(default=None, init=False, repr=False)

    @property
    def context(self) -> Context:
        """The context of what the router logs of this call: a copy of the caller's, made when first asked for."""
        if self._context is None:
            self._context = copy_context() if self.origin is None else self.origin.copy()
        return self._context

    @property
    def context_if_used(self) -> Context | None:
        """The same; None if nobody has asked for it."""
        return self._context


@dataclass(slots=True)
class AttemptStart:
    """An attempt that begins."""

    index: int
    """Counts from 0 over the call."""
    provider: str
    model: str | None
    provider_type: str
    base_url: str | None
    """The address of its API; None for a provider that has none, or if it was filled in from the environment."""
    operation: str | None
    request: Any
    """An `LLMRequest`, or the request of another operation."""
    stream: bool
    _context: Context | None = field(default=None, init=False, repr=False)

    @property
    def context(self) -> Context:
        """The context that the provider runs in: a copy of the one here, made when first asked for."""
        if self._context is None:
            self._context = copy_context()
        return self._context

    @property
    def context_if_used(self) -> Context | None:
        """The same; None if nobody has asked for it."""
        return self._context


@dataclass(slots=True)
class AttemptEnd:
    """What there is to know of an attempt that has ended, of a skipped target, or of an end outside of any attempt."""

    record: TraceRecord
    """The record, its texts as they may be stored."""
    error: str | None = None
    """The message of the failure, which quotes no answer."""
    response_id: str | None = None
    """The id that the vendor gave the answer, without keys and bounded."""
    content: Callable[[], Mapping[str, Any]] = dict
    """Returns prompt and answer as a record has them under ``capture: full``: without keys, and bounded."""


class CallFollower:
    """Follows one call. Subclass it, and override what is of interest.

    Its methods are called inline, one at a time, from any thread, so they must be quick. What they raise is counted,
    and never reaches the caller.
    """

    __slots__ = ()

    def attempt_started(self, attempt: AttemptStart) -> None:
        """An attempt begins."""

    def recorded(self, end: AttemptEnd) -> None:
        """An attempt has ended, a target was skipped, or the call ends outside of any attempt."""

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        """An attempt has opened (``open``) or closed (``close``) the circuit breaker of its target."""

    def ended(self, outcome: CallEnd, failure_type: str | None, elapsed_ms: float) -> None:
        """The call has ended. The last that is told, once."""


@runtime_checkable
class FollowingSink(Protocol):
    """Follows calls. A sink may be an `EventSink` as well."""

    def follow(self, call: CallStart) -> CallFollower | None:
        """Return what follows `call`; None if nothing does."""
        ...


AnyEventSink: TypeAlias = EventSink | FollowingSink
"""A receiver of events, or of whole calls."""


def sinks_of(value: AnyEventSink | Iterable[AnyEventSink]) -> tuple[AnyEventSink, ...]:
    """Return the sinks that an application gives: one, or several."""
    return (value,) if isinstance(value, EventSink | FollowingSink) else tuple(value)


class CallFollowing:
    """The followers of one call, told together; what one raises keeps nothing from the others.

    Args:
        call: The call.
        followers: Its followers.
        guard: Calls a listener: ``guard(kind, function, *args)``, and counts what it raises.
    """

    __slots__ = ("_call", "_followers", "_guard")

    def __init__(self, call: CallStart, followers: Sequence[CallFollower], guard: Callable[..., Any]) -> None:
        self._call = call
        self._followers = followers
        self._guard = guard

    @property
    def context(self) -> Context | None:
        """The context of what the router logs; None: as it is."""
        return self._call.context_if_used

    def attempt_started(self, attempt: AttemptStart) -> Context | None:
        """As `CallFollower.attempt_started`; return the context that the provider runs in, None for the one here."""
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
