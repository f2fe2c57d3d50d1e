"""How long a server asks to wait: in headers, in fields of its error, in words. Pure, and the same for every vendor.

Every wait is between 0 and a week (`_util/numbers.py`); a time in the past means now. Times are compared with the
response's own `Date` if it has one, so that a wrong clock on this machine does no harm. Numbers follow the protocols,
not Python: ``1e3``, ``+5`` and ``1_0`` are not numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from lee_llm_router._util.numbers import wait_seconds

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_PART = re.compile(
    r"(?P<amount>(?<![0-9])[0-9]{1,12}(?:\.[0-9]{1,12})?|\ban?\b|\bone\b)\s{0,3}"
    r"(?P<unit>ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?"
    r"|毫秒|秒钟?|分钟?|小时|天)(?![a-z])"
)
_BETWEEN = re.compile(r"\s*(?:,\s*)?(?:and\s+|&\s*)?")
_UNITS = {
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
    "秒": 1.0,
    "分": 60.0,
    "小": 3600.0,
    "天": 86_400.0,
}
_MILLISECONDS = ("ms", "msec", "msecs", "millisecond", "milliseconds", "毫秒")
_LEAD = re.compile(
    r"(?:\b(?:again|retry|wait|back|available|resets?|resumes?|renews?|refresh(?:es)?|reopens?)\b|等待)[^0-9.]{0,40}$"
)
"""Words before a wait in a sentence; a duration alone may mean anything ("60 requests per 30 seconds")."""
_LEAD_LENGTH = 60
_AFTER = ("后", "之后")
"""Words after a wait instead."""
_UNTIL = re.compile(
    r"\b(?:again|retry|wait|resets?|available|resumes?|renews?|until|after)\b[^0-9]{0,40}?"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
    r"\s?(?:z|utc|gmt|[+-][0-9]{2}:?[0-9]{2}))"
)
_EARLIEST_MOMENT = 1e9
"""Numbers from here on are seconds since 1970, not seconds to wait."""
_EARLIEST_IN_MS = 1e11
_MAX_DURATIONS = 200
_LONGEST_MOMENT = 200
"""Characters."""
_READ = 20_000
"""Characters to search."""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the server's header asks to wait; None if it has none, or nonsense.

    ``retry-after-ms`` (milliseconds) takes precedence over ``Retry-After`` (seconds, or a date: RFC 9110, 10.2.3; some
    send a duration, ``30s``). Of several values the longest counts.

    Args:
        headers: By lower-case name; repeated ones joined by commas.
        now: Seconds since 1970.
    """
    milliseconds = _longest(number_in(value) for value in headers.get("retry-after-ms", "").split(","))
    if milliseconds is not None:
        return wait_seconds(milliseconds / 1000)
    now = server_time(headers, now)
    return wait_seconds(
        _longest(seconds_in(value, now, since_1970=False) for value in values_in(headers.get("retry-after", "")))
    )


