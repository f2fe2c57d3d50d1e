"""The messages of a failing codex, as recorded from the real one, and the failure type of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import fake_codex
from helpers.agent_calls import complete
from helpers.codex_support import provider
from helpers.fake_codex import FakeCodex
from helpers.support import FakeClock
from lee_llm_router import LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.codex_cli import CodexCLIProvider
from lee_llm_router.providers.codex_cli.events import CodexTurn
from lee_llm_router.providers.codex_cli.failures import classify
from lee_llm_router.providers.http.dialects.statuses import failure_of_status


def fails(codex: FakeCodex, said: str | None, clock: FakeClock | None = None, **how: Any) -> LLMRouterError:
    """Return the error of a run in which codex says this in `turn.failed`, or nothing at all."""
    codex.script([] if said is None else fake_codex.failure(said), **{"exit": 1, **how})
    config = provider(codex).config
    subject = CodexCLIProvider("codex", config, clock) if clock else CodexCLIProvider("codex", config)
    with pytest.raises(LLMRouterError) as caught:
        complete(subject)
    return caught.value


def body(code: str | None, message: str, **more: Any) -> str:
    return json.dumps({"error": {"code": code, "message": message, **more}})


CUT = "stream disconnected before completion: "
MESSAGES: list[tuple[str, F, dict[str, Any]]] = [
    ("unexpected status 401 Unauthorized: Incorrect API key, url: http://x", F.AUTH, {"status_code": 401}),
    ("unexpected status 403 Forbidden: no", F.AUTH, {"status_code": 403}),
    ("Access blocked by Cloudflare. This usually happens (status 403 Forbidden)", F.AUTH, {"status_code": 403}),
    ("Missing environment variable: `X`.", F.AUTH, {"status_code": 1}),
    ("Your access token could not be refreshed. Please log out and sign in again.", F.AUTH, {}),
    ("unexpected status 402 Payment Required: pay", F.QUOTA, {"status_code": 402}),
    ("Quota exceeded. Check your plan and billing details.", F.QUOTA, {}),
    ("To use Codex with your ChatGPT plan, upgrade to Plus: http://x", F.QUOTA, {}),
    ("You’ve hit your usage limit. Try again later.", F.QUOTA, {"status_code": 429, "retry_after": None}),
    ("Your workspace is out of credits. Add credits to continue.", F.QUOTA, {}),
    ("You hit your spend cap set in your workspace.", F.QUOTA, {}),
    ("The model `m` does not exist or you do not have access to it.", F.MODEL_NOT_FOUND, {}),
    ("unexpected status 404 Not Found: <html>", F.MODEL_NOT_FOUND, {"status_code": 404}),
    (body("invalid_value", "bad"), F.INVALID_REQUEST, {"status_code": 400, "message": "bad"}),
    (body("context_length_exceeded", "long"), F.CONTEXT_LENGTH, {"status_code": 400}),
    (body(None, "long", type="exceed_context_size_error"), F.CONTEXT_LENGTH, {}),
    (body(None, "Your input exceeds the context window of this model"), F.CONTEXT_LENGTH, {}),
    (body("model_not_found", "x"), F.MODEL_NOT_FOUND, {}),
    (body(None, "The requested model 'm' does not exist."), F.MODEL_NOT_FOUND, {}),
    (body("content_policy_violation", "x"), F.CONTENT_FILTER, {}),
    (json.dumps({"detail": "The 'm' model is not supported when using Codex."}), F.MODEL_NOT_FOUND, {}),
    (json.dumps({"detail": [{"msg": "x"}]}), F.INVALID_REQUEST, {"status_code": 400}),
    (json.dumps({"error": "plain"}), F.INVALID_REQUEST, {"message": "plain"}),
    ("{not json", F.UNKNOWN, {}),
    ("unexpected status 422 Unprocessable Entity: x", F.INVALID_REQUEST, {"status_code": 422}),
    ("unexpected status 418 I'm a teapot: x", F.UNKNOWN, {"status_code": 418}),
    ("exceeded retry limit, last status: 429 Too Many Requests, request id: r", F.RATE_LIMIT, {"status_code": 429}),
    ("rate limit exceeded: Please try again in 11.054s.", F.RATE_LIMIT, {"retry_after": 11.054}),
    (f"{CUT}Rate limit reached for m. Please try again in 20ms.", F.RATE_LIMIT, {"retry_after": 0.02}),
    ("rate limit exceeded: try again in 2 minutes", F.RATE_LIMIT, {"retry_after": 120.0}),
    ("rate limit exceeded: try again in 3 days", F.RATE_LIMIT, {"retry_after": 259_200.0}),
    ("rate limit exceeded: try again in 99999 days", F.RATE_LIMIT, {"retry_after": 604_800.0}),
    (f"rate limit exceeded: try again in {'9' * 400} days", F.RATE_LIMIT, {"retry_after": None}),
    ("rate limit exceeded: slow down", F.RATE_LIMIT, {"retry_after": None}),
    (
        "We're currently experiencing high demand, which may cause temporary errors.",
        F.PROVIDER_ERROR,
        {"status_code": 500},
    ),
    (
        "We’re currently experiencing high demand, which may cause temporary errors.",
        F.PROVIDER_ERROR,
        {"status_code": 500},
    ),
    ("Selected model is at capacity. Please try a different model.", F.OVERLOADED, {"status_code": 503}),
    ("unexpected status 503 Service Unavailable: x", F.OVERLOADED, {"status_code": 503}),
    ("unexpected status 529 <unknown status code>: x", F.OVERLOADED, {"status_code": 529}),
    ("unexpected status 502 Bad Gateway: <html>bad</html>", F.PROVIDER_ERROR, {"status_code": 502}),
    ("unexpected status 409 Conflict: x", F.PROVIDER_ERROR, {"status_code": 409}),
    ("unexpected status 408 Request Timeout: x", F.TIMEOUT, {"status_code": 408}),
    ("unexpected status 413 Payload Too Large: x", F.CONTEXT_LENGTH, {"status_code": 413}),
    ("unexpected status 302 Found: x", F.INVALID_RESPONSE, {"status_code": 302, "final": True}),
    ("Connection failed: error sending request", F.PROVIDER_ERROR, {}),
    (f"{CUT}stream closed before response.completed", F.INVALID_RESPONSE, {"final": False}),
    (f"{CUT}error decoding response body", F.INVALID_RESPONSE, {"final": False}),
    (f"{CUT}An error occurred while processing your request.", F.PROVIDER_ERROR, {}),
    (f"{CUT}idle timeout waiting for SSE", F.TIMEOUT, {}),
    ("request timed out", F.TIMEOUT, {}),
    ("Incomplete response returned, reason: max_output_tokens", F.INVALID_RESPONSE, {"final": True}),
    (f"{CUT}Incomplete response returned, reason: content_filter", F.CONTENT_FILTER, {}),
    ("Invalid prompt: we've limited access to this content for safety reasons.", F.CONTENT_FILTER, {}),
    ("This request has been flagged for possible cybersecurity risk.", F.CONTENT_FILTER, {}),
    ("Codex ran out of room in the model's context window. Start a new thread.", F.CONTEXT_LENGTH, {}),
    ("turn aborted. Something went wrong?", F.UNKNOWN, {}),
    ("", F.UNKNOWN, {"message": "codex gave no reason"}),
]


@pytest.mark.parametrize(("said", "failure_type", "details"), MESSAGES, ids=[row[0][:60] for row in MESSAGES])
def test_each_message_of_codex_has_its_failure_type(
    codex: FakeCodex, said: str, failure_type: F, details: dict[str, Any]
) -> None:
    error = fails(codex, said)
    assert error.failure_type is failure_type
    assert {name: getattr(error, name) for name in details} == details
    assert error.sent


def test_a_status_means_the_same_by_codex_and_over_http() -> None:
    """Both use the same table."""
    statuses = range(100, 1000)
    by_codex = {status: classify(f"unexpected status {status} Whatever: x", 1, "", 0.0) for status in statuses}
    assert {s: f.failure_type for s, f in by_codex.items()} == {s: failure_of_status(s) for s in statuses}


WARNING = "WARNING: proceeding, even though we could not create PATH aliases\n"
STARTS: list[tuple[str, dict[str, Any], F, dict[str, Any]]] = [
    ("error: unexpected argument '--x' found\n\nUsage: codex", {"exit": 2}, F.INVALID_REQUEST, {"status_code": 2}),
    ("Error loading config.toml: `wire_api = \"chat\"` is no longer supported.", {}, F.INVALID_REQUEST, {}),
    ("Error: Model provider `zzz` not found", {}, F.INVALID_REQUEST, {}),
    ("Error finding codex home: CODEX_HOME points to \"/x\", but that path does not exist", {}, F.INVALID_REQUEST, {}),
    ("Error: model instructions file is empty: /x", {}, F.INVALID_REQUEST, {}),
    ("No prompt provided via stdin.", {}, F.INVALID_REQUEST, {}),
    ("Error: turn/start failed: Input exceeds the maximum length of 1048576 characters. "
     '{"input_error_code":"input_too_large"}', {}, F.CONTEXT_LENGTH, {}),
    ("Not logged in. Please log in.", {}, F.AUTH, {}),
    ("thread 'main' panicked at src/main.rs", {"exit": 101}, F.PROVIDER_ERROR, {"status_code": 101}),
    ("Error: No space left on device (os error 28)", {}, F.PROVIDER_ERROR, {}),
    ("something new", {}, F.PROVIDER_ERROR, {"message": "something new", "final": False}),
    ("", {"exit": 9}, F.PROVIDER_ERROR, {"message": "codex exited with 9 and said nothing"}),
    ("sh: codex: not found", {"exit": 127}, F.PROVIDER_ERROR, {"final": True}),
    ("", {"signal": "SIGTERM"}, F.PROVIDER_ERROR, {"status_code": -15, "message": "codex was killed by SIGTERM"}),
    ("", {"signal": "SIGKILL"}, F.PROVIDER_ERROR, {"status_code": -9}),
    ("Killed", {"exit": 137}, F.PROVIDER_ERROR, {"message": "codex was killed by SIGKILL: Killed"}),
    ("", {"exit": 255}, F.PROVIDER_ERROR, {"status_code": 255}),
]  # fmt: skip


@pytest.mark.parametrize(("stderr", "how", "failure_type", "details"), STARTS, ids=[str(row[:2]) for row in STARTS])
def test_a_start_that_fails_is_told_apart_by_stderr_and_exit_code(
    codex: FakeCodex, stderr: str, how: dict[str, Any], failure_type: F, details: dict[str, Any]
) -> None:
    error = fails(codex, None, stderr=f"{WARNING}{stderr}\n", **how)
    assert error.failure_type is failure_type
    assert {name: getattr(error, name) for name in details} == details
    assert not error.sent
    assert "WARNING" not in error.message


def test_an_error_event_is_the_failure_of_a_turn_that_never_ended(codex: FakeCodex) -> None:
    codex.script([*fake_codex.BEGIN, {"type": "error", "message": "Quota exceeded. Check it."}], exit=1)
    with pytest.raises(LLMRouterError) as caught:
        complete(provider(codex))
    assert caught.value.failure_type is F.QUOTA


# Times of a plan


@pytest.fixture(params=["UTC", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone: codex prints local times."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def clock_at(text: str) -> FakeClock:
    """Return a clock that shows this local time."""
    clock = FakeClock()
    clock.advance(datetime.fromisoformat(text).timestamp() - clock.time())
    return clock


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("now", "until", "wait"),
    [
        ("2026-11-22T19:30:00", "at 8:42 PM", 72 * 60 + 60),
        ("2026-11-22T23:59:00", "at 12:01 AM", 120 + 60),
        ("2026-11-23T00:00:30", "at 11:59 PM", 60),
        ("2026-11-22T19:30:20", "at 7:30 PM", 60),
        ("2026-11-22T19:30:00", "at Nov 25th, 2026 3:15 AM", 2 * 86_400 + 7 * 3600 + 45 * 60 + 60),
        ("2026-11-22T19:30:00", "at Nov 22nd, 2020 3:15 AM", 60),
        ("2026-11-22T19:30:00", "at Nov 25th, 2999 3:15 AM", 7 * 86_400),
        ("2026-11-22T19:30:00", "at Foo 25th, 2026 3:15 AM", None),
        ("2026-11-22T19:30:00", "at 25:99 PM", None),
        ("2026-11-22T19:30:00", "later", None),
    ],
)
def test_a_plan_limit_tells_how_long_to_wait(codex: FakeCodex, now: str, until: str, wait: float | None) -> None:
    """Up to a minute more than it says, since codex drops the seconds; never less, except that a week is the most."""
    said = f"You’ve hit your usage limit. Upgrade to Pro (http://x) or try again {until}."
    error = fails(codex, said, clock_at(now))
    assert error.failure_type is F.QUOTA
    assert error.retry_after == (None if wait is None else pytest.approx(wait))


# The lines themselves


@given(st.lists(st.binary(max_size=60)))
def test_no_line_breaks_the_parser(lines: list[bytes]) -> None:
    turn = CodexTurn()
    for line in lines:
        turn.feed(line)
    assert turn.answer(0, 0) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TYPES = st.sampled_from(["item.completed", "turn.completed", "turn.failed", "error", "turn.started"])


@given(TYPES, st.dictionaries(st.sampled_from(["item", "usage", "error", "message"]), JSON))
def test_an_event_of_another_shape_is_no_answer_and_no_crash(kind: str, fields: dict[str, Any]) -> None:
    """A newer codex may put anything into its events."""
    turn = CodexTurn()
    turn.feed(json.dumps({"type": kind, **fields}).encode())
    assert turn.answer(0, 0) is None


@given(st.text(min_size=1))
def test_any_text_comes_through_as_it_is(text: str) -> None:
    turn = CodexTurn()
    for event in fake_codex.answer(text):
        turn.feed(json.dumps(event).encode())
    response = turn.answer(0, 7)
    assert response is not None
    assert (response.text, response.request_bytes) == (text, 7)


def test_a_line_nested_too_deeply_is_ignored() -> None:
    turn = CodexTurn()
    turn.feed(b'{"type":' + b"[" * 200_000)
    assert turn.events == []


# What servers behind codex say in their own words

WORDED: list[tuple[str, F, dict[str, Any]]] = [
    (body(None, "Your prepaid balance is used up"), F.QUOTA, {"status_code": 400}),
    (json.dumps({"detail": "The prompt is too long for this model: 9000 tokens"}), F.CONTEXT_LENGTH, {}),
    (json.dumps({"error": "Model Not Exist"}), F.MODEL_NOT_FOUND, {}),
    (body(None, "Incorrect API key provided"), F.AUTH, {}),
    (body(None, "max_output_tokens must be positive"), F.INVALID_REQUEST, {}),
    (f"{CUT}Your account has no remaining credits", F.QUOTA, {}),
    (f"{CUT}The prompt was flagged by our usage policy", F.CONTENT_FILTER, {}),
    ("rate limit exceeded, try again in 3 days 11 hours 5 minutes", F.RATE_LIMIT, {"retry_after": 299_100.0}),
    ("rate limit exceeded: Please try again in 2m12.5s.", F.RATE_LIMIT, {"retry_after": 132.5}),
    ("You’ve hit your usage limit. Try again in 4 hours 5 minutes.", F.QUOTA, {"retry_after": 14_700.0}),
    (f"{CUT}Rate limit reached. Try again in 1h 1s.", F.RATE_LIMIT, {"retry_after": 3601.0}),
    ("rate limit exceeded, try again in 8888888888 hours", F.RATE_LIMIT, {"retry_after": 604_800.0}),
    (f"rate limit exceeded, try again in {'8' * 500} s", F.RATE_LIMIT, {"retry_after": None}),
]


@pytest.mark.parametrize(("said", "failure_type", "details"), WORDED, ids=[row[0][:60] for row in WORDED])
def test_words_that_are_not_of_codex_are_read_as_over_http(
    codex: FakeCodex, said: str, failure_type: F, details: dict[str, Any]
) -> None:
    """So are the durations: with all their units, and bounded by a week."""
    error = fails(codex, said)
    assert error.failure_type is failure_type
    assert {name: getattr(error, name) for name in details} == details


@pytest.mark.parametrize(
    "filling", ["model ", "x", "try again in 5 ", "rate limit ", '{"error": ', "usage\n", "server "]
)
def test_a_message_of_any_length_is_searched_at_both_ends_alone(filling: str) -> None:
    """What lies in between is not searched, and not kept."""
    long = filling * (3_000_000 // len(filling))
    inside = classify(f"{long}You hit your spend cap{long}", 1, "", 0.0)
    assert inside.failure_type is not F.QUOTA and len(inside.message) < 20_000
    for said in (f"You hit your spend cap: {long}", f"{long} - you hit your spend cap"):
        failure = classify(said, 1, "", 0.0)
        assert failure.failure_type is F.QUOTA and len(failure.message) < 20_000
