"""The configured limits of one provider or model, and a provider's retry budget. Arithmetic only."""

from __future__ import annotations

from collections import deque
from typing import Literal

from lee_llm_router.health.minute_window import (
    MINUTE,
    LimitsLeft,
    OthersUse,
    TokenUse,
    TokenWindow,
    opens_at,
    others_use,
)


class AttemptLimits:
    """The limits on attempts at a provider, or at one of its models. None means no limit.

    Args:
        max_concurrency: Concurrent attempts.
        rpm: Attempts started in any 60 seconds.
        tpm: Tokens used in any 60 seconds. An attempt counts with its reservation until it reports its usage.
    """

    __slots__ = ("_others", "_starts", "_tokens", "in_flight", "is_set", "is_timed", "max_concurrency", "rpm", "tpm")

    cause: Literal["limit", "state"] = "limit"
    """Why an attempt must wait if `opens_at` returns a later time; ``state``: a shared state has yet to answer."""

    def __init__(self, max_concurrency: int | None, rpm: int | None, tpm: int | None = None) -> None:
        self.max_concurrency = max_concurrency
        self.rpm = rpm
        self.tpm = tpm
        self._starts: deque[float] = deque(maxlen=rpm or 0)
        """Start times of the latest `rpm` attempts."""
        self._others: OthersUse | None = None
        """Requests that the vendor counts in addition to our own."""
        self._tokens = None if tpm is None else TokenWindow(tpm)
        self.in_flight = 0
        """Attempts that have started but not ended."""
        self.is_timed = rpm is not None or tpm is not None
        """Whether the vendor's report of what is left of a minute matters."""
        self.is_set = self.is_timed or max_concurrency is not None
        """Whether there are any limits; else nobody need ask here, nor count attempts."""

    def opens_at(self, now: float, tokens: int = 0) -> float | None:
        """Return the earliest time for the next attempt; None if another attempt has to end first.

        Args:
            now: The time.
            tokens: The tokens to reserve for it.
        """
        if self.max_concurrency is not None and self.in_flight >= self.max_concurrency:
            return None
        at = now
        if self._others is not None:
            at = self._requests_open_at(now)
        elif self.rpm is not None and len(self._starts) == self.rpm:
            at = max(now, self._starts[0] + MINUTE)
        return at if self._tokens is None else max(at, self._tokens.opens_at(now, tokens))

    def acquire(self, now: float, tokens: int = 0) -> TokenUse | None:
        """Count an attempt that starts, and return where its tokens are counted. Call it only if `opens_at` permits."""
        self.in_flight += 1
        if self.rpm is not None:
            self._starts.append(now)
        return None if self._tokens is None else self._tokens.reserve(now, tokens)

    def release(self) -> None:
        """Count the end of an attempt."""
        self.in_flight -= 1

    def settle(self, now: float, use: TokenUse | None, more: int) -> None:
        """Count `more` tokens than `acquire` has reserved in `use` (fewer, if `more` is negative)."""
        if use is not None and self._tokens is not None:
            self._tokens.settle(now, use, more)

    def hear(self, now: float, left: LimitsLeft) -> None:
        """Apply the vendor's report of what is left: others may use the same limits."""
        if left.tokens is not None and self._tokens is not None:
            self._tokens.hear(now, *left.tokens)
        if left.requests is not None and self.rpm is not None:
            own = sum(start + MINUTE > now for start in self._starts)
            self._others = others_use(self.rpm, own, *left.requests, now)

    def ask(self, now: float, tokens: int) -> None:
        """Ask a shared state for what a call lacks; without one, do nothing."""

    def answered_by(self, now: float) -> float | None:  # noqa: ARG002 - as `LeasedLimits.answered_by`
        """Return when a shared state will have lent more to the waiting calls; None if nothing is lent."""
        return None

    def spare(self, now: float) -> int:  # noqa: ARG002 - only `LeasedLimits` has a lease
        """Return how many attempts were lent in advance and can start without waiting behind others."""
        return 0

    def _requests_open_at(self, now: float) -> float:
        """Return when another attempt may start, counting the attempts of others too."""
        assert self.rpm is not None  # noqa: S101 - others are counted only then
        if self._others is not None and self._others.until <= now:
            self._others = None
        within = [(start, 1.0) for start in self._starts if start + MINUTE > now]
        return opens_at(now, self.rpm - 1, len(within), within, self._others)


class RetryBudget:
    """A token bucket: an answer adds `ratio` of a token, a retry that the router decides on takes one.

    It holds at most `burst` tokens and starts full, like the retry quota of the AWS SDKs.
    """

    __slots__ = ("burst", "ratio", "tokens")

    def __init__(self, ratio: float, burst: float) -> None:
        self.ratio = ratio
        self.burst = burst
        self.tokens = burst
        """Retries that it can pay for now."""

    def earn(self) -> None:
        """Add the fraction of a token for an answer."""
        if self.tokens < self.burst:
            self.tokens = min(self.burst, self.tokens + self.ratio)

    def spend(self) -> bool:
        """Take a token for a retry; return False if there is none."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def reset(self) -> None:
        """Fill it."""
        self.tokens = self.burst
