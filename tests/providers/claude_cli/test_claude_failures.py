"""Each way in which claude fails is the type of failure that the router can act on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers import fake_claude as fc
from helpers.agent_calls import KEY, failure
from helpers.claude_support import provider, service
from helpers.fake_claude import FakeClaude
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.claude_cli.events import ClaudeTurn

NOW = 1_795_688_400.0
"""2026-11-26 10:20 UTC."""
RESET = int(NOW) + 3600
SUFFIX = "This is a server-side issue, usually temporary — try again in a moment."


def kind_of(lines: list[Any], returncode: int = 1, stderr: str = "") -> tuple[F, int | None, float | None]:
    """Return what a run that printed these events stands for."""
    found = judged(lines, returncode, stderr)
    return found.failure_type, found.status_code, found.retry_after


def judged(lines: list[Any], returncode: int = 1, stderr: str = "") -> Any:
    turn = ClaudeTurn(agent=False, is_billed=True)
    for line in lines:
        turn.feed(json.dumps(line).encode())
    assert turn.answer(returncode, 0) is None
    return turn.failure(ChildResult(returncode=returncode, end="exit", stderr=stderr.encode()), NOW)


# Recorded with 2.1.197: the sentence, claude's word for it, the status, other fields, and what it is.
RECORDED: list[tuple[str, str, int | None, dict[str, Any], F]] = [
    ("Invalid API key · Fix external API key", "authentication_failed", 401, {}, F.AUTH),
    ("Failed to authenticate. API Error: 401 OAuth token has expired.", "authentication_failed", 401, {}, F.AUTH),
    ("Failed to authenticate. API Error: 403 not allowed", "authentication_failed", 403, {}, F.AUTH),
    ("Your account does not have access to Claude. Please login again or contact your administrator.",
     "authentication_failed", 403, {}, F.AUTH),
    ("Not logged in · Please run /login", "authentication_failed", None, {}, F.AUTH),
    ("OAuth token revoked · Please run /login", "authentication_failed", None, {}, F.AUTH),
    ("API Error: Request rejected (429) · slow down", "rate_limit", 429, {}, F.RATE_LIMIT),
    ("API Error: Server is temporarily limiting requests (not your usage limit) · slow", "rate_limit", 429, {},
     F.RATE_LIMIT),
    ("API Error: Request rejected (429) · Number of request tokens has exceeded your per-minute rate limit",
     "rate_limit", 429, {}, F.RATE_LIMIT),
    (f"API Error: 500 Internal server error. {SUFFIX}", "server_error", 500, {}, F.PROVIDER_ERROR),
    (f"API Error: Bad Gateway. {SUFFIX}", "server_error", 502, {}, F.PROVIDER_ERROR),
    (f"API Error: 503 Service Unavailable. {SUFFIX}", "server_error", 503, {}, F.OVERLOADED),
    (f"API Error: 529 Overloaded. {SUFFIX}", "server_error", 529, {}, F.OVERLOADED),
    ("API Error: Overloaded", "unknown", None, {}, F.OVERLOADED),
    ("There's an issue with the selected model (m). It may not exist or you may not have access to it. Run --model to"
     " pick a different model.", "model_not_found", 404, {}, F.MODEL_NOT_FOUND),
    ("API Error: 400 messages: bad thing", "unknown", 400, {}, F.INVALID_REQUEST),
    ("Credit balance is too low", "billing_error", 400, {}, F.QUOTA),
    ("Prompt is too long · the request is ~300000 tokens (limit 200000)", "invalid_request", 400,
     {"terminal_reason": "prompt_too_long"}, F.CONTEXT_LENGTH),
    ("Prompt is too long", "invalid_request", None, {"terminal_reason": "blocking_limit"}, F.CONTEXT_LENGTH),
    ("Prompt is too long", "invalid_request", 400, {}, F.CONTEXT_LENGTH),
    ("Request too large (max 32MB). Try with a smaller file.", "invalid_request", 413,
     {"terminal_reason": "image_error"}, F.CONTEXT_LENGTH),
    ("API Error: Claude Code is unable to respond to this request, which appears to violate our Usage Policy"
     " (https://www.anthropic.com/legal/aup).", "invalid_request", None, {"stop_reason": "refusal"}, F.CONTENT_FILTER),
    ("API Error: Some-model's safeguards flagged this message.", "invalid_request", None, {}, F.CONTENT_FILTER),
    ("API Error: Claude's response exceeded the 32000 output token maximum.", "max_output_tokens", None, {},
     F.INVALID_RESPONSE),
    ("API Error: API returned an empty or malformed response (HTTP 200) — check for a proxy", "unknown", None, {},
     F.INVALID_RESPONSE),
    ("API Error: Stream ended without receiving any events", "unknown", None, {}, F.INVALID_RESPONSE),
    ("API Error: Unable to connect to API (ConnectionRefused)", "server_error", None, {}, F.PROVIDER_ERROR),
    ("API Error: Connection to the API was lost (ECONNRESET). This is usually temporary — try again.", "server_error",
     None, {}, F.PROVIDER_ERROR),
    ("Request timed out", "server_error", None, {}, F.TIMEOUT),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "status", "fields", "kind"), RECORDED, ids=[row[0][:40] for row in RECORDED])
def test_a_recorded_failure_is_read_rightly(
    text: str, code: str, status: int | None, fields: dict[str, Any], kind: F
) -> None:
    assert kind_of(fc.failure(text, code, status, **fields)) == (kind, status, None)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("You've hit your session limit · resets 11:20am (UTC)", 3660.0),
        ("You've hit your weekly limit · resets Nov 27, 10:20am (UTC)", 86_460.0),
        ("You've hit your org's monthly spend limit", None),
        ("You've reached your Fable 5 limit. /model to switch models.", None),
        ("Claude AI usage limit reached|1795692000", 3600.0),
        ("5-hour limit reached ∙ resets 11:20am (UTC)", 3660.0),
        ("Opus weekly limit reached ∙ resets Nov 27 at 10:20am (UTC)", 86_460.0),
        ("You're out of usage credits. /model to switch models.", None),
        ("You're out of extra usage · resets 11:20am (UTC)", 3660.0),
    ],
)
@pytest.mark.parametrize("how", ["429", "rate_limit", "neither"])
def test_a_plans_limit_is_a_quota_with_its_reset_time(text: str, wait: float | None, how: str) -> None:
    """Whatever the status and claude's word say: other versions say less."""
    code, status = ("rate_limit" if how == "rate_limit" else "unknown"), (429 if how == "429" else None)
    kind, _, found = kind_of(fc.failure(text, code, status))
    assert (kind, found) == (F.QUOTA, wait)


