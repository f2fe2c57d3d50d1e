"""What is left of a per-minute limit: counted here, and corrected by the vendor's reports. Arithmetic only.

How this works
--------------
Our own use is a list of amounts with times; each is dropped after 60 seconds. Others may use the same limit, or the
vendor may count more than we estimated: its headers say how much is left. The amount by which it has less than we count
is `OthersUse`. It falls linearly to zero by the time at which the vendor says that everything is available again, since
the vendors that name one (OpenAI, Anthropic) refill their buckets evenly. Each report of the vendor replaces the one
before. A report never gives more than the configured limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from lee_llm_router._util.data_class import dataclass

MINUTE = 60.0

_MERGED_WITHIN = MINUTE / 1000
"""Seconds within which uses are merged into one, at the latest time: so a thousand entries hold any traffic."""


class AmountLeft(NamedTuple):
    """The vendor's report of what is left of one limit."""

    amount: float
    resets_in: float | None
    """Seconds until all of it is available again; None if the vendor does not say."""


@dataclass(frozen=True, slots=True)
class LimitsLeft:
    """The vendor's report of what is left of its per-minute limits; None if it does not say."""

    requests: AmountLeft | None = None
    tokens: AmountLeft | None = None


@dataclass(frozen=True, slots=True)
class OthersUse:
    """Use that the vendor counts in addition to our own: `amount` at `since`, falling to nothing at `until`."""

    amount: float
    since: float
    until: float

    def at_most(self, most: float) -> float:
        """Return the time from which it is no more than `most`."""
        if most >= self.amount:
            return self.since
        return self.until - (self.until - self.since) * most / self.amount


def others_use(limit: float, own: float, left: float, resets_in: float | None, now: float) -> OthersUse | None:
    """Return what others use of `limit`, if the vendor has less left than our `own` use explains; else None.

    Args:
        limit: The configured limit.
        own: Our own use in the last minute.
        left: What the vendor has left.
        resets_in: Seconds until the vendor has all of it again; None means a minute, which is also the maximum.
        now: The time.
    """
    missing = limit - own - left
    seconds = MINUTE if resets_in is None else min(resets_in, MINUTE)
    return OthersUse(missing, now, now + seconds) if missing > 0 < seconds else None


def opens_at(now: float, most: float, total: float, uses: Iterable[tuple[float, float]],
             others: OthersUse | None) -> float:  # fmt: skip
    """Return the time from which no more than `most`, which must not be negative, is used.

    Args:
        now: The time.
        most: The use allowed.
        total: The sum of `uses`.
        uses: Times and amounts of our own uses within the last minute, oldest first.
        others: What others use.
    """
    moment, remaining = now, iter(uses)
    while True:
        oldest = next(remaining, None)
        leaves = inf if oldest is None else oldest[0] + MINUTE
        if total <= most or oldest is None:
            ready = moment if others is None else max(moment, others.at_most(max(0.0, most - total)))
            if ready < leaves or oldest is None:
                return ready
        moment = max(moment, leaves)
        total -= oldest[1]


@dataclass(slots=True, eq=False)
class TokenUse:
    """Tokens of the attempts that started at nearly the same time."""

    since: float
    at: float
    """The start of the latest of them."""
    amount: int


class TokenWindow:
    """At most `limit` tokens in any 60 seconds. A request larger than the limit passes when nothing else is counted."""

    __slots__ = ("_limit", "_others", "_total", "_uses")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._uses: deque[TokenUse] = deque()
        self._total = 0
        self._others: OthersUse | None = None

    def opens_at(self, now: float, tokens: int) -> float:
        """Return the earliest time for an attempt that may use this many tokens."""
        self._forget(now)
        most = self._limit - min(tokens, self._limit)
        if self._others is None and self._total <= most:
            return now
        return opens_at(now, most, self._total, ((use.at, use.amount) for use in self._uses), self._others)

    def reserve(self, now: float, tokens: int) -> TokenUse:
        """Count the tokens of an attempt that starts, and return where they are counted."""
        use = self._uses[-1] if self._uses else None
        if use is None or now - use.since > _MERGED_WITHIN:
            use = TokenUse(now, now, 0)
            self._uses.append(use)
        use.at = now
        use.amount += tokens
        self._total += tokens
        return use

    def settle(self, now: float, use: TokenUse, more: int) -> None:
        """Count `more` tokens than were reserved (fewer, if it is negative), if that was within the last minute."""
        self._forget(now)
        if use.at + MINUTE > now:
            use.amount += more
            self._total += more

    def hear(self, now: float, left: float, resets_in: float | None) -> None:
        """Apply the vendor's report of what is left."""
        self._forget(now)
        self._others = others_use(self._limit, self._total, left, resets_in, now)

    def used(self, now: float) -> int:
        """Return the tokens counted within the last minute."""
        self._forget(now)
        return self._total

    def _forget(self, now: float) -> None:
        """Drop uses older than a minute."""
        while self._uses and self._uses[0].at + MINUTE <= now:
            self._total -= self._uses.popleft().amount
        if self._others is not None and self._others.until <= now:
            self._others = None
