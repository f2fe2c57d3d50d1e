"""The listing of calls: a row for each, its attempts below where asked for, escaped, and readable at any width."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.screens import listing
from helpers.trace_set import trace_set
from lee_llm_router.cli.trace.table import COLUMNS, KNOWN_FIELDS
from lee_llm_router.errors import FailureType
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord

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
         elapsed_ms=12_220, usage=LLMUsage(prompt_tokens=200, completion_tokens=34, total_tokens=234), cost_usd=0.0123,
         first_token_ms=700, stream=True, metadata={"tenant": "acme"}),
    make(SECOND, started_at="2027-01-16T00:00:00.000000Z", usage=LLMUsage(total_tokens=120_000)),
]  # fmt: skip


def test_a_call_is_one_row() -> None:
    """When, role, outcome, who answered of how many, total time, first token, tokens, cost, id; what failed on the way.

    A cost with a plus is not whole: an attempt that used tokens has none.
    """
    assert listing(CHAIN, 120).splitlines() == [
        "time      role     outcome  target             tried   total  first  tokens      cost  id        error",
        "2027-01-15 UTC",
        "08:16:40  planner  ok       codex/gpt-5-codex      2  13.7 s  2.2 s  200/34  $0.0123+  deadbe01  "
        "connection refused",
        "2027-01-16 UTC",
        "00:00:00  planner  ok       openai/gpt-5           1  812 ms      -    120k         -  deadbe02",
    ]


def test_attempts_stand_below_their_call_where_they_are_asked_for() -> None:
    """With their error, and what followed each."""
    assert (
        "\n".join(listing(CHAIN, 120, attempts=True).splitlines()[2:8])
        == """\
