"""The door of one target, shut and opened as its vendor says. Arithmetic only; not thread-safe by itself.

A vendor that answers 429 with a Retry-After shuts it for everybody. When it opens, one attempt passes first; from its
answer on the others follow at a rate that grows by a fixed step with each answer and halves with each further 429
(additive increase, multiplicative decrease: Chiu and Jain, 1989). So a burst over a limit becomes a queue.
"""

from __future__ import annotations

_LEAST_RATE = 1.0
"""Attempts a second that a queue starts with, at the least."""
_SLOWEST = 0.02
_STEP = 0.1
"""Growth with each answer, as a share of the rate the queue started with."""
_CALM = 60.0
"""Seconds without a 429 after which the rate is no longer held down."""


class Door:
    """Shut until a moment; then paced; then simply open."""

    __slots__ = ("_first_out", "_leading", "_next_slot", "_rate", "_start_rate", "paced", "shut_until")

    def __init__(self) -> None:
        self.shut_until = 0.0
        self._rate: float | None = None
        self._start_rate = _LEAST_RATE
        self._next_slot = 0.0
        self._leading = False
        self._first_out = False
        self.paced = False
        """Whether it is shut, or lets attempts through one by one. Else it is simply open."""

    def shut(self, now: float, seconds: float, usual_rate: float) -> None:
        """Shut for `seconds`; a shorter time never shortens a longer one. `usual_rate`: answers a second until now."""
        fresh = now >= self.shut_until
        self.paced = True
        self.shut_until = max(self.shut_until, now + seconds)
        if self._rate is None:
            self._start_rate = self._rate = max(_LEAST_RATE, usual_rate / 2)
        elif fresh:
            # One burst that is refused together is one sign, not many.
            self._rate = max(_SLOWEST, self._rate / 2)
        self._leading = True

    def opens_at(self, now: float) -> float | None:
        """Return the moment from which the next attempt may pass; None while that depends on the one ahead of it."""
        if now < self.shut_until:
            return self.shut_until
        if self._rate is None:
            return now
        if self._leading:
            return None if self._first_out else now
        return max(now, self._next_slot)

    def enter(self, now: float) -> bool:
        """An attempt passes, `opens_at` having said now. Whether it is the first one through."""
        if self._rate is None:
            return False
        if self._leading:
            self._first_out = True
            return True
        self._next_slot = max(now, self._next_slot) + 1 / self._rate
        return False

    def answered(self, now: float, *, first: bool) -> None:
        """An attempt that had passed got an answer."""
        if first:
            self._first_out = False
            if now >= self.shut_until:
                self._leading = False
                self._next_slot = now + 1 / (self._rate or _LEAST_RATE)
        elif self._rate is not None and not self._leading:
            self._rate += _STEP * self._start_rate
            if now - self.shut_until > _CALM:
                self._rate = None
                self.paced = False

    def left(self, *, first: bool) -> None:
        """An attempt that had passed failed otherwise, or was cancelled: its place is free."""
        if first:
            self._first_out = False
