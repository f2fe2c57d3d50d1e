"""Figures over many calls: how many there were, how they ended, how long they took, and what they used.

How this works. A million records must be counted in seconds, so this reads the mappings from `TraceScanner.scan`, and
builds no `TraceRecord`; `raw_calls.py` tells which calls pass a filter. The counts and checks are those of `TracedCall`
for the same records; a test compares the two. Durations are kept as 8 bytes each, so that percentiles are exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import ceil
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router.telemetry.calls import calls_behind, parsed_time
from lee_llm_router.telemetry.counting import (
    LONGEST_WORD,
    CallSums,
    RawRecord,
    add_attempt,
    add_call,
    checked_number,
    checked_text,
    ending_of,
    is_record,
)
from lee_llm_router.telemetry.joining import CallJoiner, scan_around
from lee_llm_router.telemetry.query import CallFilter, entry_text
from lee_llm_router.telemetry.raw_calls import passing
from lee_llm_router.telemetry.scanning import TraceScanner

StatisticsUnit: TypeAlias = Literal["calls", "attempts", "failures"]
"""What rows count: whole calls, single attempts, or attempts and calls by failure."""

CALL_KEYS = ("role", "day")
ATTEMPT_KEYS = ("provider", "model", "failure")
METADATA = "metadata."
OTHERS = "(others)"
"""The name for the groups beyond the first `_MOST_GROUPS`."""

_MOST_GROUPS = 10_000
_MOST_SHARES = 20
_LONGEST_KEY = 200
_TICK = 1 << 15
_PLAIN = itemgetter(
    "request_id", "attempt", "role", "started_at", "elapsed_ms", "wait_ms", "first_token_ms", "outcome", "usage",
    "cost_usd", "offset_ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """A row of statistics. An unreported number is None, which is not 0."""

    group: Mapping[str, str | None]
    """What the calls have in common, such as `role` with its value. Empty for the row of all."""
    calls: int
    """An estimate, like all that follows, if `sample` has dropped calls: each counts for those it stands for."""
    attempts: int
    """Attempts made."""
    errors: int
    """Calls without an answer (failed or cancelled); by provider or model, attempts without one."""
    error_rate: float
    """`errors` as a share of all calls, or attempts: from 0 to 1."""
    saved: int
    """Calls that another target answered; by provider or model, those that it answered after others."""
    unfinished: int
    """Calls that announced another attempt which never came."""
    p50_ms: float | None
    """Percentile of the time of whole calls, waits included; by provider, model or failure, of single attempts."""
    p95_ms: float | None
    p99_ms: float | None
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """The known cost."""
    unknown_costs: int
    """Calls, or attempts, that used tokens at an unknown cost."""
    kept: int
    """Calls with records."""


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """Statistics over traces, a row for each group."""

    unit: StatisticsUnit
    groups: Sequence[GroupStatistics]
    """By day in the order of days, otherwise the largest first."""
    total: GroupStatistics
    estimated: bool = False
    """Whether some calls also stand for others, which `sample` has dropped."""


def grouping_of(text: str) -> tuple[str, ...]:
    """Return the names in a list like ``role,metadata.tenant``.

    Raises:
        ValueError: calls cannot be grouped by one of them; the message says what is possible.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in (*CALL_KEYS, *ATTEMPT_KEYS) and not (name.startswith(METADATA) and name != METADATA):
            from lee_llm_router._util.suggestions import Suggester  # noqa: PLC0415

            known = (*CALL_KEYS, *ATTEMPT_KEYS, "metadata.NAME")
            raise ValueError(f"{name!r}: not one of {', '.join(known)}{Suggester().did_you_mean(name, known)}")
    return names


def trace_statistics(
    scanner: TraceScanner,
    by: Sequence[str] = (),
    calls: CallFilter | None = None,
    progress: Callable[[int], None] | None = None,
) -> TraceStatistics:
    """Return statistics over the calls that pass the filter.

    Args:
        scanner: The store.
        by: What to group by, as `grouping_of` returns it; several make a row for each combination.
        calls: Which calls count. Default: all.
        progress: Called now and then with the number of records read since the last time.
    """
    wanted = calls or CallFilter()
    passes = passing(wanted)
    counter = _Counter(tuple(by), passes)
    number = 0
    joiner: CallJoiner[RawRecord] = CallJoiner()
    records = scan_around(scanner, wanted.since, wanted.until, texts=wanted.grep is not None)
    for number, record in enumerate(records, 1):
        if progress is not None and not number % _TICK:
            progress(_TICK)
        if (record.get("verdict") == "return" and counter.count_plain(record, joiner)) or not is_record(record):
            continue
        for call in joiner.add(record["request_id"], record["verdict"], record):
            if passes is None or passes(call):
                counter.add(call)
    for call in joiner.rest():
        if passes is None or passes(call):
            counter.add(call)
    if progress is not None:
        progress(number % _TICK)
    return counter.result()


