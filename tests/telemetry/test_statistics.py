"""Statistics over traces: the same as the calls themselves say, whatever the records hold."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall, calls_from
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import TraceScanner, scanner_of
from lee_llm_router.telemetry.statistics import (
    OTHERS,
    GroupStatistics,
    TraceStatistics,
    grouping_of,
    percentile,
    trace_statistics,
)

_TOKENS = st.one_of(st.none(), st.integers(0, 10**6), st.just(-1), st.just(10**13))
_TIMES = st.one_of(st.floats(0, 1e6), st.integers(0, 10**6), st.just(-5.0), st.just(1e13), st.just(float("inf")))
_NAMES = st.sampled_from(["a", "b", None])

_FILTERS: dict[str, list[Any]] = {
    "role": ["planner", "w*", "*"], "provider": ["a", "*"], "model": ["b", "a*"],
    "status": ["ok", "error", "fallback", "cut"], "failure": ["auth", "TIMEOUT"],
    "since": [EPOCH + 5e5, EPOCH - 1], "until": [EPOCH + 5e5, EPOCH + 2e6], "slower_than": [0, 0.5, 90, 1e6],
    "metadata": [{"k": "3"}, {"k": "*"}, {"k": "v", "l": "\ue000"}],
    "grep": ["AUTH", "v", '"', "1", "null", "straSSe", "\\", "k", ",", "role", "e-0", "\n"],
}  # fmt: skip
_ODD: dict[str, list[Any]] = {
    "role": [None, 7, "x" * 10_001, ""], "provider": [["a"], "a" * 10_001, 1.5, True], "attempt": [True, -1, 1.0],
    "metadata": [[], None, {"k": {"l": ["Straße", None, 1e400]}}, {"k": "\ud800v"}], "verdict": ["give up", None],
    "finish_reason": ["length", {}], "outcome": ["fine"], "started_at": ["now", "", "2027-01-15T08:00:00.5-03:00"],
    "elapsed_ms": ["5", True, None], "offset_ms": [{}], "failure_type": [["AUTH"], 3], "usage": ["AUTH", []],
    "new_field": ["AUTH"], "error": ['a "word"', "two\nlines", "back\\slash", 10**700, "STRASSE"],
}  # fmt: skip
"""Values that no record of this version has."""


class _Kept:
    """A store of records in memory, in the order they were written."""

    def __init__(self, records: Iterable[TraceRecord]) -> None:
        self.records = list(records)

    def last(self, n: int = 1) -> list[TraceRecord]:
        return self.records

    def find(self, request_id: str) -> list[TraceRecord]:
        return [record for record in self.records if record.request_id == request_id]


def kept(records: Iterable[TraceRecord]) -> TraceScanner:
    return scanner_of(_Kept(records))


class _Scanned(_Kept):
    """A store of records as they were read."""

    def __init__(self, raw: list[dict[str, Any]]) -> None:
        super().__init__(())
        self.raw = raw

    def scan(self, since: float | None = None, until: float | None = None) -> Iterator[dict[str, Any]]:
        return iter(self.raw)

    def calls(self, since: float | None = None, until: float | None = None) -> Iterator[TracedCall]:
        raise NotImplementedError

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        raise NotImplementedError

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        raise NotImplementedError


def _built(raw: dict[str, Any]) -> TraceRecord | None:
    try:
        return TraceRecord.from_mapping(raw)
    except ValueError:
        return None


@st.composite
def _call(draw: st.DrawFn, number: int) -> list[TraceRecord]:
    """A call as a router may have left it: tries, skipped targets, attempts not waited for, and an end, or none."""
    records: list[TraceRecord] = []
    role, at = draw(st.sampled_from(["planner", "writer"])), EPOCH + draw(st.floats(0, 1e6))
    metadata: Any = draw(st.sampled_from([{}, {"k": "v"}, {"k": 3}, {"k": [1]}]))
    steps = draw(st.lists(st.sampled_from(["error", "skipped", "lost"]), max_size=3))
    end = draw(st.sampled_from(["ok", "error", "cancelled", "outside", "unfinished", "skipped after"]))
    attempt = 0
    for place, step in enumerate([*steps, "ok" if end == "ok" else "error"]):
        is_last = place == len(steps) and end != "unfinished"
        made = step != "skipped" and not (is_last and end == "outside")
        verdict = "next" if not is_last else "return" if end == "ok" else "raise"
        records.append(
            make(
                request_id=f"call-{number}", role=role, attempt=attempt if made else None, at=at, metadata=metadata,
                outcome="cancelled" if (is_last and end == "cancelled") or step == "lost" else step, verdict=verdict,
                provider=draw(_NAMES), model=draw(_NAMES), elapsed_ms=draw(_TIMES), wait_ms=draw(_TIMES),
                first_token_ms=draw(st.one_of(st.none(), _TIMES)), offset_ms=draw(st.one_of(st.none(), _TIMES)),
                failure_type=None if step in ("ok", "lost") else draw(st.sampled_from(["TIMEOUT", "AUTH"])),
                usage=draw(st.one_of(st.none(), st.builds(
                    LLMUsage, prompt_tokens=_TOKENS, completion_tokens=_TOKENS, total_tokens=_TOKENS))),
                cost_usd=draw(st.one_of(st.none(), st.floats(0, 100), st.just(-1.0))),
            )
        )  # fmt: skip
        attempt += made
        at += draw(st.floats(0, 100))
    if end == "skipped after":
        records.append(make(f"call-{number}", None, at, role=role, outcome="skipped", verdict="raise", provider="a",
                            failure_type="UNAVAILABLE"))  # fmt: skip
    return records


@st.composite
def _histories(draw: st.DrawFn) -> list[TraceRecord]:
    """The records of some calls, which alternate."""
    calls = [draw(_call(number)) for number in range(draw(st.integers(0, 6)))]
    chance, mixed = draw(st.randoms(use_true_random=False)), []
    while any(calls):
        mixed.append(chance.choice([call for call in calls if call]).pop(0))
        calls = [call for call in calls if call]
    return mixed


def as_read(records: Iterable[TraceRecord]) -> list[TracedCall]:
    """The calls as the store of daily files would read them: with what cannot be true left out."""
    return calls_from(TraceRecord.from_json(record.to_json()) for record in records)


def summed(calls: Sequence[TracedCall]) -> dict[str, Any]:
    """The numbers of calls, one by one."""
    ended = sorted(call.total_ms for call in calls if call.outcome != "unfinished")
    firsts = sorted(first for call in calls if (first := call.first_token_ms) is not None)
    errors = sum(call.has_status("error") for call in calls)

    def total(numbers: Iterable[float | None]) -> float | None:
        known = [number for number in numbers if number is not None]
        return sum(known) if known else None

    return {
        "calls": len(calls), "attempts": sum(len(call.attempts) for call in calls), "errors": errors,
        "error_rate": errors / len(calls) if calls else 0.0, "saved": sum(call.is_saved for call in calls),
        "unfinished": sum(call.outcome == "unfinished" for call in calls),
        "p50_ms": percentile(ended, 50), "p95_ms": percentile(ended, 95), "p99_ms": percentile(ended, 99),
        "first_token_p50_ms": percentile(firsts, 50), "first_token_p95_ms": percentile(firsts, 95),
        "input_tokens": total(call.input_tokens for call in calls),
        "output_tokens": total(call.output_tokens for call in calls),
        "cost_usd": total(call.cost_usd for call in calls),
        "unknown_costs": sum(not call.is_cost_whole for call in calls), "kept": len(calls),
    }  # fmt: skip


def numbers(row: GroupStatistics) -> Any:
    return pytest.approx({name: value for name, value in asdict(row).items() if name != "group"})


@settings(max_examples=examples(300), deadline=None)
@given(_histories())
def test_statistics_are_what_the_calls_themselves_say(records: list[TraceRecord]) -> None:
    """Of all calls, and of each role."""
    found = trace_statistics(kept(records), ("role",))
    calls = as_read(records)
    assert summed(calls) == numbers(found.total)
    for row in found.groups:
        assert summed([call for call in calls if call.role == row.group["role"]]) == numbers(row)
    assert sum(row.calls for row in found.groups) == len(calls)


@settings(max_examples=examples(200), deadline=None)
@given(_histories(), st.sampled_from(["provider", "model", "failure"]))
def test_by_provider_model_or_failure_single_attempts_are_counted(records: list[TraceRecord], by: str) -> None:
    """Each row has the attempts of that provider, and the last one all; a call may be in several rows."""
    found = trace_statistics(kept(records), (by,))
    calls = as_read(records)
    field = {"failure": "failure_type"}.get(by, by)

    def of_row(record: TraceRecord, name: str | None) -> bool:
        counts = record.failure_type is not None if by == "failure" else record.attempt is not None
        return counts and (name == "*" or getattr(record, field) == name)

    for row in [*found.groups, found.total]:
        name = row.group[by] if row.group else "*"
        those = [call for call in calls if any(of_row(record, name) for record in call.records)]
        attempts = [record for call in calls for record in call.records if of_row(record, name)]
        made = sorted(record.elapsed_ms for record in attempts if record.attempt is not None)
        assert (row.calls, row.attempts) == (len(those), len(made))
        assert row.p95_ms == percentile(made, 95)
        assert row.unknown_costs == sum(r.usage is not None and r.cost_usd is None for r in attempts)
        if by == "failure":
            assert row.errors == sum(call.has_status("error") for call in those)
            assert row.saved == sum(call.is_saved for call in those)
        else:
            assert row.errors == sum(record.outcome != "ok" and not record.is_lost for record in attempts)
            assert row.saved == sum(call.is_saved and of_row(call.last, name) for call in calls)


@st.composite
def _raw_histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The records of some calls as a file has them, with values here and there that nobody expects."""
    raw = [json_object(record.to_json()) for record in draw(_histories())]
    for record in raw:
        for name in draw(st.lists(st.sampled_from(sorted(_ODD)), max_size=2)):
            record[name] = draw(st.sampled_from(_ODD[name]))
    return raw


