"""Traces as a table: a row for each call, its attempts below, escaped, and readable at 80 columns."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router.cli.trace.table import render_calls
from lee_llm_router.errors import FailureType
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.calls import calls_from

FIRST = "019a0000-0000-7000-8000-0000deadbe01"
SECOND = "019a0000-0000-7000-8000-0000deadbe02"


def make(request_id: str = FIRST, attempt: int | None = 0, **fields: Any) -> TraceRecord:
    defaults: dict[str, Any] = {
        "role": "planner", "provider": "openai", "model": "gpt-5", "started_at": "2027-01-15T08:16:40.000000Z",
        "outcome": "ok", "verdict": "return", "elapsed_ms": 812.4,
    }  # fmt: skip
    return TraceRecord(request_id=request_id, attempt=attempt, **{**defaults, **fields})


CHAIN = [
    make(outcome="error", failure_type="RATE_LIMIT", status_code=429, elapsed_ms=210, verdict="retry", wait_ms=512,
         error="slow down, please", usage=LLMUsage(total_tokens=1000)),
    make(attempt=1, started_at="2027-01-15T08:16:41.000000Z", outcome="error", failure_type="PROVIDER_ERROR",
         elapsed_ms=3, verdict="next", error="connection refused"),
    make(attempt=2, started_at="2027-01-15T08:16:41.500000Z", provider="codex", model="gpt-5-codex",
         elapsed_ms=12_220, usage=LLMUsage(total_tokens=234)),
    make(SECOND, started_at="2027-01-16T00:00:00.000000Z", usage=LLMUsage(total_tokens=120_000)),
]  # fmt: skip


def test_a_call_with_its_attempts_reads_like_this() -> None:
    """The table shows dates, calls with total time and tokens, attempts with their error and what followed."""
    assert (
        render_calls(CHAIN)
        == """\
    time  role               outcome           total  tokens id
2027-01-15 UTC
08:16:40  planner            ok               13.7 s    1234 deadbe01
       1  openai/gpt-5       RATE_LIMIT 429   210 ms  retry in 512 ms
          slow down, please
       2  openai/gpt-5       PROVIDER_ERROR     3 ms  next
          connection refused
       3  codex/gpt-5-codex  ok               12.2 s
2027-01-16 UTC
00:00:00  planner            ok               812 ms    120k deadbe02
       1  openai/gpt-5       ok               812 ms"""
    )


def test_no_records_say_so() -> None:
    """Without records there is a sentence instead of an empty table."""
    assert render_calls([]) == "no calls traced"


def test_records_are_grouped_by_call_in_the_order_given() -> None:
    """Mixed records of two calls become two groups, in order of their first records."""
    mixed = [make(SECOND), make(FIRST), make(SECOND, 1)]
    calls = calls_from(mixed)
    assert [(call.request_id, [r.attempt for r in call.records]) for call in calls] == [(SECOND, [0, 1]), (FIRST, [0])]


def row(record: TraceRecord, number: int) -> list[str]:
    return re.split(r" {2,}", render_calls([record]).splitlines()[number].strip())


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"verdict": "retry", "outcome": "error", "failure_type": "TIMEOUT"}, "unfinished"),
        ({"verdict": "next", "outcome": "skipped", "failure_type": "UNAVAILABLE"}, "unfinished"),
        ({"verdict": "raise", "outcome": "error", "failure_type": "AUTH", "status_code": 401}, "AUTH 401"),
        ({"verdict": "raise", "outcome": "cancelled", "failure_type": "CANCELLED"}, "CANCELLED"),
        ({"verdict": "raise", "outcome": "error"}, "error"),
        ({"verdict": "wait", "outcome": "partial"}, "partial"),
    ],
)
def test_a_call_ends_as_its_last_record_says(fields: dict[str, Any], outcome: str) -> None:
    """A call whose last record announces another attempt is unfinished. Unknown outcomes are shown as they are."""
    assert row(make(**fields), 2)[2] == outcome


def test_a_call_that_ended_outside_an_attempt_has_a_dash_for_its_number() -> None:
    """A record without an attempt holds the time of the whole call, which is not added to that of the attempts."""
    outside = make(attempt=None, provider=None, model=None, outcome="error", failure_type="TIMEOUT", verdict="raise",
                   started_at="2027-01-15T08:16:50Z", elapsed_ms=10_000)  # fmt: skip
    assert row(outside, 3) == ["-", "-", "TIMEOUT", "10.0 s"]
    both = render_calls([make(outcome="error", failure_type="AUTH", verdict="next"), outside])
    assert "TIMEOUT   10.0 s" in both.splitlines()[2]


def test_unreadable_times_are_shown_as_unknown() -> None:
    """A record with an unreadable time is shown; the total is the sum of the times that are known."""
    records = [make(started_at="soon", elapsed_ms=100, verdict="next", wait_ms=50), make(attempt=1, started_at="later")]
    assert render_calls(records).splitlines()[1].split()[:4] == ["?", "planner", "ok", "962"]


def test_what_a_vendor_says_never_reaches_the_terminal_raw() -> None:
    """Escape sequences, newlines and direction marks in names and errors are shown, not obeyed."""
    nasty = "\x1b]0;pwned\x07\x1b[2J\r\n\u202eabc\x9b31m\ud800"
    record = make(nasty, role=nasty, provider=nasty, model=nasty, error=nasty, failure_type=nasty, verdict=nasty,
                  outcome=nasty)  # fmt: skip
    text = render_calls([record, make()])
    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert "\\x1b]0;pwned\\x07" in text
    assert len(text.splitlines()) == 7
    text.encode()


def test_colours_only_when_asked() -> None:
    """With colours the text is the same, with a reset after each colour; without, there is no escape sequence."""
    plain, coloured = render_calls(CHAIN), render_calls(CHAIN, color=True)
    assert "\x1b" not in plain
    assert "\x1b[32mok\x1b[0m" in coloured
    assert "\x1b[31mRATE_LIMIT 429\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    assert re.fullmatch(r"(?:[^\x1b]|\x1b\[[1-9]\d*m[^\x1b]+\x1b\[0m)*", coloured)


def columns(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
    return len(line) + wide - sum(bool(unicodedata.combining(c)) for c in line)


texts = st.text("ab/ é你😀\u0301\x1b\n-", max_size=200)


@given(
    records=st.lists(
        st.builds(make, texts, st.none() | st.integers(0, 99), role=texts, provider=st.none() | texts,
                  model=texts, error=texts, failure_type=st.sampled_from(FailureType), verdict=st.just("retry"),
                  status_code=st.none() | st.integers(100, 599), elapsed_ms=st.floats(0, 9e6),
                  wait_ms=st.floats(0, 9e5), outcome=st.just("error")),
        min_size=1, max_size=4),
    width=st.integers(24, 200),
)  # fmt: skip
def test_no_line_is_wider_than_the_terminal(records: list[TraceRecord], width: int) -> None:
    """No line is too wide, even with wide characters in names; a cut text ends in an ellipsis."""
    lines = render_calls(records, width).splitlines()
    assert max(columns(line) for line in lines) <= width
    assert render_calls(records, 10) == render_calls(records, 24)


def test_a_narrow_terminal_gets_names_with_what_there_is_to_tell_underneath() -> None:
    """At 40 columns nothing of a call is lost: outcomes, times, waits, tokens and the id are all there."""
    assert (
        render_calls(CHAIN[:2] + CHAIN[3:], 40)
        == """\