Weighted: TypeAlias = Mapping[float, CallSums]
"""Counts of calls, by the number of calls that each stands for."""


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the value of the sorted `ordered` that `percent` of all do not exceed; None if there are none."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def percentiles(numbers: Mapping[float, Sequence[float]], *percents: float) -> list[float | None]:
    """Return percentiles of `numbers`, each of which counts as often as its key says."""
    parts = {weight: some for weight, some in numbers.items() if some}
    if len(parts) < 2:
        ordered = sorted(*parts.values()) if parts else []
        return [percentile(ordered, percent) for percent in percents]
    pairs = sorted((number, weight) for weight, some in parts.items() for number in some)
    sums = list(accumulate(weight for _, weight in pairs))
    # A rounding error in a sum must not lead to the next number.
    return [pairs[bisect_left(sums, sums[-1] * percent / 100 * (1 - 1e-12))][0] for percent in percents]


class _Counter:
    """Counts calls in groups.

    Args:
        by: As for `trace_statistics`.
        passes: Tells which calls count; None: all.
    """

    def __init__(self, by: tuple[str, ...], passes: Callable[[Sequence[RawRecord]], bool] | None = None) -> None:
        self._by = by
        self._passes = passes
        self._groups: dict[tuple[Any, ...], CallSums] = {}
        """By the number of calls that one stands for, and by group."""
        self._totals: dict[float, CallSums] = {1: CallSums()}
        self._unit: StatisticsUnit = (
            "failures" if "failure" in by else "attempts" if set(by) & set(ATTEMPT_KEYS) else "calls"
        )
        self._of_call = [(place, _CALL_VALUES.get(name) or _metadata_value(name.removeprefix(METADATA)))
                         for place, name in enumerate(by, 1) if name not in ATTEMPT_KEYS]  # fmt: skip
        self._of_attempt = [(place, _FIELDS[name]) for place, name in enumerate(by, 1) if name in ATTEMPT_KEYS]

    def count_plain(self, record: RawRecord, joiner: CallJoiner[RawRecord]) -> bool:
        """Count a call of one record with the verdict ``return``, if it passes; return False if it is different, or has
        an odd value.

        Most calls are like that, so this determines the cost of a million of them. `add` counts the same.
        """
        try:
            name, attempt, role, began, elapsed, wait, first_token, outcome, usage, cost, offset = _PLAIN(record)
        except KeyError:
            return False
        if not (
            outcome == "ok" and not wait and attempt.__class__ is int
            and elapsed.__class__ is float and 0 <= elapsed <= MAX_COUNT and name.__class__ is str
            and role.__class__ is str and began.__class__ is str and len(name) + len(role) + len(began) < LONGEST_WORD
            and 0 <= attempt <= MAX_COUNT and name not in joiner
        ):  # fmt: skip
            return False
        if self._passes is not None and not self._passes((record,)):
            return True
        if self._unit == "failures":
            return record.get("failure_type") is None
        key = self._key(record)
        for place, value in self._of_call:
            key[place] = value(record)
        for place, field in self._of_attempt:
            key[place] = _shown(checked_text(record.get(field)))
        sums = self._groups.get(tuple(key)) or self._sums(tuple(key))
        sums.calls += 1
        sums.attempts += 1
        self._totals[key[0]].calls += 1
        before = 0.0 if offset is None or self._unit != "calls" else checked_number(offset) or 0.0
        sums.times.append(before + elapsed)
        if first_token is not None and (first_token := checked_number(first_token)) is not None:
            sums.first_tokens.append(before + first_token)
        if (usage is not None or cost is not None) and not sums.spend(usage, cost):
            sums.unknown_costs += 1
        return True

    def add(self, records: list[RawRecord]) -> None:
        """Count a call."""
        key = self._key(records[0])
        for place, value in self._of_call:
            key[place] = value(records[0])
        if self._unit == "calls":
            add_call(self._sums(tuple(key)), records)
        else:
            self._add_attempts(key, records)

    def result(self) -> TraceStatistics:
        """Return the rows, and the row of all."""
        totals = {weight: CallSums() for weight in self._totals}
        for key, sums in self._groups.items():
            totals[key[0]].merge(sums)
        for weight, counted in self._totals.items():
            total = totals[weight]
            if self._unit != "calls":  # a call may be in several groups
                total.calls = counted.calls
            if self._unit == "failures":
                total.errors, total.saved, total.unfinished = counted.errors, counted.saved, counted.unfinished
        parts: dict[tuple[str | None, ...], dict[float, CallSums]] = {}
        for (weight, *names), sums in self._groups.items():
            parts.setdefault(tuple(names), {})[weight] = sums
        groups = [_row(some, dict(zip(self._by, key, strict=True)), self._unit) for key, some in parts.items()]
        groups.sort(key=lambda row: -row.calls if self._unit == "calls" else -row.attempts)
        if "day" in self._by:
            groups.sort(key=lambda row: row.group["day"] or "")
        is_estimate = any(weight != 1 and total.calls for weight, total in totals.items())
        return TraceStatistics(self._unit, groups if self._by else [], _row(totals, {}, self._unit), is_estimate)

    def _key(self, first: RawRecord) -> list[Any]:
        """Return the key of a call without the names: how many calls it stands for."""
        share = first.get("kept_share")
        weight = 1 if share is None else calls_behind(share)
        if weight not in self._totals:
            if len(self._totals) < _MOST_SHARES:
                self._totals[weight] = CallSums()
            else:
                weight = min(self._totals, key=lambda known: abs(known - weight))
        return [weight, *(None for _ in self._by)]

    def _sums(self, key: tuple[Any, ...]) -> CallSums:
        sums = self._groups.get(key)
        if sums is None:
            if len(self._groups) >= _MOST_GROUPS:
                key = (key[0], *(OTHERS for _ in self._by))
            sums = self._groups.setdefault(key, CallSums())
        return sums

    def _add_attempts(self, key: list[Any], records: list[RawRecord]) -> None:
        """Count each attempt, or each failure, of a call in its group."""
        is_failure = self._unit == "failures"
        answered, saved, unfinished = ending_of(records)
        touched: set[CallSums] = set()
        for record in records:
            if (checked_text(record.get("failure_type")) if is_failure else record["attempt"]) is None:
                continue
            for place, name in self._of_attempt:
                key[place] = _shown(checked_text(record.get(name)))
            sums = self._sums(tuple(key))
            touched.add(sums)
            add_attempt(sums, record, is_failure)
            if not is_failure and record is records[-1]:
                sums.saved += saved
                sums.unfinished += unfinished
        if touched:
            touched.add(self._totals[key[0]])
        for sums in touched:
            sums.calls += 1
            if is_failure:
                sums.errors += not answered and not unfinished
                sums.saved += saved
                sums.unfinished += unfinished


