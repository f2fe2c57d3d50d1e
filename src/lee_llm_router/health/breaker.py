"""A circuit breaker for one target: arithmetic over outcomes and the time it is told. Not thread-safe by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from lee_llm_router.health.settings import HealthConfig

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]

_BUCKETS = 10
_CALM = 5
"""Answers in a row after which earlier trips are forgiven, so that the next cool-down is short again."""


class Tally:
    """Answers and failures of the last `window` seconds, to a tenth of it."""

    __slots__ = ("_answers", "_failures", "_span", "_tick")

    def __init__(self, window: float) -> None:
        self._span = window / _BUCKETS
        self._tick = 0
        self._answers = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def add(self, now: float, *, failed: bool) -> None:
        """Count one outcome."""
        if int(now / self._span) != self._tick:
            self._turn(now)
        (self._failures if failed else self._answers)[self._tick % _BUCKETS] += 1

    def totals(self, now: float) -> tuple[int, int]:
        """(answers, failures) within the window."""
        self._turn(now)
        return sum(self._answers), sum(self._failures)

    def clear(self) -> None:
        """Forget everything."""
        self._answers = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def _turn(self, now: float) -> None:
        tick = int(now / self._span)
        for stale in range(max(self._tick + 1, tick - _BUCKETS + 1), tick + 1):
            self._answers[stale % _BUCKETS] = self._failures[stale % _BUCKETS] = 0
        self._tick = max(self._tick, tick)


class Breaker:
    """Closed, it counts; open, it lets nobody through; half open, one probe at a time.

    It opens on `failures_in_a_row`, or on `failure_rate` over `window` with at least `minimum_requests`. The cool-down
    doubles with each trip, from `cooldown` to `max_cooldown`, and is drawn between half and the whole of that, so that
    many processes do not probe together.
    """

    __slots__ = ("_config", "_probing", "_random", "_row", "_tally", "_trips", "answers_in_a_row", "until")

    def __init__(self, config: HealthConfig, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random
        self._tally = Tally(config.window)
        self._row = 0
        self._trips = 0
        self.until: float | None = None
        """The moment from which a probe may pass; None while it is closed."""
        self._probing = False
        self.answers_in_a_row = 0

    @property
    def failures_in_a_row(self) -> int:
        """Failures that count, since the last answer."""
        return self._row

    def state(self, now: float) -> BreakerState:
        """What it is at the moment `now`."""
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half_open"

    def opens_in(self, now: float) -> float:
        """Seconds until somebody may pass; 0 if now. While a probe is out nobody can say, and the least is 0."""
        return 0.0 if self.until is None else max(0.0, self.until - now)

    def admits(self, now: float) -> bool:
        """Whether an attempt may start now. Follow with `enter`."""
        return self.until is None or (now >= self.until and not self._probing)

    def enter(self) -> bool:
        """An attempt starts; whether it is a probe. End it with `answered`, `failed` or `left`."""
        if self.until is None:
            return False
        self._probing = True
        return True

    def answered(self, now: float, *, probe: bool) -> bool:
        """An answer of any kind came, an error that is not the target's fault too. Whether this closed it."""
        self._tally.add(now, failed=False)
        self._row = 0
        self.answers_in_a_row += 1
        if self.answers_in_a_row >= _CALM:
            self._trips = 0
        if not probe:
            return False
        self._probing = False
        self.until = None
        self._tally.clear()
        self.answers_in_a_row = 1
        return True

    def failed(self, now: float, *, probe: bool) -> bool:
        """An attempt failed in a way that counts. Whether this opened it."""
        self._tally.add(now, failed=True)
        self._row += 1
        self.answers_in_a_row = 0
        if probe:
            self._probing = False
        elif self.until is not None:
            return False  # An attempt from before it opened: told twice, it is still one outage.
        elif not self._is_too_much(now):
            return False
        self._trips += 1
        longest = min(self._config.max_cooldown, self._config.cooldown * 2.0 ** min(self._trips - 1, 60))
        self.until = now + longest * (0.5 + 0.5 * self._random())
        return True

    def left(self, *, probe: bool) -> None:
        """An attempt ended without an outcome (cancelled): its place is free again."""
        if probe:
            self._probing = False

    def answer_rate(self, now: float) -> float:
        """Answers a second over the window."""
        return self._tally.totals(now)[0] / self._config.window

    def _is_too_much(self, now: float) -> bool:
        if self._row >= self._config.failures_in_a_row:
            return True
        answers, failures = self._tally.totals(now)
        total = answers + failures
        return total >= self._config.minimum_requests and failures >= self._config.failure_rate * total
