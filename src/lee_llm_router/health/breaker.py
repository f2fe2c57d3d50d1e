"""A circuit breaker for one target. Arithmetic only: the caller passes the time and holds the lock."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal, TypeAlias

from lee_llm_router.health.settings import HealthConfig

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]

_BUCKETS = 10

_ANSWERS_UNTIL_FORGIVEN = 5
"""Consecutive answers after which earlier trips are forgotten, so that the next cool-down is short again."""


class RollingCount:
    """Counts answers and failures over the last `window` seconds, in ten buckets: the oldest one drops out at once."""

    __slots__ = ("_answers", "_bucket_seconds", "_failures", "_tick")

    def __init__(self, window: float) -> None:
        self._bucket_seconds = window / _BUCKETS
        self._tick = 0
        """Number of the current bucket, counted from time 0; its index in the lists is this modulo `_BUCKETS`."""
        self._answers = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def add(self, now: float, failed: bool) -> None:
        """Count one outcome."""
        if int(now / self._bucket_seconds) != self._tick:
            self._advance(now)
        (self._failures if failed else self._answers)[self._tick % _BUCKETS] += 1

    def totals(self, now: float) -> tuple[int, int]:
        """Return the numbers of answers and of failures within the window."""
        self._advance(now)
        return sum(self._answers), sum(self._failures)

    def clear(self) -> None:
        """Set all counts to zero."""
        self._answers = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def _advance(self, now: float) -> None:
        """Make the bucket of `now` the current one, and empty the buckets entered since."""
        tick = int(now / self._bucket_seconds)
        for stale in range(max(self._tick + 1, tick - _BUCKETS + 1), tick + 1):
            self._answers[stale % _BUCKETS] = self._failures[stale % _BUCKETS] = 0
        self._tick = max(self._tick, tick)


class Breaker:
    """Closed, it admits all attempts; open, it admits none; half open, it admits one probe at a time.

    It opens after `failures_in_a_row`, or at a failure rate of `failure_rate` over `window` if the window holds at
    least `minimum_requests`. The cool-down doubles with each trip, from `cooldown` to `max_cooldown`. Its length is
    drawn between half of that and all of it, so that many processes do not probe together.
    """

    __slots__ = (
        "_answers_in_a_row", "_config", "_jitter", "_opened_at", "_outcomes", "_random", "_trips", "failures_in_a_row",
        "is_probing", "last_answer_at", "needs_pass", "probe_at",
    )  # fmt: skip

    def __init__(self, config: HealthConfig, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random
        self._outcomes = RollingCount(config.window)
        self._answers_in_a_row = 0
        self.failures_in_a_row = 0
        """Consecutive failures that count against the target, since its last answer."""
        self._trips = 0
        """How often it has opened since it was last reliable; determines the length of the cool-down."""
        self._opened_at = 0.0
        self._jitter = 1.0
        """The random share of the cool-down that applies."""
        self.is_probing = False
        """Whether a probe is in flight."""
        self.needs_pass = False
        """Whether a probe may start only with the pass of a shared state, which this router does not hold."""
        self.last_answer_at = -inf
        """When the target last answered."""
        self.probe_at: float | None = None
        """The earliest time for a probe; None while the breaker is closed."""

    def state(self, now: float) -> BreakerState:
        """Return the state at `now`."""
        if self.probe_at is None:
            return "closed"
        return "open" if now < self.probe_at else "half_open"

    def seconds_until_probe(self, now: float) -> float:
        """Return the seconds until it admits an attempt. 0 also while a probe runs, since its result is unknown."""
        return 0.0 if self.probe_at is None else max(0.0, self.probe_at - now)

    def admits(self, now: float) -> bool:
        """Whether an attempt may start now."""
        return self.probe_at is None or (now >= self.probe_at and not self.is_probing and not self.needs_pass)

    def hurry(self) -> None:
        """Shorten the cool-down to the first one: a waiting call's patience must hold many probes, not four or five."""
        if self.probe_at is not None:
            self.probe_at = min(self.probe_at, self._opened_at + self._config.cooldown * self._jitter)

    @property
    def early_probe_at(self) -> float:
        """The earliest time for an early probe: the shortest cool-down after it last opened."""
        return self._opened_at + self._config.cooldown / 2

    def start_attempt(self) -> bool:
        """Record the start of an admitted attempt, and return whether it is a probe.

        End it with `record_answer`, `record_failure` or `abandon`.
        """
        if self.probe_at is None:
            return False
        self.is_probing = True
        return True

    def record_answer(self, now: float, probe: bool) -> bool:
        """Count an answer, and return whether it closed the breaker.

        Any answer counts, even an error that is not the target's fault, since it shows that the target is up.
        """
        self._outcomes.add(now, False)
        self.last_answer_at = now
        self.failures_in_a_row = 0
        self._answers_in_a_row += 1
        if self._answers_in_a_row >= _ANSWERS_UNTIL_FORGIVEN:
            self._trips = 0
        if not probe:
            return False
        self.is_probing = False
        self.probe_at = None
        self._outcomes.clear()
        self._answers_in_a_row = 1
        return True

    def record_failure(self, now: float, *, probe: bool) -> bool:
        """Count a failure of the target, and return whether it opened the breaker."""
        self._outcomes.add(now, failed=True)
        self.failures_in_a_row += 1
        self._answers_in_a_row = 0
        if probe:
            self.is_probing = False
        elif self.probe_at is not None:
            return False  # It started before the breaker opened and reports later: the same outage.
        elif not self._has_failed_too_often(now):
            return False
        self._trips += 1
        self._opened_at = now
        longest = min(self._config.max_cooldown, self._config.cooldown * 2.0 ** min(self._trips - 1, 60))
        self._jitter = 0.5 + 0.5 * self._random()
        self.probe_at = now + longest * self._jitter
        return True

    def abandon(self, *, probe: bool) -> None:
        """Record that an attempt ended without an outcome (it was cancelled), so another probe may start."""
        if probe:
            self.is_probing = False

    def follow_opening(self, now: float, seconds: float) -> None:
        """Open for `seconds`, because another router's breaker has opened or its probe has failed."""
        self._trips += 1
        self._opened_at = now
        self.probe_at = now + seconds

    def follow_closing(self) -> None:
        """Close, because another router's probe was answered."""
        self.probe_at = None
        self.is_probing = self.needs_pass = False
        self.failures_in_a_row = 0
        self._outcomes.clear()

    def reset(self) -> None:
        """Close the breaker, and forget all outcomes."""
        self.probe_at = None
        self.is_probing = False
        self.failures_in_a_row = self._trips = 0
        self._outcomes.clear()

    def answer_rate(self, now: float) -> float:
        """Return the answers per second over the window."""
        return self._outcomes.totals(now)[0] / self._config.window

    def _has_failed_too_often(self, now: float) -> bool:
        if self.failures_in_a_row >= self._config.failures_in_a_row:
            return True
        answers, failures = self._outcomes.totals(now)
        total = answers + failures
        return total >= self._config.minimum_requests and failures >= self._config.failure_rate * total