_SOME_FILTERS = st.fixed_dictionaries({}, optional={name: st.sampled_from(some) for name, some in _FILTERS.items()})


@settings(max_examples=examples(200), deadline=None)
@given(_raw_histories(), _SOME_FILTERS, st.sampled_from(["", "role", "metadata.k", "provider,day", "failure"]))
def test_a_filter_lets_through_the_calls_it_does_elsewhere(
    raw: list[dict[str, Any]], conditions: dict[str, Any], by: str
) -> None:
    """Statistics of chosen calls are those over a store that holds no others, whatever is in the records.

    But a call whose first record is missing has begun before, where a beginning is named.
    """
    wanted = CallFilter(**conditions)
    built = {place: record for place, one in enumerate(raw) if (record := _built(one)) is not None}
    whole = [call for call in calls_from(built.values()) if wanted.since is None or not call.records[0].attempt]
    names = {call.request_id for call in whole if wanted.matches(call)}
    passing = [one for place, one in enumerate(raw) if place in built and built[place].request_id in names]
    grouping = grouping_of(by)
    assert trace_statistics(_Scanned(raw), grouping, wanted) == trace_statistics(_Scanned(passing), grouping)


@settings(max_examples=examples(100), deadline=None)
@given(_histories(), st.integers(2, 5), st.sampled_from(["", "role", "provider", "failure"]))
def test_a_call_counts_for_those_it_stands_for(records: list[TraceRecord], behind: int, by: str) -> None:
    """Statistics over sampled traces are those over all calls, were the dropped ones like those kept."""
    lone = {call.request_id for call in calls_from(records) if len(call.records) == 1 and call.outcome == "ok"}
    sampled, whole = [], []
    for record in records:
        is_lone = record.request_id in lone
        sampled.append(replace(record, kept_share=1 / behind) if is_lone else record)
        whole += [replace(record, request_id=f"{record.request_id}-{copy}") for copy in range(behind if is_lone else 1)]
    found, expected = (trace_statistics(kept(some), grouping_of(by)) for some in (sampled, whole))
    assert found.estimated is (found.total.calls > found.total.kept)

    def rows(statistics: TraceStatistics) -> list[Any]:
        groups = sorted(statistics.groups, key=lambda row: str(row.group))
        return [replace(row, kept=0) for row in [*groups, statistics.total]]

    assert [row.group for row in rows(found)] == [row.group for row in rows(expected)]
    for one, other in zip(rows(found), rows(expected), strict=True):
        assert {name: value for name, value in asdict(one).items() if name != "group"} == numbers(other)