def test_the_moment_that_the_service_names_goes_before_the_sentence() -> None:
    """The sentence holds no seconds, and may be in another form in the next version."""
    lines = fc.failure("You've hit a new kind of limit", "rate_limit", 429)
    assert kind_of([fc.limit(RESET, rateLimitType="five_hour"), *lines]) == (F.QUOTA, 429, 3600.0)
    assert kind_of([fc.limit(RESET - 7200), *lines]) == (F.QUOTA, 429, 0.0)
    assert kind_of([fc.limit(None), *lines]) == (F.RATE_LIMIT, 429, None)
    assert kind_of([fc.limit(RESET, "allowed"), *lines]) == (F.RATE_LIMIT, 429, None)


@pytest.mark.parametrize("moment", ["soon", -5, True, 1e300, None, [1]])
def test_a_moment_that_cannot_be_true_is_not_believed(moment: Any) -> None:
    lines = fc.failure("You've hit your session limit · resets 11:20am (UTC)", "rate_limit", 429)
    kind, _, wait = kind_of([{**fc.limit(None), "rate_limit_info": {"status": "rejected", "resetsAt": moment}}, *lines])
    assert kind is F.QUOTA
    assert wait in (3660.0, 604_800.0)


@pytest.mark.parametrize("status", ["429", -1, 1e400, True, None, {}])
def test_a_status_that_is_none_is_not_believed(status: Any) -> None:
    lines = [fc.INIT, fc.synthetic("boom", "unknown"), fc.result("boom", is_error=True, api_error_status=status)]
    assert kind_of(lines)[:2] == (F.UNKNOWN, None)


@pytest.mark.parametrize("subtype", ["error_during_execution", "error_max_turns", "error_max_budget_usd"])
def test_a_run_that_broke_in_claude_itself_tells_why(subtype: str) -> None:
    """Such a result has no text, but a list of errors."""
    told = fc.result("", subtype=subtype, is_error=True, errors=["it broke: EPIPE"])
    del told["result"]
    found = judged([fc.INIT, told])
    assert (found.failure_type, found.message) == (F.UNKNOWN, "it broke: EPIPE")


# It ends before it begins


@pytest.mark.parametrize(
    ("returncode", "stderr", "kind"),
    [
        (1, "Error: piped stdin input exceeds 10MB. Pass large content as a file path instead.", F.CONTEXT_LENGTH),
        (1, "error: unknown option '--nope'\n(Did you mean --name?)", F.INVALID_REQUEST),
        (1, "error: option '--permission-mode <mode>' argument 'nope' is invalid.", F.INVALID_REQUEST),
        (1, "Error: System prompt file not found: /x", F.INVALID_REQUEST),
        (1, "Error: ENOSPC: no space left on device, write", F.PROVIDER_ERROR),
        (1, "", F.PROVIDER_ERROR),
        (127, "claude: not found", F.PROVIDER_ERROR),
        (143, "", F.PROVIDER_ERROR),
        (-9, "", F.PROVIDER_ERROR),
        (0, "", F.INVALID_RESPONSE),
    ],
)
def test_a_claude_that_never_begins_is_judged_by_its_end(returncode: int, stderr: str, kind: F) -> None:
    """An interrupted one ends with 0 and prints nothing."""
    assert kind_of([], returncode, stderr)[0] is kind


# Errors as the router gets them


def test_an_error_names_the_provider_and_holds_no_key(claude: FakeClaude) -> None:
    claude.script(fc.failure(f"API Error: 400 bad key {KEY}\x1b[31m" + "x" * 9000, "unknown", 400), exit=1)
    error = failure(provider(claude))
    assert (error.provider, error.model, error.sent, error.status_code) == ("claude", "m", True, 400)
    assert KEY not in f"{error} {error!r}"
    assert len(error.message) <= 500
    assert error.message.isprintable()


def test_an_exhausted_plan_is_a_quota_for_the_router(claude: FakeClaude) -> None:
    claude.script([fc.limit(None), *fc.failure("You've hit your session limit · resets in 2h", "rate_limit", 429)],
                  exit=1)  # fmt: skip
    error = failure(service(claude))
    assert (error.failure_type, error.retry_after) == (F.QUOTA, 7200.0)
