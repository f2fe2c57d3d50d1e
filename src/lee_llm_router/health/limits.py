"""The configured limits of one provider, and its retry budget. Arithmetic only; the caller holds the lock."""

from __future__ import annotations

from collections import deque

MINUTE = 60.0


class ProviderLimits:
    """At most `max_concurrency` attempts at once, and at most `rpm` started in any 60 seconds; None means no limit."""

    __slots__ = ("_max_concurrency", "_rpm", "_starts", "in_flight")

    def __init__(self, max_concurrency: int | None, rpm: int | None) -> None:
        self._max_concurrency = max_concurrency
        self._rpm = rpm
        self._starts: deque[float] = deque(maxlen=rpm or 0)
        """Start times of the latest `rpm` attempts."""
        self.in_flight = 0
        """Attempts that have started and not ended."""

    def opens_at(self, now: float) -> float | None:
        """Return the earliest time for the next attempt; None if another attempt has to end first."""
        if self._max_concurrency is not None and self.in_flight >= self._max_concurrency:
            return None
        if self._rpm is not None and len(self._starts) == self._rpm:
            return max(now, self._starts[0] + MINUTE)
        return now

    def acquire(self, now: float) -> None:
        """Count an attempt that starts. Call it only if `opens_at` allows that."""
        self.in_flight += 1
        if self._rpm is not None:
            self._starts.append(now)

    def release(self) -> None:
        """Count the end of an attempt."""
        self.in_flight -= 1


class RetryBudget:
    """A token bucket: an answer adds `ratio` of a token, a retry that the router chose itself takes one.

    It holds at most `burst` tokens and starts full, as the retry quota of the AWS SDKs does.
    """

    __slots__ = ("_burst", "_ratio", "tokens")

    def __init__(self, ratio: float, burst: float) -> None:
        self._ratio = ratio
        self._burst = burst
        self.tokens = burst
        """Retries that can be paid for now."""

    def earn(self) -> None:
        """Add the share of a token for an answer."""
        if self.tokens < self._burst:
            self.tokens = min(self._burst, self.tokens + self._ratio)

    def spend(self) -> bool:
        """Take a token for a retry; return False if there is none."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def reset(self) -> None:
        """Fill it."""
        self.tokens = self._burst