@pytest.mark.parametrize("share", [None, 0.0, 1.0, 5.0, -0.5, 1e-300])
def test_a_share_that_can_be_none_counts_one(share: float | None) -> None:
    records = [make("a", kept_share=share), make("b")]
    found = trace_statistics(kept(records))
    assert (found.total.calls, found.estimated) == (2, False)


def test_calls_kept_by_very_many_shares_fill_no_memory() -> None:
    """Beyond some number of shares a call counts by the nearest of those known."""
    records = [make(f"call-{number}", kept_share=1 / (1 + number)) for number in range(1, 100)]
    assert trace_statistics(kept(records)).total.kept == 99


def test_a_call_that_runs_past_the_end_of_a_time_is_counted_whole() -> None:
    """And one that began before it not at all, though its last attempts lie within."""
    fails: dict[str, Any] = {"outcome": "error", "verdict": "next"}
    records = [
        make("before", 0, EPOCH - 5, **fails),
        make("within", 0, EPOCH + 5, **fails),
        make("before", 1, EPOCH + 6),
        make("within", 1, EPOCH + 700),
    ]
    found = trace_statistics(kept(records), calls=CallFilter(since=EPOCH, until=EPOCH + 10)).total
    assert (found.calls, found.attempts, found.p50_ms) == (1, 2, 695_000.0)


