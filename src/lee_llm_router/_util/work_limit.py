"""Limits work over text that others wrote, in steps and in seconds."""

from __future__ import annotations

import time
from math import inf

QUICK_STEPS = 2_000
QUICK_SECONDS = 0.02
"""Seconds of work that may be done at once, even on an event loop."""
MOST_STEPS = 500_000
MOST_SECONDS = 2.0
"""Seconds and steps of work for one answer; the first to run out ends it."""

_STEPS_BETWEEN_LOOKS = 256


class WorkLimitError(Exception):
    """The work takes longer than its limit allows."""


class WorkLimit:
    """Counts steps, each about as long as a few Python calls; also ends at a time of `time.monotonic`.

    Args:
        steps: Most steps.
        until: The time; none by default.
        longest: Seconds for each piece of work that cannot be counted in steps.
    """

    __slots__ = ("_left", "_longest", "_look_at", "_until")

    def __init__(self, steps: int = MOST_STEPS, until: float = inf, longest: float = MOST_SECONDS / 4) -> None:
        self._left = steps
        self._until = until
        self._look_at = steps
        self._longest = longest

    def spend(self, steps: int = 1) -> None:
        """Count `steps`.

        Raises:
            WorkLimitError: there have been too many, or time has run out.
        """
        self._left -= steps
        if self._left < 0:
            raise WorkLimitError
        if self._left <= self._look_at and self._until < inf:
            self._look_at = self._left - _STEPS_BETWEEN_LOOKS
            if time.monotonic() >= self._until:
                raise WorkLimitError

    def seconds(self) -> float:
        """Return the seconds that a piece of work of unknown length may take.

        Raises:
            WorkLimitError: none are left.
        """
        left = min(self._longest, self._until - time.monotonic())
        if left <= 0:
            raise WorkLimitError
        return left


def quick_limit() -> WorkLimit:
    """Return the limit for work done at once."""
    return WorkLimit(QUICK_STEPS, longest=QUICK_SECONDS)


def limit_of(seconds: float) -> WorkLimit:
    """Return the limit for work on one answer, which has `seconds` left."""
    return WorkLimit(MOST_STEPS, time.monotonic() + min(seconds, MOST_SECONDS))