2027-01-15 UTC
08:16:40 planner
   unfinished  1.0 s  1000 deadbe01
 1 openai/gpt-5
   RATE_LIMIT 429  210 ms
   retry in 512 ms
   slow down, please
 2 openai/gpt-5
   PROVIDER_ERROR  3 ms  next
   connection refused
2027-01-16 UTC
00:00:00 planner
   ok  812 ms  120k deadbe02
 1 openai/gpt-5
   ok  812 ms"""
    )
    coloured = render_calls(CHAIN, 40, color=True)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == render_calls(CHAIN, 40)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("length", "ok (length)"), ("tool_calls", "ok (tool_calls)"), ("recitation", "ok (recitation)"),
     ("stop", "ok"), (None, "ok"), ("", "ok"), ("\x1b[2J", r"ok (\x1b[2J)")],
)  # fmt: skip
def test_an_answer_that_did_not_simply_end_says_why(reason: str | None, shown: str) -> None:
    """A cut answer is not taken for a whole one, in the row of the call and in that of its attempt."""
    assert [row(make(finish_reason=reason), number)[2] for number in (2, 3)] == [shown, shown]
    assert shown in render_calls([make(finish_reason=reason)], 40)


def test_long_names_give_way_with_an_ellipsis() -> None:
    """A long name is cut at 80 columns, but not on a wide terminal; times and outcomes are never cut."""
    record = make(model="deepseek/deepseek-chat-v3.1-instruct:free", outcome="error", verdict="raise",
                  failure_type="CONTRACT_VIOLATION", status_code=200, elapsed_ms=123_456)  # fmt: skip
    narrow, wide = render_calls([record]), render_calls([record], 200)
    assert "openai/deepseek/de…  CONTRACT_VIOLATION 200    123 s" in narrow
    assert "openai/deepseek/deepseek-chat-v3.1-instruct:free  CONTRACT_VIOLATION 200    123 s" in wide
    assert max(map(len, wide.splitlines())) < 120


@pytest.mark.parametrize("number", [10**400, 10**5000, -(10**400), float("inf"), float("nan"), -1.0], ids=range(6))
@pytest.mark.parametrize("started", ["2027-01-15T08:00:00Z", "no time", "9999-12-31T23:59:59Z"])
def test_numbers_that_cannot_be_true_are_shown_as_none(number: Any, started: str) -> None:
    """A store of somebody else's may give them: each in every place of a record, alone and together."""
    usage = LLMUsage(total_tokens=number)
    odd: dict[str, Any] = {"elapsed_ms": number, "wait_ms": number, "status_code": number, "usage": usage,
                           "attempt": number, "verdict": "retry", "outcome": "error"}  # fmt: skip
    for fields in ({"started_at": started, **odd}, *({"started_at": started, name: odd[name]} for name in odd)):
        records = [replace(make("a", 0), **fields), replace(make("a", 1), **fields), make("b")]
        for width in (30, 80):
            assert len(render_calls(records, width).splitlines()) >= 5
