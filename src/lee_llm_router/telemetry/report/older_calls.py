"""Sums over the calls that a page does not show one by one, by role and hour; if there are many, by day or week."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.report.call_rows import CallRows

_SPANS = tuple(hours * 3_600_000 for hours in (1, 24, 7 * 24, 28 * 24, 364 * 24))
"""Milliseconds that a sum may cover; each except the last divides the next."""
_MOST_SUMS = 4000
_MOST_NAMES = 100
_OTHERS = "(others)"


@dataclass
class _Sum:
    calls: float = 0
    error: float = 0
    saved: float = 0
    cut: float = 0
    unfinished: float = 0
    attempts: float = 0
    input: float | None = None
    output: float | None = None
    cost: float | None = None
    unpriced: float = 0
    failures: dict[str, list[float]] = field(default_factory=dict)
    """By type: attempts with this failure, and how many of them ended their call."""
    kept: int = 0
    """Calls with records; each counts for those that it stands for."""

    def add(self, call: TracedCall) -> None:
        """Count `call`."""
        is_unfinished, weight = call.outcome == "unfinished", call.stands_for
        self.kept += 1
        self.calls += weight
        self.error += weight * (call.outcome in ("error", "cancelled"))
        self.saved += weight * call.is_saved
        self.cut += weight * call.is_cut
        self.unfinished += weight * is_unfinished
        self.attempts += weight * len(call.attempts)
        self.input = _plus(self.input, _times(weight, call.input_tokens))
        self.output = _plus(self.output, _times(weight, call.output_tokens))
        self.cost = _plus(self.cost, _times(weight, call.cost_usd))
        self.unpriced += weight * (not call.is_cost_whole)
        for record in call.records:
            if record.failure_type is not None:
                self._count(record.failure_type[:200], weight, weight * (record is call.last and not is_unfinished))

    def merge(self, other: _Sum) -> None:
        """Add the counts of `other`."""
        for name in ("calls", "error", "saved", "cut", "unfinished", "attempts", "unpriced", "kept"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("input", "output", "cost"):
            setattr(self, name, _plus(getattr(self, name), getattr(other, name)))
        for failure, (attempts, ended) in other.failures.items():
            self._count(failure, attempts, ended)

    def row(self) -> list[Any]:
        """Return the counts, by position."""
        counts = (self.calls, self.error, self.saved, self.cut, self.unfinished, self.attempts)
        tokens = (None if number is None else round(number) for number in (self.input, self.output))
        failures = [[name, *map(round, numbers)] for name, numbers in self.failures.items()]
        return [*map(round, counts), *tokens, self.cost, round(self.unpriced), failures, self.kept]

    def _count(self, failure: str, attempts: float, ended: float) -> None:
        name = failure if failure in self.failures or len(self.failures) < _MOST_NAMES else _OTHERS
        counts = self.failures.setdefault(name, [0, 0])
        counts[0] += attempts
        counts[1] += ended


class OlderCalls:
    """A limited number of sums over calls."""

    def __init__(self) -> None:
        self._level = 0
        self._sums: dict[tuple[int, str], _Sum] = {}
        self._roles: set[str] = set()
        self._last_start = 0

    def add(self, call: TracedCall) -> None:
        """Count `call`. One without a start time counts where the previous one does."""
        if call.started is not None:
            self._last_start = round(call.started.timestamp() * 1000)
        role = call.role[:200]
        if role not in self._roles:
            role = role if len(self._roles) < _MOST_NAMES else _OTHERS
            self._roles.add(role)
        self._sum_of(self._last_start, role).add(call)
        while len(self._sums) > _MOST_SUMS and self._level < len(_SPANS) - 1:
            self._coarsen()

    def rows(self) -> list[list[Any]]:
        """Return the sums as rows for `main.js`."""
        span = _SPANS[self._level]
        return [[start, span, role, *one.row()] for (start, role), one in self._sums.items()]

    def _sum_of(self, start: int, role: str) -> _Sum:
        span = _SPANS[self._level]
        return self._sums.setdefault((start // span * span, role), _Sum())

    def _coarsen(self) -> None:
        finer, self._sums = self._sums, {}
        self._level += 1
        for (start, role), one in finer.items():
            self._sum_of(start, role).merge(one)


def gathered(calls: Iterable[TracedCall], most: int) -> tuple[CallRows, OlderCalls]:
    """Return the first `most` of `calls` as rows, and the others as sums."""
    rows, older = CallRows(), OlderCalls()
    for number, call in enumerate(calls):
        (rows if number < most else older).add(call)
    return rows, older


def _times(weight: float, number: float | None) -> float | None:
    return None if number is None else weight * number


def _plus(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other
