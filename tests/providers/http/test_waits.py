"""How long a vendor asks to wait: in headers, in fields of its error, in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import formatdate
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router._util.numbers import MAX_WAIT
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.errors import failure, failure_within
from lee_llm_router.providers.http.dialects.waits import retry_after, spent_bucket_wait, wait_in_field, wait_in_words

NOW = 1_800_000_000.0


def failed(status: int, body: Any = None, headers: dict[str, str] | None = None) -> LLMRouterError:
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return failure(HTTPReply(status, json.dumps(body).encode(), fields, now=NOW))


def iso(offset: float) -> str:
    return datetime.fromtimestamp(NOW + offset, UTC).isoformat()


def date(offset: float) -> str:
    return formatdate(NOW + offset, usegmt=True)


# Retry-After


@pytest.mark.parametrize(
    "value",
    [
        "2e3",
        "+7",
        "1_000",
        "0x10",
        "٣",
        "½",
        "--1",
        "1.2.3",
        "infinity",
        "NaN",
        "1e",
        "7 apples",
        " ",
        ",",
        "-0.5",
    ],
)
def test_a_number_of_another_grammar_is_none(value: str) -> None:
    """What Python takes for a number is not what HTTP does."""
    assert retry_after({"retry-after": value}, NOW) is None
    assert retry_after({"retry-after-ms": value, "retry-after": "4"}, NOW) == 4


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("2.5, 2.5", 2.5),
        ("3, 11", 11),
        ("11,3", 11),
        ("8, soon", 8),
        ("0, 0", 0),
        (f"{date(40)}, {date(40)}", 40),
        (f"{date(40)}, {date(60)}", 60),
        (f"5, {date(60)}", 60),
        ("45s", 45),
        ("2m30s", 150),
        ("1 minute", 60),
        (iso(25), 25),
        ("9" * 40, MAX_WAIT),
        ("9" * 400, None),
        ("2000000000", MAX_WAIT),
    ],
)
def test_of_several_waits_the_longest_counts(value: str, wait: float | None) -> None:
    """The same value twice is that value. A duration with units is taken, though it is not of the standard."""
    assert retry_after({"retry-after": value}, NOW) == (None if wait is None else pytest.approx(wait, abs=1))


# Limits that are used up

BUCKETS: list[tuple[dict[str, str], float | None]] = [
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m12.5s"}, 72.5),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "350ms"}, 0.35),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2h3m4s"}, 7384),
    ({"x-ratelimit-remaining-tokens": "20", "x-ratelimit-reset-tokens": "9s"}, None),
    ({"x-ratelimit-remaining-tokens": "0"}, None),
    ({"x-ratelimit-reset-tokens": "9s"}, None),
    (
        {
            "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s",
            "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s",
        },
        30,
    ),
    (
        {
            "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s",
            "x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "30s",
        },
        9,
    ),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "17"}, 17),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 50)}, 50),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW + 50) * 1000)}, 50),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 50)}, 0),
    ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "21"}, 21),
    ({"ratelimit-remaining": "0", "ratelimit-reset": "33"}, 33),
    ({"acme-ratelimit-input-tokens-remaining": "0", "acme-ratelimit-input-tokens-reset": iso(12)}, 12),
    ({"acme-ratelimit-requests-remaining": "0", "acme-ratelimit-requests-reset": iso(12).replace("+00:00", "Z")}, 12),
    ({"ratelimit": "limit=10, remaining=0, reset=41"}, 41),
    ({"ratelimit": '"burst";r=0;t=19, "day";r=50;t=999'}, 19),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1e3"}, None),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999"}, MAX_WAIT),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "wait"), BUCKETS)
def test_a_spent_limit_tells_when_it_is_filled_again(headers: dict[str, str], wait: float | None) -> None:
    """In each form of a moment and a duration; by a 429 alone, and only where no Retry-After is sent."""
    expected = None if wait is None else pytest.approx(wait, abs=1)
    assert spent_bucket_wait(headers, NOW) == expected
    assert failed(429, {"error": {"message": "slower"}}, headers).retry_after == expected
    assert failed(429, {"error": {"message": "slower"}}, {**headers, "Retry-After": "3"}).retry_after == 3
    for status in (400, 401, 402, 500, 503):
        assert failed(status, {"error": {"message": "no"}}, headers).retry_after is None


# Fields of the body

FIELDS: list[tuple[Any, float | None]] = [
    ({"details": [{"@type": "type.example.com/google.rpc.RetryInfo", "retryDelay": "31.25s"}]}, 31.25),
    ({"details": [{"@type": "x"}, {"retryDelay": {"seconds": "9", "nanos": 500_000_000}}]}, 9.5),
    ({"details": [{"retryDelay": "-5s"}]}, None),
    ({"details": [{"retryDelay": "0s"}]}, 0),
    ({"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW + 80) * 1000)}}}, 80),
    ({"metadata": {"headers": {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": str(int(NOW + 80) * 1000)}}}, None),
    ({"metadata": {"headers": {"Retry-After": "14"}}}, 14),
    ({"metadata": {"raw": json.dumps({"error": {"retry_after": 6}})}}, 6),
    ({"retry_after": 2.5}, 2.5),
    ({"retryAfterMs": 1500}, 1.5),
    ({"retry_after_seconds": 12}, 12),
    ({"resets_in_seconds": 500}, 500),
    ({"resets_at": int(NOW) + 77}, 77),
    ({"reset_at": iso(66)}, 66),
    ({"retry_after": "1 hour 1 minute"}, 3660),
    ({"retry_after": True}, None),
    ({"retry_after": None}, None),
    ({"retry_after": 1e300}, None),
    ({"retry_after": 10**300}, MAX_WAIT),
    ({"retry_after": float("nan")}, None),
    ({"retry_after": -3}, None),
    ({"retry_after": [5]}, None),
    ({"retries": 5, "retry_count": 7, "reset": 9}, None),
]


@pytest.mark.parametrize(("fields", "wait"), FIELDS)
def test_a_wait_in_a_field_of_the_error_is_heard(fields: dict[str, Any], wait: float | None) -> None:
    body = {"error": {"message": "slower", "code": 429, **fields}}
    expected = None if wait is None else pytest.approx(wait, abs=1e-6 if wait < 60 else 1)
    assert failed(429, [body]).retry_after == expected
    assert failed(429, body, {"Retry-After": "3"}).retry_after == 3
    if "headers" not in str(fields):
        assert failure_within(HTTPReply(200, b"", now=NOW), body["error"]).retry_after == expected


# Words

SAID: list[tuple[str, float | None]] = [
    ("Please try again in 1m12.5s.", 72.5),
    ("Please retry in 17.25s.", 17.25),
    ("try again in 3 days 11 hours 5 minutes", 3 * 86_400 + 11 * 3600 + 300),
    ("Try again in 2 hours, 4 minutes and 6 seconds", 7446),
    ("try again after 90 seconds", 90),
    ("retry after 250ms", 0.25),
    ("Please wait 5 minutes before the next request", 300),
    ("wait for about an hour", 3600),
    ("try again in a minute", 60),
    ("Your limit resets in 1h30m", 5400),
    ("available again in 4 hrs", 14_400),
    ("retry in 20 sec or upgrade; try again in 1 min to be sure", 60),
    (f"The limit resets at {iso(90)}", 90),
    (f"try again after {iso(-90)}", 0),
    ("请在 30 秒后重试", 30),
    ("请等待5分钟后再试", 300),
    ("try again in 12 weeks", MAX_WAIT),
    (f"try again in {'9' * 400} s", None),
    ("try again in -7 seconds", None),
    ("try again later", None),
    ("try again in a few minutes", None),
    ("60 requests per 30 seconds are allowed", None),
    ("the limit is 5 minutes of audio", None),
    ("retry 3 times", None),
    ("try again at 5 pm", None),
    ("wait. 60 seconds is the window", None),
]


@pytest.mark.parametrize(("text", "wait"), SAID)
def test_a_wait_in_words_is_heard_with_all_its_units(text: str, wait: float | None) -> None:
    expected = None if wait is None else pytest.approx(wait, abs=1e-6 if wait < 60 else 1)
    assert wait_in_words(text, NOW) == expected
    assert failed(429, {"error": {"message": f"Too many requests. {text}"}}).retry_after == expected
    assert failed(429, {"error": {"message": text}}, {"Retry-After": "3"}).retry_after == 3


def test_words_of_a_wait_in_another_error_are_none() -> None:
    """They may be the caller's."""
    for status in (400, 401, 404, 413):
        assert failed(status, {"error": {"message": "bad text: try again in 5 minutes"}}).retry_after is None


