"""A vendor with a limit of requests in any 60 seconds, as vendors state it."""

from __future__ import annotations

from collections import deque
from math import ceil

MINUTE = 60.0


class Vendor:
    """Answers what is within its limit, refuses what is beyond, and says when to come back, in whole seconds.

    Args:
        rpm: Requests that it answers in any 60 seconds. Those that it refuses do not count.
    """

    def __init__(self, rpm: int) -> None:
        self.rpm = rpm
        self._answered: deque[float] = deque()

    def refusal(self, now: float) -> float | None:
        """Take a request; return the seconds of a Retry-After where it is refused, None where it is answered."""
        while self._answered and self._answered[0] <= now - MINUTE:
            self._answered.popleft()
        if len(self._answered) < self.rpm:
            self._answered.append(now)
            return None
        return float(max(1, ceil(self._answered[0] + MINUTE - now)))