08:16:40  planner  ok       codex/gpt-5-codex      2  13.7 s  2.2 s  200/34  $0.0123+  deadbe01  connection refused
  1  openai/gpt-5       RATE_LIMIT 429  210 ms  retry in 512 ms
     slow down, please
  2  openai/gpt-5       PROVIDER_ERROR    3 ms  next
     connection refused
  3  codex/gpt-5-codex  ok              12.2 s"""
    )


def test_a_pipe_gets_every_column_whole_and_two_spaces_between_cells() -> None:
    """Whatever the width: full times and ids, so that lines can be searched, cut and sorted."""
    lines = listing(CHAIN, 24, plain=True).splitlines()
    assert [re.split(" {2,}", line) for line in lines] == [
        list(COLUMNS),
        ["2027-01-15T08:16:40Z", "planner", "ok", "codex/gpt-5-codex", "2", "13.7 s", "2.2 s", "200/34", "$0.0123+",
         FIRST, "-", "connection refused"],
        ["2027-01-16T00:00:00Z", "planner", "ok", "openai/gpt-5", "1", "812 ms", "-", "120k", "-", SECOND, "-", "-"],
    ]  # fmt: skip
    attempt = listing(CHAIN, 24, plain=True, attempts=True).splitlines()[2]
    assert re.split(" {2,}", attempt.strip()) == ["1", "openai/gpt-5", "RATE_LIMIT 429", "210 ms", "retry in 512 ms",
                                                  "slow down, please"]  # fmt: skip


def test_chosen_columns_stand_in_the_order_asked_for() -> None:
    """Columns of the listing, fields of the last record, and what lies inside them."""
    names = ["id", "usage.total_tokens", "served_model", "role"]
    records = [make(served_model="gpt-5-2027", usage=LLMUsage(total_tokens=7))]
    for plain, name in ((False, "deadbe01"), (True, FIRST)):
        head, row = listing(records, names=names, plain=plain).splitlines()
        assert (head.split(), row.split()) == (names, [name, "7", "gpt-5-2027", "planner"])


@pytest.mark.parametrize("name", KNOWN_FIELDS)
def test_every_field_can_be_a_column(name: str) -> None:
    for plain in (False, True):
        assert listing(CHAIN, 80, names=[name], plain=plain).splitlines()[0].strip() == name


def test_columns_that_have_no_room_give_way_in_order() -> None:
    """At 80 columns a call is known by its times, names, cost, tokens and id; then the tokens go, then the cost."""
    at = {width: listing(list(trace_set(9)), width).splitlines()[0].split() for width in (70, 74, 80, 130, 200)}
    assert at[200] == [*COLUMNS]
    assert set(at[200]) - set(at[130]) == {"error"}
    assert at[80] == ["time", "role", "outcome", "target", "total", "tokens", "cost", "id"]
    assert at[74] == ["time", "role", "outcome", "target", "total", "cost", "id"]
    assert at[70] == ["time", "role", "outcome", "target", "total", "id"]


def test_columns_that_would_tell_nothing_are_left_out_at_a_terminal() -> None:
    """No cost, no tokens, nothing streamed, one target each."""
    assert listing([make()], 200).split("\n")[0].split() == ["time", "role", "outcome", "target", "total", "id"]


def test_no_calls_are_a_heading_for_a_pipe_and_nothing_breaks() -> None:
    assert listing([], plain=True).split() == list(COLUMNS)
    assert listing([], 40) == ""


def row(record: TraceRecord, number: int) -> list[str]:
    return re.split(r" {2,}", listing([record], attempts=True).splitlines()[number].strip())


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
    both = listing([make(outcome="error", failure_type="AUTH", verdict="next"), outside])
    assert "TIMEOUT  openai/gpt-5  10.0 s" in both.splitlines()[2]


def test_unreadable_times_are_shown_as_unknown() -> None:
    """A record with an unreadable time is shown; the total is the sum of the times that are known."""
    records = [make(started_at="soon", elapsed_ms=100, verdict="next", wait_ms=50), make(attempt=1, started_at="later")]
    assert listing(records).splitlines()[1].split()[:5] == ["?", "planner", "ok", "openai/gpt-5", "962"]


NASTY = "\x1b]0;pwned\x07\x1b[2J\r\n\u202eabc\x9b31m\ud800<script>"


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("width", [24, 80, 300])
def test_what_a_vendor_says_never_reaches_the_terminal_raw(width: int, plain: bool) -> None:
    """Escape sequences, newlines and direction marks in names and errors are shown, not obeyed."""
    record = make(NASTY, role=NASTY, provider=NASTY, model=NASTY, error=NASTY, failure_type=NASTY, verdict=NASTY,
                  outcome=NASTY, metadata={NASTY: NASTY, "x": [NASTY]}, served_model=NASTY)  # fmt: skip
    for names in (None, ["served_model", "metadata", "error", "usage"]):
        text = listing([record, make()], width, plain=plain, attempts=True, names=names)
        assert all(c.isprintable() for c in text.replace("\n", ""))
        assert "\\x1b]0;pwned" in text
        text.encode()


def test_colours_only_when_asked() -> None:
    """With colours the text is the same, with a reset after each colour; without, there is no escape sequence."""
    plain, coloured = (listing(CHAIN, 120, attempts=True, color=color) for color in (False, True))
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
                  model=texts, error=texts, failure_type=st.sampled_from(FailureType),
                  verdict=st.sampled_from(["retry", "a word of a newer version", "next"]),
                  status_code=st.none() | st.integers(100, 599), elapsed_ms=st.floats(0, 9e11),
                  wait_ms=st.floats(0, 9e5), outcome=st.sampled_from(["error", "ok"]), finish_reason=texts,
                  cost_usd=st.none() | st.floats(0, 1e12), first_token_ms=st.none() | st.floats(0, 1e12),
                  usage=st.none() | st.builds(LLMUsage, prompt_tokens=st.integers(0, 10**12),
                                              completion_tokens=st.integers(0, 10**12)),
                  metadata=st.dictionaries(texts, texts, max_size=3)),
        min_size=1, max_size=4),
    width=st.integers(24, 200),
    names=st.none() | st.lists(st.sampled_from(KNOWN_FIELDS), min_size=1, max_size=5, unique=True),
)  # fmt: skip
def test_no_line_is_wider_than_the_terminal(records: list[TraceRecord], width: int, names: list[str] | None) -> None:
    """No line is too wide, even with wide characters in names; a cut text ends in an ellipsis."""
    lines = listing(records, width, attempts=True, names=names).splitlines()
    assert max(map(columns, lines)) <= width


def test_a_narrow_terminal_gets_names_with_what_there_is_to_tell_underneath() -> None:
    """At 40 columns nothing of a call is lost: outcomes, times, waits, tokens and the id are all there."""
    assert (
        listing(CHAIN[:2] + CHAIN[3:], 40, attempts=True)
        == """\