def _row(parts: Weighted, group: Mapping[str, str | None], unit: StatisticsUnit) -> GroupStatistics:
    """Return the numbers in the form to show."""

    def times(name: str) -> float:
        found: float = sum(weight * getattr(sums, name) for weight, sums in parts.items())
        return found

    def known(name: str) -> float | None:
        found = [weight * more for weight, sums in parts.items() if (more := getattr(sums, name)) is not None]
        return sum(found) if found else None

    whole, errors = times("attempts" if unit == "attempts" else "calls"), times("errors")
    went_in, came_out = known("input"), known("output")
    p50, p95, p99 = percentiles({weight: sums.times for weight, sums in parts.items()}, 50, 95, 99)
    first_p50, first_p95 = percentiles({weight: sums.first_tokens for weight, sums in parts.items()}, 50, 95)
    return GroupStatistics(
        group=group, calls=round(times("calls")), attempts=round(times("attempts")), errors=round(errors),
        error_rate=errors / whole if whole else 0.0, saved=round(times("saved")), unfinished=round(times("unfinished")),
        p50_ms=p50, p95_ms=p95, p99_ms=p99, first_token_p50_ms=first_p50, first_token_p95_ms=first_p95,
        input_tokens=None if went_in is None else round(went_in),
        output_tokens=None if came_out is None else round(came_out), cost_usd=known("cost"),
        unknown_costs=round(times("unknown_costs")), kept=sum(sums.calls for sums in parts.values()),
    )  # fmt: skip


def _shown(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_KEY else text[:_LONGEST_KEY] + "…"


def _role(record: RawRecord) -> str | None:
    return _shown(record["role"])


def _day(record: RawRecord) -> str | None:
    time = parsed_time(record["started_at"])
    return None if time is None else f"{time:%Y-%m-%d}"


def _metadata_value(name: str) -> Callable[[RawRecord], str | None]:
    def value(record: RawRecord) -> str | None:
        entries = record.get("metadata")
        return _shown(entry_text(entries, name)) if type(entries) is dict else None

    return value


_CALL_VALUES: Mapping[str, Callable[[RawRecord], str | None]] = {"role": _role, "day": _day}
_FIELDS = {"provider": "provider", "model": "model", "failure": "failure_type"}
