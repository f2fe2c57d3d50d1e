"""Figures as people read them: few digits, a unit, and what is not known is not 0."""

from __future__ import annotations

import pytest

from lee_llm_router.cli.trace.figures import count, duration, money


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(None, "-"), (0, "0 ms"), (0.4, "0 ms"), (999.4, "999 ms"), (999.6, "1.0 s"), (13_740, "13.7 s"),
     (123_456, "123 s"), (999_600, "16.7 min"), (5_994_000, "99.9 min"),
     (6_000_000, "1.7 h"), (90_000_000, "25.0 h"), (9e8, "10.4 d"),
     (1e12, "11574 d"), (-1, "0 ms"), (float("nan"), "0 ms"), (10**400, "0 ms")],
)  # fmt: skip
def test_lengths_of_time_have_a_unit_that_suits_them(milliseconds: float | None, shown: str) -> None:
    assert duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(None, "-"), (0, "$0"), (0.0123, "$0.0123"), (0.00012, "$0.000120"), (1.5, "$1.50"), (99.99, "$99.99"),
     (123.4, "$123"), (3e-10, "<$0.000000001"), (1e-9, "$0.00000000100"), (-1, "$0"), (float("inf"), "$0"),
     (0.9996, "$1.00"), (0.5, "$0.5000")],
)  # fmt: skip
def test_money_keeps_three_digits_however_little_it_is(dollars: float | None, shown: str) -> None:
    """A cost that is not whole has a plus behind it."""
    assert money(dollars) == shown
    if dollars is not None:
        assert money(dollars, is_whole=False) == f"{shown}+"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "-"), (0, "0"), (99_999, "99999"), (120_000, "120k"), (999_499, "999k"), (999_500, "1.0M"),
     (3_400_000, "3.4M"), (10**12, "1000000M"), (-5, "0"), (10**400, "0")],
)  # fmt: skip
def test_tokens_are_counted_in_thousands_where_they_are_many(number: int | None, shown: str) -> None:
    assert count(number) == shown