2027-01-15 UTC
08:16:40 planner
   unfinished  openai/gpt-5  1.0 s  1000
   deadbe01  connection refused
 1 openai/gpt-5
   RATE_LIMIT 429  210 ms
   retry in 512 ms  slow down, please
 2 openai/gpt-5
   PROVIDER_ERROR  3 ms  next
   connection refused
2027-01-16 UTC
00:00:00 planner
   ok  openai/gpt-5  812 ms  120k
   deadbe02
 1 openai/gpt-5
   ok  812 ms"""
    )
    coloured = listing(CHAIN, 40, color=True, attempts=True)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == listing(CHAIN, 40, attempts=True)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("length", "ok (length)"), ("tool_calls", "ok (tool_calls)"), ("recitation", "ok (recitation)"),
     ("stop", "ok"), (None, "ok"), ("", "ok"), ("\x1b[2J", r"ok (\x1b[2J)")],
)  # fmt: skip
def test_an_answer_that_did_not_simply_end_says_why(reason: str | None, shown: str) -> None:
    """A cut answer is not taken for a whole one, in the row of the call and in that of its attempt."""
    assert [row(make(finish_reason=reason), number)[2] for number in (2, 3)] == [shown, shown]
    assert shown in listing([make(finish_reason=reason)], 40)


def test_long_names_give_way_with_an_ellipsis() -> None:
    """A long name is cut at 80 columns, but not on a wide terminal; times and the outcome are not."""
    record = make(model="deepseek/deepseek-chat-v3.1-instruct:free", outcome="error", verdict="raise",
                  failure_type="CONTRACT_VIOLATION", status_code=200, elapsed_ms=123_456)  # fmt: skip
    narrow, wide = listing([record], 80), listing([record], 200)
    assert "planner  CONTRACT_VIOLATION 200  openai/deepseek/dee…  123 s  deadbe01" in narrow
    assert "CONTRACT_VIOLATION 200  openai/deepseek/deepseek-chat-v3.1-instruct:free  123 s" in wide


@pytest.mark.parametrize("number", [10**400, 10**5000, -(10**400), float("inf"), float("nan"), -1.0], ids=range(6))
@pytest.mark.parametrize("started", ["2027-01-15T08:00:00Z", "no time", "9999-12-31T23:59:59Z"])
def test_numbers_that_cannot_be_true_are_shown_as_none(number: Any, started: str) -> None:
    """A store of somebody else's may give them: each in every place of a record, alone and together."""
    usage = LLMUsage(total_tokens=number, prompt_tokens=number, completion_tokens=number)
    odd: dict[str, Any] = {"elapsed_ms": number, "wait_ms": number, "status_code": number, "usage": usage,
                           "attempt": number, "verdict": "retry", "outcome": "error", "cost_usd": number,
                           "first_token_ms": number, "offset_ms": number}  # fmt: skip
    for fields in ({"started_at": started, **odd}, *({"started_at": started, name: odd[name]} for name in odd)):
        records = [replace(make("a", 0), **fields), replace(make("a", 1), **fields), make("b")]
        for width in (30, 80):
            assert len(listing(records, width, attempts=True).splitlines()) >= 5
        assert listing(records, plain=True, names=list(KNOWN_FIELDS))


def test_a_text_of_a_million_characters_costs_a_glance() -> None:
    """It is cut before anything else is done with it."""
    record = make(error="x" * 1_000_000, role="y" * 1_000_000, metadata={"z" * 1_000_000: "w" * 1_000_000})
    assert max(map(len, listing([record], 200, attempts=True).splitlines())) <= 200
    assert len(listing([record], plain=True)) < 20_000
