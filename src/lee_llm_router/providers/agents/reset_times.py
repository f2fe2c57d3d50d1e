"""When a plan's limit resets, in the words of an agent. Pure, and the same for every agent.

A limit resets after a while ("resets in 2h 5m"), at a number of seconds since 1970 ("limit reached|1760000000"), or at
a time in words: "resets 3pm", "resets Nov 29, 1:21pm (UTC)", "try again at Mar 3rd, 2027 3:45 PM". A time without a
zone is this machine's; one without a day is the next such time. Agents never state seconds, so a minute is added.
"""

from __future__ import annotations

import re
from calendar import isleap
from contextlib import suppress
from datetime import date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from lee_llm_router._util.numbers import wait_seconds
from lee_llm_router.providers.http.dialects.waits import wait_in_words

_READ = 4096
"""Characters to search."""
_SECONDS_SINCE_1970 = re.compile(r"\|\s?([0-9]{10})(?:[0-9]{3})?(?![0-9])")
_MOMENT = re.compile(
    r"\b(?:resets?|renews?|again|available|until|after|back)\b[\s:·∙-]{1,4}(?:(?:at|on|by)\s)?"
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s)?"
    r"(?:(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?\s(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
    r"(?:,?\s(?P<year>2[0-9]{3}))?(?:,|\sat)?\s?)?"
    r"(?:(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))?(?![0-9])\s?(?P<half>[ap]\.?m\b)?)?"
    r"(?:\s?\((?P<zone>[A-Za-z][\w/+-]{1,40})\)|\s(?P<utc>utc|gmt)\b)?",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PAST = -120.0
"""Seconds: a time of day more recent than this means now, since messages arrive with a delay."""
_SPARE = 60.0


def wait_until_reset(text: str, now: float) -> float | None:
    """Return the seconds until the limit in `text` resets, at most a week; None if it does not say.

    Args:
        text: The agent's words.
        now: Seconds since 1970 UTC.
    """
    text = text[:_READ]
    seconds = _SECONDS_SINCE_1970.search(text)
    if seconds is not None:
        return wait_seconds(max(0.0, int(seconds[1]) - now))
    in_words = wait_in_words(text, now)
    if in_words is not None:
        return in_words
    for found in _MOMENT.finditer(text):
        with suppress(ValueError, OverflowError, OSError):
            wait = _wait_until(found, now)
            if wait is not None:
                return wait_seconds(wait)
    return None


def _wait_until(found: re.Match[str], now: float) -> float | None:
    is_time = found["hour"] is not None and (found["half"] or found["minute"]) is not None
    if not is_time and found["month"] is None:
        return None
    clock = _clock(found) if is_time else time()
    zone = _zone(found["zone"] or found["utc"])
    today = datetime.fromtimestamp(now, zone).date()
    if found["month"] is not None:
        month, day = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
        years = [int(found["year"])] if found["year"] else [today.year - 1, today.year, today.year + 1]
        waits = [_moment(date(year, month, day), clock, zone) - now for year in years if _exists(year, month, day)]
        return max(0.0, min(waits, key=abs)) + _SPARE
    # Yesterday as well: the message may be from just before midnight, or from the minute before.
    days = (today + timedelta(days=number) for number in (-1, 0, 1))
    waits = [_moment(day, clock, zone) - now for day in days]
    return max(0.0, next(wait for wait in waits if wait > _PAST)) + _SPARE


def _exists(year: int, month: int, day: int) -> bool:
    return (month, day) != (2, 29) or isleap(year)


def _clock(found: re.Match[str]) -> time:
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    return time(hour, minute)


def _moment(day: date, clock: time, zone: tzinfo | None) -> float:
    moment = datetime.combine(day, clock, zone)
    return (moment if zone is not None else moment.astimezone()).timestamp()


def _zone(name: str | None) -> tzinfo | None:
    """Return the zone of this name; None, which means this machine's, if the name is unknown."""
    if name is None:
        return None
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name.upper() if name.upper() in ("UTC", "GMT") else name)
    return None
