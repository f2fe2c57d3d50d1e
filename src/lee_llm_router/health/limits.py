"""Limits of our own on one provider, and its retry budget. Arithmetic only; not thread-safe by itself."""

from __future__ import annotations

from collections import deque

MINUTE = 60.0


class Limits:
    """At most `max_concurrency` attempts at once, and at most `rpm` started in any 60 seconds."""

    __slots__ = ("_max_concurrency", "_rpm", "_starts", "exist", "in_flight")

    def __init__(self, max_concurrency: int | None, rpm: int | None) -> None:
        self._max_concurrency = max_concurrency
        self._rpm = rpm
        self._starts: deque[float] = deque(maxlen=rpm or 0)
        self.exist = max_concurrency is not None or rpm is not None
        """Whether there are any."""
        self.in_flight = 0
        """Attempts under way: whoever ends one takes it off."""

    def opens_at(self, now: float) -> float | None:
        """Return the moment from which an attempt may start; None where that depends on another one's end."""
        if self._max_concurrency is not None and self.in_flight >= self._max_concurrency:
            return None
        if self._rpm is not None and len(self._starts) == self._rpm:
            return max(now, self._starts[0] + MINUTE)
        return now

    def enter(self, now: float) -> None:
        """An attempt starts."""
        self.in_flight += 1
        if self._rpm is not None:
            self._starts.append(now)


class RetryBudget:
    """A token bucket: each first attempt puts `ratio` of a token in, each retry of our own choosing takes one out.

    It holds `burst` tokens at the most, starts full, and gains one a second, so that little traffic can always retry.
    """

    __slots__ = ("_at", "_burst", "_ratio", "_tokens")

    def __init__(self, ratio: float, burst: float, now: float) -> None:
        self._ratio = ratio
        self._burst = burst
        self._tokens = burst
        self._at = now

    def earn(self, now: float) -> None:
        """A first attempt is made."""
        if self._tokens < self._burst:
            self._refill(now, self._ratio)
        else:
            self._at = now

    def spend(self, now: float) -> bool:
        """Take a token for a retry; False if there is none."""
        self._refill(now, 0.0)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float, gain: float) -> None:
        self._tokens = min(self._burst, self._tokens + gain + max(0.0, now - self._at))
        self._at = now
