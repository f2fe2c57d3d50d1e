"""The answer times of a target: counts in fixed buckets, of about the last thousand answers.

A bucket is 5% wide, which is exact enough for a wait. The counts are kept in two halves: once the newer one is full, it
replaces the older one. So old times are forgotten, and nothing is ever sorted.
"""

from __future__ import annotations

from math import log

_SHORTEST = 0.001
"""Seconds: all shorter times are in the first bucket."""
_WIDTH = 1.05
"""The ratio of the upper bounds of neighbouring buckets."""
_BUCKETS = 360
"""Enough for 11 hours; longer times are in the last bucket."""
_HALF = 500
"""Times in one half: with a thousand in total, ten are above the 99th percentile."""
ENOUGH = 20
"""The fewest times from which a percentile is taken: with fewer, the 95th percentile would be the maximum."""
_ASKED_ANEW = 10
"""A percentile is recalculated after this many more times."""


class AnswerTimes:
    """The times of the latest answers. Threads may share it: losing a time to a race does no harm."""

    __slots__ = ("_known", "_newer", "_number", "_older", "_older_number")

    def __init__(self) -> None:
        self._older = [0] * _BUCKETS
        self._newer = [0] * _BUCKETS
        self._older_number = 0
        self._number = 0
        """Times in the newer half."""
        self._known: dict[float, tuple[int, float]] = {}
        """The latest results: the number of times at that point, and the percentile."""

    def add(self, seconds: float) -> None:
        """Add the time of one more answer."""
        if self._number >= _HALF:
            self._older, self._newer = self._newer, [0] * _BUCKETS
            self._older_number, self._number = self._number, 0
            self._known.clear()
        self._newer[_bucket(seconds)] += 1
        self._number += 1

    def percentile(self, percent: float) -> float | None:
        """Return the seconds within which `percent` of the answers came; None if too few are known."""
        number = self._number + self._older_number
        if number < ENOUGH:
            return None
        known = self._known.get(percent)
        if known is None or number >= known[0] + _ASKED_ANEW:
            known = self._known[percent] = number, self._worked_out(percent)
        return known[1]

    def _worked_out(self, percent: float) -> float:
        counts = [older + newer for older, newer in zip(self._older, self._newer, strict=True)]
        left = sum(counts) * percent / 100
        for bucket, count in enumerate(counts):
            left -= count
            if left <= 0:
                return _SHORTEST * _WIDTH**bucket
        return _SHORTEST * _WIDTH**_BUCKETS


def _bucket(seconds: float) -> int:
    """Return the first bucket whose upper bound is not below `seconds`."""
    if seconds <= _SHORTEST:
        return 0
    return min(_BUCKETS - 1, int(log(seconds / _SHORTEST) / log(_WIDTH)) + 1)
