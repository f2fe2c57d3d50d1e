"""Numbers over many calls: how many there were, how they ended, how long they took, and what they used.

How this works. A million records are counted in seconds, so they are read as the mappings that `TraceScanner.scan`
yields, and no `TraceRecord` is made of them unless a filter asks. What is counted is what `TracedCall` says of the same
records, by the same checks; a test compares the two. Durations are kept as 8 bytes each, so that percentiles are exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router.telemetry.calls import TracedCall, parsed_time
from lee_llm_router.telemetry.joining import CallJoiner, began_within, scan_around
from lee_llm_router.telemetry.query import CallFilter, entry_text
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import TraceScanner

StatisticsUnit: TypeAlias = Literal["calls", "attempts", "failures"]
"""What rows count: whole calls, or single attempts, or attempts and calls by what failed."""

CALL_KEYS = ("role", "day")
ATTEMPT_KEYS = ("provider", "model", "failure")
METADATA = "metadata."
OTHERS = "(others)"
"""Stands for the groups beyond the first `_MOST_GROUPS`."""

_MOST_GROUPS = 10_000
_LONGEST_KEY = 200
_LONGEST_WORD = 10_000
"""Characters of a name, as in `TraceRecord.from_mapping`."""
_TICK = 1 << 15
_Record: TypeAlias = Mapping[str, Any]
_PLAIN = itemgetter(
    "request_id", "attempt", "role", "started_at", "elapsed_ms", "wait_ms", "first_token_ms", "outcome", "verdict",
    "usage", "cost_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """A row of statistics. A number that nobody reported is None, which is not 0."""

    group: Mapping[str, str | None]
    """What the calls have in common: `role`, say, and its value. Empty for the row of all."""
    calls: int
    attempts: int
    """Attempts that were made."""
    errors: int
    """Calls that got no answer (failed or cancelled); by provider or model, attempts that gave none."""
    error_rate: float
    """`errors` of all calls, or attempts: from 0 to 1."""
    saved: int
    """Calls that another target answered; by provider or model, those that it answered after others."""
    unfinished: int
    """Calls that announced another attempt, of which nothing came."""
    p50_ms: float | None
    """Of the time of whole calls, waits included; by provider, model or failure, of single attempts."""
    p95_ms: float | None
    p99_ms: float | None
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """What is known of the cost."""
    unknown_costs: int
    """Calls, or attempts, that used tokens at a cost that nobody knows."""


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """Statistics over traces, a row for each group."""

    unit: StatisticsUnit
    groups: Sequence[GroupStatistics]
    """By day in the order of days, else the largest first."""
    total: GroupStatistics


def grouping_of(text: str) -> tuple[str, ...]:
    """Return the names in a list like ``role,metadata.tenant``.

    Raises:
        ValueError: something cannot be grouped by; says what can.
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
    """Return statistics over the calls that pass.

    Args:
        scanner: The store.
        by: What rows are for, as `grouping_of` returns it; several make a row for each combination.
        calls: Which calls count. Default: all.
        progress: Is called now and then with the number of records read.
    """
    wanted = calls or CallFilter()
    counter = _Counter(tuple(by))
    number = 0
    joiner: CallJoiner[_Record] = CallJoiner()
    count_quickly = counter.count_plain if wanted.is_open else _never
    for number, record in enumerate(scan_around(scanner, wanted.since, wanted.until), 1):
        if progress is not None and not number % _TICK:
            progress(number)
        if count_quickly(record, joiner) or not _is_record(record):
            continue
        for call in joiner.add(record["request_id"], record["verdict"], record):
            if _passes(call, wanted):
                counter.add(call)
    for call in joiner.rest():
        if _passes(call, wanted):
            counter.add(call)
    if progress is not None:
        progress(number)
    return counter.result()


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the value of `ordered`, which is sorted, that `percent` of all do not exceed; None if there are none."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def _never(_record: _Record, _joiner: CallJoiner[_Record]) -> bool:
    return False


def _passes(records: list[_Record], wanted: CallFilter) -> bool:
    if wanted.is_open:
        return True
    first = records[0]
    if not began_within(first["started_at"], first["attempt"], wanted.since, wanted.until):
        return False
    if replace(wanted, since=None, until=None).is_open:
        return True
    return wanted.matches(TracedCall(tuple(TraceRecord.from_mapping(record) for record in records)))


