"""Calls beyond those that a page shows one by one are summed up, and nothing of them is lost or counted twice."""

from __future__ import annotations

import json
from dataclasses import replace

from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.report.older_calls import OlderCalls, gathered


def test_the_first_calls_are_rows_and_the_others_sums() -> None:
    """The sums have what the calls have: how many, how they ended, tokens, cost, failures."""
    calls = calls_from(trace_set(500, seed=7))
    rows, older = gathered(calls, 100)
    assert len(rows.rows) == 100
    rest, sums = calls[100:], older.rows()
    assert sum(row[3] for row in sums) == len(rest)
    assert sum(row[4] for row in sums) == sum(call.has_status("error") for call in rest)
    assert sum(row[5] for row in sums) == sum(call.is_saved for call in rest)
    assert sum(row[6] for row in sums) == sum(call.is_cut for call in rest)
    assert sum(row[8] for row in sums) == sum(len(call.attempts) for call in rest)
    assert sum(row[9] or 0 for row in sums) == sum(call.input_tokens or 0 for call in rest)
    assert abs(sum(row[11] or 0 for row in sums) - sum(call.cost_usd or 0 for call in rest)) < 1e-9
    assert sum(row[12] for row in sums) == sum(not call.is_cost_whole for call in rest)
    failures = [record for call in rest for record in call.records if record.failure_type]
    assert sum(attempts for row in sums for _, attempts, _ in row[13]) == len(failures)


def test_sums_are_by_role_and_hour() -> None:
    _, older = gathered(calls_from([make("a"), make("b", at=EPOCH + 3600), make("c", role="writer")]), 0)
    assert sorted((row[2], row[3]) for row in older.rows()) == [("planner", 1), ("planner", 1), ("writer", 1)]
    assert {row[1] for row in older.rows()} == {3_600_000}


def test_over_years_the_sums_are_by_day_or_week_and_of_bounded_number() -> None:
    """However long the history is, and however many roles it has."""
    older = OlderCalls()
    for number in range(30_000):
        (call,) = calls_from([make(str(number), at=EPOCH + number * 7200, role=f"role {number % 150}")])
        older.add(call)
    rows = older.rows()
    assert len(rows) <= 4000
    assert sum(row[3] for row in rows) == 30_000
    assert len({row[2] for row in rows}) <= 101
    assert {row[0] % row[1] for row in rows} == {0}


def test_a_call_counts_for_those_that_were_dropped() -> None:
    """And the row says how many of them there are records of."""
    calls = calls_from([make("a", kept_share=0.1, cost_usd=2.0), make("b", outcome="error", verdict="raise")])
    rows, older = gathered(calls, 0)
    (row,) = older.rows()
    assert (row[3], row[4], row[8], row[11], row[14]) == (11, 1, 11, 20.0, 2)
    rows, _ = gathered(calls, 2)
    assert [json.loads(text)[22:] for text in rows.rows] == [[10], []]


def test_a_call_without_a_time_counts_beside_its_neighbour() -> None:
    odd = replace(make("odd"), started_at="?")
    _, older = gathered(calls_from([make("a"), odd]), 0)
    assert [row[3] for row in older.rows()] == [2]


def test_what_nobody_reported_stays_unknown() -> None:
    _, older = gathered(calls_from([make()]), 0)
    assert older.rows()[0][9:12] == [None, None, None]
