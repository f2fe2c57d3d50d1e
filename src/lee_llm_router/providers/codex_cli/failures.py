"""Finds the type of a failed codex run from its last message, its exit code and its stderr.

Codex reports errors as sentences, not as codes. The sentences below were recorded with version 0.169 and a server that
failed in every way (`tests/real/test_real_codex.py` repeats that). Pure: no I/O, and the time is an argument.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.failures import (
    Failure,
    StartupErrors,
    failure_of_end,
    json_object,
)
from lee_llm_router.providers.agents.reset_times import wait_until_reset
from lee_llm_router.providers.http.dialects.error_words import failure_in_words
from lee_llm_router.providers.http.dialects.statuses import failure_of_status

F = FailureType


# Error codes in a JSON body, which codex passes on unchanged when the status is 400.
_CODES: dict[str, FailureType] = {
    "context_length_exceeded": F.CONTEXT_LENGTH, "model_not_found": F.MODEL_NOT_FOUND,
    "insufficient_quota": F.QUOTA, "rate_limit_exceeded": F.RATE_LIMIT, "server_is_overloaded": F.OVERLOADED,
    "invalid_api_key": F.AUTH, "content_filter": F.CONTENT_FILTER, "content_policy_violation": F.CONTENT_FILTER,
    "exceed_context_size_error": F.CONTEXT_LENGTH,
}  # fmt: skip

_HTTP_STATUS = re.compile(r"(?:unexpected status|exceeded retry limit, last status:) (\d{3})\b")
_STREAM_CUT = "stream disconnected before completion: "

# Sentences, the more specific ones first: (pattern, failure, the HTTP status it implies, final).
_SENTENCES: tuple[tuple[str, FailureType, int | None, bool], ...] = (
    (r"hit your usage limit|out of credits|hit your spend cap", F.QUOTA, 429, False),
    (r"quota exceeded|to use codex with your chatgpt plan", F.QUOTA, None, False),
    (r"rate limit (exceeded|reached)|please try again in \d", F.RATE_LIMIT, None, False),
    (r"model is at capacity|server.{0,20}overloaded", F.OVERLOADED, 503, False),
    (r"currently experiencing high demand", F.PROVIDER_ERROR, 500, False),
    (r"ran out of room|exceeds the (maximum length|context window)|input_too_large|available context size",
     F.CONTEXT_LENGTH, None, False),
    (r"incomplete response returned, reason: content_filter|invalid prompt:|been flagged for", F.CONTENT_FILTER, None,
     False),
    (r"incomplete response returned", F.INVALID_RESPONSE, None, True),
    (r"idle timeout|request timed out", F.TIMEOUT, None, False),
    (r"missing environment variable|refresh token|access token|log ?in again|sign in again|not logged in|please log in",
     F.AUTH, None, False),
    (r"connection failed|error sending request", F.PROVIDER_ERROR, None, False),
    (r"model\b.{0,120}(does not exist|not found|not supported)|no such model", F.MODEL_NOT_FOUND, None, False),
    (r"access blocked by cloudflare", F.AUTH, 403, False),
    (r"closed before|error decoding|failed to parse|error while reading", F.INVALID_RESPONSE, None, False),
)  # fmt: skip

# What codex writes to stderr if it ends before the turn begins.
_STARTUP_ERRORS: StartupErrors = (
    (r"input exceeds the maximum length|input_too_large", F.CONTEXT_LENGTH, False),
    (r"missing environment variable|not logged in|please log in", F.AUTH, False),
    (r"no space left|panicked at|resource temporarily|too many open files|out of memory", F.PROVIDER_ERROR, False),
    (r"loading config|codex home|codex_home|not found|no prompt provided|trusted directory|output schema|"
     r"instructions file|unexpected argument|invalid value|not valid utf-8|invalid utf-8", F.INVALID_REQUEST, False),
)  # fmt: skip

_SEARCHED = 8192
"""Characters to search at each end of a message: a server may send many megabytes."""
_LONGEST_BODY = 131_072
"""Length in characters of the longest message that is read as JSON."""


def classify(message: str | None, returncode: int | None, stderr: str, now: float) -> Failure:
    """Return the failure of a run without an answer.

    Args:
        message: The error in its events; None if there is none.
        returncode: Its exit code, negative for a signal; None if it could not be killed.
        stderr: The end of its stderr.
        now: Seconds since 1970 UTC, to turn a time of day into a wait.
    """
    if message is not None:
        return _from_message(message, returncode, now)
    return failure_of_end("codex", returncode, stderr, _STARTUP_ERRORS, usage_exit=2)


def _from_message(message: str, returncode: int | None, now: float) -> Failure:
    body = json_object(message) if len(message) <= _LONGEST_BODY else None
    if body is not None:
        failure = _from_body(body, message)
        if failure.failure_type is not F.INVALID_REQUEST:
            return failure
        return replace(failure, failure_type=failure_in_words(failure.message) or F.INVALID_REQUEST)
    if len(message) > 2 * _SEARCHED:
        message = f"{message[:_SEARCHED]} ... {message[-_SEARCHED:]}"
    # Versions of codex print different apostrophes.
    plain = message.replace("’", "'")
    is_cut = plain.startswith(_STREAM_CUT)
    plain = plain.removeprefix(_STREAM_CUT)
    status_named = _HTTP_STATUS.match(plain)
    if status_named:
        status = int(status_named[1])
        kind = failure_of_status(status)
        return Failure(kind, message, status, wait_until_reset(plain, now), kind is F.INVALID_RESPONSE)
    for pattern, kind, status_code, final in _SENTENCES:
        if re.search(pattern, plain, re.IGNORECASE | re.DOTALL):
            return Failure(kind, message, status_code or returncode, wait_until_reset(plain, now), final)
    # The prefix precedes an error that the service itself sent in the stream.
    kind = failure_in_words(plain) or (F.PROVIDER_ERROR if is_cut else F.UNKNOWN)
    return Failure(kind, message or "codex gave no reason", returncode, wait_until_reset(plain, now))


def _from_body(body: dict[str, Any], text: str) -> Failure:
    error = body.get("error")
    fields = error if isinstance(error, dict) else body
    said = next((fields[k] for k in ("message", "detail", "error") if isinstance(fields.get(k), str)), text)
    said = said[:_SEARCHED]
    for name in ("code", "type"):
        code = fields.get(name)
        if isinstance(code, str) and code in _CODES:
            return Failure(_CODES[code], said, 400)
    for pattern, kind, _, _ in _SENTENCES:
        if kind in (F.CONTEXT_LENGTH, F.MODEL_NOT_FOUND) and re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return Failure(kind, said, 400)
    return Failure(F.INVALID_REQUEST, said, 400)