class _Sums:
    """What has been counted of a group."""

    __slots__ = (
        "attempts", "calls", "cost", "errors", "first_tokens", "input", "output", "saved", "times", "unfinished",
        "unknown_costs",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls = self.attempts = self.errors = self.saved = self.unfinished = self.unknown_costs = 0
        self.input: int | None = None
        self.output: int | None = None
        self.cost: float | None = None
        self.times = array("d")
        self.first_tokens = array("d")

    def spend(self, usage: Any, cost: Any) -> bool:
        """Add what an attempt used and cost, and return whether the cost of its tokens is known."""
        if cost is not None:
            if (cost.__class__ is float or cost.__class__ is int) and 0 <= cost <= MAX_COUNT:
                self.cost = cost + (self.cost or 0.0)
            else:
                cost = None
        if usage.__class__ is not dict:
            return True
        tokens = usage.get("prompt_tokens")
        if tokens.__class__ is int and 0 <= tokens <= MAX_COUNT:
            self.input = tokens + (self.input or 0)
        tokens = usage.get("completion_tokens")
        if tokens.__class__ is int and 0 <= tokens <= MAX_COUNT:
            self.output = tokens + (self.output or 0)
        return cost is not None

    def merge(self, other: _Sums) -> None:
        """Add what another group has counted."""
        for name in ("calls", "attempts", "errors", "saved", "unfinished", "unknown_costs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("input", "output", "cost"):
            if (more := getattr(other, name)) is not None:
                setattr(self, name, more + (getattr(self, name) or 0))
        self.times.extend(other.times)
        self.first_tokens.extend(other.first_tokens)

    def row(self, group: Mapping[str, str | None], unit: StatisticsUnit) -> GroupStatistics:
        """Return the numbers as they are shown."""
        times, first_tokens = sorted(self.times), sorted(self.first_tokens)
        whole = self.attempts if unit == "attempts" else self.calls
        return GroupStatistics(
            group=group, calls=self.calls, attempts=self.attempts, errors=self.errors,
            error_rate=self.errors / whole if whole else 0.0, saved=self.saved, unfinished=self.unfinished,
            p50_ms=percentile(times, 50), p95_ms=percentile(times, 95), p99_ms=percentile(times, 99),
            first_token_p50_ms=percentile(first_tokens, 50), first_token_p95_ms=percentile(first_tokens, 95),
            input_tokens=self.input, output_tokens=self.output, cost_usd=self.cost, unknown_costs=self.unknown_costs,
        )  # fmt: skip


class _Counter:
    """Counts calls in groups."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self._by = by
        self._groups: dict[tuple[str | None, ...], _Sums] = {}
        self._total = _Sums()
        self._unit: StatisticsUnit = (
            "failures" if "failure" in by else "attempts" if set(by) & set(ATTEMPT_KEYS) else "calls"
        )
        self._of_call = [(place, _CALL_VALUES.get(name) or _metadata_value(name.removeprefix(METADATA)))
                         for place, name in enumerate(by) if name not in ATTEMPT_KEYS]  # fmt: skip
        self._of_attempt = [(place, _FIELDS[name]) for place, name in enumerate(by) if name in ATTEMPT_KEYS]

    def count_plain(self, record: _Record, joiner: CallJoiner[_Record]) -> bool:
        """Count a call of one attempt, which answered it; return False if it is not one, or has an odd value.

        Most calls are such: this is what a million of them cost. `add` counts the same.
        """
        try:
            name, attempt, role, began, elapsed, wait, first_token, outcome, verdict, usage, cost = _PLAIN(record)
        except KeyError:
            return False
        if not (
            verdict == "return" and outcome == "ok" and not wait and attempt.__class__ is int
            and elapsed.__class__ is float and 0 <= elapsed <= MAX_COUNT and name.__class__ is str
            and role.__class__ is str and began.__class__ is str and len(name) + len(role) + len(began) < _LONGEST_WORD
            and 0 <= attempt <= MAX_COUNT and name not in joiner
        ):  # fmt: skip
            return False
        if self._unit == "failures":
            return record.get("failure_type") is None
        key: list[str | None] = [None] * len(self._by)
        for place, value in self._of_call:
            key[place] = value(record)
        for place, field in self._of_attempt:
            key[place] = _shown(_text(record.get(field)))
        sums = self._groups.get(tuple(key)) or self._sums(tuple(key))
        sums.calls += 1
        sums.attempts += 1
        self._total.calls += 1
        sums.times.append(elapsed)
        if first_token is not None and (first_token := _number(first_token)) is not None:
            sums.first_tokens.append(first_token)
        if (usage is not None or cost is not None) and not sums.spend(usage, cost):
            sums.unknown_costs += 1
        return True

    def add(self, records: list[_Record]) -> None:
        """Count a call."""
        key: list[str | None] = [None] * len(self._by)
        for place, value in self._of_call:
            key[place] = value(records[0])
        if self._unit == "calls":
            _add_call(self._sums(tuple(key)), records)
        else:
            self._add_attempts(key, records)

    def result(self) -> TraceStatistics:
        """Return the rows, and the row of all."""
        total, counted = _Sums(), self._total
        for sums in self._groups.values():
            total.merge(sums)
        if self._unit != "calls":  # a call may be in several groups
            total.calls = counted.calls
        if self._unit == "failures":
            total.errors, total.saved, total.unfinished = counted.errors, counted.saved, counted.unfinished
        groups = [sums.row(dict(zip(self._by, key, strict=True)), self._unit) for key, sums in self._groups.items()]
        groups.sort(key=lambda row: -row.calls if self._unit == "calls" else -row.attempts)
        if "day" in self._by:
            groups.sort(key=lambda row: row.group["day"] or "")
        return TraceStatistics(self._unit, groups if self._by else [], total.row({}, self._unit))

    def _sums(self, key: tuple[str | None, ...]) -> _Sums:
        sums = self._groups.get(key)
        if sums is None:
            if len(self._groups) >= _MOST_GROUPS:
                key = (OTHERS,) * len(key)
            sums = self._groups.setdefault(key, _Sums())
        return sums

    def _add_attempts(self, key: list[str | None], records: list[_Record]) -> None:
        """Count each attempt, or each failure, of a call in its group."""
        is_failure = self._unit == "failures"
        answered, saved, unfinished = _ending(records)
        touched: set[_Sums] = set()
        for record in records:
            if (_text(record.get("failure_type")) if is_failure else record["attempt"]) is None:
                continue
            for place, name in self._of_attempt:
                key[place] = _shown(_text(record.get(name)))
            sums = self._sums(tuple(key))
            touched.add(sums)
            _add_attempt(sums, record, is_failure)
            if not is_failure and record is records[-1]:
                sums.saved += saved
                sums.unfinished += unfinished
        if touched:
            touched.add(self._total)
        for sums in touched:
            sums.calls += 1
            if is_failure:
                sums.errors += not answered and not unfinished
                sums.saved += saved
                sums.unfinished += unfinished


def _add_call(sums: _Sums, records: list[_Record]) -> None:
    answered, saved, unfinished = _ending(records)
    sums.calls += 1
    is_cost_known = True
    for record in records:
        if record["attempt"] is not None:
            sums.attempts += 1
        usage, cost = record.get("usage"), record.get("cost_usd")
        if (usage is not None or cost is not None) and not sums.spend(usage, cost):
            is_cost_known = False
    if not is_cost_known:
        sums.unknown_costs += 1
    if unfinished:
        sums.unfinished += 1
        return
    total = _total_ms(records)
    sums.times.append(total)
    if not answered:
        sums.errors += 1
        return
    sums.saved += saved
    last = records[-1]
    first_token = _number(last.get("first_token_ms"))
    if first_token is not None:
        sums.first_tokens.append(max(0.0, total - (_number(last.get("elapsed_ms")) or 0.0)) + first_token)


def _add_attempt(sums: _Sums, record: _Record, is_failure: bool) -> None:
    if record["attempt"] is not None:
        sums.attempts += 1
        sums.times.append(_number(record.get("elapsed_ms")) or 0.0)
    if not is_failure and record["outcome"] != "ok":
        sums.errors += 1
    first_token = _number(record.get("first_token_ms"))
    if first_token is not None:
        sums.first_tokens.append(first_token)
    if not sums.spend(record.get("usage"), record.get("cost_usd")):
        sums.unknown_costs += 1


def _ending(records: list[_Record]) -> tuple[bool, bool, bool]:
    """Return whether the call was answered, whether by another target than its first, and whether it is unfinished."""
    last = records[-1]
    if last["verdict"] in ("retry", "next"):
        return False, False, True
    if last["outcome"] != "ok":
        return False, False, False
    if len(records) == 1:
        return True, False, False
    first = records[0]
    return True, any(_text(first.get(name)) != _text(last.get(name)) for name in ("provider", "model")), False


def _total_ms(records: list[_Record]) -> float:
    """Return what `TracedCall.total_ms` does; without looking at the time where one attempt says it all."""
    first, last = records[0], records[-1]
    elapsed = _number(last.get("elapsed_ms")) or 0.0
    if first is last and not last.get("wait_ms"):
        return elapsed
    began, began_last = parsed_time(first["started_at"]), parsed_time(last["started_at"])
    if began is None or began_last is None:
        return sum((_number(r.get("elapsed_ms")) or 0.0) + (_number(r.get("wait_ms")) or 0.0) for r in records)
    between = max(0.0, (began_last - began).total_seconds() * 1000)
    return max(between, elapsed) if last["attempt"] is None else between + elapsed


def _is_record(data: _Record) -> bool:
    """Return whether `data` has what a record must have, as `TraceRecord.from_mapping` does."""
    for name in ("request_id", "verdict", "started_at", "outcome", "role"):
        value = data.get(name)
        if type(value) is not str or len(value) > _LONGEST_WORD:
            return False
    attempt = data.get("attempt", "")
    return attempt is None or _count(attempt) is not None


def _number(value: Any) -> float | None:
    return value if (type(value) is float or type(value) is int) and 0 <= value <= MAX_COUNT else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _text(value: Any) -> str | None:
    return value if type(value) is str and len(value) <= _LONGEST_WORD else None


def _shown(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_KEY else text[:_LONGEST_KEY] + "…"


def _role(record: _Record) -> str | None:
    return _shown(record["role"])


def _day(record: _Record) -> str | None:
    time = parsed_time(record["started_at"])
    return None if time is None else f"{time:%Y-%m-%d}"


def _metadata_value(name: str) -> Callable[[_Record], str | None]:
    def value(record: _Record) -> str | None:
        entries = record.get("metadata")
        return _shown(entry_text(entries, name)) if type(entries) is dict else None

    return value


_CALL_VALUES: Mapping[str, Callable[[_Record], str | None]] = {"role": _role, "day": _day}
_FIELDS = {"provider": "provider", "model": "model", "failure": "failure_type"}