@given(st.text(st.characters(codec="latin-1"), max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_reading_and_every_wait_is_bounded(value: str, text: str) -> None:
    headers = {"retry-after": value, "retry-after-ms": value, "x-ratelimit-remaining": "0", "x-ratelimit-reset": value}
    for wait in (
        retry_after(headers, NOW),
        spent_bucket_wait(headers, NOW),
        wait_in_words(f"try again in {text}", NOW),
        wait_in_field("retry after", text, NOW),
    ):
        assert wait is None or 0 <= wait <= MAX_WAIT


@pytest.mark.parametrize("filler", ["7", "7 ", "3.", "1 h ", "again in ", "wait ", " ", "2030-01-01t00:00 "])
def test_a_text_eight_times_as_long_takes_no_square_of_the_time(filler: str) -> None:
    """A quadratic step makes it 64 times; a linear one, with noise, far less than half of that."""

    def work(size: int) -> float:
        text, times = "try again in " + filler * (size // len(filler)), []
        for _ in range(3):
            start = process_time()
            wait_in_words(text, NOW)
            times.append(process_time() - start)
        return min(times)

    assert work(16_000) < 30 * max(work(2_000), 0.002)


def test_a_wait_in_milliseconds_may_be_a_moment() -> None:
    now = 1_800_000_000.0
    assert wait_in_field("retry after ms", 1500, now) == 1.5
    assert wait_in_field("retry after ms", (now + 5) * 1000, now) == 5.0
    assert wait_in_field("retry after ms", "soon", now) is None
