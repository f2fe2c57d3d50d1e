"""When a plan's limit is reset, in the words of agents: no wait is lost, and no other number is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lee_llm_router.providers.agents.reset_times import wait_until_reset

NOW = datetime(2026, 11, 26, 10, 20, 30, tzinfo=UTC)
WEEK = 7 * 86_400.0
MINUTE = 60.0
"""What is added for the seconds that are not told."""


def until(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> float:
    """Return the seconds until a moment in UTC."""
    return (datetime(2026, month, day, hour, minute, tzinfo=UTC) - NOW).total_seconds() + MINUTE


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("You've hit your session limit · resets 1:21pm (UTC)", until(26, 13, 21)),
        ("You've hit your session limit · resets 3pm (UTC)", until(26, 15)),
        ("You've hit your weekly limit · resets Nov 29, 1:21pm (UTC)", until(29, 13, 21)),
        ("You've hit your Opus limit · resets Dec 1, 3pm (Europe/Oslo)", until(1, 14, month=12)),
        ("5-hour limit reached ∙ resets 3pm (America/New_York)", until(26, 20)),
        ("5-hour limit reached ∙ resets 9am (Asia/Tokyo)", until(27)),
        ("Limit reached · resets at 15:30 UTC", until(26, 15, 30)),
        ("limit reached. Resets Thursday, Nov 26 at 11:00 AM (GMT).", until(26, 11)),
        ("try again at Nov 27th, 2026 3:45 PM (UTC)", until(27, 15, 45)),
        ("Your limit resets on Nov 30 (UTC)", until(30)),
        ("limit renews 12am (UTC)", until(27)),
        ("limit renews 12pm (UTC)", until(26, 12)),
        ("available again 10:20 am (UTC)", MINUTE),
        ("resets 10:19am (UTC)", MINUTE),
        ("resets 10:17am (UTC)", until(27, 10, 17)),
        ("resets Nov 20, 3pm (UTC)", MINUTE),
        ("resets Jan 3, 3pm (UTC)", WEEK),
        ("Claude AI usage limit reached|1795699284", 1795699284 - NOW.timestamp()),
        ("Claude AI usage limit reached|1795699284000", 1795699284 - NOW.timestamp()),
        ("usage limit reached|1700000000", 0.0),
        ("resets in 2h 5m", 7500.0),
        ("Your quota will reset after 7h12m30s.", 25_950.0),
        ("try again at 2026-11-26T11:20:30Z", 3600.0),
    ],
)
def test_a_reset_in_words_is_a_wait(text: str, wait: float) -> None:
    """A time without seconds gets a minute more, one that has just passed is now, and nothing is above a week."""
    assert wait_until_reset(text, NOW.timestamp()) == pytest.approx(wait)


@pytest.mark.parametrize(
    "text",
    [
        "", "limit reached", "resets soon", "resets 3", "resets tomorrow", "resets 25pm (UTC)", "resets 0am",
        "resets 13:75", "resets Nov 31, 3pm (UTC)", "resets Feb 29, 3pm (UTC)",
        "the limit is 3pm", "limit reached|12", "|1795699284123456",
        "resets \u0663pm", "until", "again " * 2000,
    ],
)  # fmt: skip
def test_what_names_no_moment_is_no_wait(text: str) -> None:
    assert wait_until_reset(text, NOW.timestamp()) is None


@pytest.mark.parametrize("zone", ["", " (Nowhere/Land)", " (PST)", " (../../etc/passwd)"])
def test_a_time_without_a_known_zone_is_this_machines(zone: str) -> None:
    moment = (NOW + timedelta(hours=2)).astimezone()
    found = wait_until_reset(f"resets {moment:%I:%M%p}{zone}", NOW.timestamp())
    assert found == pytest.approx(7200 - 30 + MINUTE)


def test_of_a_long_text_only_the_beginning_is_read() -> None:
    """A server may send one of many megabytes."""
    assert wait_until_reset("resets Nov " * 200_000, NOW.timestamp()) is None