def test_calls_that_never_ended_are_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of killed processes come to an end as unfinished once there are too many."""
    monkeypatch.setattr("lee_llm_router.telemetry.joining._MOST_OPEN", 3)
    records = [make(f"call-{number}", outcome="error", verdict="retry") for number in range(10)]
    assert trace_statistics(kept(records)).total.unfinished == 10


def test_groups_beyond_the_first_ten_thousand_are_one() -> None:
    """An id in the metadata of each call fills no memory."""
    records = [make(f"call-{number}", metadata={"id": number}) for number in range(10_005)]
    found = trace_statistics(kept(records), ("metadata.id",))
    assert [(row.group["metadata.id"], row.calls) for row in found.groups][:2] == [(OTHERS, 5), ("0", 1)]
    assert (len(found.groups), found.total.calls) == (10_001, 10_005)


@pytest.mark.parametrize(
    ("given_records", "by", "expected"),
    [
        ([{"metadata": {"tenant": "a"}}, {"metadata": {"tenant": "a"}}, {}], "metadata.tenant", [("a", 2), (None, 1)]),
        ([{"metadata": {"n": 3}}, {"metadata": {"n": "3"}}], "metadata.n", [("3", 2)]),
        ([{"at": EPOCH + 86_400.0}, {}, {"at": EPOCH}], "day", [("2027-01-15", 2), ("2027-01-16", 1)]),
        ([{"model": None}, {"model": "m" * 500}], "model", [(None, 1), ("m" * 200 + "…", 1)]),
    ],
)
def test_calls_are_grouped_by(given_records: list[dict[str, Any]], by: str, expected: list[tuple[str, int]]) -> None:
    """A value of the metadata, the UTC day; names from outside are cut."""
    records = [make(f"call-{number}", **fields) for number, fields in enumerate(given_records)]
    found = trace_statistics(kept(records), grouping_of(by))
    assert [(row.group[by], row.calls) for row in found.groups] == expected


def test_several_names_make_a_row_for_each_combination() -> None:
    records = list(trace_set(200))
    found = trace_statistics(kept(records), grouping_of("role, provider"))
    assert found.unit == "attempts"
    assert {tuple(row.group) for row in found.groups} == {("role", "provider")}
    assert len(found.groups) == 12
    assert sum(row.attempts for row in found.groups) == found.total.attempts == len(records)


@pytest.mark.parametrize("wrong", ["rolle", "metadata.", "metadata", "served_model"])
def test_what_cannot_be_grouped_by_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not one of role, day, provider, model, failure"):
        grouping_of(wrong)


def test_progress_is_told_now_and_then() -> None:
    """With the number of records read since, and at the end."""
    told: list[int] = []
    records = [make(f"call-{number}") for number in range(40_000)]
    trace_statistics(kept(records), progress=told.append)
    assert told == [32_768, 7_232]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([7.0], 99, 7.0), ([1.0, 2.0], 50, 1.0), ([float(n) for n in range(1, 101)], 95, 95.0)],
)
def test_a_percentile_is_a_value_that_occurred(values: list[float], percent: float, expected: float | None) -> None:
    random.Random(1).shuffle(values)
    assert percentile(sorted(values), percent) == expected