def spent_bucket_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until the last of the exhausted limits in `headers` is refilled; None if none is exhausted.

    ``x-ratelimit-remaining-tokens: 0`` and ``x-ratelimit-reset-tokens: 1m30.5s`` belong together, whatever surrounds
    `remaining` and `reset`; ``RateLimit: ...;r=0;t=30`` says both.
    """
    now, waits = server_time(headers, now), []
    for name, value in headers.items():
        if "ratelimit" not in name.replace("-", ""):
            continue
        if "remaining" in name and number_in(value) == 0:
            waits += [seconds_in(one, now) for one in values_in(headers.get(name.replace("remaining", "reset"), ""))]
        elif name in ("ratelimit", "x-ratelimit"):
            for one in value.split(","):
                fields = dict(re.findall(r"\b(r|t|remaining|reset)\s*=\s*([0-9.]{1,20})", one if ";" in one else value))
                if number_in(fields.get("r", fields.get("remaining"))) == 0:
                    waits.append(number_in(fields.get("t", fields.get("reset"))))
    return wait_seconds(_longest(waits))


def wait_in_field(name: str, value: Any, now: float) -> float | None:
    """Return the seconds to wait in a field of an error; None if the field is not for that.

    Args:
        name: The words of the field's name: ``retry delay``, ``resets at``, ``retry after ms``.
        value: A number, a duration, a time, or protobuf's ``{"seconds": 5, "nanos": 0}``.
        now: Seconds since 1970.
    """
    words = set(name.split())
    is_wait = "retry" in words and words & {"after", "delay", "in", "at", "time"}
    if not is_wait and not (words & {"reset", "resets"} and words & {"after", "at", "in", "time", "seconds", "ms"}):
        return None
    if isinstance(value, Mapping):
        whole, nanos = (number_in(str(value.get(part, 0))) for part in ("seconds", "nanos"))
        return wait_seconds(None if whole is None else whole + (nanos or 0.0) / 1e9)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if words & {"ms", "millis", "milliseconds"}:
        milliseconds = number_in(str(value))
        if milliseconds is not None and milliseconds < _EARLIEST_IN_MS:
            return wait_seconds(milliseconds / 1000)
    return wait_seconds(seconds_in(value if isinstance(value, str) else _plain_number(value), now))


def wait_in_words(text: str, now: float) -> float | None:
    """Return the seconds to wait that a sentence names: "try again in 1 hour 5 minutes", "resets at 2030-01-01T00:00Z".

    A duration counts only after a word that makes it a wait. The longest of several waits counts.
    """
    text = text[:_READ].lower()
    found: list[float | None] = []
    for part in islice(_PART.finditer(text), _MAX_DURATIONS):
        start = part.start()
        if text[max(0, start - 2) : start] == " -":
            continue  # below zero
        if _LEAD.search(text[max(0, start - _LEAD_LENGTH) : start]) or text.startswith(_AFTER, part.end()):
            found.append(duration_at(text, start))
    for until in _UNTIL.finditer(text):
        moment = _timestamp(until[1])
        found.append(None if moment is None else max(0.0, moment - now))
    return wait_seconds(_longest(found))


def duration_at(text: str, start: int) -> float | None:
    """Return the seconds of the duration that begins at `start` in `text`: ``1m30.5s``, ``2 days, 7 hours and 4 m``."""
    total, parts, position = 0.0, 0, start
    while part := _PART.match(text, position):
        amount = float(part["amount"]) if part["amount"][0].isdigit() else 1.0
        unit = part["unit"]
        total += amount * (0.001 if unit in _MILLISECONDS else _UNITS[unit[0]])
        parts += 1
        between = _BETWEEN.match(text, part.end())
        position = part.end() if between is None else between.end()
    return total if parts else None


def seconds_in(value: str, now: float, *, since_1970: bool = True) -> float | None:
    """Return the seconds to wait that a value means: a number, a duration or a time.

    With `since_1970`, a number far too large for a wait is a time, in seconds or milliseconds.
    """
    value = value.strip()
    number = number_in(value)
    if number is not None:
        if number < _EARLIEST_MOMENT or not since_1970:
            return number
        moment: float | None = number / 1000 if number >= _EARLIEST_IN_MS else number
    else:
        duration = duration_at(value.lower(), 0)
        if duration is not None:
            return duration
        moment = _timestamp(value)
    return None if moment is None else max(0.0, moment - now)


def values_in(text: str) -> Iterator[str]:
    """Yield the values of a header that may have been sent several times. A date contains a comma."""
    parts = iter(text[:_READ].split(","))
    for value in parts:
        # The day of a date belongs to the next part.
        yield f"{value},{next(parts, '')}" if value.strip().isalpha() else value


def _longest(waits: Iterable[float | None]) -> float | None:
    return max((wait for wait in waits if wait is not None), default=None)


def number_in(text: str | None) -> float | None:
    """Return the number that `text` writes in digits; None if it is none."""
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) and len(text) < 300 else None


def _plain_number(value: float) -> str:
    return f"{value:f}" if isinstance(value, float) else str(min(value, 10**20))


def server_time(headers: Mapping[str, str], now: float) -> float:
    """Return the response's time by the server's clock, or else `now`; seconds since 1970."""
    sent_at = _timestamp(headers.get("date", ""))
    return now if sent_at is None else sent_at


def _timestamp(text: str) -> float | None:
    """Return the time that an HTTP date or an ISO date names; a date without a zone is UTC."""
    return _read_moment(text) if len(text) <= _LONGEST_MOMENT else None


@lru_cache(maxsize=256)  # many responses of one second name the same times
def _read_moment(text: str) -> float | None:
    text = text.strip()
    try:
        if text[:4].isdigit() and text[4:5] == "-":
            text = re.sub(r"\s?(?:utc|gmt|z)$", "+00:00", text, flags=re.IGNORECASE)
            # Python accepts at most six decimals of a second.
            moment = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))
        else:
            moment = parsedate_to_datetime(text)
        # The asctime form names no zone; it is UTC (RFC 9110, 5.6.7).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
