"""Words for times and lengths of time, and what a filter takes a value for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.records import make
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.query import CallFilter, moment_of, seconds_of

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
MIDNIGHT = NOW - 8 * 3600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("800ms", 0.8), ("1.5s", 1.5), ("30s", 30), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("3d", 259_200),
     ("2w", 1_209_600), (" 2H ", 7200), ("1h 30m", 5400), (".5s", 0.5), ("0s", 0),
     ("", None), ("2", None), ("h", None), ("2x", None), ("-2h", None), ("1e3s", None), ("2h ago", None),
     ("9" * 400 + "s", None), ("101w" * 60, None), ("２h", 7200), ("1.s", None)],
)  # fmt: skip
def test_lengths_of_time_are_understood_as_people_write_them(text: str, seconds: float | None) -> None:
    """With a unit; several may follow one another."""
    assert seconds_of(text) == seconds


def test_a_bare_number_is_seconds_where_that_is_plain() -> None:
    assert [seconds_of(text, bare=True) for text in ("2", "0.8", "2h", "x")] == [2, 0.8, 7200, None]


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2h", NOW - 7200), ("now", NOW), ("today", MIDNIGHT), ("Yesterday", MIDNIGHT - 86_400),
     ("2027-01-15", MIDNIGHT), ("2027-01-15T07:00", NOW - 3600), ("2027-01-15 07:00:30", NOW - 3570),
     ("2027-01-15T07:00:00Z", NOW - 3600), ("2027-01-15T10:00+02:00", NOW), ("07:00", NOW - 3600),
     ("07:00:30", NOW - 3570), ("20270115", MIDNIGHT), ("2027-W02-5", MIDNIGHT),
     ("2027-13-01", None), ("25:00", None), ("soon", None), ("", None), ("0001-01-01", -62_135_596_800.0),
     ("9999-12-31T23:59:59-23:59", 253_402_387_139.0), ("1" * 5000, None)],
)  # fmt: skip
def test_moments_are_dates_times_and_lengths_of_time_before_now(text: str, moment: float | None) -> None:
    """In UTC, unless an offset is named."""
    assert moment_of(text, NOW) == moment


@given(st.text(max_size=30) | st.text("0123456789-:T+Zhmsd. ", max_size=30))
def test_no_words_break_it(text: str) -> None:
    assert isinstance(seconds_of(text), float | int | None)
    assert isinstance(moment_of(text, NOW), float | None)


def call(**fields: Any) -> TracedCall:
    return TracedCall((make(**{"request_id": "x", "role": "planner", "provider": "a", "model": "m-1", **fields}),))


@pytest.mark.parametrize(
    ("conditions", "fields", "passes"),
    [
        ({"model": "m-*"}, {}, True),
        ({"model": "*"}, {"model": None, "served_model": None}, False),
        ({"model": "m?1"}, {}, False),
        ({"model": "[m]-*"}, {}, False),
        ({"model": "[m]-*"}, {"model": "[m]-1"}, True),
        ({"role": "PLANNER"}, {}, False),
        ({"metadata": {"user.id": "7"}}, {"metadata": {"user": {"id": 7}}}, True),
        ({"metadata": {"user.id": "7"}}, {"metadata": {"user.id": "7", "user": 1}}, True),
        ({"metadata": {"ok": "true"}}, {"metadata": {"ok": True}}, True),
        ({"metadata": {"x": "null"}}, {"metadata": {"x": None}}, False),
        ({"metadata": {"x": "a*"}}, {"metadata": {"x": "abc"}}, True),
        ({"grep": 'say "hi"'}, {"error": 'they say "HI"'}, True),
        ({"grep": "two\nlines"}, {"text": "two\nlines"}, True),
        ({"grep": "straße"}, {"error": "STRASSE"}, True),
        ({"grep": "provider"}, {}, False),
        ({"grep": "tenant"}, {"metadata": {"tenant": 1}}, True),
        ({"grep": "12345"}, {"usage": LLMUsage(total_tokens=12345)}, True),
        ({"grep": "cat.png"}, {"messages": ({"content": [{"image_url": {"url": "x/cat.png"}}]},)}, True),
        ({"slower_than": 0.5}, {"elapsed_ms": 500.0}, True),
        ({"slower_than": 0.5}, {"elapsed_ms": 499.0}, False),
        ({"since": 0.0}, {"started_at": "soon"}, False),
    ],
)
def test_values_are_compared_as_their_reader_means_them(
    conditions: dict[str, Any], fields: dict[str, Any], passes: bool
) -> None:
    """Stars stand for any text, metadata is compared as text, and names of fields hold nothing that is looked for."""
    assert CallFilter(**conditions).matches(call(**fields)) is passes
