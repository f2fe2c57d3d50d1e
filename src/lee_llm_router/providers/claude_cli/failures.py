"""Finds the type of a failed claude run from its last events, its exit code and its stderr.

The sentences were recorded with version 2.1.197 and a server that failed in every way (`tests/real/test_real_claude.py`
repeats that). Pure: no I/O, and the time is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import amount, wait_seconds
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.failures import Failure, StartupErrors, failure_of_end
from lee_llm_router.providers.agents.reset_times import wait_until_reset
from lee_llm_router.providers.http.dialects.error_words import failure_in_words
from lee_llm_router.providers.http.dialects.statuses import failure_of_status

F = FailureType


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the events of a run say about its failure."""

    text: str
    """The sentence of the failure."""
    code: str
    """Claude's code for it: `rate_limit`, `authentication_failed`..."""
    status: int | None
    """The HTTP status from the service."""
    stop_reason: str
    terminal_reason: str
    limit: Mapping[str, Any]
    """The plan's limits, as last reported by the service."""
    is_told: bool
    """Whether the events name a failure at all."""
    is_cut: bool
    """Whether the answer was cut by its token limit."""
    is_unasked: bool
    """Whether claude ended successfully without asking a model."""
    is_over: bool
    """Whether claude was ended because it began another request."""


_CODES: Mapping[str, FailureType] = {
    "authentication_failed": F.AUTH, "oauth_org_not_allowed": F.AUTH, "billing_error": F.QUOTA,
    "model_not_found": F.MODEL_NOT_FOUND, "overloaded": F.OVERLOADED, "max_output_tokens": F.INVALID_RESPONSE,
}  # fmt: skip
_TERMINAL_REASONS: Mapping[str, FailureType] = {
    "prompt_too_long": F.CONTEXT_LENGTH, "blocking_limit": F.CONTEXT_LENGTH, "rapid_refill_breaker": F.CONTEXT_LENGTH,
}  # fmt: skip

# Names of a plan's limit: "You've hit your session limit", "usage limit reached", "5-hour limit reached", "You're out
# of usage credits". "Not your usage limit" means a busy server.
_PLAN_LIMIT = re.compile(
    r"\b(?:hit|reached|exceeded|used up) (?:your|the|its) (?:[\w'-]+ ){0,4}limit\b"
    r"|\b(?:usage|hour|hourly|daily|weekly|monthly|session|opus|sonnet|haiku|spend(?:ing)?|plan) limit"
    r" (?:is |was |has been )?(?:reached|exceeded|hit)\b"
    r"|\bout of (?:usage|extra usage|credits)\b|\b(?:requires|need) usage credits\b",
    re.IGNORECASE,
)
_NOT_THE_PLAN = re.compile(
    r"\bnot your (?:usage|plan)\b|\brate[ -]?limit|\bper[ -](?:second|minute|hour|day)\b|\bconcurren", re.IGNORECASE
)

# Sentences for failures that neither a code nor a status explains: (pattern, failure).
_SENTENCES: tuple[tuple[str, FailureType], ...] = (
    (r"not logged in|/login\b|oauth token|invalid api key|failed to authenticate", F.AUTH),
    (r"prompt is too long|context window|context limit", F.CONTEXT_LENGTH),
    (r"usage policy|safeguards flagged|content filter", F.CONTENT_FILTER),
    (r"timed? ?out|timeout", F.TIMEOUT),
    (r"overloaded|experiencing high load", F.OVERLOADED),
    (r"empty or malformed|stream ended|stream closed|incomplete|unexpected end|json", F.INVALID_RESPONSE),
    (r"connect|network|socket|econn|server-side issue|server error", F.PROVIDER_ERROR),
)

# What claude writes to stderr if it ends before the run begins.
_STARTUP_ERRORS: StartupErrors = (
    (r"stdin input exceeds", F.CONTEXT_LENGTH, False),
    (r"not logged in|/login\b|invalid api key", F.AUTH, False),
    (r"no space left|enospc|emfile|enomem|eagain|out of memory|too many open files", F.PROVIDER_ERROR, False),
    (r"unknown option|argument .* is invalid|missing argument|invalid settings|settings file|system prompt file"
     r"|cannot be used with|error: option", F.INVALID_REQUEST, False),
)  # fmt: skip


def classify(report: Report, returncode: int | None, stderr: str, now: float) -> Failure:
    """Return the failure of a run without an answer.

    Args:
        report: What its events say.
        returncode: Its exit code, negative for a signal; None if it could not be killed.
        stderr: The end of its stderr.
        now: Seconds since 1970 UTC, to turn a time of day into a wait.
    """
    if report.is_told:
        return _told(report, now)
    if report.is_cut:
        return Failure(F.INVALID_RESPONSE, "claude's answer was cut off at its token limit", final=True)
    if report.is_over:
        return Failure(F.INVALID_RESPONSE, "the model gave no text, and claude was about to ask it again")
    if report.is_unasked:
        what = f"claude asked no model, and said: {report.text}" if report.text else "claude asked no model"
        return Failure(F.INVALID_REQUEST, what, returncode)
    return failure_of_end("claude", returncode, stderr, _STARTUP_ERRORS)


def _told(report: Report, now: float) -> Failure:
    said = report.text or report.code or "claude gave no reason"
    failure = replace(_kind(report, said), status_code=report.status)
    if failure.failure_type in (F.QUOTA, F.RATE_LIMIT, F.OVERLOADED):
        return replace(failure, retry_after=_wait(report, said, now))
    return failure


def _kind(report: Report, said: str) -> Failure:
    if report.stop_reason == "refusal":
        return Failure(F.CONTENT_FILTER, said)
    coded = _TERMINAL_REASONS.get(report.terminal_reason) or _CODES.get(report.code)
    if coded is not None:
        return Failure(coded, said, final=coded is F.INVALID_RESPONSE)
    if report.status == 429 or report.code == "rate_limit" or _PLAN_LIMIT.search(said):
        return Failure(F.QUOTA if _is_of_plan(report, said) else F.RATE_LIMIT, said)
    if report.status is not None:
        kind = failure_of_status(report.status)
        # The status of a refusal says little; the words say what was refused.
        refined = failure_in_words(said) if kind is F.INVALID_REQUEST else None
        return Failure(refined or kind, said, final=kind is F.INVALID_RESPONSE)
    found = (Failure(kind, said) for pattern, kind in _SENTENCES if re.search(pattern, said, re.IGNORECASE))
    return next(found, None) or Failure(failure_in_words(said) or F.UNKNOWN, said)


def _is_of_plan(report: Report, said: str) -> bool:
    if _has_reset(report):
        return True
    return _PLAN_LIMIT.search(said) is not None and not _NOT_THE_PLAN.search(said)


def _has_reset(report: Report) -> bool:
    return amount(report.limit.get("resetsAt")) is not None and report.limit.get("status") != "allowed"


def _wait(report: Report, said: str, now: float) -> float | None:
    """Return the seconds to wait: until the time that the service named, or else according to the sentence."""
    if _has_reset(report):
        return wait_seconds(max(0.0, (amount(report.limit["resetsAt"]) or 0.0) - now))
    return wait_until_reset(said, now)
