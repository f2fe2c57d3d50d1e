"""What is known of a target now, kept per router and keyed by provider and model.

The clock is injected; the lock is held only for arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lee_llm_router._clock import Clock
from lee_llm_router._locks import ForkLock
from lee_llm_router.errors import FailureType

TargetKey = tuple[str, str | None]
"""Provider name and model."""

MAX_TARGETS = 4096
"""Targets remembered; past it the one longest unheard of is forgotten (callers may pass any model name)."""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What is known of one target at one moment."""

    successes: int = 0
    failures: int = 0
    """Failures that count against the target (see the failure table in `docs/errors.md`)."""
    failures_in_a_row: int = 0
    last_failure: str | None = None
    """Type of the latest failure of any kind."""
    retry_after: float = 0.0
    """Seconds until the vendor wants to be asked again; 0 means now."""


class _State:
    __slots__ = ("failures", "failures_in_a_row", "last_failure", "shut_until", "successes")

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        self.failures_in_a_row = 0
        self.last_failure: str | None = None
        self.shut_until = 0.0


class Health:
    """Remembers how attempts at each target went, and until when a vendor asked to be left alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = ForkLock()
        self._states: dict[TargetKey, _State] = {}

    def succeeded(self, key: TargetKey) -> None:
        """Note an answer from `key`."""
        with self._lock:
            state = self._state(key)
            state.successes += 1
            state.failures_in_a_row = 0

    def failed(self, key: TargetKey, failure_type: FailureType, *, counts: bool, shut_for: float | None) -> None:
        """Note a failed attempt at `key`.

        Args:
            key: The target.
            failure_type: How it failed.
            counts: Whether it counts against the target.
            shut_for: Seconds for which the vendor wants to be left alone. It never shortens a longer wait.
        """
        now = self._clock.monotonic()
        with self._lock:
            state = self._state(key)
            state.last_failure = failure_type.value
            if counts:
                state.failures += 1
                state.failures_in_a_row += 1
            if shut_for is not None:
                state.shut_until = max(state.shut_until, now + shut_for)

    def shut_until(self, key: TargetKey) -> float:
        """The time on the monotonic clock from which `key` may be asked; in the past if it may be asked now."""
        state = self._states.get(key)
        return 0.0 if state is None else state.shut_until

    def snapshot(self) -> Mapping[TargetKey, TargetHealth]:
        """Everything known, as data."""
        now = self._clock.monotonic()
        with self._lock:
            return {
                key: TargetHealth(
                    successes=state.successes,
                    failures=state.failures,
                    failures_in_a_row=state.failures_in_a_row,
                    last_failure=state.last_failure,
                    retry_after=max(0.0, state.shut_until - now),
                )
                for key, state in self._states.items()
            }

    def _state(self, key: TargetKey) -> _State:
        state = self._states.pop(key, None) or _State()
        if len(self._states) >= MAX_TARGETS:
            del self._states[next(iter(self._states))]
        self._states[key] = state
        return state
